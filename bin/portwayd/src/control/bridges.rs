// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Bridges come and go.

use std::collections::BTreeMap;
use std::sync::Arc;

use portway_api::{BridgeSpec, Done, Failure, FailureKind, Origin, Vlans};
use portway_bridge::PortSettings;
use portway_datapath::DatapathRequest;
use portway_vport::{PortName, Vport};

use super::devices::bring_up;
use super::failures::failure;
use super::{Control, Entry, Tables, port_vlan, settings, types};
use crate::config::{BridgeConfig, name_fault};

/// The type of a bridge's own port if nobody says otherwise.
pub(super) const OWN_TYPE: &str = "internal";

/// Threads that destroy ports together.
const DESTROYERS: usize = 32;
/// So few ports are not worth a thread.
const ALONE: usize = 4;

/// A device's name as the switch takes it.
pub(super) fn port_name(name: &str) -> Result<PortName, Failure> {
    if let Some(fault) = name_fault(name) {
        return Err(Failure::new(FailureKind::BadRequest, fault)
            .remedy("a name has 1 to 15 bytes, no space, no `/`, no `:`"));
    }
    PortName::new(name.as_bytes())
        .ok_or_else(|| Failure::new(FailureKind::BadRequest, format!("the name {name:?} is not allowed")))
}

impl Control {
    /// Adds a bridge at the command line.
    pub(super) fn bridge_add(&self, tables: &mut Tables, spec: &BridgeSpec) -> Result<Done, Failure> {
        check_limits(spec)?;
        let bridge = BridgeConfig::new(spec.clone());
        self.make_bridge(tables, &bridge, Origin::Runtime)?;
        let mut state = tables.state.clone();
        state.bridges.push(spec.clone());
        if let Err(error) = self.state_file.save(&state) {
            if let Some(entry) = tables.bridges.remove(&spec.name) {
                self.release(entry);
            }
            return Err(not_kept(&error));
        }
        tables.state = state;
        Ok(Done { message: format!("bridge {} added", spec.name), warnings: Vec::new() })
    }

    /// Deletes a bridge at the command line.
    pub(super) fn bridge_del(&self, tables: &mut Tables, name: &str) -> Result<Done, Failure> {
        let origin = tables.bridge(name)?.origin;
        let mut state = tables.state.clone();
        state.bridges.retain(|bridge| bridge.name != name);
        state.ports.retain(|port| port.bridge != name);
        if state != tables.state {
            self.state_file.save(&state).map_err(|error| not_kept(&error))?;
            tables.state = state;
        }
        if let Some(entry) = tables.bridges.remove(name) {
            self.release(entry);
        }
        let mut done = Done { message: format!("bridge {name} deleted"), warnings: Vec::new() };
        if origin == Origin::Config {
            done.warnings.push(self.comes_back(&format!("bridge {name}")));
        }
        Ok(done)
    }

    /// What to say when something that the config file wants is deleted.
    pub(super) fn comes_back(&self, what: &str) -> String {
        let file = self.facts.config_path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        format!("{what} is in {file} and comes back with the next reload or start")
    }

    /// Makes a bridge with its datapath and its own port, without other ports.
    pub(super) fn make_bridge(
        &self,
        tables: &mut Tables,
        bridge: &BridgeConfig,
        origin: Origin,
    ) -> Result<(), Failure> {
        let BridgeConfig { spec, own_type, own_vlans, ports: _ } = bridge;
        let name = port_name(&spec.name)?;
        if tables.bridges.contains_key(&spec.name) {
            return Err(Failure::new(FailureKind::Exists, format!("bridge {:?} exists", spec.name)));
        }
        if let Some(other) = tables.bridge_of(&(None, spec.name.clone())) {
            let message = format!("{:?} is a port of bridge {}", spec.name, other.spec.name);
            return Err(Failure::new(FailureKind::Exists, message).remedy("choose another name"));
        }
        let own_number = self.load_type(own_type)?;
        let request =
            DatapathRequest { local_type: own_number, ..DatapathRequest::new(name, self.netns.clone()) };
        let datapath = self.switch.datapath_add(request).map_err(|error| {
            let own = portway_api::PortSpec {
                port_type: own_type.clone(),
                ..portway_api::PortSpec::new(&spec.name)
            };
            super::failures::port_failure(&own, &spec.name, &error)
        })?;
        if let Some(port) = datapath.port(0) {
            bring_up(&port, datapath.netns());
        }
        self.switching.add(&datapath, settings(spec));
        let own = PortSettings { vlan: port_vlan(own_vlans), may_loop: own_type == OWN_TYPE };
        self.switching.port_add(&datapath, 0, own);
        let entry = Entry {
            spec: spec.clone(),
            own_type: own_type.clone(),
            own_vlans: own_vlans.clone(),
            origin,
            datapath,
            ports: BTreeMap::new(),
        };
        tables.bridges.insert(spec.name.clone(), entry);
        tracing::info!(bridge = %spec.name, "bridge added");
        Ok(())
    }

    /// The number of a port type; its module is loaded, if it must be.
    pub(super) fn load_type(&self, name: &str) -> Result<u32, Failure> {
        let registry = self.switch.registry();
        let number = types::number(registry, name)?;
        types::description(registry, number)?;
        Ok(number)
    }

    /// Takes a bridge down.
    pub(super) fn release(&self, entry: Entry) {
        let Entry { spec, datapath, .. } = entry;
        self.switching.remove(&datapath);
        if let Err(error) = self.switch.datapath_del_by(&datapath, destroy) {
            tracing::error!(bridge = %spec.name, "{}", failure(&error));
        }
        tracing::info!(bridge = %spec.name, "bridge deleted");
    }

    /// Gives a bridge other settings.
    pub(super) fn reconfigure(&self, entry: &mut Entry, spec: &BridgeSpec, own_vlans: &Vlans) {
        if entry.spec != *spec {
            self.switching.reconfigure(&entry.datapath, settings(spec));
            entry.spec = spec.clone();
        }
        if entry.own_vlans != *own_vlans {
            self.switching.port_set_vlan(&entry.datapath, 0, port_vlan(own_vlans));
            entry.own_vlans = own_vlans.clone();
        }
    }
}

/// Destroys ports that have left the switch, many at a time: each waits for the kernel to let go of its device, and those waits
/// can be shared.
fn destroy(mut ports: Vec<Arc<Vport>>) {
    let each = ports.len().div_ceil(DESTROYERS);
    std::thread::scope(|scope| {
        while ports.len() > ALONE {
            let some = ports.split_off(ports.len() - each.min(ports.len()));
            scope.spawn(move || drop(some));
        }
        drop(ports);
    });
}

/// The limits that the config file has, for requests.
fn check_limits(spec: &BridgeSpec) -> Result<(), Failure> {
    let limits = [
        ("aging", spec.aging_s, 1..=crate::config::AGING_S_MAX),
        ("mac limit", spec.mac_limit, 1..=crate::config::MAC_LIMIT_MAX),
        ("flood limit", spec.flood_limit_pps, 0..=u64::from(u32::MAX) - 1),
    ];
    for (what, value, range) in limits {
        if !range.contains(&value) {
            let message = format!("{what} {value} is out of range");
            let remedy = format!("give a number from {} to {}", range.start(), range.end());
            return Err(Failure::new(FailureKind::BadRequest, message).remedy(remedy));
        }
    }
    Ok(())
}

/// A change that could not be kept was undone.
pub(super) fn not_kept(error: &crate::state::Error) -> Failure {
    Failure::new(FailureKind::System, format!("{error}; nothing was changed"))
        .remedy("make room on the disk or look at the folder's permissions, then try again")
}
