// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `ovs_packet`: packets to execute, and upcalls.

use portway_netlink::{Attr, ExtAck, GenlMessage, Rejected};
use portway_uapi::openvswitch::*;

use crate::family::EXECUTE_RULES;
use crate::parse::{dp_ifindex, parse};

/// OVS_PACKET_CMD_EXECUTE.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecuteRequest<'a> {
    /// `dp_ifindex` of the header.
    pub dp_ifindex: i32,
    /// PACKET: the frame.
    pub packet: Option<&'a [u8]>,
    /// KEY: metadata that goes with the frame.
    pub key: Option<Attr<'a>>,
    /// ACTIONS.
    pub actions: Option<Attr<'a>>,
    /// PROBE: nothing is to be logged.
    pub probe: bool,
    /// MRU: the largest fragment of a reassembled packet.
    pub mru: Option<u16>,
    /// HASH.
    pub hash: Option<u64>,
    /// UPCALL_PID: who is told of everything that the packet leads to; 0: as the datapath says.
    pub upcall_pid: u32,
    /// What the kernel warns of.
    pub warning: Option<ExtAck>,
}

impl<'a> ExecuteRequest<'a> {
    /// Reads a request.
    pub fn decode(message: &GenlMessage<'a>) -> Result<Self, Rejected> {
        let attrs = parse(&EXECUTE_RULES, message.attrs())?;
        Ok(Self {
            dp_ifindex: dp_ifindex(message),
            packet: attrs.bytes(OVS_PACKET_ATTR_PACKET),
            key: attrs.get(OVS_PACKET_ATTR_KEY),
            actions: attrs.get(OVS_PACKET_ATTR_ACTIONS),
            probe: attrs.has(OVS_PACKET_ATTR_PROBE),
            mru: attrs.get(OVS_PACKET_ATTR_MRU).and_then(|attr| attr.u16().ok()),
            hash: attrs.get(OVS_PACKET_ATTR_HASH).and_then(|attr| attr.u64().ok()),
            upcall_pid: attrs.u32(OVS_PACKET_ATTR_UPCALL_PID).unwrap_or(0),
            warning: attrs.warning(),
        })
    }
}
