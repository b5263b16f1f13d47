// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The messages of the generic-netlink families, typed: requests are decoded under the kernel's policies, replies are
//! encoded in the kernel's order. Nothing here knows of datapaths.

#![forbid(unsafe_code)]

pub mod actions;
pub mod key;
mod refusal;

pub use refusal::Refusal;
