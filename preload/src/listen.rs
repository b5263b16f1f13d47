// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Receiving on a socket that listens for upcalls, or asks many things at once: what comes, comes in bundles, which are taken apart here.
//!
//! A bundle stays in the connection until its last datagram has been received: until then whoever polls the file descriptor finds it
//! readable.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;

use portway_netlink_socket::{Command, first_in_bundle, next_in_bundle};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::connection;
use crate::lock::process_id;
use crate::socket::{Link, Ours};

/// What is left of a bundle.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    bytes: Vec<u8>,
    at: usize,
    /// The connection that it came from.
    inode: u64,
    /// The process that looked at it: a child and its parent share the connection, not this.
    process: u32,
}

impl Unread {
    /// Takes a bundle; false: it is something else.
    fn take(&mut self, received: &[u8], inode: u64) -> bool {
        let Some(at) = first_in_bundle(received) else { return false };
        self.bytes.clear();
        self.bytes.extend_from_slice(received);
        (self.at, self.inode, self.process) = (at, inode, process_id());
        true
    }

    /// The next datagram, and where the one behind it is.
    fn next(&mut self, inode: u64) -> Option<(&[u8], usize)> {
        if self.inode != inode || self.bytes.is_empty() || self.process != process_id() {
            self.bytes.clear();
        }
        next_in_bundle(&self.bytes, self.at)
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
        loop {
            if let Some((datagram, next)) = unread.next(inode) {
                let len = datagram.len().min(buffer.len());
                buffer[..len].copy_from_slice(&datagram[..len]);
                let whole = datagram.len();
                if !is_look {
                    unread.at = next;
                    if next_in_bundle(&unread.bytes, next).is_none() {
                        self.netlink.has_unread.store(false, Ordering::Release);
                        unread.bytes.clear();
                        drop_first(data);
                    }
                }
                return Ok((len, whole));
            }
            self.netlink.has_unread.store(false, Ordering::Release);
            let (len, whole) =
                recv(data, &mut *buffer, RecvFlags::PEEK | RecvFlags::DONTWAIT | RecvFlags::TRUNC)?;
            let len = len.min(buffer.len());
            if unread.take(&buffer[..len], inode) {
                let is_empty = unread.next(inode).is_none();
                self.netlink.has_unread.store(!is_empty, Ordering::Release);
                if is_empty {
                    drop_first(data);
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
        if !self.netlink.has_asked.load(Ordering::Relaxed) {
            self.take_bundles(&mut self.netlink.link.lock());
        }
    }

    /// Tells portwayd, once, that bundles are welcome.
    pub(crate) fn take_bundles(self, link: &mut Link) {
        if self.netlink.has_offered.swap(true, Ordering::Relaxed) {
            return;
        }
        let told = link.is_online.then(|| connection::command(link.control.as_fd(), Command::TakeBundles));
        // A portwayd of before knows none, and sends none.
        if told.is_some_and(|told| told.is_ok()) {
            link.settings.takes_bundles = true;
            self.netlink.takes_bundles.store(true, Ordering::Release);
        }
    }
}

/// Takes out of the connection what has been looked at.
fn drop_first(data: BorrowedFd<'_>) {
    let _ = recv(data, &mut [0; 1], RecvFlags::DONTWAIT);
}
