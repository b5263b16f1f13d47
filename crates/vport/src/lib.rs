// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The vport layer: port types and the modules that provide them, the device table, the life and death of ports.
//!
//! For an author of port types: [`ops`] is the contract, [`port_module!`] makes a module of a type, [`host`] logs, and
//! `docs/howto-port.md` walks through it. For the switch: [`Registry`] knows the types, [`TypeRef::create`] makes a port,
//! [`Vport`] is that port in a datapath, [`DeviceTable`] finds it by name.

#![deny(unsafe_code)] // allowed again in abi and module, where C and the dynamic linker are

pub mod abi;
mod device_table;
mod error;
mod gone;
mod limit;
mod module;
mod names;
pub mod ops;
pub mod options;
mod registry;
mod stats;
mod tap;
mod vport;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/howto-port.md")]
mod howto {}

pub use abi::export::LinkedModule;
pub use abi::handle::{PortHandle, RX_QUEUES_MAX, TxOutcome};
pub use abi::kind::{OptionInfo, PortKind, TypeInfo, TypeRef};
pub use abi::outlet::Outlet;
pub use abi::{export, host};
pub use device_table::DeviceTable;
pub use error::Error;
pub use gone::Gone;
pub use module::ModuleError;
pub use names::{NetnsId, PortName};
pub use ops::Errno;
pub use registry::{Registry, Requested, module_file_name, module_file_type};
pub use stats::{PortCounter, PortStats};
pub use tap::{Direction, Tap};
pub use vport::{Bypass, UpcallPids, Vport, VportConfig};
