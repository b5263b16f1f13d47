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

/// Every prerequisite, by its number.
const COUNT: usize = Prerequisite::NeighbourDiscovery as usize + 1;

/// What a packet is: the prerequisites that it meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Met(u32);

impl Met {
    /// What a packet of this key is.
    #[inline]
    pub fn by(key: &FlowKey) -> Self {
        let eth_type = key.eth_type.get();
        let (ipv4, ipv6) = (eth_type == ethertype::IPV4, eth_type == ethertype::IPV6);
        let tracked = key.ct_orig_proto != 0;
        let whole = (ipv4 || ipv6) && key.ip_frag != Frag::Later as u8;
        let layer4 = |protocol: u8| whole && key.ip_proto == protocol;
        let icmpv6 = ipv6 && layer4(ICMPV6);
        let conditions: [(Prerequisite, bool); COUNT] = [
            (Prerequisite::Always, true),
            (Prerequisite::Tunnel, key.tun_proto != 0),
            (Prerequisite::TrackedIpv4, tracked && ipv4),
            (Prerequisite::TrackedIpv6, tracked && ipv6),
            (Prerequisite::Ethernet, key.mac_proto == mac_proto::ETHERNET),
            (Prerequisite::Vlan, key.vlan_tci.get() != 0 || ethertype::is_vlan(eth_type)),
            (Prerequisite::Ipv4, ipv4),
            (Prerequisite::Ipv6, ipv6),
            (Prerequisite::Arp, matches!(eth_type, ethertype::ARP | ethertype::RARP)),
            (Prerequisite::Mpls, matches!(eth_type, ethertype::MPLS | ethertype::MPLS_MULTICAST)),
            (Prerequisite::Nsh, eth_type == ethertype::NSH),
            (Prerequisite::Tcp, layer4(TCP)),
            (Prerequisite::Udp, layer4(UDP)),
            (Prerequisite::Sctp, layer4(SCTP)),
            (Prerequisite::Icmp, ipv4 && layer4(ICMP)),
            (Prerequisite::Icmpv6, icmpv6),
            (Prerequisite::NeighbourDiscovery, icmpv6 && NEIGHBOUR_DISCOVERY.contains(&key.tp_src.get())),
        ];
        Self(conditions.iter().fold(0, |met, &(which, is_met)| met | u32::from(is_met) << which as u32))
    }

    /// Whether the packet has what `prerequisite` asks for.
    #[inline]
    pub fn has(self, prerequisite: Prerequisite) -> bool {
        self.0 >> prerequisite as u32 & 1 != 0
    }
}

impl Prerequisite {
    /// Whether a packet of this key has the fields. To ask for many: [`Met`].
    pub fn holds(self, key: &FlowKey) -> bool {
        Met::by(key).has(self)
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
