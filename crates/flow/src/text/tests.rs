// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is written reads back as the same; what is wrong is named.

use proptest::prelude::*;

use super::*;
use crate::action::*;
use crate::field::{GROUPS, GroupId};
use crate::key::tunnel_flags;
use crate::{FlowKey, FlowMask, MacAddr};

/// Lines that must come out as they went in.
const SAME: &[&str] = &[
    "recirc_id(0),in_port(1),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),eth_type(0x0800),ipv4(src=10.0.0.0/255.0.0.0,proto=6,tos=0/0xfc,ttl=64,frag=no),tcp(dst=80),tcp_flags(+syn-ack)",
    "recirc_id(0x5),dp_hash(0x1/0xf),in_port(2),skb_mark(0x5),ct_state(-new+trk),ct_zone(0x3),ct_mark(0x1/0xff),ct_label(0x5/0xff),ct_tuple4(src=1.1.1.1,proto=6,tp_dst=5),eth(),eth_type(0x0800),ipv4(frag=no)",
    "eth(),eth_type(0x8100),vlan(vid=10,pcp=0),encap(eth_type(0x0800),ipv4(frag=later))",
    "eth(),eth_type(0x88a8),vlan(vid=5/0xf,pcp=0),encap(eth_type(0x8100),vlan(vid=6,pcp=3),encap(eth_type(0x0806),arp(sip=1.2.3.4,op=1)))",
    "eth(),eth_type(0x8847),mpls(label=100/0xff,tc=0/0,ttl=64/0xff,bos=1/1)",
    "eth(),eth_type(0x8847),mpls(lse0=0x1000/0xffffffff,lse1=0x1100/0xffffffff)",
    "eth(),eth_type(0x86dd),ipv6(src=fd00::/ffff::,label=0x5/0xff,proto=58,tclass=0x3,hlimit=3,frag=first),icmpv6(type=135,code=0),nd(target=::1,sll=02:00:00:00:00:01)",
    "eth(),eth_type(0x894f),nsh(flags=0,ttl=63,mdtype=1,np=3,spi=0x1,si=255,c1=0x1/0xf)",
    "tunnel(tun_id=0x1/0xff,src=1.1.1.1,dst=2.2.2.2/255.0.0.0,ttl=64,tp_dst=80,flags(-df+key)),in_port(1),eth()",
    "tunnel(src=1.1.1.1,dst=2.2.2.2,ttl=64,geneve({class=0x102,type=0x80,len=4,0xa0b0c0d/0xff}{class=0x1,type=0x1,len=0}),flags(-df-csum)),eth()",
    "tunnel(ipv6_src=::1,ipv6_dst=::2,ttl=64,vxlan(gbp(id=1,flags=0x8)),flags(-oam+df-csum)),eth(),eth_type(0/0xffff)",
    "eth_type(0x0800),ipv4(proto=17,frag=no),udp(src=53)",
];

fn key(text: &str) -> Result<(FlowKey, FlowMask), Error> {
    parse_key(text, &|name| (name == "p1").then_some(1))
}

#[test]
fn lines_come_out_as_they_went_in() {
    for line in SAME {
        let (key, mask) = key(line).unwrap_or_else(|error| panic!("{line}\n{error}"));
        assert_eq!(format_key(&key, Some(&mask), Style::default()), *line);
    }
}

#[test]
fn other_forms_mean_the_same() {
    for (form, plain) in [
        ("eth(),eth_type(0x800),ipv4(src=10.0.0.0/8)", "eth(),eth_type(0x0800),ipv4(src=10.0.0.0/255.0.0.0)"),
        (" in_port( p1 )", ""),
        (
            "ct_tuple6(proto=6,src_port=1,dst_port=2),eth(),eth_type(0x86dd)",
            "ct_tuple6(proto=6,tp_src=1,tp_dst=2),eth(),eth_type(0x86dd)",
        ),
        ("in_port(p1),eth()", "in_port(1),eth()"),
        (
            "eth(), eth_type(2048) , ipv4( proto=6 , frag=no ),tcp( ),tcp_flags(syn|ack)",
            "eth(),eth_type(0x0800),ipv4(proto=6,frag=no),tcp_flags(fin-)",
        ),
        ("ufid:11111111-2222,in_port(1),eth(src=2:0:0:0:0:1)", "in_port(1),eth(src=02:00:00:00:00:01)"),
        (
            "eth(),vlan(vid=1),eth_type(0x8100),encap(eth_type(0x0800))",
            "eth(),eth_type(0x8100),vlan(vid=1,pcp=0/0),encap(eth_type(0x0800))",
        ),
    ] {
        match key(plain) {
            Ok(expected) if !plain.is_empty() => assert_eq!(key(form).unwrap(), expected, "{form}"),
            _ => {}
        }
    }
    assert!(key("in_port(p1)").is_ok() && key("").is_ok());
}

#[test]
fn errors_say_where_and_what() {
    for (text, message) in [
        ("in_port(1),eht(src=1)", "column 12: found `eht(src=1)`; expected one of recirc_id, "),
        ("in_port(p9)", "column 9: there is no port `p9`"),
        ("in_port(1", "column 10: found the end of the text; expected `)`"),
        ("in_port(70000)", "column 9: 70000 is too large for in_port; it can be at most 65534"),
        ("eth(src=02:00)", "column 9: found `02:00)`; expected an Ethernet address like 02:00:00:00:00:01"),
        ("eth(),eth_type(0x0800),tcp(dst=80)", "column 24: `tcp(...)` needs `ipv4(proto=6)`"),
        ("eth(),eth_type(0x0800),ipv4(proto=6/3),tcp(dst=80)", "column 40: `tcp(...)` needs"),
        ("eth(),ipv4(ttl=1)", "column 7: `ipv4(...)` needs `eth_type(0x0800)`"),
        (
            "eth(),eth_type(0x0800),ipv4(ttl=256)",
            "column 33: 256 is too large for ttl; it can be at most 255",
        ),
        ("eth(),eth()", "column 7: `eth` is given twice"),
        ("eth(),eth_type(0x0800),ipv4(ttl=1,ttl=2)", "column 35: `ttl` is given twice"),
        ("eth(),eth_type(0x05ff)", "column 16: found `0x05ff)`; expected an ethertype of 0x0600 or more"),
        ("eth(),eth_type(0x0800),vlan(vid=1),encap()", "column 24: `vlan(...)` needs a VLAN tag"),
        ("ct_state(+foo)", "column 11: found `foo)`; expected one of new, est"),
        ("eth(),é", "column 7: found `é`; expected one of"),
        (
            "tunnel(src=1.1.1.1,geneve({class=1,type=1,len=3}),ttl=1)",
            "column 43: found `len=3}),ttl=1)`; expected a length",
        ),
    ] {
        let error = key(text).expect_err(text).to_string();
        assert!(error.starts_with(message), "{text}\n got: {error}\nwant: {message}");
    }
}

/// Action lists that must come out as they went in.
const SAME_ACTIONS: &[&str] = &[
    "drop",
    "2,push_vlan(vid=10,pcp=0)",
    "push_vlan(tpid=0x88a8,vid=1,pcp=3),pop_vlan",
    "set(ipv4(ttl=63)),set(eth(src=02:00:05:00:00:00/ff:ff:ff:00:00:00)),set(skb_mark(0x1/0xff)),set(tcp(src=80,dst=81))",
    "set(ipv4(src=1.1.1.1,dst=2.2.2.2,proto=6,tos=0,ttl=5,frag=no)),set(mpls(label=1,tc=0,ttl=3,bos=1))",
    "set(tunnel(tun_id=0x1,src=1.1.1.1,dst=2.2.2.2,ttl=64,flags(df|key))),3",
    "sample(sample=50.0%,actions(3)),clone(2),recirc(0x1),hash(hash_l4(0)),hash(sym_l4(7)),trunc(100),meter(4)",
    "userspace(pid=1,userdata(0102030400000000),actions,tunnel_out_port=3)",
    "push_mpls(label=10,tc=0,ttl=64,bos=1,eth_type=0x8847),pop_mpls(eth_type=0x0800)",
    "add_mpls(label=10,tc=0,ttl=64,bos=1,eth_type=0x8847),push_eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),pop_eth",
    "check_pkt_len(size=200,gt(2),le(drop)),dec_ttl(le_1(drop)),pop_nsh()",
    "push_nsh(flags=0,ttl=63,mdtype=1,np=3,spi=0x1,si=255,c1=0x1,c2=0x2,c3=0x3,c4=0x4),push_nsh(flags=0,ttl=63,mdtype=2,np=3,spi=0x1,si=255,md2=0x01020304)",
    "drop(3)",
    "1,drop(0)",
    "psample(group=1,cookie=0x0102)",
];

fn actions(text: &str) -> Result<Vec<Action>, Error> {
    parse_actions(text, &|name| (name == "pop_up").then_some(9))
}

#[test]
fn actions_come_out_as_they_went_in() {
    for line in SAME_ACTIONS {
        let list = actions(line).unwrap_or_else(|error| panic!("{line}\n{error}"));
        assert_eq!(format_actions(&list, NO_NAMES), *line);
    }
    assert_eq!(actions("").unwrap(), []);
    assert_eq!(actions("pop_up").unwrap(), [Action::Output(9)]);
    assert_eq!(format_actions(&[Action::Output(9)], &|_| Some("pop_up".into())), "pop_up");
}

#[test]
fn wrong_actions_say_where_and_what() {
    for (text, message) in [
        ("1,flood", "column 3: there is no port `flood`"),
        ("1,flood(2)", "column 3: found `flood(2)`; expected a port, or one of userspace"),
        ("set(arp(op=1))", "column 5: found `arp(op=1))`; expected one of skb_priority"),
        ("set(ipv4(proto=6))", "column 5: found `ipv4(proto=6))`; expected fields that can be set"),
        ("trunc(x)", "column 7: found `x)`; expected a number for the length"),
        ("clone(1", "column 8: found the end of the text; expected `)`"),
        ("sample(sample=101%,actions(1))", "column 15: found `101%,actions(1))`; expected a percentage"),
        ("push_vlan(vid=4096)", "column 15: 4096 is too large for vid; it can be at most 4095"),
        ("userspace(pid=1,userdata(0))", "column 26: found `0))`; expected bytes"),
        (",", "column 1: found `,`; expected a port"),
    ] {
        let error = actions(text).expect_err(text).to_string();
        assert!(error.starts_with(message), "{text}\n got: {error}\nwant: {message}");
    }
    let deep = "clone(".repeat(17) + &")".repeat(17);
    assert_eq!(actions(&deep), Err(Error::TooDeep { column: 103, limit: 16 }));
    assert!(actions(&deep[6..deep.len() - 1]).is_ok());
}

#[test]
fn a_whole_flow() {
    let (key, mask) = key("in_port(1),eth(),eth_type(0x0800),ipv4(frag=no)").unwrap();
    let stats = FlowStats { packets: 12, bytes: 1000, idle_ms: Some(300), tcp_flags: 0x212 };
    let style = Style { verbose: false, port: &|number| (number == 1).then(|| "p1".to_owned()) };
    assert_eq!(
        format_flow(&key, &mask, &stats, &[Action::Output(1), Action::Output(2)], style),
        "in_port(p1),eth(),eth_type(0x0800),ipv4(frag=no), packets:12, bytes:1000, used:0.300s, flags:S.[200], actions:p1,2"
    );
    let never = format_flow(&key, &mask, &FlowStats::default(), &[], Style::default());
    assert!(never.ends_with(", packets:0, bytes:0, used:never, actions:drop"));
}

/// What a random key is about: ethertype, IP protocol, fragment, ICMP type.
const SHAPES: &[(u16, u8, u8, u16)] = &[
    (0x0001, 0, 0, 0),
    (0x0800, 6, 0, 0),
    (0x0800, 17, 1, 0),
    (0x0800, 17, 2, 0),
    (0x0800, 1, 0, 0),
    (0x86dd, 6, 0, 0),
    (0x86dd, 132, 0, 0),
    (0x86dd, 58, 0, 1),
    (0x86dd, 58, 0, 136),
    (0x0806, 0, 0, 0),
    (0x8847, 0, 0, 0),
    (0x894f, 0, 0, 0),
    (0x9999, 0, 0, 0),
];

/// A flow as the datapath would have it, out of arbitrary bytes.
fn flow(shape: usize, tags: usize, labels: u32, raw: &[FlowKey; 2], pick: u64) -> (FlowKey, FlowMask) {
    let (eth_type, protocol, fragment, icmp) = SHAPES[shape % SHAPES.len()];
    let mut key =
        FlowKey { eth_type: eth_type.into(), ip_proto: protocol, ip_frag: fragment, ..FlowKey::default() };
    key.tp_src.set(icmp);
    key.tun_proto = [0, 4, 6][pick as usize % 3];
    key.ct_orig_proto = if matches!(eth_type, 0x0800 | 0x86dd) { (pick >> 2) as u8 % 3 } else { 0 };
    let fixed = key.clone();
    let mut mask = FlowKey { mac_proto: 0xff, ..FlowKey::default() };
    for (index, group) in GROUPS.iter().enumerate().filter(|(_, group)| group.prerequisite.holds(&fixed)) {
        for field in group.fields.iter().filter(|field| field.width <= 16) {
            // Open, exact or something between.
            let some = match (pick >> ((index + field.offset) % 60)) & 3 {
                0 => 0,
                1 => field.full(),
                _ => field.get(&raw[1]) & field.full(),
            };
            field.set(&mut mask, some);
            field.set(&mut key, field.get(&raw[0]) & field.full());
        }
    }
    fix(&mut key, &mut mask, &fixed, pick);
    for (index, bits) in [0x1fff, 0xe005].into_iter().enumerate() {
        let present = index < tags;
        let (tci, tpid) = if present { (raw[0].vlan_tci.get() | 0x1000, 0x8100) } else { (0, 0) };
        let (tci_mask, tpid_mask) = if present { (bits | 0x1000, 0xffff) } else { (0xffff, 0) };
        let (key, mask) = (&mut key, &mut mask);
        let places = match index {
            0 => [
                (&mut key.vlan_tci, tci),
                (&mut key.vlan_tpid, tpid),
                (&mut mask.vlan_tci, tci_mask),
                (&mut mask.vlan_tpid, tpid_mask),
            ],
            _ => [
                (&mut key.cvlan_tci, tci),
                (&mut key.cvlan_tpid, tpid),
                (&mut mask.cvlan_tci, tci_mask),
                (&mut mask.cvlan_tpid, tpid_mask),
            ],
        };
        places.into_iter().for_each(|(place, value)| place.set(value));
    }
    if matches!(eth_type, 0x8847) {
        (key.mpls_count, mask.mpls_count) = ((1 << labels) - 1, (1 << labels) - 1);
        for index in labels as usize..3 {
            (key.mpls_lse[index], mask.mpls_lse[index]) = (0.into(), 0.into());
        }
    }
    let mask = FlowMask::new(mask);
    (mask.apply(&key), mask)
}

/// Puts back what makes the shape, and what the kernel's rules make of the rest.
fn fix(key: &mut FlowKey, mask: &mut FlowKey, fixed: &FlowKey, pick: u64) {
    (key.eth_type, mask.eth_type) = (fixed.eth_type, 0xffff.into());
    if matches!(fixed.eth_type.get(), 0x0800 | 0x86dd) {
        (key.ip_proto, mask.ip_proto) = (fixed.ip_proto, 0xff);
        (key.ip_frag, mask.ip_frag) = (fixed.ip_frag, 0xff);
    }
    if fixed.tp_src.get() != 0 {
        (key.tp_src, mask.tp_src) = (fixed.tp_src, 0xff.into());
    }
    key.in_port &= 0x7fff;
    mask.in_port = if pick & 1 == 0 { u32::MAX } else { 0 };
    (key.ct_orig_proto, mask.ct_orig_proto) =
        (fixed.ct_orig_proto, if fixed.ct_orig_proto == 0 { 0 } else { 0xff });
    (key.tun_proto, key.tun_label) = (fixed.tun_proto, 0.into());
    (mask.tun_proto, mask.tun_label) = (if fixed.tun_proto == 0 { 0 } else { 0xff }, 0.into());
    let named = tunnel_flags::OAM | tunnel_flags::DONT_FRAGMENT | tunnel_flags::CSUM | tunnel_flags::KEY;
    key.tun_flags &= named;
    mask.tun_flags &= named;
    (key.tun_opts_len, mask.tun_opts_len) = (0, 0);
    if fixed.tun_proto == 0 {
        return;
    }
    if fixed.tun_proto == 4 {
        for address in [&mut key.tun_src, &mut key.tun_dst, &mut mask.tun_src, &mut mask.tun_dst] {
            address[4..].fill(0);
        }
    } else {
        mask.tun_dst[0] |= 1;
    }
    if mask.tun_id.get() != 0 {
        key.tun_flags |= tunnel_flags::KEY;
        mask.tun_flags |= tunnel_flags::KEY;
    }
    let (flag, bytes, open): (_, &[u8], &[u8]) = match pick >> 10 & 3 {
        0 => (
            tunnel_flags::GENEVE_OPT,
            &[1, 2, 0x80, 1, 0, 0xb, 0xc, 0xd, 0, 1, 7, 0],
            &[0xff, 0xff, 0xff, 0x1f, 0, 0, 0xff, 0x0f, 0xff, 0, 0, 0x1f],
        ),
        1 => (tunnel_flags::VXLAN_OPT, &[5, 1, 8, 0], &[0xff, 0xff, 0xff, 0xff]),
        2 => (tunnel_flags::ERSPAN_OPT, &[1, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0], &[0xff; 12]),
        _ => return,
    };
    key.tun_flags |= flag;
    mask.tun_flags |= flag;
    (key.tun_opts_len, mask.tun_opts_len) = (bytes.len() as u8, 0xff);
    key.tun_opts[256 - bytes.len()..].copy_from_slice(bytes);
    mask.tun_opts[256 - bytes.len()..].copy_from_slice(open);
}

fn raw_key() -> impl Strategy<Value = FlowKey> {
    proptest::collection::vec(any::<u64>(), crate::KEY_WORDS).prop_map(|words| {
        let mut key = FlowKey::default();
        key.words_mut().copy_from_slice(&words);
        key
    })
}

fn masked<T: std::fmt::Debug + Clone + PartialEq + 'static>(
    value: impl Strategy<Value = T> + Clone,
    and: impl Fn(&T, &T) -> T + Clone,
    full: T,
) -> impl Strategy<Value = Masked<T>> {
    (value.clone(), proptest::option::of(value)).prop_map(move |(value, mask)| {
        match mask.filter(|mask| *mask != full) {
            Some(mask) => Masked { value: and(&value, &mask), mask: Some(mask) },
            None => Masked { value, mask: None },
        }
    })
}

fn set() -> impl Strategy<Value = Set> {
    let number = || masked(any::<u32>(), |value, mask| value & mask, u32::MAX);
    let ports = || {
        let pair = (any::<u16>(), any::<u16>()).prop_map(|(src, dst)| Ports { src, dst });
        let and =
            |value: &Ports, mask: &Ports| Ports { src: value.src & mask.src, dst: value.dst & mask.dst };
        masked(pair, and, Ports { src: 0xffff, dst: 0xffff })
    };
    let ipv4 = (any::<[u8; 4]>(), any::<[u8; 4]>(), any::<u8>(), any::<u8>());
    prop_oneof![
        number().prop_map(Set::Priority),
        number().prop_map(Set::SkbMark),
        number().prop_map(Set::CtMark),
        number().prop_map(Set::Mpls),
        ports().prop_map(Set::Tcp),
        ports().prop_map(Set::Udp),
        ports().prop_map(Set::Sctp),
        (any::<[u8; 6]>(), any::<[u8; 6]>()).prop_map(|(src, dst)| Set::Ethernet {
            src: Masked { value: MacAddr(src), mask: Some(MacAddr::BROADCAST) },
            dst: Masked { value: MacAddr(dst.map(|byte| byte & 0x0f)), mask: Some(MacAddr([0x0f; 6])) },
        }),
        ipv4.prop_map(|(src, dst, tos, ttl)| Set::Ipv4(Masked {
            value: Ipv4Fields { src, dst, proto: 6, tos, ttl, frag: 1 },
            mask: None,
        })),
        ipv4.prop_map(|(src, mask, tos, ttl)| Set::Ipv4(Masked {
            value: Ipv4Fields {
                src: std::array::from_fn(|i| src[i] & mask[i]),
                tos: tos & ttl,
                ..Ipv4Fields::default()
            },
            mask: Some(Ipv4Fields { src: mask, tos: ttl, ..Ipv4Fields::default() }),
        })),
        (any::<[u8; 16]>(), any::<u32>()).prop_map(|(src, label)| Set::Ipv6(Masked {
            value: Ipv6Fields { src, label: label & 0xf_ffff, ..Ipv6Fields::default() },
            mask: Some(Ipv6Fields { src: [0xff; 16], label: 0xf_ffff, ..Ipv6Fields::default() }),
        })),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let data = || proptest::option::of(proptest::collection::vec(any::<u8>(), 1..20));
    let leaf = prop_oneof![
        any::<u32>().prop_map(Action::Output),
        set().prop_map(Action::Set),
        (any::<u32>(), data(), any::<Option<u32>>(), any::<bool>()).prop_map(
            |(pid, userdata, egress_tun_port, actions)| {
                Action::Userspace(Userspace { pid, userdata, egress_tun_port, actions })
            }
        ),
        (any::<u16>(), any::<u16>()).prop_map(|(tpid, tci)| Action::PushVlan(PushVlan { tpid, tci })),
        Just(Action::PopVlan),
        any::<u32>().prop_map(Action::Truncate),
        any::<u32>().prop_map(Action::Recirculate),
        any::<u32>().prop_map(|basis| Action::Hash(Hash { algorithm: HashAlgorithm::SymL4, basis })),
        (1..u32::MAX).prop_map(Action::Drop),
        (any::<u32>(), any::<u16>(), any::<Option<bool>>()).prop_map(|(lse, ethertype, add_l3_tunnel)| {
            Action::PushMpls(MplsPush { lse, ethertype, add_l3_tunnel })
        }),
        any::<u16>().prop_map(Action::PopMpls),
        Just(Action::PopEth),
        (any::<u32>(), any::<[u8; 16]>()).prop_map(|(path_hdr, context)| Action::PushNsh(PushNsh {
            flags: 1,
            ttl: 2,
            mdtype: 1,
            np: 4,
            path_hdr,
            metadata: context.to_vec(),
        })),
        Just(Action::PopNsh),
        any::<u32>().prop_map(Action::Meter),
        (any::<u32>(), data()).prop_map(|(group, cookie)| Action::Psample(Psample { group, cookie })),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let list = || proptest::collection::vec(inner.clone(), 0..4);
        prop_oneof![
            list().prop_map(Action::Clone),
            list().prop_map(Action::DecTtl),
            (any::<u32>(), list())
                .prop_map(|(probability, actions)| Action::Sample(Sample { probability, actions })),
            (any::<u16>(), list(), list()).prop_map(|(len, greater, less_or_equal)| {
                Action::CheckPacketLength(CheckPacketLength { len, greater, less_or_equal })
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_flow_reads_back(
        shape in 0..13_usize, tags in 0..3_usize, labels in 1..4_u32, a in raw_key(), b in raw_key(), pick in any::<u64>(), verbose in any::<bool>(),
    ) {
        let (key, mask) = flow(shape, tags, labels, &[a, b], pick);
        let text = format_key(&key, Some(&mask), Style { verbose, port: NO_NAMES });
        let (read, read_mask) = parse_key(&text, NO_NUMBERS).map_err(|error| TestCaseError::fail(format!("{text}\n{error}")))?;
        for group in GROUPS {
            for field in group.fields {
                prop_assert_eq!(field.bytes(read_mask.bits()), field.bytes(mask.bits()), "mask of {:?}: {}", field.id, text);
            }
        }
        prop_assert_eq!(mask.apply(&read), key, "{}", text);
    }

    #[test]
    fn any_actions_read_back(list in proptest::collection::vec(action(), 0..6)) {
        let text = format_actions(&list, NO_NAMES);
        prop_assert_eq!(parse_actions(&text, NO_NUMBERS), Ok(list), "{}", text);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[a-z_0-9(),/=.:+|{}% -]{0,60}", at in any::<prop::sample::Index>()) {
        let _ = parse_key(&text, NO_NUMBERS);
        let _ = parse_actions(&text, NO_NUMBERS);
        let line = SAME[at.index(SAME.len())];
        let mut damaged = line.to_owned();
        damaged.insert_str(at.index(line.len()), &text);
        let _ = parse_key(&damaged, NO_NUMBERS);
        let _ = parse_actions(&SAME_ACTIONS[at.index(SAME_ACTIONS.len())].replacen('(', &text, 1), NO_NUMBERS);
    }
}

#[test]
fn every_group_is_written_for_some_shape() {
    let mut missing: Vec<_> = GROUPS.iter().map(|group| group.id).filter(|id| *id != GroupId::Vlan).collect();
    let full = [FlowMask::exact().bits().clone(), FlowMask::exact().bits().clone()];
    for (shape, pick) in (0..SHAPES.len()).flat_map(|shape| (0..16).map(move |pick| (shape, !0xf_u64 | pick)))
    {
        let (key, mask) = flow(shape, 0, 1, &full, pick);
        missing.retain(|id| !format_key(&key, Some(&mask), Style::default()).contains(id.group().name));
    }
    assert_eq!(missing, []);
}
