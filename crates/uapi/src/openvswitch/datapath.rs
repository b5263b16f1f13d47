// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The `ovs_datapath` family, and the header that all the families share.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct ovs_header`: follows `genlmsghdr` in the messages of every OVS family.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ovs_header {
    /// Interface index of the datapath's local port; 0 when the request names the datapath otherwise.
    pub dp_ifindex: i32,
}

/// Family name.
pub const OVS_DATAPATH_FAMILY: &str = "ovs_datapath";
/// Multicast group.
pub const OVS_DATAPATH_MCGROUP: &str = "ovs_datapath";
/// Family version.
pub const OVS_DATAPATH_VERSION: u8 = 2;
/// Since this version clients state their features in NEW.
pub const OVS_DP_VER_FEATURES: u8 = 2;

c_enum! {
    /// `enum ovs_datapath_cmd`.
    OVS_DP_CMD_NAMES: u8 {
        /// Not used.
        OVS_DP_CMD_UNSPEC = 0,
        /// Create.
        OVS_DP_CMD_NEW = 1,
        /// Delete.
        OVS_DP_CMD_DEL = 2,
        /// Read one, or dump all.
        OVS_DP_CMD_GET = 3,
        /// Change features.
        OVS_DP_CMD_SET = 4,
    }
}

c_enum! {
    /// `enum ovs_datapath_attr`.
    OVS_DP_ATTR_NAMES: u16 {
        /// Not used.
        OVS_DP_ATTR_UNSPEC = 0,
        /// String: name of the local port's device.
        OVS_DP_ATTR_NAME = 1,
        /// `u32`: port id for upcalls of the local port.
        OVS_DP_ATTR_UPCALL_PID = 2,
        /// [`ovs_dp_stats`].
        OVS_DP_ATTR_STATS = 3,
        /// [`ovs_dp_megaflow_stats`].
        OVS_DP_ATTR_MEGAFLOW_STATS = 4,
        /// `u32`: `OVS_DP_F_*`.
        OVS_DP_ATTR_USER_FEATURES = 5,
        /// Padding that aligns 64-bit values.
        OVS_DP_ATTR_PAD = 6,
        /// `u32`: entries of the mask cache, 0 or a power of two.
        OVS_DP_ATTR_MASKS_CACHE_SIZE = 7,
        /// Array of `u32`: port ids for upcalls, indexed by CPU.
        OVS_DP_ATTR_PER_CPU_PIDS = 8,
        /// `u32`: interface index for the device to be made.
        OVS_DP_ATTR_IFINDEX = 9,
    }
}

c_enum! {
    /// Features that a client asks for (`OVS_DP_ATTR_USER_FEATURES`).
    OVS_DP_F_NAMES: u32 {
        /// The last attribute of an upcall need not be padded.
        OVS_DP_F_UNALIGNED = 1 << 0,
        /// A vport may have several upcall port ids.
        OVS_DP_F_VPORT_PIDS = 1 << 1,
        /// Recirculation ids are shared with tc.
        OVS_DP_F_TC_RECIRC_SHARING = 1 << 2,
        /// Upcalls go to a port id chosen by CPU.
        OVS_DP_F_DISPATCH_UPCALL_PER_CPU = 1 << 3,
    }
}

/// `struct ovs_dp_stats`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ovs_dp_stats {
    /// Packets that matched a flow.
    pub n_hit: u64,
    /// Packets that matched none.
    pub n_missed: u64,
    /// Upcalls that could not be delivered.
    pub n_lost: u64,
    /// Flows in the table now.
    pub n_flows: u64,
}

/// `struct ovs_dp_megaflow_stats`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ovs_dp_megaflow_stats {
    /// Masks tried by all look-ups.
    pub n_mask_hit: u64,
    /// Masks now.
    pub n_masks: u32,
    /// Zero.
    pub pad0: u32,
    /// Look-ups that the mask cache answered.
    pub n_cache_hit: u64,
    /// Zero.
    pub pad1: u64,
}
