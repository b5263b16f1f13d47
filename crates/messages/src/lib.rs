// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The messages of the generic-netlink families, typed: requests are decoded under the kernel's policies, replies are
//! encoded in the kernel's order. Nothing here knows of datapaths.

#![forbid(unsafe_code)]

pub mod actions;
pub mod ct_limit;
pub mod ctrl;
pub mod datapath;
pub mod family;
pub mod flow;
pub mod key;
pub mod meter;
pub mod packet;
mod parse;
pub mod psample;
mod refusal;
pub mod vport;

pub use refusal::Refusal;
