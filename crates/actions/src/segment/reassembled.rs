// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A packet that was made of IP fragments leaves as fragments no longer than the longest of them (RFC 791; RFC 8200, section 4.5).

use portway_buf::{DropReason, Packet, Pool};
use portway_wire::ethernet;
use portway_wire::{ip_proto, ipv4, ipv6, ipv6_ext};

use super::locate::{Network, network};
use super::{SEGMENTS_MAX, assemble, complete_checksum, field, set_ip_len};
use crate::headers::{VLAN_LEN, put16};
use crate::vlan;

/// Fragments start at multiples of this.
const UNIT: usize = 8;

/// The most bytes before the IP header, the outer VLAN tag left out: another tag and three labels (the kernel's MAX_L2_LEN).
const LINK_MAX: usize = ethernet::LEN + VLAN_LEN + 3 * 4;

/// No IPv6 packet has to be shorter than this.
const IPV6_MTU_MIN: usize = 1280;

/// Where to cut, and what stands before each piece.
struct Plan<'p> {
    network: Network,
    /// What is repeated in each fragment: everything before the payload or, with IPv6, before the place of the fragment header.
    headers: &'p [u8],
    payload: &'p [u8],
    /// Bytes of payload in a fragment, at most.
    size: usize,
}

/// Whether the packet leaves as it is through a port that takes it: it is not reassembled, or no longer than its longest fragment was.
pub fn fits_largest_fragment(packet: &Packet) -> bool {
    let beside = if vlan::is_tagged(packet) { VLAN_LEN } else { 0 };
    packet.mru() == 0 || packet.len() - beside <= usize::from(packet.mru()) + ethernet::LEN
}

/// Cuts a reassembled packet into fragments again and hands them to `out`. `id` is that of IPv6 fragments, which nobody must be able to
/// guess (RFC 7739).
///
/// # Errors
/// [`DropReason::SegmentFailed`] if there is no IP header where one may be, or a fragment would have no payload;
/// [`DropReason::NoBuffer`] if one would be too long.
pub fn fragment(
    mut packet: Packet,
    id: u32,
    pool: &mut Pool,
    out: &mut dyn FnMut(Packet),
) -> Result<(), DropReason> {
    let done = complete_checksum(&mut packet).and_then(|()| cut(&packet, id, pool, out));
    pool.give(packet);
    done
}

fn cut(packet: &Packet, id: u32, pool: &mut Pool, out: &mut dyn FnMut(Packet)) -> Result<(), DropReason> {
    let Plan { network, headers, payload, size } = plan(packet).ok_or(DropReason::SegmentFailed)?;
    // The last fragment may be of any length, the others not.
    let whole = size / UNIT * UNIT;
    let too_many = whole == 0 || payload.len() / whole > SEGMENTS_MAX;
    if payload.is_empty() || (payload.len() > size && too_many) {
        return Err(DropReason::SegmentFailed);
    }
    let mut at = 0;
    while at < payload.len() {
        let left = &payload[at..];
        let more = left.len() > size;
        let piece = if more { &left[..whole] } else { left };
        let mut fragment = match network {
            Network::V4 { l3 } => {
                let mut fragment = assemble(packet, &[headers, piece], pool).ok_or(DropReason::NoBuffer)?;
                // The packet may be a fragment itself.
                let before = field(headers, l3 + 6);
                let place = (before & ipv4::OFFSET_MASK).wrapping_add((at / UNIT) as u16);
                let more = if more { ipv4::MF } else { before & ipv4::MF };
                put16(fragment.frame_mut(), l3 + 6, (place & ipv4::OFFSET_MASK) | more);
                fragment
            }
            Network::V6 { l3 } => {
                let next_at = last_next_header(headers, l3);
                let header = ipv6_header(headers[next_at], at as u16, more, id);
                let mut fragment =
                    assemble(packet, &[headers, &header, piece], pool).ok_or(DropReason::NoBuffer)?;
                fragment.frame_mut()[next_at] = ip_proto::FRAGMENT;
                fragment
            }
        };
        set_ip_len(fragment.frame_mut(), network)?;
        out(fragment);
        at += piece.len();
    }
    Ok(())
}

fn plan(packet: &Packet) -> Option<Plan<'_>> {
    let network = network(packet)?;
    let (frame, mru) = (packet.frame(), usize::from(packet.mru()));
    let (Network::V4 { l3 } | Network::V6 { l3 }) = network;
    let beside = if vlan::is_tagged(packet) { VLAN_LEN } else { 0 };
    if l3 - beside > LINK_MAX {
        return None;
    }
    let (end, size) = match network {
        Network::V4 { l3 } => {
            let header = usize::from(frame[l3] & 0xf) * 4;
            (l3 + header.max(ipv4::MIN_LEN), mru.checked_sub(header.max(ipv4::MIN_LEN))?)
        }
        Network::V6 { l3 } => {
            let end = unfragmentable_end(frame, l3)?;
            (end, mru.max(IPV6_MTU_MIN).checked_sub(end - l3 + ipv6_ext::FRAGMENT_LEN)?)
        }
    };
    let (headers, payload) = frame.split_at_checked(end)?;
    Some(Plan { network, headers, payload, size })
}

/// Where the headers end that every router looks at: hop-by-hop options, and everything up to a routing header.
fn unfragmentable_end(frame: &[u8], l3: usize) -> Option<usize> {
    let (mut next, mut at) = (*frame.get(l3 + 6)?, l3 + ipv6::LEN);
    let mut end = at;
    while matches!(next, ip_proto::HOP_BY_HOP | ip_proto::ROUTING | ip_proto::DEST_OPTIONS) {
        let [following, len] = *frame.get(at..)?.first_chunk()?;
        at += (usize::from(len) + 1) * 8;
        if at > frame.len() {
            return None;
        }
        if next != ip_proto::DEST_OPTIONS {
            end = at;
        }
        next = following;
    }
    Some(end)
}

/// Offset of the next-header field of the last of the headers.
fn last_next_header(headers: &[u8], l3: usize) -> usize {
    let (mut field, mut at) = (l3 + 6, l3 + ipv6::LEN);
    while at < headers.len() {
        (field, at) = (at, at + (usize::from(headers[at + 1]) + 1) * 8);
    }
    field
}

fn ipv6_header(next: u8, place: u16, more: bool, id: u32) -> [u8; ipv6_ext::FRAGMENT_LEN] {
    let [a, b] = (place | u16::from(more)).to_be_bytes();
    let [c, d, e, f] = id.to_be_bytes();
    [next, 0, a, b, c, d, e, f]
}

#[cfg(test)]
mod tests;
