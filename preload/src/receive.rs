// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Receiving, as a netlink socket does it.

use std::ffi::c_int;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::atomic::Ordering;

use portway_netlink_socket::{OVERRUN, marked_group};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::RecvFlags;

use crate::address::Address;
use crate::message;
use crate::scratch::DATAGRAM_MAX;
use crate::socket::Ours;
use crate::table;

/// What was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// What the call returns.
    pub(crate) value: usize,
    /// MSG_TRUNC if there was not room for all of it.
    pub(crate) flags: c_int,
    /// The multicast group that it was made for; 0: none.
    pub(crate) group: u32,
}

impl Received {
    /// Where it comes from: the kernel, and for which of the groups that fit into an address.
    pub(crate) fn source(&self) -> Address {
        let groups = if (1..=32).contains(&self.group) { 1 << (self.group - 1) } else { 0 };
        Address { port_id: 0, groups }
    }
}

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// None: the connection has ended.
    End,
    /// None: the file descriptor is not the socket's any more.
    Foreign,
    /// The library's own: the next is for this multicast group.
    Group(u32),
    /// The library's own: something was lost.
    Loss,
    /// The program's: its whole length, and how many dumps it ends.
    Datagram(usize, u32),
}

impl Seen {
    /// Looks at a datagram of `whole` bytes, or at its beginning.
    fn of(bytes: &[u8], whole: usize) -> Self {
        if whole == 0 {
            return Self::End;
        }
        match marked_group(bytes) {
            Some(group) => Self::Group(group),
            None if *bytes == OVERRUN => Self::Loss,
            None => Self::Datagram(whole, 0),
        }
    }
}

impl Ours<'_> {
    /// Takes a datagram of the library's own out of the connection, if it was only looked at.
    fn discard(self, data: BorrowedFd<'_>, inode: u64, asked: RecvFlags) {
        if asked.contains(RecvFlags::PEEK) {
            let _ = self.next_datagram(data, inode, RecvFlags::DONTWAIT, &mut Seen::of);
        }
    }

    /// Receives a datagram: `store` is given what there is room for. `None`: the file descriptor is not the socket's any more.
    ///
    /// # Errors
    /// EAGAIN, EINTR; ENOBUFS: something was lost.
    pub(crate) fn receive(
        self,
        fd: RawFd,
        room: usize,
        flags: c_int,
        mut store: impl FnMut(&[u8]),
    ) -> Result<Option<Received>, Errno> {
        if flags & (libc::MSG_OOB | libc::MSG_ERRQUEUE) != 0 {
            return Err(Errno::OPNOTSUPP);
        }
        let asked = RecvFlags::from_bits_retain(flags as u32) & (RecvFlags::PEEK | RecvFlags::DONTWAIT);
        let is_look = asked.contains(RecvFlags::PEEK);
        let mut see = |bytes: &[u8], whole: usize| {
            let seen = Seen::of(bytes, whole);
            let Seen::Datagram(..) = seen else { return seen };
            store(&bytes[..bytes.len().min(room)]);
            // A dump is counted before its first part can be received.
            let counts = !is_look && self.netlink.dumps.load(Ordering::Acquire) > 0;
            Seen::Datagram(whole, if counts { message::dumps_ended(bytes) } else { 0 })
        };
        let Some((whole, group)) = self.receive_whole(fd, asked, &mut see)? else { return Ok(None) };
        let value = if flags & libc::MSG_TRUNC != 0 { whole } else { whole.min(room).min(DATAGRAM_MAX) };
        Ok(Some(Received { value, flags: if whole > room { libc::MSG_TRUNC } else { 0 }, group }))
    }

    /// The datagram's length and its group.
    fn receive_whole(
        self,
        fd: RawFd,
        asked: RecvFlags,
        see: &mut impl FnMut(&[u8], usize) -> Seen,
    ) -> Result<Option<(usize, u32)>, Errno> {
        loop {
            self.tell_of_loss()?;
            let inode = self.whole.inode();
            // SAFETY: the program receives on it, so it is open; should it be closed meanwhile, the call fails.
            let data = unsafe { BorrowedFd::borrow_raw(fd) };
            match self.next_datagram(data, inode, asked, see) {
                Ok(Seen::End) | Err(Errno::CONNRESET) => self.connection_ended(inode)?,
                Ok(Seen::Foreign) => return Ok(None),
                Ok(Seen::Group(group)) => {
                    self.discard(data, inode, asked);
                    self.netlink.next_group.store(group, Ordering::Release);
                }
                Ok(Seen::Loss) => {
                    self.discard(data, inode, asked);
                    self.note_loss();
                }
                Ok(Seen::Datagram(whole, ended)) => {
                    let mut group = self.netlink.next_group.load(Ordering::Acquire);
                    if group != 0 && !asked.contains(RecvFlags::PEEK) {
                        group = self.netlink.next_group.swap(0, Ordering::AcqRel);
                    }
                    self.count_ended(ended);
                    return Ok(Some((whole, group)));
                }
                Err(Errno::AGAIN) if self.netlink.dumps.load(Ordering::Acquire) > 0 => {
                    if !table::is_still(fd, self.whole) {
                        return Ok(None);
                    }
                    // The next part of the dump is being made.
                    poll(&mut [PollFd::new(&data, PollFlags::IN)], None)?;
                }
                Err(errno) => {
                    if errno == Errno::AGAIN {
                        self.listens();
                    }
                    return Err(errno);
                }
            }
        }
    }

    fn count_ended(self, ended: u32) {
        if ended > 0 {
            let fewer = |dumps: u32| Some(dumps.saturating_sub(ended));
            let _ = self.netlink.dumps.fetch_update(Ordering::AcqRel, Ordering::Acquire, fewer);
        }
    }
}
