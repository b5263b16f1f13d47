// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The `vxlan` port type: a VXLAN tunnel end point (RFC 7348), its peers and network ids from each packet's metadata.

#![deny(unsafe_code)]

mod options;
mod port;

pub use port::VxlanPort;

portway_vport::port_module!(portway_vport_type_4, VxlanPort);
