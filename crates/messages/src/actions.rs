// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Action lists as attributes (OVS_FLOW_ATTR_ACTIONS, OVS_PACKET_ATTR_ACTIONS).
//!
//! Decoding looks at the form only: which attributes there are and how long they are. Whether the actions make sense for the packets of a
//! flow is decided by `portway_actions::Program::compile`; both together answer what the kernel answers.

mod decode;
mod encode;
mod error;

#[cfg(test)]
mod tests;

pub use decode::decode_actions;
pub use encode::{encode_actions, put_actions};
pub use error::ActionError;

/// How deep lists may stand in lists (OVS_COPY_ACTIONS_MAX_DEPTH).
pub const DEPTH_MAX: usize = 16;
