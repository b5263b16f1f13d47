// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Bad input. Each target of `fuzz/` is a function here, so that the stable toolchain's tests run it, too: with a seeded generator, and
//! with the cases under `cases/`, each of which was once a fault or is of a kind that ought to be kept.
//!
//! * [`actions`]: lists of actions, done to frames.
//! * [`netlink`]: datagrams to the netlink server of a switch in memory, well-formed and less so.
//! * [`frame`]: frames, for the key extraction; and the text form of flows and of requests.
//! * [`tunnel`]: outer packets, for the tunnel port types.

// The exported symbols of the port types need an attribute that counts as unsafe; nothing else does.
#![deny(unsafe_code)]

pub mod actions;
pub mod frame;
mod input;
mod memory;
pub mod netlink;
mod shape;
pub mod tunnel;

pub use input::{Input, random};
