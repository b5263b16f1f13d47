// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One datapath, as readers see it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use portway_buf::{DropCounts, DropReason};
use portway_flow::{Classified, Classifier, FlowKey, FlowMask};
use portway_sync::{Counters, Domain, FairQueue, Guard, Slots, Snapshot};
use portway_uapi::openvswitch::DP_MAX_PORTS;
use portway_vport::{PortName, Vport};

use crate::change::DatapathRequest;
use crate::flow::Flow;
use crate::lens_book::Lenses;
use crate::mask_cache::MaskCache;
use crate::meters::{Meter, Meters};
use crate::netns::Netns;
use crate::shortcut::Shortcuts;
use crate::switch::Switch;
use crate::upcall::Upcall;

pub(crate) const DP_HIT: usize = 0;
pub(crate) const DP_MISSED: usize = 1;
pub(crate) const DP_LOST: usize = 2;
pub(crate) const DP_MASK_HIT: usize = 3;
pub(crate) const DP_CACHE_HIT: usize = 4;

/// Highest number of ports of a datapath, port 0 included: numbers are below it.
pub(crate) const PORTS_MAX: usize = DP_MAX_PORTS as usize;

const REASONS: usize = DropReason::ALL.len();

/// struct ovs_dp_stats and what goes with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatapathStats {
    /// Packets that matched a flow.
    pub hit: u64,
    /// Packets that matched none.
    pub missed: u64,
    /// Misses and userspace actions that did not reach user space.
    pub lost: u64,
    /// Flows.
    pub flows: usize,
    /// Distinct masks.
    pub masks: usize,
    /// Masks that look-ups would have tried one after the other; one for a look-up that a cache answered.
    pub mask_hit: u64,
    /// Look-ups that a cache answered.
    pub cache_hit: u64,
}

/// What a client may set on a datapath (OVS_DP_ATTR_*).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatapathOptions {
    /// OVS_DP_F_* bits.
    pub user_features: u32,
    /// Size of the masks cache, as set; it has no effect here and is reported back.
    pub masks_cache_size: u32,
    /// Upcall port ids by CPU.
    pub per_cpu_pids: Vec<u32>,
}

/// One datapath: a switch with its own ports and flows.
pub struct Datapath {
    id: u32,
    netns: Netns,
    alive: AtomicBool,
    pub(crate) ports: Slots<Arc<Vport>>,
    pub(crate) lenses: Lenses,
    pub(crate) flows: Classifier<Flow>,
    pub(crate) meters: Meters,
    pub(crate) counters: Counters<5>,
    drops: Counters<REASONS>,
    options: Snapshot<Arc<DatapathOptions>>,
    /// A client has set the masks cache to no entries: then none of its hits are counted.
    pub(crate) counts_cache: AtomicBool,
    /// The kernel's cache, for the counters; workers that find it held go without.
    pub(crate) mask_cache: Mutex<MaskCache>,
    pub(crate) upcalls: Arc<FairQueue<Upcall>>,
    pub(crate) samples_wanted: Arc<AtomicBool>,
    pub(crate) shortcuts: Arc<Shortcuts>,
    domain: Domain,
    /// The local port's name when the datapath was made: for messages once the port has gone.
    first_name: PortName,
}

impl Datapath {
    /// A datapath without ports, of `switch`'s limits.
    pub(crate) fn new(id: u32, request: &DatapathRequest, switch: &Switch) -> Self {
        let (domain, limits, lanes) = (&switch.domain, &switch.limits, switch.workers + 1);
        Self {
            id,
            netns: request.netns.clone(),
            alive: AtomicBool::new(true),
            ports: Slots::new(domain, PORTS_MAX),
            lenses: Lenses::new(domain, PORTS_MAX),
            flows: Classifier::new(domain, switch.seed, limits.flows, limits.masks),
            meters: Meters::new(domain),
            counters: Counters::new(lanes),
            drops: Counters::new(lanes),
            counts_cache: AtomicBool::new(request.options.masks_cache_size != 0),
            mask_cache: Mutex::new(MaskCache::of(request.options.masks_cache_size)),
            options: Snapshot::new(domain, Arc::new(request.options.clone())),
            upcalls: Arc::clone(&switch.upcalls),
            samples_wanted: Arc::clone(&switch.samples_wanted),
            shortcuts: Arc::clone(&switch.shortcuts),
            domain: domain.clone(),
            first_name: request.name,
        }
    }

    /// The datapath's handle: small, unique while it lives.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The namespace in which its clients see it.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Its name, which is that of port 0.
    pub fn name(&self) -> PortName {
        self.port(0).map_or(self.first_name, |port| port.name())
    }

    /// False once it has been deleted.
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    pub(crate) fn kill(&self) {
        self.alive.store(false, Ordering::Release);
    }

    /// The port of that number.
    pub fn port(&self, port_no: u32) -> Option<Arc<Vport>> {
        self.ports.get(port_no as usize, &self.domain.pin()).cloned()
    }

    /// The interface index of a port's device; 0 if there is no such port, or it has no device.
    pub fn port_ifindex(&self, port_no: u32) -> u32 {
        self.ports.get(port_no as usize, &self.domain.pin()).map_or(0, |port| port.ifindex())
    }

    /// Every port, by number.
    pub fn ports(&self) -> Vec<Arc<Vport>> {
        self.ports.iter(&self.domain.pin()).map(|(_, port)| Arc::clone(port)).collect()
    }

    /// Number of ports, port 0 included.
    pub fn port_count(&self) -> usize {
        self.ports.len()
    }

    /// Every flow, in no particular order.
    pub fn flows(&self) -> Vec<Arc<Flow>> {
        self.flows.flows(&self.domain.pin())
    }

    /// The flow that a packet of this key would hit.
    pub fn flow_for(&self, key: &FlowKey) -> Option<Arc<Flow>> {
        self.flows.lookup(key, &self.domain.pin()).cloned()
    }

    /// The flow of exactly this mask and masked key.
    pub fn find_flow(&self, key: &FlowKey, mask: &FlowMask) -> Option<Arc<Flow>> {
        self.flows.find(key, &self.domain.pin(), |flow| flow.mask() == mask).cloned()
    }

    /// A flow that covers `key` and that `wanted` accepts.
    pub fn find_flow_with(&self, key: &FlowKey, wanted: impl FnMut(&Flow) -> bool) -> Option<Arc<Flow>> {
        self.flows.find(key, &self.domain.pin(), wanted).cloned()
    }

    /// The meter of that id.
    pub fn meter(&self, id: u32) -> Option<Arc<Meter>> {
        self.meters.get(id, &self.domain.pin()).cloned()
    }

    /// What a reader needs to look into a [`Flow`]. Not for workers, which have one of their own.
    pub fn pin(&self) -> Guard<'_> {
        self.domain.pin()
    }

    /// What a client set.
    pub fn options(&self) -> Arc<DatapathOptions> {
        Arc::clone(self.options.load(&self.domain.pin()))
    }

    pub(crate) fn set_options(&self, options: DatapathOptions) {
        self.mask_cache.lock().unwrap_or_else(PoisonError::into_inner).resize(options.masks_cache_size);
        self.counts_cache.store(options.masks_cache_size != 0, Ordering::Relaxed);
        self.options.publish(Arc::new(options));
    }

    /// Counts, exact once traffic stops.
    pub fn stats(&self) -> DatapathStats {
        self.shortcuts.count_all();
        let [hit, missed, lost, mask_hit, cache_hit] = self.counters.sum();
        let (flows, masks) = (self.flows.len(), self.flows.mask_count());
        DatapathStats { hit, missed, lost, flows, masks, mask_hit, cache_hit }
    }

    /// How many packets died, by reason.
    pub fn drops(&self) -> DropCounts {
        let mut counts = DropCounts::default();
        for (&reason, count) in DropReason::ALL.iter().zip(self.drops.sum()) {
            counts.add(reason, count);
        }
        counts.add(DropReason::ReceiveQueueFull, self.ports().iter().map(|port| port.rx_missed()).sum());
        counts
    }

    /// Keeps in mind what a port that has left lost: it goes on to count.
    pub(crate) fn keep_missed(&self, port: &Vport) {
        let missed = port.rx_missed();
        if missed != 0 {
            self.drops.add_shared(DropReason::ReceiveQueueFull as usize, missed);
        }
    }

    /// Adds a worker's counts of one batch and empties them.
    #[inline]
    pub(crate) fn publish_drops(&self, worker: usize, drops: &mut DropCounts) {
        if drops.is_empty() {
            return;
        }
        let counters = self.drops.worker(worker);
        for (reason, count) in drops.take().iter() {
            if count != 0 {
                counters.add(reason as usize, count);
            }
        }
    }

    /// The upcall queue's number for a port: unique over all datapaths. PORTS_MAX, which no port has: samples.
    #[inline]
    pub(crate) fn upcall_source(&self, port_no: u32) -> u32 {
        (self.id << 16) | (port_no & 0xffff)
    }
}

impl std::fmt::Debug for Datapath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Datapath")
            .field("id", &self.id)
            .field("name", &self.first_name)
            .field("netns", &self.netns.id())
            .finish_non_exhaustive()
    }
}
