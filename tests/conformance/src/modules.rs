// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The daemon's port-type modules, as recordings have the kernel's.

use anyhow::Result;
use serde_json::Value;

/// Asks a daemon for its modules.
pub(crate) trait Modules {
    /// The loaded modules with their references, by the kernel's names.
    fn loaded(&mut self) -> Result<Value>;

    /// Does what `modprobe` with these arguments would.
    fn modprobe(&mut self, args: &str) -> Result<()>;
}

/// The modules that have a counterpart here: the tunnel types.
const OURS: &[&str] = &["vport_vxlan", "vport_gre", "vport_geneve"];

/// What counts of a recorded list of modules: ours, with their references.
pub(crate) fn counterpart(recorded: &Value) -> Value {
    let ours = recorded.as_object().into_iter().flatten();
    let ours = ours.filter(|(name, _)| OURS.contains(&name.as_str()));
    ours.map(|(name, module)| (name.clone(), module["refs"].clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
