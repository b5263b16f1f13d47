// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The hash action, and the flow hash behind it: over addresses, protocol and ports, the same for every packet of a connection.
//!
//! Fragments hash without ports, the first one too, so that all fragments of a datagram agree.

use portway_buf::Packet;
use portway_flow::hash_words;
use portway_flow::{Hash, HashAlgorithm};
use portway_wire::ethernet::ethertype;
use portway_wire::{ip_proto, ipv4, ipv6, ipv6_ext};

use crate::headers::{be16, ipv4_transport, link};

/// Any number does: what is hashed is chosen by the sender anyway, and a table keyed by the result has a seed of its own.
const SEED: u64 = 0x5045_5254_5741_5921;

/// One end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Endpoint {
    address: [u64; 2],
    port: u16,
}

/// What a flow is known by.
struct Flow {
    src: Endpoint,
    dst: Endpoint,
    /// Protocol, or the ethertype of what is not IP.
    protocol: u64,
}

impl Flow {
    fn of(packet: &Packet) -> Self {
        let frame = packet.frame();
        link(packet)
            .and_then(|link| match link.ethertype {
                ethertype::IPV4 => Self::ipv4(frame, link.l3),
                ethertype::IPV6 => Self::ipv6(frame, link.l3),
                _ => None,
            })
            .unwrap_or_else(|| Self::other(frame))
    }

    fn ipv4(frame: &[u8], l3: usize) -> Option<Self> {
        let header = frame.get(l3..l3 + ipv4::MIN_LEN)?;
        let address = |at: usize| {
            [0, u64::from(u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]))]
        };
        let fragment = be16(header, 6)? & (ipv4::MF | ipv4::OFFSET_MASK) != 0;
        let l4 = if fragment { usize::MAX } else { ipv4_transport(frame, l3) };
        Some(Self::new(address(12), address(16), header[9], frame, l4))
    }

    fn ipv6(frame: &[u8], l3: usize) -> Option<Self> {
        let header = frame.get(l3..l3 + ipv6::LEN)?;
        let address = |at: usize| {
            [at, at + 8].map(|at| header[at..].first_chunk().map_or(0, |half| u64::from_be_bytes(*half)))
        };
        let rest = l3 + ipv6::LEN;
        let walk = ipv6_ext::walk(header[6], &frame[rest..]);
        let (protocol, l4) = match (walk.end, walk.fragment) {
            (_, Some(fragment)) => (fragment.next_header, usize::MAX),
            (ipv6_ext::End::Upper { protocol, at }, None) => (protocol, rest + at),
            (ipv6_ext::End::LaterFragment | ipv6_ext::End::Broken, None) => (ip_proto::NONE, usize::MAX),
        };
        Some(Self::new(address(8), address(24), protocol, frame, l4))
    }

    fn new(src: [u64; 2], dst: [u64; 2], protocol: u8, frame: &[u8], l4: usize) -> Self {
        let has_ports =
            matches!(protocol, ip_proto::TCP | ip_proto::UDP | ip_proto::SCTP | ip_proto::UDPLITE);
        let ports = frame.get(l4..).filter(|rest| has_ports && rest.len() >= 4);
        let port = |at| ports.and_then(|rest| be16(rest, at)).unwrap_or(0);
        Self {
            src: Endpoint { address: src, port: port(0) },
            dst: Endpoint { address: dst, port: port(2) },
            protocol: u64::from(protocol),
        }
    }

    fn other(frame: &[u8]) -> Self {
        let mut header = [0; 16];
        let len = frame.len().min(14);
        header[..len].copy_from_slice(&frame[..len]);
        let [a, b] = [0, 6].map(|at| {
            let mut address = [0; 8];
            address[..6].copy_from_slice(&header[at..at + 6]);
            Endpoint { address: [0, u64::from_be_bytes(address)], port: 0 }
        });
        Self { src: b, dst: a, protocol: u64::from(u16::from_be_bytes([header[12], header[13]])) << 8 }
    }

    fn hash(&self) -> u32 {
        let ports = (u64::from(self.src.port) << 16) | u64::from(self.dst.port) | (self.protocol << 32);
        let (src, dst) = (self.src.address, self.dst.address);
        let hash = hash_words([src[0], src[1], dst[0], dst[1], ports], SEED);
        (hash ^ (hash >> 32)) as u32
    }

    fn symmetric(mut self) -> Self {
        if self.src > self.dst {
            std::mem::swap(&mut self.src, &mut self.dst);
        }
        self
    }
}

/// Hash of the packet's flow.
pub fn flow_hash(packet: &Packet) -> u32 {
    Flow::of(packet).hash()
}

/// Hash of the packet's flow, the same for both directions of a connection.
pub fn symmetric_flow_hash(packet: &Packet) -> u32 {
    Flow::of(packet).symmetric().hash()
}

/// Sets `dp_hash`. It is never 0, which stands for "no hash".
pub(crate) fn apply(packet: &mut Packet, hash: Hash) {
    let flow = match hash.algorithm {
        HashAlgorithm::L4 => flow_hash(packet),
        HashAlgorithm::SymL4 => symmetric_flow_hash(packet),
    };
    let mixed = hash_words([(u64::from(hash.basis) << 32) | u64::from(flow)], SEED);
    packet.set_dp_hash(((mixed ^ (mixed >> 32)) as u32).max(1));
}
