// SPDX-License-Identifier: Apache-2.0 OR MIT
//! BPF for port types: programs written with a small assembler, maps, ring buffers, and the places where programs are attached.
//!
//! All of it is given up with the values that stand for it: a program that is attached by a link ends with the process.

mod asm;
mod map;
mod program;
mod ring;
mod sys;

pub use asm::{Assembler, Helper, Instruction, Label, Op, Reg, Size, When};
pub use map::{Map, MapKind, SharedMemory, processors};
pub use program::{Hook, ProgramKind, attach_tcx, load, program_name, query_tcx, skb};
pub use ring::{Record, Ring};
pub use sys::bpf;
