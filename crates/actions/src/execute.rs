// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs a program on one packet.
//!
//! The packet itself goes to the last action that hands it on; those before it get copies from the pool. Nothing is sent here:
//! effects are handed over one by one. One packet in means at least one effect or one counted drop out.

use std::ops::Range;
use std::sync::Arc;

use portway_buf::{DropReason, Packet, Pool};
use portway_flow::Userspace;
use portway_uapi::errno::Errno;

use crate::effect::Effect;
use crate::error::Failure;
use crate::headers::VLAN_LEN;
use crate::program::{Edit, Op, Program};
use crate::segment::{passes_through, segment};
use crate::stale_key::{self, StaleKey};
use crate::ttl::{self, Ttl};
use crate::{check_packet_length, edit, truncate, vlan};

/// What a meter says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Within the rate, or no such meter.
    Pass,
    /// Over the rate.
    Drop,
}

/// Where execution works: what it needs from outside, and where what it decides goes.
pub trait Environment {
    /// Where copies come from.
    fn pool(&mut self) -> &mut Pool;
    /// Carries out an effect, or keeps it for later; effects come in the order in which they are to be carried out. A list of
    /// thousands of outputs makes as many copies of a packet: if they leave at once, few of them exist at a time.
    fn carry_out(&mut self, effect: Effect);
    /// Counts a drop.
    fn count_drop(&mut self, reason: DropReason);
    /// 32 random bits, for the sample action.
    fn random(&mut self) -> u32;
    /// 32 bits that nobody can guess, for the id of the fragments of one packet.
    fn fragment_id(&mut self) -> u32;
    /// Charges meter `id` with a packet of `packet_len` bytes. An unknown meter passes.
    fn meter(&mut self, id: u32, packet_len: usize) -> Verdict;
    /// How often one packet may be recirculated.
    fn recirculation_limit(&self) -> u16;
}

/// What actions leave for the actions behind them in the same list. A list within a list starts with a copy.
#[derive(Clone)]
struct State {
    /// Bytes that the next output keeps (a trunc action), as the kernel counts them.
    truncate_to: Option<u32>,
    /// Probability of the innermost sample action, in 2^-32.
    probability: u32,
    /// Whether push_eth fails; see `ethernet::forbids_push`.
    push_ethernet_fails: bool,
    /// The key that upcalls report, if it is not the packet's.
    key: StaleKey,
}

impl State {
    /// The bytes that an output of `packet` leaves out at the end; the next output leaves out none.
    fn take_cut(&mut self, packet: &Packet) -> u32 {
        self.truncate_to.take().map_or(0, |len| counted_len(packet).saturating_sub(len as usize) as u32)
    }
}

/// What to do after a step.
enum Flow {
    /// The packet is still here: go on at this step.
    Next(Packet, usize),
    /// The packet has gone, as it should.
    Gone,
}

/// Runs `program` on `packet`.
///
/// # Errors
/// The errno with which the kernel answers OVS_PACKET_CMD_EXECUTE when an action cannot be carried out. The packet has been dropped
/// and counted, and effects before that action stand; with a packet from a port there is nothing else to do about it.
#[inline]
pub fn execute<E: Environment>(
    program: &Program,
    mut packet: Packet,
    environment: &mut E,
) -> Result<(), Errno> {
    let mut state = State { truncate_to: None, probability: u32::MAX, push_ethernet_fails: false, key: None };
    if packet.extension().is_some_and(|extension| extension.truncate_to != 0) {
        state.truncate_to = Some(std::mem::take(&mut packet.extension_mut().truncate_to));
    }
    let mut run = Run { ops: program.ops(), keeps_key: program.keeps_key(), has_ended: false, environment };
    let done = run.list(0..program.ops().len(), packet, state);
    if !run.has_ended {
        run.environment.count_drop(DropReason::FlowDrop);
    }
    done.map_err(Failure::errno)
}

struct Run<'p, 'e, E> {
    ops: &'p [Op],
    keeps_key: bool,
    /// There has been an effect or a drop.
    has_ended: bool,
    environment: &'e mut E,
}

impl<E: Environment> Run<'_, '_, E> {
    fn list(&mut self, steps: Range<usize>, mut packet: Packet, mut state: State) -> Result<(), Failure> {
        let mut at = steps.start;
        while at < steps.end {
            match self.step(at, packet, &mut state)? {
                Flow::Next(kept, next) => (packet, at) = (kept, next),
                Flow::Gone => return Ok(()),
            }
        }
        self.environment.pool().give(packet);
        Ok(())
    }

    fn step(&mut self, at: usize, packet: Packet, state: &mut State) -> Result<Flow, Failure> {
        let ops = self.ops;
        let next = at + 1;
        match &ops[at] {
            Op::Edit(edit) => self.edit(edit, packet, next, state),
            Op::Output { port, last } => {
                let cut = state.take_cut(&packet);
                let port = *port;
                self.hand_on(packet, *last, next, |run, packet| {
                    run.output(port, packet, cut);
                    Ok(())
                })
            }
            Op::Upcall { userspace, last } => {
                // Here the kernel has put the outer tag into the frame before it cuts.
                let kept = state.truncate_to.take().map_or(usize::MAX, |len| len as usize);
                let cut = packet.len().saturating_sub(kept) as u32;
                self.hand_on(packet, *last, next, |run, packet| {
                    run.upcall(userspace, packet, &state.key, cut);
                    Ok(())
                })
            }
            Op::Recirculate { id, last } => {
                let (id, truncate_to) = (*id, state.truncate_to);
                self.hand_on(packet, *last, next, |run, packet| {
                    run.recirculate(id, packet, truncate_to);
                    Ok(())
                })
            }
            Op::Psample { group, cookie, last } => {
                let cut_len = state.take_cut(&packet);
                let (group, cookie, probability) = (*group, cookie.clone(), state.probability);
                self.hand_on(packet, *last, next, |run, packet| {
                    run.effect(Effect::Psample { packet, group, cookie, probability, cut_len });
                    Ok(())
                })
            }
            Op::Truncate { len_max } => {
                state.truncate_to = Some(*len_max);
                Ok(Flow::Next(packet, next))
            }
            Op::Meter { id } => {
                let len = counted_len(&packet);
                match self.environment.meter(*id, len) {
                    Verdict::Pass => Ok(Flow::Next(packet, next)),
                    Verdict::Drop => Ok(self.drop(packet, DropReason::Meter)),
                }
            }
            Op::Drop { code: 0 } => Ok(self.drop(packet, DropReason::ActionDrop)),
            Op::Drop { .. } => Ok(self.drop(packet, DropReason::ActionError)),
            Op::Clone { .. } | Op::Sample { .. } | Op::CheckLength { .. } | Op::DecTtl { .. } => {
                self.branch(at, packet, state)
            }
        }
    }

    /// The steps that have lists of their own.
    fn branch(&mut self, at: usize, mut packet: Packet, state: &mut State) -> Result<Flow, Failure> {
        let ops = self.ops;
        let body = at + 1;
        match &ops[at] {
            Op::Clone { body: len, last } => {
                let end = body + *len as usize;
                self.hand_on(packet, *last, end, |run, packet| run.list(body..end, packet, state.clone()))
            }
            Op::Sample { probability, body: len, last } => {
                let end = body + *len as usize;
                let chosen = match *probability {
                    u32::MAX => true,
                    0 => false,
                    some => self.environment.random() <= some,
                };
                if !chosen {
                    return Ok(Flow::Next(packet, end));
                }
                let state = State { probability: *probability, ..state.clone() };
                self.hand_on(packet, *last, end, |run, packet| run.list(body..end, packet, state))
            }
            Op::CheckLength { len, greater, less_or_equal, last } => {
                let middle = body + *greater as usize;
                let end = middle + *less_or_equal as usize;
                let is_greater = check_packet_length::is_greater(&packet, counted_len(&packet), *len);
                let chosen = if is_greater { body..middle } else { middle..end };
                self.hand_on(packet, *last, end, |run, packet| run.list(chosen, packet, state.clone()))
            }
            Op::DecTtl { body: len } => {
                let end = body + *len as usize;
                match ttl::decrement(&mut packet) {
                    Ok(Ttl::Decremented(ttl)) => {
                        if let Some(key) = &mut state.key {
                            key.ip_ttl = ttl;
                        }
                        Ok(Flow::Next(packet, end))
                    }
                    Ok(Ttl::None) => Ok(Flow::Next(packet, end)),
                    Ok(Ttl::Expired) if body == end => Ok(self.drop(packet, DropReason::TtlExpired)),
                    Ok(Ttl::Expired) => self.list(body..end, packet, state.clone()).map(|()| Flow::Gone),
                    Err(failure) => Err(self.fail(packet, failure)),
                }
            }
            Op::Edit(_)
            | Op::Output { .. }
            | Op::Upcall { .. }
            | Op::Recirculate { .. }
            | Op::Truncate { .. }
            | Op::Meter { .. }
            | Op::Drop { .. }
            | Op::Psample { .. } => Ok(Flow::Next(packet, body)),
        }
    }

    fn edit(
        &mut self,
        edit: &Edit,
        mut packet: Packet,
        next: usize,
        state: &mut State,
    ) -> Result<Flow, Failure> {
        if self.keeps_key {
            stale_key::before(&mut state.key, edit, &mut packet);
        }
        match edit::apply(edit, &mut packet, &mut state.push_ethernet_fails) {
            Ok(()) => {
                if let Some(key) = &mut state.key {
                    stale_key::after(key, edit, &mut packet);
                }
                Ok(Flow::Next(packet, next))
            }
            Err(failure) => Err(self.fail(packet, failure)),
        }
    }

    /// Gives the packet, or a copy if it is still needed, to `take`. A list that fails ends the list around it, as in the kernel.
    #[inline]
    fn hand_on(
        &mut self,
        packet: Packet,
        last: bool,
        next: usize,
        take: impl FnOnce(&mut Self, Packet) -> Result<(), Failure>,
    ) -> Result<Flow, Failure> {
        if last {
            return take(self, packet).map(|()| Flow::Gone);
        }
        match self.environment.pool().duplicate(&packet) {
            Some(copy) => match take(self, copy) {
                Ok(()) => Ok(Flow::Next(packet, next)),
                Err(failure) => Err(self.fail(packet, failure)),
            },
            None => {
                self.count(DropReason::NoBuffer);
                Ok(Flow::Next(packet, next))
            }
        }
    }

    #[inline]
    fn output(&mut self, port: u32, mut packet: Packet, cut_len: u32) {
        if cut_len > 0 {
            truncate::apply(&mut packet, cut_len);
            if truncate::spoils_segmentation(&packet) {
                self.drop(packet, DropReason::SegmentFailed);
                return;
            }
        }
        if !packet.is_plain() && !passes_through(&packet) {
            self.output_segments(port, packet);
            return;
        }
        self.effect(Effect::Output { port, packet });
    }

    /// Sends a super-packet whose headers no port could be told of.
    #[cold]
    fn output_segments(&mut self, port: u32, packet: Packet) {
        let id = self.environment.fragment_id();
        let mut segments = Vec::new();
        let done = segment(packet, id, self.environment.pool(), &mut |packet| segments.push(packet));
        for packet in segments {
            self.effect(Effect::Output { port, packet });
        }
        if let Err(reason) = done {
            self.count(reason);
        }
    }

    fn upcall(&mut self, userspace: &Arc<Userspace>, packet: Packet, key: &StaleKey, cut_len: u32) {
        let userspace = Arc::clone(userspace);
        let key = stale_key::report(key, &packet);
        self.effect(Effect::Upcall { packet, key, userspace, cut_len });
    }

    fn recirculate(&mut self, id: u32, mut packet: Packet, truncate_to: Option<u32>) {
        if packet.recirculations() >= self.environment.recirculation_limit() {
            self.drop(packet, DropReason::RecirculationLimit);
            return;
        }
        packet.count_recirculation();
        packet.set_recirc_id(id);
        if let Some(len) = truncate_to {
            packet.extension_mut().truncate_to = len;
        }
        self.effect(Effect::Recirculate { packet });
    }

    #[cold]
    fn fail(&mut self, packet: Packet, failure: Failure) -> Failure {
        self.drop(packet, failure.reason());
        failure
    }

    #[cold]
    fn drop(&mut self, packet: Packet, reason: DropReason) -> Flow {
        self.environment.pool().give(packet);
        self.count(reason);
        Flow::Gone
    }

    fn count(&mut self, reason: DropReason) {
        self.environment.count_drop(reason);
        self.has_ended = true;
    }

    #[inline]
    fn effect(&mut self, effect: Effect) {
        self.environment.carry_out(effect);
        self.has_ended = true;
    }
}

/// The packet's length as the kernel counts it: without the outer VLAN tag, which it keeps beside the frame.
#[inline]
fn counted_len(packet: &Packet) -> usize {
    packet.len() - if vlan::is_tagged(packet) { VLAN_LEN } else { 0 }
}
