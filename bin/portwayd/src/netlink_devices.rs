// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What becomes of the devices behind ports that netlink clients have added: a port whose device is deleted or moved to another
//! namespace is detached, one whose device is renamed follows it. Bridges look after their own ports.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::thread;

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, select};
use portway_datapath::{Datapath, Event, Switch};
use portway_netlink_server::Handle;
use portway_netwatch::{Change, Event as DeviceEvent, Netns, WatchHandle, Watcher};
use portway_uapi::openvswitch::OVS_VPORT_TYPE_NETDEV;
use portway_vport::{NetnsId, PortName, Vport};

use crate::switching::Switching;

struct Devices {
    switch: Arc<Switch>,
    switching: Arc<Switching>,
    watch: WatchHandle,
    netlink: Handle,
    /// Datapaths by namespace.
    watched: HashMap<NetnsId, usize>,
    /// Internal ports whose device was moved to another namespace.
    moved: Vec<Weak<Vport>>,
}

/// Starts the threads that follow devices. `lost`: ports whose device a worker found gone.
pub(crate) fn start(
    switch: &Arc<Switch>,
    switching: &Arc<Switching>,
    netlink: Handle,
    lost: Receiver<Weak<Vport>>,
) -> Result<()> {
    let (watcher, watch, devices) = Watcher::new().context("cannot follow network devices")?;
    let changes = switch.subscribe();
    let follow = Devices {
        switch: Arc::clone(switch),
        switching: Arc::clone(switching),
        watch,
        netlink,
        watched: HashMap::new(),
        moved: Vec::new(),
    };
    let run = move || {
        if let Err(error) = watcher.run() {
            tracing::error!("devices of netlink clients are no longer followed: {error}");
        }
    };
    thread::Builder::new().name("nl-watch".to_owned()).spawn(run)?;
    thread::Builder::new()
        .name("nl-devices".to_owned())
        .spawn(move || follow.run(&changes, &devices, &lost))?;
    Ok(())
}

impl Devices {
    fn run(
        mut self,
        changes: &Receiver<Event>,
        devices: &Receiver<DeviceEvent>,
        lost: &Receiver<Weak<Vport>>,
    ) {
        loop {
            // Whatever changes by other ways than its own requests, the netlink server tells its clients of.
            self.netlink.wake();
            select! {
                recv(changes) -> change => match change {
                    Ok(Event::DatapathAdded(datapath)) => self.watch(&datapath),
                    Ok(Event::DatapathRemoved(datapath)) => self.unwatch(datapath.netns().id()),
                    Ok(Event::PortAdded { .. } | Event::PortRemoved { .. } | Event::PortChanged { .. }) => {}
                    Err(_) => return,
                },
                recv(devices) -> event => match event {
                    Ok(event) => self.device(&event),
                    Err(_) => return,
                },
                recv(lost) -> port => match port {
                    Ok(port) => self.lose(&port),
                    Err(_) => return,
                },
            }
        }
    }

    fn watch(&mut self, datapath: &Datapath) {
        let count = self.watched.entry(datapath.netns().id()).or_default();
        *count += 1;
        if *count > 1 {
            return;
        }
        if let Err(error) = namespace(datapath).and_then(|netns| self.watch.watch(&netns)) {
            tracing::error!(datapath = %datapath.name(), "its devices are not followed: {error}");
        }
    }

    fn unwatch(&mut self, netns: NetnsId) {
        let Some(count) = self.watched.get_mut(&netns) else { return };
        *count -= 1;
        if *count == 0 {
            self.watched.remove(&netns);
            self.watch.unwatch(netns);
        }
    }

    /// The ports of that device that no bridge looks after.
    fn ports(&self, netns: NetnsId, ifindex: u32) -> Vec<Arc<Vport>> {
        let mut ports = self.switch.devices().list(Some(netns));
        ports.retain(|port| port.ifindex() == ifindex && !self.switching.is_bridge(port.datapath()));
        ports
    }

    /// A port's device has gone. If it had been moved to another namespace, that one has gone, and the port goes with it.
    fn lose(&mut self, port: &Weak<Vport>) {
        self.moved.retain(|moved| moved.strong_count() != 0);
        let was_moved = self.moved.iter().any(|moved| Weak::ptr_eq(moved, port));
        if let Some(port) = port.upgrade().filter(|_| was_moved) {
            self.switch.port_forget(&port);
        }
    }

    fn device(&mut self, event: &DeviceEvent) {
        let netns = event.netns;
        match &event.what {
            Change::Gone { ifindex, .. } | Change::MovedAway { ifindex, .. } => {
                for port in self.ports(netns, *ifindex) {
                    // An internal port lives on without its device, or with its device elsewhere.
                    if port.port_type() == OVS_VPORT_TYPE_NETDEV || port.kind().is_tunnel() {
                        self.switch.port_detach(&port);
                    } else if matches!(event.what, Change::MovedAway { .. }) {
                        self.follow(&port);
                    }
                }
            }
            Change::Renamed { ifindex, new_name, .. } => {
                let Some(name) = PortName::new(new_name.as_bytes()) else { return };
                for port in self.ports(netns, *ifindex) {
                    if let Err(error) = self.switch.port_rename(&port, name) {
                        tracing::warn!(port = %port.name(), "it keeps its name: {error}");
                    }
                }
            }
            Change::Mtu { ifindex, .. } | Change::Address { ifindex, .. } | Change::Link { ifindex, .. } => {
                self.ports(netns, *ifindex).iter().for_each(|port| self.switch.port_refresh(port));
            }
            Change::NamespaceGone => self.namespace_gone(netns),
            // A device that was moved may have come back.
            Change::Elsewhere | Change::Appeared(_) => self.look_elsewhere(netns),
        }
    }

    /// The device of an internal port has been moved. What becomes of it there is heard of from here.
    fn follow(&mut self, port: &Arc<Vport>) {
        let datapaths = self.switch.datapaths();
        let Some(datapath) = datapaths.iter().find(|datapath| datapath.id() == port.datapath()) else {
            return;
        };
        if let Err(error) = namespace(datapath).and_then(|netns| self.watch.watch_elsewhere(&netns)) {
            tracing::warn!(port = %port.name(), "its device is not followed into another namespace: {error}");
        }
        let is_it = |moved: &Weak<Vport>| std::ptr::eq(moved.as_ptr(), Arc::as_ptr(port));
        if !self.moved.iter().any(is_it) {
            self.moved.push(Arc::downgrade(port));
        }
        // What it is now; all later changes are told.
        self.switch.port_refresh(port);
    }

    /// Something became of some device in a namespace that `netns` knows of.
    fn look_elsewhere(&mut self, netns: NetnsId) {
        self.moved.retain(|moved| moved.strong_count() != 0);
        for port in self.moved.iter().filter_map(Weak::upgrade).filter(|port| port.netns() == netns) {
            self.switch.port_refresh(&port);
        }
    }

    /// Nobody but us has the namespace: its datapaths go, and with them what keeps it alive. Bridges are their owner's business.
    fn namespace_gone(&self, netns: NetnsId) {
        for datapath in self.switch.datapaths() {
            if datapath.netns().id() != netns || self.switching.is_bridge(datapath.id()) {
                continue;
            }
            match self.switch.datapath_del(&datapath) {
                Ok(()) => {
                    tracing::info!(datapath = %datapath.name(), "deleted: its network namespace is gone");
                }
                Err(error) => tracing::warn!(datapath = %datapath.name(), "it stays: {error}"),
            }
        }
    }
}

/// The namespace of a datapath.
fn namespace(datapath: &Datapath) -> Result<Netns, portway_netwatch::Error> {
    match datapath.netns().as_fd() {
        Some(fd) => Netns::from_borrowed(fd),
        None => Netns::current(),
    }
}
