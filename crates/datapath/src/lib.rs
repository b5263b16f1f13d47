// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The datapath: ports, flows, the packet's way, and the only code that changes any of it.
//!
//! Read in this order: `process.rs` (what happens to a batch), `lookup.rs` (how its flows are found), `io.rs` (what leaves), `change.rs`
//! (who may change what), `worker.rs` (who drives it).
//!
//! # Locks and readers
//! * One writer lock, in [`Switch`]: every change to a datapath, its ports or its flows is made under it, one at a time. It is
//!   released while a module loads; then the request starts again.
//! * Workers hold no lock. A worker enters the switch's [`portway_sync::Domain`] once per batch; what it read stays valid until it leaves.
//! * Order of publication. A port: device table, port table, the worker's receive list. A flow: the lens of its port, then the
//!   classifier. Removal goes the other way round, and memory is freed a grace period later, never by a worker.
//! * A lane (caches, buffers, counters) belongs to one worker. Requests that carry a packet themselves use one more lane,
//!   behind a mutex.
#![forbid(unsafe_code)]

mod change;
mod datapath;
mod error;
mod events;
mod flow;
mod heat;
mod io;
mod lens_book;
mod lookup;
mod mask_cache;
mod meters;
mod netns;
mod process;
mod services;
mod shortcut;
mod switch;
mod upcall;
mod worker;

pub use change::{DatapathRequest, FlowRequest, PortRequest};
pub use datapath::{Datapath, DatapathOptions, DatapathStats};
pub use error::Error;
pub use events::{Event, RemovedPort};
pub use flow::{Flow, FlowParts, FlowStats, Ufid};
pub use meters::{BandConfig, METERS_MAX, Meter, MeterConfig, MeterStats};
pub use netns::Netns;
pub use switch::{Limits, Switch, SwitchConfig};
pub use upcall::{Reason, Upcall};
pub use worker::{RxEntry, Worker};
