// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Packets for user space: what travels through the upcall queue, and who may fill it.
//!
//! Each port has a queue of its own within the one [`portway_sync::FairQueue`]: a port that floods fills its own queue and loses
//! its own packets. What is lost is counted, never waited for.

use std::sync::Arc;

use portway_buf::{Packet, TunnelKey};
use portway_flow::{Action, FlowKey, Userspace};
use portway_vport::PortCounter;

use crate::datapath::{DP_LOST, Datapath};

/// Why a packet goes to user space.
#[derive(Clone, Debug)]
pub enum Reason {
    /// No flow matches it (OVS_PACKET_CMD_MISS).
    Miss,
    /// A userspace action said so (OVS_PACKET_CMD_ACTION).
    Action {
        /// The action.
        userspace: Arc<Userspace>,
        /// The flow's actions, if the userspace action asks for them.
        actions: Option<Arc<[Action]>>,
        /// The tunnel key with which a port would send the packet, if the action asks for it and there is one.
        egress_tunnel: Option<Arc<TunnelKey>>,
    },
    /// A psample action said so: a copy for whoever listens to the group.
    Sample {
        /// The group.
        group: u32,
        /// The action's own bytes.
        cookie: Option<Arc<[u8]>>,
        /// The probability with which it was sampled, in 2^-32.
        probability: u32,
    },
}

/// One packet on its way to user space.
#[derive(Debug)]
pub struct Upcall {
    /// The datapath.
    pub datapath: Arc<Datapath>,
    /// The packet: one frame with complete checksums; a sample is as it was met.
    pub packet: Packet,
    /// Its key.
    pub key: FlowKey,
    /// Why.
    pub reason: Reason,
    /// Bytes to leave out at the packet's end (a trunc action).
    pub cut_len: u32,
}

impl Upcall {
    /// Counts the packet as lost: nobody took it. Of samples nobody keeps count.
    pub fn count_lost(&self) {
        if matches!(self.reason, Reason::Sample { .. }) {
            return;
        }
        self.datapath.counters.add_shared(DP_LOST, 1);
        self.count_at_port(PortCounter::UpcallFail);
    }

    /// Counts the packet as delivered.
    pub fn count_delivered(&self) {
        self.count_at_port(PortCounter::UpcallSuccess);
    }

    fn count_at_port(&self, counter: PortCounter) {
        if let Some(port) = self.datapath.ports.get(self.key.in_port as usize, &self.datapath.pin()) {
            port.count_shared(counter, 1);
        }
    }
}
