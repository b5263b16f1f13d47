// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Checksums kept right while headers change: RFC 1624 on a whole checksum, and its plain-sum twin on a partial one.
//!
//! A *partial* checksum field holds the pseudo header's sum only; the rest is added where the packet leaves. So a change to what the
//! pseudo header covers adjusts the sum, and a change to anything else leaves the field alone.

use portway_buf::Packet;
use portway_wire::checksum::{nonzero, update32, update32_partial, update128, update128_partial};

use crate::headers::{be16, put16};

/// State of the checksum of the layer-4 header at one offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coverage {
    /// The field holds a whole checksum.
    Whole,
    /// The field holds the pseudo header's sum.
    PseudoHeader,
}

/// How the checksum of the layer-4 header at `l4` stands.
#[inline]
pub(crate) fn coverage(packet: &Packet, l4: usize) -> Coverage {
    match packet.offload().partial_csum {
        Some((start, _)) if usize::from(start) == l4 => Coverage::PseudoHeader,
        Some(_) | None => Coverage::Whole,
    }
}

/// An address of a pseudo header, before and after.
#[derive(Clone, Copy)]
pub(crate) enum Address {
    V4 { old: u32, new: u32 },
    V6 { old: [u8; 16], new: [u8; 16] },
}

/// A layer-4 protocol whose checksum covers the addresses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Summed {
    Tcp,
    Udp,
    Icmpv6,
}

impl Summed {
    /// Bytes of the header, and the checksum's place in it.
    const fn shape(self) -> (usize, usize) {
        match self {
            Self::Tcp => (20, 16),
            Self::Udp => (8, 6),
            Self::Icmpv6 => (8, 2),
        }
    }
}

/// Adjusts the layer-4 checksum at `l4` for a changed address. A header that is not whole is left as it is, and so is a UDP
/// checksum of zero, which means "none".
pub(crate) fn address_changed(packet: &mut Packet, l4: usize, protocol: Summed, address: Address) {
    let (header_len, at) = protocol.shape();
    if l4 + header_len > packet.len() {
        return;
    }
    let coverage = coverage(packet, l4);
    let frame = packet.frame_mut();
    let Some(old) = be16(frame, l4 + at) else { return };
    if protocol == Summed::Udp && old == 0 && coverage == Coverage::Whole {
        return;
    }
    let new = match (coverage, address) {
        (Coverage::Whole, Address::V4 { old: from, new: to }) => update32(old, from, to),
        (Coverage::Whole, Address::V6 { old: from, new: to }) => update128(old, from, to),
        (Coverage::PseudoHeader, Address::V4 { old: from, new: to }) => update32_partial(old, from, to),
        (Coverage::PseudoHeader, Address::V6 { old: from, new: to }) => update128_partial(old, from, to),
    };
    put16(frame, l4 + at, if protocol == Summed::Udp { nonzero(new) } else { new });
}
