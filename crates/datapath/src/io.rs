// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a worker does to the world on behalf of a batch: outputs collected per port, recirculation, upcalls, drops.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrayvec::ArrayVec;
use portway_actions::{
    Effect, Program, complete_checksum, execute, fits_largest_fragment, fragment_reassembled,
    leaves_as_fragments, segment,
};
use portway_buf::{BATCH_MAX, Batch, DropCounts, DropReason, Packet, Pool};
use portway_flow::{Action, Classified, FlowKey, Frag, Lens, Userspace, extract, extract_into};
use portway_sync::Guard;
use portway_tunnel::cut::Cut;
use portway_vport::{Errno, Vport};

use crate::datapath::{DP_CACHE_HIT, DP_HIT, DP_LOST, DP_MASK_HIT, DP_MISSED, Datapath, PORTS_MAX};
use crate::flow::Flow;
use crate::heat::Heat;
use crate::mask_cache::{self, BUSY, FOLLOWED_MAX};
use crate::services::{FragmentIds, Random, Running};
use crate::upcall::{Reason, Upcall};

/// Ports that may have packets waiting at one time; with more, one of them is sent first.
const PENDING_PORTS: usize = 16;

/// Packets that may wait for recirculation on one worker.
const RECIRCULATED_MAX: usize = 4 * BATCH_MAX;

/// Recirculations that are carried out one inside the other, as in the kernel: what would go deeper is put off until all that goes
/// before it in the outermost list is done, and starts again at this depth less one.
const NESTED_MAX: u16 = 3;

/// How often one packet may be put off: the kernel's queue has ten places, of which it uses nine.
const PUT_OFF_MAX: u16 = 9;

/// How often one packet may be recirculated, from both.
pub(crate) const RECIRCULATIONS_MAX: u16 = NESTED_MAX + PUT_OFF_MAX * NESTED_MAX;

/// How many packets may be put off for one batch.
const PUT_OFFS_MAX: usize = PUT_OFF_MAX as usize * BATCH_MAX;

/// Whether the kernel would put off a packet's recirculation of that number (from 1).
fn is_put_off(recirculations: u16) -> bool {
    recirculations > NESTED_MAX && recirculations % NESTED_MAX == 1
}

/// Where a batch is being processed.
pub(crate) struct Site<'a> {
    pub(crate) datapath: &'a Arc<Datapath>,
    pub(crate) lens: &'a Lens,
    pub(crate) guard: &'a Guard<'a>,
    pub(crate) now_ns: u64,
    /// The port that the packets came from, if they could take shortcuts.
    pub(crate) shortcuts_from: Option<u32>,
}

/// Packets on their way to one port.
struct Pending {
    port: u32,
    batch: Batch,
}

/// An effect and the program that it is of.
type Waiting = (Arc<Program>, Effect);

/// A worker's hands.
pub(crate) struct Io {
    worker: usize,
    pub(crate) pool: Pool,
    pub(crate) drops: DropCounts,
    pending: Vec<Pending>,
    /// Entries of `pending` in use; those behind keep their memory.
    pending_used: usize,
    recirculated: VecDeque<Packet>,
    /// Effects of this round that wait until the packets recirculated before them have been dealt with.
    waiting_new: Vec<Waiting>,
    /// Those of earlier rounds, the latest round first: what a recirculated packet leads to is nested in the list that recirculated it.
    waiting: VecDeque<Waiting>,
    /// Recirculated packets whose turn comes when nothing waits any more.
    put_off: VecDeque<Packet>,
    /// How many packets of this batch may still be put off: as many as the kernel puts off for so many packets, whatever one list makes
    /// of one packet.
    put_offs_left: usize,
    segments: Vec<Packet>,
    /// Room for the key of the packet that is looked up; absent while it is.
    pub(crate) scratch: Option<Box<FlowKey>>,
    pub(crate) random: Random,
    pub(crate) fragment_ids: FragmentIds,
    pub(crate) heat: Heat,
    hits: u64,
    missed: u64,
    mask_hits: u64,
    cache_hits: u64,
    /// Hashes of the packets that are to be counted next, from the end: those for which the kernel's masks cache is followed.
    followed: ArrayVec<u32, FOLLOWED_MAX>,
    lost: u64,
}

impl Io {
    pub(crate) fn new(worker: usize, seed: u64) -> Self {
        let pending = (0..PENDING_PORTS).map(|_| Pending { port: 0, batch: Batch::new() }).collect();
        Self {
            worker,
            pool: Pool::new(),
            drops: DropCounts::default(),
            pending,
            pending_used: 0,
            recirculated: VecDeque::with_capacity(RECIRCULATED_MAX),
            waiting_new: Vec::new(),
            waiting: VecDeque::new(),
            put_off: VecDeque::new(),
            put_offs_left: PUT_OFFS_MAX,
            segments: Vec::with_capacity(BATCH_MAX),
            scratch: None,
            random: Random::new(seed),
            fragment_ids: FragmentIds::new(seed),
            heat: Heat::default(),
            hits: 0,
            missed: 0,
            mask_hits: 0,
            cache_hits: 0,
            followed: ArrayVec::new(),
            lost: 0,
        }
    }

    #[inline]
    pub(crate) fn worker(&self) -> usize {
        self.worker
    }

    #[inline]
    pub(crate) fn count_hits(&mut self, packets: u64) {
        self.hits += packets;
    }

    /// Prepares to follow the kernel's masks cache for the packets of a small batch, which are then counted in their order, or for
    /// the first of a larger one.
    #[inline]
    pub(crate) fn follow(&mut self, batch: &mut Batch) {
        self.followed.clear();
        let followed = match batch.len() {
            few @ 0..=FOLLOWED_MAX => few,
            BUSY.. => return,
            _ => 1,
        };
        // In reverse: they are taken from the end.
        let hash = |packet: &mut Packet| extract(packet).map_or(0, |key| mask_cache::hash(&key));
        self.followed.extend(batch[..followed].iter_mut().rev().map(hash));
    }

    /// Counts look-ups that a cache answered with this flow.
    #[inline]
    pub(crate) fn count_cached(&mut self, site: &Site<'_>, flow: &Flow, packets: usize) {
        let followed = packets.min(self.followed.len());
        (0..followed).for_each(|_| self.count_search(site, Some(flow)));
        let others = (packets - followed) as u64;
        self.mask_hits += others;
        self.cache_hits += others;
    }

    /// Counts a look-up that found this flow or none.
    pub(crate) fn count_search(&mut self, site: &Site<'_>, flow: Option<&Flow>) {
        let tried = |flow: Option<&Flow>| site.datapath.flows.masks_tried(flow.map(Flow::order), site.guard);
        let hash = self.followed.pop().filter(|hash| *hash != 0);
        let cache = hash.and_then(|hash| Some((hash, site.datapath.mask_cache.try_lock().ok()?)));
        match cache {
            Some((hash, mut cache)) => {
                let found = flow.map(|flow| tried(Some(flow)).saturating_sub(1));
                let tried = cache.look_up(hash, found, tried(None));
                self.mask_hits += tried.masks as u64;
                self.cache_hits += u64::from(tried.cached);
            }
            None => self.mask_hits += tried(flow) as u64,
        }
    }

    /// A packet was not looked up at all.
    pub(crate) fn count_unread(&mut self) {
        self.followed.pop();
    }

    /// Queues a packet for a port.
    #[inline]
    pub(crate) fn output(&mut self, site: &Site<'_>, port: u32, packet: Packet) {
        if packet.mru() != 0 {
            return self.output_reassembled(site, port, packet);
        }
        self.queue(site, port, packet);
    }

    #[inline]
    fn queue(&mut self, site: &Site<'_>, port: u32, packet: Packet) {
        let slot = self.pending_slot(site, port);
        let batch = &mut self.pending[slot].batch;
        batch.push(packet);
        if batch.is_full() {
            self.send(site, slot);
        }
    }

    /// Queues packets for a port.
    #[inline]
    pub(crate) fn output_all(&mut self, site: &Site<'_>, port: u32, packets: impl Iterator<Item = Packet>) {
        let mut slot = self.pending_slot(site, port);
        for packet in packets {
            if packet.mru() != 0 {
                self.output_reassembled(site, port, packet);
                slot = self.pending_slot(site, port);
                continue;
            }
            let batch = &mut self.pending[slot].batch;
            batch.push(packet);
            if batch.is_full() {
                self.send(site, slot);
            }
        }
    }

    /// Queues a packet that was reassembled from fragments: as fragments, unless it is as short as the longest of them.
    #[cold]
    fn output_reassembled(&mut self, site: &Site<'_>, port: u32, packet: Packet) {
        let mtu = site.datapath.ports.get(port as usize, site.guard).and_then(|vport| vport.mtu());
        if packet.offload().gso.is_some() || fits_largest_fragment(&packet) {
            return self.queue(site, port, packet);
        }
        if mtu.is_some_and(|mtu| u32::from(packet.mru()) > mtu) {
            return self.drop_packet(packet, DropReason::OverMtu);
        }
        let mut fragments = std::mem::take(&mut self.segments);
        if let Err(reason) =
            fragment_reassembled(packet, self.fragment_ids.next(), &mut self.pool, &mut |piece| {
                fragments.push(piece);
            })
        {
            self.drops.add(reason, 1);
        }
        for fragment in fragments.drain(..) {
            self.queue(site, port, fragment);
        }
        self.segments = fragments;
    }

    /// Where packets for `port` wait; makes room if too many ports have some.
    #[inline]
    fn pending_slot(&mut self, site: &Site<'_>, port: u32) -> usize {
        let used = self.pending_used;
        if let Some(slot) = self.pending[..used].iter().position(|pending| pending.port == port) {
            return slot;
        }
        if used < PENDING_PORTS {
            self.pending[used].port = port;
            self.pending_used += 1;
            return used;
        }
        // The longest batch goes first: it has the least to gain from waiting.
        let longest = (0..PENDING_PORTS).max_by_key(|&slot| self.pending[slot].batch.len()).unwrap_or(0);
        self.send(site, longest);
        self.pending[longest].port = port;
        longest
    }

    /// Sends all that waits and publishes the counts.
    pub(crate) fn flush(&mut self, site: &Site<'_>) {
        for slot in 0..self.pending_used {
            self.send(site, slot);
        }
        self.pending_used = 0;
        self.put_offs_left = PUT_OFFS_MAX;
        let counters = site.datapath.counters.worker(self.worker);
        if self.hits != 0 {
            counters.add(DP_HIT, std::mem::take(&mut self.hits));
        }
        if self.mask_hits != 0 {
            counters.add(DP_MASK_HIT, std::mem::take(&mut self.mask_hits));
        }
        if self.cache_hits != 0 {
            let counted =
                if site.datapath.counts_cache.load(Ordering::Relaxed) { self.cache_hits } else { 0 };
            counters.add(DP_CACHE_HIT, counted);
            self.cache_hits = 0;
        }
        if self.missed != 0 {
            counters.add(DP_MISSED, std::mem::take(&mut self.missed));
        }
        if self.lost != 0 {
            counters.add(DP_LOST, std::mem::take(&mut self.lost));
        }
        site.datapath.publish_drops(self.worker, &mut self.drops);
    }

    fn send(&mut self, site: &Site<'_>, slot: usize) {
        let Pending { port, batch } = &mut self.pending[slot];
        if batch.is_empty() {
            return;
        }
        match site.datapath.ports.get(*port as usize, site.guard) {
            Some(vport) => {
                if vport.needs_software_offload() {
                    self.send_completed(vport, slot);
                } else {
                    transmit(vport, self.worker, &mut self.pool, batch, &mut self.drops);
                }
            }
            None => {
                self.drops.add(DropReason::NoSuchPort, batch.len() as u64);
                self.pool.as_ref().give_all(batch);
            }
        }
    }

    /// Sends to a port that takes neither partial checksums nor super-packets, or only those that it can cut itself.
    #[cold]
    fn send_completed(&mut self, vport: &Vport, slot: usize) {
        let batch = &mut self.pending[slot].batch;
        let mut plain = Batch::new();
        let cuts_tcp = vport.cuts_tcp();
        for packet in batch.drain(..) {
            if cuts_tcp && Cut::plan(packet.frame(), packet.offload()).is_some() {
                self.segments.push(packet);
            } else if let Err(reason) =
                complete(packet, &mut self.fragment_ids, &mut self.pool, &mut self.segments)
            {
                self.drops.add(reason, 1);
            }
            for packet in self.segments.drain(..) {
                plain.push(packet);
                if plain.is_full() {
                    transmit(vport, self.worker, &mut self.pool, &mut plain, &mut self.drops);
                }
            }
        }
        if !plain.is_empty() {
            transmit(vport, self.worker, &mut self.pool, &mut plain, &mut self.drops);
        }
    }

    /// Runs a program on a packet and carries out its effects. An error has been counted as a drop already; it is for a client
    /// that sent the packet.
    pub(crate) fn run_program(
        &mut self,
        site: &Site<'_>,
        program: &Arc<Program>,
        packet: Packet,
    ) -> Result<(), Errno> {
        execute(program, packet, &mut Running { io: self, site, program, waits: false })
    }

    /// Keeps an effect for after the packets that are recirculated now.
    pub(crate) fn wait(&mut self, program: &Arc<Program>, effect: Effect) {
        self.waiting_new.push((Arc::clone(program), effect));
    }

    /// Carries out effects that waited, up to the first that recirculates.
    fn run_waiting(&mut self, site: &Site<'_>) {
        while let Some((program, effect)) = self.waiting.pop_front() {
            if self.carry_out(site, &program, effect) {
                return;
            }
        }
    }

    /// Carries out an effect. True: it has recirculated a packet whose turn is now.
    pub(crate) fn carry_out(&mut self, site: &Site<'_>, program: &Arc<Program>, effect: Effect) -> bool {
        match effect {
            Effect::Output { port, packet } => self.output(site, port, packet),
            Effect::Recirculate { packet } => {
                let is_put_off = is_put_off(packet.recirculations());
                if !is_put_off && self.recirculated.len() < RECIRCULATED_MAX {
                    self.recirculated.push_back(packet);
                    return true;
                }
                if is_put_off && self.put_offs_left != 0 {
                    self.put_offs_left -= 1;
                    self.put_off.push_back(packet);
                } else {
                    self.drop_packet(packet, DropReason::RecirculationFull);
                }
            }
            Effect::Upcall { packet, key, userspace, cut_len } => {
                self.upcall_action(site, program, packet, key, userspace, cut_len);
            }
            Effect::Psample { packet, group, cookie, probability, cut_len } => {
                self.sample(site, packet, Reason::Sample { group, cookie, probability }, cut_len);
            }
        }
        false
    }

    /// After a round: carries out what waited for it, as far as it goes, and fills `batch` with the packets that are to be looked up next;
    /// false if there are none and nothing waits.
    pub(crate) fn next_round(&mut self, site: &Site<'_>, batch: &mut Batch) -> bool {
        debug_assert!(batch.is_empty());
        while let Some(waiting) = self.waiting_new.pop() {
            self.waiting.push_front(waiting);
        }
        if self.recirculated.is_empty() {
            self.run_waiting(site);
        }
        if self.recirculated.is_empty() {
            std::mem::swap(&mut self.recirculated, &mut self.put_off);
        }
        let n = self.recirculated.len().min(BATCH_MAX);
        batch.extend(self.recirculated.drain(..n));
        n != 0
    }

    /// A packet that no flow matches goes to user space.
    pub(crate) fn miss(&mut self, site: &Site<'_>, packet: Packet, key: &FlowKey) {
        self.missed += 1;
        self.upcall(site, packet, key, &|| Reason::Miss, 0);
    }

    fn upcall_action(
        &mut self,
        site: &Site<'_>,
        program: &Arc<Program>,
        mut packet: Packet,
        key: Option<Box<FlowKey>>,
        userspace: Arc<Userspace>,
        cut_len: u32,
    ) {
        let mut extracted = FlowKey::default();
        let key = match &key {
            Some(key) => &**key,
            None => match extract_into(&mut packet, &mut extracted) {
                Ok(()) => &extracted,
                Err(reason) => return self.drop_packet(packet, reason),
            },
        };
        let actions: Option<Arc<[Action]>> = userspace.actions.then(|| program.actions().into());
        let port =
            userspace.egress_tun_port.and_then(|port| site.datapath.ports.get(port as usize, site.guard));
        let egress_tunnel = port.and_then(|port| port.egress_tunnel(&packet)).map(Arc::new);
        let reason = || Reason::Action {
            userspace: Arc::clone(&userspace),
            actions: actions.clone(),
            egress_tunnel: egress_tunnel.clone(),
        };
        self.upcall(site, packet, key, &reason, cut_len);
    }

    /// Queues a sample, in a queue of its own, so that samples displace no upcalls.
    fn sample(&mut self, site: &Site<'_>, mut packet: Packet, reason: Reason, cut_len: u32) {
        let wanted = site.datapath.samples_wanted.load(Ordering::Relaxed);
        let Some(key) = wanted.then(|| extract(&mut packet).ok()).flatten() else {
            return self.pool.give(packet);
        };
        let upcall = Upcall { datapath: Arc::clone(site.datapath), packet, key, reason, cut_len };
        let source = site.datapath.upcall_source(PORTS_MAX as u32);
        if let Err(upcall) = site.datapath.upcalls.push(source, upcall) {
            self.pool.give(upcall.packet);
        }
    }

    /// Queues an upcall: a super-packet as its segments, a partial checksum completed.
    fn upcall(
        &mut self,
        site: &Site<'_>,
        packet: Packet,
        key: &FlowKey,
        reason: &dyn Fn() -> Reason,
        cut_len: u32,
    ) {
        let fragments = leaves_as_fragments(&packet);
        let source = site.datapath.upcall_source(key.in_port);
        let mut segments = std::mem::take(&mut self.segments);
        if let Err(reason) = complete(packet, &mut self.fragment_ids, &mut self.pool, &mut segments) {
            self.drops.add(reason, 1);
        }
        for (number, packet) in segments.drain(..).enumerate() {
            let datapath = Arc::clone(site.datapath);
            let mut upcall = Upcall { datapath, packet, key: key.clone(), reason: reason(), cut_len };
            if fragments && number != 0 {
                upcall.key.ip_frag = Frag::Later as u8;
            }
            if let Err(upcall) = site.datapath.upcalls.push(source, upcall) {
                self.lost += 1;
                self.drops.add(DropReason::UpcallQueueFull, 1);
                self.pool.give(upcall.packet);
            }
        }
        self.segments = segments;
    }
}

fn transmit(vport: &Vport, worker: usize, pool: &mut Pool, batch: &mut Batch, drops: &mut DropCounts) {
    vport.tx(worker, pool, batch, drops);
}

/// Does in software what was left to hardware: appends the finished packets to `out`.
fn complete(
    mut packet: Packet,
    ids: &mut FragmentIds,
    pool: &mut Pool,
    out: &mut Vec<Packet>,
) -> Result<(), DropReason> {
    if packet.offload().gso.is_some() {
        let id = if leaves_as_fragments(&packet) { ids.next() } else { 0 };
        return segment(packet, id, pool, &mut |piece| out.push(piece));
    }
    if !packet.is_plain() {
        complete_checksum(&mut packet)?;
    }
    out.push(packet);
    Ok(())
}
