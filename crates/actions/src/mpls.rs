// SPDX-License-Identifier: Apache-2.0 OR MIT
//! push_mpls, add_mpls, pop_mpls and set(mpls) (RFC 3032).

use portway_buf::{Packet, PacketKind};
use portway_wire::ethernet::ethertype;

use crate::error::Failure;
use crate::headers::{ETH_TYPE_AT, VLAN_LEN, is_mpls, link, put16};

/// Bytes of a label stack entry.
const LSE_LEN: usize = 4;

/// Inserts a label stack entry: before the network header, or before everything, which makes the packet a layer-3 one.
pub(crate) fn push(
    packet: &mut Packet,
    lse: u32,
    ethertype: u16,
    before_ethernet: bool,
) -> Result<(), Failure> {
    let link = link(packet).ok_or(Failure::NoHeader)?;
    let at = if before_ethernet { 0 } else { link.l3 };
    if at > packet.len() {
        return Err(Failure::NoHeader);
    }
    if !packet.insert_gap(at, LSE_LEN) {
        return Err(Failure::NoRoom);
    }
    let kind = packet.kind();
    let frame = packet.frame_mut();
    frame[at..at + LSE_LEN].copy_from_slice(&lse.to_be_bytes());
    match kind {
        PacketKind::Ethernet if !before_ethernet => {
            // The kernel writes the Ethernet header's own type, in a SNAP frame too.
            put16(frame, ETH_TYPE_AT + link.tags * VLAN_LEN, ethertype);
        }
        PacketKind::Ethernet | PacketKind::Layer3(_) => packet.set_kind(PacketKind::Layer3(ethertype)),
    }
    Ok(())
}

/// Removes the outermost label stack entry; a packet without one stays as it is. `ethertype` is that of what follows.
pub(crate) fn pop(packet: &mut Packet, ethertype: u16) -> Result<(), Failure> {
    let Some(link) = link(packet).filter(|link| is_mpls(link.ethertype)) else { return Ok(()) };
    if !packet.remove_at(link.l3, LSE_LEN) {
        return Err(Failure::NoHeader);
    }
    match packet.kind() {
        PacketKind::Ethernet => put16(packet.frame_mut(), link.l3 - 2, ethertype),
        PacketKind::Layer3(_) if ethertype == ethertype::TEB => packet.set_kind(PacketKind::Ethernet),
        PacketKind::Layer3(_) => packet.set_kind(PacketKind::Layer3(ethertype)),
    }
    Ok(())
}

/// Writes bits of the outermost label stack entry.
pub(crate) fn set(packet: &mut Packet, value: u32, mask: u32) -> Result<(), Failure> {
    let link = link(packet).filter(|link| is_mpls(link.ethertype)).ok_or(Failure::Impossible)?;
    let lse = packet
        .frame_mut()
        .get_mut(link.l3..)
        .and_then(<[u8]>::first_chunk_mut::<LSE_LEN>)
        .ok_or(Failure::NoHeader)?;
    *lse = ((u32::from_be_bytes(*lse) & !mask) | value).to_be_bytes();
    Ok(())
}
