// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `ovs_vport`: NEW, DEL, GET, SET.

use std::sync::Arc;

use portway_datapath::{Datapath, Error, Event, PortRequest};
use portway_messages::Refusal;
use portway_messages::vport::VportRequest;
use portway_uapi::Errno;
use portway_uapi::openvswitch::*;
use portway_vport::{PortName, Vport};

use crate::call::{Call, Handled};
use crate::datapath::port_ids;
use crate::describe::{dp_ifindex, encode_vport};
use crate::devices::{TunnelPort, has_left, look};
use crate::errno::errno_of;
use crate::names::make_named;

/// Reads a request, and keeps what is to be warned of.
fn decode<'a>(call: &mut Call<'a>) -> Result<VportRequest<'a>, Refusal> {
    let mut request = VportRequest::decode(&call.genl)?;
    call.warning = request.warning.take();
    Ok(request)
}

/// The port that a request means: by name in the whole namespace, else by number.
fn find(call: &Call<'_>, request: &VportRequest<'_>) -> Result<(Arc<Datapath>, Arc<Vport>), Errno> {
    let switch = &call.server.switch;
    if let Some(name) = request.name {
        let name = PortName::new(name).ok_or(Errno::ENODEV)?;
        // The kernel looks where the port was put when it was made, and for what it is called now.
        let port = switch.port_named(call.netns.id(), &name).filter(|port| port.first_name() == name);
        let port = port.ok_or(Errno::ENODEV)?;
        let datapath = switch.datapath(port.datapath()).ok_or(Errno::ENODEV)?;
        if request.dp_ifindex != 0 && request.dp_ifindex != dp_ifindex(&datapath) {
            return Err(Errno::ENODEV);
        }
        return Ok((datapath, port));
    }
    let port_no = request.port_no.ok_or(Errno::EINVAL)?;
    if port_no >= DP_MAX_PORTS {
        return Err(Errno::EFBIG);
    }
    let datapath = call.datapath(request.dp_ifindex)?;
    let port = datapath.port(port_no).ok_or(Errno::ENODEV)?;
    Ok((datapath, port))
}

impl Call<'_> {
    /// Whether a port of the client's namespace has a device of that interface index.
    fn has_device(&self, ifindex: u32) -> bool {
        let mut ports = self.server.switch.devices().list(Some(self.netns.id())).into_iter();
        ports.any(|port| port.ifindex() == ifindex)
    }

    fn vport_message(&mut self, cmd: u8, datapath: &Datapath, port: &Vport) -> Result<Vec<u8>, Refusal> {
        let seen = look(&mut *self.server.devices, datapath, port);
        self.encode(cmd, dp_ifindex(datapath), |b| encode_vport(datapath, port, seen, b))
    }

    /// Takes the name from a port whose device has moved to another namespace: there, the name is its, here it is free. The port stays, by
    /// its number.
    pub(crate) fn free_name(&mut self, name: &[u8]) {
        let switch = Arc::clone(&self.server.switch);
        let Some(port) = PortName::new(name).and_then(|name| switch.port_named(self.netns.id(), &name))
        else {
            return;
        };
        // A local port's name is its datapath's, wherever its device is.
        if port.port_no() != OVSP_LOCAL
            && let Some(datapath) = switch.datapath(port.datapath())
            && has_left(&mut *self.server.devices, &datapath, &port)
        {
            switch.devices().remove(&port);
        }
    }

    /// The tunnel behind the device that is to be a port, if it stands for one.
    fn tunnel_behind(&mut self, port_type: u32, name: &[u8]) -> Result<Option<TunnelPort>, Errno> {
        match PortName::new(name) {
            Some(name) if port_type == OVS_VPORT_TYPE_NETDEV => {
                self.server.devices.tunnel(&self.netns, &name)
            }
            Some(_) | None => Ok(None),
        }
    }

    /// A port's upcall port ids: not more than there are CPUs.
    fn upcall_pids(&self, bytes: &[u8]) -> Result<Vec<u32>, Errno> {
        let pids = port_ids(bytes)?;
        if pids.len() > self.server.limits.cpus { Err(Errno::EINVAL) } else { Ok(pids) }
    }
}

pub(crate) fn new(call: &mut Call<'_>) -> Handled {
    let request = decode(call)?;
    let (Some(name), Some(port_type), Some(upcall_pid)) =
        (request.name, request.port_type, request.upcall_pid)
    else {
        return Err(Errno::EINVAL.into());
    };
    if request.ifindex.is_some() && port_type != OVS_VPORT_TYPE_INTERNAL {
        return Err(Errno::EOPNOTSUPP.into());
    }
    if request.port_no.is_some_and(|port_no| port_no >= DP_MAX_PORTS) {
        return Err(Errno::EFBIG.into());
    }
    let datapath = call.datapath(request.dp_ifindex)?;
    call.free_name(name);
    let behind = call.tunnel_behind(port_type, name)?;
    let make = |call: &Call<'_>, name| {
        let port = PortRequest {
            port_no: request.port_no.filter(|port_no| *port_no != 0),
            options: request.options.map(<[u8]>::to_vec).unwrap_or_default(),
            // A bad array is refused where the port is made: after its number and its type have been found good.
            upcall_pids: call.upcall_pids(upcall_pid)?,
            ..PortRequest::new(name, port_type)
        };
        let port = match &behind {
            Some(tunnel) => PortRequest {
                port_type: tunnel.port_type,
                options: tunnel.options.clone(),
                shown_type: Some(port_type),
                ..port
            },
            None => port,
        };
        let taken = request.ifindex.is_some_and(|wanted| call.has_device(wanted));
        if taken {
            return Err(Errno::EBUSY);
        }
        if behind.is_some() && call.server.switch.port_named(call.netns.id(), &name).is_some() {
            return Err(name_taken(call, &datapath, &name));
        }
        let made = call.server.switch.port_add(&datapath, &port);
        made.map_err(|error| refusal(call, &datapath, &port, &error))
    };
    let port = if port_type == OVS_VPORT_TYPE_NETDEV {
        // The device is there already: what is no name is no device.
        make(call, PortName::new(name).ok_or(Errno::ENODEV)?)?
    } else {
        make_named(name, |name| make(call, name))?
    };
    let message = call.vport_message(OVS_VPORT_CMD_NEW, &datapath, &port)?;
    call.notify(message);
    call.forget_event(
        |event| matches!(event, Event::PortAdded { port: added, .. } if added.as_ptr() == Arc::as_ptr(&port)),
    );
    Ok(())
}

/// The errno of a port that could not be made.
fn refusal(call: &Call<'_>, datapath: &Datapath, wanted: &PortRequest, error: &Error) -> Errno {
    if !matches!(error, Error::NameTaken { .. }) || wanted.port_type != OVS_VPORT_TYPE_NETDEV {
        return errno_of(error);
    }
    name_taken(call, datapath, &wanted.name)
}

/// The errno of a device that is a port already. It can have one master: it is another datapath's, or this one's. An internal device has
/// none.
fn name_taken(call: &Call<'_>, datapath: &Datapath, name: &PortName) -> Errno {
    match call.server.switch.port_named(call.netns.id(), name) {
        Some(port) if port.port_type() == OVS_VPORT_TYPE_INTERNAL => Errno::EINVAL,
        Some(port) if port.datapath() != datapath.id() => Errno::EBUSY,
        Some(_) | None => Errno::EEXIST,
    }
}

pub(crate) fn del(call: &mut Call<'_>) -> Handled {
    let request = decode(call)?;
    let (datapath, port) = find(call, &request)?;
    let port_no = port.port_no();
    if port_no == OVSP_LOCAL {
        return Err(Errno::EINVAL.into());
    }
    let message = call.vport_message(OVS_VPORT_CMD_DEL, &datapath, &port)?;
    // The last owner destroys the port, and that must have happened when the request is answered.
    drop(port);
    call.switch().port_del(&datapath, port_no).map_err(|error| errno_of(&error))?;
    call.notify(message);
    call.forget_event(|event| match event {
        Event::PortRemoved { datapath: of, port_no: removed, .. } => {
            Arc::ptr_eq(of, &datapath) && *removed == port_no
        }
        Event::DatapathAdded(_)
        | Event::DatapathRemoved(_)
        | Event::PortAdded { .. }
        | Event::PortChanged { .. } => false,
    });
    Ok(())
}

pub(crate) fn get(call: &mut Call<'_>) -> Handled {
    let request = decode(call)?;
    let (datapath, port) = find(call, &request)?;
    let message = call.vport_message(OVS_VPORT_CMD_GET, &datapath, &port)?;
    call.reply(message);
    Ok(())
}

pub(crate) fn set(call: &mut Call<'_>) -> Handled {
    let request = decode(call)?;
    let (datapath, port) = find(call, &request)?;
    if request.port_type.is_some_and(|port_type| port_type != port.port_type()) {
        return Err(Errno::EINVAL.into());
    }
    if let Some(options) = request.options {
        port.handle().set_options(options)?;
    }
    if let Some(pids) = request.upcall_pid {
        port.set_upcall_pids(&call.upcall_pids(pids)?)?;
    }
    let message = call.vport_message(OVS_VPORT_CMD_SET, &datapath, &port)?;
    call.notify(message);
    Ok(())
}
