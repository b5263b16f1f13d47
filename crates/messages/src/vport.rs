// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `ovs_vport`: requests and replies.

use portway_netlink::{AttrBuilder, Error, ExtAck, GenlMessage, Rejected};
use portway_uapi::openvswitch::*;

use crate::family::VPORT_RULES;
use crate::parse::{dp_ifindex, parse};

/// A request of any command.
#[derive(Clone, Debug, PartialEq)]
pub struct VportRequest<'a> {
    /// `dp_ifindex` of the header.
    pub dp_ifindex: i32,
    /// PORT_NO.
    pub port_no: Option<u32>,
    /// TYPE.
    pub port_type: Option<u32>,
    /// NAME.
    pub name: Option<&'a [u8]>,
    /// OPTIONS: the attributes inside.
    pub options: Option<&'a [u8]>,
    /// UPCALL_PID, as it came.
    pub upcall_pid: Option<&'a [u8]>,
    /// IFINDEX.
    pub ifindex: Option<u32>,
    /// What the kernel warns of.
    pub warning: Option<ExtAck>,
}

impl<'a> VportRequest<'a> {
    /// Reads a request.
    pub fn decode(message: &GenlMessage<'a>) -> Result<Self, Rejected> {
        let attrs = parse(&VPORT_RULES, message.attrs())?;
        Ok(Self {
            dp_ifindex: dp_ifindex(message),
            port_no: attrs.u32(OVS_VPORT_ATTR_PORT_NO),
            port_type: attrs.u32(OVS_VPORT_ATTR_TYPE),
            name: attrs.name(OVS_VPORT_ATTR_NAME),
            options: attrs.bytes(OVS_VPORT_ATTR_OPTIONS),
            upcall_pid: attrs.bytes(OVS_VPORT_ATTR_UPCALL_PID),
            ifindex: attrs.u32(OVS_VPORT_ATTR_IFINDEX),
            warning: attrs.warning(),
        })
    }
}

/// A port, described.
#[derive(Clone, Debug, PartialEq)]
pub struct VportReply<'a> {
    /// Number.
    pub port_no: u32,
    /// Type.
    pub port_type: u32,
    /// Name.
    pub name: &'a [u8],
    /// Interface index of its device.
    pub ifindex: u32,
    /// Id of the namespace that the device lives in, if that is another.
    pub netnsid: Option<i32>,
    /// Counts.
    pub stats: ovs_vport_stats,
    /// Upcall port ids.
    pub upcall_pids: &'a [u32],
    /// Options, if the type has any: attributes.
    pub options: Option<&'a [u8]>,
}

impl VportReply<'_> {
    /// Writes the attributes.
    pub fn encode(&self, b: &mut AttrBuilder<'_>) -> Result<(), Error> {
        b.put_u32(OVS_VPORT_ATTR_PORT_NO, self.port_no)?;
        b.put_u32(OVS_VPORT_ATTR_TYPE, self.port_type)?;
        b.put_parts(OVS_VPORT_ATTR_NAME, &[self.name, &[0]])?;
        b.put_u32(OVS_VPORT_ATTR_IFINDEX, self.ifindex)?;
        if let Some(id) = self.netnsid {
            b.put(OVS_VPORT_ATTR_NETNSID, &id.to_ne_bytes())?;
        }
        b.put_struct(OVS_VPORT_ATTR_STATS, &self.stats)?;
        b.put_struct(OVS_VPORT_ATTR_UPCALL_PID, self.upcall_pids)?;
        match self.options {
            Some(options) => b.put(OVS_VPORT_ATTR_OPTIONS, options),
            None => Ok(()),
        }
    }
}
