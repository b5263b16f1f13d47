// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Quiescent-state based reclamation: when may memory that was unlinked be freed?
//!
//! # The algorithm
//!
//! A domain has an *epoch* (a counter that starts at 1) and a *seat* per reader (a cache line with the epoch in which
//! the reader entered, or 0 when it is outside). What a writer unlinks is put in the garbage with the epoch of that
//! moment, its *stamp*. To reclaim, the epoch is advanced past the newest stamp and the seats are scanned: garbage
//! whose stamp is lower than the oldest epoch in any seat is freed. Nobody waits; what is not yet free stays.
//!
//! # Why it is right
//!
//! Let a writer unlink X with stamp t, and let R be a reader's stay between entering and leaving.
//!
//! * enter: `e = epoch.load(Relaxed); seat.store(e, Release); fence(SeqCst)` (F_r), then loads of shared pointers.
//! * writer: unlink (Release), then under the garbage mutex stamp X with the epoch.
//! * reclaim: under that mutex `epoch.store(t + 1, Release); fence(SeqCst)` (F_w), then `seat.load(Acquire)` of every seat.
//!
//! The two fences are in one total order.
//! 1. F_w before F_r. The unlinking happens before F_w (program order, or the garbage mutex), so every load after F_r
//!    sees it or something newer: R cannot reach X at all.
//! 2. F_r before F_w. The scan sees R's store to its seat or a later one.
//!    * It sees `e <= t`: X is kept. (R may hold X.)
//!    * It sees `e > t`: R read an epoch stored after X was stamped; that Release store, R's load and the acquire side of
//!      F_r make the unlinking visible to R: it cannot reach X.
//!    * It sees 0 or a later stay's epoch: both are Release stores after R's last access, and the scan's load is
//!      Acquire, so all of R happens before X is freed.
//!
//! A reader that sits down for the first time takes the seats mutex: if a scan missed its seat, that scan's F_w
//! happens before the reader's F_r, which is case 1.
//!
//! A reader outside (seat 0) delays nothing. A reader inside delays the freeing of what was retired since it
//! entered, and nothing else: writers go on.

mod kept;

use self::kept::Kept;
use crate::primitives::{Arc, AtomicU64, AtomicUsize, Mutex, Ordering, Patience, fence, lock, try_lock};
use crossbeam_utils::CachePadded;
use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;

/// A seat's value when its reader is outside.
const OUTSIDE: u64 = 0;
/// Seats kept for the next `pin` or `register`; more than this many idle ones are given back.
const IDLE_SEATS_MAX: usize = 16;
/// How often one `reclaim` looks again at what its destructors, or other threads meanwhile, have retired.
const PASSES_MAX: usize = 16;

/// The epoch in which its reader entered, or [`OUTSIDE`]; written by that reader alone.
type Seat = CachePadded<AtomicU64>;

/// A family of readers and writers that agree on when unlinked memory is freed. Cloning gives another handle on
/// the same domain.
///
/// When the last handle (clone or [`Reader`]) goes, what is left of the garbage is freed. Structures
/// made in a domain do not count as handles, so values that contain a [`crate::Snapshot`] or a [`crate::Table`] of the
/// same domain are fine in it; values that own a `Domain` keep it, and the garbage that they may lie in, alive.
pub struct Domain {
    shared: Arc<Shared>,
}

/// The domain as its structures hold it: alive, but not as a handle.
pub(crate) struct Shared {
    epoch: CachePadded<AtomicU64>,
    garbage: Mutex<Garbage>,
    seats: Mutex<Seats>,
    /// Held while destructors run, so that `synchronize` can wait for another thread's.
    reclaiming: Mutex<()>,
    handles: AtomicUsize,
    /// Length of `garbage`, for a look without the lock.
    pending: AtomicUsize,
    panics: AtomicU64,
}

#[derive(Default)]
struct Garbage {
    /// What was retired, with its stamp, oldest first.
    retired: VecDeque<(u64, Deferred)>,
    /// A scan has shown that no reader can see what has a lower stamp. (A later scan may find a seat with an older epoch: of
    /// a reader that read the epoch long ago and sat down just now. It sees nothing of that either.)
    passed: u64,
}

#[derive(Default)]
struct Seats {
    all: Vec<Arc<Seat>>,
    idle: Vec<Arc<Seat>>,
}

/// Room for so many retired things is kept while there are none: as many as a client's changes of one moment leave.
const RETIRED_KEPT: usize = 8192;

/// Something to do once no reader can be looking any more.
pub(crate) enum Deferred {
    Call(Box<dyn FnOnce() + Send>),
    Free { pointer: *mut (), free: unsafe fn(*mut ()) },
}

// SAFETY: `Call` is Send by its type; `Free` owns a `Box<T>` with `T: Send` (the bound of `Deferred::free`).
unsafe impl Send for Deferred {}

impl Deferred {
    /// Frees the box behind `pointer`. It stays a raw pointer until then: readers may still hold references, which a
    /// `Box` in our hands would contradict.
    ///
    /// # Safety
    /// `pointer` came from `Box::into_raw` and is not freed by anyone else.
    unsafe fn free<T: Send + 'static>(pointer: *mut T) -> Self {
        /// # Safety
        /// `pointer` came from `Box::<T>::into_raw` and nobody uses it any more.
        unsafe fn free_box<T>(pointer: *mut ()) {
            // SAFETY: the contract of this function.
            drop(unsafe { Box::from_raw(pointer.cast::<T>()) });
        }
        Self::Free { pointer: pointer.cast(), free: free_box::<T> }
    }

    fn run(self) {
        match self {
            Self::Call(call) => call(),
            // SAFETY: `Deferred::free` promised sole ownership; we are run once (by value), after the grace period.
            Self::Free { pointer, free } => unsafe { free(pointer) },
        }
    }
}

impl Domain {
    /// A domain without readers.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                epoch: CachePadded::new(AtomicU64::new(OUTSIDE + 1)),
                garbage: Mutex::new(Garbage::default()),
                seats: Mutex::new(Seats::default()),
                reclaiming: Mutex::new(()),
                handles: AtomicUsize::new(1),
                pending: AtomicUsize::new(0),
                panics: AtomicU64::new(0),
            }),
        }
    }

    /// A seat for one thread that enters often, such as a worker. Takes a lock, allocates.
    #[must_use]
    pub fn register(&self) -> Reader {
        Reader { seat: self.shared.sit_down(), domain: self.clone(), _not_sync: PhantomData }
    }

    /// A guard for a thread that enters now and then, such as one that serves requests. The thread keeps its seat for the next time;
    /// the first time, and for many guards at once, a lock is taken. May be dropped by another thread. While it lives,
    /// nothing retired after it was made is freed: do not keep it over a wait.
    #[inline]
    #[must_use]
    pub fn pin(&self) -> Guard<'_> {
        let kept = Kept::take(&self.shared);
        self.shared.enter(kept.seat());
        Guard { domain_id: self.shared.id(), place: Place::Kept(Some(kept)) }
    }

    /// Drops `value` after every guard that exists now has gone (see [`Domain::reclaim`] for who does it).
    ///
    /// A destructor that panics is contained and counted ([`Domain::destructor_panics`]).
    pub fn retire<T: Send + 'static>(&self, value: T) {
        let pointer = Box::into_raw(Box::new(value));
        // SAFETY: fresh from `Box::into_raw`, known to nobody else.
        unsafe { self.shared.retire_raw(pointer) };
    }

    /// Calls `action` after every guard that exists now has gone.
    pub fn defer(&self, action: Box<dyn FnOnce() + Send>) {
        self.shared.push(Deferred::Call(action));
    }

    /// Drops what no guard can see any more, on this thread, and returns how many things that were. Never waits for
    /// readers. If another thread is at it, or this one is (a destructor calls it), returns 0 at once.
    ///
    /// To be called by writers after each change, with no lock of theirs held, and from a timer while
    /// [`Domain::pending`] is not zero.
    pub fn reclaim(&self) -> usize {
        if self.pending() == 0 {
            return 0;
        }
        let Some(_running) = try_lock(&self.shared.reclaiming) else {
            return 0;
        };
        self.shared.run_ready()
    }

    /// Waits until every guard that exists now has gone; then everything retired before this call has been dropped.
    ///
    /// Sleeps while it waits. Must not be called with a guard of this domain in hand, nor from a destructor
    /// that the domain runs: either waits for itself.
    pub fn synchronize(&self) {
        let target = self.shared.advance();
        let mut patience = Patience::new();
        while self.shared.oldest_inside() < target {
            patience.wait();
        }
        let _running = lock(&self.shared.reclaiming);
        {
            let mut garbage = lock(&self.shared.garbage);
            garbage.passed = garbage.passed.max(target);
        }
        self.shared.run_ready();
    }

    /// How many things wait to be dropped.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.shared.pending.load(Ordering::Relaxed)
    }

    /// How many destructors and deferred actions have panicked so far.
    #[must_use]
    pub fn destructor_panics(&self) -> u64 {
        self.shared.panics.load(Ordering::Relaxed)
    }

    /// For a structure of this crate to keep.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }
}

impl Default for Domain {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for Domain {
    fn clone(&self) -> Self {
        self.shared.handles.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        if self.shared.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.run_all();
        }
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Domain").field("pending", &self.pending()).finish_non_exhaustive()
    }
}

impl Shared {
    fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Panics if `guard` is of another domain: it would protect nothing here. One compare; this is what makes the
    /// readers' interface sound.
    #[inline]
    pub(crate) fn check(&self, guard: &Guard<'_>) {
        assert!(guard.domain_id == self.id(), "a guard of another domain protects nothing in this one");
    }

    #[inline]
    fn enter(&self, seat: &Seat) {
        let now = self.epoch.load(Ordering::Relaxed);
        seat.store(now, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    fn sit_down(&self) -> Arc<Seat> {
        let mut seats = lock(&self.seats);
        if let Some(seat) = seats.idle.pop() {
            return seat;
        }
        let seat = Arc::new(CachePadded::new(AtomicU64::new(OUTSIDE)));
        seats.all.push(Arc::clone(&seat));
        seat
    }

    fn stand_up(&self, seat: &Arc<Seat>) {
        seat.store(OUTSIDE, Ordering::Release);
        let mut seats = lock(&self.seats);
        if seats.idle.len() < IDLE_SEATS_MAX {
            seats.idle.push(Arc::clone(seat));
        } else {
            seats.all.retain(|other| !Arc::ptr_eq(other, seat));
        }
    }

    /// Frees the box behind `pointer` once no guard that exists now is left.
    ///
    /// # Safety
    /// `pointer` came from `Box::into_raw`, no guard made from now on can reach it, and it is retired only once.
    pub(crate) unsafe fn retire_raw<T: Send + 'static>(&self, pointer: *mut T) {
        // SAFETY: the caller hands over the only claim to free it.
        self.push(unsafe { Deferred::free(pointer) });
    }

    fn push(&self, deferred: Deferred) {
        {
            let mut garbage = lock(&self.garbage);
            // Under the lock that `advance` also takes: an epoch above this stamp is stored after the unlinking.
            let stamp = self.epoch.load(Ordering::Relaxed);
            garbage.retired.push_back((stamp, deferred));
            self.pending.store(garbage.retired.len(), Ordering::Relaxed);
        }
        // The last handle has gone: so have all guards, and nobody else will come to clean up. (It decremented before
        // it emptied the garbage under the lock, so either it saw ours or we see zero.)
        if self.handles.load(Ordering::Acquire) == 0 {
            self.run_all();
        }
    }

    /// Starts a new epoch and returns it.
    fn advance(&self) -> u64 {
        let _garbage = lock(&self.garbage);
        let next = self.epoch.load(Ordering::Relaxed) + 1;
        self.epoch.store(next, Ordering::Release);
        next
    }

    /// The epoch of the reader that has been inside longest, `u64::MAX` if none is.
    fn oldest_inside(&self) -> u64 {
        fence(Ordering::SeqCst);
        let seats = lock(&self.seats);
        let entered = seats.all.iter().map(|seat| seat.load(Ordering::Acquire));
        entered.filter(|&epoch| epoch != OUTSIDE).min().unwrap_or(u64::MAX)
    }

    /// Takes out of the garbage what nobody can see.
    fn take_ready(&self) -> Vec<Deferred> {
        let mut garbage = lock(&self.garbage);
        let Some(&(newest, _)) = garbage.retired.back() else {
            return Vec::new();
        };
        if garbage.passed <= newest {
            let now = self.epoch.load(Ordering::Relaxed).max(newest + 1);
            self.epoch.store(now, Ordering::Release);
            // What is retired after this scan may be stamped `now`.
            garbage.passed = garbage.passed.max(self.oldest_inside().min(now));
        }
        let passed = garbage.passed;
        let ready = garbage.retired.partition_point(|&(stamp, _)| stamp < passed);
        let taken = garbage.retired.drain(..ready).map(|(_, deferred)| deferred).collect();
        if garbage.retired.is_empty() && garbage.retired.capacity() > RETIRED_KEPT {
            // A table of a million entries has gone: the list need not stay as long.
            garbage.retired = VecDeque::new();
        }
        self.pending.store(garbage.retired.len(), Ordering::Relaxed);
        taken
    }

    /// Drops what is ready, and what that makes ready (within bounds: others may retire as fast as we drop), holding no
    /// lock but `reclaiming`.
    fn run_ready(&self) -> usize {
        let mut total = 0;
        for _ in 0..PASSES_MAX {
            let ready = self.take_ready();
            if ready.is_empty() {
                break;
            }
            total += ready.len();
            ready.into_iter().for_each(|deferred| self.run(deferred));
        }
        total
    }

    /// Drops everything: no handle, so no guard, is left.
    fn run_all(&self) {
        loop {
            let all = std::mem::take(&mut lock(&self.garbage).retired);
            self.pending.store(0, Ordering::Relaxed);
            if all.is_empty() {
                return;
            }
            all.into_iter().for_each(|(_, deferred)| self.run(deferred));
        }
    }

    #[cfg(not(loom))]
    fn run(&self, deferred: Deferred) {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| deferred.run()));
        if let Err(payload) = outcome {
            self.panics.fetch_add(1, Ordering::Relaxed);
            // It may be of any type, so its destructor may panic as well.
            std::mem::forget(payload);
        }
    }

    /// A model run must see the panics with which loom reports a race.
    #[cfg(loom)]
    fn run(&self, deferred: Deferred) {
        deferred.run();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.run_all();
    }
}

/// One thread's seat in a [`Domain`]. Dropping it gives the seat back.
pub struct Reader {
    seat: Arc<Seat>,
    domain: Domain,
    _not_sync: PhantomData<Cell<()>>,
}

impl Reader {
    /// Enters: what is read with the guard stays valid until the guard is dropped. A load, a store and a fence; meant to
    /// be called once per batch.
    #[inline]
    #[must_use]
    pub fn enter(&mut self) -> Guard<'_> {
        let shared = &*self.domain.shared;
        shared.enter(&self.seat);
        Guard { domain_id: shared.id(), place: Place::Borrowed(&self.seat) }
    }

    /// The domain of this reader.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        &self.domain
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.domain.shared.stand_up(&self.seat);
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

/// Proof of being inside a [`Domain`]: references read with it live as long as it does.
///
/// From [`Reader::enter`], which borrows the reader, or [`Domain::pin`], which borrows the domain.
pub struct Guard<'r> {
    domain_id: usize,
    place: Place<'r>,
}

enum Place<'r> {
    Borrowed(&'r Seat),
    /// `None` only while it is dropped.
    Kept(Option<Kept>),
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        match &mut self.place {
            Place::Borrowed(seat) => seat.store(OUTSIDE, Ordering::Release),
            Place::Kept(kept) => {
                if let Some(kept) = kept.take() {
                    kept.seat().store(OUTSIDE, Ordering::Release);
                    kept.keep();
                }
            }
        }
    }
}

impl fmt::Debug for Guard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
