// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Flows as people read and write them: the syntax of `ovs-dpctl`.
//!
//! ```text
//! recirc_id(0),in_port(1),eth(dst=02:00:00:00:00:02),eth_type(0x0800),ipv4(dst=10.0.0.0/255.0.0.0,proto=6,frag=no),tcp(dst=80), packets:3, bytes:210, used:0.300s, flags:SP., actions:push_vlan(vid=10,pcp=0),2
//! ```
//!
//! A key that names no `eth(...)` but an ethertype is one of packets without an Ethernet header, as with `ovs-dpctl`; a key without
//! `vlan(...)` matches untagged frames only; `eth_type(0/0xffff)` is the 802.2 frames, which have no ethertype.

mod action_format;
mod action_parse;
mod cursor;
mod error;
mod format;
mod names;
mod parse;
mod set;
mod tunnel;
mod value;

#[cfg(test)]
mod tests;

pub use action_format::format_actions;
pub use action_parse::{NESTING_LIMIT, parse_actions};
pub use error::Error;
pub use format::{FlowStats, Style, format_flow, format_key};
pub use parse::parse_key;

/// Finds a port's number by its name, for the parsers; numbers in the text need no finding.
pub type PortNumber<'a> = &'a dyn Fn(&str) -> Option<u32>;

/// Finds a port's name by its number, for the formatters; a port without a name is written as its number.
pub type PortName<'a> = &'a dyn Fn(u32) -> Option<String>;

/// A [`PortNumber`] that knows no names.
pub const NO_NUMBERS: PortNumber<'static> = &|_| None;

/// A [`PortName`] that knows no names.
pub const NO_NAMES: PortName<'static> = &|_| None;
