// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The `ovs_flow` family.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Family name.
pub const OVS_FLOW_FAMILY: &str = "ovs_flow";
/// Multicast group.
pub const OVS_FLOW_MCGROUP: &str = "ovs_flow";
/// Family version.
pub const OVS_FLOW_VERSION: u8 = 1;
/// A unique flow identifier has 1 to this many bytes (`MAX_UFID_LENGTH` in the kernel module).
pub const MAX_UFID_LENGTH: usize = 16;

c_enum! {
    /// `enum ovs_flow_cmd`.
    OVS_FLOW_CMD_NAMES: u8 {
        /// Not used.
        OVS_FLOW_CMD_UNSPEC = 0,
        /// Create, or replace actions.
        OVS_FLOW_CMD_NEW = 1,
        /// Delete one or all.
        OVS_FLOW_CMD_DEL = 2,
        /// Read one, or dump all.
        OVS_FLOW_CMD_GET = 3,
        /// Change actions, clear statistics.
        OVS_FLOW_CMD_SET = 4,
    }
}

c_enum! {
    /// `enum ovs_flow_attr`.
    OVS_FLOW_ATTR_NAMES: u16 {
        /// Not used.
        OVS_FLOW_ATTR_UNSPEC = 0,
        /// Nest of `OVS_KEY_ATTR_*`.
        OVS_FLOW_ATTR_KEY = 1,
        /// Nest of `OVS_ACTION_ATTR_*`.
        OVS_FLOW_ATTR_ACTIONS = 2,
        /// [`ovs_flow_stats`].
        OVS_FLOW_ATTR_STATS = 3,
        /// `u8`: all TCP flags seen.
        OVS_FLOW_ATTR_TCP_FLAGS = 4,
        /// `u64`: monotonic time of last use in ms.
        OVS_FLOW_ATTR_USED = 5,
        /// Flag: clear statistics.
        OVS_FLOW_ATTR_CLEAR = 6,
        /// Nest of `OVS_KEY_ATTR_*`: bits that must match.
        OVS_FLOW_ATTR_MASK = 7,
        /// Flag: a feature probe; errors are not to be logged.
        OVS_FLOW_ATTR_PROBE = 8,
        /// Bytes: unique flow identifier.
        OVS_FLOW_ATTR_UFID = 9,
        /// `u32`: `OVS_UFID_F_*`.
        OVS_FLOW_ATTR_UFID_FLAGS = 10,
        /// Padding that aligns 64-bit values.
        OVS_FLOW_ATTR_PAD = 11,
    }
}

c_enum! {
    /// What a reply may leave out (`OVS_FLOW_ATTR_UFID_FLAGS`).
    OVS_UFID_F_NAMES: u32 {
        /// Leave out the key, if there is an identifier.
        OVS_UFID_F_OMIT_KEY = 1 << 0,
        /// Leave out the mask.
        OVS_UFID_F_OMIT_MASK = 1 << 1,
        /// Leave out the actions.
        OVS_UFID_F_OMIT_ACTIONS = 1 << 2,
    }
}

/// `struct ovs_flow_stats`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ovs_flow_stats {
    /// Packets matched.
    pub n_packets: u64,
    /// Bytes matched.
    pub n_bytes: u64,
}
