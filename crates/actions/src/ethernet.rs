// SPDX-License-Identifier: Apache-2.0 OR MIT
//! push_eth and pop_eth.

use portway_buf::{DropReason, Packet, PacketKind};
use portway_flow::PushEth;
use portway_wire::ethernet::{self, Repr};

use crate::headers::{ETH_TYPE_AT, be16};

/// Puts an Ethernet header before a layer-3 packet.
pub(crate) fn push(packet: &mut Packet, header: &PushEth) -> Result<(), DropReason> {
    let PacketKind::Layer3(ethertype) = packet.kind() else { return Err(DropReason::ActionFailed) };
    if !packet.push_front(ethernet::LEN) {
        return Err(DropReason::NoBuffer);
    }
    let bytes = Repr { dst: header.dst.0, src: header.src.0, ethertype }.to_bytes();
    packet.frame_mut()[..ethernet::LEN].copy_from_slice(&bytes);
    packet.set_kind(PacketKind::Ethernet);
    Ok(())
}

/// Takes the Ethernet header away.
pub(crate) fn pop(packet: &mut Packet) -> Result<(), DropReason> {
    let ethertype = be16(packet.frame(), ETH_TYPE_AT).ok_or(DropReason::ActionFailed)?;
    if packet.kind() != PacketKind::Ethernet || !packet.pull_front(ethernet::LEN) {
        return Err(DropReason::ActionFailed);
    }
    packet.set_kind(PacketKind::Layer3(ethertype));
    Ok(())
}
