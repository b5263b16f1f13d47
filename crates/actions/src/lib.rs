// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What happens to a packet once its flow is known.
//!
//! ```text
//!   &[Action], key, mask --Program::compile (once per flow)--> Program --execute (per packet)--> Effect, Effect, ...
//! ```
//!
//! * [`Program`]: an action list, validated as the kernel validates it, flat and ready to run.
//! * [`execute()`]: runs a program on a packet. It sends nothing itself: it hands over [`Effect`]s for the caller to carry out.

//!
//! * [`segment()`], [`complete_checksum`]: what hardware does for a super-packet and a partial checksum, in software.
//!
//! One file per action: what it does to a packet and nothing else. `docs/howto-action.md` tells how to add one.

#![forbid(unsafe_code)]

mod check_packet_length;
mod checksum;
mod compile;
mod edit;
mod effect;
mod error;
mod ethernet;
mod execute;
mod hash;
mod headers;
mod meter;
mod mpls;
mod nsh;
mod program;
mod segment;
mod set_ethernet;
mod set_ipv4;
mod set_ipv6;
mod set_ports;
mod stale_key;
mod truncate;
mod ttl;
mod tunnel;
mod vlan;

pub use effect::Effect;
pub use error::Error;
pub use execute::{Environment, Verdict, execute};
pub use hash::{flow_hash, symmetric_flow_hash};
pub use meter::{Bucket, TOKENS_PER_PACKET};
pub use program::{Limits, Program};
pub use segment::{
    complete_checksum, fits_largest_fragment, fragment_reassembled, leaves_as_fragments, segment,
};
