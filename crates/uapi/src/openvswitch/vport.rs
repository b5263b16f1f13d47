// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The `ovs_vport` family.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Family name.
pub const OVS_VPORT_FAMILY: &str = "ovs_vport";
/// Multicast group.
pub const OVS_VPORT_MCGROUP: &str = "ovs_vport";
/// Family version.
pub const OVS_VPORT_VERSION: u8 = 1;
/// Port number of the datapath's own (internal) port.
pub const OVSP_LOCAL: u32 = 0;
/// Port numbers are below this (`DP_MAX_PORTS` in the kernel module): requests with another fail with `EFBIG`. In a key it stands for
/// "no port".
pub const DP_MAX_PORTS: u32 = u16::MAX as u32;
/// Bytes of a device name with its NUL (`linux/if.h`).
pub const IFNAMSIZ: usize = 16;

c_enum! {
    /// `enum ovs_vport_cmd`.
    OVS_VPORT_CMD_NAMES: u8 {
        /// Not used.
        OVS_VPORT_CMD_UNSPEC = 0,
        /// Create.
        OVS_VPORT_CMD_NEW = 1,
        /// Delete.
        OVS_VPORT_CMD_DEL = 2,
        /// Read one, or dump all of a datapath.
        OVS_VPORT_CMD_GET = 3,
        /// Change.
        OVS_VPORT_CMD_SET = 4,
    }
}

c_enum! {
    /// `enum ovs_vport_type`. From 104 on: numbers of the module that the OVS project itself shipped.
    OVS_VPORT_TYPE_NAMES: u32 {
        /// No type.
        OVS_VPORT_TYPE_UNSPEC = 0,
        /// A device of the host.
        OVS_VPORT_TYPE_NETDEV = 1,
        /// A device that the datapath makes.
        OVS_VPORT_TYPE_INTERNAL = 2,
        /// GRE tunnel.
        OVS_VPORT_TYPE_GRE = 3,
        /// VXLAN tunnel.
        OVS_VPORT_TYPE_VXLAN = 4,
        /// Geneve tunnel.
        OVS_VPORT_TYPE_GENEVE = 5,
        /// GRE with 64-bit keys.
        OVS_VPORT_TYPE_GRE64 = 104,
        /// LISP tunnel.
        OVS_VPORT_TYPE_LISP = 105,
        /// STT tunnel.
        OVS_VPORT_TYPE_STT = 106,
        /// ERSPAN tunnel.
        OVS_VPORT_TYPE_ERSPAN = 107,
        /// ERSPAN tunnel over IPv6.
        OVS_VPORT_TYPE_IP6ERSPAN = 108,
        /// GRE tunnel over IPv6.
        OVS_VPORT_TYPE_IP6GRE = 109,
        /// GTP-U tunnel.
        OVS_VPORT_TYPE_GTPU = 110,
        /// Bare UDP tunnel.
        OVS_VPORT_TYPE_BAREUDP = 111,
        /// Segment routing over IPv6.
        OVS_VPORT_TYPE_SRV6 = 112,
    }
}

c_enum! {
    /// `enum ovs_vport_attr`.
    OVS_VPORT_ATTR_NAMES: u16 {
        /// Not used.
        OVS_VPORT_ATTR_UNSPEC = 0,
        /// `u32`: number within the datapath.
        OVS_VPORT_ATTR_PORT_NO = 1,
        /// `u32`: `OVS_VPORT_TYPE_*`.
        OVS_VPORT_ATTR_TYPE = 2,
        /// String of less than [`IFNAMSIZ`] bytes: the device's name.
        OVS_VPORT_ATTR_NAME = 3,
        /// Nest: depends on the type.
        OVS_VPORT_ATTR_OPTIONS = 4,
        /// Array of `u32`: port ids for upcalls.
        OVS_VPORT_ATTR_UPCALL_PID = 5,
        /// [`ovs_vport_stats`].
        OVS_VPORT_ATTR_STATS = 6,
        /// Padding that aligns 64-bit values.
        OVS_VPORT_ATTR_PAD = 7,
        /// `u32`: the device's interface index.
        OVS_VPORT_ATTR_IFINDEX = 8,
        /// `i32`: id of the other namespace that the device lives in.
        OVS_VPORT_ATTR_NETNSID = 9,
        /// Nest of `OVS_VPORT_UPCALL_ATTR_*` (Linux 6.3).
        OVS_VPORT_ATTR_UPCALL_STATS = 10,
    }
}

c_enum! {
    /// `enum ovs_vport_upcall_attr` (Linux 6.3). It has no unused first value.
    OVS_VPORT_UPCALL_ATTR_NAMES: u16 {
        /// `u64`: upcalls delivered.
        OVS_VPORT_UPCALL_ATTR_SUCCESS = 0,
        /// `u64`: upcalls lost.
        OVS_VPORT_UPCALL_ATTR_FAIL = 1,
    }
}

c_enum! {
    /// Attributes of `OVS_VPORT_ATTR_OPTIONS` of tunnel types.
    OVS_TUNNEL_ATTR_NAMES: u16 {
        /// Not used.
        OVS_TUNNEL_ATTR_UNSPEC = 0,
        /// `u16`, host order: UDP port.
        OVS_TUNNEL_ATTR_DST_PORT = 1,
        /// Nest: extensions of the tunnel's header, `OVS_VXLAN_EXT_*`.
        OVS_TUNNEL_ATTR_EXTENSION = 2,
    }
}

c_enum! {
    /// Extensions of VXLAN, in port options and in tunnel keys.
    OVS_VXLAN_EXT_NAMES: u16 {
        /// Not used.
        OVS_VXLAN_EXT_UNSPEC = 0,
        /// Flag in port options, `u32` in keys: group based policy.
        OVS_VXLAN_EXT_GBP = 1,
    }
}

/// `struct ovs_vport_stats`: counted since the port was made.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ovs_vport_stats {
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Bad packets received.
    pub rx_errors: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Received packets dropped for want of room.
    pub rx_dropped: u64,
    /// Packets to send dropped for want of room.
    pub tx_dropped: u64,
}
