// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Two hosts for a switch to stand between.

use super::run::Bench;
use crate::process;
use crate::world::Host;
use anyhow::{Result, bail};
use std::process::Command;

/// The hosts' cables, at the switch.
pub(super) const PORTS: [&str; 2] = ["sw1", "sw2"];

/// Two hosts on veth devices, whose other ends are [`PORTS`]. All is gone afterwards.
pub(super) struct Pair {
    pub(super) one: Host,
    pub(super) two: Host,
}

impl Pair {
    pub(super) fn new() -> Result<Self> {
        let pair = Self { one: Host::on_veth(1, "bh1", PORTS[0])?, two: Host::on_veth(2, "bh2", PORTS[1])? };
        pair.one.knows(&pair.two)?;
        pair.two.knows(&pair.one)?;
        Ok(pair)
    }

    pub(super) fn both(&self) -> [&Host; 2] {
        [&self.one, &self.two]
    }

    /// Has the hosts complete checksums and cut segments themselves, for peers that do not do what a veth device leaves to others.
    pub(super) fn leave_nothing_to_others(&self) -> Result<()> {
        for host in self.both() {
            process::capture(host.command("ethtool").args(["-K", "eth0", "tx", "off"]))?;
        }
        Ok(())
    }

    /// Waits until the hosts reach each other: a switch that has just been started may still lose packets.
    pub(super) fn meet(&self) -> Result<()> {
        let mut answered = 0;
        for _ in 0..10 {
            answered += self.one.ping(&self.two, 3)?;
            if answered >= 3 {
                return Ok(());
            }
        }
        if answered == 0 {
            bail!("the hosts do not reach each other");
        }
        Ok(())
    }

    /// One TCP stream from one to the other, in Gbit/s.
    pub(super) fn stream(&self, bench: &Bench) -> Result<f64> {
        self.meet()?;
        Ok(self.one.stream(&self.two, bench.seconds(), &bench.scratch)?.gbits)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // The devices first: a namespace's own go at the kernel's leisure, and the next round uses the names again.
        for port in PORTS {
            let _ = process::capture(Command::new("ip").args(["link", "del", port]));
        }
        for host in self.both() {
            let _ = process::capture(Command::new("ip").args(["netns", "del", &host.name]));
        }
    }
}
