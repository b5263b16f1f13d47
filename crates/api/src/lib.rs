// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What `portway` and `portwayd` say to each other over the control socket.
//!
//! The socket is a Unix stream socket. A client sends one [`Request`] as a line of JSON, the daemon answers with one
//! [`Response`] as a line of JSON, and so on. After a successful [`Request::Capture`] the daemon sends pcapng bytes
//! ([`pcapng`]) until either side closes the connection.
#![forbid(unsafe_code)]

mod client;
pub mod pcapng;
mod reply;
mod request;

pub use client::{Capture, Client, ClientError, DEFAULT_SOCKET, SOCKET_NAME};
pub use reply::{
    BridgeInfo, DatapathInfo, Done, DropLine, Failure, FailureKind, FdbLine, FlowLine, ModuleInfo, Origin,
    PortInfo, PortState, PortStats, Reply, Response, Show,
};
pub use request::{BridgeSpec, PortSpec, Request, Vlans};

/// The longest request, in bytes, newline included.
pub const REQUEST_MAX: usize = 1 << 20;
