// SPDX-License-Identifier: Apache-2.0 OR MIT
//! New flows: stock `ovs-vswitchd` on Portway, and on its own userspace datapath, with the same rules and the same traffic. Every
//! datagram is the first of its flow, so each goes to user space, is looked at, and comes back.

use super::hosts::{PORTS, Pair};
use super::peers::{Peer, number};
use super::row::{Goal, Row, last};
use super::run::Bench;
use crate::process;
use crate::product::{Switch, program};
use crate::world::{Daemon, RUN_DIR};
use anyhow::Result;
use std::path::Path;

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

/// Exchanges under way at a time: enough for either datapath to have full batches.
const WINDOW: u32 = 256;
/// Beyond the exchanges of the measurement before, so that flows are new again.
const LONE_FROM: u32 = 600_000;

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
        let pick = |all: &[Figures]| {
            all.iter().map(|one| if is_setup { one.flows } else { one.wait_us }).collect::<Vec<_>>()
        };
        let unit = if is_setup { "flows/s" } else { "us" };
        let measured =
            measured.as_ref().map(|(ours, theirs)| (pick(ours), Some(("OVS userspace", pick(theirs)))));
        rows.push(Row::new(name, what, unit, goal, measured));
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
        let flows = |all: &[Figures]| last(&all.iter().map(|one| one.flows).collect::<Vec<_>>());
        bench.tell(&format!(
            "flow-setup round {round}: portway {}, OVS userspace {} flows/s",
            flows(&ours),
            flows(&theirs)
        ));
    }
    Ok((ours, theirs))
}

/// Measures with a kind of datapath; all is gone afterwards.
fn through(bench: &Bench, kind: &str) -> Result<Figures> {
    let hosts = Pair::new()?;
    hosts.leave_nothing_to_others()?;
    let wrap = match kind {
        "system" => format!("{} wrap --", program("portway").display()),
        _ => String::new(),
    };
    let _vswitchd = Peer::up_behind(&wrap, "ovs-flows.sh", &[kind, PORTS[0], PORTS[1]])?;
    hosts.meet()?;
    let many = exchange(&hosts, bench.seconds(), WINDOW, 0)?;
    let flows = number(&many, "flows_per_second")?;
    let single = exchange(&hosts, bench.seconds().div_ceil(2), 1, LONE_FROM)?;
    let wait_us = number(&single, "median_us")?;
    Ok(Figures { flows, wait_us })
}

/// Exchanges datagrams, so many at a time. `first`: the number of the first exchange; each has ports of its own.
fn exchange(hosts: &Pair, seconds: u32, window: u32, first: u32) -> Result<String> {
    let bench = program("portway-bench").display().to_string();
    let log = Path::new(RUN_DIR).join("answer.log");
    let _answer = Daemon::start(hosts.two.command(&bench).args(["answer", "eth0"]), &log)?;
    let (seconds, window, first) = (seconds.to_string(), window.to_string(), first.to_string());
    let mut ask = hosts.one.command(&bench);
    ask.args(["ask", "eth0", &hosts.one.address, &hosts.two.address]);
    ask.args(["--seconds", &seconds, "--window", &window, "--first", &first]);
    process::capture(&mut ask)
}
