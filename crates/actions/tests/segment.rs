// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Super-packets in segments: every byte arrives once and in order, every header is that of a packet of its own.

mod support;

use portway_actions::{complete_checksum, segment};
use portway_buf::{DropReason, Gso, Offload, Packet, Pool};
use proptest::prelude::*;
use support::{Frame, SCTP, TCP, UDP, crc32c, sum, verify};

const TCPV4: u8 = 1;
const UFO: u8 = 3;
const TCPV6: u8 = 4;
const USO: u8 = 5;

fn super_packet(frame: &Frame, gso_type: u8, size: u16) -> Packet {
    let mut packet = frame.partial();
    packet.set_offload(Offload { gso: Some(Gso { gso_type, size }), ..packet.offload() });
    packet.set_mark(7);
    packet
}

fn cut(packet: Packet) -> Result<Vec<Packet>, DropReason> {
    let mut segments = Vec::new();
    segment(packet, 7, &mut Pool::new(), &mut |segment| segments.push(segment)).map(|()| segments)
}

fn word(frame: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

fn frames() -> impl Strategy<Value = Frame> {
    let tags = prop::collection::vec((prop::sample::select(vec![0x8100u16, 0x88a8]), 0..0x1000u16), 0..4);
    let extensions = prop::collection::vec((prop::sample::select(vec![0u8, 43, 60]), 0..2u8), 0..3);
    let payload = prop::collection::vec(any::<u8>(), 1..9000);
    (tags, any::<bool>(), extensions, payload, any::<u16>(), 0..5usize, any::<u8>()).prop_map(
        |(tags, ipv6, extensions, payload, id, options, tcp_flags)| Frame {
            tags,
            ipv6,
            extensions: if ipv6 { extensions } else { vec![] },
            options: if ipv6 { 0 } else { options },
            payload,
            id,
            tcp_flags,
            ..Frame::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn tcp(frame in frames(), size in 100..2000u16) {
        let frame = Frame { protocol: TCP, ..frame };
        let (l3, l4) = frame.offsets();
        let segments = cut(super_packet(&frame, if frame.ipv6 { TCPV6 } else { TCPV4 }, size)).unwrap();
        let last = segments.len() - 1;
        prop_assert_eq!(last, (frame.payload.len() - 1) / usize::from(size));
        let mut payload = Vec::new();
        for (index, segment) in segments.iter().enumerate() {
            let bytes = segment.frame();
            prop_assert!(segment.is_plain() && segment.mark() == 7);
            prop_assert_eq!(verify(bytes), Ok(()));
            let flags = frame.tcp_flags
                & if index == 0 { 0xff } else { !0x80 }
                & if index == last { 0xff } else { !0x09 };
            prop_assert_eq!(bytes[l4 + 13], flags);
            let seq = 1000 + payload.len() as u32;
            prop_assert_eq!(&bytes[l4 + 4..l4 + 8], &seq.to_be_bytes());
            if frame.ipv6 {
                prop_assert_eq!(usize::from(word(bytes, l3 + 4)), bytes.len() - l3 - 40);
            } else {
                prop_assert_eq!(usize::from(word(bytes, l3 + 2)), bytes.len() - l3);
                prop_assert_eq!(word(bytes, l3 + 4), frame.id.wrapping_add(index as u16));
            }
            payload.extend_from_slice(&bytes[l4 + 20..]);
        }
        prop_assert_eq!(payload, frame.payload);
    }

    #[test]
    fn udp_datagrams(frame in frames(), size in 100..2000u16) {
        let (_, l4) = frame.offsets();
        let mut payload = Vec::new();
        for (index, segment) in cut(super_packet(&frame, USO, size)).unwrap().iter().enumerate() {
            let bytes = segment.frame();
            prop_assert_eq!(verify(bytes), Ok(()));
            prop_assert_eq!(usize::from(word(bytes, l4 + 4)), bytes.len() - l4);
            prop_assert_ne!(word(bytes, l4 + 6), 0);
            if !frame.ipv6 {
                prop_assert_eq!(word(bytes, frame.offsets().0 + 4), frame.id.wrapping_add(index as u16));
            }
            payload.extend_from_slice(&bytes[l4 + 8..]);
        }
        prop_assert_eq!(payload, frame.payload);
    }

    #[test]
    fn udp_fragments(frame in frames(), size in 100..2000u16) {
        let (l3, l4) = frame.offsets();
        let mut datagram = Vec::new();
        let mut more = true;
        for fragment in cut(super_packet(&frame, UFO, size)).unwrap() {
            let bytes = fragment.frame();
            prop_assert!(more, "nothing comes after the last fragment");
            let (place, start) = if frame.ipv6 { (word(bytes, l4 + 2), l4 + 8) } else { (word(bytes, l3 + 6), l4) };
            let offset = if frame.ipv6 { place & !7 } else { place << 3 };
            more = if frame.ipv6 { place & 1 != 0 } else { place & 0x2000 != 0 };
            prop_assert_eq!(usize::from(offset), datagram.len());
            prop_assert_eq!(verify(bytes), Ok(()), "the header's own checksum");
            datagram.extend_from_slice(&bytes[start..]);
        }
        prop_assert!(!more);
        let addresses = if frame.ipv6 { 16 } else { 4 };
        let len = (datagram.len() as u32).to_be_bytes();
        let total = sum(&[&frame.src[..addresses], &frame.dst[..addresses], &len, &[0, UDP], &datagram]);
        prop_assert_eq!(total, 0xffff);
        prop_assert_eq!(&datagram[8..], &frame.payload[..]);
    }

    #[test]
    fn no_frame_is_too_damaged(
        frame in frames(), cut_at in any::<usize>(), gso_type in 0..8u8, size in 0..2000u16, start in 0..200u16,
        offset in 0..40u16, noise in prop::collection::vec((0..200usize, any::<u8>()), 0..6),
    ) {
        let mut packet = super_packet(&frame, gso_type, size);
        let len = packet.len();
        for (at, byte) in noise {
            packet.frame_mut()[at % len] = byte;
        }
        packet.truncate(1 + cut_at % len);
        packet.set_offload(Offload { partial_csum: Some((start, offset)), ..packet.offload() });
        let _ = cut(packet); // no panic, and nothing longer than it may be
    }
}

#[test]
fn too_small_segments_are_refused() {
    let frame = Frame { protocol: TCP, payload: vec![1; 60_000], ..Frame::default() };
    assert_eq!(cut(super_packet(&frame, TCPV4, 1)).unwrap_err(), DropReason::SegmentFailed);
    assert_eq!(cut(super_packet(&frame, TCPV4, 40)).unwrap().len(), 1500);
    assert_eq!(cut(super_packet(&frame, USO, 1000)).unwrap_err(), DropReason::SegmentFailed, "it is TCP");
    assert_eq!(cut(super_packet(&frame, 2, 1000)).unwrap_err(), DropReason::SegmentFailed, "no such type");
}

#[test]
fn a_checksum_outside_the_frame_is_refused() {
    let mut packet = Frame::default().partial();
    packet.set_offload(Offload { partial_csum: Some((48, 6)), gso: None });
    assert_eq!(complete_checksum(&mut packet), Err(DropReason::SegmentFailed));
}

#[test]
fn sctp_is_completed_with_its_own_sum() {
    let frame = Frame { protocol: SCTP, ..Frame::default() };
    let mut packet = Packet::copied_from(&frame.bytes()).unwrap();
    packet.frame_mut()[34 + 8..34 + 12].fill(0);
    packet.set_offload(Offload { partial_csum: Some((34, 8)), gso: None });
    complete_checksum(&mut packet).unwrap();
    assert_eq!(packet.frame()[42..46], crc32c(&packet.frame()[34..]).to_le_bytes());
    assert_eq!(verify(packet.frame()), Ok(()));
}
