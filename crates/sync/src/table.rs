// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A hash table for one writer at a time and any number of readers that never wait.
//!
//! # The structure
//!
//! All entries are in **one list, sorted by (mixed) hash**. The bucket array is only an index into it: the bucket of a
//! hash is given by its top bits, so the entries of a bucket are neighbours in the list, and `buckets[b]` points
//! to the first of them, or is null. Each entry knows its predecessor, which only the writer uses.
//!
//! Beside it, `filters[b]` has a bit for each of sixteen parts of the bucket's range of hashes, set if an entry is there. Most look-ups for
//! what is not in the table end at it: it is a quarter of the bucket array, and no entry is fetched from memory.
//!
//! * Growing and shrinking make a new index and publish it; no entry moves, no link changes. Readers use the old
//!   index or the new one; each leads into the same list.
//! * A dump's position is a hash (and how many of the same hash are done): it survives any change of size, nothing
//!   that stays in the table is missed, and nothing is seen twice.
//!
//! # Why readers are right
//!
//! A new entry's own link is set before the entry is published (Release; readers load with Acquire). A removed entry
//! keeps its own link, so that a reader who stands on it goes on: the successor at the moment of removal, if it is
//! removed later, has a link in turn. So from any entry, removed or not, a reader reaches every entry with a higher hash
//! that has been in the table all the while. Entries and old indexes are freed after a grace period. An old index may
//! point to entries that were removed since it was replaced; whoever still has that index entered before the
//! replacement was published, hence before that removal, so those entries are still there for it.
//!
//! A filter never lacks the bit of an entry that is in the list: its bit is set before the entry is published, and a removal, once it is
//! done, writes the bits of those that are left. A reader to whom the insertion has been told sees that bit or a later state of the filter.

use crate::error::Error;
use crate::primitives::{Arc, AtomicPtr, AtomicU16, AtomicUsize, Mutex, Ordering, lock};
use crate::qsbr::{Domain, Guard, Shared};
use std::fmt;
use std::ops::ControlFlow;
use std::ptr::null_mut;

/// The smallest index. At least two, so that a shift by 64 bits is never needed.
#[cfg(not(loom))]
const BUCKETS_MIN: usize = 16;
#[cfg(loom)]
const BUCKETS_MIN: usize = 2;
/// The index shrinks when fewer than one bucket in this many has an entry of its own.
#[cfg(not(loom))]
const SPARSE: usize = 8;
#[cfg(loom)]
const SPARSE: usize = 2;

/// An odd number, so multiplication by it is a bijection on `u64`; 2^64 / golden ratio spreads low bits to the top.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// A filter has two to the power of this many bits.
const FILTER_SHIFT: u32 = 4;

struct Node<T> {
    hash: u64,
    next: AtomicPtr<Node<T>>,
    /// Null for the first. Written and read by the writer alone.
    prev: AtomicPtr<Node<T>>,
    value: T,
}

struct Index<T> {
    /// `hash >> shift` is the bucket.
    shift: u32,
    buckets: Box<[AtomicPtr<Node<T>>]>,
    /// One for each bucket.
    filters: Box<[AtomicU16]>,
}

/// A hash table with lock-free readers. Several entries may have one hash; the caller's predicates tell them apart.
///
/// Hashes are mixed once more inside, so any 64-bit hash will do, a 32-bit one included; but it must be keyed with a
/// secret if others choose the keys. Predicates given to writers run under the writer lock and must not write to the
/// same table. Dropping the table retires its entries: references that readers took with a guard outlive it.
pub struct Table<T: Send + Sync + 'static> {
    index: AtomicPtr<Index<T>>,
    shared: Arc<Shared>,
    head: AtomicPtr<Node<T>>,
    /// Written and read by the writer alone.
    tail: AtomicPtr<Node<T>>,
    len: AtomicUsize,
    limit: usize,
    writer: Mutex<()>,
}

/// Where a dump of a [`Table`] goes on: `Cursor::default()` is the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Every entry with a lower hash has been visited,
    hash: u64,
    /// and so have this many of those with this hash.
    nth: usize,
    done: bool,
}

impl Cursor {
    /// Whether the dump has come to its end.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done
    }
}

impl<T> Index<T> {
    /// `len` is a power of two, at least two.
    fn new(len: usize) -> Self {
        Self {
            shift: u64::BITS - len.trailing_zeros(),
            buckets: (0..len).map(|_| AtomicPtr::new(null_mut())).collect(),
            filters: (0..len).map(|_| AtomicU16::new(0)).collect(),
        }
    }

    #[inline]
    fn home(&self, hash: u64) -> usize {
        (hash >> self.shift) as usize
    }

    #[inline]
    fn bucket(&self, hash: u64) -> &AtomicPtr<Node<T>> {
        &self.buckets[self.home(hash)]
    }

    /// The bit of a hash in its bucket's filter: by the bits next to those that say the bucket.
    #[inline]
    fn filter_bit(&self, hash: u64) -> u16 {
        1 << (hash >> (self.shift - FILTER_SHIFT) & ((1 << FILTER_SHIFT) - 1))
    }

    /// False: there is no entry with that hash.
    #[inline]
    fn may_have(&self, hash: u64) -> bool {
        self.filters[self.home(hash)].load(Ordering::Relaxed) & self.filter_bit(hash) != 0
    }

    /// Sets a hash's bit in its filter. For the writer.
    fn note(&self, hash: u64) {
        let filter = &self.filters[self.home(hash)];
        filter.store(filter.load(Ordering::Relaxed) | self.filter_bit(hash), Ordering::Relaxed);
    }

    /// The first entry of the first bucket from `bucket` on that has one.
    fn first_from(&self, bucket: usize) -> *mut Node<T> {
        let firsts = self.buckets[bucket..].iter().map(|first| first.load(Ordering::Acquire));
        firsts.into_iter().find(|first| !first.is_null()).unwrap_or(null_mut())
    }
}

#[inline]
fn mix(hash: u64) -> u64 {
    hash.wrapping_mul(MIX)
}

/// What readers do.
impl<T: Send + Sync + 'static> Table<T> {
    /// An empty table for at most `limit` entries. Its memory follows the number of entries, not the limit.
    #[must_use]
    pub fn new(domain: &Domain, limit: usize) -> Self {
        Self {
            index: AtomicPtr::new(Box::into_raw(Box::new(Index::new(BUCKETS_MIN)))),
            shared: domain.shared(),
            head: AtomicPtr::new(null_mut()),
            tail: AtomicPtr::new(null_mut()),
            len: AtomicUsize::new(0),
            limit,
            writer: Mutex::new(()),
        }
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most entries that it takes.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// An entry with that hash which `matches`; of several, the one inserted first.
    ///
    /// # Panics
    /// If `guard` is of another domain.
    #[inline]
    pub fn find<'g>(
        &self,
        hash: u64,
        guard: &'g Guard<'_>,
        mut matches: impl FnMut(&T) -> bool,
    ) -> Option<&'g T> {
        self.shared.check(guard);
        let hash = mix(hash);
        let index = self.index();
        if !index.may_have(hash) {
            return None;
        }
        let mut next = index.bucket(hash).load(Ordering::Acquire);
        // SAFETY: `node_at`'s: reached from this table under a guard of its domain.
        while let Some(node) = unsafe { node_at::<T>(next) } {
            if node.hash >= hash {
                if node.hash > hash {
                    return None;
                }
                if matches(&node.value) {
                    return Some(&node.value);
                }
            }
            next = node.next.load(Ordering::Acquire);
        }
        None
    }

    /// All entries in an order of the table's own. What is inserted or removed meanwhile may or may not be seen; every
    /// other entry is seen exactly once.
    ///
    /// # Panics
    /// If `guard` is of another domain.
    pub fn iter<'g>(&self, guard: &'g Guard<'_>) -> impl Iterator<Item = &'g T> + use<'g, T> {
        self.shared.check(guard);
        let mut next = self.head.load(Ordering::Acquire);
        std::iter::from_fn(move || {
            // SAFETY: `node_at`'s: reached from this table under a guard of its domain, which `'g` keeps.
            let node = unsafe { node_at::<'g, T>(next) }?;
            next = node.next.load(Ordering::Acquire);
            Some(&node.value)
        })
    }

    /// Calls `visit` with each entry, as [`Table::iter`] gives them.
    pub fn for_each(&self, guard: &Guard<'_>, visit: impl FnMut(&T)) {
        self.iter(guard).for_each(visit);
    }

    /// Goes on with a dump at `cursor`: calls `visit` with each entry until it breaks. An entry at which it breaks is
    /// not done: the next call begins with it. At the end the cursor says so ([`Cursor::is_done`]).
    ///
    /// The table may change between calls: an entry that stays is visited exactly once (of several entries with the
    /// very same hash, some may be missed if others of them are removed meanwhile).
    ///
    /// # Panics
    /// If `guard` is of another domain.
    pub fn resume<'g>(
        &self,
        cursor: &mut Cursor,
        guard: &'g Guard<'_>,
        mut visit: impl FnMut(&'g T) -> ControlFlow<()>,
    ) {
        self.shared.check(guard);
        if cursor.done {
            return;
        }
        let (mut of_hash, mut same) = (cursor.hash, 0);
        let index = self.index();
        let mut next = index.first_from(index.home(cursor.hash));
        // SAFETY: `node_at`'s: reached from this table under a guard of its domain, which `'g` keeps.
        while let Some(node) = unsafe { node_at::<'g, T>(next) } {
            next = node.next.load(Ordering::Acquire);
            if node.hash != of_hash {
                (of_hash, same) = (node.hash, 0);
            }
            same += 1;
            if node.hash < cursor.hash || (node.hash == cursor.hash && same <= cursor.nth) {
                continue;
            }
            if visit(&node.value).is_break() {
                return;
            }
            (cursor.hash, cursor.nth) = (node.hash, same);
        }
        cursor.done = true;
    }

    /// For a reader with a guard, or the writer.
    #[inline]
    fn index(&self) -> &Index<T> {
        // SAFETY: never null, published complete (Release in `resize`, or before `self` was shared), freed through the
        // domain after it was replaced. Callers are inside the domain, or the writer, who alone replaces it; the
        // borrow of `self` keeps both from outliving the table.
        unsafe { &*self.index.load(Ordering::Acquire) }
    }
}

/// The node behind a link.
///
/// # Safety
/// `link` was loaded (Acquire) from a table's index, head or node, under a guard of its domain that lives for `'g`, or by
/// the writer of that table, who does not free it during `'g`.
#[inline]
unsafe fn node_at<'g, T>(link: *mut Node<T>) -> Option<&'g Node<T>> {
    // SAFETY: null or published complete; freed only through the domain after it was unlinked (this function's contract).
    unsafe { link.as_ref() }
}

/// What writers do.
impl<T: Send + Sync + 'static> Table<T> {
    /// Adds an entry, whatever others there are.
    ///
    /// # Errors
    /// [`Error::Full`] at the limit.
    pub fn insert(&self, hash: u64, value: T) -> Result<(), Error> {
        self.insert_unless(hash, value, |_| false)
    }

    /// Adds an entry unless there is one with that hash for which `equal` holds.
    ///
    /// # Errors
    /// [`Error::Exists`]; [`Error::Full`] at the limit.
    pub fn insert_unless(&self, hash: u64, value: T, equal: impl FnMut(&T) -> bool) -> Result<(), Error> {
        let hash = mix(hash);
        let old_index = {
            let _writer = lock(&self.writer);
            if !self.locate(hash, equal).is_null() {
                return Err(Error::Exists);
            }
            if self.len() >= self.limit {
                return Err(Error::Full { limit: self.limit });
            }
            self.link(hash, value);
            self.resize_if_due()
        };
        self.retire_index(old_index);
        Ok(())
    }

    /// Puts `value` in the place of the first entry with that hash for which `equal` holds, or adds it; returns whether
    /// it replaced one, which is then retired. A reader sees the old one, the new one, or (for a moment) both.
    ///
    /// # Errors
    /// [`Error::Full`] at the limit, if there is nothing to replace.
    pub fn replace(&self, hash: u64, value: T, equal: impl FnMut(&T) -> bool) -> Result<bool, Error> {
        let hash = mix(hash);
        let (old, old_index) = {
            let _writer = lock(&self.writer);
            let old = self.locate(hash, equal);
            if old.is_null() && self.len() >= self.limit {
                return Err(Error::Full { limit: self.limit });
            }
            self.link(hash, value);
            if !old.is_null() {
                self.unlink(old);
            }
            (old, self.resize_if_due())
        };
        self.retire_index(old_index);
        self.retire_node(old);
        Ok(!old.is_null())
    }

    /// Removes the first entry with that hash which `matches`; it is retired. Returns whether there was one.
    pub fn remove(&self, hash: u64, matches: impl FnMut(&T) -> bool) -> bool {
        self.remove_with(hash, matches, |_| ()).is_some()
    }

    /// As [`Table::remove`], and returns a clone of the value: for entries such as `Arc<Flow>`.
    pub fn take(&self, hash: u64, matches: impl FnMut(&T) -> bool) -> Option<T>
    where
        T: Clone,
    {
        self.remove_with(hash, matches, T::clone)
    }

    /// Removes every entry for which `keep` does not hold; returns how many.
    pub fn retain(&self, mut keep: impl FnMut(&T) -> bool) -> usize {
        let mut removed = Vec::new();
        let mut old_indexes = Vec::new();
        {
            let _writer = lock(&self.writer);
            let mut link = self.head.load(Ordering::Acquire);
            // SAFETY: `node_at`'s: we are the writer, and free only below.
            while let Some(node) = unsafe { node_at::<T>(link) } {
                let next = node.next.load(Ordering::Acquire);
                if !keep(&node.value) {
                    removed.push(link);
                    self.unlink(link);
                }
                link = next;
            }
            while let Some(old) = self.resize_if_due() {
                old_indexes.push(old);
            }
        }
        old_indexes.into_iter().for_each(|old| self.retire_index(Some(old)));
        removed.iter().for_each(|&node| self.retire_node(node));
        removed.len()
    }

    /// Removes every entry; returns how many.
    pub fn clear(&self) -> usize {
        self.retain(|_| false)
    }

    fn remove_with<R>(
        &self,
        hash: u64,
        matches: impl FnMut(&T) -> bool,
        look: impl FnOnce(&T) -> R,
    ) -> Option<R> {
        let hash = mix(hash);
        let (node, seen, old_index) = {
            let _writer = lock(&self.writer);
            let link = self.locate(hash, matches);
            // SAFETY: `node_at`'s: we are the writer, and free only below.
            let seen = look(&unsafe { node_at(link) }?.value);
            self.unlink(link);
            (link, seen, self.resize_if_due())
        };
        self.retire_index(old_index);
        self.retire_node(node);
        Some(seen)
    }

    /// The first node with that mixed hash which `matches`, or null.
    fn locate(&self, hash: u64, mut matches: impl FnMut(&T) -> bool) -> *mut Node<T> {
        let index = self.index();
        if !index.may_have(hash) {
            return null_mut();
        }
        let mut link = index.bucket(hash).load(Ordering::Acquire);
        // SAFETY: `node_at`'s: we are the writer, and free nothing here.
        while let Some(node) = unsafe { node_at::<T>(link) } {
            if node.hash > hash {
                break;
            }
            if node.hash == hash && matches(&node.value) {
                return link;
            }
            link = node.next.load(Ordering::Acquire);
        }
        null_mut()
    }

    /// The neighbours of a new node: (the last with a hash not above, the first with one above), null for none.
    fn neighbours(&self, hash: u64) -> (*mut Node<T>, *mut Node<T>) {
        let index = self.index();
        let mut succ = index.first_from(index.home(hash));
        let mut pred = self.prev_of(succ).load(Ordering::Relaxed);
        // SAFETY: `node_at`'s: we are the writer, and free nothing here.
        while let Some(node) = unsafe { node_at::<T>(succ) } {
            if node.hash > hash {
                break;
            }
            pred = succ;
            succ = node.next.load(Ordering::Acquire);
        }
        (pred, succ)
    }

    /// The link that leads on from `node`; from null, the head.
    fn next_of(&self, node: *mut Node<T>) -> &AtomicPtr<Node<T>> {
        // SAFETY: `node_at`'s: only the writer calls this, with live nodes.
        unsafe { node_at(node) }.map_or(&self.head, |node| &node.next)
    }

    /// The link that leads back from `node`; from null, the tail.
    fn prev_of(&self, node: *mut Node<T>) -> &AtomicPtr<Node<T>> {
        // SAFETY: `node_at`'s: only the writer calls this, with live nodes.
        unsafe { node_at(node) }.map_or(&self.tail, |node| &node.prev)
    }

    /// Publishes a new entry, after those with the same hash.
    fn link(&self, hash: u64, value: T) {
        let (pred, succ) = self.neighbours(hash);
        let node = Node { hash, next: AtomicPtr::new(succ), prev: AtomicPtr::new(pred), value };
        let node = Box::into_raw(Box::new(node));
        let index = self.index();
        index.note(hash);
        self.next_of(pred).store(node, Ordering::Release);
        self.prev_of(succ).store(node, Ordering::Relaxed);
        let bucket = index.bucket(hash);
        let first = bucket.load(Ordering::Acquire);
        if first.is_null() || first == succ {
            bucket.store(node, Ordering::Release);
        }
        self.len.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes an entry out of the list and the index. Its own link stays, for readers that stand on it.
    fn unlink(&self, link: *mut Node<T>) {
        // SAFETY: `node_at`'s: we are the writer; the caller retires it later.
        let Some(node) = (unsafe { node_at::<T>(link) }) else {
            return;
        };
        let (pred, succ) = (node.prev.load(Ordering::Relaxed), node.next.load(Ordering::Acquire));
        self.next_of(pred).store(succ, Ordering::Release);
        self.prev_of(succ).store(pred, Ordering::Relaxed);
        let index = self.index();
        let bucket = index.bucket(node.hash);
        if bucket.load(Ordering::Acquire) == link {
            // SAFETY: as above.
            let succ_hash = unsafe { node_at::<T>(succ) }.map(|node| node.hash);
            let same_bucket = succ_hash.is_some_and(|hash| index.home(hash) == index.home(node.hash));
            bucket.store(if same_bucket { succ } else { null_mut() }, Ordering::Release);
        }
        self.filter_anew(index, index.home(node.hash));
        self.len.fetch_sub(1, Ordering::Relaxed);
    }

    /// Writes the filter of a bucket as its entries are now.
    fn filter_anew(&self, index: &Index<T>, bucket: usize) {
        let mut filter = 0;
        let mut link = index.buckets[bucket].load(Ordering::Acquire);
        // SAFETY: `node_at`'s: we are the writer, and free nothing here.
        while let Some(node) = unsafe { node_at::<T>(link) } {
            if index.home(node.hash) != bucket {
                break;
            }
            filter |= index.filter_bit(node.hash);
            link = node.next.load(Ordering::Acquire);
        }
        index.filters[bucket].store(filter, Ordering::Relaxed);
    }

    /// Publishes an index of another size if the number of entries asks for it; returns the old one, to be retired.
    fn resize_if_due(&self) -> Option<*mut Index<T>> {
        let (len, buckets) = (self.len(), self.index().buckets.len());
        let sparse = buckets > BUCKETS_MIN && len < buckets / SPARSE;
        if len <= buckets && !sparse {
            return None;
        }
        let wanted = if sparse { (len * 2).next_power_of_two().max(BUCKETS_MIN) } else { buckets * 2 };
        let new = Index::new(wanted);
        let mut last_home = None;
        let mut link = self.head.load(Ordering::Acquire);
        // SAFETY: `node_at`'s: we are the writer, and free nothing here.
        while let Some(node) = unsafe { node_at::<T>(link) } {
            let home = new.home(node.hash);
            if last_home != Some(home) {
                new.buckets[home].store(link, Ordering::Relaxed);
                last_home = Some(home);
            }
            new.note(node.hash);
            link = node.next.load(Ordering::Acquire);
        }
        Some(self.index.swap(Box::into_raw(Box::new(new)), Ordering::AcqRel))
    }

    fn retire_index(&self, old: Option<*mut Index<T>>) {
        if let Some(old) = old {
            // SAFETY: from `Box::into_raw`; unlinked by the swap in `resize_if_due`, which returned it once.
            unsafe { self.shared.retire_raw(old) };
        }
    }

    /// Null is fine and does nothing.
    fn retire_node(&self, node: *mut Node<T>) {
        if !node.is_null() {
            // SAFETY: from `Box::into_raw` in `link`; its caller has unlinked it, once, under the writer lock.
            unsafe { self.shared.retire_raw(node) };
        }
    }
}

/// The whole list of a table that was dropped, to be freed at once.
struct Chain<T>(*mut Node<T>);

// SAFETY: it owns its nodes, whose values are Send.
unsafe impl<T: Send> Send for Chain<T> {}

impl<T> Drop for Chain<T> {
    fn drop(&mut self) {
        let mut link = self.0;
        while !link.is_null() {
            // SAFETY: from `Box::into_raw` in `link`; the table is gone and so is every guard that could see it.
            let node = unsafe { Box::from_raw(link) };
            link = node.next.load(Ordering::Acquire);
        }
    }
}

impl<T: Send + Sync + 'static> Drop for Table<T> {
    fn drop(&mut self) {
        self.retire_index(Some(self.index.load(Ordering::Acquire)));
        let chain = Chain(self.head.load(Ordering::Acquire));
        // SAFETY: fresh from `Box::into_raw`; its nodes can no longer be reached through `self`.
        unsafe { self.shared.retire_raw(Box::into_raw(Box::new(chain))) };
    }
}

impl<T: Send + Sync + 'static> fmt::Debug for Table<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Table");
        out.field("len", &self.len()).field("limit", &self.limit).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
