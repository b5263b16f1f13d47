// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Network devices, asked for by rtnetlink.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};

use crate::rtnl::{
    IFLA_EXT_MASK, IFLA_IFALIAS, IFLA_IFNAME, IFLA_INFO_KIND, IFLA_LINKINFO, NLM_F_ACK, NLM_F_DUMP,
    NLMSG_DONE, NLMSG_ERROR, RTM_DELLINK, RTM_GETLINK, RTM_NEWLINK, RTM_SETLINK, SKIP_STATS, error_of, link,
    messages, put, request,
};
use crate::{Error, Netns};

/// Bits of [`Link::flags`] (IFF_*, linux/if.h).
pub mod flags {
    /// Administratively up.
    pub const UP: u32 = 1;
    /// A loopback device.
    pub const LOOPBACK: u32 = 1 << 3;
    /// Operational, without link-layer trouble.
    pub const RUNNING: u32 = 1 << 6;
    /// The driver signals a carrier.
    pub const LOWER_UP: u32 = 1 << 16;
}

/// Values of [`Link::layer`] (ARPHRD_*, linux/if_arp.h).
pub mod layer {
    /// Ethernet.
    pub const ETHERNET: u16 = 1;
    /// No link-layer header: bare layer-3 packets.
    pub const NONE: u16 = 0xfffe;
}

/// Room for any datagram of answers (NLMSG_GOODSIZE is at most 32 KiB in dumps).
pub(crate) const DATAGRAM: usize = 64 << 10;

/// One device as rtnetlink shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Interface index, unique within the namespace.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Kind (`veth`, `tun`, `bridge`, ...); empty for hardware and the loopback.
    pub kind: String,
    /// Kind of link layer, see [`layer`].
    pub layer: u16,
    /// IFF_* bits, see [`flags`].
    pub flags: u32,
    /// Largest layer-3 packet in bytes.
    pub mtu: u32,
    /// Ethernet address; zeros: none.
    pub mac: [u8; 6],
    /// Index of the device that this one is enslaved to.
    pub master: Option<u32>,
    /// Index of the device below or at the other end, if that is in the same namespace.
    pub lower: Option<u32>,
    /// Alias; empty: none.
    pub alias: String,
    /// Whether the driver has a carrier, also while the device is down: a TAP has one while a program has it open.
    pub carrier: bool,
    /// In a notification that the device has gone: it went to another namespace and lives on there.
    pub moved: bool,
}

impl Link {
    /// Whether the device is up and has a carrier.
    pub fn is_up(&self) -> bool {
        self.flags & flags::UP != 0 && self.flags & (flags::RUNNING | flags::LOWER_UP) != 0
    }
}

/// An rtnetlink socket for questions about devices.
#[derive(Debug)]
pub struct Links {
    socket: OwnedFd,
    sequence: u32,
}

impl Links {
    /// Opens a socket in the calling thread's namespace.
    pub fn open() -> Result<Self, Error> {
        Ok(Self { socket: open_socket(0)?, sequence: 0 })
    }

    /// Opens a socket in a namespace.
    pub fn open_in(namespace: &Netns) -> Result<Self, Error> {
        namespace.run(Self::open)?
    }

    /// The device of that name.
    pub fn by_name(&mut self, name: &str) -> Result<Link, Error> {
        let mut attributes = with_skip_stats();
        put(&mut attributes, IFLA_IFNAME, &[name.as_bytes(), &[0]].concat());
        self.one(0, &attributes).map_err(|error| no_device(error, || name.to_owned()))
    }

    /// The device with that index.
    pub fn by_index(&mut self, index: u32) -> Result<Link, Error> {
        self.one(index, &with_skip_stats())
            .map_err(|error| no_device(error, || format!("with index {index}")))
    }

    /// All devices of the namespace.
    pub fn list(&mut self) -> Result<Vec<Link>, Error> {
        let mut links = Vec::new();
        self.ask(RTM_GETLINK, NLM_F_DUMP, 0, &with_skip_stats(), |link| {
            links.push(link);
            ControlFlow::Continue(())
        })?;
        Ok(links)
    }

    /// Whether a device of that kind stands on the device with index `lower`. Uses the socket up: where the kernel does not know
    /// the kind it lists every device, and the rest of that list is not waited for.
    pub fn is_below_kind(mut self, lower: u32, kind: &str) -> Result<bool, Error> {
        let (mut attributes, mut info) = (with_skip_stats(), Vec::new());
        put(&mut info, IFLA_INFO_KIND, &[kind.as_bytes(), &[0]].concat());
        put(&mut attributes, IFLA_LINKINFO, &info);
        let mut found = false;
        self.ask(RTM_GETLINK, NLM_F_DUMP, 0, &attributes, |link| {
            found |= link.kind == kind && link.lower == Some(lower);
            if found || link.kind != kind { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(found)
    }

    /// Sets a device's alias, a text for people and programs.
    pub fn set_alias(&mut self, index: u32, alias: &str) -> Result<(), Error> {
        let mut attributes = Vec::new();
        put(&mut attributes, IFLA_IFALIAS, alias.as_bytes());
        self.ask(RTM_SETLINK, NLM_F_ACK, index, &attributes, |_| ControlFlow::Continue(()))
    }

    /// Brings a device up.
    pub fn set_up(&mut self, index: u32) -> Result<(), Error> {
        self.change(index, flags::UP, flags::UP, &[])
    }

    /// Deletes a device.
    pub fn delete(&mut self, index: u32) -> Result<(), Error> {
        self.ask(RTM_DELLINK, NLM_F_ACK, index, &[], |_| ControlFlow::Continue(()))
    }

    /// Changes a device as RTM_SETLINK does it: sets those `flags` that are in `change`, and what `attributes` say (IFLA_*).
    pub fn change(&mut self, index: u32, flags: u32, change: u32, attributes: &[u8]) -> Result<(), Error> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut bytes = request(RTM_SETLINK, NLM_F_ACK, self.sequence, index, attributes);
        // The flags and which of them to change: the last two words of struct ifinfomsg.
        let end = bytes.len() - attributes.len();
        bytes[end - 8..end - 4].copy_from_slice(&flags.to_ne_bytes());
        bytes[end - 4..end].copy_from_slice(&change.to_ne_bytes());
        self.exchange(&bytes, |_| ControlFlow::Continue(()))
    }

    fn one(&mut self, index: u32, attributes: &[u8]) -> Result<Link, Error> {
        let mut found = None;
        self.ask(RTM_GETLINK, NLM_F_ACK, index, attributes, |link| {
            found = Some(link);
            ControlFlow::Continue(())
        })?;
        found.ok_or(Error::Malformed)
    }

    /// Sends a request and gives the links of the answer to `each`, up to its end or until that breaks off.
    fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        index: u32,
        attributes: &[u8],
        each: impl FnMut(Link) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = request(kind, flags, self.sequence, index, attributes);
        self.exchange(&bytes, each)
    }

    fn exchange(&self, bytes: &[u8], mut each: impl FnMut(Link) -> ControlFlow<()>) -> Result<(), Error> {
        send(&self.socket, bytes, SendFlags::empty()).map_err(Error::call("rtnetlink request"))?;
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let (length, _) = recv(&self.socket, &mut buffer[..], RecvFlags::empty())
                .map_err(Error::call("rtnetlink answer"))?;
            for message in messages(&buffer[..length]).filter(|message| message.sequence == self.sequence) {
                match message.kind {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => return error_of(&message)?.map_or(Ok(()), |errno| Err(refused(errno))),
                    RTM_NEWLINK if link(&message).is_some_and(|link| each(link).is_break()) => return Ok(()),
                    _ => {}
                }
            }
        }
    }
}

fn refused(errno: i32) -> Error {
    Error::Call { what: "rtnetlink", source: Errno::from_raw_os_error(errno) }
}

impl AsFd for Links {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// An rtnetlink socket in the calling thread's namespace that listens to `groups` (RTMGRP_*).
pub(crate) fn open_socket(groups: u32) -> Result<OwnedFd, Error> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
        .map_err(Error::call("rtnetlink socket"))?;
    bind(&socket, &SocketAddrNetlink::new(0, groups)).map_err(Error::call("bind of an rtnetlink socket"))?;
    Ok(socket)
}

fn with_skip_stats() -> Vec<u8> {
    let mut attributes = Vec::new();
    put(&mut attributes, IFLA_EXT_MASK, &SKIP_STATS.to_ne_bytes());
    attributes
}

fn no_device(error: Error, name: impl FnOnce() -> String) -> Error {
    if matches!(error, Error::Call { source: Errno::NODEV, .. }) { Error::NoDevice(name()) } else { error }
}
