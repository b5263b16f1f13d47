// SPDX-License-Identifier: Apache-2.0 OR MIT
//! OVS_PACKET_CMD_EXECUTE with one output, in the thread that asks for it, as in the kernel: such packets are sent through the port's
//! outlet (`outlet.rs`) instead of being carried to portwayd first. They are the first packets of new flows, the bulk of what
//! `ovs-vswitchd` sends.
//!
//! Here is decided which those are: only requests whose outcome cannot be anything but that frame, unchanged, out of that port. Whatever
//! is unusual (more attributes, other metadata, VLAN tags, a wish for an acknowledgement) is portwayd's, and so is all that comes
//! with it in one datagram.

use portway_netlink_socket::{FLOW_FAMILY, PACKET_FAMILY};
use portway_uapi::netlink::{NLA_F_NESTED, NLM_F_REQUEST};
use portway_uapi::openvswitch::*;

use crate::message::{self, HEADER, Message, u16_at, u32_at};

/// struct genlmsghdr and struct ovs_header.
const FAMILY_HEADER: usize = 4 + 4;

/// Bytes of an Ethernet header, and where its type is.
const ETHERNET_HEADER: usize = 14;
const ETHERTYPE: usize = 12;
/// Frames of these types are sent as they are; others may have tags or headers that decide more.
const ETHERTYPES: [[u8; 2]; 3] = [[0x08, 0x00], [0x86, 0xdd], [0x08, 0x06]];

/// A packet that is to be sent out of one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Execute<'a> {
    /// The datapath, as in `ovs_header`.
    pub(crate) dp_ifindex: u32,
    pub(crate) port_no: u32,
    pub(crate) frame: &'a [u8],
    /// The whole request, in case that it cannot be sent.
    pub(crate) request: &'a [u8],
}

/// What a datagram of requests consists of.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts<'a> {
    pub(crate) executes: Vec<Execute<'a>>,
    /// The requests about flows.
    pub(crate) rest: Vec<u8>,
}

impl<'a> Parts<'a> {
    /// Takes a datagram apart; `None`: there is no packet in it, or something that is portwayd's to look at.
    pub(crate) fn of(datagram: &'a [u8]) -> Option<Self> {
        if !message::messages(datagram).any(|message| message.kind == PACKET_FAMILY) {
            return None;
        }
        let mut parts = Self::default();
        let mut len = 0;
        for message in message::messages(datagram) {
            match message.kind {
                PACKET_FAMILY => parts.executes.push(execute(&message)?),
                FLOW_FAMILY if !message::is_dump(message.kind, message.flags) => {
                    append(&mut parts.rest, message.bytes);
                }
                _ => return None,
            }
            len += message.bytes.len().next_multiple_of(4);
        }
        // What is behind the last whole message is portwayd's to judge.
        (!parts.executes.is_empty() && len == datagram.len().next_multiple_of(4)).then_some(parts)
    }
}

/// Adds a message to others.
pub(crate) fn append(datagram: &mut Vec<u8>, message: &[u8]) {
    datagram.extend_from_slice(message);
    datagram.resize(datagram.len().next_multiple_of(4), 0);
}

fn execute<'a>(message: &Message<'a>) -> Option<Execute<'a>> {
    let bytes = message.bytes;
    if message.flags != NLM_F_REQUEST || *bytes.get(HEADER)? != OVS_PACKET_CMD_EXECUTE {
        return None;
    }
    let dp_ifindex = u32_at(bytes, HEADER + 4)?;
    let (mut frame, mut key, mut actions, mut hash) = (None, None, None, None);
    each_attribute(bytes.get(HEADER + FAMILY_HEADER..)?, |kind, payload| {
        let place = match kind {
            OVS_PACKET_ATTR_PACKET => &mut frame,
            OVS_PACKET_ATTR_KEY => &mut key,
            OVS_PACKET_ATTR_ACTIONS => &mut actions,
            // Of no meaning for an output.
            OVS_PACKET_ATTR_HASH if payload.len() == 8 => &mut hash,
            _ => return None,
        };
        place.replace(payload).is_none().then_some(())
    })?;
    let frame: &[u8] = frame?;
    let ethertype = frame.get(ETHERTYPE..ETHERNET_HEADER)?;
    let is_plain = ETHERTYPES.iter().any(|plain| plain == ethertype) && is_without_metadata(key?)?;
    let port_no = only_output(actions?)?;
    is_plain.then_some(Execute { dp_ifindex, port_no, frame, request: bytes })
}

/// Whether the packet's metadata is nothing but its input port.
fn is_without_metadata(key: &[u8]) -> Option<bool> {
    let (mut seen, mut plain) = (0_u64, true);
    each_attribute(key, |kind, payload| {
        let (len, is_any) = match kind {
            OVS_KEY_ATTR_IN_PORT => (4, u32_at(payload, 0)? < DP_MAX_PORTS),
            OVS_KEY_ATTR_DP_HASH | OVS_KEY_ATTR_RECIRC_ID => (4, true),
            OVS_KEY_ATTR_PRIORITY | OVS_KEY_ATTR_SKB_MARK | OVS_KEY_ATTR_CT_STATE | OVS_KEY_ATTR_CT_MARK => {
                (4, false)
            }
            OVS_KEY_ATTR_CT_ZONE => (2, false),
            OVS_KEY_ATTR_CT_LABELS => (16, false),
            _ => return None,
        };
        plain &= payload.len() == len && seen & 1 << kind == 0;
        plain &= is_any || (kind != OVS_KEY_ATTR_IN_PORT && payload.iter().all(|byte| *byte == 0));
        seen |= 1 << kind;
        Some(())
    })?;
    Some(plain && seen & 1 << OVS_KEY_ATTR_IN_PORT != 0)
}

/// The port of the only action.
fn only_output(actions: &[u8]) -> Option<u32> {
    let mut port = None;
    each_attribute(actions, |kind, payload| {
        let is_output = kind == OVS_ACTION_ATTR_OUTPUT && payload.len() == 4;
        let number = u32_at(payload, 0).filter(|_| is_output)?;
        port.replace(number).is_none().then_some(())
    })?;
    port.filter(|port| *port < DP_MAX_PORTS)
}

/// Gives each attribute to `take`; `None`: it wants no more of them, or they are not what netlink attributes are.
fn each_attribute<'a>(bytes: &'a [u8], mut take: impl FnMut(u16, &'a [u8]) -> Option<()>) -> Option<()> {
    let mut at = 0;
    while at < bytes.len() {
        let len = usize::from(u16_at(bytes, at)?);
        // NLA_F_NESTED says nothing new; with NLA_F_NET_BYTEORDER it is none that is known.
        let kind = u16_at(bytes, at + 2)? & !NLA_F_NESTED;
        take(kind, bytes.get(at..at + len)?.get(4..)?)?;
        at += len.next_multiple_of(4);
    }
    Some(())
}

#[cfg(test)]
mod tests;
