// SPDX-License-Identifier: Apache-2.0 OR MIT
//! IPv6 (RFC 8200) with its extension headers and fragments, and neighbour discovery (RFC 4861).

use portway_wire::ipv6_ext::{self, End};
use zerocopy::network_endian::U32;

use super::{bytes, transport};
use crate::key::{FlowKey, Frag, MacAddr};

const HEADER_LEN: usize = 40;

/// Fills in the IPv6 and layer-4 fields and returns the offset of the layer-4 header.
pub(super) fn parse(frame: &[u8], l3: usize, first_of_many: bool, key: &mut FlowKey) -> Option<usize> {
    let header: &[u8; HEADER_LEN] = bytes(frame, l3)?;
    let word = U32::from_bytes([header[0], header[1], header[2], header[3]]).get();
    let rest = &frame[l3 + HEADER_LEN..];
    let walk = ipv6_ext::walk(header[6], rest);
    key.ip_proto = walk.key_protocol();
    key.ip_frag = walk.frag_type();
    key.ip_tos = (word >> 20) as u8;
    key.ip_ttl = header[7];
    key.ipv6_label = U32::new(word & 0x000f_ffff);
    key.ipv6_exthdrs = ipv6_ext::seen(header[6], rest);
    key.ip_src.copy_from_slice(&header[8..24]);
    key.ip_dst.copy_from_slice(&header[24..40]);
    let End::Upper { protocol, at } = walk.end else {
        return None;
    };
    if first_of_many {
        key.ip_frag = Frag::First as u8;
    }
    let l4 = l3 + HEADER_LEN + at;
    match protocol {
        transport::TCP => transport::tcp(frame, l4, key),
        transport::UDP => transport::udp(frame, l4, key),
        transport::SCTP => transport::sctp(frame, l4, key),
        transport::ICMPV6 => icmpv6(frame, l4, key),
        _ => {}
    }
    Some(l4)
}

const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const OPTION_SOURCE_LINK_LAYER: u8 = 1;
const OPTION_TARGET_LINK_LAYER: u8 = 2;

fn icmpv6(frame: &[u8], l4: usize, key: &mut FlowKey) {
    transport::icmp(frame, l4, key);
    if let Some([NEIGHBOUR_SOLICITATION | NEIGHBOUR_ADVERTISEMENT, 0, ..]) = bytes::<8>(frame, l4) {
        neighbour_discovery(frame, l4, key);
    }
}

/// Target and link-layer addresses. An option that comes twice makes the message worthless; one with an impossible length ends it.
fn neighbour_discovery(frame: &[u8], l4: usize, key: &mut FlowKey) {
    let Some(message) = bytes::<24>(frame, l4) else {
        return;
    };
    key.nd_target.copy_from_slice(&message[8..]);
    let mut options = &frame[l4 + message.len()..];
    while let Some(&[kind, units, ref address @ ..]) = options.first_chunk::<8>() {
        let length = usize::from(units) * 8;
        if length == 0 || length > options.len() {
            return;
        }
        let slot = match kind {
            OPTION_SOURCE_LINK_LAYER if units == 1 => Some(&mut key.nd_sll),
            OPTION_TARGET_LINK_LAYER if units == 1 => Some(&mut key.nd_tll),
            _ => None,
        };
        if let Some(slot) = slot {
            if !slot.is_zero() {
                key.nd_target = [0; 16];
                (key.nd_sll, key.nd_tll) = (MacAddr::default(), MacAddr::default());
                return;
            }
            *slot = MacAddr(*address);
        }
        options = &options[length..];
    }
}
