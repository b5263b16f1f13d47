// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Encapsulation and decapsulation, shared by the tunnel port types: bytes in, bytes out. Sockets are elsewhere.
//!
//! * [`vxlan`], [`geneve`], [`gre`]: a header from a packet's metadata, and metadata from a header.
//! * [`ecn`]: congestion marks across the tunnel (RFC 6040).
//! * [`inner`]: what has to be known of the frame inside: its flow, its checksum, how deep it is in tunnels already.
//! * [`cut`]: a TCP super-packet as segments.
//! * [`merge`]: TCP segments that came one by one, put together again.

#![forbid(unsafe_code)]

pub mod cut;
pub mod ecn;
pub mod geneve;
pub mod gre;
mod header;
pub mod inner;
pub mod merge;
pub mod vxlan;

pub use header::{HEADER_MAX, Header, Refusal};
