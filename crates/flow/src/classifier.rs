// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The classifier: which flow does a key belong to, when the caches do not know?
//!
//! Flows are kept in subtables. A subtable hashes its flows by the bits of its *probe mask*, which is a subset of the mask of each flow
//! in it; a look-up probes every subtable and then checks the whole mask of the few flows under that hash. Plain tuple-space search has one
//! subtable per mask, so its cost grows with the number of masks. Here a flow joins an existing subtable whose probe mask its own mask
//! contains, and probe masks are made a little coarser than the first flow needs (address prefixes rounded down to whole bytes): masks
//! that differ by some prefix bits share a subtable (the idea of TupleMerge, Daly et al., IEEE/ACM ToN 2019). Where that would make
//! too many flows collide under one hash, the flow's mask gets a subtable of its own.
//!
//! # Which flow wins
//! Megaflows of one datapath should not overlap. If they do, the flow whose mask has been live for longest wins, as the kernel, which
//! walks its masks in order of arrival, has it.
//!
//! # Concurrency
//! One writer at a time (an inner mutex; it is the datapath's writer lock that serialises in practice), readers never wait: subtables are
//! published as one snapshot, and each is a `portway_sync::Table`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::{HashMap, HashMapExt};
use portway_sync::{Domain, Guard, Snapshot, Table};

use crate::key::FlowKey;
use crate::mask::FlowMask;

/// What a classifier holds.
pub trait Classified: Send + Sync + 'static {
    /// The flow's mask.
    fn mask(&self) -> &FlowMask;
    /// Whether `key` is in the flow.
    fn covers(&self, key: &FlowKey) -> bool;
    /// The flow's key, all bits outside the mask zero.
    fn key(&self) -> FlowKey;
    /// Position of the flow's mask in the order of arrival, as [`Classifier::insert`] handed it to the constructor.
    fn order(&self) -> u64;
}

/// Flows that may share one hash before a mask gets its own subtable.
const COLLISIONS_MAX: usize = 8;

/// Why a flow was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassifierError {
    /// The flow limit is reached.
    FlowsFull {
        /// The limit.
        limit: usize,
    },
    /// The flow's mask is new and the limit on masks is reached.
    MasksFull {
        /// The limit.
        limit: usize,
    },
}

struct Subtable<F: Classified> {
    probe: FlowMask,
    /// Whether every flow's mask equals the probe mask: then a hash hit that matches is the only one.
    exact: bool,
    /// No flow in here has a lower order.
    first_order: AtomicU64,
    flows: Table<Arc<F>>,
}

struct MaskInfo<F: Classified> {
    order: u64,
    flows: usize,
    /// Where flows of this mask are, the latest last; new ones go there.
    homes: Vec<Arc<Subtable<F>>>,
}

struct Writer<F: Classified> {
    masks: HashMap<Arc<FlowMask>, MaskInfo<F>>,
    next_order: u64,
    flows: usize,
}

/// See the module's text.
pub struct Classifier<F: Classified> {
    domain: Domain,
    seed: u64,
    flows_max: usize,
    masks_max: usize,
    subtables: Snapshot<Vec<Arc<Subtable<F>>>>,
    /// The orders of all masks, ascending.
    orders: Snapshot<Vec<u64>>,
    writer: Mutex<Writer<F>>,
}

impl<F: Classified> Classifier<F> {
    /// An empty classifier that takes at most `flows_max` flows with `masks_max` distinct masks, hashing with `seed`.
    pub fn new(domain: &Domain, seed: u64, flows_max: usize, masks_max: usize) -> Self {
        Self {
            domain: domain.clone(),
            seed,
            flows_max,
            masks_max,
            subtables: Snapshot::new(domain, Vec::new()),
            orders: Snapshot::new(domain, Vec::new()),
            writer: Mutex::new(Writer { masks: HashMap::new(), next_order: 0, flows: 0 }),
        }
    }

    /// The flow that `key` belongs to.
    pub fn lookup<'g>(&self, key: &FlowKey, guard: &'g Guard<'_>) -> Option<&'g Arc<F>> {
        let mut best: Option<&'g Arc<F>> = None;
        for subtable in self.subtables.load(guard) {
            let order = best.map_or(u64::MAX, |flow| flow.order());
            if subtable.first_order.load(Ordering::Relaxed) > order {
                break;
            }
            if let Some(found) = subtable.lookup(key, self.seed, order, guard) {
                best = Some(found);
            }
        }
        best
    }

    /// A flow whose mask covers `key` and which `wanted` accepts, whatever the order.
    pub fn find<'g>(
        &self,
        key: &FlowKey,
        guard: &'g Guard<'_>,
        mut wanted: impl FnMut(&F) -> bool,
    ) -> Option<&'g Arc<F>> {
        self.subtables.load(guard).iter().find_map(|subtable| {
            let hash = subtable.probe.hash_key(key, self.seed);
            subtable.flows.find(hash, guard, |flow| flow.covers(key) && wanted(flow))
        })
    }

    /// Adds the flow that `make` builds: it is given the order of its mask, and the mask as all flows share it.
    ///
    /// # Errors
    /// A limit is reached; nothing has changed.
    pub fn insert(
        &self,
        mask: &FlowMask,
        make: impl FnOnce(u64, Arc<FlowMask>) -> Arc<F>,
    ) -> Result<Arc<F>, ClassifierError> {
        let mut writer = self.writer();
        if writer.flows >= self.flows_max {
            return Err(ClassifierError::FlowsFull { limit: self.flows_max });
        }
        let (order, shared) = match writer.masks.get_key_value(mask) {
            Some((shared, info)) => (info.order, Arc::clone(shared)),
            None if writer.masks.len() >= self.masks_max => {
                return Err(ClassifierError::MasksFull { limit: self.masks_max });
            }
            None => (writer.next_order, Arc::new(mask.clone())),
        };
        let flow = make(order, Arc::clone(&shared));
        debug_assert_eq!(flow.mask(), mask);
        let guard = self.domain.pin();
        let home = self.home_of(&writer, &flow, &guard);
        home.first_order.fetch_min(order, Ordering::Relaxed);
        let hash = home.probe.hash_key(&flow.key(), self.seed);
        if home.flows.insert(hash, Arc::clone(&flow)).is_err() {
            return Err(ClassifierError::FlowsFull { limit: self.flows_max });
        }
        self.publish_if_new(&home, &guard);
        writer.flows += 1;
        if order >= writer.next_order {
            self.orders.update(|orders| [orders.as_slice(), &[order]].concat());
        }
        writer.next_order = writer.next_order.max(order + 1);
        let info =
            writer.masks.entry(shared).or_insert_with(|| MaskInfo { order, flows: 0, homes: Vec::new() });
        info.flows += 1;
        if !info.homes.iter().any(|known| Arc::ptr_eq(known, &home)) {
            info.homes.push(home);
        }
        Ok(flow)
    }

    /// Takes a flow out; false if it was not there.
    pub fn remove(&self, flow: &Arc<F>) -> bool {
        let mut writer = self.writer();
        let Some(info) = writer.masks.get_mut(flow.mask()) else { return false };
        let removed = info.homes.iter().any(|home| {
            let hash = home.probe.hash_key(&flow.key(), self.seed);
            home.flows.remove(hash, |candidate| Arc::ptr_eq(candidate, flow))
        });
        if !removed {
            return false;
        }
        info.flows -= 1;
        if info.flows == 0 {
            writer.masks.remove(flow.mask());
            let gone = flow.order();
            self.orders.update(|orders| orders.iter().copied().filter(|order| *order != gone).collect());
        }
        writer.flows -= 1;
        let guard = self.domain.pin();
        let subtables = self.subtables.load(&guard);
        if subtables.iter().any(|subtable| subtable.flows.is_empty()) {
            let left: Vec<_> =
                subtables.iter().filter(|subtable| !subtable.flows.is_empty()).cloned().collect();
            self.subtables.publish(left);
            for info in writer.masks.values_mut() {
                info.homes.retain(|home| !home.flows.is_empty());
            }
        }
        true
    }

    /// Every flow, in no particular order.
    pub fn flows(&self, guard: &Guard<'_>) -> Vec<Arc<F>> {
        let subtables = self.subtables.load(guard);
        subtables.iter().flat_map(|subtable| subtable.flows.iter(guard).cloned()).collect()
    }

    /// Number of flows.
    pub fn len(&self) -> usize {
        self.writer().flows
    }

    /// Whether there is no flow.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of distinct masks.
    pub fn mask_count(&self) -> usize {
        self.writer().masks.len()
    }

    /// How many masks a search in the order of their arrival would try before it came to the one of this order, that one included;
    /// `None`: all of them.
    pub fn masks_tried(&self, order: Option<u64>, guard: &Guard<'_>) -> usize {
        let orders = self.orders.load(guard);
        order.map_or(orders.len(), |order| orders.partition_point(|known| *known <= order))
    }

    /// Number of tables that a look-up probes at most.
    pub fn subtable_count(&self) -> usize {
        self.subtables.load(&self.domain.pin()).len()
    }

    fn writer(&self) -> MutexGuard<'_, Writer<F>> {
        // Each change is complete before the next statement can panic; a poisoned lock holds consistent data.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The subtable that a new flow joins: its mask's latest home, or one whose probe mask fits, or a new one.
    fn home_of(&self, writer: &Writer<F>, flow: &Arc<F>, guard: &Guard<'_>) -> Arc<Subtable<F>> {
        let (mask, key) = (flow.mask(), flow.key());
        let has_room = |subtable: &Subtable<F>| {
            let hash = subtable.probe.hash_key(&key, self.seed);
            let mut under_hash = 0;
            // The predicate only counts; it never accepts.
            subtable.flows.find(hash, guard, |_| {
                under_hash += 1;
                under_hash > COLLISIONS_MAX
            });
            under_hash < COLLISIONS_MAX
        };
        if let Some(info) = writer.masks.get(mask) {
            let home = info.homes.iter().rev().find(|home| home.probe == *mask || has_room(home));
            return home.map_or_else(|| self.new_subtable(mask.clone(), mask), Arc::clone);
        }
        let fitting = self
            .subtables
            .load(guard)
            .iter()
            .filter(|subtable| !subtable.exact && subtable.probe.is_subset_of(mask) && has_room(subtable))
            .max_by_key(|subtable| ones(&subtable.probe));
        match fitting {
            Some(subtable) => Arc::clone(subtable),
            None => self.new_subtable(coarsen(mask), mask),
        }
    }

    fn new_subtable(&self, probe: FlowMask, mask: &FlowMask) -> Arc<Subtable<F>> {
        let exact = probe == *mask;
        let flows = Table::new(&self.domain, self.flows_max);
        Arc::new(Subtable { probe, exact, first_order: AtomicU64::new(u64::MAX), flows })
    }

    fn publish_if_new(&self, home: &Arc<Subtable<F>>, guard: &Guard<'_>) {
        let subtables = self.subtables.load(guard);
        let order = |subtable: &Arc<Subtable<F>>| subtable.first_order.load(Ordering::Relaxed);
        let known = subtables.iter().any(|subtable| Arc::ptr_eq(subtable, home));
        if known && subtables.is_sorted_by_key(order) {
            return;
        }
        let mut next: Vec<_> = subtables.to_vec();
        if !known {
            next.push(Arc::clone(home));
        }
        next.sort_by_key(order);
        self.subtables.publish(next);
    }
}

impl<F: Classified> Subtable<F> {
    /// The matching flow of the lowest order below `order`.
    fn lookup<'g>(&self, key: &FlowKey, seed: u64, order: u64, guard: &'g Guard<'_>) -> Option<&'g Arc<F>> {
        let hash = self.probe.hash_key(key, seed);
        let mut order = order;
        let mut best = None;
        loop {
            let better = self.flows.find(hash, guard, |flow| flow.order() < order && flow.covers(key));
            let Some(flow) = better else { return best };
            if self.exact {
                return Some(flow);
            }
            order = flow.order();
            best = Some(flow);
        }
    }
}

fn ones(mask: &FlowMask) -> u32 {
    mask.bits().words().iter().map(|word| word.count_ones()).sum()
}

/// A coarser mask under which similar masks meet: address prefixes end at a byte, ports are whole or not there.
fn coarsen(mask: &FlowMask) -> FlowMask {
    let mut bits = mask.bits().clone();
    for address in [&mut bits.ip_src, &mut bits.ip_dst, &mut bits.tun_src, &mut bits.tun_dst] {
        // Only bits in front of the first gap count as a prefix; the bytes behind it hold nothing to rely on.
        let whole = address.iter().take_while(|byte| **byte == 0xff).count();
        address[whole..].fill(0);
    }
    for port in [&mut bits.tp_src, &mut bits.tp_dst] {
        if port.get() != u16::MAX {
            port.set(0);
        }
    }
    FlowMask::new(bits)
}

#[cfg(test)]
mod tests;
