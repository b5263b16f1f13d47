// SPDX-License-Identifier: Apache-2.0 OR MIT
//! push_nsh and pop_nsh (RFC 8300).

use portway_buf::{Packet, PacketKind};
use portway_flow::PushNsh;
use portway_wire::ethernet::ethertype;
use portway_wire::nsh::{BASE_LEN, md_type, np};

use crate::error::Failure;

/// Where the next protocol is.
const NP_AT: usize = 3;
/// Bytes of metadata: exactly so many of type 1, at most so many of type 2.
const MD1_METADATA_LEN: usize = 16;
const MD2_METADATA_MAX: usize = 248;

/// NSH's number for what an ethertype names.
pub(crate) const fn protocol_of(ethertype: u16) -> Option<u8> {
    match ethertype {
        ethertype::IPV4 => Some(np::IPV4),
        ethertype::IPV6 => Some(np::IPV6),
        ethertype::TEB => Some(np::ETHERNET),
        ethertype::NSH => Some(np::NSH),
        ethertype::MPLS_UNICAST => Some(np::MPLS),
        _ => None,
    }
}

/// The ethertype of what an NSH next protocol names.
pub(crate) const fn ethertype_of(protocol: u8) -> Option<u16> {
    match protocol {
        np::IPV4 => Some(ethertype::IPV4),
        np::IPV6 => Some(ethertype::IPV6),
        np::ETHERNET => Some(ethertype::TEB),
        np::NSH => Some(ethertype::NSH),
        np::MPLS => Some(ethertype::MPLS_UNICAST),
        _ => None,
    }
}

/// The header's bytes; `None` if it cannot be. Values too large for their bits lose the upper ones, as in the kernel: a length of
/// 64 words becomes 0, and nothing is inserted.
pub(crate) fn header_bytes(header: &PushNsh) -> Option<Box<[u8]>> {
    let metadata = header.metadata.as_slice();
    let fits = match header.mdtype {
        md_type::FIXED => metadata.len() == MD1_METADATA_LEN,
        md_type::VARIABLE => !metadata.is_empty() && metadata.len() <= MD2_METADATA_MAX,
        _ => false,
    };
    if !fits {
        return None;
    }
    let words = ((BASE_LEN + metadata.len()) >> 2) & 0x3f;
    let first =
        ((u16::from(header.flags) << 12) & 0x3000) | ((u16::from(header.ttl) << 6) & 0x0fc0) | words as u16;
    let mut bytes = Vec::with_capacity(BASE_LEN + metadata.len());
    bytes.extend_from_slice(&first.to_be_bytes());
    bytes.extend_from_slice(&[header.mdtype, header.np]);
    bytes.extend_from_slice(&header.path_hdr.to_be_bytes());
    bytes.extend_from_slice(metadata);
    bytes.truncate(words * 4);
    Some(bytes.into_boxed_slice())
}

/// Puts the header before the packet; its next protocol says what the packet starts with.
pub(crate) fn push(packet: &mut Packet, header: &[u8]) -> Result<(), Failure> {
    let next = match packet.kind() {
        PacketKind::Ethernet => np::ETHERNET,
        PacketKind::Layer3(ethertype) => protocol_of(ethertype).ok_or(Failure::UnknownProtocol)?,
    };
    if !packet.push_front(header.len()) {
        return Err(Failure::NoRoom);
    }
    let frame = packet.frame_mut();
    frame[..header.len()].copy_from_slice(header);
    *frame.get_mut(NP_AT).ok_or(Failure::NoHeader)? = next;
    packet.set_kind(PacketKind::Layer3(ethertype::NSH));
    Ok(())
}

/// Takes the header away. The kernel looks for it where the packet starts, also if an Ethernet header is there.
pub(crate) fn pop(packet: &mut Packet) -> Result<(), Failure> {
    let base = packet.frame().first_chunk::<BASE_LEN>().ok_or(Failure::NoHeader)?;
    let len = usize::from(base[1] & 0x3f) * 4;
    let inner = ethertype_of(base[NP_AT]);
    if len < BASE_LEN {
        return Err(Failure::Impossible);
    }
    if len > packet.len() {
        return Err(Failure::NoHeader);
    }
    let inner = inner.ok_or(Failure::UnknownProtocol)?;
    if !packet.pull_front(len) {
        return Err(Failure::NoHeader);
    }
    packet.set_kind(match inner {
        ethertype::TEB => PacketKind::Ethernet,
        other => PacketKind::Layer3(other),
    });
    Ok(())
}
