// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `ovs_datapath`: NEW, DEL, GET, SET.

use std::sync::Arc;

use portway_datapath::{Datapath, DatapathOptions, DatapathRequest as Make, Event};
use portway_messages::Refusal;
use portway_messages::datapath::DatapathRequest;
use portway_uapi::Errno;
use portway_uapi::openvswitch::*;
use portway_vport::PortName;

use crate::call::{Call, Handled};
use crate::describe::{dp_ifindex, encode_datapath};
use crate::errno::errno_of;
use crate::names::make_named;

/// Entries of the masks cache that a datapath starts with.
const MASKS_CACHE_SIZE: u32 = 256;

/// Features that can be asked for. OVS_DP_F_TC_RECIRC_SHARING is not among them: nothing here shares with tc.
const FEATURES: u32 = OVS_DP_F_UNALIGNED | OVS_DP_F_VPORT_PIDS | OVS_DP_F_DISPATCH_UPCALL_PER_CPU;

/// Reads a request, and keeps what is to be warned of.
fn decode<'a>(call: &mut Call<'a>) -> Result<DatapathRequest<'a>, Refusal> {
    let mut request = DatapathRequest::decode(&call.genl)?;
    call.warning = request.warning.take();
    Ok(request)
}

/// The datapath that a request names, or whose number it gives.
fn find(call: &Call<'_>, request: &DatapathRequest<'_>) -> Result<Arc<Datapath>, Errno> {
    let Some(name) = request.name else { return call.datapath(request.dp_ifindex) };
    let name = PortName::new(name).ok_or(Errno::ENODEV)?;
    named(call, &name).ok_or(Errno::ENODEV)
}

/// The datapath of that name, if it was made with it: the kernel looks where it was put then, and for what it is called now.
fn named(call: &Call<'_>, name: &PortName) -> Option<Arc<Datapath>> {
    let datapath = call.server.switch.datapath_named(call.netns.id(), name)?;
    datapath.port(0).is_some_and(|port| port.first_name() == *name).then_some(datapath)
}

/// What the request makes of a datapath's options. What it does not mention falls back: the features to none. The
/// port ids by CPU stay, though they count only with their feature: each client that opens a datapath sets the features anew.
fn options(before: &DatapathOptions, request: &DatapathRequest<'_>) -> Result<DatapathOptions, Errno> {
    let user_features = request.user_features.unwrap_or(0);
    if user_features & !FEATURES != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let masks_cache_size = request.masks_cache_size.unwrap_or(before.masks_cache_size);
    if masks_cache_size != 0 && !masks_cache_size.is_power_of_two() {
        return Err(Errno::EINVAL);
    }
    let per_cpu = user_features & OVS_DP_F_DISPATCH_UPCALL_PER_CPU != 0;
    let per_cpu_pids = match request.per_cpu_pids {
        Some(pids) if per_cpu => port_ids(pids)?,
        _ => before.per_cpu_pids.clone(),
    };
    Ok(DatapathOptions { user_features, masks_cache_size, per_cpu_pids })
}

/// An array of port ids: one at least.
pub(crate) fn port_ids(bytes: &[u8]) -> Result<Vec<u32>, Errno> {
    match bytes.as_chunks::<4>() {
        (ids, []) if !ids.is_empty() => Ok(ids.iter().map(|id| u32::from_ne_bytes(*id)).collect()),
        _ => Err(Errno::EINVAL),
    }
}

impl Call<'_> {
    /// The datapath whose `dp_ifindex` this is, seen from the client's namespace. Any internal port's will do.
    pub(crate) fn datapath(&self, ifindex: i32) -> Result<Arc<Datapath>, Errno> {
        let found = u32::try_from(ifindex).ok().filter(|ifindex| *ifindex != 0);
        let found = found.and_then(|ifindex| self.server.switch.datapath_of_device(self.netns.id(), ifindex));
        found.ok_or(Errno::ENODEV)
    }

    fn datapath_message(&self, cmd: u8, datapath: &Datapath) -> Result<Vec<u8>, Refusal> {
        let cpus = self.server.limits.cpus;
        self.encode(cmd, dp_ifindex(datapath), |b| encode_datapath(datapath, cpus, b))
    }
}

pub(crate) fn new(call: &mut Call<'_>) -> Handled {
    let request = decode(call)?;
    let (Some(name), Some(upcall_pid)) = (request.name, request.upcall_pid) else {
        return Err(Errno::EINVAL.into());
    };
    let before = DatapathOptions { masks_cache_size: MASKS_CACHE_SIZE, ..DatapathOptions::default() };
    let options = options(&before, &request)?;
    call.free_name(name);
    let switch = call.switch();
    let netns = call.netns.clone();
    // The port ids are looked at when the local port is made, that is after its name.
    let made = make_named(name, |name| {
        let upcall_pids = port_ids(upcall_pid)?;
        let make = Make { upcall_pids, options: options.clone(), ..Make::new(name, netns.clone()) };
        switch.datapath_add(make).map_err(|error| match errno_of(&error) {
            Errno::EBUSY => Errno::EEXIST,
            errno => errno,
        })
    });
    let datapath = match made {
        Ok(datapath) => datapath,
        Err(errno) => {
            if errno == Errno::EEXIST && call.genl.version() < OVS_DP_VER_FEATURES {
                reset_features(call, name);
            }
            return Err(errno.into());
        }
    };
    let message = call.datapath_message(OVS_DP_CMD_NEW, &datapath)?;
    call.notify(message);
    call.forget_event(|event| matches!(event, Event::DatapathAdded(added) if Arc::ptr_eq(added, &datapath)));
    Ok(())
}

/// A client from before there were features is about to use a datapath of others: they are turned off.
fn reset_features(call: &Call<'_>, name: &[u8]) {
    let Some(name) = PortName::new(name) else { return };
    let Some(datapath) = named(call, &name) else { return };
    tracing::info!(datapath = %name, "dropping previously announced user features");
    let options = DatapathOptions { user_features: 0, ..DatapathOptions::clone(&datapath.options()) };
    call.server.switch.datapath_set(&datapath, options);
}

pub(crate) fn del(call: &mut Call<'_>) -> Handled {
    let request = decode(call)?;
    let datapath = find(call, &request)?;
    let message = call.datapath_message(OVS_DP_CMD_DEL, &datapath)?;
    call.switch().datapath_del(&datapath).map_err(|error| errno_of(&error))?;
    call.notify(message);
    call.forget_event(|event| match event {
        Event::DatapathRemoved(removed) => Arc::ptr_eq(removed, &datapath),
        Event::PortRemoved { datapath: of, .. } => Arc::ptr_eq(of, &datapath),
        Event::DatapathAdded(_) | Event::PortAdded { .. } | Event::PortChanged { .. } => false,
    });
    Ok(())
}

pub(crate) fn get(call: &mut Call<'_>) -> Handled {
    let request = decode(call)?;
    let datapath = find(call, &request)?;
    let message = call.datapath_message(OVS_DP_CMD_GET, &datapath)?;
    call.reply(message);
    Ok(())
}

pub(crate) fn set(call: &mut Call<'_>) -> Handled {
    let request = decode(call)?;
    let datapath = find(call, &request)?;
    let options = options(&datapath.options(), &request)?;
    call.switch().datapath_set(&datapath, options);
    let message = call.datapath_message(OVS_DP_CMD_SET, &datapath)?;
    call.notify(message);
    Ok(())
}
