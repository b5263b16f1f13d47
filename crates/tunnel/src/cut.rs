// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A TCP super-packet as the segments that it stands for: headers for each are written anew, the payload stays where it is.
//!
//! Only super-packets whose segments differ in nothing but the IP and TCP headers: IPv4, or IPv6 without extension headers, behind
//! Ethernet and at most two VLAN tags. What else there is, the switch cuts before a port sees it.

use std::ops::Range;

use portway_buf::{Offload, virtio};
use portway_wire::checksum::Sum;

use crate::inner::{Layers, layers, pseudo_header};

/// The longest headers: Ethernet, two VLAN tags, IPv4 and TCP, both with all the options that fit.
pub const HEADERS_MAX: usize = 14 + 8 + 60 + 60;

const TCP: u8 = 6;
/// TCP header: flags and checksum.
const FLAGS_AT: usize = 13;
const CHECKSUM_AT: usize = 16;
const FIN_PSH: u8 = 0x09;
const CWR: u8 = 0x80;

/// How a super-packet is cut.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    layers: Layers,
    headers: usize,
    mss: usize,
    end: usize,
}

impl Cut {
    /// The plan for a frame of which this is left to be done; `None`: it is no TCP super-packet that can be cut here.
    pub fn plan(frame: &[u8], offload: Offload) -> Option<Self> {
        let gso = offload.gso?;
        let ipv6 = match gso.gso_type & !virtio::gso::ECN {
            virtio::gso::TCPV4 => false,
            virtio::gso::TCPV6 => true,
            _ => return None,
        };
        let layers = layers(frame)?;
        let plain = layers.ipv6 == ipv6 && layers.protocol == TCP && !layers.fragment;
        let to_sum = offload.partial_csum == Some((layers.l4 as u16, CHECKSUM_AT as u16));
        let header = usize::from(frame.get(layers.l4 + 12)? >> 4) * 4;
        let headers = layers.l4 + header;
        let whole = header >= 20 && headers < layers.end && layers.end == frame.len();
        let cut = Self { layers, headers, mss: usize::from(gso.size), end: layers.end };
        (plain && to_sum && whole && gso.size != 0).then_some(cut)
    }

    /// How many segments it makes; at least one.
    pub fn segments(&self) -> usize {
        (self.end - self.headers).div_ceil(self.mss)
    }

    /// Bytes of headers of each segment.
    pub fn headers(&self) -> usize {
        self.headers
    }

    /// Where in the frame the payload of segment `index` is.
    pub fn payload(&self, index: usize) -> Range<usize> {
        let start = self.headers + index * self.mss;
        start.min(self.end)..(start + self.mss).min(self.end)
    }

    /// Writes the headers of segment `index` of `frame`, the one planned for, to `out`, which is as long as they are.
    ///
    /// # Panics
    /// If it is not.
    pub fn write_headers(&self, frame: &[u8], index: usize, out: &mut [u8]) {
        let Layers { l3, l4, ipv6, .. } = self.layers;
        let payload = &frame[self.payload(index)];
        let end = self.headers + payload.len();
        out.copy_from_slice(&frame[..self.headers]);
        let mut put16 = |at: usize, value: u16| out[at..at + 2].copy_from_slice(&value.to_be_bytes());
        if ipv6 {
            put16(l3 + 4, (end - l4) as u16);
        } else {
            let id = u16::from_be_bytes([frame[l3 + 4], frame[l3 + 5]]).wrapping_add(index as u16);
            put16(l3 + 2, (end - l3) as u16);
            put16(l3 + 4, id);
            put16(l3 + 10, 0);
            let sum = Sum::new().bytes(&out[l3..l4]).checksum();
            out[l3 + 10..l3 + 12].copy_from_slice(&sum.to_be_bytes());
        }
        let tcp = &mut out[l4..];
        let sequence = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
        let sequence = sequence.wrapping_add((index * self.mss) as u32);
        tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
        let is_last = index + 1 == self.segments();
        let not_here = if index == 0 { 0 } else { CWR } | if is_last { 0 } else { FIN_PSH };
        tcp[FLAGS_AT] &= !not_here;
        tcp[CHECKSUM_AT..CHECKSUM_AT + 2].fill(0);
        let pseudo = pseudo_header(frame, &Layers { end, ..self.layers });
        let sum = pseudo.bytes(tcp).bytes(payload).checksum();
        tcp[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portway_buf::Gso;
    use portway_wire::checksum::{checksum, pseudo_v4, pseudo_v6};
    use proptest::prelude::*;

    const SEQUENCE: u32 = 0xffff_ff00;

    /// A super-packet and what is left to be done to it.
    fn super_packet(
        v6: bool,
        tags: usize,
        options: usize,
        data: &[u8],
        flags: u8,
        mss: u16,
    ) -> (Vec<u8>, Offload) {
        let mut frame = vec![2; 12];
        for _ in 0..tags {
            frame.extend([0x81, 0, 0, 5]);
        }
        let tcp_len = (20 + options + data.len()) as u16;
        if v6 {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(tcp_len.to_be_bytes());
            frame.extend([TCP, 64]);
            frame.extend([[1; 16], [3; 16]].as_flattened());
        } else {
            frame.extend([8, 0, 0x45, 0]);
            frame.extend((20 + tcp_len).to_be_bytes());
            frame.extend([0xff, 0xff, 0x40, 0, 64, TCP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        }
        let l4 = frame.len();
        frame.extend([0x10, 0, 0x20, 0]);
        frame.extend(SEQUENCE.to_be_bytes());
        frame.extend([0, 0, 0, 7, (5 + options as u8 / 4) << 4, flags, 1, 0, 0xaa, 0xbb, 0, 0]);
        frame.extend(vec![1; options]);
        frame.extend(data);
        let gso_type = if v6 { virtio::gso::TCPV6 } else { virtio::gso::TCPV4 };
        let gso = Some(Gso { gso_type, size: mss });
        (frame, Offload { partial_csum: Some((l4 as u16, 16)), gso })
    }

    fn segments(frame: &[u8], cut: &Cut) -> Vec<Vec<u8>> {
        let one = |index| {
            let mut segment = vec![0; cut.headers()];
            cut.write_headers(frame, index, &mut segment);
            segment.extend(&frame[cut.payload(index)]);
            segment
        };
        (0..cut.segments()).map(one).collect()
    }

    proptest! {
        /// Each segment is a packet that a receiver takes, and together they are the data; put together again, the super-packet.
        #[test]
        fn segments_are_right(v6: bool, tags in 0..3usize, options in 0..11usize,
                              data in proptest::collection::vec(any::<u8>(), 1..3000), flags: u8, mss in 1..1500u16) {
            let (frame, offload) = super_packet(v6, tags, options * 4, &data, flags, mss);
            let cut = Cut::plan(&frame, offload).unwrap();
            let segments = segments(&frame, &cut);
            prop_assert_eq!(segments.len(), data.len().div_ceil(usize::from(mss)));
            let l4 = usize::from(offload.partial_csum.unwrap().0);
            let mut seen: Vec<u8> = Vec::new();
            for (index, segment) in segments.iter().enumerate() {
                let found = layers(segment).unwrap();
                prop_assert_eq!((found.l4, found.end), (l4, segment.len()));
                let len = segment.len() - l4;
                let pseudo = if v6 { pseudo_v6([1; 16], [3; 16], TCP, len as u32) }
                             else { pseudo_v4([10, 0, 0, 1], [10, 0, 0, 2], TCP, len as u16) };
                prop_assert_eq!(pseudo.bytes(&segment[l4..]).checksum(), 0);
                if !v6 {
                    prop_assert_eq!(checksum(&segment[l4 - 20..l4]), 0);
                    prop_assert_eq!(&segment[l4 - 16..l4 - 14], &0xffff_u16.wrapping_add(index as u16).to_be_bytes()[..]);
                }
                prop_assert_eq!(&segment[l4 + 4..l4 + 8], &SEQUENCE.wrapping_add(seen.len() as u32).to_be_bytes()[..]);
                let not_first = if index == 0 { 0 } else { CWR };
                let not_last = if index + 1 == segments.len() { 0 } else { FIN_PSH };
                prop_assert_eq!(segment[l4 + 13], flags & !not_first & !not_last);
                seen.extend(&segment[cut.headers()..]);
            }
            prop_assert_eq!(seen, data);
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, start: u16, size: u16, v6: bool) {
            let gso_type = if v6 { virtio::gso::TCPV6 } else { virtio::gso::TCPV4 };
            let gso = Some(Gso { gso_type, size });
            let plan = Cut::plan(&bytes, Offload { partial_csum: Some((start, 16)), gso });
            prop_assert!(plan.is_none());
        }

        #[test]
        fn cut_frames_are_refused(v6: bool, tags in 0..4usize, at in 0..200usize) {
            let (mut frame, offload) = super_packet(v6, tags, 12, &[7; 100], 0x10, 40);
            prop_assert_eq!(Cut::plan(&frame, offload).is_some(), tags < 3);
            frame.truncate(at.min(frame.len() - 1));
            prop_assert!(Cut::plan(&frame, offload).is_none());
        }
    }

    #[test]
    fn what_is_left_to_be_done_must_fit_the_headers() {
        let (frame, offload) = super_packet(false, 0, 0, &[7; 100], 0x10, 40);
        let gso = offload.gso.unwrap();
        for bad in [
            Offload { gso: None, ..offload },
            Offload { partial_csum: None, ..offload },
            Offload { partial_csum: Some((34, 6)), ..offload },
            Offload { partial_csum: Some((35, 16)), ..offload },
            Offload { gso: Some(Gso { size: 0, ..gso }), ..offload },
            Offload { gso: Some(Gso { gso_type: virtio::gso::TCPV6, ..gso }), ..offload },
            Offload { gso: Some(Gso { gso_type: virtio::gso::UDP_L4, ..gso }), ..offload },
        ] {
            assert!(Cut::plan(&frame, bad).is_none(), "{bad:?}");
        }
        let marked = Gso { gso_type: gso.gso_type | virtio::gso::ECN, ..gso };
        assert!(Cut::plan(&frame, Offload { gso: Some(marked), ..offload }).is_some());
        let longer = [&frame[..], &[0; 4]].concat();
        assert!(Cut::plan(&longer, offload).is_none(), "bytes behind the IP packet");
    }
}
