// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The `geneve` port type: a Geneve tunnel end point (RFC 8926), its peers, network ids and options from each packet's metadata.

#![deny(unsafe_code)]

mod port;

pub use port::GenevePort;

portway_vport::port_module!(portway_vport_type_5, GenevePort);
