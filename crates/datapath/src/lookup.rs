// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From packets to flows: the lens, the worker's caches, the classifier.
//!
//! A batch is first *scanned*: consecutive packets that no live mask can tell apart become one run, which is looked up once.

use arrayvec::ArrayVec;
use portway_buf::{BATCH_MAX, Batch, Packet};
use portway_flow::{Classified, FlowKey, KeyCache, Lens, Shape, WINDOW, WindowCache, WindowKey, tcp_flags};
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
        let mut current: Option<(WindowKey, Shape, u32)> = None;
        for packet in batch {
            let seen = look(lens, packet);
            let len = packet.len() as u64;
            let Some((header, shape)) = seen else {
                current = None;
                // The key is extracted when the run's turn comes; until then only the length is known.
                runs.push(Run { by: By::Key, packets: 1, bytes: len, tcp_flags: 0 });
                continue;
            };
            let flags = tcp_flags(header, packet.len(), shape);
            let recirc_id = packet.recirc_id();
            if let (Some((key, shape_before, recirc_before)), Some(run)) = (&current, runs.last_mut())
                && *shape_before == shape
                && *recirc_before == recirc_id
                && lens.equals(header, shape, &key.window)
            {
                run.packets += 1;
                run.bytes += len;
                run.tcp_flags |= flags;
                continue;
            }
            let key = self.windows.key(lens.window(header, shape), recirc_id, shape);
            self.windows.prefetch(&key);
            current = Some((key, shape, recirc_id));
            runs.push(Run { by: By::Window(key), packets: 1, bytes: len, tcp_flags: flags });
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

/// The packet's header and shape, if the lens knows it and it has no metadata that would have to be matched.
#[inline(always)]
fn look<'p>(lens: &Lens, packet: &'p Packet) -> Option<(&'p [u8; WINDOW], Shape)> {
    if packet.has_metadata() {
        return None;
    }
    let header = packet.window::<WINDOW>()?;
    Some((header, lens.shape(header, packet.len())?))
}
