// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Flow keys: attributes, tunnel keys and the structures inside them. Wire-order fields are of zerocopy's
//! big-endian types, so that no value is read without a conversion.

use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

c_enum! {
    /// `enum ovs_key_attr`.
    OVS_KEY_ATTR_NAMES: u16 {
        /// Not used.
        OVS_KEY_ATTR_UNSPEC = 0,
        /// Nest: the attributes behind a VLAN tag.
        OVS_KEY_ATTR_ENCAP = 1,
        /// `u32`: priority of the packet in the host.
        OVS_KEY_ATTR_PRIORITY = 2,
        /// `u32`: port number.
        OVS_KEY_ATTR_IN_PORT = 3,
        /// [`ovs_key_ethernet`].
        OVS_KEY_ATTR_ETHERNET = 4,
        /// Big-endian `u16`: tag control information; bit 12 is set whenever there is a tag.
        OVS_KEY_ATTR_VLAN = 5,
        /// Big-endian `u16`: Ethernet type.
        OVS_KEY_ATTR_ETHERTYPE = 6,
        /// [`ovs_key_ipv4`].
        OVS_KEY_ATTR_IPV4 = 7,
        /// [`ovs_key_ipv6`].
        OVS_KEY_ATTR_IPV6 = 8,
        /// [`ovs_key_tcp`].
        OVS_KEY_ATTR_TCP = 9,
        /// [`ovs_key_udp`].
        OVS_KEY_ATTR_UDP = 10,
        /// [`ovs_key_icmp`].
        OVS_KEY_ATTR_ICMP = 11,
        /// [`ovs_key_icmpv6`].
        OVS_KEY_ATTR_ICMPV6 = 12,
        /// [`ovs_key_arp`].
        OVS_KEY_ATTR_ARP = 13,
        /// [`ovs_key_nd`].
        OVS_KEY_ATTR_ND = 14,
        /// `u32`: mark of the packet in the host.
        OVS_KEY_ATTR_SKB_MARK = 15,
        /// Nest of `OVS_TUNNEL_KEY_ATTR_*`.
        OVS_KEY_ATTR_TUNNEL = 16,
        /// [`ovs_key_sctp`].
        OVS_KEY_ATTR_SCTP = 17,
        /// Big-endian `u16`: TCP flags, 12 bits.
        OVS_KEY_ATTR_TCP_FLAGS = 18,
        /// `u32`: hash made by the hash action; 0 is none.
        OVS_KEY_ATTR_DP_HASH = 19,
        /// `u32`: recirculation id; 0 is none.
        OVS_KEY_ATTR_RECIRC_ID = 20,
        /// Array of [`ovs_key_mpls`].
        OVS_KEY_ATTR_MPLS = 21,
        /// `u32`: `OVS_CS_F_*`.
        OVS_KEY_ATTR_CT_STATE = 22,
        /// `u16`: conntrack zone.
        OVS_KEY_ATTR_CT_ZONE = 23,
        /// `u32`: conntrack mark.
        OVS_KEY_ATTR_CT_MARK = 24,
        /// [`ovs_key_ct_labels`].
        OVS_KEY_ATTR_CT_LABELS = 25,
        /// [`ovs_key_ct_tuple_ipv4`].
        OVS_KEY_ATTR_CT_ORIG_TUPLE_IPV4 = 26,
        /// [`ovs_key_ct_tuple_ipv6`].
        OVS_KEY_ATTR_CT_ORIG_TUPLE_IPV6 = 27,
        /// Nest of `OVS_NSH_KEY_ATTR_*`.
        OVS_KEY_ATTR_NSH = 28,
        /// Of user space only; not accepted.
        OVS_KEY_ATTR_PACKET_TYPE = 29,
        /// Of user space only; not accepted.
        OVS_KEY_ATTR_ND_EXTENSIONS = 30,
        /// Of the kernel only; not accepted.
        OVS_KEY_ATTR_TUNNEL_INFO = 31,
        /// [`ovs_key_ipv6_exthdrs`].
        OVS_KEY_ATTR_IPV6_EXTHDRS = 32,
    }
}

c_enum! {
    /// `enum ovs_tunnel_key_attr`. It has no unused first value.
    OVS_TUNNEL_KEY_ATTR_NAMES: u16 {
        /// Big-endian `u64`: tunnel id.
        OVS_TUNNEL_KEY_ATTR_ID = 0,
        /// Big-endian `u32`: outer source.
        OVS_TUNNEL_KEY_ATTR_IPV4_SRC = 1,
        /// Big-endian `u32`: outer destination.
        OVS_TUNNEL_KEY_ATTR_IPV4_DST = 2,
        /// `u8`: outer type of service.
        OVS_TUNNEL_KEY_ATTR_TOS = 3,
        /// `u8`: outer time to live.
        OVS_TUNNEL_KEY_ATTR_TTL = 4,
        /// Flag: do not fragment.
        OVS_TUNNEL_KEY_ATTR_DONT_FRAGMENT = 5,
        /// Flag: outer checksum.
        OVS_TUNNEL_KEY_ATTR_CSUM = 6,
        /// Flag: operations and maintenance frame.
        OVS_TUNNEL_KEY_ATTR_OAM = 7,
        /// Bytes: Geneve options.
        OVS_TUNNEL_KEY_ATTR_GENEVE_OPTS = 8,
        /// Big-endian `u16`: outer source port.
        OVS_TUNNEL_KEY_ATTR_TP_SRC = 9,
        /// Big-endian `u16`: outer destination port.
        OVS_TUNNEL_KEY_ATTR_TP_DST = 10,
        /// Nest of `OVS_VXLAN_EXT_*`.
        OVS_TUNNEL_KEY_ATTR_VXLAN_OPTS = 11,
        /// 16 bytes: outer source.
        OVS_TUNNEL_KEY_ATTR_IPV6_SRC = 12,
        /// 16 bytes: outer destination.
        OVS_TUNNEL_KEY_ATTR_IPV6_DST = 13,
        /// Padding that aligns 64-bit values.
        OVS_TUNNEL_KEY_ATTR_PAD = 14,
        /// `struct erspan_metadata`.
        OVS_TUNNEL_KEY_ATTR_ERSPAN_OPTS = 15,
        /// Flag: receive mode of a device shared with a bridge.
        OVS_TUNNEL_KEY_ATTR_IPV4_INFO_BRIDGE = 16,
    }
}

c_enum! {
    /// `enum ovs_frag_type`: which part of an IP packet a frame carries.
    OVS_FRAG_TYPE_NAMES: u8 {
        /// All of it.
        OVS_FRAG_TYPE_NONE = 0,
        /// The first fragment: it has the transport header.
        OVS_FRAG_TYPE_FIRST = 1,
        /// A later fragment: no transport header.
        OVS_FRAG_TYPE_LATER = 2,
    }
}

c_enum! {
    /// Bits of `OVS_KEY_ATTR_CT_STATE`.
    OVS_CS_F_NAMES: u32 {
        /// First packets of a connection.
        OVS_CS_F_NEW = 0x01,
        /// Seen in both directions.
        OVS_CS_F_ESTABLISHED = 0x02,
        /// Belongs to another connection: expected, or an ICMP error.
        OVS_CS_F_RELATED = 0x04,
        /// Goes against the first packet.
        OVS_CS_F_REPLY_DIR = 0x08,
        /// Could not be tracked.
        OVS_CS_F_INVALID = 0x10,
        /// Went through conntrack.
        OVS_CS_F_TRACKED = 0x20,
        /// Source was translated.
        OVS_CS_F_SRC_NAT = 0x40,
        /// Destination was translated.
        OVS_CS_F_DST_NAT = 0x80,
        /// Both translations.
        OVS_CS_F_NAT_MASK = OVS_CS_F_SRC_NAT | OVS_CS_F_DST_NAT,
    }
}

c_enum! {
    /// Bits of [`ovs_key_ipv6_exthdrs`]: extension headers seen, as OpenFlow 1.2 numbers them.
    OFPIEH12_NAMES: u16 {
        /// "No next header" was met.
        OFPIEH12_NONEXT = 1 << 0,
        /// Encrypted payload.
        OFPIEH12_ESP = 1 << 1,
        /// Authentication.
        OFPIEH12_AUTH = 1 << 2,
        /// Destination options, one or two.
        OFPIEH12_DEST = 1 << 3,
        /// Fragment.
        OFPIEH12_FRAG = 1 << 4,
        /// Routing.
        OFPIEH12_ROUTER = 1 << 5,
        /// Hop-by-hop options.
        OFPIEH12_HOP = 1 << 6,
        /// A header came more often than expected.
        OFPIEH12_UNREP = 1 << 7,
        /// A header came out of the recommended order.
        OFPIEH12_UNSEQ = 1 << 8,
    }
}

c_enum! {
    /// `enum ovs_nsh_key_attr`.
    OVS_NSH_KEY_ATTR_NAMES: u16 {
        /// Not used.
        OVS_NSH_KEY_ATTR_UNSPEC = 0,
        /// [`ovs_nsh_key_base`].
        OVS_NSH_KEY_ATTR_BASE = 1,
        /// [`ovs_nsh_key_md1`].
        OVS_NSH_KEY_ATTR_MD1 = 2,
        /// Bytes: context headers of metadata type 2.
        OVS_NSH_KEY_ATTR_MD2 = 3,
    }
}

/// Bytes of conntrack labels.
pub const OVS_CT_LABELS_LEN: usize = 16;
/// The same in 32-bit words.
pub const OVS_CT_LABELS_LEN_32: usize = 4;
/// 32-bit words of NSH's fixed context (metadata type 1).
pub const NSH_MD1_CONTEXT_SIZE: usize = 4;

/// `struct ovs_key_ethernet`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ovs_key_ethernet {
    /// Source address.
    pub eth_src: [u8; 6],
    /// Destination address.
    pub eth_dst: [u8; 6],
}

/// `struct ovs_key_mpls`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ovs_key_mpls {
    /// Label stack entry.
    pub mpls_lse: U32,
}

/// `struct ovs_key_ipv4`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ovs_key_ipv4 {
    /// Source address.
    pub ipv4_src: U32,
    /// Destination address.
    pub ipv4_dst: U32,
    /// Protocol.
    pub ipv4_proto: u8,
    /// Type of service.
    pub ipv4_tos: u8,
    /// Time to live.
    pub ipv4_ttl: u8,
    /// `OVS_FRAG_TYPE_*`.
    pub ipv4_frag: u8,
}

/// `struct ovs_key_ipv6`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ovs_key_ipv6 {
    /// Source address.
    pub ipv6_src: [u8; 16],
    /// Destination address.
    pub ipv6_dst: [u8; 16],
    /// Flow label, the low 20 bits.
    pub ipv6_label: U32,
    /// Protocol after the extension headers.
    pub ipv6_proto: u8,
    /// Traffic class.
    pub ipv6_tclass: u8,
    /// Hop limit.
    pub ipv6_hlimit: u8,
    /// `OVS_FRAG_TYPE_*`.
    pub ipv6_frag: u8,
}

/// `struct ovs_key_ipv6_exthdrs`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ovs_key_ipv6_exthdrs {
    /// `OFPIEH12_*`, host order.
    pub hdrs: u16,
}

/// `struct ovs_key_tcp`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ovs_key_tcp {
    /// Source port.
    pub tcp_src: U16,
    /// Destination port.
    pub tcp_dst: U16,
}

/// `struct ovs_key_udp`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ovs_key_udp {
    /// Source port.
    pub udp_src: U16,
    /// Destination port.
    pub udp_dst: U16,
}

/// `struct ovs_key_sctp`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ovs_key_sctp {
    /// Source port.
    pub sctp_src: U16,
    /// Destination port.
    pub sctp_dst: U16,
}

/// `struct ovs_key_icmp`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ovs_key_icmp {
    /// Type.
    pub icmp_type: u8,
    /// Code.
    pub icmp_code: u8,
}

/// `struct ovs_key_icmpv6`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ovs_key_icmpv6 {
    /// Type.
    pub icmpv6_type: u8,
    /// Code.
    pub icmpv6_code: u8,
}

/// `struct ovs_key_arp`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ovs_key_arp {
    /// Sender's protocol address.
    pub arp_sip: U32,
    /// Target's protocol address.
    pub arp_tip: U32,
    /// Operation.
    pub arp_op: U16,
    /// Sender's hardware address.
    pub arp_sha: [u8; 6],
    /// Target's hardware address.
    pub arp_tha: [u8; 6],
    /// The compiler's padding in C; zero.
    pub pad: [u8; 2],
}

/// `struct ovs_key_nd`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ovs_key_nd {
    /// Target address.
    pub nd_target: [u8; 16],
    /// Source link-layer address.
    pub nd_sll: [u8; 6],
    /// Target link-layer address.
    pub nd_tll: [u8; 6],
}

/// `struct ovs_key_ct_labels`: 128 bits, byte 0 first.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ovs_key_ct_labels {
    /// The bits.
    pub ct_labels: [u8; OVS_CT_LABELS_LEN],
}

/// `struct ovs_key_ct_tuple_ipv4`: original direction of the connection.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ovs_key_ct_tuple_ipv4 {
    /// Source address.
    pub ipv4_src: U32,
    /// Destination address.
    pub ipv4_dst: U32,
    /// Source port, or ICMP type.
    pub src_port: U16,
    /// Destination port, or ICMP code.
    pub dst_port: U16,
    /// Protocol.
    pub ipv4_proto: u8,
    /// The compiler's padding in C; zero.
    pub pad: [u8; 3],
}

/// `struct ovs_key_ct_tuple_ipv6`: original direction of the connection.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ovs_key_ct_tuple_ipv6 {
    /// Source address.
    pub ipv6_src: [u8; 16],
    /// Destination address.
    pub ipv6_dst: [u8; 16],
    /// Source port, or ICMP type.
    pub src_port: U16,
    /// Destination port, or ICMP code.
    pub dst_port: U16,
    /// Protocol.
    pub ipv6_proto: u8,
    /// The compiler's padding in C; zero.
    pub pad: [u8; 3],
}

/// `struct ovs_nsh_key_base`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ovs_nsh_key_base {
    /// Flags.
    pub flags: u8,
    /// Time to live.
    pub ttl: u8,
    /// Metadata type.
    pub mdtype: u8,
    /// Next protocol.
    pub np: u8,
    /// Service path id (24 bits) and index (8 bits).
    pub path_hdr: U32,
}

/// `struct ovs_nsh_key_md1`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ovs_nsh_key_md1 {
    /// The fixed context.
    pub context: [U32; NSH_MD1_CONTEXT_SIZE],
}
