// SPDX-License-Identifier: Apache-2.0 OR MIT
//! 64-bit counters that each worker counts in memory of its own, and that any thread sums when it wants to know.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// One worker's `N` counters, on cache lines of their own.
///
/// Written by that worker alone: `add` is a load and a store, so additions of two threads at once would be lost
/// (nothing worse). Read by anyone.
#[repr(align(64))]
pub struct Local<const N: usize> {
    values: [AtomicU64; N],
}

impl<const N: usize> Default for Local<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Local<N> {
    /// Zeros. [`Counters`] makes one for each worker; an object that is on the fast path may keep its own array of them.
    #[must_use]
    pub fn new() -> Self {
        Self { values: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// Adds `amount` to counter `counter`, modulo 2^64.
    ///
    /// # Panics
    /// If `counter` is not below `N`.
    #[inline]
    pub fn add(&self, counter: usize, amount: u64) {
        let value = &self.values[counter];
        value.store(value.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    /// This worker's part of counter `counter`.
    ///
    /// # Panics
    /// If `counter` is not below `N`.
    #[inline]
    pub fn get(&self, counter: usize) -> u64 {
        self.values[counter].load(Ordering::Relaxed)
    }

    /// Overwrites this worker's part of counter `counter`: for what is not a sum, such as a time of last use, which
    /// readers gather with [`Counters::locals`].
    ///
    /// # Panics
    /// If `counter` is not below `N`.
    #[inline]
    pub fn set(&self, counter: usize, value: u64) {
        self.values[counter].store(value, Ordering::Relaxed);
    }
}

/// `N` counters, counted per worker.
///
/// A worker's block is allocated when it first counts, so an object that few workers touch (a vport, a flow) costs 16
/// bytes per worker and then some. A block stays when its worker leaves: sums never go back. A sum is exact once the
/// writers have stopped and that is known to the reader (a join, a channel); before that, each counter is some value
/// that it had, and never decreases from one sum to the next.
pub struct Counters<const N: usize> {
    locals: Box<[OnceLock<Box<Local<N>>>]>,
    shared: OnceLock<Box<Local<N>>>,
}

impl<const N: usize> Counters<N> {
    /// Zeros, for the workers `0..workers`.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self { locals: (0..workers).map(|_| OnceLock::new()).collect(), shared: OnceLock::new() }
    }

    /// The block of worker `worker`, for that worker to count in.
    ///
    /// # Panics
    /// If `worker` is not below the number given to [`Counters::new`].
    #[inline]
    pub fn worker(&self, worker: usize) -> &Local<N> {
        self.locals[worker].get_or_init(|| Box::new(Local::new()))
    }

    /// Adds on behalf of a thread that is not a worker: an atomic addition to a block that all such threads share.
    ///
    /// # Panics
    /// If `counter` is not below `N`.
    pub fn add_shared(&self, counter: usize, amount: u64) {
        let shared = self.shared.get_or_init(|| Box::new(Local::new()));
        shared.values[counter].fetch_add(amount, Ordering::Relaxed);
    }

    /// The blocks that exist, each once.
    pub fn locals(&self) -> impl Iterator<Item = &Local<N>> {
        let blocks = self.locals.iter().chain(std::iter::once(&self.shared));
        blocks.filter_map(OnceLock::get).map(|block| &**block)
    }

    /// Every counter's sum over the workers, modulo 2^64.
    #[must_use]
    pub fn sum(&self) -> [u64; N] {
        let mut sums = [0u64; N];
        for local in self.locals() {
            for (sum, value) in sums.iter_mut().zip(&local.values) {
                *sum = sum.wrapping_add(value.load(Ordering::Relaxed));
            }
        }
        sums
    }

    /// One counter's sum over the workers, modulo 2^64.
    ///
    /// # Panics
    /// If `counter` is not below `N`.
    #[must_use]
    pub fn sum_of(&self, counter: usize) -> u64 {
        self.locals().fold(0, |sum, local| sum.wrapping_add(local.get(counter)))
    }
}

impl<const N: usize> fmt::Debug for Counters<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Counters").field(&self.sum()).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn sums_are_exact_after_the_writers_stop_and_monotonic_before() {
        const ROUNDS: u64 = 200_000;
        let counters = Counters::<3>::new(4);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..3)
                .map(|worker| {
                    let counters = &counters;
                    scope.spawn(move || {
                        for i in 0..ROUNDS {
                            counters.worker(worker).add(0, 1);
                            counters.worker(worker).add(2, i);
                        }
                    })
                })
                .collect();
            scope.spawn(|| {
                let mut before = [0; 3];
                while !stop.load(Ordering::Relaxed) {
                    let now = counters.sum();
                    assert!((0..3).all(|i| now[i] >= before[i]), "{now:?} after {before:?}");
                    before = now;
                    std::thread::yield_now();
                }
            });
            for worker in workers {
                worker.join().expect("a worker");
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert_eq!(counters.sum(), [3 * ROUNDS, 0, 3 * (ROUNDS * (ROUNDS - 1) / 2)]);
        assert_eq!(counters.sum_of(0), 3 * ROUNDS);
        assert_eq!(counters.locals().count(), 3, "the fourth worker never counted");
    }

    #[test]
    fn threads_that_are_no_workers_count_too() {
        let counters = Counters::<1>::new(1);
        counters.worker(0).add(0, 5);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| counters.add_shared(0, 1)));
            }
        });
        assert_eq!(counters.sum(), [4005]);
    }

    #[test]
    fn values_that_are_not_sums_are_gathered_by_hand() {
        let counters = Counters::<1>::new(2);
        counters.worker(0).set(0, 70);
        counters.worker(1).set(0, 50);
        assert_eq!(counters.locals().map(|local| local.get(0)).max(), Some(70));
    }

    #[test]
    fn additions_wrap() {
        let counters = Counters::<1>::new(2);
        counters.worker(0).add(0, u64::MAX);
        counters.worker(1).add(0, 3);
        assert_eq!(counters.sum(), [2]);
        counters.worker(0).add(0, 1);
        assert_eq!(counters.sum(), [3]);
    }

    #[test]
    #[should_panic(expected = "out of bounds")]
    fn a_worker_that_was_not_announced_is_refused() {
        Counters::<1>::new(2).worker(2);
    }

    #[test]
    fn idle_counters_are_small() {
        assert_eq!(size_of::<Counters<16>>(), 32);
        assert_eq!((size_of::<Local<8>>(), align_of::<Local<8>>()), (64, 64));
    }
}
