// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One netlink socket: its two connections.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use portway_control::{ClientId, Peer};
use portway_netlink_socket::{Answer, HELLO_LEN, Hello};
use rustix::io::{Errno, IoSliceMut};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recv, recvmsg, send};

/// A request may have this many bytes; a longer one is cut, as a netlink socket's buffer would not take it.
const REQUEST_MAX: usize = 1 << 20;

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) data: OwnedFd,
    /// Once the client has said hello: who it is, and our end of the control connection.
    pub(crate) open: Option<(Who, OwnedFd)>,
    /// Waiting until `data` takes more.
    pub(crate) blocked: bool,
    /// What waits for it may be sent as one.
    pub(crate) takes_bundles: bool,
}

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(crate) enum Who {
    /// A client of the families, with its number.
    Client(ClientId),
    /// One that asks for tunnel devices.
    Links(Peer),
}

/// What came from a connection.
#[derive(Debug)]
pub(crate) enum Came {
    /// A datagram.
    Datagram(usize),
    /// Nothing, for now.
    Nothing,
    /// The end.
    End,
}

/// Receives one datagram into `buffer`.
pub(crate) fn receive(socket: &OwnedFd, buffer: &mut Vec<u8>) -> Came {
    buffer.resize(REQUEST_MAX, 0);
    match recv(socket, &mut buffer[..], RecvFlags::DONTWAIT) {
        Ok((_, 0)) => Came::End,
        Ok((_, len)) => Came::Datagram(len),
        Err(Errno::AGAIN | Errno::INTR) => Came::Nothing,
        Err(_) => Came::End,
    }
}

/// Receives a hello with its two file descriptors: the namespace, and our end of the control connection.
pub(crate) fn receive_hello(socket: &OwnedFd) -> Option<(Hello, OwnedFd, OwnedFd)> {
    let mut bytes = [0; HELLO_LEN];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags).ok()?;
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    let hello = Hello::decode(&bytes[..received.bytes])?;
    let [netns, control] = <[OwnedFd; 2]>::try_from(fds).ok()?;
    Some((hello, netns, control))
}

/// Answers on the control connection. A client that does not read its answers has lost its turn: `false`.
pub(crate) fn answer(control: &OwnedFd, errno: u32, value: u32) -> bool {
    send(control, &Answer { errno, value }.encode(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL).is_ok()
}
