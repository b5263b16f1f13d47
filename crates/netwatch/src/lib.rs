// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The host's network devices and namespaces, for the control side: look them up and follow what becomes of them.
//!
//! * [`Netns`]: a network namespace, found by name, process or path; work is run inside it.
//! * [`Links`]: rtnetlink questions about devices, asked in the namespace where the socket was opened.
//! * [`Watcher`]: follows the devices of any number of namespaces, and the namespaces themselves.
#![deny(unsafe_code)]

mod anchor;
mod elsewhere;
mod error;
mod event;
mod link;
mod netns;
mod rtnl;
mod socket_netns;
mod space;
mod watch;

pub use error::Error;
pub use event::{Change, Event};
pub use link::{Link, Links, flags, layer};
pub use netns::Netns;
pub use portway_vport::NetnsId;
pub use watch::{WatchHandle, Watcher};
