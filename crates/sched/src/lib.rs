// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How the operating system schedules a thread: the one call for it that no library of ours has.

#![allow(unsafe_code)]

use std::io;

/// Makes the calling thread one of those that work through what has come together (SCHED_BATCH, sched(7)): when it is woken it does not
/// take the processor from a thread that runs, but has it next. So whoever sends to it many times finishes that first, and it finds
/// all of it at once. Its share of the processor and its niceness stay. Needs no privilege.
///
/// # Errors
/// What the system says, for example EPERM where a filter for system calls forbids it.
pub fn work_in_batches() -> io::Result<()> {
    set_policy(libc::SCHED_BATCH)
}

/// Makes the calling thread an ordinary one again (SCHED_OTHER).
///
/// # Errors
/// As [`work_in_batches`].
pub fn work_at_once() -> io::Result<()> {
    set_policy(libc::SCHED_OTHER)
}

/// A thread that was made something else, a real-time one perhaps, stays that. Threads that it makes begin as ordinary ones.
fn set_policy(policy: libc::c_int) -> io::Result<()> {
    // SAFETY: 0 is the calling thread.
    let now = unsafe { libc::sched_getscheduler(0) };
    if now < 0 {
        return Err(io::Error::last_os_error());
    }
    if !matches!(now & !libc::SCHED_RESET_ON_FORK, libc::SCHED_OTHER | libc::SCHED_BATCH) {
        return Ok(());
    }
    // SAFETY: sched_param is plain data, whose only member that these policies know must be 0.
    let parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: 0 is the calling thread; the parameters live through the call.
    let result =
        unsafe { libc::sched_setscheduler(0, policy | libc::SCHED_RESET_ON_FORK, &raw const parameters) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_the_calling_thread_changes() {
        // SAFETY: 0 is the calling thread.
        let policy = || unsafe { libc::sched_getscheduler(0) & !libc::SCHED_RESET_ON_FORK };
        let before = policy();
        let changed = std::thread::spawn(move || {
            super::work_in_batches().unwrap();
            let batch = policy();
            super::work_at_once().unwrap();
            (batch, policy())
        });
        assert_eq!(changed.join().unwrap(), (libc::SCHED_BATCH, libc::SCHED_OTHER));
        assert_eq!(policy(), before);
    }
}
