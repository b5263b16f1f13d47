// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Action lists that people made up. What the kernel makes of thousands is compared in `tests/conformance`.

use portway_flow::text::{NO_NUMBERS, parse_actions};
use portway_netlink::AttrBuilder;
use portway_uapi::Errno;
use portway_uapi::openvswitch as ovs;
use proptest::prelude::*;

use super::*;
use crate::key::KeyError;

const LISTS: &[&str] = &[
    "drop",
    "1,userspace(pid=1,userdata(01020304),actions,tunnel_out_port=3),drop(3)",
    "set(eth(src=02:00:00:00:00:05/ff:ff:ff:ff:ff:ff)),set(ipv4(src=1.1.1.1,dst=2.2.2.2,proto=6,tos=0,ttl=5,frag=no))",
    "set(ipv6(label=0x5/0xff)),set(tcp(src=1,dst=2)),set(udp(dst=2)),set(sctp(src=1)),set(skb_mark(1/1)),set(skb_priority(2))",
    "set(ct_mark(1)),set(ct_label(0x1/0x1)),set(mpls(label=1,tc=0,ttl=3,bos=1))",
    "set(tunnel(tun_id=0x1,src=1.1.1.1,dst=2.2.2.2,ttl=64,geneve({class=0x1,type=0x80,len=4,0x1}),flags(df|key)))",
    "push_vlan(vid=1,pcp=3),pop_vlan,push_mpls(label=1,tc=0,ttl=2,bos=1,eth_type=0x8847),pop_mpls(eth_type=0x800)",
    "add_mpls(label=1,tc=0,ttl=2,bos=1,eth_type=0x8847),push_eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),pop_eth",
    "push_nsh(flags=0,ttl=63,mdtype=1,np=3,spi=0x1,si=255,c1=0x1),push_nsh(mdtype=2,md2=0x01020304),pop_nsh()",
    "sample(sample=50.0%,actions(3,clone(2,hash(hash_l4(1)),recirc(0x1)))),trunc(100),meter(4),psample(group=1,cookie=0x01)",
    "check_pkt_len(size=200,gt(2),le(dec_ttl(le_1(drop)))),hash(sym_l4(2))",
];

#[test]
fn what_is_written_is_read() {
    for text in LISTS {
        let list = parse_actions(text, NO_NUMBERS).unwrap();
        assert_eq!(decode_actions(&encode_actions(&list).unwrap()), Ok(list), "{text}");
    }
}

/// One attribute.
fn one(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    AttrBuilder::new(&mut bytes).put(kind, payload).unwrap();
    bytes
}

#[test]
fn refusals_name_the_reason() {
    let set = |kind, payload: &[u8]| one(ovs::OVS_ACTION_ATTR_SET, &one(kind, payload));
    for (list, error) in [
        (one(0, &[]), ActionError::Unknown(0)),
        (one(26, &[]), ActionError::Unknown(26)),
        (one(ovs::OVS_ACTION_ATTR_CT, &[]), ActionError::NotSupported("ct")),
        (one(ovs::OVS_ACTION_ATTR_OUTPUT, &[0; 3]), ActionError::Length { kind: 1, len: 3 }),
        (vec![0; 4], ActionError::Leftover("a list of actions")),
        (one(ovs::OVS_ACTION_ATTR_USERSPACE, &[]), ActionError::Parts("userspace")),
        (
            one(ovs::OVS_ACTION_ATTR_USERSPACE, &one(ovs::OVS_USERSPACE_ATTR_PID, &[0; 2])),
            ActionError::Short("userspace"),
        ),
        (
            one(ovs::OVS_ACTION_ATTR_SAMPLE, &one(ovs::OVS_SAMPLE_ATTR_PROBABILITY, &[0; 4])),
            ActionError::Parts("sample"),
        ),
        (one(ovs::OVS_ACTION_ATTR_HASH, &[9; 8]), ActionError::HashAlgorithm(0x0909_0909)),
        (set(ovs::OVS_KEY_ATTR_ARP, &[0; 24]), ActionError::NotSettable(ovs::OVS_KEY_ATTR_ARP)),
        (set(ovs::OVS_KEY_ATTR_TCP, &[0; 8]), ActionError::Length { kind: 9, len: 8 }),
        (
            one(ovs::OVS_ACTION_ATTR_SET_MASKED, &one(ovs::OVS_KEY_ATTR_TCP, &[1, 0, 0, 0, 0, 0, 0, 0])),
            ActionError::OutsideMask(9),
        ),
        (set(ovs::OVS_KEY_ATTR_TUNNEL, &[]), ActionError::Key(KeyError::Tunnel)),
    ] {
        assert_eq!(decode_actions(&list), Err(error), "{list:02x?}");
    }
    assert_eq!(ActionError::Short("userspace").errno(), Errno::ERANGE);
}

/// A set action with a tunnel of these attributes beside those that it must have.
fn set_tunnel(more: &[u8]) -> Vec<u8> {
    let needed = [
        one(ovs::OVS_TUNNEL_KEY_ATTR_IPV4_DST, &[10, 0, 0, 1]),
        one(ovs::OVS_TUNNEL_KEY_ATTR_TTL, &[64]),
        more.to_vec(),
    ];
    one(ovs::OVS_ACTION_ATTR_SET, &one(ovs::OVS_KEY_ATTR_TUNNEL, &needed.concat()))
}

/// Option lists of every size, and options that say that they are longer or shorter than they are.
#[test]
fn tunnel_options_of_every_size() {
    for len in 0..=260_usize {
        // One option after another, as long as an option can be.
        let mut options = Vec::new();
        while options.len() < len {
            let words = ((len - options.len()) / 4).saturating_sub(1).min(31);
            options.extend([1, 2, 3, words as u8]);
            options.resize(options.len() + words * 4, 0xab);
        }
        options.truncate(len);
        let list = set_tunnel(&one(ovs::OVS_TUNNEL_KEY_ATTR_GENEVE_OPTS, &options));
        let fits = len <= 252 && len % 4 == 0;
        assert_eq!(decode_actions(&list).is_ok(), fits, "{len} bytes");
        let Ok(read) = decode_actions(&list) else { continue };
        let written = encode_actions(&read).unwrap();
        // Of an empty list nothing is told, in the kernel neither.
        assert!(len == 0 || decode_actions(&written) == Ok(read), "{len}");
        for words in 0..32_usize {
            let Some(said) = options.get_mut(3) else { break };
            *said = words as u8;
            let list = set_tunnel(&one(ovs::OVS_TUNNEL_KEY_ATTR_GENEVE_OPTS, &options));
            if 4 + words * 4 > len {
                assert_eq!(decode_actions(&list), Err(ActionError::GeneveOptions), "{len} {words}");
            }
        }
    }
}

#[test]
fn a_bridges_tunnel_metadata_is_told_as_such() {
    let bridge = one(ovs::OVS_TUNNEL_KEY_ATTR_IPV4_INFO_BRIDGE, &[]);
    let id = one(ovs::OVS_TUNNEL_KEY_ATTR_ID, &[0, 0, 0, 0, 0, 0, 0, 5]);
    for nest in [bridge.clone(), [id, bridge].concat()] {
        let list = one(ovs::OVS_ACTION_ATTR_SET, &one(ovs::OVS_KEY_ATTR_TUNNEL, &nest));
        let read = decode_actions(&list).unwrap();
        assert_eq!(encode_actions(&read).unwrap(), list);
    }
}

#[test]
fn nesting_ends() {
    let nested = |depth| (0..depth).fold(Vec::new(), |list, _| one(ovs::OVS_ACTION_ATTR_CLONE, &list));
    assert!(decode_actions(&nested(DEPTH_MAX)).is_ok());
    assert_eq!(decode_actions(&nested(DEPTH_MAX + 1)), Err(ActionError::TooDeep));
    assert_eq!(decode_actions(&nested(10_000)).map_err(ActionError::errno), Err(Errno::EOVERFLOW));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(
        which in 0..LISTS.len(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5),
        cut in any::<prop::sample::Index>(),
        noise in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let mut bytes = encode_actions(&parse_actions(LISTS[which], NO_NUMBERS).unwrap()).unwrap();
        for (at, value) in damage.into_iter().filter(|_| which != 0) {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(list) = decode_actions(&bytes) {
            let shown = encode_actions(&list).unwrap();
            prop_assert_eq!(decode_actions(&shown), Ok(list));
        }
        let _ = (decode_actions(&bytes[..cut.index(bytes.len() + 1)]), decode_actions(&noise));
    }
}
