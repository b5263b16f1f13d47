// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A loadable module of the tests' loop port, which panics where its option says: `tests/loaded.rs` loads it.

#![deny(unsafe_code)]

#[path = "../tests/common/mod.rs"]
mod common;

portway_vport::port_module!(portway_vport_type_2000, common::LoopPort);
