// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One TCP stream between two hosts on veth: us, OVS in user space with TSO, and the Linux bridge.

use super::peers::Peer;
use super::row::{Goal, Row, figure};
use super::run::Bench;
use crate::process;
use crate::product::Switch;
use crate::world::Host;
use anyhow::{Result, bail};
use std::process::Command;

/// The row that needs OVS.
pub(super) const TSO_NAME: &str = "stream-ovs-tso";

const TSO: (&str, Goal) = (TSO_NAME, Goal::AtLeast { bar: 1.1, aim: 1.5 });
const BRIDGE: (&str, Goal) = ("stream-bridge", Goal::AtLeast { bar: 0.7, aim: 1.0 });
const PORTS: [&str; 2] = ["sw1", "sw2"];
const CONFIG: &str = r#"
[[bridge]]
name = "br0"
[[bridge.port]]
name = "sw1"
[[bridge.port]]
name = "sw2"
"#;

/// Adds the rows `stream-ovs-tso` and `stream-bridge`.
pub(super) fn measure(bench: &Bench, rows: &mut Vec<Row>) -> Result<()> {
    let wanted: Vec<_> = [TSO, BRIDGE].into_iter().filter(|(name, _)| bench.wants(name)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let what = |name| match name {
        "stream-bridge" => "one TCP stream between two veth hosts, against the Linux bridge",
        _ => "one TCP stream between two veth hosts, against OVS userspace with TSO",
    };
    let measured = rounds(bench);
    for (name, goal) in wanted {
        rows.push(match &measured {
            Ok(figures) => {
                let peer = if name == BRIDGE.0 {
                    ("Linux bridge", figures.bridge.clone())
                } else {
                    ("OVS with TSO", figures.tso.clone())
                };
                let ours = figures.ours.clone();
                Row {
                    name: name.to_owned(),
                    what: what(name).to_owned(),
                    unit: "Gbit/s",
                    ours,
                    peer: Some(peer),
                    goal,
                    trouble: None,
                }
            }
            Err(error) => Row::troubled(name, what(name), goal, error),
        });
    }
    Ok(())
}

/// The names of the rows, all of which need the daemon.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    [TSO.0, BRIDGE.0].into_iter()
}

#[derive(Default)]
struct Figures {
    ours: Vec<f64>,
    bridge: Vec<f64>,
    tso: Vec<f64>,
}

fn rounds(bench: &Bench) -> Result<Figures> {
    let mut figures = Figures::default();
    for round in 1..=bench.rounds() {
        if !bench.peers_only() {
            figures.ours.push(through(bench, || Switch::start(CONFIG, PORTS.len()))?);
        }
        if bench.wants(BRIDGE.0) {
            figures.bridge.push(through(bench, || Peer::up("linux-bridge.sh", &PORTS))?);
        }
        if bench.wants(TSO.0) {
            figures.tso.push(through(bench, || Peer::up("ovs-tso.sh", &PORTS))?);
        }
        let last = |figures: &[f64]| figures.last().map_or_else(|| "-".to_owned(), |last| figure(*last));
        bench.tell(&format!(
            "stream round {round}: portway {}, Linux bridge {}, OVS with TSO {} Gbit/s",
            last(&figures.ours),
            last(&figures.bridge),
            last(&figures.tso)
        ));
    }
    Ok(figures)
}

/// Makes two hosts, has `start` put a switch between them, and measures; all is gone afterwards.
fn through<Guard>(bench: &Bench, start: impl FnOnce() -> Result<Guard>) -> Result<f64> {
    let hosts = Hosts::new()?;
    let switch = start()?;
    let answered = hosts.one.ping(&hosts.two, 3)?;
    if answered == 0 {
        bail!("the hosts do not reach each other");
    }
    let stream = hosts.one.stream(&hosts.two, bench.seconds(), &bench.scratch)?;
    drop(switch);
    Ok(stream.gbits)
}

struct Hosts {
    one: Host,
    two: Host,
}

impl Hosts {
    fn new() -> Result<Self> {
        let hosts = Self { one: Host::on_veth(1, "bh1", PORTS[0])?, two: Host::on_veth(2, "bh2", PORTS[1])? };
        hosts.one.knows(&hosts.two)?;
        hosts.two.knows(&hosts.one)?;
        Ok(hosts)
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
