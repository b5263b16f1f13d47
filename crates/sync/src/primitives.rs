// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The threads, atomics and locks that this crate is built from: the standard library's, or loom's under `cfg(loom)`,
//! so that the very same code is model-checked.

#[cfg(loom)]
pub(crate) use loom::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicPtr, AtomicU16, AtomicU64, AtomicUsize, Ordering, fence},
    },
    thread,
};
#[cfg(not(loom))]
pub(crate) use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicPtr, AtomicU16, AtomicU64, AtomicUsize, Ordering, fence},
    },
    thread,
};

use std::sync::{PoisonError, TryLockError};

/// Takes `mutex`, poisoned or not: every structure here is consistent whenever foreign code (a predicate, a
/// destructor) may panic, so a panic elsewhere must not take the switch down a second time.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As [`lock`], but `None` at once when someone holds it.
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(held) => Some(held),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// A first-in first-out queue for any number of threads that never blocks them.
#[cfg(not(loom))]
pub(crate) type Fifo<T> = crossbeam_queue::SegQueue<T>;

/// The same contract out of a loom mutex: crossbeam's queue is opaque to loom. `is_empty` looks past the mutex, so
/// that whoever relies on an order between it and another variable must say so with a fence.
#[cfg(loom)]
pub(crate) struct Fifo<T> {
    items: Mutex<std::collections::VecDeque<T>>,
    len: AtomicUsize,
}

#[cfg(loom)]
impl<T> Fifo<T> {
    pub(crate) fn new() -> Self {
        Self { items: Mutex::new(std::collections::VecDeque::new()), len: AtomicUsize::new(0) }
    }

    pub(crate) fn push(&self, item: T) {
        let mut items = lock(&self.items);
        items.push_back(item);
        self.len.store(items.len(), Ordering::Release);
    }

    pub(crate) fn pop(&self) -> Option<T> {
        let mut items = lock(&self.items);
        let item = items.pop_front();
        self.len.store(items.len(), Ordering::Release);
        item
    }

    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How a waiter gives way: a few yields, then sleeps that double up to a millisecond.
pub(crate) struct Patience {
    rounds: u32,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Self { rounds: 0 }
    }

    #[cfg(not(loom))]
    pub(crate) fn wait(&mut self) {
        const YIELDS: u32 = 8;
        const SLEEP_US_FIRST: u64 = 16;
        const DOUBLINGS_MAX: u32 = 6;
        if self.rounds < YIELDS {
            thread::yield_now();
        } else {
            let doublings = (self.rounds - YIELDS).min(DOUBLINGS_MAX);
            thread::sleep(std::time::Duration::from_micros(SLEEP_US_FIRST << doublings));
        }
        self.rounds = self.rounds.saturating_add(1);
    }

    #[cfg(loom)]
    pub(crate) fn wait(&mut self) {
        self.rounds = self.rounds.saturating_add(1);
        thread::yield_now();
    }
}
