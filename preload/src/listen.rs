// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Receiving on a socket that listens for upcalls, or asks many things at once: what comes, comes in bundles, which are taken apart here.
//!
//! A bundle stays in the connection until its last datagram has been received: until then whoever polls the file descriptor finds it
//! readable.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::Ordering;

use portway_netlink_socket::{BUNDLE_MARK, Command, first_in_bundle, next_in_bundle};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::connection::{self, Failure};
use crate::lock::forks;
use crate::receive::Seen;
use crate::scratch::{DATAGRAM_MAX, with_room};
use crate::socket::{Link, Ours};
use crate::table;

/// What is left of a bundle.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    /// Room for the longest datagram, once there was any.
    room: Vec<u8>,
    /// How much of it a bundle takes up; 0: there is none.
    len: usize,
    /// Where its next datagram is.
    at: usize,
    /// The connection that it came from.
    inode: u64,
    /// Whether another process may have the connection, too, and receive from it.
    is_shared: bool,
}

impl Unread {
    /// Looks at what the connection gives next: how much of it there is room for, and its whole length.
    fn look(&mut self, data: BorrowedFd<'_>) -> Result<(usize, usize), Errno> {
        if self.room.is_empty() {
            // Of pages that cost nothing until something comes that is so long.
            self.room = vec![0; DATAGRAM_MAX];
        }
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        let (len, whole) = recv(data, &mut self.room[..], flags)?;
        Ok((len.min(DATAGRAM_MAX), whole))
    }

    /// Keeps what was looked at if it is a bundle; false: it is something else.
    fn keep(&mut self, len: usize, inode: u64) -> bool {
        let Some(at) = first_in_bundle(&self.room[..len]) else { return false };
        (self.len, self.at, self.inode) = (len, at, inode);
        true
    }

    fn bundle(&self) -> &[u8] {
        &self.room[..self.len]
    }

    /// The next datagram, and where the one behind it is.
    fn next(&mut self, data: BorrowedFd<'_>, inode: u64) -> Option<(&[u8], usize)> {
        if self.len == 0 {
            return None;
        }
        if self.inode != inode || (self.is_shared && !self.is_first(data)) {
            self.len = 0;
        }
        next_in_bundle(self.bundle(), self.at)
    }

    /// Whether it still is what the connection gives next.
    fn is_first(&self, data: BorrowedFd<'_>) -> bool {
        let mut first = [0; BUNDLE_MARK];
        let seen = recv(data, &mut first, RecvFlags::PEEK | RecvFlags::DONTWAIT);
        seen.is_ok() && self.bundle().starts_with(&first)
    }

    /// All of it has been received: takes it out of the connection, unless another process that shares the connection has.
    fn leave(&mut self, data: BorrowedFd<'_>) {
        if !self.is_shared || self.is_first(data) {
            drop_first(data);
        }
        self.len = 0;
    }
}

impl Ours<'_> {
    /// Receives the next datagram: `see` is given the bytes that there was room for, and its whole length.
    pub(crate) fn next_datagram(
        self,
        data: BorrowedFd<'_>,
        inode: u64,
        asked: RecvFlags,
        see: &mut impl FnMut(&[u8], usize) -> Seen,
    ) -> Result<Seen, Errno> {
        if !self.netlink.takes_bundles.load(Ordering::Acquire) {
            return with_room(|buffer| {
                let (len, whole) = recv(data, &mut *buffer, asked | RecvFlags::TRUNC)?;
                Ok(see(&buffer[..len.min(buffer.len())], whole))
            });
        }
        loop {
            match self.next_of_bundle(data, inode, asked, see) {
                Err(Errno::AGAIN) if !asked.contains(RecvFlags::DONTWAIT) => {
                    // Waits as the program has it: for ever, for its timeout, or not at all.
                    recv(data, &mut [0; 1], RecvFlags::PEEK)?;
                }
                received => return received,
            }
        }
    }

    fn next_of_bundle(
        self,
        data: BorrowedFd<'_>,
        inode: u64,
        asked: RecvFlags,
        see: &mut impl FnMut(&[u8], usize) -> Seen,
    ) -> Result<Seen, Errno> {
        let is_look = asked.contains(RecvFlags::PEEK);
        let mut unread = self.netlink.unread.lock();
        unread.is_shared = forks() != self.netlink.forks_before;
        loop {
            if let Some((datagram, next)) = unread.next(data, inode) {
                let seen = see(datagram, datagram.len());
                if !is_look {
                    unread.at = next;
                    if next_in_bundle(unread.bundle(), next).is_none() {
                        unread.leave(data);
                    }
                }
                return Ok(seen);
            }
            let looked = unread.look(data);
            if let Ok((len, _)) = looked
                && unread.keep(len, inode)
            {
                if unread.next(data, inode).is_none() {
                    unread.leave(data);
                }
                continue;
            }
            // That nothing is there is told of whatever file has none.
            if looked != Err(Errno::AGAIN) && !table::is_still(data.as_raw_fd(), self.whole) {
                return Ok(Seen::Foreign);
            }
            let (len, whole) = looked?;
            let seen = see(&unread.room[..len], whole);
            if !is_look {
                drop_first(data);
            }
            return Ok(seen);
        }
    }

    /// The socket has nothing to read. If it has never asked for anything it only listens, and takes what comes in bundles.
    pub(crate) fn listens(self) {
        if !self.netlink.has_asked.load(Ordering::Relaxed)
            && !self.netlink.has_offered.load(Ordering::Relaxed)
        {
            self.take_bundles(&mut self.netlink.link.lock());
        }
    }

    /// Tells portwayd, once, that bundles are welcome.
    pub(crate) fn take_bundles(self, link: &mut Link) {
        if self.netlink.has_offered.load(Ordering::Relaxed) || !link.is_online {
            return;
        }
        let told = connection::command(link.control.as_fd(), Command::TakeBundles);
        // One that has gone was told nothing.
        let was_told = !matches!(told, Err(Failure::Gone(_)));
        self.netlink.has_offered.store(was_told, Ordering::Relaxed);
        // A portwayd of before knows none, and sends none.
        if told.is_ok() {
            link.settings.takes_bundles = true;
            self.netlink.takes_bundles.store(true, Ordering::Release);
        }
    }
}

/// Takes out of the connection what has been looked at.
fn drop_first(data: BorrowedFd<'_>) {
    let _ = recv(data, &mut [0; 1], RecvFlags::DONTWAIT);
}
