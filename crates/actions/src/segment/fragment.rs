// SPDX-License-Identifier: Apache-2.0 OR MIT
//! UFO: one UDP datagram leaves as IP fragments (RFC 791; RFC 8200, section 4.5). The datagram's checksum is completed first.

use portway_buf::{DropReason, Packet, Pool};
use portway_wire::{ip_proto, ipv4, ipv6, ipv6_ext};

use super::locate::{Network, network};
use super::{SEGMENTS_MAX, assemble, complete_checksum, set_ip_len};
use crate::headers::put16;

/// Fragments start at multiples of this.
const UNIT: usize = 8;

/// UFO. `id`: that of IPv6 fragments.
pub(super) fn udp(
    packet: &mut Packet,
    size: usize,
    id: u32,
    pool: &mut Pool,
    out: &mut dyn FnMut(Packet),
) -> Result<(), DropReason> {
    complete_checksum(packet)?;
    let network = network(packet).ok_or(DropReason::SegmentFailed)?;
    let (protocol, l4) = network.transport(packet.frame()).ok_or(DropReason::SegmentFailed)?;
    let payload_len = packet.len() - l4;
    let size = size / UNIT * UNIT;
    let too_many = size == 0 || payload_len.div_ceil(size) > SEGMENTS_MAX;
    if protocol != ip_proto::UDP || too_many || payload_len > usize::from(u16::MAX) {
        return Err(DropReason::SegmentFailed);
    }
    let (headers, payload) = packet.frame().split_at(l4);
    for (index, piece) in payload.chunks(size).enumerate() {
        let place = (index * size) as u16;
        let more = usize::from(place) + piece.len() < payload_len;
        let fragment = match network {
            Network::V4 { l3 } => {
                let mut fragment = assemble(packet, &[headers, piece], pool).ok_or(DropReason::NoBuffer)?;
                let more = if more { ipv4::MF } else { 0 };
                put16(fragment.frame_mut(), l3 + 6, (place / UNIT as u16) | more);
                fragment
            }
            Network::V6 { l3 } => {
                let header = ipv6_header(place, more, id);
                let mut fragment =
                    assemble(packet, &[headers, &header, piece], pool).ok_or(DropReason::NoBuffer)?;
                let next = last_next_header(headers, l3);
                fragment.frame_mut()[next] = ip_proto::FRAGMENT;
                fragment
            }
        };
        let mut fragment = fragment;
        set_ip_len(fragment.frame_mut(), network)?;
        out(fragment);
    }
    Ok(())
}

fn ipv6_header(place: u16, more: bool, id: u32) -> [u8; ipv6_ext::FRAGMENT_LEN] {
    let [a, b] = (place | u16::from(more)).to_be_bytes();
    let [c, d, e, f] = id.to_be_bytes();
    [ip_proto::UDP, 0, a, b, c, d, e, f]
}

/// Offset of the next-header field that names the layer-4 protocol: that of the last header in `headers`, which `transport`
/// has walked.
fn last_next_header(headers: &[u8], l3: usize) -> usize {
    let (mut field, mut at) = (l3 + 6, l3 + ipv6::LEN);
    while at + 2 <= headers.len() {
        let len = match headers[field] {
            ip_proto::FRAGMENT => ipv6_ext::FRAGMENT_LEN,
            ip_proto::AUTH => (usize::from(headers[at + 1]) + 2) * 4,
            _ => (usize::from(headers[at + 1]) + 1) * 8,
        };
        (field, at) = (at, at + len);
    }
    field
}
