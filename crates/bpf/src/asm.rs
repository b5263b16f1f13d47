// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A small assembler for BPF programs (RFC 9669): instructions one by one, jumps to labels.

/// A register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reg {
    /// Result of a call; what the program returns.
    R0,
    /// First argument of a call, and of the program.
    R1,
    /// Second argument.
    R2,
    /// Third argument.
    R3,
    /// Fourth argument.
    R4,
    /// Fifth argument.
    R5,
    /// The first of those that calls leave alone.
    R6,
    /// Calls leave it alone.
    R7,
    /// Calls leave it alone.
    R8,
    /// Calls leave it alone.
    R9,
    /// The frame pointer: the stack grows down from here. Read only.
    Fp,
}

/// One instruction (struct bpf_insn).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// How many bytes a load or a store moves.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum Size {
    /// Four bytes.
    Word = 0x00,
    /// Two bytes.
    Half = 0x08,
    /// One byte.
    Byte = 0x10,
    /// Eight bytes.
    Double = 0x18,
}

/// Arithmetic on 64 bits.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum Op {
    /// Sum.
    Add = 0x00,
    /// Difference.
    Subtract = 0x10,
    /// Quotient, of unsigned numbers; by zero: zero.
    Divide = 0x30,
    /// Bits of both.
    Or = 0x40,
    /// Common bits.
    And = 0x50,
    /// Times a power of two.
    ShiftLeft = 0x60,
    /// Zeros come in from above.
    ShiftRight = 0x70,
    /// Remainder, of unsigned numbers; by zero: the left side.
    Modulo = 0x90,
    /// The right side alone.
    Move = 0xb0,
}

/// When a jump is taken; numbers are unsigned.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum When {
    /// `==`
    Equal = 0x10,
    /// `>`
    Above = 0x20,
    /// `!=`
    NotEqual = 0x50,
    /// `<`
    Below = 0xa0,
    /// `<=`
    AtMost = 0xb0,
}

/// Helper functions, linux/bpf.h.
#[derive(Clone, Copy, Debug)]
#[repr(i32)]
pub enum Helper {
    /// The value of a map's key, or null.
    MapLookup = 1,
    /// Monotonic time.
    KtimeGetNs = 5,
    /// Writes bytes of the frame.
    SkbStoreBytes = 9,
    /// Puts a VLAN tag beside the frame.
    SkbVlanPush = 18,
    /// Takes the frame's outer VLAN tag away.
    SkbVlanPop = 19,
    /// Sends the frame to another device.
    Redirect = 23,
    /// Copies bytes of the frame.
    SkbLoadBytes = 26,
    /// Forgets the frame's flow hash.
    SetHashInvalid = 41,
    /// Who sent the frame.
    GetSocketCookie = 46,
    /// Sets the frame's flow hash.
    SetHash = 48,
    /// Room for a record of a ring buffer, or null.
    RingReserve = 131,
    /// The record is complete.
    RingSubmit = 132,
    /// The record is given up.
    RingDiscard = 133,
}

/// A place in the program that jumps lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

const CLASS_LD: u8 = 0x00;
const CLASS_LDX: u8 = 0x01;
const CLASS_ST: u8 = 0x02;
const CLASS_STX: u8 = 0x03;
const CLASS_ALU32: u8 = 0x04;
const CLASS_JMP: u8 = 0x05;
const CLASS_ALU64: u8 = 0x07;
const FROM_REGISTER: u8 = 0x08;
const MODE_MEM: u8 = 0x60;
const MODE_ATOMIC: u8 = 0xc0;
const TO_BIG_ENDIAN: u8 = 0xd0 | FROM_REGISTER;
/// In the source register of a 64-bit load: the immediate is a map's file descriptor.
const PSEUDO_MAP_FD: u8 = 1;

/// In the immediate of an atomic operation: the register gets what was there before.
const FETCH: i32 = 1;
/// What a program at a device's hook says of a frame that is none of its business.
const TCX_NEXT: i32 = -1;

/// A program in the making.
#[derive(Debug, Default)]
pub struct Assembler {
    code: Vec<Instruction>,
    labels: Vec<Option<usize>>,
    /// Jumps with the labels that they lead to.
    jumps: Vec<(usize, Label)>,
}

fn registers(dst: u8, src: u8) -> u8 {
    if cfg!(target_endian = "little") { dst | src << 4 } else { dst << 4 | src }
}

impl Assembler {
    /// An empty program.
    pub fn new() -> Self {
        Self::default()
    }

    fn emit(&mut self, code: u8, dst: u8, src: u8, offset: i16, immediate: i32) {
        self.code.push(Instruction { code, registers: registers(dst, src), offset, immediate });
    }

    /// A label that is not placed yet.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// The label is here.
    pub fn place(&mut self, label: Label) {
        self.labels[label.0] = Some(self.code.len());
    }

    /// `dst = dst op value`.
    pub fn op(&mut self, op: Op, dst: Reg, value: i32) {
        self.emit(CLASS_ALU64 | op as u8, dst as u8, 0, 0, value);
    }

    /// `dst = dst op src`.
    pub fn op_reg(&mut self, op: Op, dst: Reg, src: Reg) {
        self.emit(CLASS_ALU64 | op as u8 | FROM_REGISTER, dst as u8, src as u8, 0, 0);
    }

    /// `dst = ` the address of the stack's place at `offset`, which is negative.
    pub fn stack(&mut self, dst: Reg, offset: i16) {
        self.op_reg(Op::Move, dst, Reg::Fp);
        self.op(Op::Add, dst, offset.into());
    }

    /// Sixteen bits between the machine's order and the network's; the rest of the register becomes zero.
    pub fn swap16(&mut self, dst: Reg) {
        self.emit(CLASS_ALU32 | TO_BIG_ENDIAN, dst as u8, 0, 0, 16);
    }

    /// `dst = *(base + offset)`.
    pub fn load(&mut self, size: Size, dst: Reg, base: Reg, offset: i16) {
        self.emit(CLASS_LDX | MODE_MEM | size as u8, dst as u8, base as u8, offset, 0);
    }

    /// `*(base + offset) = src`.
    pub fn store(&mut self, size: Size, base: Reg, offset: i16, src: Reg) {
        self.emit(CLASS_STX | MODE_MEM | size as u8, base as u8, src as u8, offset, 0);
    }

    /// `*(base + offset) = value`.
    pub fn store_value(&mut self, size: Size, base: Reg, offset: i16, value: i32) {
        self.emit(CLASS_ST | MODE_MEM | size as u8, base as u8, 0, offset, value);
    }

    /// `*(base + offset) += src`, 64 bits, atomically.
    pub fn atomic_add(&mut self, base: Reg, offset: i16, src: Reg) {
        let code = CLASS_STX | MODE_ATOMIC | Size::Double as u8;
        self.emit(code, base as u8, src as u8, offset, 0);
    }

    /// `src = *(base + offset)`, and `*(base + offset) += src` with what it was before, 64 bits, atomically.
    pub fn atomic_fetch_add(&mut self, base: Reg, offset: i16, src: Reg) {
        let code = CLASS_STX | MODE_ATOMIC | Size::Double as u8;
        self.emit(code, base as u8, src as u8, offset, FETCH);
    }

    /// `dst = value`, all 64 bits.
    pub fn wide(&mut self, dst: Reg, value: u64) {
        self.emit(CLASS_LD | Size::Double as u8, dst as u8, 0, 0, value as u32 as i32);
        self.emit(0, 0, 0, 0, (value >> 32) as u32 as i32);
    }

    /// `dst = ` the map behind a file descriptor.
    pub fn map(&mut self, dst: Reg, fd: i32) {
        self.emit(CLASS_LD | Size::Double as u8, dst as u8, PSEUDO_MAP_FD, 0, fd);
        self.emit(0, 0, 0, 0, 0);
    }

    /// Jumps always.
    pub fn jump(&mut self, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.emit(CLASS_JMP, 0, 0, 0, 0);
    }

    /// Jumps when `left` compares so with `value`.
    pub fn jump_when(&mut self, when: When, left: Reg, value: i32, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.emit(CLASS_JMP | when as u8, left as u8, 0, 0, value);
    }

    /// Jumps when `left` compares so with `right`.
    pub fn jump_when_reg(&mut self, when: When, left: Reg, right: Reg, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.emit(CLASS_JMP | when as u8 | FROM_REGISTER, left as u8, right as u8, 0, 0);
    }

    /// Calls a helper with what is in R1 and the registers after it; the result is in R0, and the arguments are lost.
    pub fn call(&mut self, helper: Helper) {
        self.emit(CLASS_JMP | 0x80, 0, 0, 0, helper as i32);
    }

    /// The program ends with what is in R0.
    pub fn exit(&mut self) {
        self.emit(CLASS_JMP | 0x90, 0, 0, 0, 0);
    }

    /// The program at a device's hook ends: the frame goes on as if it were not there.
    pub fn pass_on(&mut self) {
        self.op(Op::Move, Reg::R0, TCX_NEXT);
        self.exit();
    }

    /// The program. A label that was never placed is a mistake of the program's author, and so is a jump too far: the
    /// verifier refuses what comes of either.
    pub fn finish(mut self) -> Vec<Instruction> {
        for (at, label) in self.jumps {
            let target = self.labels[label.0].unwrap_or(at);
            self.code[at].offset = (target as i64 - at as i64 - 1) as i16;
        }
        self.code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_lead_to_their_labels() {
        let mut asm = Assembler::new();
        let (back, end) = (asm.label(), asm.label());
        asm.place(back);
        asm.op(Op::Move, Reg::R0, 2);
        asm.jump_when(When::Equal, Reg::R0, 2, end);
        asm.jump(back);
        asm.place(end);
        asm.exit();
        let code = asm.finish();
        let offsets: Vec<i16> = code.iter().map(|instruction| instruction.offset).collect();
        assert_eq!(offsets, [0, 1, -3, 0]);
        // The numbers of linux/bpf.h: mov64 r0, 2; jeq; ja; exit.
        let codes: Vec<u8> = code.iter().map(|instruction| instruction.code).collect();
        assert_eq!(codes, [0xb7, 0x15, 0x05, 0x95]);
    }

    #[test]
    fn a_wide_value_takes_two_instructions() {
        let mut asm = Assembler::new();
        asm.wide(Reg::R3, 0x1122_3344_5566_7788);
        let code = asm.finish();
        assert_eq!((code[0].code, code[0].immediate), (0x18, 0x5566_7788));
        assert_eq!((code[1].code, code[1].immediate), (0, 0x1122_3344));
    }
}
