// SPDX-License-Identifier: Apache-2.0 OR MIT
//! check_pkt_len: which of two lists to run.

use portway_buf::Packet;

use crate::headers::be16;
use crate::segment::gso;

/// Whether a packet of `len` bytes (as the kernel counts them) is longer than `limit`. A super-packet is as long as its segments
/// will be.
pub(crate) fn is_greater(packet: &Packet, len: usize, limit: u16) -> bool {
    let limit = usize::from(limit);
    match segment_len(packet) {
        Some(segment) if segment - (packet.len() - len) <= limit => false,
        Some(_) | None => len > limit,
    }
}

/// Bytes of the longest segment of a super-packet, headers included.
fn segment_len(packet: &Packet) -> Option<usize> {
    let offload = packet.offload();
    let (offloaded, (l4, _)) = (offload.gso?, offload.partial_csum?);
    let l4 = usize::from(l4);
    let header = if offloaded.gso_type & !gso::ECN == gso::UDP_L4 {
        8
    } else {
        usize::from(be16(packet.frame(), l4 + 12)? >> 12) * 4
    };
    Some(l4 + header + usize::from(offloaded.size))
}
