// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Receiving, as a netlink socket does it.

use std::cell::RefCell;
use std::ffi::c_int;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::atomic::Ordering;

use portway_netlink_socket::{OVERRUN, marked_group};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::RecvFlags;

use crate::address::Address;
use crate::message;
use crate::socket::Ours;

/// Longest datagram that can be received: beyond what portwayd sends.
const DATAGRAM_MAX: usize = 512 << 10;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

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

/// Gives the thread's buffer to `work`. A signal handler that receives while its thread does, and a thread that ends, get another.
fn with_buffer<R>(work: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut work = Some(work);
    let mut run = |buffer: &mut Vec<u8>| {
        buffer.resize(DATAGRAM_MAX, 0);
        work.take().map(|work| work(buffer))
    };
    let done = BUFFER.try_with(|buffer| buffer.try_borrow_mut().ok().and_then(|mut buffer| run(&mut buffer)));
    match done.ok().flatten().or_else(|| run(&mut Vec::new())) {
        Some(result) => result,
        None => unreachable!(
            "`run` gives nothing only the second time, and then it gave something the first time"
        ),
    }
}

impl Ours<'_> {
    /// Takes a datagram of the library's own out of the connection, if it was only looked at.
    fn discard(self, data: BorrowedFd<'_>, inode: u64, asked: RecvFlags) {
        if asked.contains(RecvFlags::PEEK) {
            let _ = self.next_datagram(data, inode, &mut [0; OVERRUN.len()], RecvFlags::DONTWAIT);
        }
    }

    /// Receives a datagram into `room` bytes, by way of `store`.
    ///
    /// # Errors
    /// EAGAIN, EINTR; ENOBUFS: something was lost.
    pub(crate) fn receive(
        self,
        fd: RawFd,
        room: usize,
        flags: c_int,
        store: impl FnOnce(&[u8]),
    ) -> Result<Received, Errno> {
        if flags & (libc::MSG_OOB | libc::MSG_ERRQUEUE) != 0 {
            return Err(Errno::OPNOTSUPP);
        }
        with_buffer(|buffer| {
            let (whole, group) = self.receive_whole(fd, flags, buffer)?;
            let len = whole.min(buffer.len()).min(room);
            store(&buffer[..len]);
            let value = if flags & libc::MSG_TRUNC != 0 { whole } else { len };
            Ok(Received { value, flags: if whole > room { libc::MSG_TRUNC } else { 0 }, group })
        })
    }

    /// The datagram's length and its group.
    fn receive_whole(self, fd: RawFd, flags: c_int, buffer: &mut [u8]) -> Result<(usize, u32), Errno> {
        let asked = RecvFlags::from_bits_retain(flags as u32) & (RecvFlags::PEEK | RecvFlags::DONTWAIT);
        loop {
            self.tell_of_loss()?;
            let inode = self.whole.inode();
            // SAFETY: the program receives on it, so it is open; should it be closed meanwhile, the call fails.
            let data = unsafe { BorrowedFd::borrow_raw(fd) };
            match self.next_datagram(data, inode, buffer, asked) {
                Ok((_, 0)) | Err(Errno::CONNRESET) => self.connection_ended(inode)?,
                Ok((len, whole)) => {
                    let bytes = &buffer[..len.min(buffer.len())];
                    if let Some(group) = marked_group(bytes) {
                        self.discard(data, inode, asked);
                        self.netlink.next_group.store(group, Ordering::Release);
                        continue;
                    }
                    if *bytes == OVERRUN {
                        self.discard(data, inode, asked);
                        self.note_loss();
                        continue;
                    }
                    let mut group = self.netlink.next_group.load(Ordering::Acquire);
                    if !asked.contains(RecvFlags::PEEK) {
                        if group != 0 {
                            group = self.netlink.next_group.swap(0, Ordering::AcqRel);
                        }
                        self.count_ended(message::dumps_ended(bytes));
                    }
                    return Ok((whole, group));
                }
                Err(Errno::AGAIN) if self.netlink.dumps.load(Ordering::Acquire) > 0 => {
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
