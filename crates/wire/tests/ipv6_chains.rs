// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The walks over IPv6 extension headers against recordings of the real module: 70 packets, many of them damaged.

use portway_wire::{ipv6, ipv6_ext};

#[test]
fn as_the_kernel_walks() {
    let mut packets = 0;
    for line in include_str!("data/ipv6-chains.txt").lines().filter(|l| !l.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let [packet, proto, frag, seen] = words[..] else { panic!("{line}") };
        let bytes: Vec<u8> = (0..packet.len() / 2)
            .map(|i| u8::from_str_radix(&packet[2 * i..2 * i + 2], 16).expect("hex"))
            .collect();
        let view = ipv6::View::new(&bytes).expect("whole header");
        let walk = ipv6_ext::walk(view.next_header(), view.rest());
        let got = (
            walk.key_protocol().to_string(),
            walk.frag_type().to_string(),
            format!("0x{:04x}", ipv6_ext::seen(view.next_header(), view.rest())),
        );
        assert_eq!(got, (proto.into(), frag.into(), seen.into()), "{packet}");
        packets += 1;
    }
    assert_eq!(packets, 70);
}
