// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The `gre` port type: a GRE tunnel end point for Ethernet frames (RFC 2784, RFC 2890), over IPv4 as the kernel module's. One for
//! each network namespace: it has all of IP protocol 47.

#![deny(unsafe_code)]

pub use portway_tunnel_sockets::gre::GrePort;

portway_vport::port_module!(portway_vport_type_3, GrePort);
