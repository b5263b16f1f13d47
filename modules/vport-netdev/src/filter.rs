// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The two BPF programs of a shortcut.
//!
//! The *filter* on a port's packet socket sees each frame first. It masks the header bytes that decide (`ShortcutMasks`) and looks them up:
//! ```text
//!   entries: masked header -> number      slots: number -> header, output, state      counters: number -> counts, per CPU
//! ```
//! A frame that has a live slot is counted, its way is noted in the *verdict*, and the socket does not get it. Any other goes to the
//! socket. Then the *claim* at the device's ingress hook sees the same frame on the same processor, in the same receive call: it
//! carries the verdict out, or drops what the socket got. So what is decided and what is done cannot differ.

use portway_vport::abi::{ShortcutMasks, shortcut_layout};

use portway_bpf::{Assembler, Helper, Instruction, Label, Op, Reg, Size, When, skb};

/// Words of a window.
const WORDS: usize = 10;
/// Bytes of a window.
const WINDOW: usize = 8 * WORDS;

const ETHERTYPE_IPV4: i32 = 0x0800;
const ETHERTYPE_IPV6: i32 = 0x86dd;
const ETHERTYPE_NSH: i32 = 0x894f;
const ETHERTYPES_VLAN: [i32; 2] = [0x8100, 0x88a8];
/// Ethertypes below this are lengths (IEEE 802.3).
const ETHERTYPE_MIN: i32 = 0x0600;
const PROTO_TCP: i32 = 6;
const PROTO_UDP: i32 = 17;
/// IPv6 extension headers that a TCP header may be behind (RFC 7045, section 2).
const HEADERS_IPV6: [i32; 5] = [0, 43, 44, 51, 60];

/// TCX_DROP.
const DROP: i32 = 2;

// The filter's stack, from the frame pointer.
/// The frame's first bytes, a VLAN tag in its place.
const HEADER: i16 = -(WINDOW as i16);
/// What is looked up: the layout, then the masked words.
const KEY: i16 = HEADER - 8 * (1 + WORDS as i16);
/// The slot's number.
const NUMBER: i16 = KEY - 8;
/// The number of what there is one of.
const FIRST: i16 = NUMBER - 8;
/// The slot, the verdict and the counters of this frame.
const SLOT: i16 = FIRST - 8;
const VERDICT: i16 = SLOT - 8;
const COUNTERS: i16 = VERDICT - 8;

/// A slot: what `entries` leads to. Slot 0 is the queue's state instead. All fields are parts of aligned 64-bit words.
pub(crate) mod slot {
    /// Bytes.
    pub(crate) const SIZE: usize = 128;
    /// The whole key, 88 bytes at most: an entry may be of another slot by the time it is followed.
    pub(crate) const KEY: usize = 0;
    /// Word: the output's interface index (low half), and the longest frame that fits there if it is not to be segmented (high half).
    pub(crate) const OUTPUT: usize = 88;
    /// Word, written by this process only: 0 for an ended one.
    pub(crate) const STATE: usize = 96;
    /// Word, written by the filter: 1 from the first frame on that took the shortcut.
    pub(crate) const LIVE: usize = 104;
    /// Word: when the shortcut is taken even if the socket's queue was never empty, monotonic nanoseconds.
    pub(crate) const DEADLINE: usize = 112;
    /// In slot 0: frames that the filter let through to the socket.
    pub(crate) const PASSED: usize = 0;
    /// In slot 0: what `PASSED` was when they had all been forwarded.
    pub(crate) const DONE: usize = 8;
}

/// Counters of one slot on one processor: packets, bytes, time of last use, TCP flags.
pub(crate) const COUNTERS_SIZE: usize = 32;

/// The verdict on one processor: output (0: none), input, length of the frame.
pub(crate) const VERDICT_SIZE: usize = 16;

/// What a filter refers to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Maps {
    pub(crate) entries: i32,
    pub(crate) slots: i32,
    pub(crate) counters: i32,
    pub(crate) verdict: i32,
}

/// The words of the window that any layout's mask looks at: those that keys consist of.
pub(crate) fn words_used(masks: &ShortcutMasks) -> Vec<usize> {
    (0..WORDS).filter(|&word| masks.masks.iter().any(|mask| word_of(mask, word) != 0)).collect()
}

/// A key as `entries` has it.
pub(crate) fn key_bytes(layout: u32, window: &[u8; WINDOW], words: &[usize]) -> Vec<u8> {
    let mut key = u64::from(layout).to_ne_bytes().to_vec();
    words.iter().for_each(|&word| key.extend_from_slice(&window[8 * word..][..8]));
    key
}

fn word_of(window: &[u8; WINDOW], word: usize) -> u64 {
    u64::from_ne_bytes(std::array::from_fn(|at| window[8 * word + at]))
}

/// The program on the packet socket.
pub(crate) fn filter(masks: &ShortcutMasks, maps: Maps) -> Vec<Instruction> {
    let mut asm = Assembler::new();
    asm.op_reg(Op::Move, Reg::R6, Reg::R1);
    emit(&mut asm, masks, maps);
    asm.finish()
}

/// The filter with the context in R6.
pub(crate) fn emit(asm: &mut Assembler, masks: &ShortcutMasks, maps: Maps) {
    let (pass, look_up) = (asm.label(), asm.label());
    let words = words_used(masks);
    let mut filter = Filter { asm, masks, maps, words, pass, look_up };
    filter.read_header();
    filter.look_up();
    filter.carry();
    filter.let_pass();
}

/// Registers: R6 context, R7 length as the kernel has it, R8 length with the tag in its place, R9 TCP flags.
struct Filter<'a> {
    asm: &'a mut Assembler,
    masks: &'a ShortcutMasks,
    maps: Maps,
    words: Vec<usize>,
    /// The frame goes to the socket.
    pass: Label,
    /// The key is complete.
    look_up: Label,
}

impl Filter<'_> {
    fn load(&mut self, size: Size, reg: Reg, at: usize) {
        self.asm.load(size, reg, Reg::Fp, HEADER + at as i16);
    }

    fn load_be16(&mut self, reg: Reg, at: usize) {
        self.load(Size::Half, reg, at);
        self.asm.swap16(reg);
    }

    fn jump_when(&mut self, when: When, left: Reg, value: usize, label: Label) {
        self.asm.jump_when(when, left, value as i32, label);
    }

    /// R1 = the map, R2 = the key on the stack, and the look-up; nothing found: pass.
    fn find(&mut self, map: i32, key: i16) {
        self.asm.map(Reg::R1, map);
        self.asm.stack(Reg::R2, key);
        self.asm.call(Helper::MapLookup);
    }

    /// Copies frame bytes to the header: from R2, as many as R4 says, to `at`.
    fn copy(&mut self, at: usize) {
        self.asm.op_reg(Op::Move, Reg::R1, Reg::R6);
        self.asm.stack(Reg::R3, HEADER + at as i16);
        self.asm.call(Helper::SkbLoadBytes);
        self.jump_when(When::NotEqual, Reg::R0, 0, self.pass);
    }

    /// R4 = R7 less `skipped`, but no more than fits behind `at`.
    fn length_left(&mut self, skipped: usize, at: usize) {
        let fits = self.asm.label();
        self.asm.op_reg(Op::Move, Reg::R4, Reg::R7);
        self.asm.op(Op::Add, Reg::R4, -(skipped as i32));
        self.jump_when(When::AtMost, Reg::R4, WINDOW - at, fits);
        self.asm.op(Op::Move, Reg::R4, (WINDOW - at) as i32);
        self.asm.place(fits);
    }

    fn read_header(&mut self) {
        let (tagged, pass) = (self.asm.label(), self.pass);
        self.asm.store_value(Size::Double, Reg::Fp, FIRST, 0);
        self.asm.load(Size::Word, Reg::R7, Reg::R6, skb::LEN);
        // What the switch would see as metadata decides too.
        for metadata in [skb::MARK, skb::PRIORITY] {
            self.asm.load(Size::Word, Reg::R1, Reg::R6, metadata);
            self.jump_when(When::NotEqual, Reg::R1, 0, pass);
        }
        self.jump_when(When::Below, Reg::R7, 14, pass);
        for word in 0..WORDS {
            self.asm.store_value(Size::Double, Reg::Fp, HEADER + 8 * word as i16, 0);
        }
        self.asm.load(Size::Word, Reg::R1, Reg::R6, skb::VLAN_PRESENT);
        self.jump_when(When::NotEqual, Reg::R1, 0, tagged);
        self.asm.op_reg(Op::Move, Reg::R8, Reg::R7);
        self.length_left(0, 0);
        self.asm.op(Op::Move, Reg::R2, 0);
        self.copy(0);
        self.parse(0);

        self.asm.place(tagged);
        self.asm.op_reg(Op::Move, Reg::R8, Reg::R7);
        self.asm.op(Op::Add, Reg::R8, 4);
        self.asm.op(Op::Move, Reg::R2, 0);
        self.asm.op(Op::Move, Reg::R4, 12);
        self.copy(0);
        // The kernel keeps the tag beside the frame: its type in the network's order, its value in the machine's.
        self.asm.load(Size::Word, Reg::R1, Reg::R6, skb::VLAN_PROTO);
        self.asm.store(Size::Half, Reg::Fp, HEADER + 12, Reg::R1);
        self.asm.load(Size::Word, Reg::R1, Reg::R6, skb::VLAN_TCI);
        self.asm.swap16(Reg::R1);
        self.asm.store(Size::Half, Reg::Fp, HEADER + 14, Reg::R1);
        self.length_left(12, 16);
        self.asm.op(Op::Move, Reg::R2, 12);
        self.copy(16);
        self.parse(1);
    }

    /// Finds the frame's layout and completes its key. `tag`: how many VLAN tags there are, 0 or 1.
    fn parse(&mut self, tag: u32) {
        let (ipv4, ipv6, link) = (self.asm.label(), self.asm.label(), self.asm.label());
        let l3 = if tag == 0 { 14 } else { 18 };
        self.load_be16(Reg::R1, l3 - 2);
        for ethertype in ETHERTYPES_VLAN {
            self.asm.jump_when(When::Equal, Reg::R1, ethertype, self.pass);
        }
        self.asm.op(Op::Move, Reg::R9, 0);
        if self.masks.depth == 0 {
            self.jump_when(When::Below, Reg::R8, l3, self.pass);
            self.asm.jump_when(When::Below, Reg::R1, ETHERTYPE_MIN, self.pass);
            self.asm.jump_when(When::Equal, Reg::R1, ETHERTYPE_NSH, self.pass);
        }
        self.asm.jump_when(When::Equal, Reg::R1, ETHERTYPE_IPV4, ipv4);
        self.asm.jump_when(When::Equal, Reg::R1, ETHERTYPE_IPV6, ipv6);
        self.asm.jump(if self.masks.depth == 0 { link } else { self.pass });
        self.asm.place(ipv4);
        self.parse_ipv4(l3, tag, link);
        self.asm.place(ipv6);
        self.parse_ipv6(l3, tag, link);
        if self.masks.depth == 0 {
            self.asm.place(link);
            self.complete_key(shortcut_layout::LINK + tag);
        }
    }

    fn parse_ipv4(&mut self, l3: usize, tag: u32, link: Label) {
        let (plain, is_link) = (self.asm.label(), self.masks.depth == 0);
        self.jump_when(When::Below, Reg::R8, l3 + 20, self.pass);
        self.load(Size::Byte, Reg::R2, l3);
        self.asm.op(Op::And, Reg::R2, 0x0f);
        self.jump_when(When::Equal, Reg::R2, 5, plain);
        if is_link {
            // Statistics want the flags of a TCP header behind options: whoever extracts keys finds them.
            self.load(Size::Byte, Reg::R2, l3 + 9);
            self.asm.jump_when(When::NotEqual, Reg::R2, PROTO_TCP, link);
        }
        self.asm.jump(self.pass);
        self.asm.place(plain);
        // The first fragment has a TCP header, but is of no layout above `LINK`.
        self.load_be16(Reg::R2, l3 + 6);
        self.asm.op(Op::And, Reg::R2, if is_link { 0x1fff } else { 0x3fff });
        self.jump_when(When::NotEqual, Reg::R2, 0, if is_link { link } else { self.pass });
        self.load(Size::Byte, Reg::R2, l3 + 9);
        match self.masks.depth {
            0 => {
                self.asm.jump_when(When::NotEqual, Reg::R2, PROTO_TCP, link);
                self.tcp_flags(l3 + 20, link);
                self.asm.jump(link);
            }
            1 => {
                let any = self.asm.label();
                self.asm.jump_when(When::NotEqual, Reg::R2, PROTO_TCP, any);
                self.tcp_flags(l3 + 20, any);
                self.asm.place(any);
                self.complete_key(shortcut_layout::IPV4 + tag);
            }
            _ => self.parse_transport(l3 + 20, shortcut_layout::UDP4 + tag, shortcut_layout::TCP4 + tag),
        }
    }

    fn parse_ipv6(&mut self, l3: usize, tag: u32, link: Label) {
        self.jump_when(When::Below, Reg::R8, l3 + 40, self.pass);
        self.load(Size::Byte, Reg::R2, l3 + 6);
        if self.masks.depth == 0 {
            for header in HEADERS_IPV6 {
                self.asm.jump_when(When::Equal, Reg::R2, header, self.pass);
            }
            self.asm.jump_when(When::NotEqual, Reg::R2, PROTO_TCP, link);
            self.tcp_flags(l3 + 40, link);
            self.asm.jump(link);
        } else {
            self.parse_transport(l3 + 40, shortcut_layout::UDP6 + tag, shortcut_layout::TCP6 + tag);
        }
    }

    /// The protocol is in R2.
    fn parse_transport(&mut self, l4: usize, udp_layout: u32, tcp_layout: u32) {
        let udp = self.asm.label();
        self.asm.jump_when(When::Equal, Reg::R2, PROTO_UDP, udp);
        self.asm.jump_when(When::NotEqual, Reg::R2, PROTO_TCP, self.pass);
        self.tcp_flags(l4, self.pass);
        self.complete_key(tcp_layout);
        self.asm.place(udp);
        self.jump_when(When::Below, Reg::R8, l4 + 8, self.pass);
        self.complete_key(udp_layout);
    }

    /// R9 = the flags of a whole TCP header at `l4`; else on to `other`.
    fn tcp_flags(&mut self, l4: usize, other: Label) {
        self.jump_when(When::Below, Reg::R8, l4 + 20, other);
        self.load(Size::Byte, Reg::R2, l4 + 12);
        self.asm.op(Op::ShiftRight, Reg::R2, 4);
        self.asm.op(Op::ShiftLeft, Reg::R2, 2);
        self.jump_when(When::Below, Reg::R2, 20, other);
        self.asm.op(Op::Add, Reg::R2, l4 as i32);
        self.asm.jump_when_reg(When::Above, Reg::R2, Reg::R8, other);
        self.load_be16(Reg::R9, l4 + 12);
        self.asm.op(Op::And, Reg::R9, 0x0fff);
    }

    fn complete_key(&mut self, layout: u32) {
        self.asm.store_value(Size::Double, Reg::Fp, KEY, layout as i32);
        for index in 0..self.words.len() {
            let (word, at) = (self.words[index], KEY + 8 * (1 + index as i16));
            let mask = word_of(&self.masks.masks[layout as usize], word);
            if mask == 0 {
                self.asm.store_value(Size::Double, Reg::Fp, at, 0);
                continue;
            }
            self.load(Size::Double, Reg::R1, 8 * word);
            self.asm.wide(Reg::R2, mask);
            self.asm.op_reg(Op::And, Reg::R1, Reg::R2);
            self.asm.store(Size::Double, Reg::Fp, at, Reg::R1);
        }
        self.asm.jump(self.look_up);
    }

    /// Finds the slot, and sees whether the frame may take the shortcut. The slot is on the stack then.
    fn look_up(&mut self) {
        let (fits, go, pass) = (self.asm.label(), self.asm.label(), self.pass);
        self.asm.place(self.look_up);
        self.find(self.maps.entries, KEY);
        self.jump_when(When::Equal, Reg::R0, 0, pass);
        self.asm.load(Size::Double, Reg::R1, Reg::R0, 0);
        self.asm.store(Size::Word, Reg::Fp, NUMBER, Reg::R1);
        self.find(self.maps.slots, NUMBER);
        self.jump_when(When::Equal, Reg::R0, 0, pass);
        self.asm.store(Size::Double, Reg::Fp, SLOT, Reg::R0);
        // A removed entry's memory may be another entry's by now: what counts is the key in the slot.
        for word in 0..=self.words.len() as i16 {
            self.asm.load(Size::Double, Reg::R1, Reg::R0, slot::KEY as i16 + 8 * word);
            self.asm.load(Size::Double, Reg::R2, Reg::Fp, KEY + 8 * word);
            self.asm.jump_when_reg(When::NotEqual, Reg::R1, Reg::R2, pass);
        }
        self.asm.load(Size::Double, Reg::R1, Reg::R0, slot::STATE as i16);
        self.jump_when(When::Equal, Reg::R1, 0, pass);
        self.asm.load(Size::Double, Reg::R1, Reg::R0, slot::OUTPUT as i16);
        self.asm.op(Op::ShiftRight, Reg::R1, 32);
        self.asm.jump_when_reg(When::AtMost, Reg::R7, Reg::R1, fits);
        self.asm.load(Size::Word, Reg::R1, Reg::R6, skb::GSO_SIZE);
        self.jump_when(When::Equal, Reg::R1, 0, pass);
        self.asm.place(fits);
        self.asm.load(Size::Double, Reg::R1, Reg::R0, slot::LIVE as i16);
        self.jump_when(When::NotEqual, Reg::R1, 0, go);
        self.begin();
        self.asm.place(go);
    }

    /// The first frame to take a shortcut waits until those before it have been sent, so that it does not overtake them.
    fn begin(&mut self) {
        let (now, pass) = (self.asm.label(), self.pass);
        self.find(self.maps.slots, FIRST);
        self.jump_when(When::Equal, Reg::R0, 0, pass);
        self.asm.load(Size::Double, Reg::R1, Reg::R0, slot::PASSED as i16);
        self.asm.load(Size::Double, Reg::R2, Reg::R0, slot::DONE as i16);
        self.asm.jump_when_reg(When::Equal, Reg::R1, Reg::R2, now);
        self.asm.call(Helper::KtimeGetNs);
        self.asm.load(Size::Double, Reg::R1, Reg::Fp, SLOT);
        self.asm.load(Size::Double, Reg::R2, Reg::R1, slot::DEADLINE as i16);
        self.asm.jump_when_reg(When::Below, Reg::R0, Reg::R2, pass);
        self.asm.place(now);
        self.asm.load(Size::Double, Reg::R1, Reg::Fp, SLOT);
        self.asm.store_value(Size::Double, Reg::R1, slot::LIVE as i16, 1);
    }

    /// Counts the frame and notes where it goes.
    fn carry(&mut self) {
        let pass = self.pass;
        self.find(self.maps.verdict, FIRST);
        self.jump_when(When::Equal, Reg::R0, 0, pass);
        self.asm.store(Size::Double, Reg::Fp, VERDICT, Reg::R0);
        self.find(self.maps.counters, NUMBER);
        self.jump_when(When::Equal, Reg::R0, 0, pass);
        self.asm.store(Size::Double, Reg::Fp, COUNTERS, Reg::R0);
        self.asm.load(Size::Double, Reg::R1, Reg::R0, 0);
        self.asm.op(Op::Add, Reg::R1, 1);
        self.asm.store(Size::Double, Reg::R0, 0, Reg::R1);
        self.asm.load(Size::Double, Reg::R1, Reg::R0, 8);
        self.asm.op_reg(Op::Add, Reg::R1, Reg::R8);
        self.asm.store(Size::Double, Reg::R0, 8, Reg::R1);
        self.asm.load(Size::Double, Reg::R1, Reg::R0, 24);
        self.asm.op_reg(Op::Or, Reg::R1, Reg::R9);
        self.asm.store(Size::Double, Reg::R0, 24, Reg::R1);
        self.asm.call(Helper::KtimeGetNs);
        self.asm.load(Size::Double, Reg::R1, Reg::Fp, COUNTERS);
        self.asm.store(Size::Double, Reg::R1, 16, Reg::R0);
        self.asm.load(Size::Double, Reg::R2, Reg::Fp, VERDICT);
        self.asm.load(Size::Double, Reg::R3, Reg::Fp, SLOT);
        self.asm.load(Size::Double, Reg::R1, Reg::R3, slot::OUTPUT as i16);
        self.asm.store(Size::Word, Reg::R2, 0, Reg::R1);
        self.asm.load(Size::Word, Reg::R1, Reg::R6, skb::IFINDEX);
        self.asm.store(Size::Word, Reg::R2, 4, Reg::R1);
        self.asm.store(Size::Word, Reg::R2, 8, Reg::R7);
        self.asm.op(Op::Move, Reg::R0, 0);
        self.asm.exit();
    }

    /// The socket gets the frame.
    fn let_pass(&mut self) {
        let (uncounted, no_verdict) = (self.asm.label(), self.asm.label());
        self.asm.place(self.pass);
        self.find(self.maps.slots, FIRST);
        self.jump_when(When::Equal, Reg::R0, 0, uncounted);
        self.asm.op(Op::Move, Reg::R1, 1);
        self.asm.atomic_add(Reg::R0, slot::PASSED as i16, Reg::R1);
        self.asm.place(uncounted);
        self.find(self.maps.verdict, FIRST);
        self.jump_when(When::Equal, Reg::R0, 0, no_verdict);
        self.asm.store_value(Size::Word, Reg::R0, 0, 0);
        self.asm.place(no_verdict);
        self.asm.op(Op::Move, Reg::R0, -1);
        self.asm.exit();
    }
}

/// The program at a device's ingress hook: carries the filter's verdict out, and keeps everything else from the host.
pub(crate) fn claim(verdict: i32) -> Vec<Instruction> {
    let mut asm = Assembler::new();
    let drop = asm.label();
    asm.op_reg(Op::Move, Reg::R6, Reg::R1);
    asm.store_value(Size::Word, Reg::Fp, -4, 0);
    asm.map(Reg::R1, verdict);
    asm.stack(Reg::R2, -4);
    asm.call(Helper::MapLookup);
    asm.jump_when(When::Equal, Reg::R0, 0, drop);
    asm.load(Size::Word, Reg::R7, Reg::R0, 0);
    asm.jump_when(When::Equal, Reg::R7, 0, drop);
    asm.store_value(Size::Word, Reg::R0, 0, 0);
    // It cannot be another frame's; should it be one day, that frame is lost rather than misled.
    for (field, noted) in [(skb::IFINDEX, 4), (skb::LEN, 8)] {
        asm.load(Size::Word, Reg::R1, Reg::R6, field);
        asm.load(Size::Word, Reg::R2, Reg::R0, noted);
        asm.jump_when_reg(When::NotEqual, Reg::R1, Reg::R2, drop);
    }
    asm.op_reg(Op::Move, Reg::R1, Reg::R7);
    asm.op(Op::Move, Reg::R2, 0);
    asm.call(Helper::Redirect);
    asm.exit();
    asm.place(drop);
    asm.op(Op::Move, Reg::R0, DROP);
    asm.exit();
    asm.finish()
}

/// The program at a device's ingress hook where there are no shortcuts.
pub(crate) fn plain_claim() -> Vec<Instruction> {
    let mut asm = Assembler::new();
    asm.op(Op::Move, Reg::R0, DROP);
    asm.exit();
    asm.finish()
}
