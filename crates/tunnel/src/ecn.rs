// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Congestion marks across a tunnel (RFC 6040), in the kernel's way: only where the IP header follows the Ethernet header directly.

use portway_wire::{checksum, ethernet};

use crate::Refusal;

const MASK: u8 = 3;
const NOT_ECT: u8 = 0;
const ECT_1: u8 = 1;
const ECT_0: u8 = 2;
const CE: u8 = 3;

/// Bytes of an Ethernet header.
const ETH_HLEN: usize = 14;

/// The IP header of a frame.
enum Ip {
    V4,
    V6,
}

fn ip(frame: &[u8]) -> Option<Ip> {
    let ethertype = u16::from_be_bytes([*frame.get(12)?, *frame.get(13)?]);
    let (ip, len) = match ethertype {
        ethernet::ethertype::IPV4 => (Ip::V4, 20),
        ethernet::ethertype::IPV6 => (Ip::V6, 40),
        _ => return None,
    };
    (frame.len() >= ETH_HLEN + len).then_some(ip)
}

/// Whether the frame says that it is IP and is shorter than an IP header.
pub fn is_cut(frame: &[u8]) -> bool {
    let is_ip = matches!(frame.get(12..14), Some([0x08, 0x00] | [0x86, 0xdd]));
    is_ip && ip(frame).is_none()
}

/// Type of service or traffic class of the frame, 0 if it is not IP.
pub fn inner_tos(frame: &[u8]) -> u8 {
    match ip(frame) {
        Some(Ip::V4) => frame[ETH_HLEN + 1],
        Some(Ip::V6) => frame[ETH_HLEN] << 4 | frame[ETH_HLEN + 1] >> 4,
        None => 0,
    }
}

/// Time to live or hop limit of the frame; `None`: it is not IP.
pub fn inner_ttl(frame: &[u8]) -> Option<u8> {
    match ip(frame)? {
        Ip::V4 => Some(frame[ETH_HLEN + 8]),
        Ip::V6 => Some(frame[ETH_HLEN + 7]),
    }
}

/// Whether the frame is IPv4 and must not be fragmented.
pub fn inner_dont_fragment(frame: &[u8]) -> bool {
    matches!(ip(frame), Some(Ip::V4)) && frame[ETH_HLEN + 6] & 0x40 != 0
}

/// The outer type of service for `frame`: `tos` with the frame's ECN bits. Congestion inside is not shown on the outside:
/// the outer packet starts afresh.
pub fn encapsulate(tos: u8, frame: &[u8]) -> u8 {
    let inner = inner_tos(frame) & MASK;
    tos & !MASK | if inner == CE { ECT_0 } else { inner }
}

/// Carries the outer header's mark over to the frame.
///
/// # Errors
/// [`Refusal::Ecn`]: congestion, for a frame whose sender would not understand the mark. [`Refusal::BadFrame`]: the IP header
/// of the frame is cut.
pub fn decapsulate(outer_tos: u8, frame: &mut [u8]) -> Result<(), Refusal> {
    if is_cut(frame) {
        return Err(Refusal::BadFrame);
    }
    let Some(ip) = ip(frame) else { return Ok(()) };
    let (outer, inner) = (outer_tos & MASK, inner_tos(frame) & MASK);
    let wanted = match (outer, inner) {
        (CE, NOT_ECT) => return Err(Refusal::Ecn),
        (CE, _) => CE,
        (ECT_1, ECT_0) => ECT_1,
        _ => return Ok(()),
    };
    if wanted == inner {
        return Ok(());
    }
    match ip {
        Ip::V4 => {
            let at = ETH_HLEN;
            let old = u16::from_be_bytes([frame[at], frame[at + 1]]);
            frame[at + 1] = frame[at + 1] & !MASK | wanted;
            let new = u16::from_be_bytes([frame[at], frame[at + 1]]);
            let sum = u16::from_be_bytes([frame[at + 10], frame[at + 11]]);
            frame[at + 10..at + 12].copy_from_slice(&checksum::update16(sum, old, new).to_be_bytes());
        }
        Ip::V6 => frame[ETH_HLEN + 1] = frame[ETH_HLEN + 1] & !(MASK << 4) | wanted << 4,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv4(tos: u8) -> Vec<u8> {
        let mut frame = vec![0; 34];
        frame[12..16].copy_from_slice(&[8, 0, 0x45, tos]);
        frame[22] = 64;
        let sum = checksum::checksum(&frame[14..]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    fn ipv6(tos: u8) -> Vec<u8> {
        let mut frame = vec![0; 54];
        frame[12..16].copy_from_slice(&[0x86, 0xdd, 0x60 | tos >> 4, tos << 4]);
        frame
    }

    /// RFC 6040, figure 4, with the kernel's drop for congestion that cannot be passed on.
    #[test]
    fn every_combination() {
        for make in [ipv4, ipv6] {
            for outer in 0..4 {
                for inner in 0..4 {
                    let mut frame = make(0xb8 | inner);
                    let result = decapsulate(outer, &mut frame);
                    let expected = match (outer, inner) {
                        (3, 0) => Err(Refusal::Ecn),
                        (3, _) => Ok(3),
                        (1, 2) => Ok(1),
                        (_, inner) => Ok(inner),
                    };
                    assert_eq!(result.map(|()| inner_tos(&frame) & 3), expected, "{outer} {inner}");
                    assert_eq!(inner_tos(&frame) & !3, 0xb8);
                }
            }
        }
        let mut frame = ipv4(1);
        decapsulate(3, &mut frame).unwrap();
        assert_eq!(checksum::checksum(&frame[14..]), 0);
        assert_eq!([0, 1, 2, 3].map(|inner| encapsulate(0x43, &ipv4(inner))), [0x40, 0x41, 0x42, 0x42]);
    }

    #[test]
    fn what_is_no_ip_stays() {
        let mut frame = vec![0; 14];
        assert_eq!(decapsulate(3, &mut frame), Ok(()));
        assert_eq!((inner_tos(&frame), inner_ttl(&frame), encapsulate(3, &frame)), (0, None, 0));
        assert_eq!((inner_ttl(&ipv4(0)), inner_dont_fragment(&ipv4(0))), (Some(64), false));
        for len in 0..34 {
            let expected = if len < 14 { Ok(()) } else { Err(Refusal::BadFrame) };
            assert_eq!(decapsulate(3, &mut ipv4(0)[..len]), expected, "cut");
        }
    }
}
