// SPDX-License-Identifier: Apache-2.0 OR MIT
//! For tests: a whole switch in memory, with ports that a test feeds and reads by hand.
//!
//! ```text
//!   Bench::new() -> a switch with one datapath and one worker, no root, no clock
//!     .port("p1")  -> a Wire: wire.send(frame), bench.run(), wire.received()
//! ```

// The exported symbol of the dummy port type needs an attribute that counts as unsafe; nothing else does.
#![deny(unsafe_code)]

mod bench;
mod dummy;
mod frame;

pub use bench::Bench;
pub use dummy::MODULE as DUMMY_MODULE;
pub use dummy::{DummyPort, TYPE_DUMMY, Wire};
pub use frame::Frame;
