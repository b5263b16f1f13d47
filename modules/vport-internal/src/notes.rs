// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Marks and priorities of frames that the host sends. A TAP hands over the frame alone, so a BPF program on it, the last to see a
//! frame before it is queued, *notes* them in a ring buffer beside the frame's length and first bytes. A frame with neither costs a
//! handful of instructions there, and here one comparison.
//!
//! Whoever reads a frame finds its note in the ring, for the note was made first. Which note is a frame's is told by length and
//! first bytes, the oldest such note first. So twins, which agree in all of these and wait in the queue at the same time, may swap
//! their notes: if only the later one has one, if two processors sent them at once, or if one was lost as the queue was full. To the
//! switch that is as if they had overtaken one another. Notes whose frames were lost are forgotten soon.

use std::collections::VecDeque;

use portway_bpf::{
    Assembler, Helper, Instruction, Label, Op, ProgramKind, Record, Reg, Ring, Size, When, skb,
};
use portway_buf::Packet;
use portway_vport::ops::Errno;

use crate::tap::Tap;

/// Bytes of the ring: notes of more frames than a TAP queues (500, unless told otherwise).
const RING: u32 = 64 << 10;
/// First bytes that a note has: the headers of a TCP segment over IPv6 with a VLAN tag.
const WINDOW: usize = 80;
/// A frame is in the queue so much later than its note was made, at most. In nanoseconds.
const STALE_NS: u64 = 100_000_000;
/// The most notes kept; they are as many as frames wait in the queue.
const NOTES_MAX: usize = 4096;

/// A note as the program writes it.
mod note {
    /// u64: when it was made, monotonic nanoseconds.
    pub(super) const TIME: usize = 0;
    /// u32: mark.
    pub(super) const MARK: usize = 8;
    /// u32: priority.
    pub(super) const PRIORITY: usize = 12;
    /// u32: bytes of the frame, with its VLAN tag.
    pub(super) const LEN: usize = 16;
    /// First bytes of the frame, a VLAN tag in its place; zeros behind a short one.
    pub(super) const WINDOW: usize = 24;
    /// Bytes of a note.
    pub(super) const SIZE: usize = WINDOW + super::WINDOW;
}

/// BPF_RB_NO_WAKEUP: nobody sleeps on the ring.
const NO_WAKEUP: i32 = 1;

/// The program on the TAP: how many bytes of a frame are queued. None if there is no room for its note, as if the queue were full.
fn program(ring: i32) -> Vec<Instruction> {
    let mut asm = Assembler::new();
    let [noted, whole, lost, tagged, done, give_up] = std::array::from_fn(|_| asm.label());
    asm.op_reg(Op::Move, Reg::R6, Reg::R1);
    asm.load(Size::Word, Reg::R1, Reg::R6, skb::MARK);
    asm.load(Size::Word, Reg::R2, Reg::R6, skb::PRIORITY);
    asm.op_reg(Op::Or, Reg::R1, Reg::R2);
    asm.jump_when(When::NotEqual, Reg::R1, 0, noted);
    asm.place(whole);
    asm.op(Op::Move, Reg::R0, -1);
    asm.exit();

    asm.place(noted);
    asm.load(Size::Word, Reg::R7, Reg::R6, skb::LEN);
    asm.jump_when(When::Below, Reg::R7, 14, whole);
    asm.map(Reg::R1, ring);
    asm.op(Op::Move, Reg::R2, note::SIZE as i32);
    asm.op(Op::Move, Reg::R3, 0);
    asm.call(Helper::RingReserve);
    asm.jump_when(When::Equal, Reg::R0, 0, lost);
    asm.op_reg(Op::Move, Reg::R9, Reg::R0);
    asm.call(Helper::KtimeGetNs);
    asm.store(Size::Double, Reg::R9, note::TIME as i16, Reg::R0);
    for (field, at) in [(skb::MARK, note::MARK), (skb::PRIORITY, note::PRIORITY)] {
        asm.load(Size::Word, Reg::R1, Reg::R6, field);
        asm.store(Size::Word, Reg::R9, at as i16, Reg::R1);
    }
    for at in (note::LEN..note::SIZE).step_by(8) {
        asm.store_value(Size::Double, Reg::R9, at as i16, 0);
    }
    asm.op_reg(Op::Move, Reg::R8, Reg::R7);
    asm.load(Size::Word, Reg::R1, Reg::R6, skb::VLAN_PRESENT);
    asm.jump_when(When::NotEqual, Reg::R1, 0, tagged);
    copy(&mut asm, 0, 0, give_up);
    asm.place(done);
    asm.store(Size::Word, Reg::R9, note::LEN as i16, Reg::R8);
    finish(&mut asm, Helper::RingSubmit, whole);

    // The kernel keeps the tag beside the frame: its type in the network's order, its value in the machine's.
    asm.place(tagged);
    asm.op(Op::Add, Reg::R8, 4);
    copy(&mut asm, 0, 0, give_up);
    copy(&mut asm, 12, 16, give_up);
    asm.load(Size::Word, Reg::R1, Reg::R6, skb::VLAN_PROTO);
    asm.store(Size::Half, Reg::R9, note::WINDOW as i16 + 12, Reg::R1);
    asm.load(Size::Word, Reg::R1, Reg::R6, skb::VLAN_TCI);
    asm.swap16(Reg::R1);
    asm.store(Size::Half, Reg::R9, note::WINDOW as i16 + 14, Reg::R1);
    asm.jump(done);

    asm.place(give_up);
    finish(&mut asm, Helper::RingDiscard, whole);
    asm.place(lost);
    asm.op(Op::Move, Reg::R0, 0);
    asm.exit();
    asm.finish()
}

/// Copies the frame from byte `from` on to the note's window, from `at` on, as far as it has room.
fn copy(asm: &mut Assembler, from: usize, at: usize, failed: Label) {
    let fits = asm.label();
    asm.op_reg(Op::Move, Reg::R4, Reg::R7);
    asm.op(Op::Add, Reg::R4, -(from as i32));
    asm.jump_when(When::AtMost, Reg::R4, (WINDOW - at) as i32, fits);
    asm.op(Op::Move, Reg::R4, (WINDOW - at) as i32);
    asm.place(fits);
    asm.op_reg(Op::Move, Reg::R1, Reg::R6);
    asm.op(Op::Move, Reg::R2, from as i32);
    asm.op_reg(Op::Move, Reg::R3, Reg::R9);
    asm.op(Op::Add, Reg::R3, (note::WINDOW + at) as i32);
    asm.call(Helper::SkbLoadBytes);
    asm.jump_when(When::NotEqual, Reg::R0, 0, failed);
}

fn finish(asm: &mut Assembler, how: Helper, then: Label) {
    asm.op_reg(Op::Move, Reg::R1, Reg::R9);
    asm.op(Op::Move, Reg::R2, NO_WAKEUP);
    asm.call(how);
    asm.jump(then);
}

/// A note whose frame has not come yet.
#[derive(Clone, Copy, Debug)]
struct Note([u8; note::SIZE]);

impl Note {
    fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(std::array::from_fn(|index| self.0[at + index]))
    }

    fn time_ns(&self) -> u64 {
        u64::from_ne_bytes(std::array::from_fn(|index| self.0[note::TIME + index]))
    }

    fn is_of(&self, frame: &[u8]) -> bool {
        let shown = frame.len().min(WINDOW);
        self.u32(note::LEN) as usize == frame.len() && self.0[note::WINDOW..][..shown] == frame[..shown]
    }
}

/// The notes about one TAP's frames.
#[derive(Debug)]
pub(crate) struct Notes {
    ring: Ring,
    /// Where the next record begins.
    next: usize,
    /// Records before that which a processor was still writing.
    busy: Vec<usize>,
    pending: VecDeque<Note>,
    /// Whether the queue was found empty since notes were last taken from the ring.
    empty: bool,
}

impl Notes {
    /// Begins to note.
    pub(crate) fn new(tap: &Tap) -> Result<Self, Errno> {
        let ring = Ring::new(RING)?;
        let code = program(ring.raw_fd());
        let program = portway_bpf::load(ProgramKind::SocketFilter, b"portway_notes\0\0\0", &code)?;
        tap.set_filter(Some(&program))?;
        Ok(Self { ring, next: 0, busy: Vec::new(), pending: VecDeque::new(), empty: false })
    }

    /// Before frames are read: forgets notes whose frames were lost. `now_ns` is asked only if there are any notes.
    #[inline]
    pub(crate) fn begin(&mut self, now_ns: impl FnOnce() -> u64) {
        if self.empty && !self.pending.is_empty() {
            self.forget(now_ns());
        }
    }

    /// The queue is empty: frames of all notes that were made a while ago have come.
    #[inline]
    pub(crate) fn queue_is_empty(&mut self) {
        self.empty = true;
    }

    /// Gives a frame that was just read what its note says.
    #[inline]
    pub(crate) fn apply(&mut self, packet: &mut Packet) {
        if !self.pending.is_empty() || !self.busy.is_empty() || self.ring.end() != self.next {
            self.take();
            self.find(packet);
        }
    }

    #[cold]
    fn find(&mut self, packet: &mut Packet) {
        let frame = packet.frame();
        let found = self.pending.iter().position(|note| note.is_of(frame));
        let Some(note) = found.and_then(|index| self.pending.remove(index)) else { return };
        packet.set_mark(note.u32(note::MARK));
        packet.set_priority(note.u32(note::PRIORITY));
        // Frames leave the queue in the order in which they entered it.
        self.forget(note.time_ns());
    }

    /// Forgets notes that were made long before `now_ns`.
    fn forget(&mut self, now_ns: u64) {
        self.pending.retain(|note| note.time_ns().saturating_add(STALE_NS) >= now_ns);
    }

    /// Takes what is complete from the ring.
    fn take(&mut self) {
        let (ring, pending) = (&self.ring, &mut self.pending);
        let mut keep = |record: Record<'_>| match record {
            Record::Busy => true,
            Record::Discarded => false,
            Record::Ready(bytes) => {
                pending.extend(bytes.first_chunk().copied().map(Note));
                false
            }
        };
        self.busy.retain(|&at| ring.record(at).is_some_and(|(record, _)| keep(record)));
        while let Some((record, next)) = ring.record(self.next) {
            if keep(record) {
                self.busy.push(self.next);
            }
            self.next = next;
        }
        let excess = self.pending.len().saturating_sub(NOTES_MAX);
        self.pending.drain(..excess);
        self.empty = false;
        self.ring.release(self.busy.first().copied().unwrap_or(self.next));
    }
}
