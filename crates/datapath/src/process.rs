// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The heart: what happens to a batch of packets, from the port that received it to the ports that send it.
//!
//! ```text
//!   batch -> scan into runs -> caches -> classifier -> program of the flow -> outputs, collected per port -> tx
//!                                 |                        |
//!                                 +-- miss: upcall         +-- recirculate: again from the start, in a later round
//! ```

use portway_buf::{Batch, DropReason, Packet};
use portway_flow::{FlowKey, WindowKey, extract_into};

use crate::flow::Flow;
use crate::io::{Io, Site};
use crate::lookup::{By, Caches, Run, Runs};

/// Carries a batch from one port through the datapath, and what it recirculates, and sends the results.
pub(crate) fn process_batch(
    caches: &mut Caches,
    io: &mut Io,
    site: &Site<'_>,
    runs: &mut Runs,
    batch: &mut Batch,
) {
    forward(caches, io, site, runs, batch);
    process_rounds(caches, io, site, runs, batch);
    io.flush(site);
}

/// Carries on with what was recirculated, until nothing is left but what waits to be sent.
pub(crate) fn process_rounds(
    caches: &mut Caches,
    io: &mut Io,
    site: &Site<'_>,
    runs: &mut Runs,
    batch: &mut Batch,
) {
    while io.next_round(site, batch) {
        forward(caches, io, site, runs, batch);
    }
}

/// One pass: every packet of `batch` is sent on, recirculated, handed to user space or dropped.
fn forward(caches: &mut Caches, io: &mut Io, site: &Site<'_>, runs: &mut Runs, batch: &mut Batch) {
    io.follow(batch);
    caches.scan(site.lens, batch, runs);
    caches.locate(site.lens, io.worker(), runs);
    let version = caches.version();
    let mut packets = batch.drain(..);
    for run in runs.iter() {
        let packets = packets.by_ref().take(run.packets);
        match &run.by {
            By::Window(key) => {
                // A place is good until something is inserted; then the run asks again.
                let flow = match run.place {
                    Some(place) if caches.version() == version => caches.at(place),
                    _ => caches.find_window(site.lens, key),
                };
                match flow {
                    Some(flow) => {
                        io.count_cached(site, flow, run.packets);
                        if let Some(in_port) = site.shortcuts_from {
                            note_heat(caches, io, site, in_port, key, run);
                        }
                        hit(io, site, flow, run, packets);
                    }
                    None => first_look(caches, io, site, run, packets),
                }
            }
            By::Key => packets.for_each(|packet| look_up(caches, io, site, run, packet)),
        }
    }
}

/// A run of a port whose packets could go past the switch: if its flow is busy, they shall.
fn note_heat(caches: &Caches, io: &mut Io, site: &Site<'_>, in_port: u32, key: &WindowKey, run: &Run) {
    if key.recirc_id() == 0
        && io.heat.note(key.digest(), run.packets as u64, run.bytes, site.now_ns)
        && let Some(flow) = caches.shared_window(site.lens, key)
        && flow.single_output().is_some()
    {
        site.datapath.shortcuts.propose(site, in_port, flow, key);
    }
}

/// A run that is not cached: its first packet is looked up, and what that finds goes for the rest, if it was cached.
#[cold]
fn first_look(
    caches: &mut Caches,
    io: &mut Io,
    site: &Site<'_>,
    run: &Run,
    mut packets: impl Iterator<Item = Packet>,
) {
    let Some(first) = packets.next() else { return };
    let bytes = run.bytes - first.len() as u64;
    look_up(caches, io, site, run, first);
    let rest = Run { by: By::Key, packets: run.packets - 1, bytes, tcp_flags: run.tcp_flags, place: None };
    if rest.packets == 0 {
        return;
    }
    let By::Window(key) = &run.by else { return };
    match caches.find_window(site.lens, key) {
        Some(flow) => {
            io.count_cached(site, flow, rest.packets);
            hit(io, site, flow, &rest, packets);
        }
        None => packets.for_each(|packet| look_up(caches, io, site, run, packet)),
    }
}

/// Packets that belong to `flow`.
#[inline]
fn hit(io: &mut Io, site: &Site<'_>, flow: &Flow, run: &Run, packets: impl Iterator<Item = Packet>) {
    flow.count(io.worker(), run.packets as u64, run.bytes, run.tcp_flags, site.now_ns);
    io.count_hits(run.packets as u64);
    match flow.single_output() {
        Some(port) => io.output_all(site, port, packets),
        None => {
            let program = flow.program(site.guard);
            for packet in packets {
                // A failure has been counted; a packet from a port has nobody to tell it to.
                let _ = io.run_program(site, program, packet);
            }
        }
    }
}

/// A packet of a run that is not cached.
fn look_up(caches: &mut Caches, io: &mut Io, site: &Site<'_>, run: &Run, packet: Packet) {
    let mut key = io.scratch.take().unwrap_or_default();
    look_up_by(&mut key, caches, io, site, run, packet);
    io.scratch = Some(key);
}

/// The same, with room for the packet's key: keys are large.
fn look_up_by(
    key: &mut FlowKey,
    caches: &mut Caches,
    io: &mut Io,
    site: &Site<'_>,
    run: &Run,
    mut packet: Packet,
) {
    if let Err(reason) = extract_into(&mut packet, key) {
        io.count_unread();
        return io.drop_packet(packet, reason);
    }
    let window = if let By::Window(key) = &run.by { Some(key) } else { None };
    let found = caches.find_key(site.datapath, site.lens, key, window, site.guard);
    let (flow, from_cache) = match found {
        Some(found) => found,
        None => {
            io.count_search(site, None);
            return io.miss(site, packet, key);
        }
    };
    if from_cache {
        io.count_cached(site, flow, 1);
    } else {
        io.count_search(site, Some(flow));
    }
    let tcp_flags = key.tcp_flags.get();
    let one = Run { by: By::Key, packets: 1, bytes: packet.len() as u64, tcp_flags, place: None };
    hit(io, site, flow, &one, std::iter::once(packet));
}

impl Io {
    /// Counts a packet's death and takes its buffer back.
    pub(crate) fn drop_packet(&mut self, packet: Packet, reason: DropReason) {
        self.drops.add(reason, 1);
        self.pool.give(packet);
    }
}
