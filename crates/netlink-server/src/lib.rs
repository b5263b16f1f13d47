// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The daemon's end of netlink sockets: a thin shell around [`portway_control::Server`]. It listens, checks who connects and from
//! which network namespace, and moves datagrams between sockets and the server's queues. One thread; it never waits for a
//! client: a client that does not read has a bounded queue, and loses what does not fit.

#![forbid(unsafe_code)]

mod connection;
mod devices;
mod error;
mod new_link;
mod peer;
mod serve;
mod tunnels;

pub use error::Error;
pub use serve::{Handle, NetlinkServer, Source};
pub use tunnels::tunnel_behind;
