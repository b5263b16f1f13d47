// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What becomes of devices, and what that means for their ports.

use std::sync::{Arc, PoisonError, Weak};

use portway_api::{Failure, FailureKind};
use portway_datapath::{Datapath, Event as SwitchEvent, Netns};
use portway_netwatch::{Change, Event, Link};
use portway_vport::{NetnsId, PortName, Vport};

use super::{Control, Entry, PortKey, Tables};

/// The number of the type whose ports make their device themselves.
const TYPE_INTERNAL: u32 = 2;

/// Whose device it is.
enum Owner {
    /// The bridge's own port.
    Own,
    /// A port.
    Port(PortKey),
    /// A port that a netlink client added.
    Other(u32),
}

impl Control {
    /// Hears of a namespace's devices from now on.
    pub(super) fn watch(&self, netns: &Netns) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if !watched.insert(netns.id()) {
            return;
        }
        let handle = match netns.as_fd() {
            Some(fd) => portway_netwatch::Netns::from_borrowed(fd),
            None => portway_netwatch::Netns::current(),
        };
        if let Err(error) = handle.and_then(|netns| self.watcher.watch(&netns)) {
            watched.remove(&netns.id());
            tracing::error!(netns = %netns.id(), "cannot follow devices: {error}");
        }
    }

    /// Follows one change.
    pub(crate) fn device_event(&self, event: &Event) {
        tracing::debug!(?event, "device");
        let netns = event.netns;
        match &event.what {
            Change::Appeared(link) => {
                self.device_came_home(netns, link);
                self.retry(&|(_, name)| *name == link.name);
            }
            Change::Gone { ifindex, name } => self.device_gone(netns, *ifindex, name, false),
            Change::MovedAway { ifindex, name } => self.device_gone(netns, *ifindex, name, true),
            Change::Renamed { ifindex, name, new_name } => {
                self.device_renamed(netns, *ifindex, name, new_name);
                self.retry(&|(_, name)| name == new_name);
            }
            Change::Mtu { ifindex, mtu: _ }
            | Change::Address { ifindex, mac: _ }
            | Change::Link { ifindex, is_up: _ } => self.device_changed(netns, *ifindex),
            Change::NamespaceGone => self.namespace_gone(netns),
            Change::Elsewhere => self.refresh_moved(),
        }
    }

    /// The device of an internal port may have been moved back.
    fn device_came_home(&self, netns: NetnsId, link: &Link) {
        let mut tables = self.lock();
        tables.moved.retain(|port| {
            let Some(port) = port.upgrade().filter(|port| port.netns() == netns) else { return true };
            self.switch.port_refresh(&port);
            port.ifindex() != link.index || port.name().as_bytes() != link.name.as_bytes()
        });
    }

    fn device_gone(&self, netns: NetnsId, ifindex: u32, name: &str, has_moved: bool) {
        let mut tables = self.lock();
        let Some((bridge, owner)) = owner(&tables, netns, ifindex) else { return };
        if let Some(live) = live(&tables, &bridge, &owner)
            && has_moved
            && live.port_type() == TYPE_INTERNAL
        {
            tables.moved.push(Arc::downgrade(&live));
        }
        let Some(entry) = tables.bridges.get_mut(&bridge) else { return };
        match owner {
            // It is the port's own, wherever it lives.
            Owner::Own if has_moved => {}
            Owner::Own => match self.switch.local_port_renew(&entry.datapath) {
                Ok(()) => {
                    if let Some(port) = entry.datapath.port(0) {
                        bring_up(&port, entry.datapath.netns());
                    }
                    tracing::warn!(
                        bridge,
                        "somebody deleted the bridge's own device {name}; it was made anew, without its IP addresses"
                    );
                }
                Err(error) => tracing::error!(
                    bridge,
                    "somebody deleted the bridge's own device {name}, and it cannot be made anew: {error}"
                ),
            },
            Owner::Other(port_no) => {
                if let Some(port) =
                    entry.datapath.port(port_no).filter(|port| port.port_type() != TYPE_INTERNAL)
                {
                    self.switch.port_detach(&port);
                }
            }
            Owner::Port(key) => {
                let what = if has_moved { "moved to another namespace" } else { "was deleted" };
                let is_internal = is_internal(entry, &key);
                if !(has_moved && is_internal) {
                    self.lose(entry, &key, &format!("device {name:?} {what}"));
                }
                if let (false, true) = (has_moved, is_internal)
                    && let Some(mut port) = entry.ports.remove(&key)
                {
                    self.try_attach(entry, &mut port);
                    entry.ports.insert(key, port);
                }
            }
        }
    }

    fn device_renamed(&self, netns: NetnsId, ifindex: u32, name: &str, new_name: &str) {
        let tables = self.lock();
        let live = owner(&tables, netns, ifindex).and_then(|(bridge, owner)| live(&tables, &bridge, &owner));
        let (Some(live), Some(new)) = (live, PortName::new(new_name.as_bytes())) else { return };
        match self.switch.port_rename(&live, new) {
            Ok(()) => tracing::info!("device {name} is called {new_name} now"),
            Err(error) => tracing::error!("device {name} is called {new_name} now, its port is not: {error}"),
        }
    }

    fn device_changed(&self, netns: NetnsId, ifindex: u32) {
        let tables = self.lock();
        let Some((bridge, owner)) = owner(&tables, netns, ifindex) else { return };
        let (Some(live), Some(entry)) = (live(&tables, &bridge, &owner), tables.bridges.get(&bridge)) else {
            return;
        };
        self.switch.port_refresh(&live);
        self.switching.port_set_link(&entry.datapath, live.port_no(), is_link_up(&live));
    }

    fn namespace_gone(&self, netns: NetnsId) {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).remove(&netns);
        if netns == self.netns.id() {
            return;
        }
        let mut tables = self.lock();
        for entry in tables.bridges.values_mut() {
            let in_it = |(key, port): (&PortKey, &super::Port)| {
                port.live().is_some_and(|live| live.netns() == netns).then(|| key.clone())
            };
            let keys: Vec<PortKey> = entry.ports.iter().filter_map(in_it).collect();
            for key in keys {
                self.lose(entry, &key, "its network namespace is gone");
            }
        }
    }

    /// A port loses its device: it waits for it from now on.
    fn lose(&self, entry: &mut Entry, key: &PortKey, why: &str) {
        let live = entry.ports.get_mut(key).and_then(|port| {
            port.problem = Some(Failure::new(FailureKind::NotFound, why));
            port.live()
        });
        if let Some(live) = live {
            tracing::warn!(bridge = %entry.spec.name, port = %key.1, "port detached: {why}");
            self.detach(entry, live);
        }
    }

    /// Follows a change of the switch that somebody else made: a client of the netlink families. This daemon's own changes are in the
    /// tables already when their event is read.
    pub(crate) fn switch_event(&self, event: &SwitchEvent) {
        let mut tables = self.lock();
        match event {
            SwitchEvent::DatapathAdded(_) => {}
            SwitchEvent::DatapathRemoved(datapath) => {
                let Some(entry) = bridge_with(&mut tables, datapath) else { return };
                let name = entry.spec.name.clone();
                tracing::warn!(bridge = %name, "somebody else deleted the bridge's datapath");
                self.switching.remove(datapath);
                tables.bridges.remove(&name);
            }
            SwitchEvent::PortAdded { datapath, port } => {
                let (Some(entry), Some(port)) = (bridge_with(&mut tables, datapath), port.upgrade()) else {
                    return;
                };
                if port.is_alive() && self.switching.port_join(datapath, port.port_no()) {
                    tracing::info!(bridge = %entry.spec.name, port = %port.name(), "a netlink client added a port");
                }
            }
            SwitchEvent::PortRemoved { datapath, port_no, name, port_type: _, last: _ } => {
                let Some(entry) = bridge_with(&mut tables, datapath) else { return };
                // Another port may have the number by now.
                if entry.datapath.port(*port_no).is_none() {
                    self.switching.port_del(datapath, *port_no);
                }
                if let Some(port) = lost_port(entry, &name.to_string()) {
                    tracing::warn!(port = %name, "a netlink client deleted the port");
                    port.problem = Some(Failure::new(FailureKind::NotFound, "a netlink client deleted it"));
                }
            }
            SwitchEvent::PortChanged { datapath, port } => {
                let Some(port) = port.upgrade() else { return };
                self.switching.port_set_link(datapath, port.port_no(), is_link_up(&port));
            }
        }
    }

    /// Whether something has to be looked at now and then because nothing tells of it: ports wait for namespaces, or internal ports are
    /// in others.
    pub(crate) fn must_look(&self) -> bool {
        let tables = self.lock();
        let mut ports = tables.bridges.values().flat_map(|entry| &entry.ports);
        !tables.moved.is_empty() || ports.any(|((netns, _), port)| netns.is_some() && port.live().is_none())
    }

    /// Looks at it.
    pub(crate) fn look(&self) {
        self.retry(&|(netns, _)| netns.is_some());
        self.refresh_moved();
    }

    fn refresh_moved(&self) {
        let moved: Vec<_> = {
            let mut tables = self.lock();
            tables.moved.retain(|port| port.upgrade().is_some_and(|port| port.is_alive()));
            tables.moved.iter().filter_map(Weak::upgrade).collect()
        };
        moved.iter().for_each(|port| self.switch.port_refresh(port));
    }
}

fn bridge_with<'t>(tables: &'t mut Tables, datapath: &Arc<Datapath>) -> Option<&'t mut Entry> {
    tables.bridges.values_mut().find(|entry| Arc::ptr_eq(&entry.datapath, datapath))
}

/// Whether frames may be flooded to a port. An internal one's device may be moved to a namespace that nobody watches; whether it is
/// up there is between it and its user.
pub(super) fn is_link_up(port: &Vport) -> bool {
    port.port_type() == TYPE_INTERNAL || port.info().link_up != 0
}

/// Brings up the device that an internal port has made: a bridge's are there to be used.
pub(super) fn bring_up(port: &Vport, netns: &Netns) {
    if port.port_type() != TYPE_INTERNAL {
        return;
    }
    let handle = match netns.as_fd() {
        Some(fd) => portway_netwatch::Netns::from_borrowed(fd),
        None => portway_netwatch::Netns::current(),
    };
    let up = handle.and_then(|netns| portway_netwatch::Links::open_in(&netns)?.set_up(port.ifindex()));
    if let Err(error) = up {
        tracing::warn!(port = %port.name(), "its device cannot be brought up: {error}");
    }
}

/// A port of that name that was deleted behind this daemon's back.
fn lost_port<'e>(entry: &'e mut Entry, name: &str) -> Option<&'e mut super::Port> {
    let is_lost = |port: &super::Port| port.live().is_none() && port.problem.is_none();
    let elsewhere = entry.ports.range((Some(String::new()), String::new())..);
    let mut elsewhere =
        elsewhere.filter(|((_, other), port)| other == name && is_lost(port)).map(|(key, _)| key.clone());
    let key = elsewhere.next().unwrap_or_else(|| (None, name.to_owned()));
    entry.ports.get_mut(&key).filter(|port| is_lost(port))
}

/// Whose device it is. A look at every port: devices change rarely.
fn owner(tables: &Tables, netns: NetnsId, ifindex: u32) -> Option<(String, Owner)> {
    // An interface index counts within a namespace.
    let has_moved = |port: &Vport| tables.moved.iter().any(|moved| std::ptr::eq(moved.as_ptr(), port));
    let is_it = |port: &Vport| port.ifindex() == ifindex && port.netns() == netns && !has_moved(port);
    tables.bridges.iter().find_map(|(name, entry)| {
        if entry.datapath.port(0).is_some_and(|own| is_it(&own)) {
            return Some((name.clone(), Owner::Own));
        }
        let mut ports = entry.ports.iter();
        if let Some((key, _)) = ports.find(|(_, port)| port.live().is_some_and(|live| is_it(&live))) {
            return Some((name.clone(), Owner::Port(key.clone())));
        }
        let other = entry.datapath.ports().into_iter().find(|port| is_it(port))?;
        Some((name.clone(), Owner::Other(other.port_no())))
    })
}

fn live(tables: &Tables, bridge: &str, owner: &Owner) -> Option<Arc<Vport>> {
    let entry = tables.bridges.get(bridge)?;
    match owner {
        Owner::Own => entry.datapath.port(0),
        Owner::Port(key) => entry.ports.get(key)?.live(),
        Owner::Other(port_no) => entry.datapath.port(*port_no),
    }
}

fn is_internal(entry: &Entry, key: &PortKey) -> bool {
    let live = entry.ports.get(key).and_then(super::Port::live);
    live.is_some_and(|live| live.port_type() == TYPE_INTERNAL)
}
