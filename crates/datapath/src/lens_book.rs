// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which masks are live for which input port, and the lens that follows from them.
//!
//! The writer's rule: a port's lens covers every mask that a look-up for that port may meet. So a flow's mask is added here
//! *before* the flow enters the classifier, and taken away *after* it has left.

use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::HashMap;
use portway_flow::{FlowKey, FlowMask, Lens};
use portway_sync::{Domain, Guard, Slots, Snapshot};

/// Every lens in the program has a number of its own, so a cached result can never be taken for another lens's.
static NEXT_GENERATION: AtomicU64 = AtomicU64::new(1);

fn lens_of(union: FlowMask) -> Lens {
    Lens::new(union, NEXT_GENERATION.fetch_add(1, Ordering::Relaxed))
}

/// Masks with the number of flows that use each.
#[derive(Default)]
struct MaskSet {
    flows: HashMap<FlowMask, usize>,
    union: FlowMask,
}

impl MaskSet {
    /// Returns whether the union grew.
    fn add(&mut self, mask: &FlowMask) -> bool {
        if let Some(flows) = self.flows.get_mut(mask) {
            *flows += 1;
            return false;
        }
        self.flows.insert(mask.clone(), 1);
        self.union.unite(mask)
    }

    /// Returns whether the union shrank.
    fn remove(&mut self, mask: &FlowMask) -> bool {
        let Some(flows) = self.flows.get_mut(mask) else { return false };
        *flows -= 1;
        if *flows > 0 {
            return false;
        }
        self.flows.remove(mask);
        let mut union = FlowMask::default();
        for mask in self.flows.keys() {
            union.unite(mask);
        }
        let shrank = union != self.union;
        self.union = union;
        shrank
    }
}

/// The writer's side: sets of masks. Kept under the datapath's writer lock.
#[derive(Default)]
pub(crate) struct LensBook {
    ports: HashMap<u32, MaskSet>,
    /// Masks of flows that do not fix the input port.
    any_port: MaskSet,
}

/// The readers' side: a lens per port that has flows of its own, and one for all other ports.
pub(crate) struct Lenses {
    ports: Slots<Lens>,
    other: Snapshot<Lens>,
}

impl Lenses {
    pub(crate) fn new(domain: &Domain, ports: usize) -> Self {
        Self { ports: Slots::new(domain, ports), other: Snapshot::new(domain, lens_of(FlowMask::default())) }
    }

    /// The lens for packets from port `port_no`.
    #[inline]
    pub(crate) fn of<'g>(&self, port_no: u32, guard: &'g Guard<'_>) -> &'g Lens {
        self.ports.get(port_no as usize, guard).unwrap_or_else(|| self.other.load(guard))
    }
}

impl LensBook {
    /// Makes the lenses cover a flow that is about to be added.
    pub(crate) fn add(&mut self, key: &FlowKey, mask: &FlowMask, lenses: &Lenses) {
        match fixed_port(key, mask, lenses) {
            Some(port) => {
                let set = self.ports.entry(port).or_default();
                if set.add(mask) {
                    self.publish_port(port, lenses);
                }
            }
            None => {
                if self.any_port.add(mask) {
                    self.publish_all(lenses);
                }
            }
        }
    }

    /// Lets the lenses forget a flow that has been removed.
    pub(crate) fn remove(&mut self, key: &FlowKey, mask: &FlowMask, lenses: &Lenses) {
        match fixed_port(key, mask, lenses) {
            Some(port) => {
                let Some(set) = self.ports.get_mut(&port) else { return };
                let shrank = set.remove(mask);
                if set.flows.is_empty() {
                    self.ports.remove(&port);
                    lenses.ports.remove(port as usize);
                } else if shrank {
                    self.publish_port(port, lenses);
                }
            }
            None => {
                if self.any_port.remove(mask) {
                    self.publish_all(lenses);
                }
            }
        }
    }

    fn publish_port(&self, port: u32, lenses: &Lenses) {
        let mut union = self.any_port.union.clone();
        if let Some(set) = self.ports.get(&port) {
            union.unite(&set.union);
        }
        let lens = lens_of(union);
        lenses.ports.replace(port as usize, lens).expect("fixed_port checks the range");
    }

    fn publish_all(&self, lenses: &Lenses) {
        lenses.other.publish(lens_of(self.any_port.union.clone()));
        for &port in self.ports.keys() {
            self.publish_port(port, lenses);
        }
    }
}

/// The only input port that a flow can match, if it names one that can exist.
fn fixed_port(key: &FlowKey, mask: &FlowMask, lenses: &Lenses) -> Option<u32> {
    let fixed = mask.bits().in_port == u32::MAX && (key.in_port as usize) < lenses.ports.capacity();
    fixed.then_some(key.in_port)
}

#[cfg(test)]
mod tests {
    use portway_flow::Depth;

    use super::*;

    fn flow(in_port: Option<u32>, deep: bool) -> (FlowKey, FlowMask) {
        let key = FlowKey { in_port: in_port.unwrap_or(0), ..FlowKey::default() };
        let bits = FlowKey {
            in_port: if in_port.is_some() { u32::MAX } else { 0 },
            ip_proto: if deep { 0xff } else { 0 },
            ..FlowKey::default()
        };
        (key, FlowMask::new(bits))
    }

    #[test]
    fn a_port_is_looked_into_as_deep_as_its_own_flows_need() {
        let domain = Domain::new();
        let (lenses, mut book) = (Lenses::new(&domain, 100), LensBook::default());
        let depth = |port| lenses.of(port, &domain.pin()).depth();
        let generation = |port| lenses.of(port, &domain.pin()).generation();
        let (one, two, any) = (flow(Some(1), true), flow(Some(2), false), flow(None, true));
        book.add(&one.0, &one.1, &lenses);
        book.add(&two.0, &two.1, &lenses);
        assert_eq!((depth(1), depth(2), depth(3)), (Depth::Network, Depth::Link, Depth::Link));
        let before = generation(1);
        book.add(&one.0, &one.1, &lenses);
        assert_eq!(generation(1), before, "a second flow of the same mask changes nothing");
        book.add(&any.0, &any.1, &lenses);
        assert_eq!((depth(2), depth(3)), (Depth::Network, Depth::Network));
        assert_ne!(generation(2), generation(1));
        book.remove(&any.0, &any.1, &lenses);
        book.remove(&one.0, &one.1, &lenses);
        assert_eq!((depth(1), depth(2)), (Depth::Network, Depth::Link));
        book.remove(&one.0, &one.1, &lenses);
        assert_eq!(depth(1), Depth::Link);
        assert!(book.ports.len() == 1 && book.any_port.flows.is_empty());
    }

    #[test]
    fn a_flow_for_an_impossible_port_counts_for_all() {
        let domain = Domain::new();
        let (lenses, mut book) = (Lenses::new(&domain, 100), LensBook::default());
        let (key, mask) = flow(Some(5000), true);
        book.add(&key, &mask, &lenses);
        assert_eq!(lenses.of(1, &domain.pin()).depth(), Depth::Network);
        book.remove(&key, &mask, &lenses);
        assert_eq!(lenses.of(1, &domain.pin()).depth(), Depth::Link);
    }
}
