// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Shortcuts: packets of busy flows that do nothing but go to one port go there without passing through the switch, where the
//! port type can do that (`vport::abi::ShortcutOps`).
//!
//! A shortcut is an entry of a worker's exact-match cache, made outside: the masked header bytes that the input port's lens does
//! not tell apart ([`portway_flow::WindowCache`]), and the port that their flow sends them to. It is right for as long as
//! that entry would be: while the flow lives, its actions stay, and the lens of its input port is the one that made the key. So whoever
//! changes one of these ends the shortcut, under the writer lock, before the change is answered.
//!
//! A worker only proposes; [`Switch::make_shortcuts`] makes them, on a control thread and under the writer lock, so that nothing changes
//! meanwhile. What went past is counted when somebody looks at the counters of the flow, the ports or the datapath.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crossbeam_queue::ArrayQueue;
use portway_flow::{Cached, Depth, Lens, Shape, WindowKey};
use portway_vport::abi::{ShortcutCounters, ShortcutKey, ShortcutMasks, shortcut_layout};
use portway_vport::ops::Errno;
use portway_vport::{Bypass, PortCounter, Vport};
use zerocopy::transmute;

use crate::datapath::{DP_CACHE_HIT, DP_HIT, DP_MASK_HIT, Datapath};
use crate::flow::Flow;
use crate::io::Site;
use crate::switch::Switch;

/// The most shortcuts of one switch, those that have just ended included.
const SHORTCUTS_MAX: usize = 4096;
/// Proposals that may wait.
const PROPOSALS_MAX: usize = 256;
/// A shortcut that was not taken for so many ticks ends.
const QUIET_TICKS: u32 = 5;
/// Pairs of ports that are noted as having no shortcuts; others are tried again and again.
const APART_MAX: usize = 4096;
/// The counters of an ended shortcut are final after so many ticks: whatever frame was on its way has been counted.
const REST_TICKS: u32 = 3;

// The port types' numbers of layouts are the lens's numbers of shapes.
const _: () = {
    assert!(Shape::Link as u32 == shortcut_layout::LINK && Shape::Ipv4 as u32 == shortcut_layout::IPV4);
    assert!(Shape::Udp4 as u32 == shortcut_layout::UDP4 && Shape::Tcp4 as u32 == shortcut_layout::TCP4);
    assert!(Shape::Udp6 as u32 == shortcut_layout::UDP6 && Shape::Tcp6 as u32 == shortcut_layout::TCP6);
};

/// A worker's proposal.
struct Proposal {
    /// Weak: a datapath refers to its switch's shortcuts.
    datapath: Weak<Datapath>,
    flow: Arc<Flow>,
    in_port: u32,
    /// Of the lens that made the key.
    generation: u64,
    key: ShortcutKey,
}

/// One shortcut.
struct Shortcut {
    id: u64,
    flow: Arc<Flow>,
    datapath: Weak<Datapath>,
    input: Arc<Vport>,
    output: Arc<Vport>,
    /// What has been counted so far.
    counted: ShortcutCounters,
    /// Ticks without a packet, or since its end.
    quiet: u32,
    has_ended: bool,
}

/// An input port with shortcuts.
struct Input {
    port: Arc<Vport>,
    datapath: Weak<Datapath>,
    generation: u64,
    /// The port refused: it is not asked again.
    refuses: bool,
}

#[derive(Default)]
struct Table {
    all: Vec<Shortcut>,
    inputs: Vec<Input>,
    /// Pairs of ports, input first, between which there is no way but through the switch.
    apart: Vec<(Weak<Vport>, Weak<Vport>)>,
}

impl Table {
    /// Whether it is known that these two ports can have no shortcuts.
    fn are_apart(&self, input: &Arc<Vport>, output: &Arc<Vport>) -> bool {
        let is = |weak: &Weak<Vport>, port: &Arc<Vport>| std::ptr::eq(weak.as_ptr(), Arc::as_ptr(port));
        self.apart.iter().any(|(from, to)| is(from, input) && is(to, output))
    }

    /// Notes that. The weak references keep the ports' addresses from being used again.
    fn set_apart(&mut self, input: &Arc<Vport>, output: &Arc<Vport>) {
        self.apart.retain(|(from, to)| from.strong_count() != 0 && to.strong_count() != 0);
        if self.apart.len() < APART_MAX {
            self.apart.push((Arc::downgrade(input), Arc::downgrade(output)));
        }
    }
}

/// The shortcuts of a switch.
pub(crate) struct Shortcuts {
    wanted: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
    proposals: ArrayQueue<Proposal>,
    table: Mutex<Table>,
    /// How much there is in the table: a look that needs no lock.
    count: AtomicUsize,
}

/// What a port tells: it must not keep the shortcuts, which keep the port.
struct Past(Weak<Shortcuts>);

impl Bypass for Past {
    fn count(&self, port: &Vport) {
        if let Some(shortcuts) = self.0.upgrade() {
            shortcuts.count_those(|shortcut| shortcut.touches(port));
        }
    }

    fn stop(&self, port: &Vport) {
        if let Some(shortcuts) = self.0.upgrade() {
            shortcuts.end_port(port);
        }
    }
}

impl Shortcut {
    fn touches(&self, port: &Vport) -> bool {
        std::ptr::eq(&*self.input, port) || std::ptr::eq(&*self.output, port)
    }

    /// Counts what went this way since the last time; false if that was nothing.
    fn count(&mut self) -> bool {
        // A port that cannot tell has told all it will.
        let Ok(now) = self.input.handle().shortcut_read(self.id) else { return false };
        let before = std::mem::replace(&mut self.counted, now);
        // Read while the kernel counts, a packet's bytes may come one reading before the packet.
        if now == before {
            return false;
        }
        let packets = now.packets.saturating_sub(before.packets);
        let bytes = now.bytes.saturating_sub(before.bytes);
        // Flags that are counted already stay counted, or were cleared since.
        let tcp_flags = (now.tcp_flags & !before.tcp_flags) as u16;
        self.flow.count_shortcut(packets, bytes, tcp_flags, now.used_ns);
        self.input.count_shared(PortCounter::RxPackets, packets);
        self.input.count_shared(PortCounter::RxBytes, bytes);
        self.output.count_shared(PortCounter::TxPackets, packets);
        self.output.count_shared(PortCounter::TxBytes, bytes);
        if let Some(datapath) = self.datapath.upgrade() {
            // As a look-up that the cache answered.
            datapath.counters.add_shared(DP_HIT, packets);
            datapath.counters.add_shared(DP_MASK_HIT, packets);
            let counts_cache = datapath.counts_cache.load(Ordering::Relaxed);
            datapath.counters.add_shared(DP_CACHE_HIT, if counts_cache { packets } else { 0 });
        }
        true
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.has_ended, true) {
            // A port that fails here has failed before: it says so in the log.
            let _ = self.input.handle().shortcut_end(self.id);
            self.quiet = 0;
            self.flow.end_shortcut();
        }
    }

    /// Its counters are final.
    fn forget(mut self) {
        self.count();
        self.input.handle().shortcut_free(self.id);
        self.flow.forget_shortcut();
    }
}

impl Shortcuts {
    pub(crate) fn new(wake: Box<dyn Fn() + Send + Sync>) -> Arc<Self> {
        Arc::new(Self {
            wanted: AtomicBool::new(true),
            wake,
            proposals: ArrayQueue::new(PROPOSALS_MAX),
            table: Mutex::default(),
            count: AtomicUsize::new(0),
        })
    }

    /// Whether there shall be any.
    #[inline]
    pub(crate) fn are_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // What panics below is a port type's, and contained there.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    fn publish_count(&self, table: &Table) {
        self.count.store(table.all.len() + table.inputs.len(), Ordering::Release);
    }

    /// A worker proposes that a busy flow's packets go past it. Lost if there are too many such.
    #[cold]
    pub(crate) fn propose(&self, site: &Site<'_>, in_port: u32, flow: &Arc<Flow>, key: &WindowKey) {
        let proposal = Proposal {
            datapath: Arc::downgrade(site.datapath),
            flow: Arc::clone(flow),
            in_port,
            generation: site.lens.generation(),
            key: ShortcutKey { layout: key.shape(), pad: 0, window: transmute!(key.window) },
        };
        if self.proposals.push(proposal).is_ok() {
            (self.wake)();
        }
    }

    /// Makes the shortcut that was proposed, if all is still as it was. Under the writer lock.
    fn make(self: &Arc<Self>, proposal: &Proposal, input: Arc<Vport>, output: Arc<Vport>, lens: &Lens) {
        let mut table = self.lock();
        for port in [&input, &output] {
            if !port.has_bypass() {
                port.set_bypass(Box::new(Past(Arc::downgrade(self))));
            }
        }
        // After the above: who taps a port from now on finds the shortcut, once this lock is free.
        let is_seen = input.is_tapped() || output.is_tapped();
        if !self.are_wanted() || is_seen || table.all.len() >= SHORTCUTS_MAX {
            return;
        }
        // Before anything is prepared at the input, which takes milliseconds. What is known of a new port may be from before it was up.
        if table.are_apart(&input, &output) || output.refresh_info().is_ok_and(|info| info.link_up == 0) {
            return;
        }
        if !self.begin_input(&mut table, &input, &proposal.datapath, lens) {
            return;
        }
        // An error: two workers proposed it; or these two ports cannot, or not now. The next proposal comes in a second.
        let id = match input.handle().shortcut_add(output.handle(), &proposal.key) {
            Ok(id) => id,
            Err(Errno::EXDEV | Errno::EOPNOTSUPP) => return table.set_apart(&input, &output),
            Err(_) => return,
        };
        proposal.flow.begin_shortcut(self);
        table.all.push(Shortcut {
            id,
            flow: Arc::clone(&proposal.flow),
            datapath: Weak::clone(&proposal.datapath),
            input,
            output,
            counted: ShortcutCounters::default(),
            quiet: 0,
            has_ended: false,
        });
        self.publish_count(&table);
    }

    /// Ends those that are `meant`: no later packet takes them. What they carried is counted, now and later.
    ///
    /// It takes the lock even if there seem to be none: one may just be made.
    fn end_those(&self, meant: impl Fn(&Shortcut) -> bool) {
        for shortcut in self.lock().all.iter_mut().filter(|shortcut| meant(shortcut)) {
            shortcut.end();
        }
    }

    /// Counts what those that are `meant` have carried.
    fn count_those(&self, meant: impl Fn(&Shortcut) -> bool) {
        if self.is_empty() {
            return;
        }
        for shortcut in self.lock().all.iter_mut().filter(|shortcut| meant(shortcut)) {
            shortcut.count();
        }
    }

    pub(crate) fn count_flow(&self, flow: &Flow) {
        self.count_those(|shortcut| std::ptr::eq(&*shortcut.flow, flow));
    }

    pub(crate) fn count_all(&self) {
        self.count_those(|_| true);
    }

    /// A flow is deleted, or does something else now.
    pub(crate) fn end_flow(&self, flow: &Flow) {
        if flow.has_shortcut() {
            self.end_those(|shortcut| std::ptr::eq(&*shortcut.flow, flow));
        }
    }

    /// A port leaves, or its properties have changed, or somebody wants to see its packets.
    pub(crate) fn end_port(&self, port: &Vport) {
        self.end_those(|shortcut| shortcut.touches(port));
    }

    /// The lenses may have changed: what was made under another one ends.
    pub(crate) fn follow_lenses(&self, datapath: &Datapath) {
        if self.is_empty() {
            return;
        }
        let guard = datapath.pin();
        let mut table = self.lock();
        let Table { all, inputs, .. } = &mut *table;
        for input in inputs {
            let is_here = std::ptr::eq(input.datapath.as_ptr(), datapath);
            if is_here && datapath.lenses.of(input.port.port_no(), &guard).generation() != input.generation {
                let of_input = |shortcut: &&mut Shortcut| Arc::ptr_eq(&shortcut.input, &input.port);
                all.iter_mut().filter(of_input).for_each(Shortcut::end);
            }
        }
    }

    /// A port has left: after this nothing here refers to it. May block, if it had shortcuts.
    pub(crate) fn forget_port(&self, port: &Arc<Vport>) {
        let (gone, input) = {
            let mut table = self.lock();
            let gone: Vec<_> = table.all.extract_if(.., |shortcut| shortcut.touches(port)).collect();
            let input: Vec<_> = table.inputs.extract_if(.., |input| Arc::ptr_eq(&input.port, port)).collect();
            self.publish_count(&table);
            (gone, input)
        };
        if let Some(first) = gone.first() {
            first.input.handle().shortcut_settle();
        }
        for mut shortcut in gone {
            shortcut.end();
            shortcut.forget();
        }
        drop(input);
    }

    /// Counts, ends those that nobody takes, and forgets those that have ended.
    fn tick(&self) {
        if self.is_empty() {
            return;
        }
        let mut table = self.lock();
        let Table { all, inputs, .. } = &mut *table;
        for shortcut in all.iter_mut() {
            let is_busy = shortcut.count();
            shortcut.quiet = if is_busy && !shortcut.has_ended { 0 } else { shortcut.quiet + 1 };
            if shortcut.quiet > QUIET_TICKS {
                shortcut.end();
            }
        }
        let is_over = |shortcut: &mut Shortcut| shortcut.has_ended && shortcut.quiet > REST_TICKS;
        all.extract_if(.., is_over).for_each(Shortcut::forget);
        let is_idle =
            |input: &mut Input| !all.iter().any(|shortcut| Arc::ptr_eq(&shortcut.input, &input.port));
        for input in inputs.extract_if(.., is_idle) {
            // It had none; a port that fails here has gone.
            let _ = input.port.handle().shortcut_masks(None);
        }
        self.publish_count(&table);
    }
}

impl Shortcuts {
    /// Prepares a port for shortcuts under this lens; false: it refuses.
    fn begin_input(
        &self,
        table: &mut Table,
        port: &Arc<Vport>,
        datapath: &Weak<Datapath>,
        lens: &Lens,
    ) -> bool {
        let known = table.inputs.iter().position(|input| Arc::ptr_eq(&input.port, port));
        let index = known.unwrap_or_else(|| {
            let (port, datapath) = (Arc::clone(port), Weak::clone(datapath));
            // No lens has this number.
            table.inputs.push(Input { port, datapath, generation: 0, refuses: false });
            table.inputs.len() - 1
        });
        self.publish_count(table);
        let input = &mut table.inputs[index];
        if input.generation == lens.generation() {
            return !input.refuses;
        }
        let of_input = |shortcut: &&mut Shortcut| Arc::ptr_eq(&shortcut.input, port);
        table.all.iter_mut().filter(of_input).for_each(Shortcut::end);
        input.refuses = port.handle().shortcut_masks(Some(&masks_of(lens))).is_err();
        input.generation = lens.generation();
        !input.refuses
    }
}

/// A lens as port types know it.
fn masks_of(lens: &Lens) -> ShortcutMasks {
    let depth = match lens.depth() {
        Depth::Link => 0,
        Depth::Network => 1,
        Depth::Transport => 2,
    };
    ShortcutMasks { depth, pad: 0, masks: Shape::ALL.map(|shape| transmute!(*lens.mask(shape))) }
}

impl Switch {
    /// Makes the shortcuts that workers have proposed. Called by a control thread after `wake_shortcuts`.
    pub fn make_shortcuts(&self) {
        while let Some(proposal) = self.shortcuts.proposals.pop() {
            self.make_shortcut(&proposal);
        }
    }

    fn make_shortcut(&self, proposal: &Proposal) {
        let _writer = self.lock();
        let flow = &proposal.flow;
        let Some(datapath) = proposal.datapath.upgrade() else { return };
        if !datapath.is_alive() || !flow.is_live() {
            return;
        }
        let (Some(input), Some(output)) =
            (datapath.port(proposal.in_port), flow.single_output().and_then(|port| datapath.port(port)))
        else {
            return;
        };
        // The writer lock keeps the lens: it is copied so that no reader's guard is held while the port works.
        let lens = datapath.lenses.of(proposal.in_port, &datapath.pin()).clone();
        if lens.generation() == proposal.generation && output.has_shortcuts() && !Arc::ptr_eq(&input, &output)
        {
            self.shortcuts.make(proposal, input, output, &lens);
        }
    }

    /// Looks after the shortcuts. To be called about once a second; costs nothing while there are none.
    pub fn tick_shortcuts(&self) {
        self.shortcuts.tick();
    }

    /// Whether busy flows may take shortcuts from now on; those that do not any more end.
    pub fn want_shortcuts(&self, wanted: bool) {
        self.shortcuts.wanted.store(wanted, Ordering::Relaxed);
        if !wanted {
            self.shortcuts.end_those(|_| true);
        }
    }
}
