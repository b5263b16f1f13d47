// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Fragments put together again by hand.

use super::*;

const PAYLOAD: usize = 2000;

fn ipv4(options: usize, flags: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    let header = 20 + options;
    frame.push(0x40 | (header / 4) as u8);
    frame.push(0);
    frame.extend(((header + PAYLOAD) as u16).to_be_bytes());
    frame.extend([0x12, 0x34]);
    frame.extend(flags.to_be_bytes());
    frame.extend([64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend(vec![1; options]);
    frame.extend((0..PAYLOAD).map(|i| (i * 7) as u8));
    frame
}

fn ipv6(extensions: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x60, 0, 0, 0];
    frame.extend(((extensions.len() + PAYLOAD) as u16).to_be_bytes());
    frame.push(if extensions.is_empty() { 17 } else { 0 });
    frame.push(64);
    frame.extend([0xfd; 32]);
    frame.extend(extensions);
    frame.extend((0..PAYLOAD).map(|i| (i * 7) as u8));
    frame
}

fn fragments(frame: &[u8], mru: u16) -> Result<Vec<Vec<u8>>, DropReason> {
    let mut packet = Packet::copied_from(frame).expect("it fits");
    packet.set_mru(mru);
    let mut all = Vec::new();
    fragment(packet, 7, &mut Pool::new(), &mut |piece| all.push(piece.frame().to_vec()))?;
    Ok(all)
}

#[test]
fn ipv4_fragments_are_the_datagram() {
    for (options, flags, mru) in
        [(0, 0, 600), (8, 0x4000, 600), (0, 0x2010, 1500), (0, 0x0010, 577), (40, 0, 68)]
    {
        let frame = ipv4(options, flags);
        let all = fragments(&frame, mru).expect("it can be cut");
        let header = 20 + options;
        let mut payload: Vec<u8> = Vec::new();
        for (index, fragment) in all.iter().enumerate() {
            let len = usize::from(field(fragment, 16));
            assert_eq!(14 + len, fragment.len());
            assert!(len <= usize::from(mru));
            let place = field(fragment, 20);
            assert_eq!(usize::from((place & 0x1fff) - (flags & 0x1fff)) * 8, payload.len());
            let last = index + 1 == all.len();
            assert_eq!(place & 0x2000 != 0, !last || flags & 0x2000 != 0, "more fragments");
            assert_eq!(place & 0x4000, 0, "they may be cut again");
            assert_eq!(portway_wire::checksum::checksum(&fragment[14..14 + header]), 0);
            assert_eq!(fragment[34..14 + header], frame[34..14 + header], "all options");
            payload.extend(&fragment[14 + header..]);
        }
        assert_eq!(payload, frame[14 + header..]);
    }
}

#[test]
fn ipv6_fragments_are_the_datagram() {
    // Hop-by-hop options stay in front of the fragment header; so do destination options before a routing header, not others.
    let options =
        [60, 0, 1, 4, 0, 0, 0, 0, 43, 0, 1, 4, 0, 0, 0, 0, 60, 0, 0, 0, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0];
    for (extensions, before, first) in [(&[][..], 0, 17), (&options[..], 24, 60)] {
        let frame = ipv6(extensions);
        let all = fragments(&frame, 1300).expect("it can be cut");
        let mut payload: Vec<u8> = Vec::new();
        let mut ids = Vec::new();
        for (index, fragment) in all.iter().enumerate() {
            assert_eq!(usize::from(field(fragment, 18)) + 54, fragment.len());
            assert!(fragment.len() <= 1314);
            let header = &fragment[54 + before..];
            assert_eq!(header[0], first);
            assert_eq!(usize::from(field(header, 2) & !7), payload.len());
            assert_eq!(field(header, 2) & 1 != 0, index + 1 != all.len());
            ids.push(header[4..8].to_vec());
            payload.extend(&header[8..]);
        }
        assert_eq!(payload, frame[54 + before..]);
        assert!(ids.windows(2).all(|pair| pair[0] == pair[1]) && all.len() == 2);
    }
    assert_eq!(fragments(&ipv6(&[]), 600).expect("it can be cut").len(), 2, "never shorter than 1280");
}

#[test]
fn what_cannot_be_cut_is_refused() {
    assert!(fragments(&ipv4(0, 0), 28).is_ok());
    for mru in [0, 1, 20, 27] {
        assert_eq!(fragments(&ipv4(0, 0), mru), Err(DropReason::SegmentFailed), "{mru}");
    }
    let mut other = ipv4(0, 0);
    other[12] = 0x77;
    assert_eq!(fragments(&other, 600), Err(DropReason::SegmentFailed));
    for len in 0..80 {
        let _ = fragments(&ipv4(8, 0)[..len], 600);
        let _ = fragments(&ipv6(&[60, 9, 0, 0, 0, 0, 0, 0])[..len], 1300);
    }
}

#[test]
fn short_ones_fit() {
    let fits = |len: usize, mru| {
        let mut packet = Packet::copied_from(&ipv4(0, 0)[..len]).expect("it fits");
        packet.set_mru(mru);
        fits_largest_fragment(&packet)
    };
    assert!(fits(614, 600) && !fits(615, 600) && fits(615, 0));
}
