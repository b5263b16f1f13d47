// SPDX-License-Identifier: Apache-2.0 OR MIT
//! TCP segments that came one by one, put together again: the frames of one train (UDP_GRO), in order, become one super-packet,
//! which costs the rest of the way as much as one frame.
//!
//! Only what can be taken apart again into the very same segments is put together: equal headers, sequence numbers without a
//! gap, equal lengths but for the last, right checksums.

use portway_buf::{Gso, Offload, virtio};
use portway_wire::checksum::Sum;

use crate::inner::{Layers, headers, pseudo_header};

/// The longest IP packet.
const IP_MAX: usize = 65_535;
/// TCP flags with which a segment stands alone: FIN, SYN, RST, URG, ECE, CWR. (PSH ends a train.)
const ALONE: u8 = 0x01 | 0x02 | 0x04 | 0x20 | 0x40 | 0x80;
const PSH: u8 = 0x08;

/// A train of segments so far.
#[derive(Clone, Copy, Debug)]
pub struct Train {
    layers: Layers,
    /// Bytes of headers, the frame's first.
    headers: usize,
    /// Payload bytes of each segment.
    mss: usize,
    /// Payload bytes so far.
    payload: usize,
    sequence: u32,
    /// A shorter segment, or one with PSH, has come: nothing can follow.
    ended: bool,
    /// PSH of the last segment.
    push: u8,
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Where the headers are of a frame that consists of `frame` and `payload` and may be part of a train; `None`: it may not.
fn segment(frame: &[u8], payload: &[u8]) -> Option<(Layers, usize)> {
    let layers = headers(frame)?;
    let options = !layers.ipv6 && layers.l4 != layers.l3 + 20;
    let len = frame.len() + payload.len();
    if layers.protocol != 6 || layers.fragment || options || layers.end != len {
        return None;
    }
    let tcp = frame.get(layers.l4..)?.first_chunk::<20>()?;
    let headers = layers.l4 + usize::from(tcp[12] >> 4) * 4;
    let whole = tcp[12] >> 4 >= 5 && headers < layers.end && headers <= frame.len();
    let plain = tcp[12] & 0xf == 0 && tcp[13] & ALONE == 0 && tcp[13] & 0x10 != 0;
    let sum = || pseudo_header(frame, &layers).bytes(&frame[layers.l4..]).bytes(payload);
    (whole && plain && sum().checksum() == 0).then_some((layers, headers))
}

impl Train {
    /// A train that starts with `frame`; `None`: nothing can be added to it.
    pub fn start(frame: &[u8]) -> Option<Self> {
        let (layers, headers) = segment(frame, &[])?;
        if !layers.ipv6 && Sum::new().bytes(&frame[layers.l3..layers.l4]).checksum() != 0 {
            return None;
        }
        let payload = frame.len() - headers;
        let push = frame[layers.l4 + 13] & PSH;
        let sequence = be32(frame, layers.l4 + 4);
        Some(Self { layers, headers, mss: payload, payload, sequence, ended: push != 0, push })
    }

    /// Whether a frame follows that consists of these headers, as many as [`Train::headers`] says, and this payload; then it is part of the
    /// train. `head`: the first frame.
    pub fn add(&mut self, head: &[u8], next: &[u8], payload: &[u8]) -> bool {
        if self.ended || next.len() != self.headers || payload.is_empty() {
            return false;
        }
        let Some((layers, headers)) = segment(next, payload) else { return false };
        let payload = payload.len();
        let total = self.headers - self.layers.l3 + self.payload + payload;
        let expected = self.sequence.wrapping_add(self.payload as u32);
        if headers != self.headers
            || (layers.l3, layers.l4, layers.ipv6) != (self.layers.l3, self.layers.l4, self.layers.ipv6)
            || payload > self.mss
            || total > IP_MAX
            || be32(next, layers.l4 + 4) != expected
            || !self.same_headers(head, next)
        {
            return false;
        }
        self.payload += payload;
        self.push = next[layers.l4 + 13] & PSH;
        self.ended = self.push != 0 || payload < self.mss;
        true
    }

    /// Bytes of headers in front of each segment's payload.
    pub fn headers(&self) -> usize {
        self.headers
    }

    /// Bytes of the frame that the train makes.
    pub fn frame_len(&self) -> usize {
        self.headers + self.payload
    }

    /// Whether more than one segment is in it.
    pub fn is_long(&self) -> bool {
        self.payload > self.mss
    }

    /// All that must not differ: everything but lengths, ids, sequence numbers, checksums and PSH.
    fn same_headers(&self, head: &[u8], next: &[u8]) -> bool {
        let (l3, l4) = (self.layers.l3, self.layers.l4);
        let ip = if self.layers.ipv6 {
            head[l3..l3 + 4] == next[l3..l3 + 4] && head[l3 + 6..l4] == next[l3 + 6..l4]
        } else {
            head[l3..l3 + 2] == next[l3..l3 + 2]
                && head[l3 + 6..l3 + 10] == next[l3 + 6..l3 + 10]
                && head[l3 + 12..l4] == next[l3 + 12..l4]
                && Sum::new().bytes(&next[l3..l4]).checksum() == 0
        };
        let tcp = head[l4..l4 + 4] == next[l4..l4 + 4]
            && head[l4 + 8..l4 + 13] == next[l4 + 8..l4 + 13]
            && (head[l4 + 13] ^ next[l4 + 13]) & !PSH == 0
            && head[l4 + 14..l4 + 16] == next[l4 + 14..l4 + 16]
            && head[l4 + 18..self.headers] == next[l4 + 18..self.headers];
        head[..l3] == next[..l3] && ip && tcp
    }

    /// Makes the headers of `frame`, which holds the first segment's and all payload, those of the super-packet, and says what is
    /// left to be done to it.
    pub fn finish(&self, frame: &mut [u8]) -> Offload {
        let Layers { l3, l4, ipv6, .. } = self.layers;
        let end = self.frame_len();
        if ipv6 {
            frame[l3 + 4..l3 + 6].copy_from_slice(&((end - l4) as u16).to_be_bytes());
        } else {
            frame[l3 + 2..l3 + 4].copy_from_slice(&((end - l3) as u16).to_be_bytes());
            frame[l3 + 10..l3 + 12].fill(0);
            let sum = Sum::new().bytes(&frame[l3..l4]).checksum();
            frame[l3 + 10..l3 + 12].copy_from_slice(&sum.to_be_bytes());
        }
        frame[l4 + 13] |= self.push;
        let pseudo = pseudo_header(frame, &Layers { end, ..self.layers }).folded();
        frame[l4 + 16..l4 + 18].copy_from_slice(&pseudo.to_be_bytes());
        let gso_type = if ipv6 { virtio::gso::TCPV6 } else { virtio::gso::TCPV4 };
        debug_assert!(be16(frame, l3) != 0);
        Offload { partial_csum: Some((l4 as u16, 16)), gso: Some(Gso { gso_type, size: self.mss as u16 }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portway_wire::checksum::{checksum, pseudo_v4};

    /// A TCP segment over IPv4.
    fn tcp(sequence: u32, data: &[u8], flags: u8) -> Vec<u8> {
        let mut frame = vec![2; 12];
        frame.extend([8, 0, 0x45, 0]);
        frame.extend((40 + data.len() as u16).to_be_bytes());
        frame.extend([sequence as u8, 9, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        let sum = checksum(&frame[14..34]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        frame.extend([0x10, 0, 0x20, 0]);
        frame.extend(sequence.to_be_bytes());
        frame.extend([0, 0, 0, 7, 0x50, flags, 1, 0, 0, 0, 0, 0]);
        frame.extend(data);
        let len = (20 + data.len()) as u16;
        let sum = pseudo_v4([10, 0, 0, 1], [10, 0, 0, 2], 6, len).bytes(&frame[34..]).checksum();
        frame[50..52].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    #[test]
    fn segments_become_one_and_nothing_else_does() {
        let (first, second, last) =
            (tcp(100, &[1; 90], 0x10), tcp(190, &[2; 90], 0x10), tcp(280, &[3; 40], 0x18));
        let mut train = Train::start(&first).unwrap();
        for other in [
            tcp(191, &[2; 90], 0x10),
            tcp(190, &[2; 91], 0x10),
            tcp(190, &[2; 90], 0x11),
            tcp(190, &[], 0x10),
            [second.clone(), vec![0]].concat(),
        ] {
            assert!(!train.add(&first, &other[..54], &other[54..]));
        }
        let mut damaged = second.clone();
        damaged[80] ^= 1;
        assert!(
            !train.add(&first, &damaged[..54], &damaged[54..]),
            "a wrong checksum stays with its segment"
        );
        assert!(
            train.add(&first, &second[..54], &second[54..]) && train.add(&first, &last[..54], &last[54..])
        );
        assert!(train.is_long());
        let behind = tcp(320, &[4; 40], 0x10);
        assert!(!train.add(&first, &behind[..54], &behind[54..]), "PSH ends it");

        let mut whole = [&first[..], &second[54..], &last[54..]].concat();
        assert_eq!(whole.len(), train.frame_len());
        let offload = train.finish(&mut whole);
        assert_eq!(offload.gso, Some(Gso { gso_type: virtio::gso::TCPV4, size: 90 }));
        assert_eq!(offload.partial_csum, Some((34, 16)));
        assert_eq!(inner_total(&whole), 40 + 220);
        assert_eq!((checksum(&whole[14..34]), whole[47]), (0, 0x18));
        assert_eq!(crate::inner::partial_checksum(&whole), Some((34, 16)));
    }

    fn inner_total(frame: &[u8]) -> u16 {
        be16(frame, 16)
    }

    #[test]
    fn what_stands_alone_starts_nothing() {
        for flags in [0x02, 0x11, 0x14, 0x30, 0x00, 0x90, 0x50] {
            assert!(Train::start(&tcp(1, &[1; 10], flags)).is_none(), "{flags:02x}");
        }
        assert!(Train::start(&tcp(1, &[], 0x10)).is_none(), "no data");
        let mut frame = tcp(1, &[1; 10], 0x10);
        frame[24] ^= 1;
        assert!(Train::start(&frame).is_none(), "IP's checksum is wrong");
    }
}
