// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From packets to flows: the lens, the worker's caches, the classifier.
//!
//! A batch is first *scanned*: consecutive packets that no live mask can tell apart become one run, which is looked up once.

use std::sync::Arc;

use arrayvec::ArrayVec;
use portway_buf::{BATCH_MAX, Batch};
use portway_flow::{Classified, FlowKey, Head, KeyCache, Lens, Place, WINDOW, WindowCache, WindowKey};
use portway_sync::Guard;

use crate::datapath::Datapath;
use crate::flow::Flow;

/// How a run is looked up.
pub(crate) enum By {
    /// By masked header bytes: all packets of the run have them in common.
    Window(WindowKey),
    /// By its key, extracted; such a run is one packet.
    Key,
}

/// Consecutive packets that belong to one flow.
pub(crate) struct Run {
    pub(crate) by: By,
    pub(crate) packets: usize,
    pub(crate) bytes: u64,
    pub(crate) tcp_flags: u16,
    /// Where its flow is cached.
    pub(crate) place: Option<Place>,
}

/// The runs of one batch.
pub(crate) type Runs = ArrayVec<Run, BATCH_MAX>;

/// A worker's caches.
pub(crate) struct Caches {
    windows: WindowCache<Flow>,
    keys: KeyCache<Flow>,
}

impl Caches {
    /// Caches of at most `limit` entries each, hashing with `seed`.
    pub(crate) fn new(limit: usize, seed: u64) -> Self {
        Self { windows: WindowCache::new(limit, seed), keys: KeyCache::new(limit / 4, seed) }
    }

    /// Lets go of deleted flows.
    pub(crate) fn sweep(&mut self) {
        self.windows.sweep();
        self.keys.sweep();
    }

    /// Cuts a batch into runs.
    #[inline]
    pub(crate) fn scan(&self, lens: &Lens, batch: &Batch, runs: &mut Runs) {
        runs.clear();
        let mut head: Option<(Head<'_>, u32)> = None;
        for packet in batch {
            let len = packet.len();
            let header = if packet.has_metadata() { None } else { packet.window::<WINDOW>() };
            if let (Some(header), Some((first, recirc_id)), Some(run)) = (header, &head, runs.last_mut())
                && first.is_followed_by(header, len)
                && packet.recirc_id() == *recirc_id
            {
                run.packets += 1;
                run.bytes += len as u64;
                run.tcp_flags |= first.tcp_flags(header);
                continue;
            }
            head = header.and_then(|header| lens.head(header, len)).map(|head| (head, packet.recirc_id()));
            // A packet without a head takes the general way when its turn comes: its key is extracted then.
            let (by, tcp_flags) = match &head {
                Some((head, recirc_id)) => {
                    let window = lens.window(head.header(), head.shape());
                    let key = self.windows.key(lens, window, *recirc_id, head.shape());
                    self.windows.prefetch(&key);
                    (By::Window(key), head.tcp_flags(head.header()))
                }
                None => (By::Key, 0),
            };
            runs.push(Run { by, packets: 1, bytes: len as u64, tcp_flags, place: None });
        }
    }

    /// Finds the runs' flows in the cache of windows, and fetches what will be touched of them: each step for all runs, so that the
    /// memory's answers overlap.
    #[inline]
    pub(crate) fn locate(&self, lens: &Lens, worker: usize, runs: &mut Runs) {
        for run in runs.iter_mut() {
            if let By::Window(key) = &run.by {
                run.place = self.windows.locate(lens, key);
                if let Some(flow) = run.place.and_then(|place| self.windows.held(place)) {
                    portway_buf::prefetch(flow);
                }
            }
        }
        for run in runs.iter() {
            if let Some(flow) = run.place.and_then(|place| self.windows.held(place)) {
                flow.prefetch_counters(worker);
            }
        }
    }

    /// See [`portway_flow::WindowCache::version`].
    #[inline]
    pub(crate) fn version(&self) -> u64 {
        self.windows.version()
    }

    /// The flow in a place that is still valid.
    #[inline]
    pub(crate) fn at(&self, place: Place) -> Option<&Flow> {
        self.windows.at(place)
    }

    /// The flow of a run by its masked header, if it is cached.
    #[inline]
    pub(crate) fn find_window(&self, lens: &Lens, key: &WindowKey) -> Option<&Flow> {
        self.windows.at(self.windows.locate(lens, key)?)
    }

    /// As [`Caches::find_window`], to keep.
    pub(crate) fn shared_window(&self, lens: &Lens, key: &WindowKey) -> Option<&Arc<Flow>> {
        self.windows.shared_at(self.windows.locate(lens, key)?)
    }

    /// The flow of a key: from the cache, else from the classifier, remembered for the next time. With `window`, the packet's
    /// masked header, it is remembered under that. The second of the result says whether it was cached.
    ///
    /// A flow that was added this instant may have a mask that reaches beyond this batch's lens. It is right for this packet, but not
    /// for every packet that the lens cannot tell from it, so it is not remembered.
    pub(crate) fn find_key<'a>(
        &'a mut self,
        datapath: &'a Datapath,
        lens: &Lens,
        key: &FlowKey,
        window: Option<&WindowKey>,
        guard: &'a Guard<'_>,
    ) -> Option<(&'a Flow, bool)> {
        let hash = if window.is_none() { self.keys.hash(lens, key) } else { 0 };
        if window.is_none() && self.keys.find(lens, key, hash).is_some() {
            return self.keys.find(lens, key, hash).map(|flow| (&**flow, true));
        }
        let flow = datapath.flows.lookup(key, guard)?;
        if flow.mask().is_subset_of(lens.union()) {
            match window {
                Some(window) => self.windows.insert(lens, window, flow.clone()),
                None => self.keys.insert(lens, key, hash, flow.clone()),
            }
        }
        Some((flow, false))
    }
}
