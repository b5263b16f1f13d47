// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whatever is set in whatever valid frame, every checksum is right afterwards: whole ones at once, partial ones when completed.

mod support;

use portway_actions::complete_checksum;
use portway_buf::Packet;
use portway_flow::{Action, Ipv4Fields, Ipv6Fields, Masked, Ports, PushVlan, Set};
use proptest::prelude::*;
use support::{Frame, ICMPV6, Rig, SCTP, TCP, UDP, outputs, verify};

/// The IPv6 extension header of fragments (RFC 8200, section 4.5).
const FRAGMENT: u8 = 44;

/// Frames of any sort, with one of these protocols and any of these IPv6 extension headers.
fn frames(protocols: &'static [u8], extensions: &'static [u8]) -> impl Strategy<Value = Frame> {
    let tags = prop::collection::vec((prop::sample::select(vec![0x8100u16, 0x88a8]), 0..0x1000u16), 0..3);
    let extensions = prop::collection::vec((prop::sample::select(extensions), 0..3u8), 0..4);
    let protocol = prop::sample::select(protocols);
    let addresses = (any::<[u8; 16]>(), any::<[u8; 16]>());
    let rest = (any::<(u16, u16)>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..80));
    (tags, any::<bool>(), addresses, extensions, protocol, (any::<u8>(), 2..=255u8, 0..11usize), rest)
        .prop_map(
            |(
                tags,
                ipv6,
                (src, dst),
                extensions,
                protocol,
                (tos, ttl, options),
                (ports, no_udp_checksum, payload),
            )| {
                let protocol = if !ipv6 && protocol == ICMPV6 { UDP } else { protocol };
                // A fragment header has a fixed length.
                let extensions = extensions
                    .into_iter()
                    .map(|(kind, more)| (kind, if kind == FRAGMENT { 0 } else { more }))
                    .collect();
                let options = if ipv6 { 0 } else { options };
                let extensions = if ipv6 { extensions } else { vec![] };
                Frame {
                    tags,
                    ipv6,
                    src,
                    dst,
                    tos,
                    ttl,
                    options,
                    extensions,
                    protocol,
                    ports,
                    no_udp_checksum,
                    payload,
                    ..Frame::default()
                }
            },
        )
}

/// New values and masks: what is to be set, before it is fitted to a frame.
type Raw = ([u8; 16], [u8; 16], [u8; 16], [u8; 16], u32, u32, u8);

fn raw() -> impl Strategy<Value = Raw> {
    any::<Raw>()
}

fn masked(value: [u8; 16], mask: [u8; 16]) -> [u8; 16] {
    std::array::from_fn(|at| value[at] & mask[at])
}

fn network(frame: &Frame, raw: &Raw) -> Set {
    let (src, src_mask, dst, dst_mask, small, small_mask, _) = *raw;
    let (small, [a, b, c, d]) = ((small & small_mask).to_be_bytes(), small_mask.to_be_bytes());
    if frame.ipv6 {
        let label = u32::from_be_bytes([0, b & 15, c, d]);
        let value = Ipv6Fields {
            src: masked(src, src_mask),
            dst: masked(dst, dst_mask),
            label: u32::from_be_bytes(small) & label,
            tclass: small[0],
            hlimit: small[3],
            ..Ipv6Fields::default()
        };
        let mask =
            Ipv6Fields { src: src_mask, dst: dst_mask, label, tclass: a, hlimit: d, ..Ipv6Fields::default() };
        return Set::Ipv6(Masked { value, mask: Some(mask) });
    }
    let four = |bytes: [u8; 16]| [bytes[0], bytes[1], bytes[2], bytes[3]];
    let mask =
        Ipv4Fields { src: four(src_mask), dst: four(dst_mask), tos: a, ttl: d, ..Ipv4Fields::default() };
    let value = Ipv4Fields {
        src: four(masked(src, src_mask)),
        dst: four(masked(dst, dst_mask)),
        tos: small[0],
        ttl: small[3],
        ..Ipv4Fields::default()
    };
    Set::Ipv4(Masked { value, mask: Some(mask) })
}

fn transport(frame: &Frame, raw: &Raw) -> Option<Set> {
    let [a, b, c, d] = raw.4.to_be_bytes();
    let ports = Ports { src: u16::from_be_bytes([a, b]), dst: u16::from_be_bytes([c, d]) };
    let [a, b, c, d] = raw.5.to_be_bytes();
    let mask = Ports { src: u16::from_be_bytes([a, b]), dst: u16::from_be_bytes([c, d]) };
    let value = Ports { src: ports.src & mask.src, dst: ports.dst & mask.dst };
    let ports = Masked { value, mask: Some(mask) };
    match frame.protocol {
        TCP => Some(Set::Tcp(ports)),
        UDP => Some(Set::Udp(ports)),
        SCTP => Some(Set::Sctp(ports)),
        _ => None,
    }
}

fn actions(frame: &Frame, raw: &Raw) -> Vec<Action> {
    let mut list = Vec::new();
    let choices = raw.6;
    if choices & 1 != 0 {
        list.push(Action::Set(network(frame, raw)));
    }
    if choices & 2 != 0 {
        list.extend(transport(frame, raw).map(Action::Set));
    }
    if choices & 4 != 0 {
        list.push(Action::PushVlan(PushVlan { tpid: 0x8100, tci: 0x1007 }));
    }
    if choices & 8 != 0 {
        list.push(Action::DecTtl(vec![Action::Output(1)]));
    }
    if choices & 16 != 0 {
        list.push(Action::PopVlan);
    }
    list.push(Action::Output(1));
    list
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whole_checksums_stay_right(
        frame in frames(&[TCP, UDP, UDP, SCTP, ICMPV6], &[0, 43, 60, FRAGMENT]),
        raw in raw(),
    ) {
        let bytes = frame.bytes();
        prop_assert_eq!(verify(&bytes), Ok(()));
        for (_, sent) in Rig::default().frames(&actions(&frame, &raw), &bytes) {
            prop_assert_eq!(verify(&sent), Ok(()));
            let unsummed = frame.protocol == UDP && frame.no_udp_checksum;
            let at = frame.offsets().1 as isize + 6 + (sent.len() as isize - bytes.len() as isize);
            let zero = sent[at as usize..at as usize + 2] == [0, 0];
            prop_assert!(frame.protocol != UDP || zero == unsummed, "no UDP checksum comes or goes");
        }
    }

    #[test]
    // SCTP's sum is a CRC, and a fragment's is not its own: neither is left to a device.
    fn partial_checksums_stay_right(frame in frames(&[TCP, UDP, UDP, ICMPV6], &[0, 43, 60]), raw in raw()) {
        for (_, mut packet) in outputs(Rig::default().run(&actions(&frame, &raw), frame.partial())) {
            prop_assert!(!packet.is_plain());
            prop_assert_eq!(complete_checksum(&mut packet), Ok(()));
            prop_assert!(packet.is_plain());
            prop_assert_eq!(verify(packet.frame()), Ok(()));
        }
    }

    #[test]
    fn later_fragments_keep_their_bytes(raw in raw(), payload in prop::collection::vec(any::<u8>(), 0..40)) {
        let frame = Frame { fragment: 0x2010, payload, ..Frame::default() };
        let list = [Action::Set(network(&frame, &raw)), Action::Output(1)];
        let bytes = frame.bytes();
        for (_, sent) in Rig::default().frames(&list, &bytes) {
            prop_assert_eq!(verify(&sent), Ok(()));
            prop_assert_eq!(&sent[34..], &bytes[34..]);
        }
    }
}

#[test]
fn what_is_wrong_stays_wrong() {
    for protocol in [TCP, UDP, SCTP] {
        let frame = Frame { protocol, ..Frame::default() };
        let mut bytes = frame.bytes();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let raw = ([1; 16], [0xff; 16], [2; 16], [0xff; 16], 0x0007_0008, u32::MAX, 3);
        let mut list = actions(&frame, &raw);
        list.push(Action::Output(1));
        let mut sent = Rig::default().frames(&list, &bytes).remove(0).1;
        assert!(verify(&sent).is_err(), "a damaged packet must not look whole");
        sent[last] ^= 1;
        assert_eq!(verify(&sent), Ok(()));
    }
}

#[test]
fn a_routed_destination_is_not_summed() {
    let frame = Frame { ipv6: true, extensions: vec![(43, 2)], ..Frame::default() };
    let mut bytes = frame.bytes();
    let raw = ([0; 16], [0; 16], [9; 16], [0xff; 16], 0, 0, 1);
    let checksum_at = frame.offsets().1 + 6;
    let before = bytes[checksum_at..checksum_at + 2].to_vec();
    bytes[14 + 40 + 3] = 1; // a segment is left: the sum covers the last one's address
    let sent = Rig::default().frames(&actions(&frame, &raw), &bytes).remove(0).1;
    assert_eq!((&sent[38..54], &sent[checksum_at..checksum_at + 2]), (&[9; 16][..], &before[..]));
    let mut packet = Packet::copied_from(&frame.bytes()).unwrap();
    packet.set_rx_hash(5);
    let sent = outputs(Rig::default().run(&actions(&frame, &raw), packet)).remove(0).1;
    assert_eq!((verify(sent.frame()), sent.rx_hash()), (Ok(()), 0));
}

#[test]
fn no_port_makes_a_udp_checksum_vanish() {
    let bytes = Frame::default().bytes();
    let mut rig = Rig::default();
    let mut all_ones = 0;
    for src in 0..=u16::MAX {
        let ports = Masked { value: Ports { src, dst: 0 }, mask: Some(Ports { src: u16::MAX, dst: 0 }) };
        let sent = rig.frames(&[Action::Set(Set::Udp(ports)), Action::Output(1)], &bytes).remove(0).1;
        assert_ne!(sent[40..42], [0, 0], "source port {src}: zero stands for none");
        all_ones += usize::from(sent[40..42] == [0xff, 0xff]);
    }
    assert!(all_ones > 0, "the sum did come to zero for one of them");
}
