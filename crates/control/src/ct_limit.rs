// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `ovs_ct_limit`: how many connections a conntrack zone may have. The limits are kept for each namespace, whatever
//! datapath a request names.

use std::collections::{BTreeMap, HashMap};

use portway_messages::Refusal;
use portway_messages::ct_limit::CtLimitRequest;
use portway_uapi::Errno;
use portway_uapi::openvswitch::*;
use portway_vport::NetnsId;
use zerocopy::{FromBytes, IntoBytes};

use crate::call::{Call, Handled};

/// Zones are told in this many groups, as the kernel's table has them.
const BUCKETS: u16 = 512;

/// The limits of all namespaces.
#[derive(Debug, Default)]
pub(crate) struct ZoneLimits(HashMap<NetnsId, Limits>);

/// The limits of one namespace. 0: none.
#[derive(Debug, Default)]
struct Limits {
    default: u32,
    /// By bucket: zones with their limits, the newest first.
    zones: BTreeMap<u16, Vec<(u16, u32)>>,
}

impl Limits {
    fn of(&self, zone: u16) -> u32 {
        let bucket = self.zones.get(&(zone % BUCKETS));
        let found = bucket.and_then(|bucket| bucket.iter().find(|(known, _)| *known == zone));
        found.map_or(self.default, |(_, limit)| *limit)
    }

    fn set(&mut self, zone: u16, limit: u32) {
        let bucket = self.zones.entry(zone % BUCKETS).or_default();
        match bucket.iter_mut().find(|(known, _)| *known == zone) {
            Some(known) => known.1 = limit,
            None => bucket.insert(0, (zone, limit)),
        }
    }

    fn remove(&mut self, zone: u16) {
        if let Some(bucket) = self.zones.get_mut(&(zone % BUCKETS)) {
            bucket.retain(|(known, _)| *known != zone);
        }
    }
}

/// What a request says of one zone; `Err`: the number is none, which is passed over.
enum Zone {
    Default,
    Numbered(u16),
}

fn zone_of(entry: &ovs_zone_limit) -> Option<Zone> {
    match entry.zone_id {
        OVS_ZONE_LIMIT_DEFAULT_ZONE => Some(Zone::Default),
        id => u16::try_from(id).ok().map(Zone::Numbered),
    }
}

/// The entries of a request, whole ones only. What pads the attribute counts as its end: the kernel reads over it.
fn entries(request: &CtLimitRequest<'_>) -> Option<Vec<ovs_zone_limit>> {
    let mut bytes = request.zone_limits?.payload().to_vec();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let whole = bytes.chunks_exact(size_of::<ovs_zone_limit>());
    Some(whole.filter_map(|entry| ovs_zone_limit::read_from_bytes(entry).ok()).collect())
}

fn decode<'a>(call: &mut Call<'a>) -> Result<CtLimitRequest<'a>, Refusal> {
    let mut request = CtLimitRequest::decode(&call.genl)?;
    call.warning = request.warning.take();
    Ok(request)
}

fn answer(call: &mut Call<'_>, cmd: u8, dp_ifindex: i32) -> Handled {
    let message = call.encode(cmd, dp_ifindex, |_| Ok(()))?;
    call.reply(message);
    Ok(())
}

pub(crate) fn set(call: &mut Call<'_>) -> Handled {
    let request = decode(call)?;
    let entries = entries(&request).ok_or(Errno::EINVAL)?;
    let limits = call.server.zone_limits.0.entry(call.netns.id()).or_default();
    for entry in &entries {
        match zone_of(entry) {
            Some(Zone::Default) => limits.default = entry.limit,
            Some(Zone::Numbered(zone)) => limits.set(zone, entry.limit),
            None => {}
        }
    }
    answer(call, OVS_CT_LIMIT_CMD_SET, request.dp_ifindex)
}

pub(crate) fn del(call: &mut Call<'_>) -> Handled {
    let request = decode(call)?;
    let entries = entries(&request).ok_or(Errno::EINVAL)?;
    if let Some(limits) = call.server.zone_limits.0.get_mut(&call.netns.id()) {
        for entry in &entries {
            match zone_of(entry) {
                Some(Zone::Default) => limits.default = 0,
                Some(Zone::Numbered(zone)) => limits.remove(zone),
                None => {}
            }
        }
    }
    answer(call, OVS_CT_LIMIT_CMD_DEL, request.dp_ifindex)
}

pub(crate) fn get(call: &mut Call<'_>) -> Handled {
    let request = decode(call)?;
    let none = Limits::default();
    let limits = call.server.zone_limits.0.get(&call.netns.id()).unwrap_or(&none);
    // Connections are not tracked yet, so no zone has any.
    let tell = |zone_id: i32, limit: u32| ovs_zone_limit { zone_id, limit, count: 0 };
    let default = tell(OVS_ZONE_LIMIT_DEFAULT_ZONE, limits.default);
    let told: Vec<ovs_zone_limit> = match entries(&request) {
        Some(wanted) => {
            let told = wanted.iter().filter_map(|entry| match zone_of(entry)? {
                Zone::Default => Some(default),
                Zone::Numbered(zone) => Some(tell(i32::from(zone), limits.of(zone))),
            });
            told.collect()
        }
        None => {
            let zones = limits.zones.values().flatten().map(|(zone, limit)| tell(i32::from(*zone), *limit));
            std::iter::once(default).chain(zones).collect()
        }
    };
    let message = call.encode(OVS_CT_LIMIT_CMD_GET, request.dp_ifindex, |b| {
        b.put(OVS_CT_LIMIT_ATTR_ZONE_LIMIT, told.as_slice().as_bytes())
    })?;
    call.reply(message);
    Ok(())
}
