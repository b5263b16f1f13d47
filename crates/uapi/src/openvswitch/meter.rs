// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The `ovs_meter` family.

/// Family name.
pub const OVS_METER_FAMILY: &str = "ovs_meter";
/// Multicast group.
pub const OVS_METER_MCGROUP: &str = "ovs_meter";
/// Family version.
pub const OVS_METER_VERSION: u8 = 1;

c_enum! {
    /// `enum ovs_meter_cmd`.
    OVS_METER_CMD_NAMES: u8 {
        /// Not used.
        OVS_METER_CMD_UNSPEC = 0,
        /// What the datapath can do.
        OVS_METER_CMD_FEATURES = 1,
        /// Add or replace.
        OVS_METER_CMD_SET = 2,
        /// Delete.
        OVS_METER_CMD_DEL = 3,
        /// Read statistics.
        OVS_METER_CMD_GET = 4,
    }
}

c_enum! {
    /// `enum ovs_meter_attr`.
    OVS_METER_ATTR_NAMES: u16 {
        /// Not used.
        OVS_METER_ATTR_UNSPEC = 0,
        /// `u32`: number within the datapath.
        OVS_METER_ATTR_ID = 1,
        /// Flag: rates are kilobits per second, otherwise packets per second.
        OVS_METER_ATTR_KBPS = 2,
        /// `ovs_flow_stats`.
        OVS_METER_ATTR_STATS = 3,
        /// Nest of nests of `OVS_BAND_ATTR_*`.
        OVS_METER_ATTR_BANDS = 4,
        /// `u64`: monotonic time of last use in ms.
        OVS_METER_ATTR_USED = 5,
        /// Flag: clear statistics.
        OVS_METER_ATTR_CLEAR = 6,
        /// `u32`: greatest number of meters.
        OVS_METER_ATTR_MAX_METERS = 7,
        /// `u32`: greatest number of bands in a meter.
        OVS_METER_ATTR_MAX_BANDS = 8,
        /// Padding that aligns 64-bit values.
        OVS_METER_ATTR_PAD = 9,
    }
}

c_enum! {
    /// `enum ovs_band_attr`.
    OVS_BAND_ATTR_NAMES: u16 {
        /// Not used.
        OVS_BAND_ATTR_UNSPEC = 0,
        /// `u32`: `OVS_METER_BAND_TYPE_*`.
        OVS_BAND_ATTR_TYPE = 1,
        /// `u32`: rate in the meter's unit.
        OVS_BAND_ATTR_RATE = 2,
        /// `u32`: burst in the meter's unit.
        OVS_BAND_ATTR_BURST = 3,
        /// `ovs_flow_stats`.
        OVS_BAND_ATTR_STATS = 4,
    }
}

c_enum! {
    /// `enum ovs_meter_band_type`.
    OVS_METER_BAND_TYPE_NAMES: u32 {
        /// No type.
        OVS_METER_BAND_TYPE_UNSPEC = 0,
        /// Drop what exceeds the rate.
        OVS_METER_BAND_TYPE_DROP = 1,
    }
}
