// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The client's side of a netlink socket.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, IoSlice};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, connect, recv, send, sendmsg, socket_with, socketpair,
};

use crate::proof::make_proof_in;
use crate::protocol::{Answer, Command, Hello, OVERRUN};

/// What can go wrong at a client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system says no.
    #[error("{what}: {source}")]
    Io {
        /// Doing what.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// portwayd refused.
    #[error("refused: errno {0}")]
    Refused(u32),
    /// Messages were lost on the way here: ENOBUFS.
    #[error("messages were lost")]
    Overrun,
    /// The connection is closed.
    #[error("the connection is closed")]
    Closed,
}

fn io_error(what: &'static str) -> impl Fn(Errno) -> Error {
    move |errno| Error::Io { what, source: errno.into() }
}

/// A netlink socket to portwayd.
#[derive(Debug)]
pub struct NetlinkSocket {
    data: OwnedFd,
    control: OwnedFd,
    port_id: u32,
    /// Something was lost that the owner has not been told of.
    lost: AtomicBool,
}

impl NetlinkSocket {
    /// Opens one: `netns` is the namespace that requests act in, `port_id` the one wanted, 0 for any. What it
    /// may do there is what the calling thread may do there now.
    pub fn open(path: &Path, netns: BorrowedFd<'_>, protocol: u32, port_id: u32) -> Result<Self, Error> {
        let flags = SocketFlags::CLOEXEC;
        let data = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(io_error("socket"))?;
        let address = SocketAddrUnix::new(path).map_err(io_error("socket path"))?;
        connect(&data, &address).map_err(io_error("connect"))?;
        let (control, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(io_error("socket pair"))?;
        let proof = make_proof_in(netns).map_err(io_error("proof"))?;
        let fds = [netns, theirs.as_fd(), proof.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
        let hello = Hello { protocol, port_id }.encode();
        sendmsg(&data, &[IoSlice::new(&hello)], &mut ancillary, SendFlags::NOSIGNAL)
            .map_err(io_error("hello"))?;
        drop(theirs);
        let mut socket = Self { data, control, port_id, lost: AtomicBool::new(false) };
        socket.port_id = socket.answer()?;
        Ok(socket)
    }

    /// The port id.
    pub fn port_id(&self) -> u32 {
        self.port_id
    }

    /// Polls readable when there is something to receive.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.data.as_fd()
    }

    /// Sets an option or a membership.
    pub fn command(&self, command: Command) -> Result<u32, Error> {
        send(&self.control, &command.encode(), SendFlags::NOSIGNAL).map_err(io_error("command"))?;
        self.answer()
    }

    /// Sends a datagram and waits until it has been carried out.
    pub fn send(&self, datagram: &[u8]) -> Result<(), Error> {
        send(&self.data, datagram, SendFlags::NOSIGNAL).map_err(io_error("request"))?;
        if self.answer()? == Answer::LOST {
            self.lost.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn answer(&self) -> Result<u32, Error> {
        let mut bytes = [0; Answer::LEN];
        let (_, len) = recv(&self.control, &mut bytes, RecvFlags::empty()).map_err(io_error("answer"))?;
        match Answer::decode(&bytes[..len.min(bytes.len())]) {
            Some(Answer { errno: 0, value }) => Ok(value),
            Some(Answer { errno, .. }) => Err(Error::Refused(errno)),
            None => Err(Error::Closed),
        }
    }

    /// The next datagram; `None` if none comes within the time.
    pub fn receive(&self, timeout_ms: u64) -> Result<Option<Vec<u8>>, Error> {
        if self.lost.swap(false, Ordering::Relaxed) {
            return Err(Error::Overrun);
        }
        let timeout =
            Timespec { tv_sec: (timeout_ms / 1000) as i64, tv_nsec: (timeout_ms % 1000 * 1_000_000) as i64 };
        let mut fds = [PollFd::new(&self.data, PollFlags::IN)];
        if poll(&mut fds, Some(&timeout)).map_err(io_error("poll"))? == 0 {
            return Ok(None);
        }
        let mut bytes = vec![0; 512 << 10];
        let (_, len) = recv(&self.data, &mut bytes[..], RecvFlags::empty()).map_err(io_error("receive"))?;
        bytes.truncate(len);
        match bytes.as_slice() {
            [] => Err(Error::Closed),
            overrun if *overrun == OVERRUN => Err(Error::Overrun),
            _ => Ok(Some(bytes)),
        }
    }
}
