// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Recordings of the real kernel module (Linux 6.1), and how to read and replay them.
//!
//! `recordings/` holds one scenario per file: the steps that were done and what the kernel answered, byte for byte. The tests of this
//! package do the same steps with our crates and compare; the program `portway-conformance` (`cargo xtask conformance`) replays them
//! against a fresh `portwayd` each: `suite.rs` runs them, `scenario.rs` is one of them, `player.rs` does its steps.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "of JSON's kinds of values only one is meant; all others are refused alike"
)]
#![deny(unsafe_code)] // allowed again in tap.rs, where packet sockets are

pub mod attrs;
mod collect;
mod compare;
mod daemon;
mod encode;
pub mod excuses;
mod idle;
mod message;
mod modules;
mod outer;
mod player;
mod recording;
pub mod scenario;
mod space;
pub mod suite;
mod tables;
mod tap;

pub use recording::{Recording, Step, bytes_of_hex, hex_of_bytes};
