// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Actions, as data. `actions::Program::compile` validates a list against the flow's key once and turns it into what is executed;
//! `messages` and `flow::text` read and write it. There is no `_` arm on [`Action`] anywhere: a new action is answered in
//! every one of those places or the build fails.

use crate::key::{FlowKey, MacAddr};

/// A value and which of its bits are to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masked<T> {
    /// The new bits; bits outside the mask are zero.
    pub value: T,
    /// The bits to write. `None`: all of them (OVS_ACTION_ATTR_SET rather than SET_MASKED).
    pub mask: Option<T>,
}

/// Send a copy of the packet to user space (OVS_ACTION_ATTR_USERSPACE).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Userspace {
    /// Netlink port id of the receiver.
    pub pid: u32,
    /// Opaque bytes for the receiver.
    pub userdata: Option<Vec<u8>>,
    /// Include the tunnel key with which this port would send the packet.
    pub egress_tun_port: Option<u32>,
    /// Include the flow's actions.
    pub actions: bool,
}

/// Insert a VLAN tag (OVS_ACTION_ATTR_PUSH_VLAN).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushVlan {
    /// TPID: 0x8100 or 0x88a8.
    pub tpid: u16,
    /// TCI with the CFI bit (0x1000), which stands for "a tag is present" and is not sent.
    pub tci: u16,
}

/// Write header or metadata fields (OVS_ACTION_ATTR_SET and SET_MASKED). In each variant the fields travel in a struct that mirrors the
/// attribute's members that can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Set {
    /// skb priority.
    Priority(Masked<u32>),
    /// skb mark.
    SkbMark(Masked<u32>),
    /// Ethernet source and destination.
    Ethernet {
        /// Source.
        src: Masked<MacAddr>,
        /// Destination.
        dst: Masked<MacAddr>,
    },
    /// IPv4 fields; protocol and fragment state are carried because the attribute has them, and must equal the key's.
    Ipv4(Masked<Ipv4Fields>),
    /// IPv6 fields.
    Ipv6(Masked<Ipv6Fields>),
    /// TCP ports.
    Tcp(Masked<Ports>),
    /// UDP ports.
    Udp(Masked<Ports>),
    /// SCTP ports.
    Sctp(Masked<Ports>),
    /// The outermost MPLS label stack entry.
    Mpls(Masked<u32>),
    /// Tunnel metadata for the next output: the tunnel fields of the key, and its options.
    Tunnel(Box<FlowKey>),
    /// Conntrack mark. The kernel takes it into a flow and fails, which drops the packet, when it is executed.
    CtMark(Masked<u32>),
    /// Conntrack labels; as [`Set::CtMark`].
    CtLabels(Masked<[u8; 16]>),
}

/// struct ovs_key_ipv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Ipv4Fields {
    /// Source.
    pub src: [u8; 4],
    /// Destination.
    pub dst: [u8; 4],
    /// Protocol (not writable).
    pub proto: u8,
    /// Type of service.
    pub tos: u8,
    /// Time to live.
    pub ttl: u8,
    /// Fragment state (not writable).
    pub frag: u8,
}

/// struct ovs_key_ipv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Ipv6Fields {
    /// Source.
    pub src: [u8; 16],
    /// Destination.
    pub dst: [u8; 16],
    /// Flow label, 20 bits, host order.
    pub label: u32,
    /// Protocol (not writable).
    pub proto: u8,
    /// Traffic class.
    pub tclass: u8,
    /// Hop limit.
    pub hlimit: u8,
    /// Fragment state (not writable).
    pub frag: u8,
}

/// A pair of layer-4 ports, host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Ports {
    /// Source.
    pub src: u16,
    /// Destination.
    pub dst: u16,
}

/// How OVS_ACTION_ATTR_HASH computes `dp_hash`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashAlgorithm {
    /// OVS_HASH_ALG_L4: the flow hash of the packet.
    L4,
    /// OVS_HASH_ALG_SYM_L4: the same for both directions of a connection.
    SymL4,
}

/// OVS_ACTION_ATTR_HASH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash {
    /// Algorithm.
    pub algorithm: HashAlgorithm,
    /// Mixed into the result.
    pub basis: u32,
}

/// OVS_ACTION_ATTR_PUSH_MPLS and ADD_MPLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MplsPush {
    /// Label stack entry, host order.
    pub lse: u32,
    /// New ethertype: 0x8847 or 0x8848.
    pub ethertype: u16,
    /// ADD_MPLS's OVS_MPLS_L3_TUNNEL_FLAG_MASK: insert before the layer-3 header (else before the Ethernet header).
    /// `None`: PUSH_MPLS.
    pub add_l3_tunnel: Option<bool>,
}

/// OVS_ACTION_ATTR_PUSH_ETH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushEth {
    /// Source.
    pub src: MacAddr,
    /// Destination.
    pub dst: MacAddr,
}

/// OVS_ACTION_ATTR_PUSH_NSH: a whole header, RFC 8300.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushNsh {
    /// OAM and critical bits.
    pub flags: u8,
    /// Time to live.
    pub ttl: u8,
    /// Metadata type, 1 or 2.
    pub mdtype: u8,
    /// Next protocol.
    pub np: u8,
    /// Service path header, host order.
    pub path_hdr: u32,
    /// Type 1: 16 bytes of context; type 2: TLVs, a multiple of four bytes, at most 248.
    pub metadata: Vec<u8>,
}

/// OVS_ACTION_ATTR_SAMPLE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Probability in 2^-32; u32::MAX is always.
    pub probability: u32,
    /// What to do with the sampled copy.
    pub actions: Vec<Action>,
}

/// OVS_ACTION_ATTR_CHECK_PKT_LEN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckPacketLength {
    /// Bytes to compare with.
    pub len: u16,
    /// If the packet is longer.
    pub greater: Vec<Action>,
    /// If it is not.
    pub less_or_equal: Vec<Action>,
}

/// OVS_ACTION_ATTR_PSAMPLE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Psample {
    /// psample group.
    pub group: u32,
    /// Opaque bytes for the receiver, at most 16.
    pub cookie: Option<Vec<u8>>,
}

/// One action of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send to a port.
    Output(u32),
    /// Send to user space.
    Userspace(Userspace),
    /// Write fields.
    Set(Set),
    /// Insert a VLAN tag.
    PushVlan(PushVlan),
    /// Remove the outermost VLAN tag.
    PopVlan,
    /// Cut the packet to this many bytes at the next output.
    Truncate(u32),
    /// Look the packet up again with this recirculation id.
    Recirculate(u32),
    /// Compute `dp_hash`.
    Hash(Hash),
    /// Run the list on a copy: the packet afterwards is unchanged.
    Clone(Vec<Action>),
    /// Run the list on a copy, now and then.
    Sample(Sample),
    /// Drop here, with a reason given by the controller; 0 is an ordinary drop.
    Drop(u32),
    /// Insert an MPLS label.
    PushMpls(MplsPush),
    /// Remove the outermost MPLS label; the ethertype (host order) of what follows.
    PopMpls(u16),
    /// Insert an Ethernet header.
    PushEth(PushEth),
    /// Remove the Ethernet header.
    PopEth,
    /// Insert a network service header.
    PushNsh(PushNsh),
    /// Remove the network service header.
    PopNsh,
    /// Run the packet through a meter.
    Meter(u32),
    /// Choose by length.
    CheckPacketLength(CheckPacketLength),
    /// Decrement TTL or hop limit; the list runs, and processing ends, when it was 1 or 0.
    DecTtl(Vec<Action>),
    /// Send a sample to a psample group.
    Psample(Psample),
}
