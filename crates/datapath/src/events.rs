// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What changed, for whoever wants to know: the bridge, the netlink families, the daemon.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use crossbeam_channel::{Receiver, Sender, unbounded};
use portway_vport::{PortName, PortStats, Vport};

use crate::datapath::Datapath;

/// One change, after it has been made.
#[derive(Clone, Debug)]
pub enum Event {
    /// A datapath was made.
    DatapathAdded(Arc<Datapath>),
    /// A datapath was deleted, with all its ports and flows.
    DatapathRemoved(Arc<Datapath>),
    /// A port was added.
    PortAdded {
        /// Where.
        datapath: Arc<Datapath>,
        /// The port. Weak: a listener that is late must not keep a port, and with it its device, from going.
        port: Weak<Vport>,
    },
    /// A port was deleted, by a request or because its device has gone.
    PortRemoved {
        /// Where.
        datapath: Arc<Datapath>,
        /// Its number.
        port_no: u32,
        /// Its name at the end.
        name: PortName,
        /// Its type.
        port_type: u32,
        /// What it was at the end.
        last: Box<RemovedPort>,
    },
    /// A port's device was renamed, or its properties changed.
    PortChanged {
        /// Where.
        datapath: Arc<Datapath>,
        /// The port. Weak: a listener that is late must not keep a port, and with it its device, from going.
        port: Weak<Vport>,
    },
}

/// A port that has gone, as it was at the end.
#[derive(Clone, Debug)]
pub struct RemovedPort {
    /// Its number.
    pub port_no: u32,
    /// Its name.
    pub name: PortName,
    /// Its type.
    pub port_type: u32,
    /// Its device's interface index.
    pub ifindex: u32,
    /// Its counters.
    pub stats: PortStats,
    /// Its upcall port ids.
    pub upcall_pids: Vec<u32>,
    /// Its options, if it had any to report: netlink attributes.
    pub options: Option<Vec<u8>>,
    /// Netlink clients are not told.
    pub is_silent: bool,
}

impl RemovedPort {
    pub(crate) fn of(port: &Vport) -> Self {
        Self {
            port_no: port.port_no(),
            name: port.name(),
            port_type: port.port_type(),
            ifindex: port.ifindex(),
            stats: port.stats(),
            upcall_pids: port.upcall_pids().to_vec(),
            options: port.options(),
            is_silent: false,
        }
    }
}

/// Everybody who listens.
#[derive(Default)]
pub(crate) struct Listeners(Mutex<Vec<Sender<Event>>>);

impl Listeners {
    /// A new listener. Events wait for it in memory, so it must read them or be dropped.
    pub(crate) fn subscribe(&self) -> Receiver<Event> {
        let (sender, receiver) = unbounded();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    /// Tells everybody; forgets those who have gone.
    pub(crate) fn tell(&self, event: &Event) {
        let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| listener.send(event.clone()).is_ok());
    }
}
