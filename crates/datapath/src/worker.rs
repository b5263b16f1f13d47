// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A worker: polls its share of the ports and carries what they received through their datapaths.
//!
//! A worker is driven, it does not run by itself: `portwayd` gives each one a thread, tests call it by hand. It opens nothing and
//! reads no clock; [`RxEntry`] says what to wait for.

use std::sync::Arc;

use portway_actions::Program;
use portway_buf::{Batch, DropReason, Packet};
use portway_sync::{Guard, Reader};
use portway_vport::{Errno, Vport};

use crate::datapath::Datapath;
use crate::io::{Io, Site};
use crate::lookup::{Caches, Runs};
use crate::process::{process_batch, process_rounds};
use crate::switch::Switch;

/// One receive queue of a port, assigned to one worker.
#[derive(Clone, Debug)]
pub struct RxEntry {
    /// Unique and ascending: later entries have higher ones.
    pub(crate) id: u64,
    /// The port.
    pub(crate) port: Arc<Vport>,
    /// The queue.
    pub(crate) queue: usize,
    pub(crate) datapath: Arc<Datapath>,
}

impl RxEntry {
    /// Names the entry in [`Worker::poll`]; unique for the life of the switch.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The port.
    pub fn port(&self) -> &Arc<Vport> {
        &self.port
    }

    /// The receive queue.
    pub fn queue(&self) -> usize {
        self.queue
    }
}

/// Caches, buffers and counters of one thread of processing.
pub(crate) struct Lane {
    caches: Caches,
    io: Io,
    runs: Runs,
    batch: Batch,
    /// The datapath of the packets that clients sent and that have not left yet.
    unsent: Option<Arc<Datapath>>,
}

impl Lane {
    pub(crate) fn new(index: usize, cache_entries: usize, seed: u64) -> Self {
        Self {
            caches: Caches::new(cache_entries, seed),
            io: Io::new(index, seed),
            runs: Runs::new(),
            batch: Batch::new(),
            unsent: None,
        }
    }

    /// Receives one batch and processes it; returns how many packets came.
    fn poll(&mut self, entry: &RxEntry, guard: &Guard<'_>, now_ns: u64) -> Result<usize, Errno> {
        let worker = self.io.worker();
        let received = {
            let Io { pool, drops, .. } = &mut self.io;
            entry.port.rx(worker, entry.queue, pool, &mut self.batch, drops)
        };
        if !self.batch.is_empty() {
            let lens = entry.datapath.lenses.of(entry.port.port_no(), guard);
            let can_have = entry.port.has_shortcuts() && entry.datapath.shortcuts.are_wanted();
            let shortcuts_from = can_have.then(|| entry.port.port_no());
            let site = Site { datapath: &entry.datapath, lens, guard, now_ns, shortcuts_from };
            process_batch(&mut self.caches, &mut self.io, &site, &mut self.runs, &mut self.batch);
        } else if received.is_ok_and(|packets| packets != 0) {
            // The port type refused them all.
            entry.datapath.publish_drops(worker, &mut self.io.drops);
        }
        if received == Err(Errno::EMSGSIZE) {
            self.io.drops.add(DropReason::FrameTooLong, 1);
            entry.datapath.publish_drops(worker, &mut self.io.drops);
        }
        received
    }

    /// Runs a program on a packet that a client sent, and what follows from it. What it sends leaves with
    /// [`Lane::send_executed`]: clients send many packets with one request.
    pub(crate) fn execute(
        &mut self,
        datapath: &Arc<Datapath>,
        packet: Packet,
        program: &Arc<Program>,
        guard: &Guard<'_>,
        now_ns: u64,
    ) -> Result<(), Errno> {
        let site = self.execution_site(datapath, &packet, guard, now_ns);
        let outcome = self.io.run_program(&site, program, packet);
        process_rounds(&mut self.caches, &mut self.io, &site, &mut self.runs, &mut self.batch);
        outcome
    }

    /// As [`Lane::execute`], for the program that only outputs, once.
    pub(crate) fn execute_output(
        &mut self,
        datapath: &Arc<Datapath>,
        packet: Packet,
        port: u32,
        guard: &Guard<'_>,
        now_ns: u64,
    ) {
        let site = self.execution_site(datapath, &packet, guard, now_ns);
        self.io.output(&site, port, packet);
    }

    /// Makes sure that all that is unsent is of this datapath.
    fn execution_site<'a>(
        &mut self,
        datapath: &'a Arc<Datapath>,
        packet: &Packet,
        guard: &'a Guard<'_>,
        now_ns: u64,
    ) -> Site<'a> {
        if self.unsent.as_ref().is_some_and(|unsent| !Arc::ptr_eq(unsent, datapath)) {
            self.send_executed(guard, now_ns);
        }
        if self.unsent.is_none() {
            self.unsent = Some(Arc::clone(datapath));
        }
        lone_site(datapath, packet.in_port(), guard, now_ns)
    }

    /// Sends what packets from clients have led to.
    pub(crate) fn send_executed(&mut self, guard: &Guard<'_>, now_ns: u64) {
        if let Some(datapath) = self.unsent.take() {
            self.io.flush(&lone_site(&datapath, 0, guard, now_ns));
        }
    }

    /// Carries a packet through a datapath as if its port had received it.
    pub(crate) fn inject(
        &mut self,
        datapath: &Arc<Datapath>,
        packet: Packet,
        guard: &Guard<'_>,
        now_ns: u64,
    ) {
        self.send_executed(guard, now_ns);
        let site = lone_site(datapath, packet.in_port(), guard, now_ns);
        self.batch.push(packet);
        process_batch(&mut self.caches, &mut self.io, &site, &mut self.runs, &mut self.batch);
    }

    /// Gives back what an idle lane does not need.
    pub(crate) fn rest(&mut self) {
        self.caches.sweep();
        self.io.pool.trim();
    }
}

/// Where a packet is processed that comes from no port.
fn lone_site<'a>(datapath: &'a Arc<Datapath>, in_port: u32, guard: &'a Guard<'_>, now_ns: u64) -> Site<'a> {
    Site { datapath, lens: datapath.lenses.of(in_port, guard), guard, now_ns, shortcuts_from: None }
}

/// One worker. Made by [`Switch::worker`], once for each index.
pub struct Worker {
    switch: Arc<Switch>,
    index: usize,
    reader: Reader,
    lane: Lane,
}

impl Worker {
    pub(crate) fn new(switch: Arc<Switch>, index: usize, reader: Reader, lane: Lane) -> Self {
        Self { switch, index, reader, lane }
    }

    /// Its index, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Changes whenever the entries do.
    pub fn entries_generation(&self) -> u64 {
        self.switch.entries_generation(self.index)
    }

    /// The receive queues that this worker has to poll, by ascending id.
    pub fn entries(&mut self) -> Vec<RxEntry> {
        let guard = self.reader.enter();
        self.switch.entries(self.index).load(&guard).clone()
    }

    /// Receives one batch of up to 64 packets from one queue and processes it. `now_ns`: monotonic time.
    ///
    /// # Errors
    /// The port's, counted already: ENETDOWN says that its device is down or gone. An entry that is no longer assigned
    /// gives `Ok(0)`.
    pub fn poll(&mut self, entry_id: u64, now_ns: u64) -> Result<usize, Errno> {
        let guard = self.reader.enter();
        let entries = self.switch.entries(self.index).load(&guard);
        let Ok(place) = entries.binary_search_by_key(&entry_id, |entry| entry.id) else { return Ok(0) };
        self.lane.poll(&entries[place], &guard, now_ns)
    }

    /// Receives one batch from every queue; returns the number of packets. A port's error stays with the port.
    pub fn poll_all(&mut self, now_ns: u64) -> usize {
        let guard = self.reader.enter();
        let entries = self.switch.entries(self.index).load(&guard);
        entries.iter().map(|entry| self.lane.poll(entry, &guard, now_ns).unwrap_or(0)).sum()
    }

    /// Gives back what an idle worker does not need: buffers, deleted flows in its caches.
    pub fn rest(&mut self) {
        self.lane.rest();
        self.switch.domain().reclaim();
    }
}
