// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Notifications: who hears of a change, and changes that no request has made.

use portway_datapath::{Datapath, Event};
use portway_messages::family::{self, Family, Group};
use portway_netlink::{AttrBuilder, Datagram, Error, Header};
use portway_uapi::openvswitch::*;
use portway_vport::NetnsId;

use crate::call::MESSAGE_MAX;
use crate::client::{Client, Queued};
use crate::describe::{dp_ifindex, encode_datapath, encode_vport};
use crate::devices::look;
use crate::server::{ClientId, Server};

impl Server {
    /// Gives a message to the members of a family's only group in a namespace, but for one.
    pub(crate) fn multicast(
        &mut self,
        family: &Family,
        netns: NetnsId,
        message: &[u8],
        left_out: Option<ClientId>,
    ) {
        let [group] = family.groups else { return };
        self.multicast_to(group, netns, message, left_out);
    }

    /// Gives a message to the members of a group in a namespace, but for one.
    pub(crate) fn multicast_to(
        &mut self,
        group: &Group,
        netns: NetnsId,
        message: &[u8],
        left_out: Option<ClientId>,
    ) {
        let member = |client: &Client| client.groups.contains(&group.id) && client.peer.netns.id() == netns;
        let members = self.clients.iter().filter(|(id, client)| member(client) && Some(**id) != left_out);
        for id in members.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.push(id, Queued::other(message.to_vec()).of_group(group.id));
        }
    }

    /// Whether a family's only group has members in a namespace.
    pub(crate) fn has_listeners(&self, family: &Family, netns: NetnsId) -> bool {
        let [group] = family.groups else { return false };
        self.has_members(group, netns)
    }

    /// Whether a group has members in a namespace.
    pub(crate) fn has_members(&self, group: &Group, netns: NetnsId) -> bool {
        let mut clients = self.clients.values();
        clients.any(|client| client.groups.contains(&group.id) && client.peer.netns.id() == netns)
    }

    /// Tells of a change that was made by other means than a request: sequence number and port id are 0.
    pub(crate) fn handle_event(&mut self, event: &Event) {
        let cpus = self.limits.cpus;
        match event {
            Event::DatapathAdded(datapath) => {
                self.announce(&family::DATAPATH, OVS_DP_CMD_NEW, datapath, dp_ifindex(datapath), |b| {
                    encode_datapath(datapath, cpus, b)
                });
            }
            Event::DatapathRemoved(datapath) => {
                self.announce(&family::DATAPATH, OVS_DP_CMD_DEL, datapath, 0, |b| {
                    encode_datapath(datapath, cpus, b)
                });
                let netns = datapath.netns().id();
                if self.switch.datapaths().iter().all(|other| other.netns().id() != netns) {
                    self.devices.forget(netns);
                }
            }
            Event::PortAdded { datapath, port } => {
                // Gone again already: nobody needs to hear that it was there.
                let Some(port) = port.upgrade() else { return };
                let seen = look(&mut *self.devices, datapath, &port);
                self.announce(&family::VPORT, OVS_VPORT_CMD_NEW, datapath, dp_ifindex(datapath), |b| {
                    encode_vport(datapath, &port, seen, b)
                });
            }
            Event::PortRemoved { last, .. } if last.is_silent => {}
            Event::PortRemoved { datapath, last, .. } => {
                self.announce(&family::VPORT, OVS_VPORT_CMD_DEL, datapath, dp_ifindex(datapath), |b| {
                    crate::describe::encode_removed(datapath, last, b)
                });
            }
            // The kernel says nothing of these: clients follow devices by rtnetlink.
            Event::PortChanged { .. } => {}
        }
    }

    fn announce(
        &mut self,
        family: &Family,
        cmd: u8,
        datapath: &Datapath,
        dp_ifindex: i32,
        fill: impl FnOnce(&mut AttrBuilder<'_>) -> Result<(), Error>,
    ) {
        let netns = datapath.netns().id();
        if !self.has_listeners(family, netns) {
            return;
        }
        let header = Header { kind: family.id, flags: 0, seq: 0, pid: 0 };
        let mut datagram = Datagram::new(MESSAGE_MAX);
        let done = datagram.genl(header, cmd, family.version, &ovs_header { dp_ifindex }, fill);
        match done {
            Ok(()) => self.multicast(family, netns, datagram.bytes(), None),
            Err(error) => {
                tracing::error!(family = family.name, "a notification could not be written: {error}");
            }
        }
    }
}
