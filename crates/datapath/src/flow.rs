// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One flow of a datapath: key, mask, what to do, and what it has seen.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use portway_actions::Program;
use portway_flow::{Cached, Classified, FlowKey, FlowMask, PackedKey};
use portway_sync::{Domain, Guard, Local, Snapshot};

use crate::shortcut::Shortcuts;

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

/// [`Flow::output`] of a flow that does anything but send to one port.
const NO_OUTPUT: u32 = u32::MAX;

/// A flow's part of its shortcuts.
struct FlowShortcuts {
    /// What went past the workers.
    local: Local<4>,
    /// Shortcuts whose counters may still grow.
    kept: AtomicU32,
    /// Shortcuts that are taken.
    live: AtomicU32,
    home: Weak<Shortcuts>,
}

/// A flow. Shared by the classifier and the workers' caches; immutable but for its program and its counters.
///
/// What a worker touches for each packet comes first, on one cache line.
#[repr(C, align(64))]
pub struct Flow {
    live: AtomicBool,
    /// The port, if sending the packet there is all that the flow does.
    output: AtomicU32,
    /// How often the statistics were cleared, modulo 2^32: TCP flags are noted with it.
    clearings: AtomicU32,
    /// One block for each worker, made when the first packet is counted.
    counters: OnceLock<Box<[Local<4>]>>,
    program: Snapshot<Arc<Program>>,
    /// Made with the flow's first shortcut.
    shortcuts: OnceLock<Box<FlowShortcuts>>,
    workers: usize,
    /// What the counters said when they were last cleared, if they ever were.
    cleared: OnceLock<Box<Snapshot<FlowStats>>>,
    order: u64,
    mask: Arc<FlowMask>,
    /// Masked: what packets are compared with.
    masked: PackedKey,
    /// As the client gave it.
    key: PackedKey,
    ufid: Option<Ufid>,
    /// How the client wrote the actions, where that is not how we would: for whoever shows them.
    written: Mutex<Option<Box<[u8]>>>,
}

impl Flow {
    pub(crate) fn new(
        domain: &Domain,
        workers: usize,
        order: u64,
        mask: Arc<FlowMask>,
        parts: &FlowParts,
        program: Program,
    ) -> Self {
        Self {
            live: AtomicBool::new(true),
            output: AtomicU32::new(program.single_output().unwrap_or(NO_OUTPUT)),
            clearings: AtomicU32::new(0),
            counters: OnceLock::new(),
            program: Snapshot::new(domain, Arc::new(program)),
            shortcuts: OnceLock::new(),
            workers,
            cleared: OnceLock::new(),
            order,
            masked: PackedKey::from(&parts.mask.apply(&parts.key)),
            mask,
            key: PackedKey::from(&parts.key),
            ufid: parts.ufid,
            written: Mutex::new(None),
        }
    }

    /// How the client wrote the actions, if somebody noted it.
    pub fn written_actions(&self) -> Option<Box<[u8]>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes how the client wrote the actions.
    pub fn set_written_actions(&self, written: Option<Box<[u8]>>) {
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = written;
    }

    /// The key as the client gave it, bits outside the mask included.
    pub fn unmasked_key(&self) -> FlowKey {
        self.key.unpack()
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

    /// The port, if sending the packet there is all that the flow does.
    #[inline(always)]
    pub(crate) fn single_output(&self) -> Option<u32> {
        let port = self.output.load(Ordering::Relaxed);
        (port != NO_OUTPUT).then_some(port)
    }

    pub(crate) fn set_program(&self, program: Program) {
        let output = program.single_output().unwrap_or(NO_OUTPUT);
        self.program.publish(Arc::new(program));
        self.output.store(output, Ordering::Release);
    }

    /// Asks the processor for what [`Flow::count`] will touch.
    #[inline(always)]
    pub(crate) fn prefetch_counters(&self, worker: usize) {
        if let Some(local) = self.counters.get().and_then(|locals| locals.get(worker)) {
            portway_buf::prefetch(local);
        }
    }

    /// Asks the processor for what a dump will look at, in two steps: first for the flow, then, when that has come, for its counters.
    pub fn prefetch(&self, counters: bool) {
        if counters {
            self.counters.get().into_iter().flatten().for_each(portway_buf::prefetch);
        } else {
            portway_buf::prefetch(&self.live);
            portway_buf::prefetch(&self.cleared);
            portway_buf::prefetch(&self.ufid);
        }
    }

    /// Marks the flow as deleted: caches let go of it.
    pub(crate) fn kill(&self) {
        self.live.store(false, Ordering::Release);
    }

    /// Counts packets on worker `worker`.
    #[inline]
    pub(crate) fn count(&self, worker: usize, packets: u64, bytes: u64, tcp_flags: u16, now_ns: u64) {
        let locals = self.counters.get_or_init(|| (0..self.workers).map(|_| Local::new()).collect());
        let local = &locals[worker];
        local.add(PACKETS, packets);
        local.add(BYTES, bytes);
        local.set(USED, now_ns);
        if tcp_flags != 0 {
            self.add_flags(local, tcp_flags);
        }
    }

    /// Notes flags in `local`, which the caller alone writes: those from before the last clearing go.
    #[inline]
    fn add_flags(&self, local: &Local<4>, tcp_flags: u16) {
        let clearing = self.clearings.load(Ordering::Relaxed);
        let flags = flags_since(clearing, local.get(TCP_FLAGS)) | tcp_flags;
        local.set(TCP_FLAGS, u64::from(clearing) << 16 | u64::from(flags));
    }

    /// The flow has one shortcut more.
    pub(crate) fn begin_shortcut(&self, home: &Arc<Shortcuts>) {
        let new = || {
            let home = Arc::downgrade(home);
            Box::new(FlowShortcuts { local: Local::new(), kept: 0.into(), live: 0.into(), home })
        };
        let own = self.shortcuts.get_or_init(new);
        own.kept.fetch_add(1, Ordering::Relaxed);
        own.live.fetch_add(1, Ordering::Relaxed);
    }

    /// One of the flow's shortcuts has ended; its counters are kept for a while.
    pub(crate) fn end_shortcut(&self) {
        if let Some(own) = self.shortcuts.get() {
            own.live.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The counters of an ended shortcut are final, and have been counted.
    pub(crate) fn forget_shortcut(&self) {
        if let Some(own) = self.shortcuts.get() {
            own.kept.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Counts what went past the workers; under the lock of [`Shortcuts`].
    pub(crate) fn count_shortcut(&self, packets: u64, bytes: u64, tcp_flags: u16, used_ns: u64) {
        let Some(FlowShortcuts { local, .. }) = self.shortcuts.get().map(|own| &**own) else { return };
        local.add(PACKETS, packets);
        local.add(BYTES, bytes);
        local.set(USED, local.get(USED).max(used_ns));
        self.add_flags(local, tcp_flags);
    }

    /// Whether some of the flow's packets go from port to port past the workers.
    pub fn has_shortcut(&self) -> bool {
        self.shortcuts.get().is_some_and(|own| own.live.load(Ordering::Relaxed) != 0)
    }

    fn totals(&self) -> FlowStats {
        let mut stats = FlowStats::default();
        let own = self.shortcuts.get();
        if let Some(home) =
            own.filter(|own| own.kept.load(Ordering::Relaxed) != 0).and_then(|own| own.home.upgrade())
        {
            home.count_flow(self);
        }
        let past = own.map(|own| &own.local);
        let clearing = self.clearings.load(Ordering::Relaxed);
        for local in self.counters.get().into_iter().flatten().chain(past) {
            stats.packets += local.get(PACKETS);
            stats.bytes += local.get(BYTES);
            stats.used_ns = stats.used_ns.max(local.get(USED));
            stats.tcp_flags |= flags_since(clearing, local.get(TCP_FLAGS));
        }
        stats
    }

    /// What the flow has seen since it was made or cleared; exact once traffic stops.
    pub fn stats(&self, guard: &Guard<'_>) -> FlowStats {
        // In this order: totals only grow, so they are never less than what was cleared before.
        let before = self.cleared.get().map_or_else(FlowStats::default, |cleared| *cleared.load(guard));
        let all = self.totals();
        FlowStats {
            packets: all.packets - before.packets,
            bytes: all.bytes - before.bytes,
            used_ns: if all.used_ns > before.used_ns { all.used_ns } else { 0 },
            tcp_flags: all.tcp_flags,
        }
    }

    /// Starts the statistics anew.
    pub(crate) fn clear_stats(&self, domain: &Domain) {
        let new = || Box::new(Snapshot::new(domain, FlowStats::default()));
        self.cleared.get_or_init(new).publish(self.totals());
        self.clearings.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a block's word says of the flags seen since that clearing.
fn flags_since(clearing: u32, word: u64) -> u16 {
    if word >> 16 == u64::from(clearing) { word as u16 } else { 0 }
}

impl std::fmt::Debug for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flow").field("key", &self.key()).field("mask", &self.mask).finish_non_exhaustive()
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
    fn covers(&self, key: &FlowKey) -> bool {
        self.masked.equals_masked(key, &self.mask)
    }

    fn key(&self) -> FlowKey {
        self.masked.unpack()
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
