// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The bytes of rtnetlink: requests about links and what the answers and notifications say.
//!
//! Attributes are read one by one, and those that are not needed are not looked at: a newer kernel's message may hold
//! anything and must still be followed. (That is why `netlink-packet-route`, which refuses a whole message for one
//! attribute that it does not understand, is not used.)

use netlink_packet_core::{NetlinkBuffer, NlaBuffer, NlasIterator};

use crate::Error;
use crate::link::Link;

pub(crate) const NLMSG_ERROR: u16 = 2;
pub(crate) const NLMSG_DONE: u16 = 3;
pub(crate) const RTM_NEWLINK: u16 = 16;
pub(crate) const RTM_DELLINK: u16 = 17;
pub(crate) const RTM_GETLINK: u16 = 18;
pub(crate) const RTM_SETLINK: u16 = 19;

pub(crate) const NLM_F_REQUEST: u16 = 1;
pub(crate) const NLM_F_ACK: u16 = 4;
pub(crate) const NLM_F_DUMP: u16 = 0x300;

pub(crate) const IFLA_ADDRESS: u16 = 1;
pub(crate) const IFLA_IFNAME: u16 = 3;
pub(crate) const IFLA_MTU: u16 = 4;
pub(crate) const IFLA_LINK: u16 = 5;
pub(crate) const IFLA_MASTER: u16 = 10;
pub(crate) const IFLA_LINKINFO: u16 = 18;
pub(crate) const IFLA_IFALIAS: u16 = 20;
const IFLA_CARRIER: u16 = 33;
pub(crate) const IFLA_EXT_MASK: u16 = 29;
pub(crate) const IFLA_LINK_NETNSID: u16 = 37;
pub(crate) const IFLA_NEW_NETNSID: u16 = 45;
pub(crate) const IFLA_INFO_KIND: u16 = 1;
/// RTEXT_FILTER_SKIP_STATS: statistics are three quarters of an answer and nobody reads them here.
pub(crate) const SKIP_STATS: u32 = 8;

const HEADER: usize = 16;
const IFINFO: usize = 16;

/// One message with its header taken apart.
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) sequence: u32,
    pub(crate) payload: &'a [u8],
}

/// The messages in a datagram; stops at the first that is damaged.
pub(crate) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let buffer = NetlinkBuffer::new_checked(datagram).ok()?;
        let length = buffer.length() as usize;
        let payload = datagram.get(HEADER..length)?;
        let message = Message { kind: buffer.message_type(), sequence: buffer.sequence_number(), payload };
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// What an NLMSG_ERROR says; `None`: an acknowledgement.
pub(crate) fn error_of(message: &Message<'_>) -> Result<Option<i32>, Error> {
    let code =
        message.payload.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes)).ok_or(Error::Malformed)?;
    Ok((code != 0).then_some(code.saturating_neg()))
}

/// A request about one link (index 0: none named) with attributes.
pub(crate) fn request(kind: u16, flags: u16, sequence: u32, index: u32, attributes: &[u8]) -> Vec<u8> {
    let length = (HEADER + IFINFO + attributes.len()) as u32;
    let mut bytes = Vec::with_capacity(length as usize);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((flags | NLM_F_REQUEST).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend([0; 4]);
    bytes.extend(index.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(attributes);
    bytes
}

/// Appends an attribute.
pub(crate) fn put(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend(((4 + value.len()) as u16).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

fn attributes(bytes: &[u8]) -> impl Iterator<Item = NlaBuffer<&[u8]>> {
    NlasIterator::new(bytes).map_while(Result::ok)
}

fn text(value: &[u8]) -> String {
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

fn number(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// A link as RTM_NEWLINK or RTM_DELLINK describes it; `None` for messages of other address families (a bridge's view of
/// its ports comes to the same group) and for damaged ones.
pub(crate) fn link(message: &Message<'_>) -> Option<Link> {
    let header = message.payload.get(..IFINFO)?;
    if header[0] != 0 {
        return None;
    }
    let mut link = Link {
        index: number(&header[4..])?,
        layer: u16::from_ne_bytes([header[2], header[3]]),
        flags: number(&header[8..])?,
        ..Link::default()
    };
    let mut lower_elsewhere = false;
    for attribute in attributes(&message.payload[IFINFO..]) {
        lower_elsewhere |= attribute.kind() == IFLA_LINK_NETNSID;
        read(&mut link, attribute.kind(), attribute.value());
    }
    link.lower = link.lower.filter(|_| !lower_elsewhere);
    (!link.name.is_empty()).then_some(link)
}

fn read(link: &mut Link, kind: u16, value: &[u8]) {
    match kind {
        IFLA_ADDRESS => {
            link.mac = value.first_chunk().copied().filter(|_| value.len() == 6).unwrap_or_default();
        }
        IFLA_IFNAME => link.name = text(value),
        IFLA_MTU => link.mtu = number(value).unwrap_or_default(),
        IFLA_LINK => link.lower = number(value),
        IFLA_MASTER => link.master = number(value).filter(|&index| index != 0),
        IFLA_IFALIAS => link.alias = text(value),
        IFLA_CARRIER => link.carrier = value.first() == Some(&1),
        IFLA_NEW_NETNSID => link.moved = true,
        IFLA_LINKINFO => {
            let kinds = attributes(value).filter(|attribute| attribute.kind() == IFLA_INFO_KIND);
            link.kind = kinds.last().map(|attribute| text(attribute.value())).unwrap_or_default();
        }
        _ => {}
    }
}
