// SPDX-License-Identifier: Apache-2.0 OR MIT
//! push_vlan and pop_vlan. Tags stand in the frame; the kernel keeps the outermost one beside it, which shows in lengths only.

use portway_buf::Packet;
use portway_flow::PushVlan;

use crate::error::Failure;
use crate::headers::{ETH_TYPE_AT, VLAN_LEN, be16, is_vlan, put16};

/// The bit of a TCI that says "there is a tag" in a key; it is not sent.
const CFI: u16 = 0x1000;

/// Inserts a tag before all others.
pub(crate) fn push(packet: &mut Packet, tag: &PushVlan) -> Result<(), Failure> {
    if packet.len() < ETH_TYPE_AT + 2 {
        return Err(Failure::NoHeader);
    }
    if !packet.insert_gap(ETH_TYPE_AT, VLAN_LEN) {
        return Err(Failure::NoRoom);
    }
    let frame = packet.frame_mut();
    put16(frame, ETH_TYPE_AT, tag.tpid);
    put16(frame, ETH_TYPE_AT + 2, tag.tci & !CFI);
    Ok(())
}

/// Removes the outermost tag; a packet without one stays as it is.
pub(crate) fn pop(packet: &mut Packet) -> Result<(), Failure> {
    if !is_tagged(packet) {
        return Ok(());
    }
    if packet.len() >= ETH_TYPE_AT + VLAN_LEN + 2 && packet.remove_at(ETH_TYPE_AT, VLAN_LEN) {
        Ok(())
    } else {
        Err(Failure::NoHeader)
    }
}

/// Whether the frame starts with a VLAN tag.
#[inline]
pub(crate) fn is_tagged(packet: &Packet) -> bool {
    packet.kind() == portway_buf::PacketKind::Ethernet
        && be16(packet.frame(), ETH_TYPE_AT).is_some_and(is_vlan)
}

/// Whether a second tag follows the first.
pub(crate) fn is_tagged_twice(packet: &Packet) -> bool {
    is_tagged(packet) && be16(packet.frame(), ETH_TYPE_AT + VLAN_LEN).is_some_and(is_vlan)
}
