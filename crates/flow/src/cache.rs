// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A worker's exact-match caches, in front of the classifier.
//!
//! * [`WindowCache`]: masked header bytes ([`crate::lens`]) to flow, for packets of the common shapes.
//! * [`KeyCache`]: masked flow keys to flow, for all others.
//!
//! Both are owned by one worker: nothing in them is shared. An entry holds a reference to its flow, so it can never dangle; a flow
//! that was deleted says so ([`Cached::is_live`]) and its entry counts as empty. An entry also carries the generation of the lens that
//! made it: when the live masks of a port change, its old entries simply never match again.
//!
//! Caches start small and double, up to a limit, while entries in use push each other out.

use std::sync::Arc;

use crate::key::FlowKey;
use crate::lens::{Lens, SHORT_WORDS, Shape, WINDOW_WORDS, Window};

/// What caches hold references to.
pub trait Cached {
    /// False once the flow has been deleted.
    fn is_live(&self) -> bool;
}

/// Entries of a fresh cache.
const ENTRIES_START: usize = 256;

/// Multipliers for the hash, drawn from a random seed so that a sender cannot aim at one bucket.
#[derive(Clone, Debug)]
struct HashKeys([u64; WINDOW_WORDS + 2]);

impl HashKeys {
    fn new(seed: u64) -> Self {
        let mut state = seed;
        Self(std::array::from_fn(|_| {
            // splitmix64 (Steele, Lea, Flood 2014): spreads one seed over many words
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }))
    }

    #[inline(always)]
    fn fold(a: u64, b: u64) -> u64 {
        let product = u128::from(a) * u128::from(b);
        (product as u64) ^ ((product >> 64) as u64)
    }

    /// The products do not depend on each other, so the processor computes them side by side. The words behind a short window's end
    /// are zero, and so they contribute the same to every short window's hash: they are left out.
    #[inline(always)]
    fn hash(&self, window: &Window, tag: u64, short: bool) -> u64 {
        let keys = &self.0;
        let pair = |at: usize| {
            Self::fold(window[at] ^ keys[at], window[at + 1] ^ keys[at + 1]).rotate_left(at as u32)
        };
        let mut hash =
            pair(0) ^ pair(2) ^ Self::fold(window[4] ^ keys[4], tag ^ keys[WINDOW_WORDS]).rotate_left(4);
        if !short {
            hash ^=
                pair(6) ^ pair(8) ^ Self::fold(window[5] ^ keys[5], keys[WINDOW_WORDS + 1]).rotate_left(5);
        }
        hash
    }
}

/// What a packet is looked up by: its masked header, its shape and its recirculation id.
#[derive(Clone, Debug)]
pub struct WindowKey {
    /// Masked header bytes.
    pub window: Window,
    /// Recirculation id and shape.
    tag: u64,
    hash: u64,
    short: bool,
}

impl WindowKey {
    /// The number of the packet's shape.
    pub fn shape(&self) -> u32 {
        self.tag as u32 & 0xff
    }

    /// The packet's recirculation id.
    pub fn recirc_id(&self) -> u32 {
        (self.tag >> 8) as u32
    }

    /// Tells keys apart, as good as surely.
    #[inline]
    pub fn digest(&self) -> u64 {
        self.hash
    }
}

#[inline(always)]
fn tag(recirc_id: u32, shape: Shape) -> u64 {
    (u64::from(recirc_id) << 8) | shape as u64
}

/// Two cache lines: the first holds all that a short window is compared with.
#[repr(C, align(128))]
struct WindowEntry<F> {
    flow: Option<Arc<F>>,
    generation: u64,
    tag: u64,
    window: Window,
    short: bool,
}

/// Masked header bytes to flow. See the module's text.
pub struct WindowCache<F> {
    entries: Vec<WindowEntry<F>>,
    keys: HashKeys,
    limit: usize,
    evictions: usize,
    version: u64,
}

/// Where a flow is cached: see [`WindowCache::locate`].
#[derive(Clone, Copy, Debug)]
pub struct Place(usize);

impl<F: Cached> WindowCache<F> {
    /// A cache that grows to at most `limit` entries (rounded up to a power of two), hashing with `seed`.
    pub fn new(limit: usize, seed: u64) -> Self {
        let limit = limit.next_power_of_two().max(ENTRIES_START);
        Self {
            entries: empty_windows(ENTRIES_START),
            keys: HashKeys::new(seed),
            limit,
            evictions: 0,
            version: 0,
        }
    }

    /// The key of a packet: `window` is its header masked by `lens`.
    #[inline(always)]
    pub fn key(&self, lens: &Lens, window: Window, recirc_id: u32, shape: Shape) -> WindowKey {
        let (tag, short) = (tag(recirc_id, shape), lens.is_short(shape));
        WindowKey { window, tag, hash: self.keys.hash(&window, tag, short), short }
    }

    /// The two places where a key may be.
    #[inline(always)]
    fn places(&self, hash: u64) -> (usize, usize) {
        let mask = self.entries.len() - 1;
        (hash as usize & mask, (hash >> 32) as usize & mask)
    }

    /// Asks the processor to fetch where a key may be, for a look-up a little later.
    #[inline(always)]
    pub fn prefetch(&self, key: &WindowKey) {
        let (first, _) = self.places(key.hash);
        portway_buf::prefetch(&self.entries[first]);
    }

    /// Where the flow of this key under this lens is cached, if it is.
    #[inline(always)]
    pub fn locate(&self, lens: &Lens, key: &WindowKey) -> Option<Place> {
        let (first, second) = self.places(key.hash);
        let holds = |entry: &WindowEntry<F>| {
            let mut difference = (entry.generation ^ lens.generation()) | (entry.tag ^ key.tag);
            for at in 0..SHORT_WORDS {
                difference |= entry.window[at] ^ key.window[at];
            }
            if !key.short {
                for at in SHORT_WORDS..WINDOW_WORDS {
                    difference |= entry.window[at] ^ key.window[at];
                }
            }
            difference == 0
        };
        if holds(&self.entries[first]) {
            return Some(Place(first));
        }
        holds(&self.entries[second]).then_some(Place(second))
    }

    /// The flow in a place, if it lives. Valid until the next [`WindowCache::insert`].
    #[inline(always)]
    pub fn at(&self, place: Place) -> Option<&F> {
        self.entries.get(place.0)?.flow.as_deref().filter(|flow| flow.is_live())
    }

    /// As [`WindowCache::at`], to keep.
    pub fn shared_at(&self, place: Place) -> Option<&Arc<F>> {
        self.entries.get(place.0)?.flow.as_ref().filter(|flow| flow.is_live())
    }

    /// The flow in a place, dead or alive, without touching it.
    #[inline(always)]
    pub fn held(&self, place: Place) -> Option<&F> {
        self.entries.get(place.0)?.flow.as_deref()
    }

    /// Changes with every insertion: a [`Place`] found before is then no longer valid.
    #[inline(always)]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Remembers the flow of a key.
    pub fn insert(&mut self, lens: &Lens, key: &WindowKey, flow: Arc<F>) {
        self.version += 1;
        let place = self.place_for(key);
        self.entries[place] = WindowEntry {
            flow: Some(flow),
            generation: lens.generation(),
            tag: key.tag,
            short: key.short,
            window: key.window,
        };
        if self.evictions > self.entries.len() / 4 && self.entries.len() < self.limit {
            self.grow();
        }
    }

    /// Where a new entry goes: where the key is already, or a free place, or one that can be made free by moving what is there to its
    /// other place; else what is there is pushed out.
    fn place_for(&mut self, key: &WindowKey) -> usize {
        let (first, second) = self.places(key.hash);
        let same = |entry: &WindowEntry<F>| entry.tag == key.tag && entry.window == key.window;
        // Never in both: the older one would come back when the newer one is pushed out.
        if let Some(place) = [first, second].into_iter().find(|&place| same(&self.entries[place])) {
            return place;
        }
        if let Some(place) = [first, second].into_iter().find(|&place| self.is_free(place)) {
            return place;
        }
        for place in [first, second] {
            let held = &self.entries[place];
            let (one, other) = self.places(self.keys.hash(&held.window, held.tag, held.short));
            let elsewhere = if one == place { other } else { one };
            if self.is_free(elsewhere) {
                self.entries.swap(place, elsewhere);
                return place;
            }
        }
        self.evictions += 1;
        // Which of the two goes is decided by bits that the places do not depend on much.
        if (key.hash >> 57) & 1 == 0 { first } else { second }
    }

    fn is_free(&self, place: usize) -> bool {
        self.entries[place].flow.as_ref().is_none_or(|flow| !flow.is_live())
    }

    /// Doubles the cache, keeping what lives.
    #[cold]
    fn grow(&mut self) {
        let larger = empty_windows(self.entries.len() * 2);
        let old = std::mem::replace(&mut self.entries, larger);
        for entry in old {
            if entry.flow.as_ref().is_some_and(|flow| flow.is_live()) {
                let (first, second) = self.places(self.keys.hash(&entry.window, entry.tag, entry.short));
                let place = if self.entries[first].flow.is_none() { first } else { second };
                self.entries[place] = entry;
            }
        }
        self.evictions = 0;
    }

    /// Lets go of every flow that was deleted; called when the worker has nothing to do.
    pub fn sweep(&mut self) {
        for entry in &mut self.entries {
            entry.flow.take_if(|flow| !flow.is_live());
        }
    }

    /// Entries allocated.
    pub fn capacity(&self) -> usize {
        self.entries.len()
    }
}

fn empty_windows<F>(n: usize) -> Vec<WindowEntry<F>> {
    let mut entries = Vec::with_capacity(n);
    // Before the memory is touched: pages are chosen when they are first written.
    portway_buf::prefer_huge_pages(entries.spare_capacity_mut());
    let empty = || WindowEntry { flow: None, generation: 0, tag: 0, window: [0; WINDOW_WORDS], short: false };
    entries.resize_with(n, empty);
    entries
}

struct KeyEntry<F> {
    hash: u64,
    generation: u64,
    key: Box<FlowKey>,
    flow: Arc<F>,
}

/// Masked flow keys to flow. See the module's text.
pub struct KeyCache<F> {
    entries: Vec<Option<KeyEntry<F>>>,
    seed: u64,
    limit: usize,
    evictions: usize,
}

impl<F: Cached> KeyCache<F> {
    /// A cache that grows to at most `limit` entries (rounded up to a power of two), hashing with `seed`.
    pub fn new(limit: usize, seed: u64) -> Self {
        let limit = limit.next_power_of_two().max(ENTRIES_START);
        let entries = std::iter::repeat_with(|| None).take(ENTRIES_START).collect();
        Self { entries, seed, limit, evictions: 0 }
    }

    /// Hash of a key under this lens, for [`KeyCache::find`] and [`KeyCache::insert`].
    pub fn hash(&self, lens: &Lens, key: &FlowKey) -> u64 {
        lens.union().hash_key(key, self.seed)
    }

    /// The flow of this key, if it is cached and lives.
    pub fn find(&self, lens: &Lens, key: &FlowKey, hash: u64) -> Option<&Arc<F>> {
        let entry = self.entries[hash as usize & (self.entries.len() - 1)].as_ref()?;
        let holds = entry.hash == hash
            && entry.generation == lens.generation()
            && lens.union().matches(key, &entry.key)
            && entry.flow.is_live();
        holds.then_some(&entry.flow)
    }

    /// Remembers the flow of a key.
    pub fn insert(&mut self, lens: &Lens, key: &FlowKey, hash: u64, flow: Arc<F>) {
        let place = hash as usize & (self.entries.len() - 1);
        let entry =
            KeyEntry { hash, generation: lens.generation(), key: Box::new(lens.union().apply(key)), flow };
        if self.entries[place].replace(entry).is_some_and(|old| old.hash != hash && old.flow.is_live()) {
            self.evictions += 1;
        }
        if self.evictions > self.entries.len() / 4 && self.entries.len() < self.limit {
            let size = self.entries.len() * 2;
            let old =
                std::mem::replace(&mut self.entries, std::iter::repeat_with(|| None).take(size).collect());
            for entry in old.into_iter().flatten().filter(|entry| entry.flow.is_live()) {
                let place = entry.hash as usize & (size - 1);
                self.entries[place] = Some(entry);
            }
            self.evictions = 0;
        }
    }

    /// Lets go of every flow that was deleted.
    pub fn sweep(&mut self) {
        for entry in &mut self.entries {
            entry.take_if(|entry| !entry.flow.is_live());
        }
    }
}

#[cfg(test)]
mod tests;
