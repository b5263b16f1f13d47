// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The generic-netlink server: what the kernel's openvswitch answers, without a socket, a clock or a thread.
//!
//! [`Server`] holds the clients, each of which is one netlink socket: a port id in a network namespace, options, memberships,
//! and a bounded queue of datagrams to it. A shell around it moves bytes: [`Server::handle_datagram`] in,
//! [`Server::next_datagram`] out, [`Server::deliver_upcall`] and `handle_event` for what the switch has to say.
//!
//! Reading order: `server.rs`, `dispatch.rs` (the rules that hold for all requests), then a family's file.

#![forbid(unsafe_code)]

mod call;
mod client;
mod ct_limit;
mod ctrl;
mod datapath;
mod describe;
mod devices;
mod dispatch;
mod dump;
mod errno;
mod flow;
mod meter;
mod names;
mod notify;
mod packet;
mod sample;
mod server;
mod upcall;
mod vport;

pub use client::{Delivery, Limits, Peer, Queued};
pub use devices::{Devices, NoDevices, TunnelPort};
pub use server::{ClientId, ConnectError, Server};
