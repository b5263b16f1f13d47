// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A sparse array, such as the vports of a datapath by port number: readers find an entry in two loads, and the lowest
//! free index is found without walking the taken ones.

mod bitmap;

use self::bitmap::Bitmap;
use crate::error::Error;
use crate::primitives::{Arc, AtomicPtr, AtomicUsize, Mutex, Ordering, lock};
use crate::qsbr::{Domain, Guard, Shared};
use std::fmt;

/// Entries per leaf: 2 KiB of pointers, allocated when the first of them is set.
#[cfg(not(loom))]
const LEAF_LEN: usize = 256;
#[cfg(loom)]
const LEAF_LEN: usize = 2;

type Leaf<T> = [AtomicPtr<T>; LEAF_LEN];

/// A fixed-capacity array `index -> T` of which most entries may be empty.
///
/// Dropping it retires its values: references that readers took with a guard outlive it.
pub struct Slots<T: Send + Sync + 'static> {
    shared: Arc<Shared>,
    /// Null until an index of that leaf is set; never changes after, freed with `self`.
    leaves: Box<[AtomicPtr<Leaf<T>>]>,
    capacity: usize,
    len: AtomicUsize,
    /// The taken indexes; holding it is being the writer.
    taken: Mutex<Bitmap>,
}

impl<T: Send + Sync + 'static> Slots<T> {
    /// An empty array for the indexes `0..capacity`. Costs 8 bytes per 256 indexes and a bit per index until used.
    #[must_use]
    pub fn new(domain: &Domain, capacity: usize) -> Self {
        let null = || AtomicPtr::new(std::ptr::null_mut());
        Self {
            shared: domain.shared(),
            leaves: (0..capacity.div_ceil(LEAF_LEN)).map(|_| null()).collect(),
            capacity,
            len: AtomicUsize::new(0),
            taken: Mutex::new(Bitmap::new(capacity)),
        }
    }

    /// The number of valid indexes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The number of taken indexes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether no index is taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value at `index`; `None` if it is free or out of range.
    ///
    /// # Panics
    /// If `guard` is of another domain.
    #[inline]
    pub fn get<'g>(&self, index: usize, guard: &'g Guard<'_>) -> Option<&'g T> {
        self.shared.check(guard);
        let pointer = self.entry(index)?.load(Ordering::Acquire);
        // SAFETY: null or published complete (Release in `put`); freed only through the domain after it was unlinked,
        // hence after `guard`, which is of this domain.
        unsafe { pointer.as_ref() }
    }

    /// The taken indexes and their values in ascending order, as they are when the iterator comes to them.
    ///
    /// # Panics
    /// If `guard` is of another domain.
    pub fn iter<'g>(&self, guard: &'g Guard<'_>) -> impl Iterator<Item = (usize, &'g T)> {
        self.shared.check(guard);
        let leaves = self.leaves.iter().enumerate();
        leaves
            .filter_map(|(number, leaf)| {
                // SAFETY: as in `entry`.
                let leaf = unsafe { leaf.load(Ordering::Acquire).as_ref() }?;
                Some((number * LEAF_LEN, leaf))
            })
            .flat_map(|(first, leaf)| leaf.iter().enumerate().map(move |(i, entry)| (first + i, entry)))
            .filter_map(|(index, entry)| {
                // SAFETY: as in `get`.
                let value = unsafe { entry.load(Ordering::Acquire).as_ref() }?;
                Some((index, value))
            })
    }

    /// The lowest free index that is `from` or higher. Another writer may take it before the caller does, unless the
    /// caller serialises them; [`Slots::insert_lowest`] does both at once.
    #[must_use]
    pub fn lowest_free(&self, from: usize) -> Option<usize> {
        lock(&self.taken).lowest_clear(from)
    }

    /// Puts `value` at a free `index`.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`]; [`Error::IndexTaken`].
    pub fn set(&self, index: usize, value: T) -> Result<(), Error> {
        let mut taken = lock(&self.taken);
        self.check_range(index)?;
        if taken.get(index) {
            return Err(Error::IndexTaken { index });
        }
        taken.set(index);
        self.put(index, Box::new(value));
        self.len.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Puts what `value` makes of the lowest free index, `from` or higher, there and returns the index. `value` runs
    /// under the writer lock and must not write to the same array.
    ///
    /// # Errors
    /// [`Error::Full`] if none is free.
    pub fn insert_lowest(&self, from: usize, value: impl FnOnce(usize) -> T) -> Result<usize, Error> {
        let mut taken = lock(&self.taken);
        let index = taken.lowest_clear(from).ok_or(Error::Full { limit: self.capacity })?;
        let value = Box::new(value(index));
        taken.set(index);
        self.put(index, value);
        self.len.fetch_add(1, Ordering::Relaxed);
        Ok(index)
    }

    /// Puts `value` at `index`, free or not; returns whether it replaced another, which is then retired.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`].
    pub fn replace(&self, index: usize, value: T) -> Result<bool, Error> {
        let old = {
            let mut taken = lock(&self.taken);
            self.check_range(index)?;
            if !taken.get(index) {
                taken.set(index);
                self.len.fetch_add(1, Ordering::Relaxed);
            }
            self.put(index, Box::new(value))
        };
        if old.is_null() {
            return Ok(false);
        }
        // SAFETY: from `Box::into_raw`, unlinked by `put`, once: writers take turns.
        unsafe { self.shared.retire_raw(old) };
        Ok(true)
    }

    /// Empties `index`; returns whether there was a value, which is retired. The index is free at once.
    pub fn remove(&self, index: usize) -> bool {
        self.remove_with(index, |_| ()).is_some()
    }

    /// As [`Slots::remove`], and returns a clone of the value: for entries such as `Arc<Vport>`.
    pub fn take(&self, index: usize) -> Option<T>
    where
        T: Clone,
    {
        self.remove_with(index, T::clone)
    }

    fn remove_with<R>(&self, index: usize, look: impl FnOnce(&T) -> R) -> Option<R> {
        let mut taken = lock(&self.taken);
        let entry = self.entry(index)?;
        let old = entry.load(Ordering::Acquire);
        // SAFETY: null or live: only a writer unlinks it, and we are the writer.
        let seen = look(unsafe { old.as_ref() }?);
        entry.store(std::ptr::null_mut(), Ordering::Release);
        taken.clear(index);
        self.len.fetch_sub(1, Ordering::Relaxed);
        drop(taken);
        // SAFETY: from `Box::into_raw`, unlinked just now, once: writers take turns.
        unsafe { self.shared.retire_raw(old) };
        Some(seen)
    }

    fn check_range(&self, index: usize) -> Result<(), Error> {
        let capacity = self.capacity;
        if index < capacity { Ok(()) } else { Err(Error::IndexOutOfRange { index, capacity }) }
    }

    /// The entry of `index`, if its leaf is there. May be past the capacity (then it stays null), within the last leaf.
    #[inline]
    fn entry(&self, index: usize) -> Option<&AtomicPtr<T>> {
        let leaf = self.leaves.get(index / LEAF_LEN)?.load(Ordering::Acquire);
        // SAFETY: null or published complete (Release in `put`); freed only when `self` is dropped.
        let leaf = unsafe { leaf.as_ref() }?;
        Some(&leaf[index % LEAF_LEN])
    }

    /// Writer only, `index` in range: publishes `value`, returns the pointer that was there.
    fn put(&self, index: usize, value: Box<T>) -> *mut T {
        let leaf = &self.leaves[index / LEAF_LEN];
        if leaf.load(Ordering::Relaxed).is_null() {
            let empty: Leaf<T> = std::array::from_fn(|_| AtomicPtr::new(std::ptr::null_mut()));
            leaf.store(Box::into_raw(Box::new(empty)), Ordering::Release);
        }
        // SAFETY: not null (above); freed only when `self` is dropped.
        let leaf = unsafe { &*leaf.load(Ordering::Acquire) };
        leaf[index % LEAF_LEN].swap(Box::into_raw(value), Ordering::AcqRel)
    }
}

impl<T: Send + Sync + 'static> Drop for Slots<T> {
    fn drop(&mut self) {
        for leaf in &self.leaves {
            let leaf = leaf.load(Ordering::Acquire);
            if leaf.is_null() {
                continue;
            }
            // SAFETY: from `Box::into_raw` in `put`; only calls that borrow `self` look at leaves, and there are none.
            let leaf = unsafe { Box::from_raw(leaf) };
            for entry in leaf.iter() {
                let value = entry.load(Ordering::Acquire);
                if !value.is_null() {
                    // SAFETY: from `Box::into_raw`; unreachable now that its leaf goes.
                    unsafe { self.shared.retire_raw(value) };
                }
            }
        }
    }
}

impl<T: Send + Sync + 'static> fmt::Debug for Slots<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Slots");
        out.field("capacity", &self.capacity).field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
