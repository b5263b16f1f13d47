// SPDX-License-Identifier: Apache-2.0 OR MIT
//! New flows: stock `ovs-vswitchd` on Portway, and on its own userspace datapath, with the same rules and the same traffic. Every
//! datagram is the first of its flow, so each goes to user space, is looked at, and comes back. The rules are one table, or those of OVN.

use super::hosts::{PORTS, Pair};
use super::peers::{Peer, number};
use super::row::{Goal, Row, last};
use super::run::Bench;
use crate::process;
use crate::product::{Switch, program};
use crate::world::{Daemon, RUN_DIR};
use anyhow::{Result, anyhow};
use std::path::Path;

/// One row: what is exchanged, and which figure of it is the row's.
struct Measure {
    name: &'static str,
    what: &'static str,
    unit: &'static str,
    goal: Goal,
    /// The figure's name in the answer of who asks.
    figure: &'static str,
    /// Exchanges under way at a time.
    window: u32,
    /// The number of the first exchange; each has ports of its own, so that flows are new.
    first: u32,
    /// What part of a measurement's seconds it takes: one of so many.
    share: u32,
}

/// Enough exchanges under way for either datapath to have full batches.
const WINDOW: u32 = 256;

const SETUP: Measure = Measure {
    name: "flow-setup",
    what: "new flows through stock ovs-vswitchd, against its own userspace datapath",
    unit: "flows/s",
    goal: Goal::AtLeast { bar: 1.0, aim: 2.0 },
    figure: "flows_per_second",
    window: WINDOW,
    first: 0,
    share: 1,
};
const LATENCY: Measure = Measure {
    name: "flow-latency",
    what: "what a flow's first packet waits for stock ovs-vswitchd, one at a time",
    unit: "us",
    goal: Goal::Reported { aim: 1.0 },
    figure: "median_us",
    window: 1,
    // Beyond the exchanges of the measurement before.
    first: 600_000,
    share: 2,
};
const SETUP_OVN: Measure = Measure {
    name: "flow-setup-ovn",
    what: "new flows through the tables of a stock OVN, against OVS's own userspace datapath",
    ..SETUP
};

/// Whose rules `ovs-vswitchd` follows.
#[derive(Clone, Copy)]
enum Tables {
    /// One table of our own.
    One,
    /// Those of OVN.
    Ovn,
}

impl Tables {
    const ALL: [Self; 2] = [Self::One, Self::Ovn];

    /// What is measured with them, one after the other.
    fn measures(self) -> &'static [Measure] {
        match self {
            Self::One => &[SETUP, LATENCY],
            Self::Ovn => &[SETUP_OVN],
        }
    }

    /// Brings `ovs-vswitchd` up between the hosts.
    fn up(self, wrap: &str, kind: &str, hosts: &Pair) -> Result<Peer> {
        let [one, two] = hosts.both();
        match self {
            Self::One => Peer::up_behind(wrap, "ovs-flows.sh", &[kind, PORTS[0], PORTS[1]]),
            Self::Ovn => {
                let ends = [PORTS[0], &one.mac, &one.address, PORTS[1], &two.mac, &two.address];
                Peer::up_behind(wrap, "ovn-flows.sh", &[&[kind][..], &ends[..]].concat())
            }
        }
    }
}

/// The figures of each round: one for each measure.
type Rounds = Vec<Vec<f64>>;

/// The names of the rows, all of which need the daemon and OVS.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    Tables::ALL.into_iter().flat_map(Tables::measures).map(|measure| measure.name)
}

/// Adds the rows.
pub(super) fn measure(bench: &Bench, rows: &mut Vec<Row>) -> Result<()> {
    for tables in Tables::ALL {
        let measures = tables.measures();
        if !measures.iter().any(|measure| bench.wants(measure.name)) {
            continue;
        }
        let measured = rounds(bench, tables);
        for (at, measure) in measures.iter().enumerate().filter(|(_, measure)| bench.wants(measure.name)) {
            let pick = |rounds: &[Vec<f64>]| rounds.iter().map(|figures| figures[at]).collect();
            let sides = match &measured {
                Ok((ours, theirs)) => Ok((pick(ours), Some(("OVS userspace", pick(theirs))))),
                Err(trouble) => Err(anyhow!("{trouble:#}")),
            };
            rows.push(Row::new(measure.name, measure.what, measure.unit, measure.goal, sides));
        }
    }
    Ok(())
}

/// What was measured on our side, and on the peer's.
fn rounds(bench: &Bench, tables: Tables) -> Result<(Rounds, Rounds)> {
    let (mut ours, mut theirs) = (Rounds::new(), Rounds::new());
    for round in 1..=bench.rounds() {
        if !bench.peers_only() {
            let switch = Switch::start("", 0)?;
            ours.push(through(bench, tables, "system")?);
            switch.stop()?;
        }
        theirs.push(through(bench, tables, "netdev")?);
        let first = &tables.measures()[0];
        let figure = |rounds: &[Vec<f64>]| last(&rounds.iter().map(|figures| figures[0]).collect::<Vec<_>>());
        bench.tell(&format!(
            "{} round {round}: portway {}, OVS userspace {} {}",
            first.name,
            figure(&ours),
            figure(&theirs),
            first.unit
        ));
    }
    Ok((ours, theirs))
}

/// Measures with a kind of datapath; all is gone afterwards.
fn through(bench: &Bench, tables: Tables, kind: &str) -> Result<Vec<f64>> {
    let hosts = Pair::new()?;
    hosts.leave_nothing_to_others()?;
    let wrap = match kind {
        "system" => format!("{} wrap --", program("portway").display()),
        _ => String::new(),
    };
    let _vswitchd = tables.up(&wrap, kind, &hosts)?;
    hosts.meet()?;
    let exchanged = |measure: &Measure| {
        let seconds = bench.seconds().div_ceil(measure.share);
        number(&exchange(&hosts, seconds, measure.window, measure.first)?, measure.figure)
    };
    tables.measures().iter().map(exchanged).collect()
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
