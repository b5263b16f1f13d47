// SPDX-License-Identifier: Apache-2.0 OR MIT
//! News of devices in other namespaces: a socket in one namespace hears of all that this one has a number for, as it has for each that a
//! device of its own was moved to. Unlike a socket over there it does not keep that namespace alive.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::{Error, Netns};

/// RTMGRP_LINK, linux/rtnetlink.h.
const GROUP_LINK: u32 = 1;

/// Hears of changes, and not which: whoever needs to know looks.
pub(crate) struct Elsewhere(Socket);

impl Elsewhere {
    /// Listens in `netns`. Needs CAP_NET_BROADCAST.
    pub(crate) fn open(netns: &Netns) -> Result<Self, Error> {
        let call = |what| {
            move |error: io::Error| {
                let source = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                Error::Call { what, source }
            }
        };
        netns.run(|| {
            let mut socket = Socket::new(NETLINK_ROUTE).map_err(call("rtnetlink socket"))?;
            socket.set_listen_all_namespaces(true).map_err(call("NETLINK_LISTEN_ALL_NSID"))?;
            let address = SocketAddr::new(0, GROUP_LINK);
            socket.bind(&address).map_err(call("bind of an rtnetlink socket"))?;
            Ok(Self(socket))
        })?
    }

    /// Takes all that has come; an error is that the socket is of no use any more.
    pub(crate) fn drain(&self) -> Result<(), Error> {
        loop {
            // What does not fit is not needed either.
            match recv(&self.0, &mut [0_u8; 64][..], RecvFlags::DONTWAIT | RecvFlags::TRUNC) {
                Ok(_) | Err(Errno::INTR | Errno::NOBUFS) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(source) => return Err(Error::Call { what: "rtnetlink notification", source }),
            }
        }
    }
}

impl AsFd for Elsewhere {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
