// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One netlink socket: its two connections.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use portway_control::{ClientId, Peer};
use portway_netlink_socket::{Answer, HELLO_LEN, Hello, group_mark};
use portway_vport::Outlet;
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recv, recvmsg, send, sendmsg, sockopt,
};

/// The least room that a client has: a message of any length that is sent fits into it.
const ROOM_MIN: usize = 512 << 10;
/// The most: what stock clients get, who ask for 4 MiB.
const ROOM_MAX: usize = 8 << 20;
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
    /// Whether the client wants to be told for which groups datagrams were made.
    pub(crate) tells_groups: bool,
    /// What it was told last and no datagram has followed.
    pub(crate) marked: u32,
}

impl Connection {
    pub(crate) fn new(data: OwnedFd) -> Self {
        let connection =
            Self { data, open: None, blocked: false, takes_bundles: false, tells_groups: false, marked: 0 };
        // As much as a netlink socket that does not ask for more.
        let default = sockopt::socket_recv_buffer_size(&connection.data).unwrap_or(ROOM_MIN);
        connection.set_room(default);
        connection
    }

    /// Room for the client, counted as the kernel counts SO_RCVBUF and SO_SNDBUF.
    pub(crate) fn set_room(&self, bytes: usize) {
        // The kernel doubles what it is told.
        let bytes = bytes.clamp(ROOM_MIN, ROOM_MAX) / 2;
        if sockopt::set_socket_send_buffer_size_force(&self.data, bytes).is_err() {
            let _ = sockopt::set_socket_send_buffer_size(&self.data, bytes);
        }
    }

    /// Gives the client a datagram, made for a group or for none.
    pub(crate) fn give(&mut self, bytes: &[u8], group: u32) -> Result<(), Errno> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        if self.tells_groups && group != self.marked {
            send(&self.data, &group_mark(group), flags)?;
            self.marked = group;
        }
        send(&self.data, bytes, flags)?;
        self.marked = 0;
        Ok(())
    }

    /// Makes the data connection readable.
    pub(crate) fn wake(&mut self) {
        // One that has no room can be read, which is what is wanted.
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        if send(&self.data, &group_mark(0), flags).is_ok() {
            self.marked = 0;
        }
    }
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

/// What a client says first, with the file descriptors that it passes.
pub(crate) struct Greeting {
    pub(crate) hello: Hello,
    pub(crate) netns: OwnedFd,
    pub(crate) control: OwnedFd,
    pub(crate) proof: OwnedFd,
}

/// Receives a hello; `None`: it is none, or something is missing.
pub(crate) fn receive_hello(socket: &OwnedFd) -> Option<Greeting> {
    let mut bytes = [0; HELLO_LEN];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
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
    let [netns, control, proof] = <[OwnedFd; 3]>::try_from(fds).ok()?;
    Some(Greeting { hello, netns, control, proof })
}

/// Answers on the control connection. A client that does not read its answers has lost its turn: `false`.
pub(crate) fn answer(control: &OwnedFd, errno: u32, value: u32) -> bool {
    send(control, &Answer { errno, value }.encode(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL).is_ok()
}

/// Answers with an outlet's file descriptors.
pub(crate) fn answer_with_outlet(control: &OwnedFd, outlet: &Outlet) -> bool {
    let fds = [outlet.socket.as_fd(), outlet.counters.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    let bytes = Answer { errno: 0, value: 0 }.encode();
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    sendmsg(control, &[IoSlice::new(&bytes)], &mut ancillary, flags).is_ok()
}
