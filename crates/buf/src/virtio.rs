// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The header that stands in front of a frame wherever offloads cross from one owner to another: packet sockets, TAPs,
//! vhost (struct virtio_net_hdr, linux/virtio_net.h; virtio 1.2, section 5.1.6). Here it becomes a packet's
//! [`Offload`] and back; fields are in host byte order, as the kernel's sockets and TAPs have them.

use crate::packet::{Gso, Offload, Packet};

/// Bytes of the header without a buffer count.
pub const HEADER_LEN: usize = 10;

const F_NEEDS_CSUM: u8 = 1;
const F_DATA_VALID: u8 = 2;

/// VIRTIO_NET_HDR_GSO_*.
pub mod gso {
    /// TCP over IPv4.
    pub const TCPV4: u8 = 1;
    /// UDP fragmentation (old; not offered by Portway).
    pub const UDP: u8 = 3;
    /// TCP over IPv6.
    pub const TCPV6: u8 = 4;
    /// UDP segmentation.
    pub const UDP_L4: u8 = 5;
    /// Flag: TCP with ECN set.
    pub const ECN: u8 = 0x80;
}

/// A frame that is this long or longer gets its headers, and no more, in the first piece of the kernel's buffer.
const PAGED_FROM: usize = 2048;
/// Bytes of headers assumed where they are not known.
const HEADERS_GUESS: usize = 128;

/// Notes in `packet`, whose frame is already in place, what `header` says. False, with the offload cleared, when the header
/// does not fit the frame: the checksum field or the segments' headers lie outside, or a segment is of no bytes.
#[must_use]
pub fn apply(header: &[u8; HEADER_LEN], packet: &mut Packet) -> bool {
    let field = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
    let (flags, gso_type) = (header[0], header[1]);
    let (size, start, offset) = (field(4), field(6), field(8));
    packet.set_checksum_verified(flags & F_DATA_VALID != 0);
    let partial_csum = (flags & F_NEEDS_CSUM != 0).then_some((start, offset));
    let gso = (gso_type & !gso::ECN != 0).then_some(Gso { gso_type, size });
    let csum_fits = partial_csum
        .is_none_or(|(start, offset)| usize::from(start) + usize::from(offset) + 2 <= packet.len());
    let gso_fits = gso.is_none_or(|gso| gso.size != 0 && usize::from(field(2)) <= packet.len());
    let fits = csum_fits && gso_fits;
    packet.set_offload(if fits { Offload { partial_csum, gso } } else { Offload::default() });
    fits
}

/// The header that says what is left to be done to `packet`.
#[inline]
pub fn header(packet: &Packet) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    let offload = packet.offload();
    if let Some((start, offset)) = offload.partial_csum {
        header[0] = F_NEEDS_CSUM;
        header[6..8].copy_from_slice(&start.to_ne_bytes());
        header[8..10].copy_from_slice(&offset.to_ne_bytes());
    }
    if let Some(gso) = offload.gso {
        header[1] = gso.gso_type;
        header[4..6].copy_from_slice(&gso.size.to_ne_bytes());
    }
    if offload.gso.is_some() || packet.len() >= PAGED_FROM {
        header[2..4].copy_from_slice(&header_bytes(packet, offload).to_ne_bytes());
    }
    header
}

/// Length of the headers that each segment repeats; a guess that is safe for a frame which is not segmented.
fn header_bytes(packet: &Packet, offload: Offload) -> u16 {
    let frame = packet.frame();
    let exact = offload.partial_csum.zip(offload.gso).and_then(|((start, _), gso)| {
        let start = usize::from(start);
        match gso.gso_type & !gso::ECN {
            gso::UDP_L4 | gso::UDP => Some(start + 8),
            gso::TCPV4 | gso::TCPV6 => Some(start + usize::from(frame.get(start + 12)? >> 4) * 4),
            _ => None,
        }
    });
    exact.unwrap_or(HEADERS_GUESS).min(frame.len()) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp_super_packet() -> Packet {
        let mut packet = Packet::copied_from(&[0; 30_000]).unwrap();
        packet.frame_mut()[34 + 12] = 8 << 4;
        packet.set_offload(Offload {
            partial_csum: Some((34, 16)),
            gso: Some(Gso { gso_type: gso::TCPV4 | gso::ECN, size: 1448 }),
        });
        packet
    }

    #[test]
    fn offloads_survive_the_round_trip() {
        let packet = tcp_super_packet();
        let header = header(&packet);
        assert_eq!(u16::from_ne_bytes([header[2], header[3]]), 66, "Ethernet, IPv4 and TCP with timestamps");
        let mut copy = Packet::copied_from(packet.frame()).unwrap();
        assert!(apply(&header, &mut copy));
        assert_eq!(copy.offload(), packet.offload());
        assert!(!copy.checksum_verified());
    }

    #[test]
    fn a_plain_packet_has_a_header_of_zeros() {
        let packet = Packet::copied_from(&[1; 1500]).unwrap();
        assert_eq!(header(&packet), [0; HEADER_LEN]);
        let mut valid = Packet::copied_from(&[1; 60]).unwrap();
        assert!(apply(&[F_DATA_VALID, 0, 0, 0, 9, 9, 0, 0, 0, 0], &mut valid));
        assert!(valid.checksum_verified() && valid.is_plain());
    }

    #[test]
    fn what_lies_outside_the_frame_is_refused() {
        let of = |flags, gso_type, hdr_len: u16, size: u16, start: u16, offset: u16| {
            let mut header = [flags, gso_type, 0, 0, 0, 0, 0, 0, 0, 0];
            for (at, field) in [(2, hdr_len), (4, size), (6, start), (8, offset)] {
                header[at..at + 2].copy_from_slice(&field.to_ne_bytes());
            }
            header
        };
        let mut packet = Packet::copied_from(&[1; 60]).unwrap();
        assert!(apply(&of(1, 0, 0, 0, 34, 24), &mut packet));
        for bad in [
            of(1, 0, 0, 0, 34, 25),
            of(1, 0, 0, 0, u16::MAX, u16::MAX),
            of(1, gso::TCPV4, 54, 0, 34, 16),
            of(1, gso::TCPV4, 61, 100, 34, 16),
        ] {
            assert!(!apply(&bad, &mut packet), "{bad:?}");
            assert!(packet.is_plain());
        }
    }
}
