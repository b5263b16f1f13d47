// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Looking for a portwayd that has gone away: a program that only listens would never find out that it is back.
//!
//! The thread is there only as long as there is something to look for. It takes no signals, and a program that forks meanwhile gets
//! another one in its child when a socket there finds its connection ended.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use crate::connection;
use crate::lock::process_id;
use crate::socket::Ours;
use crate::table;

/// How long it waits before it looks first, and at most: it waits a little longer each time.
const FIRST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_millis(500);
/// Bytes of its stack.
const STACK: usize = 256 << 10;
const NOBODY: u32 = 0;

/// The process whose thread there is: not that of a parent.
static WATCHER: AtomicU32 = AtomicU32::new(NOBODY);

/// A socket is without its connection: it gets a new one when portwayd is there.
pub(crate) fn begin() {
    let us = process_id();
    let before = WATCHER.load(Ordering::Acquire);
    if before == us || WATCHER.compare_exchange(before, us, Ordering::AcqRel, Ordering::Acquire).is_err() {
        return;
    }
    if spawn(watch).is_err() {
        // The program's next request looks for it.
        WATCHER.store(NOBODY, Ordering::Release);
    }
}

/// Starts a thread that takes no signals.
fn spawn(work: fn()) -> io::Result<()> {
    let mut all = MaybeUninit::uninit();
    let mut before = MaybeUninit::uninit();
    // SAFETY: `sigfillset` fills the set, and `pthread_sigmask` the other with the mask that the thread has.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    let spawned = thread::Builder::new().name("portway".into()).stack_size(STACK).spawn(work);
    // SAFETY: it was filled above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
    spawned.map(drop)
}

fn watch() {
    let mut pause = FIRST;
    loop {
        thread::sleep(pause);
        pause = (pause * 3 / 2).min(LONGEST);
        if connect_all() {
            continue;
        }
        WATCHER.store(NOBODY, Ordering::Release);
        // A socket that lost its connection since it was looked at has found this thread still there.
        let us = process_id();
        let is_needed = sockets_wait();
        if !is_needed || WATCHER.compare_exchange(NOBODY, us, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return;
        }
    }
}

fn sockets_wait() -> bool {
    table::all().iter().filter_map(|(_, socket)| Ours::new(socket)).any(Ours::waits)
}

/// Connects what can be connected: also sockets whose owners only wait, and would not find out that portwayd is back. Whether some
/// still wait.
pub(crate) fn connect_all() -> bool {
    let mut some_wait = false;
    for (_, socket) in table::all() {
        if let Some(ours) = Ours::new(&socket).filter(|ours| ours.waits()) {
            let connected = ours.go_online(&mut ours.netlink.link.lock(), connection::open);
            some_wait |= connected.is_err();
        }
    }
    some_wait
}
