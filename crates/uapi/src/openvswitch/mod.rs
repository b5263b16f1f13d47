// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `linux/openvswitch.h` as of Linux 6.12 (and the few later numbers that current clients send), one file per family.

mod action;
mod ct_limit;
mod datapath;
mod flow;
mod key;
mod meter;
mod packet;
mod vport;

pub use action::*;
pub use ct_limit::*;
pub use datapath::*;
pub use flow::*;
pub use key::*;
pub use meter::*;
pub use packet::*;
pub use vport::*;
