// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the daemon is to have, and what it has: bridges and ports, who wants them, and how they come and go.
//!
//! One lock, held for a whole request: requests, reloads and device events are carried out one after the other. Packets do not
//! wait for it: forwarding and learning have their own ([`crate::switching`]).
//!
//! A port that is wanted is *live* (it has a vport) or *pending* (its device is missing, or it could not be attached for
//! another reason, which is kept and shown).

mod bridges;
mod datapaths;
mod devices;
mod failures;
mod flows;
mod ports;
mod reload;
mod report;
mod requests;
mod types;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use portway_api::{BridgeSpec, Failure, FailureKind, Origin, PortSpec, Vlans};
use portway_bridge::{PortVlan, Settings, VlanSet};
use portway_datapath::{Datapath, Netns, Switch};
use portway_netwatch::WatchHandle;
use portway_vport::{NetnsId, Vport};

use crate::config::Config;
use crate::log::Log;
use crate::state::{State, StateFile};
use crate::switching::Switching;
use crate::worker::Tuning;

/// What names a port: its namespace as the user wrote it, and its name.
pub(crate) type PortKey = (Option<String>, String);

/// A port that is wanted.
pub(crate) struct Port {
    spec: PortSpec,
    origin: Origin,
    /// Weak: the switch alone keeps ports, so that one is gone when the switch says so, whoever deleted it.
    live: Weak<Vport>,
    /// Why it is not live.
    problem: Option<Failure>,
}

impl Port {
    /// The vport, if the port is live.
    fn live(&self) -> Option<Arc<Vport>> {
        self.live.upgrade().filter(|live| live.is_alive())
    }
}

/// A bridge.
pub(crate) struct Entry {
    spec: BridgeSpec,
    own_type: String,
    own_vlans: Vlans,
    origin: Origin,
    datapath: Arc<Datapath>,
    ports: BTreeMap<PortKey, Port>,
}

/// Everything under the lock.
pub(crate) struct Tables {
    bridges: BTreeMap<String, Entry>,
    state: State,
    /// Internal ports whose device was moved to another namespace: nothing tells of what happens to it there.
    moved: Vec<Weak<Vport>>,
}

/// How the daemon was started: for `show`.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) config_path: Option<PathBuf>,
    pub(crate) workers: usize,
    /// The number of workers is from the command line, whatever the config file says.
    pub(crate) workers_asked: bool,
    pub(crate) started: Instant,
}

/// What a reload may change besides bridges and ports.
pub(crate) struct Knobs {
    pub(crate) log: Log,
    pub(crate) tuning: Arc<Tuning>,
}

/// The control side of the daemon.
pub(crate) struct Control {
    switch: Arc<Switch>,
    switching: Arc<Switching>,
    /// The daemon's own namespace, in which bridges live.
    netns: Netns,
    state_file: StateFile,
    facts: Facts,
    knobs: Knobs,
    watcher: WatchHandle,
    /// Namespaces whose devices are followed.
    watched: Mutex<BTreeSet<NetnsId>>,
    tables: Mutex<Tables>,
}

impl Control {
    pub(crate) fn new(
        switch: Arc<Switch>,
        switching: Arc<Switching>,
        netns: Netns,
        state_file: StateFile,
        facts: Facts,
        watcher: WatchHandle,
        knobs: Knobs,
    ) -> Self {
        let tables = Tables { bridges: BTreeMap::new(), state: State::default(), moved: Vec::new() };
        Self {
            switch,
            switching,
            netns,
            state_file,
            facts,
            knobs,
            watcher,
            watched: Mutex::default(),
            tables: Mutex::new(tables),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        // A request that panics is answered with an error; what it did so far is in the tables.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts with a configuration and with what was added at the command line. What cannot be had is pending or logged: a daemon
    /// that switches something is better than none.
    pub(crate) fn start(&self, config: &Config) {
        self.knobs.tuning.set_spin_us(config.spin_us.unwrap_or(0));
        self.switch.want_shortcuts(config.shortcuts.unwrap_or(true));
        self.watch(&self.netns);
        let mut tables = self.lock();
        let state = self.state_file.load().unwrap_or_else(|error| {
            tracing::error!("{error}");
            State::default()
        });
        for warning in self.apply(&mut tables, config) {
            tracing::warn!("{warning}");
        }
        self.restore(&mut tables, state, config);
    }

    /// Takes everything down. Devices are given back to the host, internal ones deleted.
    pub(crate) fn shut_down(&self) {
        let mut tables = self.lock();
        while let Some((_, entry)) = tables.bridges.pop_first() {
            self.release(entry);
        }
    }
}

impl Tables {
    fn bridge(&self, name: &str) -> Result<&Entry, Failure> {
        self.bridges.get(name).ok_or_else(|| self.no_bridge(name))
    }

    fn bridge_mut(&mut self, name: &str) -> Result<&mut Entry, Failure> {
        if self.bridges.contains_key(name) {
            return self.bridges.get_mut(name).ok_or_else(|| Failure::new(FailureKind::NotFound, "gone"));
        }
        Err(self.no_bridge(name))
    }

    fn no_bridge(&self, name: &str) -> Failure {
        let names: Vec<&str> = self.bridges.keys().map(String::as_str).collect();
        let remedy = match (crate::config::meant(name, names.iter().copied()), &names[..]) {
            (Some(meant), _) => format!("did you mean {meant:?}?"),
            (None, []) => format!("make it: portway bridge add {name}"),
            (None, names) => format!("bridges are: {}", names.join(", ")),
        };
        Failure::new(FailureKind::NotFound, format!("there is no bridge {name:?}")).remedy(remedy)
    }

    /// The port of that name: as it is wanted, or as its device is called since it was renamed.
    fn find(&self, key: &PortKey) -> Option<(&Entry, PortKey)> {
        if let Some(entry) = self.bridge_of(key) {
            return Some((entry, key.clone()));
        }
        let is_called = |live: Arc<Vport>| live.name().as_bytes() == key.1.as_bytes();
        self.bridges.values().find_map(|entry| {
            let mut ports = entry.ports.iter().filter(|((netns, _), _)| *netns == key.0);
            let (found, _) = ports.find(|(_, port)| port.live().is_some_and(is_called))?;
            Some((entry, found.clone()))
        })
    }

    /// The bridge that has a port.
    fn bridge_of(&self, key: &PortKey) -> Option<&Entry> {
        self.bridges.values().find(|entry| entry.ports.contains_key(key))
    }
}

/// The bridge's settings as the learning switch takes them.
fn settings(spec: &BridgeSpec) -> Settings {
    Settings {
        aging_ns: spec.aging_s.saturating_mul(1_000_000_000),
        mac_limit: usize::try_from(spec.mac_limit).unwrap_or(usize::MAX),
        flood_limit_pps: spec.flood_limit_pps,
        ..Settings::default()
    }
}

/// The port's VLANs as the learning switch takes them.
fn port_vlan(vlans: &Vlans) -> PortVlan {
    match vlans.access {
        Some(vlan) => PortVlan::Access(vlan),
        None => {
            let allowed = (!vlans.trunk.is_empty()).then(|| VlanSet::new(vlans.trunk.iter().copied()));
            PortVlan::Trunk { allowed, native: vlans.native }
        }
    }
}
