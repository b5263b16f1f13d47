// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A queue from many sources (ports with misses) to few readers, in which a flooding source starves nobody.
//!
//! # The structure
//!
//! Each source has a bounded FIFO of its own behind a short mutex. A source that has something is *listed*: it is
//! in the lock-free `ready` queue exactly once, or in the hands of one reader. A round takes each ready source once and
//! puts it back at the end if it has more.
//!
//! # Limits
//!
//! A source may hold `per_source` items, but never more than are free in the whole queue. So as sources fill up, what
//! each may hold shrinks: k flooding sources settle at `total / (k + 1)` each and leave as much to the others. (A
//! source alone can use its whole `per_source` if that is at most half of `total`.)
//!
//! # No wake-up is lost
//!
//! `armed` means: whoever makes the queue non-empty must call the waker. A push that lists its source puts it into
//! `ready`, then (fence) swaps `armed` to false and calls the waker if it was true. A round that ends with `ready` empty
//! sets `armed`, then (fence) looks at `ready` again. The fences are in one order, so either the push sees `armed`, or the
//! round sees the source, and then takes `armed` back and says "more"; if a push was faster to take it, the waker is called.
//! A push to a source that is listed needs no wake-up: it adds under the source's mutex, under which its reader would
//! have found it empty to unlist it; whoever listed it is about to do the above.

mod index;

use self::index::Index;
use crate::primitives::{Arc, AtomicBool, AtomicU64, AtomicUsize, Fifo, Mutex, Ordering, fence, lock};
use crossbeam_utils::CachePadded;
use std::collections::VecDeque;
use std::fmt;

/// An empty FIFO's memory is given back when so many rounds have passed without it.
const REST_ROUNDS: u64 = 1024;
/// At most so many resting sources are looked at in a round.
const RESTING_PER_ROUND: usize = 4;

/// The bounds of a [`FairQueue`], in items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most that one source may have waiting.
    pub per_source: usize,
    /// The most that all together may have waiting. At least twice `per_source`, or that is never reached.
    pub total: usize,
}

/// Called when the queue becomes non-empty; on the pushing thread, with no lock held. Must not block.
pub type Waker = Box<dyn Fn() + Send + Sync>;

struct Source<T> {
    number: u32,
    /// Length of the FIFO, for a refusal without the mutex.
    waiting: AtomicUsize,
    refused: AtomicU64,
    state: Mutex<State<T>>,
}

struct State<T> {
    fifo: VecDeque<T>,
    /// In `ready`, about to be, or with a reader.
    listed: bool,
    /// Removed: nothing may be added any more.
    closed: bool,
    /// In `resting`.
    resting: bool,
    /// The round in which it was last drained.
    drained_round: u64,
}

enum Refusal<T> {
    Full(T),
    Closed(T),
}

/// Many bounded FIFOs, one per source, read in turn.
pub struct FairQueue<T> {
    sources: Index<Arc<Source<T>>>,
    ready: Fifo<Arc<Source<T>>>,
    armed: CachePadded<AtomicBool>,
    len: CachePadded<AtomicUsize>,
    limits: Limits,
    waker: Waker,
    rounds: AtomicU64,
    /// Drained sources that still have memory, the longest drained first.
    resting: Mutex<VecDeque<Arc<Source<T>>>>,
    /// Refusals of sources that were removed.
    refused_before: AtomicU64,
}

impl<T> Source<T> {
    fn new(number: u32) -> Self {
        Self {
            number,
            waiting: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            state: Mutex::new(State {
                fifo: VecDeque::new(),
                listed: false,
                closed: false,
                resting: false,
                drained_round: 0,
            }),
        }
    }
}

impl<T: Send + 'static> FairQueue<T> {
    /// An empty queue. `waker` is called whenever it becomes non-empty (see [`FairQueue::pop_round`]).
    #[must_use]
    pub fn new(limits: Limits, waker: Waker) -> Self {
        Self {
            sources: Index::new(),
            ready: Fifo::new(),
            armed: CachePadded::new(AtomicBool::new(true)),
            len: CachePadded::new(AtomicUsize::new(0)),
            limits,
            waker,
            rounds: AtomicU64::new(0),
            resting: Mutex::new(VecDeque::new()),
            refused_before: AtomicU64::new(0),
        }
    }

    /// Adds `item` to the FIFO of `source`, which begins to exist if it did not.
    ///
    /// # Errors
    /// The item, if the source or the queue is full; this is counted.
    pub fn push(&self, source: u32, item: T) -> Result<(), T> {
        let mut item = item;
        loop {
            let source = self.sources.get_or_insert_with(source, || Arc::new(Source::new(source)));
            match self.push_to(&source, item) {
                Ok(()) => return Ok(()),
                Err(Refusal::Full(item)) => {
                    source.refused.fetch_add(1, Ordering::Relaxed);
                    return Err(item);
                }
                // Removed since we looked it up, so it is no longer in the index.
                Err(Refusal::Closed(back)) => item = back,
            }
        }
    }

    /// Takes up to `max_per_source` items (at least one) from every source that has some, in turn, and appends them to
    /// `out` with their source. Items of one source are in order.
    ///
    /// Returns whether there is more: then call it again. Otherwise the waker is called when there is. After
    /// a wake-up the queue may turn out to be empty.
    #[must_use = "if there is more, the waker is not called for it"]
    pub fn pop_round(&self, max_per_source: usize, out: &mut Vec<(u32, T)>) -> bool {
        let round = self.rounds.fetch_add(1, Ordering::Relaxed) + 1;
        for _ in 0..self.ready.len() {
            let Some(source) = self.ready.pop() else {
                break;
            };
            self.serve(source, max_per_source.max(1), round, out);
        }
        self.rest(round.saturating_sub(REST_ROUNDS), RESTING_PER_ROUND);
        self.rearm()
    }

    /// Forgets `source` and returns what it had waiting. A later push makes it anew.
    pub fn remove(&self, source: u32) -> Vec<T> {
        let Some(source) = self.sources.remove(source) else {
            return Vec::new();
        };
        let left = {
            let mut state = lock(&source.state);
            state.closed = true;
            source.waiting.store(0, Ordering::Relaxed);
            std::mem::take(&mut state.fifo)
        };
        self.refused_before.fetch_add(source.refused.load(Ordering::Relaxed), Ordering::Relaxed);
        self.len.fetch_sub(left.len(), Ordering::AcqRel);
        left.into()
    }

    /// Gives the memory of all empty FIFOs back, as happens by itself after a thousand rounds or so: for a reader that
    /// has had nothing to do for a while.
    pub fn trim(&self) {
        self.rest(u64::MAX, usize::MAX);
    }

    /// How many items wait, including those being pushed at this moment.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many items `source` was refused since it began to exist.
    #[must_use]
    pub fn refused(&self, source: u32) -> u64 {
        self.sources.get(source).map_or(0, |source| source.refused.load(Ordering::Relaxed))
    }

    /// How many items all sources, removed ones included, were refused.
    #[must_use]
    pub fn refused_total(&self) -> u64 {
        let mut total = self.refused_before.load(Ordering::Relaxed);
        self.sources.for_each(|source| total += source.refused.load(Ordering::Relaxed));
        total
    }

    /// The most that a source may hold now.
    fn share(&self) -> usize {
        let free = self.limits.total.saturating_sub(self.len.load(Ordering::Relaxed));
        free.min(self.limits.per_source)
    }

    fn push_to(&self, source: &Arc<Source<T>>, item: T) -> Result<(), Refusal<T>> {
        // A flooding source is turned away here, touching nothing that others write but the length.
        if source.waiting.load(Ordering::Relaxed) >= self.share() {
            return Err(Refusal::Full(item));
        }
        if self.len.fetch_add(1, Ordering::AcqRel) >= self.limits.total {
            self.len.fetch_sub(1, Ordering::AcqRel);
            return Err(Refusal::Full(item));
        }
        let newly_listed = {
            let mut state = lock(&source.state);
            if state.closed || state.fifo.len() >= self.limits.per_source {
                self.len.fetch_sub(1, Ordering::AcqRel);
                return Err(if state.closed { Refusal::Closed(item) } else { Refusal::Full(item) });
            }
            state.fifo.push_back(item);
            source.waiting.store(state.fifo.len(), Ordering::Relaxed);
            !std::mem::replace(&mut state.listed, true)
        };
        if newly_listed {
            self.ready.push(Arc::clone(source));
            fence(Ordering::SeqCst);
            if self.armed.load(Ordering::Relaxed) && self.armed.swap(false, Ordering::AcqRel) {
                (self.waker)();
            }
        }
        Ok(())
    }

    fn serve(&self, source: Arc<Source<T>>, max: usize, round: u64, out: &mut Vec<(u32, T)>) {
        let (taken, more, begins_rest) = {
            let mut state = lock(&source.state);
            let taken = state.fifo.len().min(max);
            out.extend(state.fifo.drain(..taken).map(|item| (source.number, item)));
            let more = !state.fifo.is_empty();
            state.listed = more;
            source.waiting.store(state.fifo.len(), Ordering::Relaxed);
            state.drained_round = round;
            let begins_rest = !more && !state.closed && !std::mem::replace(&mut state.resting, true);
            (taken, more, begins_rest)
        };
        self.len.fetch_sub(taken, Ordering::AcqRel);
        if begins_rest {
            lock(&self.resting).push_back(Arc::clone(&source));
        }
        if more {
            self.ready.push(source);
        }
    }

    /// Frees the memory of up to `count` FIFOs that are empty and were drained in `until_round` or before.
    fn rest(&self, until_round: u64, count: usize) {
        let mut resting = lock(&self.resting);
        for _ in 0..resting.len().min(count) {
            let Some(source) = resting.front() else {
                return;
            };
            let mut state = lock(&source.state);
            let in_use = state.listed || state.drained_round > until_round;
            if !in_use {
                state.fifo = VecDeque::new();
                state.resting = false;
            }
            drop(state);
            // In use since it was put here: to the end, whence it comes back after the others.
            let source = resting.pop_front();
            if in_use {
                resting.extend(source);
            }
        }
    }

    fn rearm(&self) -> bool {
        if !self.ready.is_empty() {
            return true;
        }
        self.armed.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        !self.ready.is_empty() && self.armed.swap(false, Ordering::AcqRel)
    }
}

impl<T: Send + 'static> fmt::Debug for FairQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("FairQueue");
        out.field("len", &self.len()).field("limits", &self.limits).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
