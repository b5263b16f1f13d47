// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `ovs_meter`: requests and replies.

use portway_netlink::{Attr, AttrBuilder, Error, ExtAck, GenlMessage, Rejected};
use portway_uapi::openvswitch::*;

use crate::family::METER_RULES;
use crate::parse::{dp_ifindex, parse};

/// A request of any command.
#[derive(Clone, Debug, PartialEq)]
pub struct MeterRequest<'a> {
    /// `dp_ifindex` of the header.
    pub dp_ifindex: i32,
    /// ID.
    pub id: Option<u32>,
    /// KBPS: rates are in kbit/s, not packets/s.
    pub kbps: bool,
    /// BANDS.
    pub bands: Option<Attr<'a>>,
    /// CLEAR: statistics start anew.
    pub clear: bool,
    /// What the kernel warns of.
    pub warning: Option<ExtAck>,
}

impl<'a> MeterRequest<'a> {
    /// Reads a request.
    pub fn decode(message: &GenlMessage<'a>) -> Result<Self, Rejected> {
        let attrs = parse(&METER_RULES, message.attrs())?;
        Ok(Self {
            dp_ifindex: dp_ifindex(message),
            id: attrs.u32(OVS_METER_ATTR_ID),
            kbps: attrs.has(OVS_METER_ATTR_KBPS),
            bands: attrs.get(OVS_METER_ATTR_BANDS),
            clear: attrs.has(OVS_METER_ATTR_CLEAR),
            warning: attrs.warning(),
        })
    }
}

/// Writes the answer to OVS_METER_CMD_FEATURES: limits, and that bands of type DROP exist.
pub fn encode_features(max_meters: u32, max_bands: u32, b: &mut AttrBuilder<'_>) -> Result<(), Error> {
    b.put_u32(OVS_METER_ATTR_MAX_METERS, max_meters)?;
    b.put_u32(OVS_METER_ATTR_MAX_BANDS, max_bands)?;
    b.nest_unmarked::<Error>(OVS_METER_ATTR_BANDS, |b| {
        b.nest_unmarked::<Error>(OVS_BAND_ATTR_UNSPEC, |b| {
            b.put_u32(OVS_BAND_ATTR_TYPE, OVS_METER_BAND_TYPE_DROP)
        })
    })
}
