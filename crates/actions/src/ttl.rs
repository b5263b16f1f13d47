// SPDX-License-Identifier: Apache-2.0 OR MIT
//! dec_ttl: one less time to live or hop limit.

use portway_buf::Packet;
use portway_wire::ethernet::ethertype;
use portway_wire::{ipv4, ipv6};

use crate::error::Failure;
use crate::headers::link;
use crate::set_ipv4::set_byte;

/// What became of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ttl {
    /// The packet has none.
    None,
    /// One less: this.
    Decremented(u8),
    /// It was 1 or 0, and still is.
    Expired,
}

/// Decrements. A packet with two VLAN tags passes as one that is not IP, as in the kernel, which then sees the inner tag
/// where the ethertype is.
pub(crate) fn decrement(packet: &mut Packet) -> Result<Ttl, Failure> {
    let Some(link) = link(packet).filter(|link| link.tags < 2) else { return Ok(Ttl::None) };
    let (len, at) = match link.ethertype {
        ethertype::IPV4 => (ipv4::MIN_LEN, 8),
        ethertype::IPV6 => (ipv6::LEN, 7),
        _ => return Ok(Ttl::None),
    };
    let header = packet.frame_mut().get_mut(link.l3..link.l3 + len).ok_or(Failure::NoHeader)?;
    let ttl = header[at];
    if ttl <= 1 {
        return Ok(Ttl::Expired);
    }
    if link.ethertype == ethertype::IPV4 {
        set_byte(header, at, ttl - 1, 0xff);
    } else {
        header[at] = ttl - 1;
    }
    Ok(Ttl::Decremented(ttl - 1))
}
