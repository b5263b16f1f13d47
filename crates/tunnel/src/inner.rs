// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What has to be known of the frame inside a tunnel packet.

use portway_wire::checksum::{Sum, pseudo_v4, pseudo_v6};
use portway_wire::ethernet::ethertype;
use portway_wire::{geneve, gre, vxlan};

const TCP: u8 = 6;
const UDP: u8 = 17;
const GRE: u8 = 47;

/// Bytes of an Ethernet header.
pub const ETH_HLEN: usize = 14;
/// Tags that are skipped to find the IP header.
const TAGS_MAX: usize = 2;
/// Bytes of a UDP header.
const UDP_LEN: usize = 8;

/// A tunnel packet in a tunnel packet in ... : with as many as this around it, a frame goes into no further tunnel. Traffic of
/// virtual networks within virtual networks has two or three; more means that the way to the tunnel's peer leads through the tunnel.
pub const DEPTH_MAX: usize = 5;

/// Where the headers of an IP packet in a frame are, in bytes from the frame's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layers {
    /// The IP header.
    pub l3: usize,
    /// What follows it.
    pub l4: usize,
    /// The end of the IP packet, within the frame.
    pub end: usize,
    /// Whether it is IPv6.
    pub ipv6: bool,
    /// Protocol of what follows the IP header.
    pub protocol: u8,
    /// Whether it is a piece of a larger packet.
    pub fragment: bool,
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// Finds the headers; `None`: not IP, or cut. IPv6 extension headers are not walked: they are the protocol then.
pub fn layers(frame: &[u8]) -> Option<Layers> {
    headers(frame).filter(|layers| layers.end <= frame.len())
}

/// As [`layers`], but the packet may be cut behind its IP header.
pub(crate) fn headers(frame: &[u8]) -> Option<Layers> {
    let mut at = 12;
    let mut ethertype = be16(frame, at)?;
    for _ in 0..TAGS_MAX {
        if matches!(ethertype, ethertype::VLAN | ethertype::QINQ) {
            at += 4;
            ethertype = be16(frame, at)?;
        }
    }
    let l3 = at + 2;
    match ethertype {
        ethertype::IPV4 => {
            let header = frame.get(l3..)?.first_chunk::<20>()?;
            let (len, total) = (usize::from(header[0] & 0xf) * 4, usize::from(be16(header, 2)?));
            let fits = header[0] >> 4 == 4 && len >= 20 && total >= len;
            let fragment = be16(header, 6)? & 0x3fff != 0;
            fits.then_some(Layers {
                l3,
                l4: l3 + len,
                end: l3 + total,
                ipv6: false,
                protocol: header[9],
                fragment,
            })
        }
        ethertype::IPV6 => {
            let header = frame.get(l3..)?.first_chunk::<40>()?;
            let (l4, len) = (l3 + 40, usize::from(be16(header, 4)?));
            let fits = header[0] >> 4 == 6;
            let (protocol, end) = (header[6], l4 + len);
            fits.then_some(Layers { l3, l4, end, ipv6: true, protocol, fragment: protocol == 44 })
        }
        _ => None,
    }
}

/// A hash of the frame's flow: the same for all packets of a connection in one direction, never zero.
pub fn flow_hash(frame: &[u8]) -> u32 {
    let mut hash = 0x811c_9dc5_u32;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    };
    match layers(frame) {
        Some(layers) => {
            let addresses =
                if layers.ipv6 { layers.l3 + 8..layers.l3 + 40 } else { layers.l3 + 12..layers.l3 + 20 };
            add(&frame[addresses]);
            add(&[layers.protocol]);
            if matches!(layers.protocol, TCP | UDP) && !layers.fragment {
                add(frame.get(layers.l4..layers.l4 + 4).unwrap_or(&[]));
            }
        }
        None => add(&frame[..frame.len().min(ETH_HLEN)]),
    }
    // FNV's low bits are its weak ones.
    hash ^= hash >> 15;
    hash.max(1)
}

/// The sum of the pseudo header of the TCP or UDP packet.
pub(crate) fn pseudo_header(frame: &[u8], layers: &Layers) -> Sum {
    let len = layers.end - layers.l4;
    if layers.ipv6 {
        let (mut src, mut dst) = ([0; 16], [0; 16]);
        src.copy_from_slice(&frame[layers.l3 + 8..layers.l3 + 24]);
        dst.copy_from_slice(&frame[layers.l3 + 24..layers.l3 + 40]);
        pseudo_v6(src, dst, layers.protocol, len as u32)
    } else {
        let (mut src, mut dst) = ([0; 4], [0; 4]);
        src.copy_from_slice(&frame[layers.l3 + 12..layers.l3 + 16]);
        dst.copy_from_slice(&frame[layers.l3 + 16..layers.l3 + 20]);
        pseudo_v4(src, dst, layers.protocol, len as u16)
    }
}

/// Where a checksum is that holds the pseudo header's sum and no more: the start of what it covers, and the field's offset from there.
///
/// A sender on the same host leaves the checksum to a device that never comes, and a UDP socket does not tell. If the field
/// holds that sum by chance, the packet is taken for such a one as well, and no harm is done: what completes it
/// arrives at the same value.
pub fn partial_checksum(frame: &[u8]) -> Option<(u16, u16)> {
    let layers = layers(frame)?;
    let offset = match layers.protocol {
        TCP => 16,
        UDP => 6,
        _ => return None,
    };
    if layers.fragment || layers.l4 + offset + 2 > layers.end {
        return None;
    }
    let field = be16(frame, layers.l4 + offset)?;
    let is_partial = field != 0 && field == pseudo_header(frame, &layers).folded();
    is_partial.then_some((layers.l4 as u16, offset as u16))
}

/// Bytes of headers that each TCP segment of the frame repeats; `None`: not TCP.
pub fn tcp_headers(frame: &[u8]) -> Option<usize> {
    let layers = layers(frame)?;
    let len = usize::from(frame.get(layers.l4 + 12)? >> 4) * 4;
    (layers.protocol == TCP && len >= 20 && layers.l4 + len <= layers.end).then_some(layers.l4 + len)
}

/// How many tunnels the frame is in already, up to [`DEPTH_MAX`]. `port`: the UDP port that counts besides the assigned ones.
pub fn depth(frame: &[u8], port: u16) -> usize {
    let (mut frame, mut depth) = (frame, 0);
    while depth < DEPTH_MAX
        && let Some(inside) = payload(frame, port)
    {
        (frame, depth) = (inside, depth + 1);
    }
    depth
}

/// What is inside, if `frame` is a tunnel packet (or a first fragment of one).
fn payload(frame: &[u8], port: u16) -> Option<&[u8]> {
    // What is inside a first fragment is cut, on every level.
    let layers = headers(frame)?;
    let packet = frame.get(layers.l4..layers.end.min(frame.len()))?;
    match layers.protocol {
        UDP => {
            let to = be16(packet, 2)?;
            let datagram = packet.get(UDP_LEN..)?;
            if to == geneve::PORT {
                geneve::View::new(datagram).ok().map(|view| view.payload())
            } else if to == vxlan::PORT || to == port {
                vxlan::View::new(datagram).ok().map(|view| view.payload())
            } else {
                None
            }
        }
        GRE => gre::View::new(packet).ok().map(|view| view.payload()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portway_wire::checksum;
    use proptest::prelude::*;

    fn udp4(payload: &[u8], port: u16) -> Vec<u8> {
        let mut frame = vec![2; 12];
        frame.extend([8, 0, 0x45, 0]);
        frame.extend((28 + payload.len() as u16).to_be_bytes());
        frame.extend([0, 0, 0, 0, 64, UDP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend(4000u16.to_be_bytes());
        frame.extend(port.to_be_bytes());
        frame.extend((8 + payload.len() as u16).to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(payload);
        frame
    }

    #[test]
    fn a_partial_checksum_is_told_from_a_whole_one() {
        let mut frame = udp4(b"payload", 53);
        assert_eq!(partial_checksum(&frame), None, "none at all");
        let layers = layers(&frame).unwrap();
        let pseudo = pseudo_header(&frame, &layers).folded();
        frame[40..42].copy_from_slice(&pseudo.to_be_bytes());
        assert_eq!(partial_checksum(&frame), Some((34, 6)));
        let whole = checksum::nonzero(checksum::checksum(&frame[34..]));
        frame[40..42].copy_from_slice(&whole.to_be_bytes());
        assert_eq!(partial_checksum(&frame), None);
    }

    #[test]
    fn tunnels_in_tunnels_are_counted() {
        let header = [8, 0, 0, 0, 0, 0, 5, 0];
        let mut frame = udp4(b"x", 53);
        for depth in 0..8 {
            assert_eq!(super::depth(&frame, 9999), depth.min(DEPTH_MAX));
            let port = if depth % 2 == 0 { 9999 } else { vxlan::PORT };
            frame = udp4(&[&header[..], &frame].concat(), port);
        }
        let frame = udp4(&[&header[..], &udp4(b"x", 53)].concat(), 9999);
        let deep =
            udp4(&[&header[..], &udp4(&[&header[..], &udp4(&[7; 600], 53)].concat(), 9999)].concat(), 9999);
        assert_eq!(super::depth(&deep[..400], 9999), 2, "a first fragment");
        assert_eq!(super::depth(&frame, 1), 0, "another port's traffic is none of ours");
    }

    #[test]
    fn a_flow_keeps_its_hash_and_others_have_others() {
        let hash = |port| flow_hash(&udp4(b"", port));
        assert_eq!(hash(1), flow_hash(&udp4(b"other payload", 1)));
        let mut all: Vec<_> = (0..1000).map(hash).collect();
        all.sort_unstable();
        all.dedup();
        assert!(all.len() > 990, "{}", all.len());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, port: u16) {
            let _ = (layers(&bytes), partial_checksum(&bytes), tcp_headers(&bytes));
            prop_assert!(flow_hash(&bytes) != 0 && depth(&bytes, port) <= DEPTH_MAX);
        }

        #[test]
        fn bytes_like_ip_are_survived(mut bytes in proptest::collection::vec(any::<u8>(), 15..120), v6: bool) {
            bytes[12..15].copy_from_slice(if v6 { &[0x86, 0xdd, 0x60] } else { &[8, 0, 0x45] });
            let _ = (layers(&bytes), partial_checksum(&bytes), tcp_headers(&bytes), depth(&bytes, 4789));
            prop_assert!(flow_hash(&bytes) != 0);
        }
    }
}
