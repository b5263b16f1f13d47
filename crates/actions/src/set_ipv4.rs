// SPDX-License-Identifier: Apache-2.0 OR MIT
//! set(ipv4): addresses, type of service and time to live, with the checksums of IPv4, TCP and UDP.

use portway_buf::Packet;
use portway_flow::{Ipv4Fields, Masked};
use portway_wire::checksum::{update16, update32};
use portway_wire::ethernet::ethertype;
use portway_wire::{ip_proto, ipv4};

use crate::checksum::{Address, Summed, address_changed};
use crate::compile::check_bits;
use crate::error::{Error, Failure};
use crate::headers::{be16, ipv4_transport, network, put16};

const CHECKSUM_AT: usize = 10;
const SRC_AT: usize = 12;
const DST_AT: usize = 16;
const TTL_AT: usize = 8;

/// Values and masks, ready to apply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ipv4Rewrite {
    src: u32,
    src_mask: u32,
    dst: u32,
    dst_mask: u32,
    tos: u8,
    tos_mask: u8,
    ttl: u8,
    ttl_mask: u8,
}

fn bytes(fields: &Ipv4Fields) -> [u8; 12] {
    let ([a, b, c, d], [e, f, g, h]) = (fields.src, fields.dst);
    [a, b, c, d, e, f, g, h, fields.proto, fields.tos, fields.ttl, fields.frag]
}

impl Ipv4Rewrite {
    pub(crate) fn new(fields: &Masked<Ipv4Fields>) -> Result<Self, Error> {
        let all = Ipv4Fields { src: [0xff; 4], dst: [0xff; 4], proto: 0, tos: 0xff, ttl: 0xff, frag: 0 };
        check_bits(
            &bytes(&fields.value),
            fields.mask.as_ref().map(bytes).as_ref().map(<[u8; 12]>::as_slice),
        )?;
        let (value, mask) = (&fields.value, fields.mask.as_ref().unwrap_or(&all));
        Ok(Self {
            src: u32::from_be_bytes(value.src),
            src_mask: u32::from_be_bytes(mask.src),
            dst: u32::from_be_bytes(value.dst),
            dst_mask: u32::from_be_bytes(mask.dst),
            tos: value.tos,
            tos_mask: mask.tos,
            ttl: value.ttl,
            ttl_mask: mask.ttl,
        })
    }

    pub(crate) fn apply(&self, packet: &mut Packet) -> Result<(), Failure> {
        let Some(l3) = network(packet, ethertype::IPV4, ipv4::MIN_LEN)? else { return Ok(()) };
        set_address(packet, l3, SRC_AT, self.src, self.src_mask);
        set_address(packet, l3, DST_AT, self.dst, self.dst_mask);
        let header = &mut packet.frame_mut()[l3..l3 + ipv4::MIN_LEN];
        set_byte(header, 1, self.tos, self.tos_mask);
        set_byte(header, TTL_AT, self.ttl, self.ttl_mask);
        Ok(())
    }
}

fn set_address(packet: &mut Packet, l3: usize, at: usize, value: u32, mask: u32) {
    let address = |packet: &Packet| {
        packet.frame()[l3 + at..].first_chunk().map_or(0, |field| u32::from_be_bytes(*field))
    };
    let old = address(packet);
    let new = (old & !mask) | value;
    if new == old {
        return;
    }
    // Layer 4 comes first, as in the kernel: where a damaged header length puts its checksum into this header, it shows.
    transport_checksum(packet, l3, old, new);
    let old = address(packet);
    let header = &mut packet.frame_mut()[l3..];
    if let Some(checksum) = be16(header, CHECKSUM_AT) {
        put16(header, CHECKSUM_AT, update32(checksum, old, new));
    }
    header[at..at + 4].copy_from_slice(&new.to_be_bytes());
}

fn transport_checksum(packet: &mut Packet, l3: usize, old: u32, new: u32) {
    let frame = packet.frame();
    let summed = match frame[l3 + 9] {
        ip_proto::TCP => Summed::Tcp,
        ip_proto::UDP => Summed::Udp,
        _ => return,
    };
    // A later fragment has no layer-4 header.
    if be16(frame, l3 + 6).is_some_and(|place| place & ipv4::OFFSET_MASK == 0) {
        let l4 = ipv4_transport(frame, l3);
        address_changed(packet, l4, summed, Address::V4 { old, new });
    }
}

/// Changes one byte of the header and the header's checksum.
pub(crate) fn set_byte(header: &mut [u8], at: usize, value: u8, mask: u8) {
    let even = at & !1;
    let (Some(before), Some(checksum)) = (be16(header, even), be16(header, CHECKSUM_AT)) else { return };
    if mask == 0 {
        return;
    }
    header[at] = (header[at] & !mask) | value;
    let after = be16(header, even).unwrap_or(before);
    put16(header, CHECKSUM_AT, update16(checksum, before, after));
}
