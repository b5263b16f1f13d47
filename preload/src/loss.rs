// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Telling a program that something was lost (ENOBUFS), and when.
//!
//! A socket with memberships has missed something while portwayd was away. `ovs-vswitchd` that hears so looks at all ports and deletes
//! those that it does not know. If it was refused what it asked meanwhile it knows none any more: it takes them back when it
//! reconfigures, which the coming back of their devices makes it do. To hear of the loss before that would have it delete them, and the
//! bridges' own devices with their addresses. So a thread that was refused something, and knows by that that all it knew is void, hears
//! of a loss when it has asked for something again and was answered.

use std::cell::Cell;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use portway_netlink_socket::Command;
use rustix::io::Errno;
use rustix::thread::gettid;

use crate::connection;
use crate::socket::Ours;
use crate::table;

thread_local! {
    /// What the thread asked last was refused, since portwayd was away.
    static WAS_REFUSED: Cell<bool> = const { Cell::new(false) };
    /// The thread has received on a socket whose loss it may not hear of yet.
    static HAS_LOOKED: Cell<bool> = const { Cell::new(false) };
}

fn thread_id() -> u32 {
    gettid().as_raw_nonzero().get().unsigned_abs()
}

impl Ours<'_> {
    /// The program is to be told, before anything else, that something was lost.
    pub(crate) fn note_loss(self) {
        self.netlink.dumps.store(0, Ordering::Release);
        self.netlink.lost.store(true, Ordering::Release);
    }

    /// # Errors
    /// ENOBUFS: something was lost, and the program wants to know.
    pub(crate) fn tell_of_loss(self) -> Result<(), Errno> {
        if !self.netlink.lost.load(Ordering::Acquire) {
            return Ok(());
        }
        if WAS_REFUSED.get() {
            self.netlink.is_awaited_by.store(thread_id(), Ordering::Release);
            HAS_LOOKED.set(true);
            return Ok(());
        }
        if !self.netlink.lost.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let is_wanted = !self.netlink.link.lock().settings.has(libc::NETLINK_NO_ENOBUFS);
        if is_wanted { Err(Errno::NOBUFS) } else { Ok(()) }
    }
}

/// The calling thread's request is refused, since portwayd is away.
pub(crate) fn note_refusal() {
    WAS_REFUSED.set(true);
}

/// The calling thread's request was answered. Whoever waits for what it may hear of now finds it by polling.
pub(crate) fn note_answer() {
    WAS_REFUSED.set(false);
    if !HAS_LOOKED.replace(false) {
        return;
    }
    let us = thread_id();
    for (_, socket) in table::all() {
        let Some(ours) = Ours::new(&socket) else { continue };
        let awaited = &ours.netlink.is_awaited_by;
        if awaited.compare_exchange(us, 0, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            continue;
        }
        let link = ours.netlink.link.lock();
        if link.is_online {
            // If portwayd has gone again, the socket can be read for that reason.
            let _ = connection::command(link.control.as_fd(), Command::Wake);
        }
    }
}
