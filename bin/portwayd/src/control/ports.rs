// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Ports come and go, with requests and with their devices.

use std::os::fd::AsFd;
use std::sync::{Arc, Weak};

use portway_api::{Done, Failure, FailureKind, Origin, PortSpec};
use portway_bridge::PortSettings;
use portway_datapath::{Netns, PortRequest};
use portway_vport::Vport;

use super::bridges::{not_kept, port_name};
use super::devices::{bring_up, is_link_up};
use super::failures::port_failure;
use super::{Control, Entry, Port, PortKey, Tables, port_vlan, types};
use crate::state::KeptPort;

/// What names a port.
pub(super) fn key_of(spec: &PortSpec) -> PortKey {
    (spec.netns.clone(), spec.name.clone())
}

impl Control {
    /// Adds a port at the command line. Its device must be there.
    pub(super) fn port_add(
        &self,
        tables: &mut Tables,
        bridge: &str,
        spec: &PortSpec,
    ) -> Result<Done, Failure> {
        check(spec)?;
        self.check_free(tables, bridge, spec)?;
        let live = self.attach(tables.bridge(bridge)?, spec)?;
        let mut state = tables.state.clone();
        state.ports.push(KeptPort { bridge: bridge.to_owned(), port: spec.clone() });
        let entry = tables.bridge_mut(bridge)?;
        if let Err(error) = self.state_file.save(&state) {
            self.detach(entry, live);
            return Err(not_kept(&error));
        }
        let number = live.port_no();
        let port =
            Port { spec: spec.clone(), origin: Origin::Runtime, live: Arc::downgrade(&live), problem: None };
        entry.ports.insert(key_of(spec), port);
        tables.state = state;
        tracing::info!(bridge, port = %spec.name, number, "port added");
        Ok(Done {
            message: format!("port {} added to {bridge} as number {number}", spec.name),
            warnings: Vec::new(),
        })
    }

    /// Deletes a port at the command line.
    pub(super) fn port_del(&self, tables: &mut Tables, key: &PortKey) -> Result<Done, Failure> {
        let Some((bridge, key)) = tables.find(key).map(|(entry, key)| (entry.spec.name.clone(), key)) else {
            return Err(match self.other_port(key) {
                Some(_) if !tables.bridges.contains_key(&key.1) => not_ours(&key.1),
                _ => no_port(tables, key),
            });
        };
        let (netns, name) = &key;
        let mut state = tables.state.clone();
        state.ports.retain(|kept| kept.port.name != *name || kept.port.netns != *netns);
        if state != tables.state {
            self.state_file.save(&state).map_err(|error| not_kept(&error))?;
            tables.state = state;
        }
        let entry = tables.bridge_mut(&bridge)?;
        let mut done = Done { message: format!("port {name} deleted from {bridge}"), warnings: Vec::new() };
        if let Some(port) = entry.ports.remove(&key) {
            if port.origin == Origin::Config {
                done.warnings.push(self.comes_back(&format!("port {name}")));
            }
            self.let_go(entry, port);
        }
        Ok(done)
    }

    /// Adds a port that is wanted whether its device is there or not.
    pub(super) fn want(&self, entry: &mut Entry, spec: &PortSpec, origin: Origin) {
        let mut port = Port { spec: spec.clone(), origin, live: Weak::new(), problem: None };
        self.try_attach(entry, &mut port);
        entry.ports.insert(key_of(spec), port);
    }

    /// Tries to make a pending port live. What is in the way is kept, and logged once.
    pub(super) fn try_attach(&self, entry: &Entry, port: &mut Port) {
        let (bridge, name) = (&entry.spec.name, &port.spec.name);
        match self.attach(entry, &port.spec) {
            Ok(live) => {
                tracing::info!(%bridge, port = %name, number = live.port_no(), "port attached");
                (port.live, port.problem) = (Arc::downgrade(&live), None);
            }
            Err(problem) => {
                if port.problem.as_ref() != Some(&problem) {
                    tracing::warn!(%bridge, port = %name, "port waits: {problem}");
                }
                port.problem = Some(problem);
            }
        }
    }

    /// Tries all pending ports whose device might be there now.
    pub(crate) fn retry(&self, keys: &dyn Fn(&PortKey) -> bool) {
        let mut tables = self.lock();
        for entry in tables.bridges.values_mut() {
            let mut ports = std::mem::take(&mut entry.ports);
            for (_, port) in ports.iter_mut().filter(|(key, port)| port.live().is_none() && keys(key)) {
                self.try_attach(entry, port);
            }
            entry.ports = ports;
        }
    }

    /// Makes a port of the switch and tells the bridge.
    fn attach(&self, entry: &Entry, spec: &PortSpec) -> Result<Arc<Vport>, Failure> {
        let registry = self.switch.registry();
        let number = types::number(registry, &spec.port_type)?;
        let options = if spec.options.is_empty() {
            Vec::new()
        } else {
            types::encode(&types::description(registry, number)?, &spec.options)?
        };
        let netns = spec.netns.as_deref().map(resolve).transpose()?;
        // Before the device is looked for: what happens to it from now on is heard of.
        if let Some(netns) = &netns {
            self.watch(netns);
        }
        let request = PortRequest { options, netns, ..PortRequest::new(port_name(&spec.name)?, number) };
        let live = self
            .switch
            .port_add(&entry.datapath, &request)
            .map_err(|error| port_failure(spec, &entry.spec.name, &error))?;
        bring_up(&live, request.netns.as_ref().unwrap_or(entry.datapath.netns()));
        let settings = PortSettings { vlan: port_vlan(&spec.vlans), may_loop: live.ifindex() != 0 };
        self.switching.port_add(&entry.datapath, live.port_no(), settings);
        self.switching.port_set_link(&entry.datapath, live.port_no(), is_link_up(&live));
        Ok(live)
    }

    /// Takes a port out of the switch.
    pub(super) fn detach(&self, entry: &Entry, live: Arc<Vport>) {
        let port_no = live.port_no();
        self.switching.port_del(&entry.datapath, port_no);
        // The last reference is the switch's: when it answers, the port is destroyed.
        drop(live);
        if let Err(error) = self.switch.port_del(&entry.datapath, port_no) {
            // The device went first.
            tracing::debug!(bridge = %entry.spec.name, "{error}");
        }
    }

    /// Ends a wanted port.
    pub(super) fn let_go(&self, entry: &Entry, port: Port) {
        let live = port.live();
        let spec = port.spec;
        if let Some(live) = live {
            self.detach(entry, live);
        }
        tracing::info!(bridge = %entry.spec.name, port = %spec.name, "port deleted");
    }

    /// The vport of a port, or of a bridge's own one.
    pub(crate) fn live_port(&self, key: &PortKey) -> Result<Arc<Vport>, Failure> {
        let tables = self.lock();
        let own = tables.bridges.get(&key.1).filter(|_| key.0.is_none());
        let port = tables.find(key).and_then(|(entry, key)| entry.ports.get(&key));
        let live = match (own, port) {
            (Some(entry), _) => entry.datapath.port(0),
            (None, Some(port)) => port.live(),
            (None, None) => return self.other_port(key).ok_or_else(|| no_port(&tables, key)),
        };
        live.ok_or_else(|| {
            Failure::new(FailureKind::NotFound, format!("port {:?} waits for its device", key.1))
        })
    }

    /// Whether a port of that name may be added to that bridge.
    fn check_free(&self, tables: &Tables, bridge: &str, spec: &PortSpec) -> Result<(), Failure> {
        tables.bridge(bridge)?;
        let key = key_of(spec);
        if let Some(other) = tables.bridge_of(&key) {
            let message = format!("port {:?} is already in bridge {}", spec.name, other.spec.name);
            let del = format!("delete it first: portway port del {}", spec.name);
            return Err(Failure::new(FailureKind::Exists, message).remedy(del));
        }
        if spec.netns.is_none() && tables.bridges.contains_key(&spec.name) {
            let message = format!("{:?} is a bridge", spec.name);
            let remedy = "to connect two bridges, use a pair of veth devices";
            return Err(Failure::new(FailureKind::Exists, message).remedy(remedy));
        }
        Ok(())
    }
}

/// The failure of naming a port that is not there.
pub(super) fn no_port(tables: &Tables, (netns, name): &PortKey) -> Failure {
    if tables.bridges.contains_key(name) && netns.is_none() {
        return Failure::new(FailureKind::BadRequest, format!("{name:?} is the own port of bridge {name}"))
            .remedy(format!("delete the bridge: portway bridge del {name}"));
    }
    let place = netns.as_deref().map(|netns| format!(" in namespace {netns}")).unwrap_or_default();
    let keys = || tables.bridges.values().flat_map(|entry| entry.ports.keys());
    let elsewhere = keys().find(|(_, other)| other == name).and_then(|(netns, _)| netns.as_deref());
    let remedy = match (elsewhere, crate::config::meant(name, keys().map(|(_, name)| name.as_str()))) {
        (Some(netns), _) => format!("there is one in namespace {netns}: add --netns {netns}"),
        (None, Some(meant)) if meant != name => format!("did you mean {meant:?}?"),
        (None, _) => "see `portway port list`".to_owned(),
    };
    Failure::new(FailureKind::NotFound, format!("there is no port {name:?}{place}")).remedy(remedy)
}

/// The failure of deleting a netlink client's port.
fn not_ours(name: &str) -> Failure {
    Failure::new(
        FailureKind::Denied,
        format!("port {name:?} was added by a netlink client and is its to delete"),
    )
    .remedy("delete it with the program that added it, for example: portway wrap -- ovs-dpctl del-if DATAPATH PORT")
}

/// What the config file's reader checks, for requests.
fn check(spec: &PortSpec) -> Result<(), Failure> {
    let bad =
        |message: String, remedy: &str| Err(Failure::new(FailureKind::BadRequest, message).remedy(remedy));
    let vlans = &spec.vlans;
    let ids = vlans.access.iter().chain(&vlans.trunk).chain(&vlans.native);
    if let Some(id) = ids.clone().find(|id| !(1..=portway_bridge::VLAN_MAX).contains(*id)) {
        return bad(format!("{id} is not a VLAN id"), "give a number from 1 to 4094");
    }
    if vlans.access.is_some() && (!vlans.trunk.is_empty() || vlans.native.is_some()) {
        return bad("a port is an access port or a trunk".to_owned(), "leave out the one or the other");
    }
    port_name(&spec.name).map(drop)
}

/// The namespace that a user named.
pub(crate) fn resolve(netns: &str) -> Result<Netns, Failure> {
    let missing = |error: &dyn std::fmt::Display| {
        Failure::new(FailureKind::NotFound, format!("there is no network namespace {netns:?}: {error}"))
            .remedy("see `ip netns list`, or give a path like /proc/PID/ns/net")
    };
    let found = portway_netwatch::Netns::resolve(netns).map_err(|error| missing(&error))?;
    let handle = found.as_fd().try_clone_to_owned().map_err(|error| missing(&error))?;
    Ok(Netns::new(found.id(), Some(Arc::new(handle))))
}
