// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The built-in learning switch: a client of the datapath like any other. A miss goes in, a verdict and changes to the flow
//! table come out. Pure: no file descriptor, no clock (`now_ns` is an argument), no randomness.
//!
//! * [`Bridge::handle_upcall`] learns the source, decides where the packet goes and which flow says so from now on.
//! * [`Bridge::handle_tick`], about once a second, reads the flows' statistics: what is in use stays, what is idle goes.
//! * [`Bridge::port_add`], [`Bridge::port_del`], [`Bridge::reconfigure`] change the switch; flows follow at once.
//!
//! Every call appends to a list of [`FlowChange`]s, which the caller carries out in order. A flow matches the input port,
//! both addresses and the VLAN tag, nothing beyond layer 2. The source is part of every match because a new source must
//! miss, or it would never be learned.
#![forbid(unsafe_code)]

mod bridge;
mod decide;
mod fdb;
mod flows;
mod matching;
mod revalidate;
mod settings;
mod vlan;

pub use bridge::{Bridge, Counters, Error, FlowChange, FlowStats, PortSettings, Verdict};
pub use decide::Reason;
pub use fdb::FdbEntry;
pub use flows::FlowId;
pub use settings::Settings;
pub use vlan::{PortVlan, VLAN_MAX, VlanSet};
