// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A switch with pairs of ports (capture in, null out) and worker threads that poll without pause.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use portway_datapath::{
    Datapath, DatapathRequest, FlowParts, FlowRequest, Limits, Netns, PortRequest, Switch, SwitchConfig,
    Worker,
};
use portway_flow::{Action, FlowKey, FlowMask};
use portway_vport::ops::{TYPE_NULL, TYPE_PCAP};
use portway_vport::{PortName, Registry, Vport};

use crate::allocations;

/// The switch under measurement.
pub(crate) struct Rig {
    pub(crate) switch: Arc<Switch>,
    pub(crate) datapath: Arc<Datapath>,
}

/// What was measured.
pub(crate) struct Measured {
    /// Packets received, all workers together.
    pub(crate) received: u64,
    /// Packets sent.
    pub(crate) sent: u64,
    pub(crate) seconds: f64,
    /// Memory allocations meanwhile, on all threads.
    pub(crate) allocations: u64,
    /// Processor time that the workers had: on a machine with other work it is less than the time that passed.
    pub(crate) cpu_seconds: f64,
}

impl Measured {
    pub(crate) fn mpps(&self) -> f64 {
        self.sent as f64 / self.seconds / 1e6
    }
}

impl Rig {
    pub(crate) fn new(workers: usize) -> Result<Self> {
        let registry = Registry::new();
        registry.register(vport_null::MODULE)?;
        registry.register(vport_pcap::MODULE)?;
        let limits = Limits { ports: 1_000_000, masks: 100_000, ..Limits::default() };
        // A fixed seed would let the generator's frames be tuned to the hash; the clock's low bits are seed enough here.
        let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos() as u64;
        let switch = Switch::new(SwitchConfig { workers, limits, seed, ..SwitchConfig::default() }, registry);
        let datapath = switch.datapath_add(Self::datapath_request("bench0"))?;
        Ok(Self { switch, datapath })
    }

    pub(crate) fn datapath_request(name: &str) -> DatapathRequest {
        let name = PortName::new(name.as_bytes()).expect("the names here are short");
        DatapathRequest { local_type: TYPE_NULL, ..DatapathRequest::new(name, Netns::default()) }
    }

    /// A port that replays a file without end.
    pub(crate) fn source(&self, name: &str, capture: &Path) -> Result<Arc<Vport>> {
        let path = capture.to_str().context("the file name is not UTF-8")?;
        let mut request = PortRequest::new(port_name(name)?, TYPE_PCAP);
        request.options = string_option(vport_pcap::ATTR_RX, path);
        Ok(self.switch.port_add(&self.datapath, &request)?)
    }

    /// A port that swallows.
    pub(crate) fn sink(&self, name: &str) -> Result<Arc<Vport>> {
        Ok(self.switch.port_add(&self.datapath, &PortRequest::new(port_name(name)?, TYPE_NULL))?)
    }

    pub(crate) fn flow(&self, key: FlowKey, mask: FlowKey, output: u32) -> Result<()> {
        let parts = FlowParts { key, mask: FlowMask::new(mask), ufid: None };
        let actions = vec![Action::Output(output)];
        self.switch.flow_add(&self.datapath, &FlowRequest { parts, actions })?;
        Ok(())
    }

    /// Runs the workers for a second to warm up and then for `seconds`, and counts at the sinks.
    pub(crate) fn measure(&self, seconds: f64, sources: &[Arc<Vport>], sinks: &[Arc<Vport>]) -> Measured {
        let stop = AtomicBool::new(false);
        let count = || {
            let received: u64 = sources.iter().map(|port| port.stats().rx_packets).sum();
            let sent: u64 = sinks.iter().map(|port| port.stats().tx_packets).sum();
            (received, sent, Instant::now(), allocations::count(), cpu_seconds())
        };
        std::thread::scope(|scope| {
            for index in 0..self.switch.workers() {
                let worker = self.switch.worker(index);
                let stop = &stop;
                scope.spawn(move || poll(worker, stop));
            }
            std::thread::sleep(Duration::from_millis(500));
            let before = count();
            std::thread::sleep(Duration::from_secs_f64(seconds));
            let after = count();
            stop.store(true, Ordering::Relaxed);
            Measured {
                received: after.0 - before.0,
                sent: after.1 - before.1,
                seconds: (after.2 - before.2).as_secs_f64(),
                allocations: after.3 - before.3,
                cpu_seconds: after.4 - before.4,
            }
        })
    }
}

/// Processor time of the whole process; the thread that asks sleeps while it measures.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// What a worker's thread does under load: poll, and look at the clock once per round, as `portwayd` does.
fn poll(mut worker: Worker, stop: &AtomicBool) {
    let start = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        worker.poll_all(start.elapsed().as_nanos() as u64);
    }
}

pub(crate) fn port_name(name: &str) -> Result<PortName> {
    PortName::new(name.as_bytes()).with_context(|| format!("{name} is not a port name"))
}

/// A netlink attribute with a string in it.
fn string_option(attr: u16, text: &str) -> Vec<u8> {
    let len = 4 + text.len() + 1;
    let mut option = (len as u16).to_ne_bytes().to_vec();
    option.extend(attr.to_ne_bytes());
    option.extend(text.as_bytes());
    option.resize(len.next_multiple_of(4), 0);
    option
}
