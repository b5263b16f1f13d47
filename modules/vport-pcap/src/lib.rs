// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The `pcap` port type: replays a capture file as input, writes a capture file as output. For benches, and for tests
//! without root. See `README.md`.

#![deny(unsafe_code)]

mod capture;
mod format;
mod port;
mod replay;

pub use port::{ATTR_LOOP, ATTR_RX, ATTR_TX, PcapPort};

portway_vport::port_module!(portway_vport_type_1001, PcapPort);
