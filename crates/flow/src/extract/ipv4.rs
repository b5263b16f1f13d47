// SPDX-License-Identifier: Apache-2.0 OR MIT
//! IPv4 (RFC 791).

use super::{bytes, transport};
use crate::key::{FlowKey, Frag};

const MORE_FRAGMENTS: u16 = 0x2000;
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// Fills in the IPv4 and layer-4 fields and returns the offset of the layer-4 header. A header that does not fit in the frame, or
/// claims to be shorter than it can be, leaves all of them zero.
pub(super) fn parse(frame: &[u8], l3: usize, first_of_many: bool, key: &mut FlowKey) -> Option<usize> {
    let header: &[u8; 20] = bytes(frame, l3)?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let l4 = l3 + header_len;
    if header_len < header.len() || frame.len() < l4 {
        return None;
    }
    key.ip_tos = header[1];
    key.ip_ttl = header[8];
    key.ip_proto = header[9];
    key.ip_src[..4].copy_from_slice(&header[12..16]);
    key.ip_dst[..4].copy_from_slice(&header[16..20]);
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    if fragment & FRAGMENT_OFFSET != 0 {
        key.ip_frag = Frag::Later as u8;
        return Some(l4);
    }
    if fragment & MORE_FRAGMENTS != 0 || first_of_many {
        key.ip_frag = Frag::First as u8;
    }
    match key.ip_proto {
        transport::TCP => transport::tcp(frame, l4, key),
        transport::UDP => transport::udp(frame, l4, key),
        transport::SCTP => transport::sctp(frame, l4, key),
        transport::ICMP => transport::icmp(frame, l4, key),
        _ => {}
    }
    Some(l4)
}
