// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is built parses to the same; arbitrary bytes never panic.

use portway_netlink::*;
use proptest::collection::vec;
use proptest::prelude::*;

/// A tree of attributes.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Leaf(u16, Vec<u8>),
    Nest(u16, Vec<Node>),
}

fn tree() -> impl Strategy<Value = Vec<Node>> {
    let leaf = (0u16..0x4000, vec(any::<u8>(), 0..40)).prop_map(|(k, d)| Node::Leaf(k, d));
    let node = leaf.prop_recursive(4, 40, 6, |inner| {
        (0u16..0x4000, vec(inner, 0..6)).prop_map(|(k, n)| Node::Nest(k, n))
    });
    vec(node, 0..6)
}

fn write(b: &mut AttrBuilder<'_>, nodes: &[Node]) -> Result<(), Error> {
    nodes.iter().try_for_each(|node| match node {
        Node::Leaf(kind, data) => b.put(*kind, data),
        Node::Nest(kind, inner) => b.nest(*kind, |b| write(b, inner)),
    })
}

fn read(mut attrs: Attrs<'_>) -> Vec<Node> {
    let nodes = attrs
        .by_ref()
        .map(|a| match a.is_nested() {
            true => Node::Nest(a.kind(), read(a.nested())),
            false => Node::Leaf(a.kind(), a.payload().to_vec()),
        })
        .collect();
    assert!(attrs.leftover().is_empty());
    nodes
}

const INNER: &[Rule] = &[Rule::UNSPEC, Rule::U32, Rule::string(4), Rule::FLAG];
const POLICY: Policy<8> = Policy::new()
    .with(1, Rule::U32.range(1, 9))
    .with(2, Rule::nul_string(5))
    .with(3, Rule::nested(INNER))
    .with(4, Rule::of(Kind::NestedArray(Some(INNER))))
    .with(5, Rule::of(Kind::Bitfield32(7)))
    .with(6, Rule::S32.signed_range(-1, 1))
    .with(7, Rule::binary(4));

proptest! {
    #[test]
    fn attributes(nodes in tree()) {
        let mut buf = Vec::new();
        write(&mut AttrBuilder::new(&mut buf), &nodes).unwrap();
        prop_assert_eq!(buf.len() % 4, 0);
        prop_assert_eq!(read(Attrs::new(&buf)), nodes);
    }

    #[test]
    fn messages(parts in vec((any::<u16>(), any::<u16>(), any::<u32>(), any::<u32>(), tree()), 0..5)) {
        let mut d = Datagram::new(usize::MAX);
        for (kind, flags, seq, pid, nodes) in &parts {
            let header = Header { kind: *kind, flags: *flags, seq: *seq, pid: *pid };
            d.genl::<_, Error>(header, 3, 1, &-5i32, |b| write(b, nodes)).unwrap();
        }
        let mut messages = Messages::new(d.bytes());
        let mut count = 0;
        for (message, (kind, flags, seq, pid, nodes)) in messages.by_ref().zip(&parts) {
            let h = message.header();
            prop_assert_eq!((h.nlmsg_type, h.nlmsg_flags, h.nlmsg_seq, h.nlmsg_pid), (*kind, *flags, *seq, *pid));
            let genl = message.genl(4).unwrap();
            prop_assert_eq!((genl.cmd(), genl.read_family_header::<i32>()), (3, Some(-5)));
            prop_assert_eq!(&read(genl.attrs()), nodes);
            count += 1;
        }
        prop_assert_eq!(count, parts.len());
        prop_assert!(messages.leftover().is_empty());
    }

    /// A limit anywhere: the datagram never passes it, and what is in it is whole.
    #[test]
    fn limits(nodes in tree(), limit in 0usize..400) {
        let header = Header { kind: 20, flags: 0, seq: 1, pid: 2 };
        let mut d = Datagram::new(limit);
        let fits = (0..3).take_while(|_| d.message(header, |b| write(b, &nodes)).is_ok()).count();
        prop_assert!(d.bytes().len() <= limit);
        prop_assert_eq!(Messages::new(d.bytes()).count(), fits);
        for message in Messages::new(d.bytes()) {
            prop_assert_eq!(&read(Attrs::new(message.payload())), &nodes);
        }
    }

    #[test]
    fn arbitrary_bytes(bytes in vec(any::<u8>(), 0..200)) {
        for message in Messages::new(&bytes) {
            let mut d = Datagram::new(4096);
            let ack = Ack { capped: false, extended: true };
            ack.write(&mut d, &message, 1, Err(portway_uapi::Errno::EINVAL), None).unwrap();
            let _ = message.genl(4).map(|g| g.attrs().count());
        }
        for attr in Attrs::new(&bytes) {
            let _ = (attr.u8(), attr.u16(), attr.u32(), attr.u64(), attr.be64(), attr.str(), attr.nested().count());
        }
    }

    /// Bytes that are nearly attributes of the policy: validation ends with a verdict, and every refusal can be told.
    #[test]
    fn validation(parts in vec((0u16..12, 0u16..10, prop::bool::weighted(0.3)), 0..12), bytes in vec(any::<u8>(), 160)) {
        let mut buf = Vec::new();
        for (i, (len, kind, nested)) in parts.iter().enumerate() {
            buf.extend((len + 4 * u16::from(i % 5 != 0)).to_ne_bytes());
            buf.extend((kind | if *nested { 0x8000 } else { 0 }).to_ne_bytes());
            buf.extend(&bytes[i..i + usize::from(*len).next_multiple_of(4)]);
        }
        for strictness in [Strictness::LIBERAL, Strictness::STRICT] {
            match POLICY.parse(Attrs::at(&buf, 24), strictness) {
                Ok(table) => {
                    for kind in 1..8 {
                        if let Some(attr) = table.get(kind) {
                            prop_assert_eq!(attr.kind(), kind);
                        }
                    }
                    if let Some(number) = table.get(1) {
                        prop_assert!((1..=9).contains(&number.u32().unwrap()));
                    }
                }
                Err(refused) => {
                    let mut out = Vec::new();
                    refused.ext_ack().write(&mut AttrBuilder::new(&mut out), true).unwrap();
                    prop_assert!(Attrs::new(&out).next().unwrap().str().is_ok());
                    prop_assert!(refused.offset.is_none_or(|o| o >= 24 && o < 24 + buf.len()));
                }
            }
        }
    }
}
