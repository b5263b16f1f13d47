// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The daemon's port-type modules, as recordings have the kernel's.

use anyhow::Result;
use serde_json::Value;

/// Asks a daemon for its modules.
pub trait Modules {
    /// The loaded modules with their references, by the kernel's names.
    fn loaded(&mut self) -> Result<Value>;

    /// Does what `modprobe` with these arguments would.
    fn modprobe(&mut self, args: &str) -> Result<()>;
}
