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

/// Effects in the order in which they are to be carried out. Made once, emptied per batch: pushing allocates nothing once it has
/// grown to the largest number that a batch ever made.
#[derive(Debug, Default)]
pub struct Effects(Vec<Effect>);

impl Effects {
    /// Room for `capacity` effects.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// Adds one.
    #[inline]
    pub fn push(&mut self, effect: Effect) {
        self.0.push(effect);
    }

    /// Takes all of them, in order; the room stays.
    #[inline]
    pub fn drain(&mut self) -> impl Iterator<Item = Effect> + '_ {
        self.0.drain(..)
    }

    /// How many there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
