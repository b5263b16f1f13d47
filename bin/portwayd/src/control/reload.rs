// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From what is to what the config file wants, by the difference: what is unchanged is not touched, its traffic not interrupted.

use std::path::{Path, PathBuf};

use portway_api::{Done, Failure, FailureKind, Origin, PortSpec};

use super::ports::key_of;
use super::{Control, Entry, Tables, port_vlan};
use crate::args::DEFAULT_CONFIG;
use crate::config::{BridgeConfig, Config};
use crate::state::State;

impl Control {
    /// Reads the config file again. A file with mistakes changes nothing.
    pub(crate) fn reload(&self) -> Result<Done, Failure> {
        // One that was made since the start counts.
        let default = || Path::new(DEFAULT_CONFIG).exists().then(|| PathBuf::from(DEFAULT_CONFIG));
        let Some(path) = self.facts.config_path.clone().or_else(default) else {
            return Err(Failure::new(FailureKind::BadRequest, "portwayd was started without a config file")
                .remedy("start it with --config FILE, or make /etc/portway/portway.toml"));
        };
        let unchanged = |error: &dyn std::fmt::Display| {
            Failure::new(FailureKind::BadRequest, format!("{error}\nnothing was changed"))
        };
        let config = Config::load(&path).map_err(|error| unchanged(&error))?;
        let filter = self.knobs.log.filter_for(&config).map_err(|error| unchanged(&error))?;
        self.knobs.log.replace(filter);
        self.knobs.tuning.set_spin_us(config.spin_us.unwrap_or(0));
        self.switch.want_shortcuts(config.shortcuts.unwrap_or(true));
        let mut warnings = self.apply(&mut self.lock(), &config);
        let workers = self.facts.workers;
        if let Some(wanted) = config.workers.filter(|wanted| *wanted != workers && !self.facts.workers_asked)
        {
            warnings.push(format!(
                "`workers = {wanted}` takes effect with the next start; now there are {workers}"
            ));
        }
        tracing::info!("configuration reloaded");
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        Ok(Done { message: format!("{} reloaded", path.display()), warnings })
    }

    /// Makes bridges and ports as the file wants them; returns what should be known.
    pub(super) fn apply(&self, tables: &mut Tables, config: &Config) -> Vec<String> {
        let mut warnings = Vec::new();
        self.remove_unwanted(tables, config, &mut warnings);
        for bridge in &config.bridges {
            if let Err(problem) = self.apply_bridge(tables, bridge) {
                let remedy =
                    problem.remedy.as_deref().map(|remedy| format!(" ({remedy})")).unwrap_or_default();
                warnings.push(format!("bridge {}: {problem}{remedy}", bridge.spec.name));
            }
        }
        self.want_kept_ports(tables);
        self.forget_named(tables, config, &mut warnings);
        let pending = tables.bridges.values().flat_map(|entry| entry.ports.values());
        for port in pending.filter(|port| port.origin == Origin::Config) {
            if let Some(problem) = &port.problem {
                warnings.push(format!("port {} waits: {problem}", port.spec.name));
            }
        }
        warnings
    }

    /// Deletes what the file no longer names. Devices that move from one bridge to another are free after this.
    fn remove_unwanted(&self, tables: &mut Tables, config: &Config, warnings: &mut Vec<String>) {
        let wanted = |name: &str| config.bridges.iter().find(|bridge| bridge.spec.name == name);
        let names: Vec<String> = tables.bridges.keys().cloned().collect();
        for name in names {
            let Some(mut entry) = tables.bridges.remove(&name) else { continue };
            let Some(bridge) = wanted(&name) else {
                if entry.origin != Origin::Config {
                    tables.bridges.insert(name, entry);
                    continue;
                }
                let added = entry.ports.values().filter(|port| port.origin == Origin::Runtime).count();
                if added > 0 {
                    warnings.push(format!("bridge {name} left the config file; {added} ports added at the command line went with it"));
                    self.forget_kept(tables, &name, warnings);
                }
                self.release(entry);
                continue;
            };
            if entry.own_type != bridge.own_type {
                match self.load_type(&bridge.own_type) {
                    Ok(_) => {
                        self.release(entry);
                        continue;
                    }
                    Err(problem) => warnings.push(format!("bridge {name} stays as it is: {problem}")),
                }
            }
            self.remove_ports(&mut entry, bridge);
            tables.bridges.insert(name, entry);
        }
    }

    fn remove_ports(&self, entry: &mut Entry, bridge: &BridgeConfig) {
        let wanted = |key: &super::PortKey| bridge.ports.iter().find(|spec| key_of(spec) == *key);
        let keys: Vec<_> = entry.ports.keys().cloned().collect();
        for key in keys {
            let Some(port) = entry.ports.remove(&key) else { continue };
            let keep = match wanted(&key) {
                Some(spec) => spec.port_type == port.spec.port_type && spec.options == port.spec.options,
                None => port.origin == Origin::Runtime,
            };
            if keep {
                entry.ports.insert(key, port);
            } else {
                self.let_go(entry, port);
            }
        }
    }

    /// Drops what was kept for a bridge that is gone.
    fn forget_kept(&self, tables: &mut Tables, bridge: &str, warnings: &mut Vec<String>) {
        let mut state = tables.state.clone();
        state.ports.retain(|kept| kept.bridge != bridge);
        state.bridges.retain(|kept| kept.name != bridge);
        self.keep(tables, state, warnings);
    }

    /// Drops what was added at the command line and is in the config file by now: from now on the file decides.
    fn forget_named(&self, tables: &mut Tables, config: &Config, warnings: &mut Vec<String>) {
        let bridge_of = |name: &str| config.bridges.iter().find(|bridge| bridge.spec.name == name);
        let mut state = tables.state.clone();
        state.bridges.retain(|kept| bridge_of(&kept.name).is_none());
        state.ports.retain(|kept| {
            let is_it = |spec: &PortSpec| key_of(spec) == key_of(&kept.port);
            bridge_of(&kept.bridge).is_none_or(|bridge| !bridge.ports.iter().any(is_it))
        });
        self.keep(tables, state, warnings);
    }

    fn keep(&self, tables: &mut Tables, state: State, warnings: &mut Vec<String>) {
        if state != tables.state {
            if let Err(error) = self.state_file.save(&state) {
                warnings.push(error.to_string());
            }
            tables.state = state;
        }
    }

    fn apply_bridge(&self, tables: &mut Tables, bridge: &BridgeConfig) -> Result<(), Failure> {
        let name = &bridge.spec.name;
        if !tables.bridges.contains_key(name) {
            self.make_bridge(tables, bridge, Origin::Config)?;
        }
        let taken: Vec<_> = bridge
            .ports
            .iter()
            .filter_map(|spec| {
                let other = tables.bridge_of(&key_of(spec))?;
                (other.spec.name != *name).then(|| (key_of(spec), other.spec.name.clone()))
            })
            .collect();
        let entry = tables.bridge_mut(name)?;
        entry.origin = Origin::Config;
        self.reconfigure(entry, &bridge.spec, &bridge.own_vlans);
        for spec in &bridge.ports {
            let key = key_of(spec);
            if let Some((_, other)) = taken.iter().find(|(taken, _)| *taken == key) {
                tracing::warn!(port = %spec.name, "was added to {other} at the command line and stays there");
                continue;
            }
            let Some(mut port) = entry.ports.remove(&key) else {
                self.want(entry, spec, Origin::Config);
                continue;
            };
            port.origin = Origin::Config;
            if port.spec.vlans != spec.vlans {
                if let Some(live) = port.live() {
                    self.switching.port_set_vlan(&entry.datapath, live.port_no(), port_vlan(&spec.vlans));
                }
                port.spec.vlans = spec.vlans.clone();
            }
            if port.live().is_none() {
                self.try_attach(entry, &mut port);
            }
            entry.ports.insert(key, port);
        }
        Ok(())
    }

    /// Brings back what was added at the command line before the daemon ended. What the config file wants by now goes before.
    pub(super) fn restore(&self, tables: &mut Tables, kept: State, config: &Config) {
        for spec in &kept.bridges {
            if tables.bridges.contains_key(&spec.name) {
                continue;
            }
            if let Err(problem) = self.make_bridge(tables, &BridgeConfig::new(spec.clone()), Origin::Runtime)
            {
                tracing::error!(bridge = %spec.name, "cannot bring the bridge back: {problem}");
            }
        }
        tables.state = kept;
        self.want_kept_ports(tables);
        let mut warnings = Vec::new();
        self.forget_named(tables, config, &mut warnings);
        for warning in warnings {
            tracing::warn!("{warning}");
        }
    }

    /// Wants every port that was added at the command line and is not there: since the daemon's start, or because its bridge was made
    /// anew.
    fn want_kept_ports(&self, tables: &mut Tables) {
        for kept in tables.state.ports.clone() {
            if tables.bridge_of(&key_of(&kept.port)).is_some() {
                continue;
            }
            match tables.bridge_mut(&kept.bridge) {
                Ok(entry) => self.want(entry, &kept.port, Origin::Runtime),
                Err(problem) => {
                    tracing::error!(port = %kept.port.name, "cannot bring the port back: {problem}");
                }
            }
        }
    }
}
