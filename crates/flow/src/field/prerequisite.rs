// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a packet must be to have a field, and what a mask must fix before it may match on one.

use crate::extract::ethertype;
use crate::key::{FlowKey, Frag, mac_proto};

/// ICMPv6 types that carry neighbour discovery fields (RFC 4861).
const NEIGHBOUR_DISCOVERY: [u16; 2] = [135, 136];
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;

/// What a packet must be to have a group of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prerequisite {
    /// Every packet has them.
    Always,
    /// Came out of a tunnel.
    Tunnel,
    /// Is an IPv4 packet of a tracked connection.
    TrackedIpv4,
    /// Is an IPv6 packet of a tracked connection.
    TrackedIpv6,
    /// Has an Ethernet header.
    Ethernet,
    /// Has a VLAN tag.
    Vlan,
    /// Is IPv4.
    Ipv4,
    /// Is IPv6.
    Ipv6,
    /// Is ARP or RARP.
    Arp,
    /// Is MPLS.
    Mpls,
    /// Has a network service header.
    Nsh,
    /// Is TCP.
    Tcp,
    /// Is UDP.
    Udp,
    /// Is SCTP.
    Sctp,
    /// Is ICMP.
    Icmp,
    /// Is ICMPv6.
    Icmpv6,
    /// Is a neighbour solicitation or advertisement.
    NeighbourDiscovery,
}

impl Prerequisite {
    /// Whether a packet of this key has the fields.
    pub fn holds(self, key: &FlowKey) -> bool {
        let eth_type = key.eth_type.get();
        match self {
            Self::Always => true,
            Self::Tunnel => key.tun_proto != 0,
            Self::TrackedIpv4 => key.ct_orig_proto != 0 && eth_type == ethertype::IPV4,
            Self::TrackedIpv6 => key.ct_orig_proto != 0 && eth_type == ethertype::IPV6,
            Self::Ethernet => key.mac_proto == mac_proto::ETHERNET,
            Self::Vlan => key.vlan_tci.get() != 0 || ethertype::is_vlan(eth_type),
            Self::Ipv4 => eth_type == ethertype::IPV4,
            Self::Ipv6 => eth_type == ethertype::IPV6,
            Self::Arp => matches!(eth_type, ethertype::ARP | ethertype::RARP),
            Self::Mpls => matches!(eth_type, ethertype::MPLS | ethertype::MPLS_MULTICAST),
            Self::Nsh => eth_type == ethertype::NSH,
            Self::Tcp => has_layer4(key, TCP),
            Self::Udp => has_layer4(key, UDP),
            Self::Sctp => has_layer4(key, SCTP),
            Self::Icmp => eth_type == ethertype::IPV4 && has_layer4(key, ICMP),
            Self::Icmpv6 => eth_type == ethertype::IPV6 && has_layer4(key, ICMPV6),
            Self::NeighbourDiscovery => {
                Self::Icmpv6.holds(key) && NEIGHBOUR_DISCOVERY.contains(&key.tp_src.get())
            }
        }
    }

    /// Whether a mask fixes all that makes [`Self::holds`] true, so that it may match on the fields: without that a flow would match bytes
    /// that mean something else in other packets.
    pub fn is_fixed_by(self, mask: &FlowKey) -> bool {
        let eth_type = mask.eth_type.get() == u16::MAX;
        let protocol = eth_type && mask.ip_proto == u8::MAX;
        match self {
            Self::Always
            | Self::Tunnel
            | Self::TrackedIpv4
            | Self::TrackedIpv6
            | Self::Ethernet
            | Self::Vlan => true,
            Self::Ipv4 | Self::Ipv6 | Self::Arp | Self::Mpls | Self::Nsh => eth_type,
            Self::Tcp | Self::Udp | Self::Sctp | Self::Icmp | Self::Icmpv6 => protocol,
            // The ICMP type has eight bits of the sixteen that a port would have.
            Self::NeighbourDiscovery => protocol && mask.tp_src.get() & 0xff == 0xff,
        }
    }

    /// The condition in words, for error messages and the docs page.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Always => "every packet has it",
            Self::Tunnel => "needs a packet from a tunnel: `tunnel(...)`",
            Self::TrackedIpv4 => "needs a tracked connection and `eth_type(0x0800)`",
            Self::TrackedIpv6 => "needs a tracked connection and `eth_type(0x86dd)`",
            Self::Ethernet => "needs an Ethernet header",
            Self::Vlan => "needs a VLAN tag: `eth_type(0x8100)` or `eth_type(0x88a8)`",
            Self::Ipv4 => "needs `eth_type(0x0800)`",
            Self::Ipv6 => "needs `eth_type(0x86dd)`",
            Self::Arp => "needs `eth_type(0x0806)` or `eth_type(0x8035)`",
            Self::Mpls => "needs `eth_type(0x8847)` or `eth_type(0x8848)`",
            Self::Nsh => "needs `eth_type(0x894f)`",
            Self::Tcp => "needs `ipv4(proto=6)` or `ipv6(proto=6)`, and not a later fragment",
            Self::Udp => "needs `ipv4(proto=17)` or `ipv6(proto=17)`, and not a later fragment",
            Self::Sctp => "needs `ipv4(proto=132)` or `ipv6(proto=132)`, and not a later fragment",
            Self::Icmp => "needs `ipv4(proto=1)`, and not a later fragment",
            Self::Icmpv6 => "needs `ipv6(proto=58)`, and not a later fragment",
            Self::NeighbourDiscovery => "needs `icmpv6(type=135)` or `icmpv6(type=136)`",
        }
    }
}

/// Whether the packet is IP with the header of this protocol in it.
fn has_layer4(key: &FlowKey, protocol: u8) -> bool {
    matches!(key.eth_type.get(), ethertype::IPV4 | ethertype::IPV6)
        && key.ip_proto == protocol
        && key.ip_frag != Frag::Later as u8
}
