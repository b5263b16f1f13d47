// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Keys and masks that people made up. What the kernel makes of thousands is compared in `tests/conformance`.

use portway_flow::text::{NO_NUMBERS, parse_key};
use portway_flow::{FlowKey, KEY_WORDS};
use portway_netlink::AttrBuilder;
use portway_uapi::openvswitch as ovs;
use proptest::prelude::*;

use super::*;

const LINES: &[&str] = &[
    "recirc_id(0),in_port(1),eth(src=02:00:00:00:00:01),eth_type(0x0800),ipv4(src=10.0.0.0/255.0.0.0,proto=6,frag=no),tcp(dst=80)",
    "in_port(2),skb_mark(0x5),ct_state(+trk-new),ct_zone(0x3),ct_label(0x5/0xff),eth(),eth_type(0x0800),ipv4(proto=17,frag=later)",
    "in_port(1),eth(),eth_type(0x88a8),vlan(vid=5,pcp=0),encap(eth_type(0x8100),vlan(vid=6,pcp=3),encap(eth_type(0x0806),arp(op=1)))",
    "in_port(1),eth(),eth_type(0x8847),mpls(lse0=0x1000,lse1=0x1100)",
    "in_port(1),eth(),eth_type(0x86dd),ipv6(src=fd00::/ffff::,proto=58,frag=no),icmpv6(type=135,code=0),nd(target=::1)",
    "in_port(1),eth(),eth_type(0x894f),nsh(ttl=63,mdtype=1,np=3,spi=0x1,c1=0x1/0xf)",
    "tunnel(tun_id=0x1/0xff,src=1.1.1.1,dst=2.2.2.2,ttl=64,geneve({class=0x102,type=0x80,len=4,0xa0b0c0d/0xff}),flags(-df+key)),in_port(1),eth()",
    "tunnel(ipv6_src=::1,ipv6_dst=::2,ttl=64,vxlan(gbp(id=1,flags=0x8)),flags(+df)),in_port(1),eth(),eth_type(0/0xffff)",
    "in_port(1),eth_type(0x0800),ipv4(proto=132,frag=first),sctp(src=53)",
];

/// A key and mask, as attributes.
fn attributes(line: &str) -> (Vec<u8>, Vec<u8>) {
    let (key, mask) = parse_key(line, NO_NUMBERS).unwrap();
    (encode_key(&key), encode_mask(&key, &mask))
}

#[test]
fn what_is_written_is_read() {
    for line in LINES {
        let (key, mask) = parse_key(line, NO_NUMBERS).unwrap();
        let read = decode_match(&encode_key(&key), Some(&encode_mask(&key, &mask))).unwrap();
        assert_eq!(read.mask.apply(&read.key), mask.apply(&key), "{line}");
        assert_eq!(encode_mask(&read.key, &read.mask), encode_mask(&key, &mask), "{line}");
    }
}

#[test]
fn without_a_mask_all_that_is_named_is_exact() {
    let (key, _) = attributes(LINES[0]);
    let read = decode_match(&key, None).unwrap();
    let bits = read.mask.bits();
    assert_eq!((bits.tp_dst.get(), bits.ip_ttl, bits.in_port, bits.ct_state), (0xffff, 0xff, u32::MAX, 0xff));
    assert_eq!((bits.tcp_flags.get(), bits.tun_proto, bits.ipv6_exthdrs), (0xffff, 0, 0));
    assert_eq!(decode_key(&key).unwrap(), read.key);
}

/// One attribute.
fn one(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    AttrBuilder::new(&mut bytes).put(kind, payload).unwrap();
    bytes
}

#[test]
fn refusals_name_the_reason() {
    let ethernet = one(ovs::OVS_KEY_ATTR_ETHERNET, &[0; 12]);
    let ethertype = |protocol: u16| one(ovs::OVS_KEY_ATTR_ETHERTYPE, &protocol.to_be_bytes());
    let ipv4 = |fragment| one(ovs::OVS_KEY_ATTR_IPV4, &[0, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, fragment]);
    for (key, error) in [
        (vec![], KeyError::NoEthertype),
        (one(33, &[]), KeyError::OutOfRange(33)),
        (one(0, &[]), KeyError::NoEthertype),
        ([&one(0, &[])[..], &ethernet].concat(), KeyError::Unexpected(1)),
        (one(ovs::OVS_KEY_ATTR_PACKET_TYPE, &[0; 4]), KeyError::NotSupported(29)),
        ([&ethernet[..], &ethernet].concat(), KeyError::Duplicate(4)),
        (one(ovs::OVS_KEY_ATTR_ETHERNET, &[0; 11]), KeyError::Length { kind: 4, len: 11, expected: 12 }),
        (ethernet[..15].to_vec(), KeyError::Leftover),
        ([&ethernet[..], &[0; 4]].concat(), KeyError::Leftover),
        (one(ovs::OVS_KEY_ATTR_IN_PORT, &0xffff_u32.to_ne_bytes()), KeyError::Port(0xffff)),
        (one(ovs::OVS_KEY_ATTR_CT_STATE, &0x100_u32.to_ne_bytes()), KeyError::CtState(0x100)),
        ([&ethernet[..], &ethertype(0x5ff)].concat(), KeyError::Ethertype(0x5ff)),
        ([&ethernet[..], &ethertype(0x8100)].concat(), KeyError::Vlan),
        ([&ethernet[..], &ethertype(0x0800), &ipv4(3)].concat(), KeyError::Fragment(3)),
        (
            [&ethernet[..], &ethertype(0x0800), &ipv4(0)].concat(),
            KeyError::Missing { present: 0xd0, expected: 0x480 },
        ),
        (
            [&ethernet[..], &ethertype(0x8847), &one(ovs::OVS_KEY_ATTR_MPLS, &[0; 16])].concat(),
            KeyError::Labels(16),
        ),
        ([&ethernet[..], &one(ovs::OVS_KEY_ATTR_TUNNEL, &[])].concat(), KeyError::Tunnel),
    ] {
        assert_eq!(decode_key(&key), Err(error), "{key:02x?}");
        assert!(decode_match(&key, None).is_err());
    }
    let open = [&ethernet[..], &ethertype(0x0800), &ipv4(2)].concat();
    let port = one(ovs::OVS_KEY_ATTR_UDP, &[0xff; 4]);
    assert_eq!(decode_match(&open, Some(&port)), Err(KeyError::Mask { mask: 0x400, allowed: 0x1_0058 }));
}

#[test]
fn metadata_is_read_without_the_rest() {
    let (key, _) = attributes(LINES[1]);
    let metadata = decode_metadata(&key).unwrap();
    assert_eq!((metadata.in_port, metadata.skb_mark, metadata.ct_zone, metadata.ip_proto), (2, 5, 3, 0));
    assert_eq!(decode_metadata(&[]).unwrap().in_port, NO_PORT);
}

fn any_key() -> impl Strategy<Value = FlowKey> {
    proptest::collection::vec(prop_oneof![Just(0), any::<u64>()], KEY_WORDS).prop_map(|words| {
        let mut key = FlowKey::default();
        key.words_mut().copy_from_slice(&words);
        key
    })
}

proptest! {
    #[test]
    fn any_key_can_be_written(key in any_key(), mask in any_key()) {
        let mask = portway_flow::FlowMask::new(mask);
        prop_assert!(encode_key(&key).len().is_multiple_of(4));
        prop_assert!(encode_mask(&key, &mask).len().is_multiple_of(4));
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        line in 0..LINES.len(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5),
        mask_damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5),
        cut in any::<prop::sample::Index>(),
        noise in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let (mut key, mut mask) = attributes(LINES[line]);
        for (bytes, damage) in [(&mut key, damage), (&mut mask, mask_damage)] {
            for (at, value) in damage {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
        }
        // What is taken can be shown, and what is shown is the same flow.
        if let Ok(read) = decode_match(&key, Some(&mask)) {
            let shown = encode_key(&read.key);
            let again = decode_key(&shown);
            prop_assert!(again.is_ok(), "{:?}", again);
            prop_assert_eq!(encode_key(&again.unwrap()), shown);
        }
        let _ = decode_match(&key, None);
        let _ = decode_match(&key[..cut.index(key.len())], Some(&mask[..cut.index(mask.len())]));
        let _ = (decode_match(&noise, Some(&noise)), decode_metadata(&noise));
    }
}
