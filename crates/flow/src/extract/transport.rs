// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Layer 4: ports, TCP flags, ICMP type and code. A header that the frame cuts short leaves the fields zero.

use zerocopy::network_endian::U16;

use super::bytes;
use crate::key::FlowKey;

pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMPV6: u8 = 58;
pub(super) const SCTP: u8 = 132;

/// The twelve bits behind the data offset: flags and the reserved bits that have been flags at one time or another.
const TCP_FLAGS: u16 = 0x0fff;

/// TCP (RFC 9293). The header's own length must be possible, too.
pub(super) fn tcp(frame: &[u8], l4: usize, key: &mut FlowKey) {
    let Some(header) = bytes::<20>(frame, l4) else {
        return;
    };
    let header_len = usize::from(header[12] >> 4) * 4;
    if header_len < header.len() || frame.len() < l4 + header_len {
        return;
    }
    ports(key, header);
    key.tcp_flags = U16::new(u16::from_be_bytes([header[12], header[13]]) & TCP_FLAGS);
}

/// UDP (RFC 768).
pub(super) fn udp(frame: &[u8], l4: usize, key: &mut FlowKey) {
    if let Some(header) = bytes::<8>(frame, l4) {
        ports(key, header);
    }
}

/// SCTP (RFC 9260).
pub(super) fn sctp(frame: &[u8], l4: usize, key: &mut FlowKey) {
    if let Some(header) = bytes::<12>(frame, l4) {
        ports(key, header);
    }
}

/// ICMP (RFC 792) and the common part of ICMPv6 (RFC 4443): type and code stand where ports would.
pub(super) fn icmp(frame: &[u8], l4: usize, key: &mut FlowKey) {
    if let Some([icmp_type, code, ..]) = bytes::<8>(frame, l4) {
        key.tp_src = U16::new(u16::from(*icmp_type));
        key.tp_dst = U16::new(u16::from(*code));
    }
}

fn ports<const N: usize>(key: &mut FlowKey, header: &[u8; N]) {
    key.tp_src = U16::from_bytes([header[0], header[1]]);
    key.tp_dst = U16::from_bytes([header[2], header[3]]);
}
