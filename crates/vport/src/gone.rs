// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Waiting until a port is destroyed, whoever destroys it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::names::PortName;

#[derive(Debug)]
struct Latch {
    name: PortName,
    gone: Mutex<bool>,
    changed: Condvar,
}

/// Tells when a port has been destroyed: its device is free for others then. See [`crate::Vport::gone`].
#[derive(Clone, Debug)]
pub struct Gone(Arc<Latch>);

impl Gone {
    pub(crate) fn new(name: PortName) -> Self {
        Self(Arc::new(Latch { name, gone: Mutex::new(false), changed: Condvar::new() }))
    }

    /// Waits until the port is destroyed, at most that long. Returns whether it is; that it is not goes to the log.
    pub fn wait(&self, at_most: Duration) -> bool {
        let gone = self.0.gone.lock().unwrap_or_else(PoisonError::into_inner);
        let (gone, _) = self
            .0
            .changed
            .wait_timeout_while(gone, at_most, |gone| !*gone)
            .unwrap_or_else(PoisonError::into_inner);
        if !*gone {
            tracing::warn!(
                "port {} is deleted, but something still looks at it: its device is not free",
                self.0.name
            );
        }
        *gone
    }

    /// The port is destroyed.
    pub(crate) fn tell(&self) {
        *self.0.gone.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.changed.notify_all();
    }
}
