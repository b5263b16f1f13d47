// SPDX-License-Identifier: Apache-2.0 OR MIT
//! No view and no accessor panics, whatever the bytes: arbitrary ones, and ones that look almost right.

use portway_wire::*;
use proptest::collection::vec;
use proptest::prelude::*;

/// Calls every accessor of every view that the bytes allow, and sums what comes out so that nothing is optimised away.
fn touch(b: &[u8]) -> u64 {
    let mut n = 0u64;
    let mut add = |v: u64| n = n.wrapping_add(v);
    if let Ok(v) = ethernet::View::new(b) {
        add(u64::from(v.dst()[5]) + u64::from(v.src()[5]) + u64::from(v.type_or_length()));
        if let ethernet::Llc::Snap(t) = ethernet::llc(v.payload()) {
            add(t.into());
        }
    }
    if let Ok(v) = vlan::View::new(b) {
        add(u64::from(v.vid()) + u64::from(v.pcp()) + u64::from(v.dei()) + v.payload().len() as u64);
    }
    add(mpls::Stack::new(b).map(|l| u64::from(l.label()) + u64::from(l.ttl())).sum());
    if let Ok(v) = arp::View::new(b) {
        add(u64::from(v.op()) + u64::from(v.sha()[0] ^ v.spa()[0] ^ v.tha()[0] ^ v.tpa()[0]));
        add(v.is_ethernet_ipv4().into());
    }
    if let Ok(v) = ipv4::View::new(b) {
        add(u64::from(v.version()) + u64::from(v.tos()) + u64::from(v.id()) + u64::from(v.ttl()));
        add(v.fragment_offset() as u64 + u64::from(v.dont_fragment()) + u64::from(v.more_fragments()));
        add(u64::from(v.checksum_ok()) + v.options().len() as u64 + v.rest().len() as u64);
        add(v.payload().map_or(0, <[u8]>::len) as u64 + u64::from(v.src()[0]) + u64::from(v.dst()[0]));
    }
    if let Ok(v) = ipv6::View::new(b) {
        add(u64::from(v.version()) + u64::from(v.flow_label()) + u64::from(v.traffic_class()));
        add(v.payload().map_or(0, <[u8]>::len) as u64 + u64::from(v.src()[0]) + u64::from(v.dst()[0]));
        let walk = ipv6_ext::walk(v.next_header(), v.rest());
        add(u64::from(walk.frag_type()) + u64::from(walk.key_protocol()));
        add(ipv6_ext::seen(v.next_header(), v.rest()).into());
    }
    if let Ok(v) = tcp::View::new(b) {
        add(u64::from(v.src_port()) + u64::from(v.seq()) + u64::from(v.ack()) + u64::from(v.flags()));
        add(u64::from(v.window()) + v.options().count() as u64 + v.rest().len() as u64);
    }
    if let Ok(v) = udp::View::new(b) {
        add(u64::from(v.dst_port()) + u64::from(v.checksum()) + v.payload().map_or(0, <[u8]>::len) as u64);
    }
    if let Ok(v) = sctp::View::new(b) {
        add(u64::from(v.vtag()) + u64::from(v.checksum()) + v.chunks().count() as u64);
        add(checksum::sctp(b).into());
    }
    if let Ok(v) = nd::View::new(b) {
        add(v.options().filter_map(|o| o.link_addr()).count() as u64 + u64::from(v.target()[15]));
    }
    if let Ok(v) = nsh::View::new(b) {
        add(u64::from(v.flags()) + u64::from(v.ttl()) + u64::from(v.path()) + v.rest().len() as u64);
        add(v.context().map_or(0, |c| c[3]).into());
        add(v.metadata().len() as u64);
    }
    if let Ok(v) = vxlan::View::new(b) {
        add(u64::from(v.vni()) + u64::from(v.flags()) + u64::from(v.group()) + u64::from(v.reserved()));
    }
    if let Ok(v) = geneve::View::new(b) {
        add(u64::from(v.vni()) + geneve::Options::new(v.options()).count() as u64 + v.payload().len() as u64);
    }
    if let Ok(v) = gre::View::new(b) {
        let optional = [v.checksum().map(u32::from), v.key(), v.sequence()];
        add(optional.into_iter().flatten().map(u64::from).sum::<u64>() + v.payload().len() as u64);
    }
    n
}

proptest! {
    #[test]
    fn arbitrary_bytes(bytes in vec(any::<u8>(), 0..160)) {
        touch(&bytes);
    }

    #[test]
    fn nearly_right(
        first in prop::sample::select(vec![0x45u8, 0x4f, 0x60, 0x0f, 0x00, 0x20, 0x3f, 0xb0]),
        next in prop::sample::select(vec![0u8, 43, 44, 51, 59, 60, 17, 2]),
        rest in vec(prop::sample::select(vec![0u8, 1, 2, 8, 43, 44, 51, 60, 255]), 0..120),
        cut in 0usize..160,
    ) {
        let mut bytes = vec![first, 0x46, 2, 1, 0, 0, next, 64];
        bytes.extend([0xfe; 32]);
        bytes.extend(rest);
        bytes.truncate(cut);
        touch(&bytes);
    }

    #[test]
    fn headers_survive_the_round_trip(
        tos in any::<u8>(), total_len in any::<u16>(), id in any::<u16>(), flags_and_offset in any::<u16>(),
        ttl in any::<u8>(), protocol in any::<u8>(), src in any::<[u8; 16]>(), dst in any::<[u8; 16]>(),
        flow_label in 0u32..1 << 20,
    ) {
        let v4 = ipv4::Repr {
            tos, total_len, id, flags_and_offset, ttl, protocol,
            src: src[..4].try_into().unwrap(), dst: dst[..4].try_into().unwrap(),
        };
        let bytes = v4.to_bytes();
        let v = ipv4::View::new(&bytes).unwrap();
        prop_assert!(v.checksum_ok());
        let back = ipv4::Repr {
            tos: v.tos(), total_len: v.total_len(), id: v.id(), flags_and_offset: v.flags_and_offset(),
            ttl: v.ttl(), protocol: v.protocol(), src: v.src(), dst: v.dst(),
        };
        prop_assert_eq!(back, v4);

        let v6 = ipv6::Repr {
            traffic_class: tos, flow_label, payload_len: total_len, next_header: protocol, hop_limit: ttl, src, dst,
        };
        let bytes = v6.to_bytes();
        let v = ipv6::View::new(&bytes).unwrap();
        let back = ipv6::Repr {
            traffic_class: v.traffic_class(), flow_label: v.flow_label(), payload_len: v.payload_len(),
            next_header: v.next_header(), hop_limit: v.hop_limit(), src: v.src(), dst: v.dst(),
        };
        prop_assert_eq!(back, v6);
    }
}
