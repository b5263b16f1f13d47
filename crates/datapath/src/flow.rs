// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One flow of a datapath: key, mask, what to do, and what it has seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use portway_actions::Program;
use portway_flow::{Cached, Classified, FlowKey, FlowMask};
use portway_sync::{Counters, Domain, Guard, Snapshot};

/// A flow's identity as a client gave it (OVS_FLOW_ATTR_UFID): 1 to 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ufid {
    bytes: [u8; 16],
    len: u8,
}

impl Ufid {
    /// An identity of 1 to 16 bytes; `None` for any other length.
    pub fn new(id: &[u8]) -> Option<Self> {
        if id.is_empty() || id.len() > 16 {
            return None;
        }
        let mut bytes = [0; 16];
        bytes[..id.len()].copy_from_slice(id);
        Some(Self { bytes, len: id.len() as u8 })
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// What a flow has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowStats {
    /// Packets.
    pub packets: u64,
    /// Bytes, Ethernet header included.
    pub bytes: u64,
    /// When the last packet came, monotonic nanoseconds; 0: never.
    pub used_ns: u64,
    /// TCP flags seen, ORed.
    pub tcp_flags: u16,
}

const PACKETS: usize = 0;
const BYTES: usize = 1;
const USED: usize = 2;
const TCP_FLAGS: usize = 3;

/// A flow. Shared by the classifier and the workers' caches; immutable but for its program and its counters.
pub struct Flow {
    live: AtomicBool,
    program: Snapshot<Arc<Program>>,
    counters: Counters<4>,
    /// What the counters said when they were last cleared.
    cleared: Snapshot<FlowStats>,
    order: u64,
    masked: FlowKey,
    mask: FlowMask,
    key: FlowKey,
    ufid: Option<Ufid>,
}

impl Flow {
    pub(crate) fn new(
        domain: &Domain,
        workers: usize,
        order: u64,
        request: &FlowParts,
        program: Program,
    ) -> Self {
        Self {
            live: AtomicBool::new(true),
            program: Snapshot::new(domain, Arc::new(program)),
            counters: Counters::new(workers),
            cleared: Snapshot::new(domain, FlowStats::default()),
            order,
            masked: request.mask.apply(&request.key),
            mask: request.mask.clone(),
            key: request.key.clone(),
            ufid: request.ufid,
        }
    }

    /// The key as the client gave it, bits outside the mask included.
    pub fn unmasked_key(&self) -> &FlowKey {
        &self.key
    }

    /// The identity that the client gave.
    pub fn ufid(&self) -> Option<&Ufid> {
        self.ufid.as_ref()
    }

    /// What the flow does.
    #[inline]
    pub fn program<'g>(&self, guard: &'g Guard<'_>) -> &'g Arc<Program> {
        self.program.load(guard)
    }

    pub(crate) fn set_program(&self, program: Program) {
        self.program.publish(Arc::new(program));
    }

    /// Marks the flow as deleted: caches let go of it.
    pub(crate) fn kill(&self) {
        self.live.store(false, Ordering::Release);
    }

    /// Counts packets on worker `worker`.
    #[inline]
    pub(crate) fn count(&self, worker: usize, packets: u64, bytes: u64, tcp_flags: u16, now_ns: u64) {
        let local = self.counters.worker(worker);
        local.add(PACKETS, packets);
        local.add(BYTES, bytes);
        local.set(USED, now_ns);
        if tcp_flags != 0 {
            local.set(TCP_FLAGS, local.get(TCP_FLAGS) | u64::from(tcp_flags));
        }
    }

    fn totals(&self) -> FlowStats {
        let [packets, bytes, ..] = self.counters.sum();
        let used_ns = self.counters.locals().map(|local| local.get(USED)).max().unwrap_or(0);
        let flags = self.counters.locals().fold(0, |flags, local| flags | local.get(TCP_FLAGS));
        FlowStats { packets, bytes, used_ns, tcp_flags: flags as u16 }
    }

    /// What the flow has seen since it was made or cleared; exact once traffic stops.
    pub fn stats(&self, guard: &Guard<'_>) -> FlowStats {
        let (all, before) = (self.totals(), self.cleared.load(guard));
        FlowStats {
            packets: all.packets - before.packets,
            bytes: all.bytes - before.bytes,
            used_ns: if all.used_ns > before.used_ns { all.used_ns } else { 0 },
            tcp_flags: all.tcp_flags & !before.tcp_flags,
        }
    }

    /// Starts the statistics anew.
    pub(crate) fn clear_stats(&self) {
        self.cleared.publish(self.totals());
    }
}

impl std::fmt::Debug for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flow").field("key", &self.masked).field("mask", &self.mask).finish_non_exhaustive()
    }
}

impl Cached for Flow {
    #[inline]
    fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }
}

impl Classified for Flow {
    #[inline]
    fn mask(&self) -> &FlowMask {
        &self.mask
    }

    #[inline]
    fn key(&self) -> &FlowKey {
        &self.masked
    }

    #[inline]
    fn order(&self) -> u64 {
        self.order
    }
}

/// What makes a flow, apart from its actions.
#[derive(Clone, Debug)]
pub struct FlowParts {
    /// Key; bits outside the mask are kept for dumps and otherwise ignored.
    pub key: FlowKey,
    /// Which bits matter.
    pub mask: FlowMask,
    /// Identity, if the client gave one.
    pub ufid: Option<Ufid>,
}
