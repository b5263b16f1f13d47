// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The vport layer: port types and the modules that provide them, the device table, the life and death of ports.

pub mod abi;
pub mod ops;
