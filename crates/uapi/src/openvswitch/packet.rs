// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The `ovs_packet` family: upcalls, and packets that a client injects.

/// Family name. Upcalls are unicast: the family has no multicast group.
pub const OVS_PACKET_FAMILY: &str = "ovs_packet";
/// Family version.
pub const OVS_PACKET_VERSION: u8 = 1;

c_enum! {
    /// `enum ovs_packet_cmd`.
    OVS_PACKET_CMD_NAMES: u8 {
        /// Not used.
        OVS_PACKET_CMD_UNSPEC = 0,
        /// To the client: no flow matched.
        OVS_PACKET_CMD_MISS = 1,
        /// To the client: a userspace action.
        OVS_PACKET_CMD_ACTION = 2,
        /// From the client: run actions on a packet.
        OVS_PACKET_CMD_EXECUTE = 3,
    }
}

c_enum! {
    /// `enum ovs_packet_attr`.
    OVS_PACKET_ATTR_NAMES: u16 {
        /// Not used.
        OVS_PACKET_ATTR_UNSPEC = 0,
        /// Bytes: the frame from its Ethernet header on.
        OVS_PACKET_ATTR_PACKET = 1,
        /// Nest of `OVS_KEY_ATTR_*`: the key as extracted on arrival.
        OVS_PACKET_ATTR_KEY = 2,
        /// Nest of `OVS_ACTION_ATTR_*`.
        OVS_PACKET_ATTR_ACTIONS = 3,
        /// Bytes: the userspace action's cookie.
        OVS_PACKET_ATTR_USERDATA = 4,
        /// Nest of `OVS_TUNNEL_KEY_ATTR_*`: the tunnel that the packet would leave by.
        OVS_PACKET_ATTR_EGRESS_TUN_KEY = 5,
        /// Not used.
        OVS_PACKET_ATTR_UNUSED1 = 6,
        /// Not used.
        OVS_PACKET_ATTR_UNUSED2 = 7,
        /// Flag: a feature probe; errors are not to be logged.
        OVS_PACKET_ATTR_PROBE = 8,
        /// `u16`: largest fragment received.
        OVS_PACKET_ATTR_MRU = 9,
        /// `u32`: bytes of the packet before truncation.
        OVS_PACKET_ATTR_LEN = 10,
        /// `u64`: the packet's hash and its `OVS_PACKET_HASH_*` bits.
        OVS_PACKET_ATTR_HASH = 11,
        /// `u32`, after Linux 6.12: port id for upcalls while executing; comes before every other choice.
        OVS_PACKET_ATTR_UPCALL_PID = 12,
    }
}

/// Bit of `OVS_PACKET_ATTR_HASH`: the hash was made in software.
pub const OVS_PACKET_HASH_SW_BIT: u64 = 1 << 32;
/// Bit of `OVS_PACKET_ATTR_HASH`: the hash covers the transport ports.
pub const OVS_PACKET_HASH_L4_BIT: u64 = 1 << 33;
