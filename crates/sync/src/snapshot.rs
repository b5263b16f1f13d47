// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One published value: readers take what is current in one load, a writer replaces it whole.

use crate::primitives::{Arc, AtomicPtr, Mutex, Ordering, lock};
use crate::qsbr::{Domain, Guard, Shared};
use std::fmt;

/// A value of which readers always see one complete version.
///
/// Dropping the snapshot retires its value: references that readers took with a guard outlive it.
pub struct Snapshot<T: Send + Sync + 'static> {
    shared: Arc<Shared>,
    /// From `Box::into_raw`; never null.
    current: AtomicPtr<T>,
    writer: Mutex<()>,
}

impl<T: Send + Sync + 'static> Snapshot<T> {
    /// Publishes `value` as the first version, in `domain`.
    pub fn new(domain: &Domain, value: T) -> Self {
        Self {
            shared: domain.shared(),
            current: AtomicPtr::new(Box::into_raw(Box::new(value))),
            writer: Mutex::new(()),
        }
    }

    /// The current version. Loading twice under one guard may give two versions.
    ///
    /// # Panics
    /// If `guard` is of another domain.
    #[inline]
    pub fn load<'g>(&self, guard: &'g Guard<'_>) -> &'g T {
        self.shared.check(guard);
        let pointer = self.current.load(Ordering::Acquire);
        // SAFETY: never null; published complete (Release in `update`, or before `self` was shared). It is freed only
        // through the domain after it was unlinked, hence after `guard`, which is of this domain.
        unsafe { &*pointer }
    }

    /// Makes `value` the current version; the old one is retired into the domain.
    pub fn publish(&self, value: T) {
        self.update(|_| value);
    }

    /// Publishes what `next` makes of the current version. Updates and publications are one after the other; `next`
    /// runs under the writer lock and must not publish to the same snapshot.
    pub fn update(&self, next: impl FnOnce(&T) -> T) {
        let old = {
            let _writer = lock(&self.writer);
            let current = self.current.load(Ordering::Acquire);
            // SAFETY: only a writer unlinks it, and we are the writer.
            let value = next(unsafe { &*current });
            self.current.store(Box::into_raw(Box::new(value)), Ordering::Release);
            current
        };
        // SAFETY: from `Box::into_raw`, unlinked just now, once: writers take turns.
        unsafe { self.shared.retire_raw(old) };
    }
}

impl<T: Send + Sync + 'static> Drop for Snapshot<T> {
    fn drop(&mut self) {
        let last = self.current.load(Ordering::Acquire);
        // SAFETY: from `Box::into_raw`; nobody can load it through `self` any more.
        unsafe { self.shared.retire_raw(last) };
    }
}

impl<T: Send + Sync + 'static> fmt::Debug for Snapshot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn readers_keep_their_version() {
        let domain = Domain::new();
        let snapshot = Snapshot::new(&domain, String::from("one"));
        let mut reader = domain.register();
        let guard = reader.enter();
        let first = snapshot.load(&guard);
        snapshot.publish(String::from("two"));
        assert_eq!(domain.reclaim(), 0, "a guard that existed holds it");
        assert_eq!((first.as_str(), snapshot.load(&guard).as_str()), ("one", "two"));
        drop(guard);
        assert_eq!(domain.reclaim(), 1);
    }

    #[test]
    fn a_reference_outlives_the_snapshot() {
        let domain = Domain::new();
        let guard = domain.pin();
        let snapshot = Snapshot::new(&domain, vec![1, 2, 3]);
        let value = snapshot.load(&guard);
        drop(snapshot);
        domain.reclaim();
        assert_eq!(value, &[1, 2, 3]);
    }

    #[test]
    fn concurrent_updates_are_not_lost() {
        let domain = Domain::new();
        let snapshot = Snapshot::new(&domain, 0u64);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| snapshot.update(|n| n + 1)));
            }
        });
        assert_eq!(*snapshot.load(&domain.pin()), 4000);
    }

    #[test]
    #[should_panic(expected = "another domain")]
    fn a_foreign_guard_is_refused() {
        let snapshot = Snapshot::new(&Domain::new(), 1);
        snapshot.load(&Domain::new().pin());
    }
}
