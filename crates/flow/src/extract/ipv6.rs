// SPDX-License-Identifier: Apache-2.0 OR MIT
//! IPv6 (RFC 8200): extension headers, fragments, and neighbour discovery (RFC 4861).
//!
//! The extension headers are walked twice, because the kernel's two walks do not agree and both can be seen: the one that looks for
//! layer 4 knows the odd length of the authentication header and stops at a header that the frame cuts short, the one that notes
//! which headers were there (`ipv6_exthdrs`) takes every header to have the common form.

use zerocopy::network_endian::U32;

use super::{bytes, transport};
use crate::key::{FlowKey, Frag, MacAddr};

/// Next-header numbers of the extension headers (IANA protocol numbers).
mod next {
    pub(super) const HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const AUTH: u8 = 51;
    pub(super) const NONE: u8 = 59;
    pub(super) const DEST: u8 = 60;
}

/// Bits of `ipv6_exthdrs` (enum ofp12_ipv6exthdr_flags).
mod seen {
    pub(super) const NONEXT: u16 = 1 << 0;
    pub(super) const ESP: u16 = 1 << 1;
    pub(super) const AUTH: u16 = 1 << 2;
    pub(super) const DEST: u16 = 1 << 3;
    pub(super) const FRAG: u16 = 1 << 4;
    pub(super) const ROUTER: u16 = 1 << 5;
    pub(super) const HOP: u16 = 1 << 6;
    pub(super) const UNREP: u16 = 1 << 7;
    pub(super) const UNSEQ: u16 = 1 << 8;
}

const HEADER_LEN: usize = 40;

/// Fills in the IPv6 and layer-4 fields and returns the offset of the layer-4 header.
pub(super) fn parse(frame: &[u8], l3: usize, first_of_many: bool, key: &mut FlowKey) -> Option<usize> {
    let header: &[u8; HEADER_LEN] = bytes(frame, l3)?;
    let word = U32::from_bytes([header[0], header[1], header[2], header[3]]).get();
    key.ipv6_exthdrs = extension_headers(frame, l3 + HEADER_LEN, header[6]);
    key.ip_proto = next::NONE;
    key.ip_tos = (word >> 20) as u8;
    key.ip_ttl = header[7];
    key.ipv6_label = U32::new(word & 0x000f_ffff);
    key.ip_src.copy_from_slice(&header[8..24]);
    key.ip_dst.copy_from_slice(&header[24..40]);

    let found = find_layer4(frame, l3 + HEADER_LEN, header[6]);
    if found.fragment {
        key.ip_frag = Frag::First as u8;
    }
    match found.end {
        End::LaterFragment => {
            key.ip_frag = Frag::Later as u8;
            key.ip_proto = next::FRAGMENT;
            None
        }
        End::Damaged => None,
        End::Layer4 { protocol, offset } => {
            key.ip_proto = protocol;
            if first_of_many {
                key.ip_frag = Frag::First as u8;
            }
            match protocol {
                transport::TCP => transport::tcp(frame, offset, key),
                transport::UDP => transport::udp(frame, offset, key),
                transport::SCTP => transport::sctp(frame, offset, key),
                transport::ICMPV6 => icmpv6(frame, offset, key),
                _ => {}
            }
            Some(offset)
        }
    }
}

/// Where the extension headers led.
enum End {
    /// To a header that is not an extension (or to "no next header").
    Layer4 { protocol: u8, offset: usize },
    /// To the middle of a datagram.
    LaterFragment,
    /// To the end of the frame, or to extension headers inside a later fragment, which nobody can know.
    Damaged,
}

struct Found {
    /// A fragment header was seen.
    fragment: bool,
    end: End,
}

const fn is_extension(protocol: u8) -> bool {
    matches!(protocol, next::HOP | next::ROUTING | next::FRAGMENT | next::AUTH | next::NONE | next::DEST)
}

/// Follows the extension headers from the one of kind `protocol` at `offset` to layer 4.
fn find_layer4(frame: &[u8], mut offset: usize, mut protocol: u8) -> Found {
    let mut fragment = false;
    loop {
        if !is_extension(protocol) || protocol == next::NONE {
            let whole = offset <= frame.len();
            return Found {
                fragment,
                end: if whole { End::Layer4 { protocol, offset } } else { End::Damaged },
            };
        }
        // A routing header is looked at as far as its segments, the others only as far as their length.
        let whole = protocol != next::ROUTING || bytes::<4>(frame, offset).is_some();
        let Some(&[following, length]) = bytes::<2>(frame, offset).filter(|_| whole) else {
            return Found { fragment, end: End::Damaged };
        };
        let units = usize::from(length);
        let header_len = match protocol {
            next::FRAGMENT => {
                fragment = true;
                let Some(position) = bytes(frame, offset + 2).map(|&field| u16::from_be_bytes(field)) else {
                    return Found { fragment, end: End::Damaged };
                };
                if position & !0x7 != 0 {
                    let known = !is_extension(following) || following == next::NONE;
                    let end = if known { End::LaterFragment } else { End::Damaged };
                    return Found { fragment, end };
                }
                8
            }
            next::AUTH => (units + 2) * 4,
            _ => (units + 1) * 8,
        };
        protocol = following;
        offset += header_len;
    }
}

/// Which extension headers there are, how often and in which order, as OpenFlow 1.2 has it (section A.2.3.7).
fn extension_headers(frame: &[u8], mut offset: usize, mut protocol: u8) -> u16 {
    let mut flags = 0;
    let mut dest_count = 0;
    while is_extension(protocol) {
        flags = match protocol {
            next::NONE => return flags | seen::NONEXT,
            next::DEST => {
                dest_count += 1;
                note_destination(flags, dest_count)
            }
            next::HOP if flags == 0 => seen::HOP,
            next::HOP => flags | seen::UNSEQ | repeated(flags, seen::HOP),
            next::ROUTING => note(flags, seen::ROUTER, seen::HOP | seen::DEST, dest_count),
            next::FRAGMENT => note(flags, seen::FRAG, seen::HOP | seen::DEST | seen::ROUTER, dest_count),
            // The kernel allows a repeated authentication header here, but not one behind a fragment header.
            _ => note(flags, seen::AUTH, seen::HOP | seen::DEST | seen::ROUTER | seen::AUTH, dest_count),
        };
        let Some(&[following, units]) = bytes::<2>(frame, offset) else {
            return flags;
        };
        protocol = following;
        offset += (usize::from(units) + 1) * 8;
    }
    flags
}

const fn repeated(flags: u16, header: u16) -> u16 {
    if flags & header != 0 { seen::UNREP } else { 0 }
}

/// Adds `header` to what was seen, given what may stand before it.
const fn note(flags: u16, header: u16, before: u16, dest_count: usize) -> u16 {
    let flags = flags | repeated(flags, header);
    let unordered = flags & !(before | seen::UNREP) != 0 || dest_count >= 2;
    flags | header | if unordered { seen::UNSEQ } else { 0 }
}

/// Destination options may come twice: before a routing header and before layer 4.
const fn note_destination(flags: u16, count: usize) -> u16 {
    const BEFORE_SECOND: u16 =
        seen::HOP | seen::DEST | seen::ROUTER | seen::FRAG | seen::AUTH | seen::ESP | seen::UNREP;
    let before = match count {
        1 => seen::HOP | seen::UNREP,
        2 => BEFORE_SECOND,
        _ => return flags | seen::UNREP,
    };
    flags | seen::DEST | if flags & !before != 0 { seen::UNSEQ } else { 0 }
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
