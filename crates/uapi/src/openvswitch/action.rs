// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Actions: attributes, their nested attributes and structures.

use super::key::ovs_key_ethernet;
use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

c_enum! {
    /// `enum ovs_action_attr`.
    OVS_ACTION_ATTR_NAMES: u16 {
        /// Not used.
        OVS_ACTION_ATTR_UNSPEC = 0,
        /// `u32`: port number.
        OVS_ACTION_ATTR_OUTPUT = 1,
        /// Nest of `OVS_USERSPACE_ATTR_*`.
        OVS_ACTION_ATTR_USERSPACE = 2,
        /// Nest with one `OVS_KEY_ATTR_*`.
        OVS_ACTION_ATTR_SET = 3,
        /// [`ovs_action_push_vlan`].
        OVS_ACTION_ATTR_PUSH_VLAN = 4,
        /// No payload.
        OVS_ACTION_ATTR_POP_VLAN = 5,
        /// Nest of `OVS_SAMPLE_ATTR_*`.
        OVS_ACTION_ATTR_SAMPLE = 6,
        /// `u32`: recirculation id.
        OVS_ACTION_ATTR_RECIRC = 7,
        /// [`ovs_action_hash`].
        OVS_ACTION_ATTR_HASH = 8,
        /// [`ovs_action_push_mpls`].
        OVS_ACTION_ATTR_PUSH_MPLS = 9,
        /// Big-endian `u16`: Ethernet type of what is below.
        OVS_ACTION_ATTR_POP_MPLS = 10,
        /// Nest with one `OVS_KEY_ATTR_*`: value, then mask, of equal length.
        OVS_ACTION_ATTR_SET_MASKED = 11,
        /// Nest of `OVS_CT_ATTR_*`.
        OVS_ACTION_ATTR_CT = 12,
        /// [`ovs_action_trunc`].
        OVS_ACTION_ATTR_TRUNC = 13,
        /// [`ovs_action_push_eth`].
        OVS_ACTION_ATTR_PUSH_ETH = 14,
        /// No payload.
        OVS_ACTION_ATTR_POP_ETH = 15,
        /// No payload.
        OVS_ACTION_ATTR_CT_CLEAR = 16,
        /// Nest of `OVS_NSH_KEY_ATTR_*`.
        OVS_ACTION_ATTR_PUSH_NSH = 17,
        /// No payload.
        OVS_ACTION_ATTR_POP_NSH = 18,
        /// `u32`: meter id.
        OVS_ACTION_ATTR_METER = 19,
        /// Nest of `OVS_ACTION_ATTR_*`.
        OVS_ACTION_ATTR_CLONE = 20,
        /// Nest of `OVS_CHECK_PKT_LEN_ATTR_*`.
        OVS_ACTION_ATTR_CHECK_PKT_LEN = 21,
        /// [`ovs_action_add_mpls`].
        OVS_ACTION_ATTR_ADD_MPLS = 22,
        /// Nest of `OVS_DEC_TTL_ATTR_*`.
        OVS_ACTION_ATTR_DEC_TTL = 23,
        /// `u32`: reason (Linux 6.6).
        OVS_ACTION_ATTR_DROP = 24,
        /// Nest of `OVS_PSAMPLE_ATTR_*` (Linux 6.11).
        OVS_ACTION_ATTR_PSAMPLE = 25,
    }
}

c_enum! {
    /// `enum ovs_sample_attr`.
    OVS_SAMPLE_ATTR_NAMES: u16 {
        /// Not used.
        OVS_SAMPLE_ATTR_UNSPEC = 0,
        /// `u32`: share of packets; `u32::MAX` is all, 0 none.
        OVS_SAMPLE_ATTR_PROBABILITY = 1,
        /// Nest of `OVS_ACTION_ATTR_*`.
        OVS_SAMPLE_ATTR_ACTIONS = 2,
    }
}

c_enum! {
    /// `enum ovs_userspace_attr`.
    OVS_USERSPACE_ATTR_NAMES: u16 {
        /// Not used.
        OVS_USERSPACE_ATTR_UNSPEC = 0,
        /// `u32`: port id for the upcall.
        OVS_USERSPACE_ATTR_PID = 1,
        /// Bytes: cookie.
        OVS_USERSPACE_ATTR_USERDATA = 2,
        /// `u32`: port whose tunnel key is to be told.
        OVS_USERSPACE_ATTR_EGRESS_TUN_PORT = 3,
        /// Flag: tell the actions.
        OVS_USERSPACE_ATTR_ACTIONS = 4,
    }
}

c_enum! {
    /// `enum ovs_hash_alg`.
    OVS_HASH_ALG_NAMES: u32 {
        /// The packet's 5-tuple hash.
        OVS_HASH_ALG_L4 = 0,
        /// The same in both directions (Linux 6.6).
        OVS_HASH_ALG_SYM_L4 = 1,
    }
}

c_enum! {
    /// `enum ovs_ct_attr`.
    OVS_CT_ATTR_NAMES: u16 {
        /// Not used.
        OVS_CT_ATTR_UNSPEC = 0,
        /// Flag: keep the connection.
        OVS_CT_ATTR_COMMIT = 1,
        /// `u16`: zone.
        OVS_CT_ATTR_ZONE = 2,
        /// `u32` value, `u32` mask.
        OVS_CT_ATTR_MARK = 3,
        /// Labels, then mask: 16 bytes each.
        OVS_CT_ATTR_LABELS = 4,
        /// String: helper.
        OVS_CT_ATTR_HELPER = 5,
        /// Nest of `OVS_NAT_ATTR_*`.
        OVS_CT_ATTR_NAT = 6,
        /// Flag: keep, and replace a connection of the other direction.
        OVS_CT_ATTR_FORCE_COMMIT = 7,
        /// `u32`: events (`1 << IPCT_*`) to be told.
        OVS_CT_ATTR_EVENTMASK = 8,
        /// String: timeout policy.
        OVS_CT_ATTR_TIMEOUT = 9,
    }
}

c_enum! {
    /// `enum ovs_nat_attr`.
    OVS_NAT_ATTR_NAMES: u16 {
        /// Not used.
        OVS_NAT_ATTR_UNSPEC = 0,
        /// Flag: translate the source.
        OVS_NAT_ATTR_SRC = 1,
        /// Flag: translate the destination.
        OVS_NAT_ATTR_DST = 2,
        /// 4 or 16 bytes: lowest address.
        OVS_NAT_ATTR_IP_MIN = 3,
        /// 4 or 16 bytes: highest address.
        OVS_NAT_ATTR_IP_MAX = 4,
        /// `u16`: lowest port.
        OVS_NAT_ATTR_PROTO_MIN = 5,
        /// `u16`: highest port.
        OVS_NAT_ATTR_PROTO_MAX = 6,
        /// Flag: the same address for a client across connections.
        OVS_NAT_ATTR_PERSISTENT = 7,
        /// Flag: port chosen by hash.
        OVS_NAT_ATTR_PROTO_HASH = 8,
        /// Flag: port chosen at random.
        OVS_NAT_ATTR_PROTO_RANDOM = 9,
    }
}

c_enum! {
    /// `enum ovs_check_pkt_len_attr`.
    OVS_CHECK_PKT_LEN_ATTR_NAMES: u16 {
        /// Not used.
        OVS_CHECK_PKT_LEN_ATTR_UNSPEC = 0,
        /// `u16`: length in bytes.
        OVS_CHECK_PKT_LEN_ATTR_PKT_LEN = 1,
        /// Nest of `OVS_ACTION_ATTR_*`.
        OVS_CHECK_PKT_LEN_ATTR_ACTIONS_IF_GREATER = 2,
        /// Nest of `OVS_ACTION_ATTR_*`.
        OVS_CHECK_PKT_LEN_ATTR_ACTIONS_IF_LESS_EQUAL = 3,
    }
}

c_enum! {
    /// `enum ovs_dec_ttl_attr`.
    OVS_DEC_TTL_ATTR_NAMES: u16 {
        /// Not used.
        OVS_DEC_TTL_ATTR_UNSPEC = 0,
        /// Nest of `OVS_ACTION_ATTR_*`: done when the time to live has run out.
        OVS_DEC_TTL_ATTR_ACTION = 1,
    }
}

c_enum! {
    /// `enum ovs_psample_attr` (Linux 6.11).
    OVS_PSAMPLE_ATTR_NAMES: u16 {
        /// `u32`: group.
        OVS_PSAMPLE_ATTR_GROUP = 1,
        /// At most [`OVS_PSAMPLE_COOKIE_MAX_SIZE`] bytes.
        OVS_PSAMPLE_ATTR_COOKIE = 2,
    }
}

/// Greatest length of a sample's cookie in bytes.
pub const OVS_PSAMPLE_COOKIE_MAX_SIZE: usize = 16;
/// Bit of `tun_flags`: the label goes in front of the layer-3 header, not of the frame.
pub const OVS_MPLS_L3_TUNNEL_FLAG_MASK: u16 = 1 << 0;

/// `struct ovs_action_trunc`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ovs_action_trunc {
    /// Bytes that the next output may send.
    pub max_len: u32,
}

/// `struct ovs_action_push_mpls`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ovs_action_push_mpls {
    /// Label stack entry.
    pub mpls_lse: U32,
    /// 0x8847 or 0x8848.
    pub mpls_ethertype: U16,
    /// The compiler's padding in C; zero.
    pub pad: [u8; 2],
}

/// `struct ovs_action_add_mpls`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ovs_action_add_mpls {
    /// Label stack entry.
    pub mpls_lse: U32,
    /// 0x8847 or 0x8848.
    pub mpls_ethertype: U16,
    /// [`OVS_MPLS_L3_TUNNEL_FLAG_MASK`], host order.
    pub tun_flags: u16,
}

/// `struct ovs_action_push_vlan`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ovs_action_push_vlan {
    /// 0x8100 or 0x88a8.
    pub vlan_tpid: U16,
    /// Tag control information with bit 12 set.
    pub vlan_tci: U16,
}

/// `struct ovs_action_hash`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ovs_action_hash {
    /// `OVS_HASH_ALG_*`.
    pub hash_alg: u32,
    /// Mixed into the hash.
    pub hash_basis: u32,
}

/// `struct ovs_action_push_eth`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ovs_action_push_eth {
    /// Source and destination.
    pub addresses: ovs_key_ethernet,
}
