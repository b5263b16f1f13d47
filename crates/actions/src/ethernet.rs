// SPDX-License-Identifier: Apache-2.0 OR MIT
//! push_eth and pop_eth.

use portway_buf::{Packet, PacketKind};
use portway_flow::PushEth;
use portway_wire::ethernet::{self, Repr};

use crate::error::Failure;
use crate::headers::link;
use crate::program::Move;
use crate::vlan;

/// Puts an Ethernet header before a layer-3 packet.
pub(crate) fn push(packet: &mut Packet, header: &PushEth) -> Result<(), Failure> {
    let PacketKind::Layer3(ethertype) = packet.kind() else { return Err(Failure::WrongOrder) };
    if !packet.push_front(ethernet::LEN) {
        return Err(Failure::NoRoom);
    }
    let bytes = Repr { dst: header.dst.0, src: header.src.0, ethertype }.to_bytes();
    packet.frame_mut()[..ethernet::LEN].copy_from_slice(&bytes);
    packet.set_kind(PacketKind::Ethernet);
    Ok(())
}

/// Takes the Ethernet header away.
pub(crate) fn pop(packet: &mut Packet) -> Result<(), Failure> {
    let link = link(packet).ok_or(Failure::NoHeader)?;
    if vlan::is_tagged(packet) {
        return Err(Failure::WrongOrder);
    }
    if packet.kind() != PacketKind::Ethernet || !packet.pull_front(ethernet::LEN) {
        return Err(Failure::NoHeader);
    }
    packet.set_kind(PacketKind::Layer3(link.ethertype));
    Ok(())
}

/// Whether the kernel's push_eth fails after this change to the packet (as it is before it). It wants the network header at the
/// front, which SNAP prevents, and no VLAN tag; the tag that it keeps beside the frame is still there after NSH or MPLS went before
/// everything.
pub(crate) fn forbids_push(change: &Move, packet: &Packet) -> bool {
    if matches!(change, Move::PopEthernet) {
        return link(packet).is_some_and(|link| link.l3 > ethernet::LEN);
    }
    matches!(change, Move::PushNsh(_) | Move::PushMpls { before_ethernet: true, .. })
        && vlan::is_tagged(packet)
}
