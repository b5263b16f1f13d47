// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A lock that a `fork` by another thread cannot leave locked for ever: it knows the process that holds it.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::time::Duration;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use rustix::thread::futex;

const FREE: u32 = 0;
/// Set beside the holder's process id while others may be waiting.
const WAITED_FOR: u32 = 1 << 31;
/// How long a waiter sleeps before it looks again, whatever happens.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A value behind a lock.
#[derive(Debug)]
pub(crate) struct ForkLock<T> {
    holder: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: `value` is reached only through a guard, and there is one guard at a time in a process (`lock`).
unsafe impl<T: Send> Sync for ForkLock<T> {}

impl<T> ForkLock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { holder: AtomicU32::new(FREE), value: UnsafeCell::new(value) }
    }

    /// Takes the lock. In a child, a lock that another thread of the parent held at the fork is free: that thread is not there.
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        let us = process_id();
        loop {
            let holder = self.holder.load(Ordering::Relaxed);
            if holder & !WAITED_FOR != us {
                // A lock that was waited for stays so: its waiters have not been woken yet.
                let taken = us | holder & WAITED_FOR;
                if self.holder.compare_exchange(holder, taken, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                    return Guard { lock: self };
                }
                continue;
            }
            let waited_for = holder | WAITED_FOR;
            if holder == waited_for
                || self
                    .holder
                    .compare_exchange(holder, waited_for, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok()
            {
                let timeout = futex::Timespec { tv_sec: 0, tv_nsec: LOOK_AGAIN.as_nanos() as i64 };
                // Woken, timed out, interrupted or too late: all mean to look again.
                let _ = futex::wait(&self.holder, futex::Flags::PRIVATE, waited_for, Some(&timeout));
            }
        }
    }
}

/// How often this process and those that it was forked from have forked since this was first asked.
pub(crate) fn forks() -> u32 {
    static FORKS: AtomicU32 = AtomicU32::new(0);
    static WATCH: Once = Once::new();
    extern "C" fn count() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
    WATCH.call_once(|| {
        // SAFETY: `count` may be called at any time. Without memory for the entry forks are not seen.
        let _ = unsafe { libc::pthread_atfork(Some(count), None, None) };
    });
    FORKS.load(Ordering::Relaxed)
}

/// The process that calls. It is asked often, so the kernel is asked only once in each: the answer is kept in a page that the kernel
/// empties in the child of a fork.
pub(crate) fn process_id() -> u32 {
    static PAGE: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());
    // SAFETY: a page that was published stays mapped for ever, and holds an `AtomicU32`: zero, or what is stored below.
    if let Some(kept) = unsafe { PAGE.load(Ordering::Acquire).as_ref() } {
        let kept_id = kept.load(Ordering::Relaxed);
        if kept_id != 0 {
            return kept_id;
        }
        let id = getpid();
        kept.store(id, Ordering::Relaxed);
        return id;
    }
    if let Ok(page) = page_emptied_by_fork() {
        // Two threads that do this at once leave one page unused.
        PAGE.store(page, Ordering::Release);
    }
    getpid()
}

/// The same, asked of the kernel: right also in a child that borrows its parent's memory (`vfork`), which the page does not see.
pub(crate) fn getpid() -> u32 {
    rustix::process::getpid().as_raw_nonzero().get().unsigned_abs()
}

/// A page that is zero in every new process.
fn page_emptied_by_fork() -> rustix::io::Result<*mut AtomicU32> {
    const LEN: usize = 4096;
    // SAFETY: a new mapping, placed where nothing is.
    unsafe {
        let page =
            mmap_anonymous(ptr::null_mut(), LEN, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)?;
        if let Err(errno) = madvise(page, LEN, Advice::LinuxWipeOnFork) {
            let _ = munmap(page, LEN);
            return Err(errno);
        }
        Ok(page.cast())
    }
}

/// Holds a [`ForkLock`].
#[derive(Debug)]
pub(crate) struct Guard<'a, T> {
    lock: &'a ForkLock<T>,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: a guard exists only while the lock is held, and it is held once.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: a guard exists only while the lock is held, and it is held once; this borrows the only guard.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        if self.lock.holder.swap(FREE, Ordering::Release) & WAITED_FOR != 0 {
            let _ = futex::wake(&self.lock.holder, futex::Flags::PRIVATE, i32::MAX as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thread_at_a_time() {
        let lock = ForkLock::new(0_u64);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        let mut value = lock.lock();
                        let seen = *value;
                        std::hint::black_box(&mut value);
                        *value = seen + 1;
                    }
                });
            }
        });
        assert_eq!(*lock.lock(), 40_000);
        assert_eq!(lock.holder.load(Ordering::Relaxed), FREE);
    }

    #[test]
    fn a_process_knows_itself_also_after_a_fork() {
        let ours = process_id();
        let forks_before = forks();
        assert_eq!((ours, process_id()), (std::process::id(), std::process::id()));
        // SAFETY: the child calls nothing that takes a lock, and ends at once.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let is_right = process_id() == getpid() && process_id() != ours;
            // SAFETY: it ends the child, whatever else there is of it.
            unsafe { libc::_exit(i32::from(!is_right)) }
        }
        let mut status = -1;
        // SAFETY: `status` is ours.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0);
        assert_ne!(forks(), forks_before);
    }

    #[test]
    fn a_lock_of_another_process_is_free() {
        let lock = ForkLock::new(5);
        lock.holder.store(process_id() ^ 1, Ordering::Relaxed);
        assert_eq!(*lock.lock(), 5);
    }
}
