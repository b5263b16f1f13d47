// SPDX-License-Identifier: Apache-2.0 OR MIT
//! set(ipv6): addresses, traffic class, flow label and hop limit, with the checksums of TCP, UDP and ICMPv6.

use portway_buf::Packet;
use portway_flow::{Ipv6Fields, Masked};
use portway_wire::ethernet::ethertype;
use portway_wire::{ip_proto, ipv6};

use crate::checksum::{Address, Summed, address_changed};
use crate::compile::check_bits;
use crate::error::{Error, Failure};
use crate::headers::{ipv6_is_routed, ipv6_transport, network};

const HOP_LIMIT_AT: usize = 7;
const SRC_AT: usize = 8;
const DST_AT: usize = 24;
/// Bits that a flow label has.
const LABEL_BITS: u32 = 0x000f_ffff;

/// Values and masks, ready to apply. The first word of the header holds traffic class and flow label.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ipv6Rewrite {
    src: u128,
    src_mask: u128,
    dst: u128,
    dst_mask: u128,
    first_word: u32,
    first_word_mask: u32,
    hlimit: u8,
    hlimit_mask: u8,
}

fn bytes(fields: &Ipv6Fields) -> [u8; 40] {
    let mut bytes = [0; 40];
    bytes[..16].copy_from_slice(&fields.src);
    bytes[16..32].copy_from_slice(&fields.dst);
    bytes[32..36].copy_from_slice(&fields.label.to_be_bytes());
    bytes[36..].copy_from_slice(&[fields.proto, fields.tclass, fields.hlimit, fields.frag]);
    bytes
}

const fn first_word(fields: &Ipv6Fields) -> u32 {
    ((fields.tclass as u32) << 20) | fields.label
}

impl Ipv6Rewrite {
    pub(crate) fn new(fields: &Masked<Ipv6Fields>) -> Result<Self, Error> {
        let all = Ipv6Fields {
            src: [0xff; 16],
            dst: [0xff; 16],
            label: LABEL_BITS,
            proto: 0,
            tclass: 0xff,
            hlimit: 0xff,
            frag: 0,
        };
        check_bits(
            &bytes(&fields.value),
            fields.mask.as_ref().map(bytes).as_ref().map(<[u8; 40]>::as_slice),
        )?;
        let (value, mask) = (&fields.value, fields.mask.as_ref().unwrap_or(&all));
        if (value.label | mask.label) & !LABEL_BITS != 0 {
            return Err(Error::LabelTooLarge);
        }
        Ok(Self {
            src: u128::from_be_bytes(value.src),
            src_mask: u128::from_be_bytes(mask.src),
            dst: u128::from_be_bytes(value.dst),
            dst_mask: u128::from_be_bytes(mask.dst),
            first_word: first_word(value),
            first_word_mask: first_word(mask),
            hlimit: value.hlimit,
            hlimit_mask: mask.hlimit,
        })
    }

    pub(crate) fn apply(&self, packet: &mut Packet) -> Result<(), Failure> {
        let Some(l3) = network(packet, ethertype::IPV6, ipv6::LEN)? else { return Ok(()) };
        if self.src_mask != 0 {
            set_address(packet, l3, SRC_AT, self.src, self.src_mask, false);
        }
        if self.dst_mask != 0 {
            set_address(packet, l3, DST_AT, self.dst, self.dst_mask, true);
        }
        let header = &mut packet.frame_mut()[l3..l3 + ipv6::LEN];
        if let Some(word) = header.first_chunk_mut::<4>() {
            *word = ((u32::from_be_bytes(*word) & !self.first_word_mask) | self.first_word).to_be_bytes();
        }
        header[HOP_LIMIT_AT] = (header[HOP_LIMIT_AT] & !self.hlimit_mask) | self.hlimit;
        Ok(())
    }
}

fn set_address(packet: &mut Packet, l3: usize, at: usize, value: u128, mask: u128, is_dst: bool) {
    let Some(field) = packet.frame_mut()[l3 + at..].first_chunk_mut::<16>() else { return };
    let old = *field;
    let new = ((u128::from_be_bytes(old) & !mask) | value).to_be_bytes();
    if new == old {
        return;
    }
    *field = new;
    let frame = packet.frame();
    if is_dst && ipv6_is_routed(frame, l3) {
        return;
    }
    let (protocol, l4) = ipv6_transport(frame, l3);
    let summed = match protocol {
        ip_proto::TCP => Summed::Tcp,
        ip_proto::UDP => Summed::Udp,
        ip_proto::ICMPV6 => Summed::Icmpv6,
        _ => return,
    };
    address_changed(packet, l4, summed, Address::V6 { old, new });
}
