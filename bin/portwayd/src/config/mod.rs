// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The config file: bridges and their ports, in TOML. Strict: what is not understood is an error that names the
//! line, what is wrong with it, and the remedy. All errors are told at once.

mod names;
mod problem;
mod read;
mod section;
#[cfg(test)]
mod tests;

pub(crate) use names::{meant, name_fault};
pub(crate) use problem::ConfigError;
pub(crate) use read::{AGING_S_MAX, MAC_LIMIT_MAX, WORKERS_MAX, parse};

use std::path::Path;

use portway_api::{BridgeSpec, PortSpec, Vlans};

/// What the daemon is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Config {
    /// Threads that forward packets; absent: one for each CPU the process may use.
    pub(crate) workers: Option<usize>,
    /// Microseconds for which an idle worker looks for more before it sleeps.
    pub(crate) spin_us: Option<u64>,
    /// Whether packets of busy flows may go from port to port without passing through the daemon; absent: they may.
    pub(crate) shortcuts: Option<bool>,
    /// What is logged, as `--log` takes it.
    pub(crate) log: Option<String>,
    pub(crate) bridges: Vec<BridgeConfig>,
}

/// A bridge and its ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BridgeConfig {
    pub(crate) spec: BridgeSpec,
    /// The type of the bridge's own port: internal, or null for a bridge without one on the host.
    pub(crate) own_type: String,
    /// How it takes part in VLANs.
    pub(crate) own_vlans: Vlans,
    pub(crate) ports: Vec<PortSpec>,
}

impl BridgeConfig {
    /// A bridge with an internal port of its own and no others.
    pub(crate) fn new(spec: BridgeSpec) -> Self {
        Self { spec, own_type: "internal".to_owned(), own_vlans: Vlans::default(), ports: Vec::new() }
    }
}

impl Config {
    /// Reads a config file.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        let bytes =
            std::fs::read(path).map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
            problem::not_utf8(path, &text)
        })?;
        parse(path, &text)
    }
}
