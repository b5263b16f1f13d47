// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The `netdev` port type: any Ethernet device of the host (veth, physical, ...), and layer-3 devices without a link layer.
//!
//! ```text
//!              device's receive path
//!                 |          |
//!   packet socket (tap)      tcx ingress program "drop"  -> the host's stack sees nothing
//!                 |
//!   rx: recvmmsg into packet buffers        tx: sendmmsg from packet buffers
//! ```
//!
//! Frames of hot flows can go from one port to another in the kernel, without passing through this process: `shortcut.rs`.
//!
//! Other processes may send through a port by themselves: `outlet.rs`.
//!
//! A virtio-net header stands in front of each frame in both directions, so partial checksums and 64 KiB segments cross
//! untouched. Both ways in belong to this process: when it goes, also by kill -9, the device is the host's again.

mod attach;
mod claim;
mod filter;
mod outlet;
mod overflow;
mod port;
mod rx;
mod short_tag;
mod shortcut;
mod socket;
mod tx;

pub use port::NetdevPort;

portway_vport::port_module!(portway_vport_type_1, NetdevPort);
