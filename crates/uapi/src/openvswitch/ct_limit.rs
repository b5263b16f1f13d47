// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The `ovs_ct_limit` family: how many connections a conntrack zone may hold.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Family name.
pub const OVS_CT_LIMIT_FAMILY: &str = "ovs_ct_limit";
/// Multicast group.
pub const OVS_CT_LIMIT_MCGROUP: &str = "ovs_ct_limit";
/// Family version.
pub const OVS_CT_LIMIT_VERSION: u8 = 1;
/// `zone_id` that stands for every zone without a limit of its own.
pub const OVS_ZONE_LIMIT_DEFAULT_ZONE: i32 = -1;

c_enum! {
    /// `enum ovs_ct_limit_cmd`.
    OVS_CT_LIMIT_CMD_NAMES: u8 {
        /// Not used.
        OVS_CT_LIMIT_CMD_UNSPEC = 0,
        /// Add or change.
        OVS_CT_LIMIT_CMD_SET = 1,
        /// Delete.
        OVS_CT_LIMIT_CMD_DEL = 2,
        /// Read.
        OVS_CT_LIMIT_CMD_GET = 3,
    }
}

c_enum! {
    /// `enum ovs_ct_limit_attr`.
    OVS_CT_LIMIT_ATTR_NAMES: u16 {
        /// Not used.
        OVS_CT_LIMIT_ATTR_UNSPEC = 0,
        /// Array of [`ovs_zone_limit`].
        OVS_CT_LIMIT_ATTR_ZONE_LIMIT = 1,
    }
}

/// `struct ovs_zone_limit`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ovs_zone_limit {
    /// The zone, or [`OVS_ZONE_LIMIT_DEFAULT_ZONE`].
    pub zone_id: i32,
    /// Greatest number of connections; 0 is no limit.
    pub limit: u32,
    /// Connections now.
    pub count: u32,
}
