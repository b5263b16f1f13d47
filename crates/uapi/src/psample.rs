// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `linux/psample.h` (Linux 6.11): the family through which samples of packets are given away.

/// Family name.
pub const PSAMPLE_GENL_NAME: &str = "psample";
/// Family version.
pub const PSAMPLE_GENL_VERSION: u8 = 1;
/// Multicast group: groups of samples come and go. Never used by Open vSwitch's action.
pub const PSAMPLE_NL_MCGRP_CONFIG_NAME: &str = "config";
/// Multicast group: samples.
pub const PSAMPLE_NL_MCGRP_SAMPLE_NAME: &str = "packets";

c_enum! {
    /// `enum psample_command`.
    PSAMPLE_CMD_NAMES: u8 {
        /// A sample.
        PSAMPLE_CMD_SAMPLE = 0,
        /// The groups of samples (dump only).
        PSAMPLE_CMD_GET_GROUP = 1,
        /// A group of samples has come, or is one of those asked for.
        PSAMPLE_CMD_NEW_GROUP = 2,
        /// A group of samples has gone.
        PSAMPLE_CMD_DEL_GROUP = 3,
    }
}

c_enum! {
    /// Attributes.
    PSAMPLE_ATTR_NAMES: u16 {
        /// `u16`: interface index of the port that the packet came in by.
        PSAMPLE_ATTR_IIFINDEX = 0,
        /// `u16`: interface index of the port that it leaves by.
        PSAMPLE_ATTR_OIFINDEX = 1,
        /// `u32`: bytes of the packet.
        PSAMPLE_ATTR_ORIGSIZE = 2,
        /// `u32`: the group.
        PSAMPLE_ATTR_SAMPLE_GROUP = 3,
        /// `u32`: number of the sample within the group.
        PSAMPLE_ATTR_GROUP_SEQ = 4,
        /// `u32`: one of so many packets; or a probability, see [`PSAMPLE_ATTR_SAMPLE_PROBABILITY`].
        PSAMPLE_ATTR_SAMPLE_RATE = 5,
        /// The packet's first bytes.
        PSAMPLE_ATTR_DATA = 6,
        /// `u32`.
        PSAMPLE_ATTR_GROUP_REFCOUNT = 7,
        /// Nest of `PSAMPLE_TUNNEL_KEY_ATTR_*`.
        PSAMPLE_ATTR_TUNNEL = 8,
        /// Padding.
        PSAMPLE_ATTR_PAD = 9,
        /// `u16`.
        PSAMPLE_ATTR_OUT_TC = 10,
        /// `u64`, bytes.
        PSAMPLE_ATTR_OUT_TC_OCC = 11,
        /// `u64`, nanoseconds.
        PSAMPLE_ATTR_LATENCY = 12,
        /// `u64`: nanoseconds since 1970.
        PSAMPLE_ATTR_TIMESTAMP = 13,
        /// `u16`: Ethernet type, in host order.
        PSAMPLE_ATTR_PROTO = 14,
        /// Bytes of whoever wrote the action.
        PSAMPLE_ATTR_USER_COOKIE = 15,
        /// Flag: the rate is a probability, in 2^-32.
        PSAMPLE_ATTR_SAMPLE_PROBABILITY = 16,
    }
}

c_enum! {
    /// `enum psample_tunnel_key_attr`.
    PSAMPLE_TUNNEL_KEY_ATTR_NAMES: u16 {
        /// `be64`.
        PSAMPLE_TUNNEL_KEY_ATTR_ID = 0,
        /// `be32`.
        PSAMPLE_TUNNEL_KEY_ATTR_IPV4_SRC = 1,
        /// `be32`.
        PSAMPLE_TUNNEL_KEY_ATTR_IPV4_DST = 2,
        /// `u8`.
        PSAMPLE_TUNNEL_KEY_ATTR_TOS = 3,
        /// `u8`.
        PSAMPLE_TUNNEL_KEY_ATTR_TTL = 4,
        /// Flag.
        PSAMPLE_TUNNEL_KEY_ATTR_DONT_FRAGMENT = 5,
        /// Flag.
        PSAMPLE_TUNNEL_KEY_ATTR_CSUM = 6,
        /// Flag.
        PSAMPLE_TUNNEL_KEY_ATTR_OAM = 7,
        /// Geneve options.
        PSAMPLE_TUNNEL_KEY_ATTR_GENEVE_OPTS = 8,
        /// `be16`.
        PSAMPLE_TUNNEL_KEY_ATTR_TP_SRC = 9,
        /// `be16`.
        PSAMPLE_TUNNEL_KEY_ATTR_TP_DST = 10,
        /// Nest.
        PSAMPLE_TUNNEL_KEY_ATTR_VXLAN_OPTS = 11,
        /// `struct in6_addr`.
        PSAMPLE_TUNNEL_KEY_ATTR_IPV6_SRC = 12,
        /// `struct in6_addr`.
        PSAMPLE_TUNNEL_KEY_ATTR_IPV6_DST = 13,
        /// Padding.
        PSAMPLE_TUNNEL_KEY_ATTR_PAD = 14,
        /// `struct erspan_metadata`.
        PSAMPLE_TUNNEL_KEY_ATTR_ERSPAN_OPTS = 15,
        /// Flag.
        PSAMPLE_TUNNEL_KEY_ATTR_IPV4_INFO_BRIDGE = 16,
    }
}
