// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Messages about devices (`NETLINK_ROUTE`): which ones are about the tunnel devices of Open vSwitch, and how they are changed.
//!
//! Changes keep a request's length, and what is received never grows.

use portway_netlink_socket::{TUNNEL_ALIAS, TunnelDevice, TunnelKind, is_tunnel_name};

use crate::message::{HEADER, Message, NLMSG_ERROR, attributes, is_dump, messages, text, u16_at, u32_at};

const NLM_F_CREATE: u16 = 0x400;
/// NLM_F_REPLACE, NLM_F_EXCL and NLM_F_CREATE.
const NLM_F_NEW: u16 = 0x100 | 0x200 | NLM_F_CREATE;
/// Of an error: the request's payload is left out; attributes follow.
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const IFINFOMSG: usize = 16;
/// Where IFF_* to set, and which of them, are in a request.
const FLAGS: std::ops::Range<usize> = HEADER + 8..HEADER + IFINFOMSG;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_INFO_KIND: u16 = 1;
/// A type of attribute that no kernel knows, and that every kernel passes over.
const NOTHING: u16 = 0x3fff;

/// The kind by which programs that know another way find out whether the out-of-tree tunnel modules are there.
const PROBE_KIND: &[u8] = b"ovs_geneve";
/// The device that cannot be deleted; its name is shorter than that of any tunnel device.
const LOOPBACK: &[u8] = b"lo";

/// What a request wants of a tunnel device of Open vSwitch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Nothing: it is about something else.
    Nothing,
    /// To know whether the out-of-tree modules are there.
    Probe,
    /// To make one; whether it is of a kind that portwayd has.
    Make(bool),
    /// To know of a Geneve device.
    Geneve,
    /// To delete the one of that name.
    Delete(Vec<u8>),
}

/// What a request wants.
pub(crate) fn wanted(message: &Message<'_>) -> Wanted {
    let name = || attribute(message, IFLA_IFNAME).map(|range| text(&message.bytes[range]));
    let is_tunnel = |name: &&[u8]| is_tunnel_name(name);
    match message.kind {
        RTM_NEWLINK if message.flags & NLM_F_CREATE != 0 => {
            let Some(kind) = kind(message) else { return Wanted::Nothing };
            let kind = text(&message.bytes[kind]);
            match (kind == PROBE_KIND, name().filter(is_tunnel)) {
                (true, _) => Wanted::Probe,
                (false, Some(_)) => Wanted::Make(TunnelKind::from_name(kind).is_some()),
                (false, None) => Wanted::Nothing,
            }
        }
        RTM_GETLINK if !is_dump(message.kind, message.flags) => match name() {
            Some(name) if TunnelKind::of_device(name) == Some(TunnelKind::Geneve) => Wanted::Geneve,
            Some(_) | None => Wanted::Nothing,
        },
        RTM_DELLINK => name().filter(is_tunnel).map_or(Wanted::Nothing, |name| Wanted::Delete(name.to_vec())),
        _ => Wanted::Nothing,
    }
}

/// Where an attribute's payload is.
fn attribute(message: &Message<'_>, wanted: u16) -> Option<std::ops::Range<usize>> {
    attributes(message.bytes, HEADER + IFINFOMSG).find(|(kind, _)| *kind == wanted).map(|(_, range)| range)
}

/// Where the kind is in a request to make a device; not empty.
fn kind(message: &Message<'_>) -> Option<std::ops::Range<usize>> {
    let info = attribute(message, IFLA_LINKINFO)?;
    let mut inside = attributes(&message.bytes[..info.end], info.start);
    inside.find(|(kind, range)| *kind == IFLA_INFO_KIND && !range.is_empty()).map(|(_, range)| range)
}

/// The request with a kind that no kernel knows: its answer is EOPNOTSUPP.
pub(crate) fn of_no_kind(message: &Message<'_>) -> Vec<u8> {
    spoiled(message, kind(message))
}

/// The question with a name that nobody has: ENODEV.
pub(crate) fn of_no_name(message: &Message<'_>) -> Vec<u8> {
    spoiled(message, attribute(message, IFLA_IFNAME))
}

fn spoiled(message: &Message<'_>, place: Option<std::ops::Range<usize>>) -> Vec<u8> {
    let mut bytes = message.bytes.to_vec();
    if let Some(first) = place.and_then(|place| bytes.get_mut(place.start)) {
        *first = b'!';
    }
    bytes
}

/// The deletion made one of the loopback device, which nobody can delete: EOPNOTSUPP.
pub(crate) fn of_the_loopback(message: &Message<'_>) -> Vec<u8> {
    let mut bytes = message.bytes.to_vec();
    if let Some(name) = attribute(message, IFLA_IFNAME).and_then(|place| bytes.get_mut(place)) {
        name.fill(0);
        name[..LOOPBACK.len()].copy_from_slice(LOOPBACK);
    }
    bytes
}

/// The request for a device that portwayd has made: it changes nothing about the device of that name, which the kernel acknowledges if that
/// is wanted.
pub(crate) fn done(message: &Message<'_>) -> Vec<u8> {
    let mut bytes = message.bytes.to_vec();
    bytes[6..8].copy_from_slice(&(message.flags & !NLM_F_NEW).to_ne_bytes());
    if let Some(flags) = bytes.get_mut(FLAGS) {
        flags.fill(0);
    }
    for (kind, payload) in attributes(message.bytes, HEADER + IFINFOMSG) {
        if kind != IFLA_IFNAME {
            bytes[payload.start - 2..payload.start].copy_from_slice(&NOTHING.to_ne_bytes());
        }
    }
    bytes
}

/// The sequence number of a request, or of the request that an answer is to.
pub(crate) fn sequence(message: &Message<'_>) -> u32 {
    u32_at(message.bytes, 8).unwrap_or_default()
}

/// The kernel's refusal of a spoiled request as one of `request`, with another errno if there is one; `None`: it is none.
pub(crate) fn refusal(message: &Message<'_>, errno: Option<i32>, request: &[u8]) -> Option<Vec<u8>> {
    let kernels = u32_at(message.bytes, HEADER)?.cast_signed();
    if message.kind != NLMSG_ERROR || kernels == 0 {
        return None;
    }
    let echo = if message.flags & NLM_F_CAPPED != 0 { request.get(..HEADER)? } else { request };
    let mut bytes = message.bytes.get(..HEADER)?.to_vec();
    bytes[..4].copy_from_slice(&((HEADER + 4 + echo.len()) as u32).to_ne_bytes());
    bytes[6..8].copy_from_slice(&(message.flags & !NLM_F_ACK_TLVS).to_ne_bytes());
    bytes.extend(errno.map_or(kernels, |errno| -errno).to_ne_bytes());
    bytes.extend(echo);
    Some(bytes)
}

/// Whether there may be something about a tunnel device in a datagram.
pub(crate) fn may_be_tunnel(datagram: &[u8]) -> bool {
    let mark = TUNNEL_ALIAS.as_bytes();
    matches!(u16_at(datagram, 4), Some(RTM_NEWLINK | RTM_DELLINK))
        && datagram.windows(mark.len()).any(|window| window == mark)
}

/// What the kernel says of the TAP that stands for a tunnel device, as it would say it of the device itself; `None`: it is about another.
pub(crate) fn as_tunnel(message: &Message<'_>) -> Option<Vec<u8>> {
    if !matches!(message.kind, RTM_NEWLINK | RTM_DELLINK) {
        return None;
    }
    let device = TunnelDevice::from_alias(text(&message.bytes[attribute(message, IFLA_IFALIAS)?]))?;
    attribute(message, IFLA_LINKINFO)?;
    let mut bytes = message.bytes.get(..HEADER + IFINFOMSG)?.to_vec();
    for (kind, payload) in attributes(message.bytes, HEADER + IFINFOMSG) {
        let info = (kind == IFLA_LINKINFO).then(|| device.link_info());
        if kind != IFLA_IFALIAS {
            let value = info.as_deref().unwrap_or(&message.bytes[payload.clone()]);
            bytes.extend(((4 + value.len()) as u16).to_ne_bytes());
            bytes.extend(&message.bytes[payload.start - 2..payload.start]);
            bytes.extend(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
    }
    let len = (bytes.len() as u32).to_ne_bytes();
    bytes[..4].copy_from_slice(&len);
    (bytes.len() <= message.bytes.len()).then_some(bytes)
}

/// A datagram of which each message is replaced by what `replace` makes of it; `None`: none is.
pub(crate) fn replaced(
    datagram: &[u8],
    mut replace: impl FnMut(&Message<'_>) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let (mut out, mut is_changed) = (Vec::with_capacity(datagram.len()), false);
    for message in messages(datagram) {
        match replace(&message) {
            Some(other) => {
                is_changed = true;
                out.extend(other);
            }
            None => out.extend(message.bytes),
        }
        out.resize(out.len().next_multiple_of(4), 0);
    }
    (is_changed && out.len() <= datagram.len().next_multiple_of(4)).then(|| {
        out.truncate(datagram.len());
        out
    })
}

#[cfg(test)]
mod tests;
