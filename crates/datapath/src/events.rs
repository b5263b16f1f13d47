// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What changed, for whoever wants to know: the bridge, the netlink families, the daemon.

use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, unbounded};
use portway_vport::{PortName, Vport};

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
        /// The port.
        port: Arc<Vport>,
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
    },
    /// A port's device was renamed, or its properties changed.
    PortChanged {
        /// Where.
        datapath: Arc<Datapath>,
        /// The port.
        port: Arc<Vport>,
    },
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
