// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `ovs_meter`: FEATURES, SET, GET, DEL. Nothing of it is multicast, in the kernel neither.

use std::num::NonZeroU32;

use portway_datapath::{BandConfig, METERS_MAX, Meter, MeterConfig, MeterStats};
use portway_messages::Refusal;
use portway_messages::meter::{MeterReply, MeterRequest, encode_features};
use portway_uapi::Errno;
use portway_uapi::openvswitch::*;

use crate::call::{Call, Handled};
use crate::errno::errno_of;

/// Bands of a meter, at most.
const BANDS_MAX: u32 = 1;

fn decode<'a>(call: &mut Call<'a>) -> Result<MeterRequest<'a>, Refusal> {
    let mut request = MeterRequest::decode(&call.genl)?;
    call.warning = request.warning.take();
    Ok(request)
}

fn told(stats: MeterStats) -> ovs_flow_stats {
    ovs_flow_stats { n_packets: stats.packets, n_bytes: stats.bytes }
}

fn describe(meter: &Meter) -> MeterReply {
    MeterReply {
        id: meter.id(),
        stats: told(meter.stats()),
        used_ms: meter.used_ms(),
        bands: meter.band_stats().map(told).collect(),
    }
}

/// The meter that a request wants.
fn config_of(request: &MeterRequest<'_>) -> Result<MeterConfig, Errno> {
    let id = request.id.ok_or(Errno::EINVAL)?;
    let mut bands = Vec::new();
    for band in request.read_bands(BANDS_MAX as usize)? {
        bands.push(BandConfig {
            // Types that do not exist are taken, and then let everything pass.
            drops: band.kind == OVS_METER_BAND_TYPE_DROP,
            rate: NonZeroU32::new(band.rate).ok_or(Errno::EINVAL)?,
            burst: band.burst,
        });
    }
    let keeps_stats = !request.clear;
    let initial = request.stats.filter(|_| keeps_stats).unwrap_or_default();
    let initial = MeterStats { packets: initial.n_packets, bytes: initial.n_bytes };
    Ok(MeterConfig { id, kilobits: request.kbps, keeps_stats, initial, bands })
}

pub(crate) fn features(call: &mut Call<'_>) -> Handled {
    let request = decode(call)?;
    call.datapath(request.dp_ifindex)?;
    let dp_ifindex = request.dp_ifindex;
    let message =
        call.encode(OVS_METER_CMD_FEATURES, dp_ifindex, |b| encode_features(METERS_MAX, BANDS_MAX, b))?;
    call.reply(message);
    Ok(())
}

pub(crate) fn set(call: &mut Call<'_>) -> Handled {
    let request = decode(call)?;
    let config = config_of(&request)?;
    let datapath = call.datapath(request.dp_ifindex)?;
    let old = call.server.switch.meter_set(&datapath, &config, call.now_ns);
    let old = old.map_err(|error| errno_of(&error))?;
    let message = call.encode(OVS_METER_CMD_SET, request.dp_ifindex, |b| {
        b.put_u32(OVS_METER_ATTR_ID, config.id)?;
        // The old meter's id again, and its last statistics, unless it was made to forget them.
        match old.filter(|old| old.keeps_stats()) {
            Some(old) => describe(&old).encode(b),
            None => Ok(()),
        }
    })?;
    call.reply(message);
    Ok(())
}

pub(crate) fn del(call: &mut Call<'_>) -> Handled {
    let request = decode(call)?;
    let id = request.id.ok_or(Errno::EINVAL)?;
    let datapath = call.datapath(request.dp_ifindex)?;
    let old = call.server.switch.meter_del(&datapath, id);
    // The kernel, too, answers with nothing when there was nothing.
    let message = call.encode(OVS_METER_CMD_DEL, request.dp_ifindex, |b| {
        old.map_or(Ok(()), |old| describe(&old).encode(b))
    })?;
    call.reply(message);
    Ok(())
}

pub(crate) fn get(call: &mut Call<'_>) -> Handled {
    let request = decode(call)?;
    let id = request.id.ok_or(Errno::EINVAL)?;
    let meter = call.datapath(request.dp_ifindex)?.meter(id).ok_or(Errno::ENOENT)?;
    let message = call.encode(OVS_METER_CMD_GET, request.dp_ifindex, |b| describe(&meter).encode(b))?;
    call.reply(message);
    Ok(())
}
