// SPDX-License-Identifier: Apache-2.0 OR MIT
//! trunc: cuts the packet's end off at the next output.

use portway_buf::{Offload, Packet, PacketKind};
use portway_wire::ethernet;

use crate::headers::VLAN_LEN;
use crate::vlan;

/// Takes `cut` bytes from the end, but never a part of the Ethernet header with its outermost tag. What the offloads would have done
/// to bytes that are gone is not done any more.
pub(crate) fn apply(packet: &mut Packet, cut: u32) {
    let header = match packet.kind() {
        PacketKind::Ethernet if vlan::is_tagged(packet) => ethernet::LEN + VLAN_LEN,
        PacketKind::Ethernet => ethernet::LEN,
        PacketKind::Layer3(_) => 0,
    };
    let before = packet.len();
    packet.truncate(before.saturating_sub(cut as usize).max(header));
    if packet.len() == before {
        return;
    }
    packet.set_checksum_verified(false);
    if packet.is_plain() {
        return;
    }
    let Offload { partial_csum, gso } = packet.offload();
    let kept =
        partial_csum.filter(|&(start, offset)| usize::from(start) + usize::from(offset) + 2 <= packet.len());
    packet.set_offload(Offload { partial_csum: kept, gso });
}

/// Whether so much of a super-packet is gone that it is not even one segment: the kernel fails to segment it and drops it.
pub(crate) fn spoils_segmentation(packet: &Packet) -> bool {
    let Offload { partial_csum, gso: Some(gso) } = packet.offload() else { return false };
    partial_csum.is_none_or(|(l4, _)| packet.len() <= usize::from(l4) + usize::from(gso.size))
}
