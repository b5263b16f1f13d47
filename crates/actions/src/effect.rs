// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What running a program asks the datapath to do: the only way in which execution touches the world.

use std::sync::Arc;

use portway_buf::Packet;
use portway_flow::{FlowKey, Userspace};

/// One thing to do.
#[derive(Debug)]
pub enum Effect {
    /// Send the packet out of a port.
    Output {
        /// The port's number; it may not exist.
        port: u32,
        /// The packet, already cut if a trunc action said so.
        packet: Packet,
    },
    /// Look the packet up again. Its recirculation id is set and counted.
    Recirculate {
        /// The packet.
        packet: Packet,
    },
    /// Send the packet to user space (OVS_PACKET_CMD_ACTION).
    Upcall {
        /// The packet, whole.
        packet: Packet,
        /// The key to report; `None`: the packet's, to be extracted from it.
        key: Option<Box<FlowKey>>,
        /// What the action says.
        userspace: Arc<Userspace>,
        /// Bytes to leave out at the packet's end (a trunc action); if not 0, the message also says how long the packet was.
        cut_len: u32,
    },
    /// Send the packet to a psample group.
    Psample {
        /// The packet, whole.
        packet: Packet,
        /// The group.
        group: u32,
        /// Opaque bytes for the receiver.
        cookie: Option<Arc<[u8]>>,
        /// The probability of the sample action around it, in 2^-32; u32::MAX: always.
        probability: u32,
        /// Bytes to leave out at the packet's end.
        cut_len: u32,
    },
}
