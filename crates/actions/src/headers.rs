// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where a packet's headers are, found by a short walk when an action needs them.
//!
//! The walk sees what key extraction sees (VLAN tags, 802.2 SNAP, IPv6 extension headers), so that a header that the flow's
//! key promised is found where the key's fields came from.

use portway_buf::{Packet, PacketKind};
use portway_wire::ethernet::{self, ethertype};
use portway_wire::ipv6_ext::{self, End};
use portway_wire::{ip_proto, ipv4, ipv6};

use crate::error::Failure;

/// Where a frame's first ethertype is.
pub(crate) const ETH_TYPE_AT: usize = 12;
/// VLAN tags behind which the network header is looked for. A key knows two; push_vlan may add as many as there is headroom for.
const TAGS_MAX: usize = 128;
/// Bytes of a VLAN tag.
pub(crate) const VLAN_LEN: usize = 4;

/// Whether the ethertype is one of MPLS.
#[inline]
pub(crate) const fn is_mpls(ethertype: u16) -> bool {
    matches!(ethertype, ethertype::MPLS_UNICAST | ethertype::MPLS_MULTICAST)
}

/// Whether the ethertype is a VLAN tag's.
#[inline]
pub(crate) const fn is_vlan(ethertype: u16) -> bool {
    matches!(ethertype, ethertype::VLAN | ethertype::QINQ)
}

/// Two bytes of `frame` at `at`, as a number in network order.
#[inline]
pub(crate) fn be16(frame: &[u8], at: usize) -> Option<u16> {
    match frame.get(at..)? {
        [a, b, ..] => Some(u16::from_be_bytes([*a, *b])),
        _ => None,
    }
}

/// Writes two bytes in network order; the caller knows that they are there.
#[inline]
pub(crate) fn put16(frame: &mut [u8], at: usize, value: u16) {
    frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// What lies between the start of the frame and the network header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// Ethertype of the network header.
    pub(crate) ethertype: u16,
    /// Offset of the network header.
    pub(crate) l3: usize,
    /// VLAN tags in front of it.
    pub(crate) tags: usize,
}

/// Finds the network header; `None` if the frame ends before it.
#[inline]
pub(crate) fn link(packet: &Packet) -> Option<Link> {
    if let PacketKind::Layer3(ethertype) = packet.kind() {
        return Some(Link { ethertype, l3: 0, tags: 0 });
    }
    let frame = packet.frame();
    let mut at = ETH_TYPE_AT;
    let mut tags = 0;
    let mut ethertype = be16(frame, at)?;
    while tags < TAGS_MAX && is_vlan(ethertype) {
        at += VLAN_LEN;
        tags += 1;
        ethertype = be16(frame, at)?;
    }
    if ethertype >= ethertype::MIN {
        return Some(Link { ethertype, l3: at + 2, tags });
    }
    Some(logical_link(frame, at + 2, tags))
}

/// An 802.3 frame: a SNAP header of the Ethernet organisation gives the ethertype.
#[cold]
fn logical_link(frame: &[u8], at: usize, tags: usize) -> Link {
    let snap = frame.get(at..at + ethernet::SNAP_LEN).filter(|llc| llc[..6] == [0xaa, 0xaa, 3, 0, 0, 0]);
    match snap.map(|llc| u16::from_be_bytes([llc[6], llc[7]])) {
        Some(ethertype) if ethertype >= ethertype::MIN => {
            Link { ethertype, l3: at + ethernet::SNAP_LEN, tags }
        }
        Some(_) => Link { ethertype: ethertype::LLC_802_2, l3: at + ethernet::SNAP_LEN, tags },
        None => Link { ethertype: ethertype::LLC_802_2, l3: at, tags },
    }
}

/// Offset of the network header, of which `len` bytes are there. `None`: the packet starts with something else by now, since a header
/// has been pushed that the list's validation does not follow (push_nsh, as in the kernel): there is nothing to set then.
#[inline]
pub(crate) fn network(packet: &Packet, ethertype: u16, len: usize) -> Result<Option<usize>, Failure> {
    let link = link(packet).ok_or(Failure::NoHeader)?;
    if link.ethertype != ethertype {
        return Ok(None);
    }
    if link.l3 + len <= packet.len() { Ok(Some(link.l3)) } else { Err(Failure::NoHeader) }
}

/// Offset of the layer-4 header of the IPv4 packet at `l3`, whose fixed header is whole. The network header's own offset if its
/// length is damaged: the kernel keeps the layer-4 offset there in that case.
#[inline]
pub(crate) fn ipv4_transport(frame: &[u8], l3: usize) -> usize {
    let header = usize::from(frame[l3] & 0x0f) * 4;
    if header < ipv4::MIN_LEN || l3 + header > frame.len() { l3 } else { l3 + header }
}

/// Protocol and offset of the layer-4 header of the IPv6 packet at `l3`, whose fixed header is whole; protocol 44 for a later
/// fragment, 59 if the extension headers are damaged.
#[inline]
pub(crate) fn ipv6_transport(frame: &[u8], l3: usize) -> (u8, usize) {
    let rest = l3 + ipv6::LEN;
    match ipv6_ext::walk(frame[l3 + 6], &frame[rest..]).end {
        End::Upper { protocol, at } => (protocol, rest + at),
        End::LaterFragment => (ip_proto::FRAGMENT, l3),
        End::Broken => (ip_proto::NONE, l3),
    }
}

/// Whether the IPv6 packet at `l3` has a routing header with segments left: its destination address is then not the one
/// that layer 4 sums.
pub(crate) fn ipv6_is_routed(frame: &[u8], l3: usize) -> bool {
    let (mut next, mut at) = (frame[l3 + 6], l3 + ipv6::LEN);
    while ipv6_ext::is_extension(next) && next != ip_proto::NONE {
        let Some(&[following, len, _, left, ..]) = frame.get(at..) else { return false };
        match next {
            ip_proto::ROUTING if left != 0 => return true,
            ip_proto::FRAGMENT => {
                if be16(frame, at + 2).is_none_or(|place| place & !7 != 0) {
                    return false;
                }
                at += ipv6_ext::FRAGMENT_LEN;
            }
            ip_proto::AUTH => at += (usize::from(len) + 2) * 4,
            _ => at += (usize::from(len) + 1) * 8,
        }
        next = following;
    }
    false
}
