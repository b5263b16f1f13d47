// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From packets to flows: the lens, the worker's caches, the classifier.
//!
//! A batch is first *scanned*: consecutive packets that no live mask can tell apart become one run, which is looked up once.

use arrayvec::ArrayVec;
use portway_buf::{BATCH_MAX, Batch};
use portway_flow::{Classified, FlowKey, Head, KeyCache, Lens, WINDOW, WindowCache, WindowKey};
use portway_sync::Guard;

use crate::datapath::Datapath;
use crate::flow::Flow;

/// How a run is looked up.
#[derive(Clone, Copy)]
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
            let mut run = Run { by: By::Key, packets: 1, bytes: len as u64, tcp_flags: 0 };
            // A packet without a head takes the general way when its turn comes: its key is extracted then.
            if let Some((head, recirc_id)) = &head {
                let window = lens.window(head.header(), head.shape());
                let key = self.windows.key(window, *recirc_id, head.shape());
                self.windows.prefetch(&key);
                run.by = By::Window(key);
                run.tcp_flags = head.tcp_flags(head.header());
            }
            runs.push(run);
        }
    }

    /// The flow of a run by its masked header, if it is cached.
    #[inline]
    pub(crate) fn find_window(&self, lens: &Lens, key: &WindowKey) -> Option<&Flow> {
        self.windows.find(lens, key).map(|flow| &**flow)
    }

    /// The flow of a key: from the cache, else from the classifier, remembered for the next time. With `window`, the packet's
    /// masked header, it is remembered under that.
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
    ) -> Option<&'a Flow> {
        let hash = if window.is_none() { self.keys.hash(lens, key) } else { 0 };
        if window.is_none() && self.keys.find(lens, key, hash).is_some() {
            return self.keys.find(lens, key, hash).map(|flow| &**flow);
        }
        let flow = datapath.flows.lookup(key, guard)?;
        if flow.mask().is_subset_of(lens.union()) {
            match window {
                Some(window) => self.windows.insert(lens, window, flow.clone()),
                None => self.keys.insert(lens, key, hash, flow.clone()),
            }
        }
        Some(flow)
    }
}
