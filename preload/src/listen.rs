// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Receiving on a socket that listens for upcalls, or asks many things at once: what comes, comes in bundles, which are taken apart here.
//!
//! A bundle stays in the connection until its last datagram has been received: until then whoever polls the file descriptor finds it
//! readable.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;

use portway_netlink_socket::{BUNDLE_MARK, Command, first_in_bundle, next_in_bundle};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::connection::{self, Failure};
use crate::lock::forks;
use crate::socket::{Link, Ours};

/// What is left of a bundle.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    bytes: Vec<u8>,
    at: usize,
    /// The connection that it came from.
    inode: u64,
    /// Whether another process may have the connection, too, and receive from it.
    is_shared: bool,
}

impl Unread {
    /// Takes a bundle; false: it is something else.
    fn take(&mut self, received: &[u8], inode: u64) -> bool {
        let Some(at) = first_in_bundle(received) else { return false };
        self.bytes.clear();
        self.bytes.extend_from_slice(received);
        (self.at, self.inode) = (at, inode);
        true
    }

    /// The next datagram, and where the one behind it is.
    fn next(&mut self, data: BorrowedFd<'_>, inode: u64) -> Option<(&[u8], usize)> {
        if self.inode != inode || (self.is_shared && !self.is_first(data)) {
            self.bytes.clear();
        }
        next_in_bundle(&self.bytes, self.at)
    }

    /// Whether it still is what the connection gives next.
    fn is_first(&self, data: BorrowedFd<'_>) -> bool {
        let mut first = [0; BUNDLE_MARK];
        let seen = recv(data, &mut first, RecvFlags::PEEK | RecvFlags::DONTWAIT);
        seen.is_ok() && self.bytes.starts_with(&first)
    }

    /// All of it has been received: takes it out of the connection, unless another process that shares the connection has.
    fn leave(&mut self, data: BorrowedFd<'_>) {
        if !self.is_shared || self.is_first(data) {
            drop_first(data);
        }
        self.bytes.clear();
    }
}

impl Ours<'_> {
    /// Receives the next datagram into `buffer`: its length there, and its whole length.
    pub(crate) fn next_datagram(
        self,
        data: BorrowedFd<'_>,
        inode: u64,
        buffer: &mut [u8],
        asked: RecvFlags,
    ) -> Result<(usize, usize), Errno> {
        if !self.netlink.takes_bundles.load(Ordering::Acquire) {
            return recv(data, buffer, asked | RecvFlags::TRUNC);
        }
        loop {
            match self.next_of_bundle(data, inode, buffer, asked) {
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
        buffer: &mut [u8],
        asked: RecvFlags,
    ) -> Result<(usize, usize), Errno> {
        let is_look = asked.contains(RecvFlags::PEEK);
        let mut unread = self.netlink.unread.lock();
        unread.is_shared = forks() != self.netlink.forks_before;
        loop {
            if let Some((datagram, next)) = unread.next(data, inode) {
                let len = datagram.len().min(buffer.len());
                buffer[..len].copy_from_slice(&datagram[..len]);
                let whole = datagram.len();
                if !is_look {
                    unread.at = next;
                    if next_in_bundle(&unread.bytes, next).is_none() {
                        self.netlink.has_unread.store(false, Ordering::Release);
                        unread.leave(data);
                    }
                }
                return Ok((len, whole));
            }
            self.netlink.has_unread.store(false, Ordering::Release);
            let (len, whole) =
                recv(data, &mut *buffer, RecvFlags::PEEK | RecvFlags::DONTWAIT | RecvFlags::TRUNC)?;
            let len = len.min(buffer.len());
            if unread.take(&buffer[..len], inode) {
                let is_empty = unread.next(data, inode).is_none();
                self.netlink.has_unread.store(!is_empty, Ordering::Release);
                if is_empty {
                    unread.leave(data);
                }
                continue;
            }
            if !is_look {
                drop_first(data);
            }
            return Ok((len, whole));
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
