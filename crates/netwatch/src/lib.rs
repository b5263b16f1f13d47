// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The host's network devices and namespaces, for the control side: look them up and follow what becomes of them.
//!
//! * [`Netns`]: a network namespace, found by name, process or path; work is run inside it.
//! * [`Links`]: rtnetlink questions about devices, asked in the namespace where the socket was opened.
#![forbid(unsafe_code)]

mod error;
mod link;
mod netns;
mod rtnl;

pub use error::Error;
pub use link::{Link, Links, flags, layer};
pub use netns::{Netns, NetnsId};
