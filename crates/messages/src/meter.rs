// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `ovs_meter`: requests and replies.

use portway_netlink::{Attr, AttrBuilder, Error, ExtAck, GenlMessage, Rejected, Rule};
use portway_uapi::Errno;
use portway_uapi::openvswitch::*;

use crate::family::METER_RULES;
use crate::parse::{dp_ifindex, parse};

const BAND_RULES: [Rule; 5] = {
    let mut rules = [Rule::UNSPEC; 5];
    rules[OVS_BAND_ATTR_TYPE as usize] = Rule::U32;
    rules[OVS_BAND_ATTR_RATE as usize] = Rule::U32;
    rules[OVS_BAND_ATTR_BURST as usize] = Rule::U32;
    rules[OVS_BAND_ATTR_STATS as usize] = Rule::at_least(size_of::<ovs_flow_stats>() as u16);
    rules
};

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
    /// STATS: what a new meter's statistics start with.
    pub stats: Option<ovs_flow_stats>,
    /// CLEAR: statistics start anew.
    pub clear: bool,
    /// What the kernel warns of.
    pub warning: Option<ExtAck>,
}

/// A band of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Band {
    /// `OVS_METER_BAND_TYPE_*`, or any other number.
    pub kind: u32,
    /// Packets or kilobits per second; may be 0.
    pub rate: u32,
    /// Packets or kilobits.
    pub burst: u32,
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
            stats: attrs.get(OVS_METER_ATTR_STATS).and_then(|attr| ovs_flow_stats_of(&attr)),
            clear: attrs.has(OVS_METER_ATTR_CLEAR),
            warning: attrs.warning(),
        })
    }

    /// Reads the bands, `max` at most.
    ///
    /// # Errors
    /// EINVAL without BANDS, with too many, or with one that is not complete; ERANGE with a value that is too short. Of these the
    /// kernel says no more than the number.
    pub fn read_bands(&self, max: usize) -> Result<Vec<Band>, Errno> {
        let nests = self.bands.ok_or(Errno::EINVAL)?.nested();
        if nests.clone().take(max + 1).count() > max {
            return Err(Errno::EINVAL);
        }
        nests.map(|nest| read_band(&nest)).collect()
    }
}

fn ovs_flow_stats_of(attr: &Attr<'_>) -> Option<ovs_flow_stats> {
    // It may be longer; the policy has made sure that it is not shorter.
    let bytes = attr.payload().get(..size_of::<ovs_flow_stats>())?;
    zerocopy::FromBytes::read_from_bytes(bytes).ok()
}

fn read_band(nest: &Attr<'_>) -> Result<Band, Errno> {
    let attrs = parse(&BAND_RULES, nest.nested()).map_err(|rejected| rejected.errno())?;
    let value = |kind| attrs.u32(kind).ok_or(Errno::EINVAL);
    Ok(Band {
        kind: value(OVS_BAND_ATTR_TYPE)?,
        rate: value(OVS_BAND_ATTR_RATE)?,
        burst: value(OVS_BAND_ATTR_BURST)?,
    })
}

/// What is told of a meter.
#[derive(Clone, Debug, PartialEq)]
pub struct MeterReply {
    /// ID.
    pub id: u32,
    /// STATS.
    pub stats: ovs_flow_stats,
    /// USED: milliseconds, monotonic.
    pub used_ms: u64,
    /// Of each band: STATS.
    pub bands: Vec<ovs_flow_stats>,
}

impl MeterReply {
    /// Writes it. KBPS, TYPE, RATE and BURST are never told.
    pub fn encode(&self, b: &mut AttrBuilder<'_>) -> Result<(), Error> {
        b.put_u32(OVS_METER_ATTR_ID, self.id)?;
        b.put_struct(OVS_METER_ATTR_STATS, &self.stats)?;
        b.put_u64(OVS_METER_ATTR_USED, self.used_ms)?;
        b.nest_unmarked::<Error>(OVS_METER_ATTR_BANDS, |b| {
            for band in &self.bands {
                b.nest_unmarked::<Error>(OVS_BAND_ATTR_UNSPEC, |b| b.put_struct(OVS_BAND_ATTR_STATS, band))?;
            }
            Ok(())
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
