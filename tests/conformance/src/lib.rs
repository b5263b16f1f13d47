// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Recordings of the real kernel module (Linux 6.1), and how to read them.
//!
//! `recordings/` holds one scenario per file: the steps that were done and what the kernel answered, byte for byte. The tests of this
//! package do the same steps with our crates and compare.

pub mod attrs;
mod recording;

pub use recording::{Recording, Step, bytes_of_hex, hex_of_bytes};
