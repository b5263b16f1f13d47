// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The namespaces of a scenario, and the names of their devices.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;

use anyhow::{Context, Result};
use portway_netwatch::Netns;
use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};

/// A namespace with what is needed to ask it.
struct Space {
    netns: Netns,
    probe: OwnedFd,
}

/// All namespaces of a scenario; "" is the one that it runs in.
pub(crate) struct Spaces {
    spaces: HashMap<String, Space>,
    /// Names that devices had, by namespace and index.
    names: HashMap<(String, u32), String>,
    /// Indexes that names had, as "namespace/device".
    indexes: HashMap<String, u32>,
}

/// A device's namespace and name, from "ns/dev" or "dev".
pub(crate) fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('/').unwrap_or(("", name))
}

impl Spaces {
    /// The namespace that we are in, made quiet.
    pub(crate) fn new() -> Result<Self> {
        let mut spaces = Self { spaces: HashMap::new(), names: HashMap::new(), indexes: HashMap::new() };
        spaces.enter("", Netns::current()?)?;
        Ok(spaces)
    }

    fn enter(&mut self, name: &str, netns: Netns) -> Result<()> {
        let probe = netns
            .run(|| socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None))??;
        self.spaces.insert(name.into(), Space { netns, probe });
        self.run(name, quiet)??;
        Ok(())
    }

    /// Makes a namespace of that name.
    pub(crate) fn add(&mut self, name: &str) -> Result<()> {
        let made = Command::new("ip").args(["netns", "add", name]).status()?;
        anyhow::ensure!(made.success(), "ip netns add {name}: {made}");
        self.enter(name, Netns::by_name(name)?)
    }

    /// Removes a namespace.
    pub(crate) fn remove(&mut self, name: &str) -> Result<()> {
        self.spaces.remove(name);
        let removed = Command::new("ip").args(["netns", "del", name]).status()?;
        anyhow::ensure!(removed.success(), "ip netns del {name}: {removed}");
        Ok(())
    }

    fn space(&self, name: &str) -> Result<&Space> {
        self.spaces.get(name).with_context(|| format!("no namespace {name}"))
    }

    /// The namespace of that name.
    pub(crate) fn netns(&self, name: &str) -> Result<&Netns> {
        Ok(&self.space(name)?.netns)
    }

    /// Runs `job` in a namespace.
    pub(crate) fn run<T: Send>(&self, name: &str, job: impl FnOnce() -> T + Send) -> Result<T> {
        Ok(self.space(name)?.netns.run(job)?)
    }

    /// The index of a device, or the last one that it had.
    pub(crate) fn ifindex(&mut self, name: &str) -> Result<u32> {
        let (space, device) = split(name);
        match netdevice::name_to_index(self.space(space)?.probe.as_fd(), device) {
            Ok(index) => {
                self.remember(space, index, device);
                Ok(index)
            }
            Err(_) => self.indexes.get(name).copied().with_context(|| format!("no device {name}")),
        }
    }

    fn remember(&mut self, space: &str, index: u32, device: &str) {
        self.names.insert((space.into(), index), device.into());
        let full = if space.is_empty() { device.to_owned() } else { format!("{space}/{device}") };
        self.indexes.insert(full, index);
    }

    /// The name of a device, or the last one that it had.
    pub(crate) fn ifname(&mut self, space: &str, index: u32) -> Option<String> {
        let now = self.space(space).ok()?;
        if let Ok(device) = netdevice::index_to_name(now.probe.as_fd(), index) {
            self.remember(space, index, &device);
        }
        self.names.get(&(space.into(), index)).cloned()
    }

    /// Remembers the names that devices have now: they may be gone when they are asked for.
    pub(crate) fn remember_all(&mut self) {
        let Ok(text) = std::fs::read_to_string("/proc/thread-self/net/dev") else { return };
        for line in text.lines().skip(2) {
            if let Some((device, _)) = line.trim().split_once(':') {
                let _ = self.ifindex(device);
            }
        }
    }
}

/// Keeps a namespace from sending frames of its own.
fn quiet() -> Result<()> {
    for group in ["all", "default"] {
        for (key, value) in [("disable_ipv6", "1"), ("addr_gen_mode", "1"), ("accept_dad", "0")] {
            // A host without IPv6 has none of these, and sends nothing either.
            let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{group}/{key}"), value);
        }
    }
    let _ = std::fs::write("/proc/sys/net/ipv6/conf/all/mldv1_unsolicited_report_interval", "0");
    Command::new("ip").args(["link", "set", "lo", "up"]).status()?;
    Ok(())
}
