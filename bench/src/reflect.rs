// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The hosts' part of an exchange as programs at their devices, within the kernel: one sends each datagram back, the other makes of each
//! answer the next question. So hosts take next to nothing of the processors' time, which is the switch's.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result};
use portway_bpf::{
    Assembler, Helper, Hook, Instruction, Map, MapKind, Op, ProgramKind, Reg, SharedMemory, Size, When, skb,
};
use portway_vport::Errno;

/// Bytes of a frame: Ethernet, IPv4, UDP, what [`question`] says.
pub(crate) const FRAME: usize = 60;
/// First port of those who answer.
pub(crate) const ANSWER_FROM: u16 = 20_000;
/// First port of those who ask.
pub(crate) const ASK_FROM: u16 = 30_000;
/// How many exchanges the time taken is kept of: the last ones.
pub(crate) const TIMES: usize = 1 << 16;

/// Marks the datagrams that are ours.
const MAGIC: u16 = 0x5057;
/// Bytes of Ethernet, IPv4 and UDP headers.
const HEADERS: usize = 42;
const SOURCE_PORT: i16 = 34;
const TARGET_PORT: i16 = 36;
const CHECKSUM: i16 = 40;
const MAGIC_AT: i16 = 42;
const PLACE_AT: i16 = 44;
const NUMBER_AT: i16 = 48;
/// Where programs have the frame on their stack.
const STACK: i16 = -64;
/// TC_ACT_SHOT.
const DROP: i32 = 2;

/// Words of the counters.
const NEXT: i16 = 0;
const ENDED: i16 = 8;
const LIMIT: i16 = 16;
const COUNTERS: usize = 24;
/// Words of a place: the number of the exchange under way, and when it began.
const PLACE: usize = 16;

/// What a question says beside its ports: which place it is of, and the exchange's number.
pub(crate) fn question(place: u32, number: u64) -> [u8; FRAME - HEADERS] {
    let mut payload = [0; FRAME - HEADERS];
    payload[..2].copy_from_slice(&MAGIC.to_ne_bytes());
    payload[2..6].copy_from_slice(&place.to_ne_bytes());
    payload[6..14].copy_from_slice(&number.to_ne_bytes());
    payload
}

/// The ports of an exchange, out of so many on either side: who asks, and who answers. Both change all the time, so that no flow is like
/// the one before it.
pub(crate) fn ports(number: u64, of: u16) -> (u16, u16) {
    let of = u64::from(of);
    let own = number % of;
    (ASK_FROM + own as u16, ANSWER_FROM + ((number / of + own) % of) as u16)
}

/// Sends every datagram of ours that comes to the device back to where it came from, for as long as the value lives.
pub(crate) fn answer(ifindex: u32) -> Result<OwnedFd> {
    let mut asm = Assembler::new();
    let pass = asm.label();
    take_frame(&mut asm, pass);
    exchange(&mut asm, SOURCE_PORT, TARGET_PORT, Size::Half);
    send_back(&mut asm);
    asm.place(pass);
    asm.pass_on();
    attach(ifindex, &asm.finish())
}

/// Exchanges under way, each in a place of its own, that are kept going by a program at the device.
pub(crate) struct Exchanges {
    counters: SharedMemory,
    places: SharedMemory,
    times: SharedMemory,
    _maps: [Map; 3],
    _program: OwnedFd,
}

impl Exchanges {
    /// So many of them at the device; none is under way yet. `first`: the number of the first one. `ports`: see [`ports`].
    pub(crate) fn new(ifindex: u32, places: u32, first: u64, ports: u16) -> Result<Self> {
        let map = |size, entries| Map::new(MapKind::Array, 4, size, entries, true).map_err(failed("no map"));
        let maps = [map(COUNTERS, 1)?, map(PLACE, places)?, map(8, TIMES as u32)?];
        let share = |map: &Map, length| map.share(length).map_err(failed("no shared memory"));
        let counters = share(&maps[0], COUNTERS)?;
        counters.word(NEXT as usize).store(first, Ordering::Relaxed);
        counters.word(LIMIT as usize).store(u64::from(ports) * u64::from(ports), Ordering::Relaxed);
        Ok(Self {
            counters,
            places: share(&maps[1], PLACE * places as usize)?,
            times: share(&maps[2], 8 * TIMES)?,
            _program: attach(ifindex, &asking([&maps[0], &maps[1], &maps[2]].map(Map::raw_fd), ports))?,
            _maps: maps,
        })
    }

    /// How many have ended.
    pub(crate) fn ended(&self) -> u64 {
        self.counters.word(ENDED as usize).load(Ordering::Relaxed)
    }

    /// Begins one more in a place, whatever was there; returns its number, `None`: all pairs of ports have been used.
    pub(crate) fn begin(&self, place: u32, now_ns: u64) -> Option<u64> {
        let number = self.counters.word(NEXT as usize).fetch_add(1, Ordering::Relaxed);
        let at = place as usize * PLACE;
        self.places.word(at + 8).store(now_ns, Ordering::Relaxed);
        self.places.word(at).store(number, Ordering::Relaxed);
        (number < self.counters.word(LIMIT as usize).load(Ordering::Relaxed)).then_some(number)
    }

    /// When the exchange in a place began, in nanoseconds since the machine did; 0: there was none.
    pub(crate) fn begun_ns(&self, place: u32) -> u64 {
        self.places.word(place as usize * PLACE + 8).load(Ordering::Relaxed)
    }

    /// How long the last ones took, in nanoseconds.
    pub(crate) fn times_ns(&self) -> Vec<u64> {
        let times = (0..TIMES).map(|at| self.times.word(at * 8).load(Ordering::Relaxed));
        times.filter(|&time| time != 0).collect()
    }
}

fn failed(what: &'static str) -> impl Fn(Errno) -> anyhow::Error {
    move |errno| anyhow::Error::new(std::io::Error::from_raw_os_error(errno.0)).context(what)
}

fn attach(ifindex: u32, code: &[Instruction]) -> Result<OwnedFd> {
    let program = portway_bpf::load(ProgramKind::SchedCls, b"portway_bench\0\0\0", code);
    let program = program.map_err(failed("no program"))?;
    portway_bpf::attach_tcx(&program, ifindex, Hook::Ingress, 0).map_err(failed("no hook")).context("tcx")
}

/// Puts a frame of ours on the stack, its MAC and IP addresses exchanged, with no UDP checksum (IPv4 allows that). R6: the context.
fn take_frame(asm: &mut Assembler, pass: portway_bpf::Label) {
    asm.op_reg(Op::Move, Reg::R6, Reg::R1);
    asm.load(Size::Word, Reg::R1, Reg::R6, skb::LEN);
    asm.jump_when(When::NotEqual, Reg::R1, FRAME as i32, pass);
    asm.op_reg(Op::Move, Reg::R1, Reg::R6);
    asm.op(Op::Move, Reg::R2, 0);
    asm.stack(Reg::R3, STACK);
    asm.op(Op::Move, Reg::R4, FRAME as i32);
    asm.call(Helper::SkbLoadBytes);
    asm.jump_when(When::NotEqual, Reg::R0, 0, pass);
    asm.load(Size::Half, Reg::R1, Reg::Fp, STACK + 12);
    asm.jump_when(When::NotEqual, Reg::R1, i32::from(0x0800_u16.to_be()), pass);
    asm.load(Size::Byte, Reg::R1, Reg::Fp, STACK + 23);
    asm.jump_when(When::NotEqual, Reg::R1, 17, pass);
    asm.load(Size::Half, Reg::R1, Reg::Fp, STACK + MAGIC_AT);
    asm.jump_when(When::NotEqual, Reg::R1, i32::from(MAGIC), pass);
    for at in [0, 2, 4] {
        exchange(asm, at, at + 6, Size::Half);
    }
    for at in [26, 28] {
        exchange(asm, at, at + 4, Size::Half);
    }
    asm.store_value(Size::Half, Reg::Fp, STACK + CHECKSUM, 0);
}

/// Two parts of the frame change places.
fn exchange(asm: &mut Assembler, one: i16, other: i16, size: Size) {
    asm.load(size, Reg::R1, Reg::Fp, STACK + one);
    asm.load(size, Reg::R2, Reg::Fp, STACK + other);
    asm.store(size, Reg::Fp, STACK + one, Reg::R2);
    asm.store(size, Reg::Fp, STACK + other, Reg::R1);
}

/// The program ends: the frame leaves by the device that it came to, as it is on the stack.
fn send_back(asm: &mut Assembler) {
    asm.op_reg(Op::Move, Reg::R1, Reg::R6);
    asm.op(Op::Move, Reg::R2, 0);
    asm.stack(Reg::R3, STACK);
    asm.op(Op::Move, Reg::R4, FRAME as i32);
    asm.op(Op::Move, Reg::R5, 0);
    asm.call(Helper::SkbStoreBytes);
    asm.load(Size::Word, Reg::R1, Reg::R6, skb::IFINDEX);
    asm.op(Op::Move, Reg::R2, 0);
    asm.call(Helper::Redirect);
    asm.exit();
}

/// R0: the value in a map of the key that is on the stack; to `none` if there is none.
fn value_of(asm: &mut Assembler, map: i32, key: i16, none: portway_bpf::Label) {
    asm.map(Reg::R1, map);
    asm.stack(Reg::R2, key);
    asm.call(Helper::MapLookup);
    asm.jump_when(When::Equal, Reg::R0, 0, none);
}

/// The program of who asks.
fn asking([counters, places, times]: [i32; 3], ports: u16) -> Vec<Instruction> {
    const KEY: i16 = STACK - 4;
    const NOW: i16 = STACK - 16;
    let mut asm = Assembler::new();
    let (pass, drop) = (asm.label(), asm.label());
    take_frame(&mut asm, pass);
    value_of(&mut asm, places, STACK + PLACE_AT, drop);
    asm.op_reg(Op::Move, Reg::R7, Reg::R0);
    // An answer that comes when its question was given up and asked anew counts no more.
    asm.load(Size::Double, Reg::R8, Reg::R7, 0);
    asm.load(Size::Double, Reg::R1, Reg::Fp, STACK + NUMBER_AT);
    asm.jump_when_reg(When::NotEqual, Reg::R8, Reg::R1, drop);
    asm.call(Helper::KtimeGetNs);
    asm.store(Size::Double, Reg::Fp, NOW, Reg::R0);
    asm.load(Size::Double, Reg::R1, Reg::R7, 8);
    asm.op_reg(Op::Move, Reg::R9, Reg::R0);
    asm.op_reg(Op::Subtract, Reg::R9, Reg::R1);
    asm.op(Op::And, Reg::R8, TIMES as i32 - 1);
    asm.store(Size::Word, Reg::Fp, KEY, Reg::R8);
    value_of(&mut asm, times, KEY, drop);
    asm.store(Size::Double, Reg::R0, 0, Reg::R9);

    asm.store_value(Size::Word, Reg::Fp, KEY, 0);
    value_of(&mut asm, counters, KEY, drop);
    asm.op(Op::Move, Reg::R1, 1);
    asm.atomic_add(Reg::R0, ENDED, Reg::R1);
    asm.op(Op::Move, Reg::R8, 1);
    asm.atomic_fetch_add(Reg::R0, NEXT, Reg::R8);
    asm.load(Size::Double, Reg::R1, Reg::R0, LIMIT);
    asm.jump_when_reg(When::AtMost, Reg::R1, Reg::R8, drop);
    asm.load(Size::Double, Reg::R1, Reg::Fp, NOW);
    asm.store(Size::Double, Reg::R7, 8, Reg::R1);
    asm.store(Size::Double, Reg::R7, 0, Reg::R8);
    asm.store(Size::Double, Reg::Fp, STACK + NUMBER_AT, Reg::R8);

    // As `ports` has it.
    asm.op_reg(Op::Move, Reg::R1, Reg::R8);
    asm.op(Op::Modulo, Reg::R1, i32::from(ports));
    asm.op(Op::Divide, Reg::R8, i32::from(ports));
    asm.op_reg(Op::Add, Reg::R8, Reg::R1);
    asm.op(Op::Modulo, Reg::R8, i32::from(ports));
    for (port, first, at) in [(Reg::R1, ASK_FROM, SOURCE_PORT), (Reg::R8, ANSWER_FROM, TARGET_PORT)] {
        asm.op(Op::Add, port, i32::from(first));
        asm.swap16(port);
        asm.store(Size::Half, Reg::Fp, STACK + at, port);
    }
    send_back(&mut asm);
    asm.place(drop);
    asm.op(Op::Move, Reg::R0, DROP);
    asm.exit();
    asm.place(pass);
    asm.pass_on();
    asm.finish()
}
