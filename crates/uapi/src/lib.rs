// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The numbers and structures of the ABI that Portway speaks, under the kernel's own names so that they can be
//! looked up with one search.
//!
//! | module | kernel header |
//! |---|---|
//! | [`openvswitch`] | `linux/openvswitch.h` (Linux 6.12) |
//! | [`genetlink`] | `linux/genetlink.h` |
//! | [`netlink`] | `linux/netlink.h` |
//! | [`psample`] | `linux/psample.h` (Linux 6.11) |
//! | [`errno`] | `asm-generic/errno*.h` |
//!
//! Attribute types are `u16`, generic-netlink commands `u8`, flags and values as wide as the attribute that carries
//! them. Each C enum is also a table of names (`..._NAMES`) for messages to people: see [`name_of`].
//! The integration test `headers` compares every number and every structure's size with the machine's own headers.

#![forbid(unsafe_code)]
#![allow(non_camel_case_types)] // the structures keep the names that they have in C

#[macro_use]
mod c_enum;

pub mod errno;
pub mod genetlink;
pub mod netlink;
pub mod openvswitch;
pub mod psample;

pub use c_enum::name_of;
pub use errno::Errno;
