// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Dumps: many messages, several to a datagram, made as the client takes them.

use std::sync::Arc;

use portway_datapath::{Datapath, Flow};
use portway_messages::Refusal;
use portway_messages::ctrl::{CtrlRequest, PolicyPart, encode_family, encode_policy, policy_parts};
use portway_messages::family::{self, FAMILIES, Family};
use portway_messages::flow::FlowRequest;
use portway_netlink::{AttrBuilder, Datagram, Error, Header};
use portway_uapi::Errno;
use portway_uapi::genetlink::{CTRL_CMD_GETFAMILY, CTRL_CMD_GETPOLICY, CTRL_CMD_NEWFAMILY};
use portway_uapi::netlink::{NLM_F_MULTI, nlmsghdr};
use portway_uapi::openvswitch::*;
use portway_uapi::psample::PSAMPLE_CMD_NEW_GROUP;

use crate::call::{Call, Handled, MESSAGE_MAX};
use crate::client::Queued;
use crate::ctrl;
use crate::describe::{dp_ifindex, encode_datapath, encode_vport};
use crate::devices::{Devices, look};
use crate::flow::encode_flow;
use crate::server::{ClientId, Server};

/// Bytes of a dump's datagram (the kernel's NLMSG_GOODSIZE with pages of 4 KiB): every client has room for that. A
/// message that is longer travels alone.
const DATAGRAM_BYTES: usize = 3776;

/// How many flows ahead of the one that is written are asked for.
const AHEAD: usize = 8;

/// A dump under way.
#[derive(Debug)]
pub(crate) struct Dump {
    request: nlmsghdr,
    family: &'static Family,
    items: Items,
    next: usize,
}

/// What describing needs beside the thing itself.
struct World<'a> {
    cpus: usize,
    devices: &'a mut dyn Devices,
}

#[derive(Debug)]
enum Items {
    Families,
    /// Nothing to tell.
    Nothing,
    /// Nothing either; the message at the end says why.
    Failed(Errno),
    Policy(&'static Family, Vec<PolicyPart>),
    Datapaths(Vec<Arc<Datapath>>),
    Vports(Arc<Datapath>, Vec<u32>),
    Flows(Arc<Datapath>, Vec<Arc<Flow>>, u32),
}

impl Items {
    fn len(&self) -> usize {
        match self {
            Self::Families => FAMILIES.len(),
            Self::Nothing | Self::Failed(_) => 0,
            Self::Policy(_, parts) => parts.len(),
            Self::Datapaths(datapaths) => datapaths.len(),
            Self::Vports(_, ports) => ports.len(),
            Self::Flows(_, flows, _) => flows.len(),
        }
    }
}

impl Call<'_> {
    /// Starts a dump. EBUSY while another one is under way on the same socket.
    pub(crate) fn start_dump(&mut self) -> Handled {
        let items = self.dump_items()?;
        let dump = Dump { request: *self.message.header(), family: self.family, items, next: 0 };
        match self.server.clients.get_mut(&self.client) {
            Some(client) if client.dump.is_some() => Err(Errno::EBUSY.into()),
            Some(client) => {
                client.dump = Some(dump);
                self.server.set_ready(self.client);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn dump_items(&mut self) -> Result<Items, Refusal> {
        let id = self.family.id;
        if id == family::NLCTRL.id {
            return match self.genl.cmd() {
                CTRL_CMD_GETFAMILY => Ok(Items::Families),
                CTRL_CMD_GETPOLICY => {
                    let request = CtrlRequest::decode(&self.genl)?;
                    let family = ctrl::find(&request)?;
                    Ok(Items::Policy(family, policy_parts(family, request.op)))
                }
                _ => Err(Errno::EOPNOTSUPP.into()),
            };
        }
        if id == family::PSAMPLE.id {
            // Groups are kept by those who configure them; the action makes one for each sample.
            return Ok(Items::Nothing);
        }
        let header = self.genl.read_family_header::<ovs_header>().unwrap_or_default();
        if id == family::DATAPATH.id {
            let netns = self.netns.id();
            let mut datapaths = self.server.switch.datapaths();
            datapaths.retain(|datapath| datapath.netns().id() == netns);
            return Ok(Items::Datapaths(datapaths));
        }
        if id == family::VPORT.id {
            let datapath = match self.datapath(header.dp_ifindex) {
                Ok(datapath) => datapath,
                Err(errno) => return Ok(Items::Failed(errno)),
            };
            let ports = datapath.ports().iter().map(|port| port.port_no()).collect();
            return Ok(Items::Vports(datapath, ports));
        }
        if id == family::FLOW.id {
            let request = match FlowRequest::decode(&self.genl) {
                Ok(request) => request,
                Err(refusal) => return Ok(Items::Failed(refusal.errno())),
            };
            let datapath = match self.datapath(header.dp_ifindex) {
                Ok(datapath) => datapath,
                Err(errno) => return Ok(Items::Failed(errno)),
            };
            let flows = datapath.flows();
            return Ok(Items::Flows(datapath, flows, request.ufid_flags));
        }
        Err(Errno::EOPNOTSUPP.into())
    }
}

impl Dump {
    fn cmd(&self) -> u8 {
        match self.items {
            Items::Families => CTRL_CMD_NEWFAMILY,
            Items::Nothing | Items::Failed(_) => PSAMPLE_CMD_NEW_GROUP,
            Items::Policy(..) => CTRL_CMD_GETPOLICY,
            Items::Datapaths(_) => OVS_DP_CMD_GET,
            Items::Vports(..) => OVS_VPORT_CMD_GET,
            Items::Flows(..) => OVS_FLOW_CMD_GET,
        }
    }

    /// Writes one item into `out`. `false`: it has gone meanwhile.
    fn put(&self, out: &mut Datagram, port_id: u32, world: &mut World<'_>) -> Result<bool, Error> {
        let header = Header::reply_to(&self.request, port_id, self.family.id, NLM_F_MULTI);
        let next = self.next;
        let ovs = |out: &mut Datagram,
                   datapath: &Datapath,
                   fill: &dyn Fn(&mut AttrBuilder<'_>) -> Result<(), Error>| {
            let dp_ifindex = dp_ifindex(datapath);
            out.genl(header, self.cmd(), self.family.version, &ovs_header { dp_ifindex }, fill)
        };
        match &self.items {
            Items::Families => {
                out.genl(header, self.cmd(), self.family.version, &(), |b| encode_family(FAMILIES[next], b))?;
            }
            Items::Nothing | Items::Failed(_) => return Ok(false),
            Items::Policy(family, parts) => {
                out.genl(header, self.cmd(), self.family.version, &(), |b| {
                    encode_policy(family, parts[next], b)
                })?;
            }
            Items::Datapaths(datapaths) => {
                let datapath = &datapaths[next];
                if !datapath.is_alive() {
                    return Ok(false);
                }
                ovs(out, datapath, &|b| encode_datapath(datapath, world.cpus, b))?;
            }
            Items::Vports(datapath, ports) => {
                let Some(port) = datapath.port(ports[next]) else { return Ok(false) };
                let seen = look(world.devices, datapath, &port);
                ovs(out, datapath, &|b| encode_vport(datapath, &port, seen, b))?;
            }
            Items::Flows(datapath, flows, ufid_flags) => {
                ovs(out, datapath, &|b| encode_flow(datapath, &flows[next], *ufid_flags, b))?;
            }
        }
        Ok(true)
    }

    /// Asks for flows that will be written a little later: a table of them is larger than the processor's cache.
    fn prefetch(&self) {
        if let Items::Flows(_, flows, _) = &self.items {
            for (ahead, counters) in [(AHEAD, false), (AHEAD / 2, true)] {
                if let Some(flow) = flows.get(self.next + ahead) {
                    flow.prefetch(counters);
                }
            }
        }
    }

    /// The next datagram, and whether it was the last.
    fn datagram(&mut self, port_id: u32, world: &mut World<'_>) -> (Datagram, bool) {
        let mut out = Datagram::new(DATAGRAM_BYTES);
        while self.next < self.items.len() {
            self.prefetch();
            match self.put(&mut out, port_id, world) {
                Ok(_) => self.next += 1,
                Err(_) if !out.is_empty() => return (out, false),
                Err(_) => {
                    // Too long for a datagram of the usual size: one of its own.
                    out = Datagram::new(MESSAGE_MAX);
                    let put = self.put(&mut out, port_id, world);
                    self.next += 1;
                    if put.is_ok_and(|put| put) {
                        return (out, false);
                    }
                    out = Datagram::new(DATAGRAM_BYTES);
                }
            }
        }
        let result = if let Items::Failed(errno) = self.items { Err(errno) } else { Ok(()) };
        let last = out.done(&self.request, port_id, result, None).is_ok();
        (out, last)
    }
}

impl Server {
    /// Queues the next part of a client's dump, if it has one.
    pub(crate) fn continue_dump(&mut self, id: ClientId) {
        let mut world = World { cpus: self.limits.cpus, devices: &mut *self.devices };
        let Some(client) = self.clients.get_mut(&id) else { return };
        let Some(dump) = &mut client.dump else { return };
        let (datagram, last) = dump.datagram(client.port_id, &mut world);
        if last {
            client.dump = None;
        }
        self.push(id, Queued::other(datagram.into_bytes()));
    }
}
