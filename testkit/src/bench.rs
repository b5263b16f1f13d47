// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A switch on the work bench: one datapath, dummy ports, workers driven by hand, time as the test says.

use std::sync::Arc;

use portway_datapath::{
    Datapath, DatapathRequest, Error, Flow, FlowParts, FlowRequest, Netns, PortRequest, Switch, SwitchConfig,
    Upcall, Worker,
};
use portway_flow::{Action, FlowKey, FlowMask};
use portway_vport::{PortName, Registry, Vport};

use crate::dummy::{self, TYPE_DUMMY, Wire};

/// A switch with one datapath (`bench0`) and its workers.
pub struct Bench {
    /// The switch.
    pub switch: Arc<Switch>,
    /// Its datapath.
    pub datapath: Arc<Datapath>,
    /// Its workers.
    pub workers: Vec<Worker>,
    /// The time that packets are processed at; tests move it.
    pub now_ns: u64,
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

impl Bench {
    /// One worker, default limits.
    pub fn new() -> Self {
        Self::with(SwitchConfig::default())
    }

    /// As `config` says.
    pub fn with(config: SwitchConfig) -> Self {
        let registry = Registry::new();
        registry.register(dummy::MODULE).expect("the registry is empty");
        let workers = config.workers;
        let switch = Switch::new(config, registry);
        let datapath = switch.datapath_add(local("bench0")).expect("a dummy port 0 can be made");
        let workers = (0..workers).map(|index| switch.worker(index)).collect();
        Self { switch, datapath, workers, now_ns: 1_000_000_000 }
    }

    /// Another datapath.
    pub fn datapath(&self, name: &str) -> Arc<Datapath> {
        self.switch.datapath_add(local(name)).expect("a dummy port 0 can be made")
    }

    /// Adds a dummy port.
    pub fn port(&self, name: &str) -> (Arc<Vport>, Arc<Wire>) {
        self.port_to(&self.datapath, name).expect("a dummy port can be made")
    }

    /// Adds a dummy port to a datapath.
    pub fn port_to(&self, datapath: &Arc<Datapath>, name: &str) -> Result<(Arc<Vport>, Arc<Wire>), Error> {
        let wire = Wire::new();
        let mut request = PortRequest::new(port_name(name), TYPE_DUMMY);
        request.options = wire.options();
        Ok((self.switch.port_add(datapath, &request)?, wire))
    }

    /// Adds a flow.
    pub fn flow(&self, key: FlowKey, mask: FlowKey, actions: &[Action]) -> Result<Arc<Flow>, Error> {
        let parts = FlowParts { key, mask: FlowMask::new(mask), ufid: None };
        self.switch.flow_add(&self.datapath, &FlowRequest { parts, actions: actions.to_vec() })
    }

    /// Adds a flow on the input port alone.
    pub fn port_flow(&self, in_port: u32, actions: &[Action]) -> Arc<Flow> {
        let key = FlowKey { in_port, ..FlowKey::default() };
        let mask = FlowKey { in_port: u32::MAX, ..FlowKey::default() };
        self.flow(key, mask, actions).expect("the flow is new and its actions are valid")
    }

    /// Lets the workers run until nothing comes in any more; returns the number of packets.
    pub fn run(&mut self) -> usize {
        let mut total = 0;
        loop {
            let received: usize = self.workers.iter_mut().map(|worker| worker.poll_all(self.now_ns)).sum();
            if received == 0 {
                return total;
            }
            total += received;
        }
    }

    /// Takes the upcalls that wait, fairly.
    pub fn upcalls(&self) -> Vec<Upcall> {
        let mut upcalls = Vec::new();
        while self.switch.upcalls().pop_round(1, &mut upcalls) {}
        upcalls.into_iter().map(|(_, upcall)| upcall).collect()
    }
}

fn local(name: &str) -> DatapathRequest {
    DatapathRequest { local_type: TYPE_DUMMY, ..DatapathRequest::new(port_name(name), Netns::default()) }
}

fn port_name(name: &str) -> PortName {
    PortName::new(name.as_bytes()).expect("a test's port name is valid")
}
