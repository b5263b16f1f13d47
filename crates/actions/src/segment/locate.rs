// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Finds the IP header of a packet whose checksum or segmentation is left to be done, under whatever was pushed before it.

use portway_buf::{Packet, PacketKind};
use portway_wire::ethernet::{self, ethertype};
use portway_wire::{ip_proto, ipv4, ipv6, nsh};

use crate::headers::{ETH_TYPE_AT, VLAN_LEN, be16, ipv4_transport, ipv6_transport, is_mpls, is_vlan};

/// Headers before the IP header beyond which the search ends.
const ENCAPSULATIONS_MAX: usize = 32;

/// The IP header and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Network {
    V4 { l3: usize },
    V6 { l3: usize },
}

impl Network {
    /// Protocol and offset of the layer-4 header; `None` if there is none.
    pub(super) fn transport(self, frame: &[u8]) -> Option<(u8, usize)> {
        match self {
            Self::V4 { l3 } => {
                let l4 = ipv4_transport(frame, l3);
                let later = be16(frame, l3 + 6)? & ipv4::OFFSET_MASK != 0;
                (l4 != l3 && !later).then_some((frame[l3 + 9], l4))
            }
            Self::V6 { l3 } => {
                let (protocol, l4) = ipv6_transport(frame, l3);
                (!matches!(protocol, ip_proto::FRAGMENT | ip_proto::NONE)).then_some((protocol, l4))
            }
        }
    }
}

/// Finds the IP header, whole.
pub(super) fn network(packet: &Packet) -> Option<Network> {
    let frame = packet.frame();
    let (mut ethertype, mut at) = match packet.kind() {
        PacketKind::Ethernet => (be16(frame, ETH_TYPE_AT)?, ethernet::LEN),
        PacketKind::Layer3(ethertype) => (ethertype, 0),
    };
    for _ in 0..ENCAPSULATIONS_MAX {
        match ethertype {
            ethertype::IPV4 => return (at + ipv4::MIN_LEN <= frame.len()).then_some(Network::V4 { l3: at }),
            ethertype::IPV6 => return (at + ipv6::LEN <= frame.len()).then_some(Network::V6 { l3: at }),
            vlan if is_vlan(vlan) => {
                ethertype = be16(frame, at + 2)?;
                at += VLAN_LEN;
            }
            mpls if is_mpls(mpls) => {
                let bottom = frame.get(at + 2)? & 1 != 0;
                at += 4;
                if bottom {
                    ethertype = match frame.get(at)? >> 4 {
                        4 => ethertype::IPV4,
                        6 => ethertype::IPV6,
                        _ => return None,
                    };
                }
            }
            ethertype::NSH => {
                let protocol = *frame.get(at + 3)?;
                at += usize::from(be16(frame, at)? & 0x3f) * 4;
                ethertype = crate::nsh::ethertype_of(protocol).filter(|_| protocol != nsh::np::NSH)?;
            }
            ethertype::TEB => {
                ethertype = be16(frame, at + ETH_TYPE_AT)?;
                at += ethernet::LEN;
            }
            _ => return None,
        }
    }
    None
}

/// Whether a port with offloads can still be told what is left to be done to the packet: a super-packet must be plain IP under
/// at most VLAN tags, since the offload state cannot name what else there is.
pub(crate) fn passes_through(packet: &Packet) -> bool {
    if packet.offload().gso.is_none() {
        return true;
    }
    crate::headers::link(packet)
        .is_some_and(|link| matches!(link.ethertype, ethertype::IPV4 | ethertype::IPV6))
}
