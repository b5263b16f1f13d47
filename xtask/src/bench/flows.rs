// SPDX-License-Identifier: Apache-2.0 OR MIT
//! New flows: stock `ovs-vswitchd` on Portway, and on its own userspace datapath, with the same rules and the same traffic. Every
//! datagram is the first of its flow, so each goes to user space, is looked at, and comes back.

use super::peers::number;
use super::row::{Goal, Row, figure};
use super::run::Bench;
use crate::process;
use crate::product::{Switch, program};
use crate::workspace;
use crate::world::{Daemon, Host, RUN_DIR};
use anyhow::Result;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const SETUP: (&str, &str, Goal) = (
    "flow-setup",
    "new flows through stock ovs-vswitchd, against its own userspace datapath",
    Goal::AtLeast { bar: 1.0, aim: 2.0 },
);
const LATENCY: (&str, &str, Goal) = (
    "flow-latency",
    "what a flow's first packet waits for stock ovs-vswitchd, one at a time",
    Goal::Reported { aim: 1.0 },
);
const PORTS: [&str; 2] = ["sw1", "sw2"];

/// What one side did.
struct Figures {
    flows: f64,
    wait_us: f64,
}

/// Adds the rows `flow-setup` and `flow-latency`.
pub(super) fn measure(bench: &Bench, rows: &mut Vec<Row>) -> Result<()> {
    let wanted: Vec<_> = [SETUP, LATENCY].into_iter().filter(|(name, _, _)| bench.wants(name)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let measured = rounds(bench);
    for (name, what, goal) in wanted {
        let is_setup = name == SETUP.0;
        rows.push(match &measured {
            Ok((ours, theirs)) => {
                let pick = |all: &[Figures]| {
                    all.iter().map(|one| if is_setup { one.flows } else { one.wait_us }).collect()
                };
                Row {
                    name: name.to_owned(),
                    what: what.to_owned(),
                    unit: if is_setup { "flows/s" } else { "us" },
                    ours: pick(ours),
                    peer: Some(("OVS userspace", pick(theirs))),
                    goal,
                    trouble: None,
                }
            }
            Err(error) => Row::troubled(name, what, goal, error),
        });
    }
    Ok(())
}

/// The names of the rows, all of which need the daemon and OVS.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    [SETUP.0, LATENCY.0].into_iter()
}

fn rounds(bench: &Bench) -> Result<(Vec<Figures>, Vec<Figures>)> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=bench.rounds() {
        if !bench.peers_only() {
            let switch = Switch::start("", 0)?;
            ours.push(through(bench, "system")?);
            switch.stop()?;
        }
        theirs.push(through(bench, "netdev")?);
        let last = |all: &[Figures]| all.last().map_or_else(|| "-".to_owned(), |last| figure(last.flows));
        bench.tell(&format!(
            "flow-setup round {round}: portway {}, OVS userspace {} flows/s",
            last(&ours),
            last(&theirs)
        ));
    }
    Ok((ours, theirs))
}

/// `ovs-vswitchd` between two hosts.
struct Vswitchd;

impl Vswitchd {
    fn up(kind: &str) -> Result<Self> {
        let vswitchd = Self;
        let wrap = match kind {
            "system" => format!("{} wrap --", program("portway").display()),
            _ => String::new(),
        };
        process::capture(script().args(["up", kind]).args(PORTS).env("WRAP", wrap))?;
        Ok(vswitchd)
    }
}

impl Drop for Vswitchd {
    fn drop(&mut self) {
        let _ = process::capture(script().arg("down"));
    }
}

fn script() -> Command {
    let mut command = Command::new("bash");
    command.arg(workspace::root().join("bench/peers/ovs-flows.sh"));
    command
}

/// Measures with a kind of datapath; all is gone afterwards.
fn through(bench: &Bench, kind: &str) -> Result<Figures> {
    let hosts = Hosts::new()?;
    let vswitchd = Vswitchd::up(kind)?;
    hosts.one.ping(&hosts.two, 3)?;
    let many = hosts.exchange(bench.seconds(), 64)?;
    let flows = number(&many, "flows_per_second")?;
    let single = hosts.exchange(bench.seconds().div_ceil(2), 1)?;
    let wait_us = number(&single, "median_us")?;
    drop(vswitchd);
    Ok(Figures { flows, wait_us })
}

struct Hosts {
    one: Host,
    two: Host,
}

impl Hosts {
    fn new() -> Result<Self> {
        let hosts = Self { one: Host::on_veth(1, "fh1", PORTS[0])?, two: Host::on_veth(2, "fh2", PORTS[1])? };
        hosts.one.knows(&hosts.two)?;
        hosts.two.knows(&hosts.one)?;
        // The peer's datapath does not complete checksums that a veth device leaves to others.
        for host in [&hosts.one, &hosts.two] {
            process::capture(host.command("ethtool").args(["-K", "eth0", "tx", "off"]))?;
        }
        Ok(hosts)
    }

    /// Exchanges datagrams, so many at a time.
    fn exchange(&self, seconds: u32, window: u32) -> Result<String> {
        let bench = program("portway-bench").display().to_string();
        let log = Path::new(RUN_DIR).join("answer.log");
        let mut answer = Daemon::start(self.two.command(&bench).args(["answer", &self.two.address]), &log)?;
        let listening = || {
            let sockets = process::capture(self.two.command("ss").args(["-Hlun"]));
            sockets.is_ok_and(|text| text.lines().count() >= 900)
        };
        answer.wait_until(Duration::from_secs(10), listening)?;
        let (seconds, window) = (seconds.to_string(), window.to_string());
        let mut ask = self.one.command(&bench);
        ask.args(["ask", &self.one.address, &self.two.address, "--seconds", &seconds, "--window", &window]);
        process::capture(&mut ask)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        // The devices first: a namespace's own go at the kernel's leisure, and the next round uses the names again.
        for port in PORTS {
            let _ = process::capture(Command::new("ip").args(["link", "del", port]));
        }
        for host in [&self.one, &self.two] {
            let _ = process::capture(Command::new("ip").args(["netns", "del", &host.name]));
        }
    }
}
