// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One TCP stream between two hosts, each behind a switch of its own, over a VXLAN tunnel between the switches.

use super::peers::Peer;
use super::row::{Goal, Row, figure};
use super::run::Bench;
use crate::process;
use crate::product::{lay_out_modules, program};
use crate::world::{Daemon, Host, RUN_DIR};
use anyhow::{Result, bail};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The row that needs OVS.
pub(super) const OVS_NAME: &str = "stream-vxlan-ovs";

const OVS: (&str, Goal) = (OVS_NAME, Goal::AtLeast { bar: 1.5, aim: 1.5 });
const KERNEL: (&str, Goal) = ("stream-vxlan-kernel", Goal::AtLeast { bar: 0.0, aim: 0.7 });
/// The hosts' cables, at the switches.
const PORTS: [&str; 2] = ["sw1", "sw2"];
/// The switches' namespaces.
const SIDES: [&str; 2] = ["bv1", "bv2"];
/// What fits into the tunnel on a cable of 1500 bytes.
const MTU: &str = "1450";

/// Adds the rows.
pub(super) fn measure(bench: &Bench, rows: &mut Vec<Row>) -> Result<()> {
    let wanted: Vec<_> = [OVS, KERNEL].into_iter().filter(|(name, _)| bench.wants(name)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let measured = rounds(bench);
    for (name, goal) in wanted {
        let what = if name == OVS_NAME {
            "one TCP stream over VXLAN between two switches, against OVS userspace"
        } else {
            "one TCP stream over VXLAN between two switches, against the kernel's vxlan device and bridge"
        };
        rows.push(match &measured {
            Ok(figures) => {
                let peer = if name == OVS_NAME {
                    ("OVS userspace", figures.ovs.clone())
                } else {
                    ("Linux", figures.kernel.clone())
                };
                let ours = figures.ours.clone();
                let (name, what) = (name.to_owned(), what.to_owned());
                Row { name, what, unit: "Gbit/s", ours, peer: Some(peer), goal, trouble: None }
            }
            Err(error) => Row::troubled(name, what, goal, error),
        });
    }
    Ok(())
}

/// The names of the rows, all of which need the daemon.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    [OVS.0, KERNEL.0].into_iter()
}

#[derive(Default)]
struct Figures {
    ours: Vec<f64>,
    kernel: Vec<f64>,
    ovs: Vec<f64>,
}

fn rounds(bench: &Bench) -> Result<Figures> {
    let mut figures = Figures::default();
    for round in 1..=bench.rounds() {
        if !bench.peers_only() {
            figures.ours.push(through(bench, true, portway)?);
        }
        if bench.wants(KERNEL.0) {
            figures.kernel.push(through(bench, true, || Peer::up("vxlan-kernel.sh", &PORTS))?);
        }
        if bench.wants(OVS_NAME) {
            figures.ovs.push(through(bench, false, || Peer::up("vxlan-ovs.sh", &PORTS))?);
        }
        let last = |figures: &[f64]| figures.last().map_or_else(|| "-".to_owned(), |last| figure(*last));
        bench.tell(&format!(
            "stream over VXLAN round {round}: portway {}, Linux {}, OVS {} Gbit/s",
            last(&figures.ours),
            last(&figures.kernel),
            last(&figures.ovs)
        ));
    }
    Ok(figures)
}

/// Makes two hosts and two places for switches, has `start` put switches there, and measures; all is gone afterwards. `offloads`: the
/// hosts leave checksums and segments to others.
fn through<Guard>(bench: &Bench, offloads: bool, start: impl FnOnce() -> Result<Guard>) -> Result<f64> {
    let hosts = Hosts::new()?;
    if !offloads {
        for host in [&hosts.one, &hosts.two] {
            process::capture(host.command("ethtool").args(["-K", "eth0", "tx", "off"]))?;
        }
    }
    let switches = start()?;
    let mut answered = 0;
    for _ in 0..10 {
        answered += hosts.one.ping(&hosts.two, 3)?;
        if answered >= 3 {
            break;
        }
    }
    if answered == 0 {
        bail!("the hosts do not reach each other");
    }
    let stream = hosts.one.stream(&hosts.two, bench.seconds(), &bench.scratch)?;
    drop(switches);
    Ok(stream.gbits)
}

/// A daemon on each side.
fn portway() -> Result<[Daemon; 2]> {
    Ok([side(1)?, side(2)?])
}

fn side(number: usize) -> Result<Daemon> {
    let folder = Path::new(RUN_DIR).join(format!("vxlan{number}"));
    let (modules, state) = (folder.join("modules"), folder.join("state"));
    let _ = std::fs::remove_dir_all(&state);
    lay_out_modules(&modules)?;
    let remote = 3 - number;
    let config = format!(
        "[[bridge]]\nname = \"br0\"\n[[bridge.port]]\nname = \"sw{number}\"\n[[bridge.port]]\nname = \"vx0\"\ntype = \"vxlan\"\n\
         options = {{ dst_port = 4789, remote = \"172.31.0.{remote}\", key = 7 }}\n"
    );
    let file = folder.join("portway.toml");
    std::fs::write(&file, config)?;
    let mut command = Command::new("ip");
    command.args(["netns", "exec", SIDES[number - 1]]).arg(program("portwayd"));
    command
        .arg("--config")
        .arg(&file)
        .arg("--socket-dir")
        .arg(&folder)
        .arg("--socket")
        .arg(folder.join("nl.sock"));
    command.arg("--module-path").arg(&modules).arg("--state-dir").arg(&state);
    let mut daemon = Daemon::start(&mut command, &folder.join("portwayd.log"))?;
    let log = folder.join("portwayd.log");
    daemon.wait_until(Duration::from_secs(60), || {
        std::fs::read_to_string(&log).is_ok_and(|log| log.contains(" is ready"))
    })?;
    Ok(daemon)
}

/// Two hosts whose cables end in two other namespaces, which a cable `u` joins.
struct Hosts {
    one: Host,
    two: Host,
}

impl Hosts {
    fn new() -> Result<Self> {
        let hosts = Self { one: Host::on_veth(1, "bh1", PORTS[0])?, two: Host::on_veth(2, "bh2", PORTS[1])? };
        hosts.one.knows(&hosts.two)?;
        hosts.two.knows(&hosts.one)?;
        for side in SIDES {
            ip(&format!("netns add {side}"))?;
        }
        ip(&format!("link add u netns {} type veth peer name u netns {}", SIDES[0], SIDES[1]))?;
        for ((number, side), (port, host)) in
            (1..).zip(SIDES).zip(PORTS.into_iter().zip([&hosts.one, &hosts.two]))
        {
            ip(&format!("link set {port} netns {side}"))?;
            ip(&format!("-n {side} link set {port} up"))?;
            ip(&format!("-n {side} addr add 172.31.0.{number}/24 dev u"))?;
            ip(&format!("-n {side} link set u up"))?;
            ip(&format!("-n {side} link set lo up"))?;
            ip(&format!("-n {} link set eth0 mtu {MTU}", host.name))?;
        }
        Ok(hosts)
    }
}

fn ip(arguments: &str) -> Result<()> {
    process::capture(Command::new("ip").args(arguments.split(' '))).map(drop)
}

impl Drop for Hosts {
    fn drop(&mut self) {
        // The devices first: a namespace's own go at the kernel's leisure, and the next round uses the names again.
        let _ = ip(&format!("-n {} link del u", SIDES[0]));
        for (side, port) in SIDES.into_iter().zip(PORTS) {
            let _ = ip(&format!("-n {side} link del {port}"));
            let _ = ip(&format!("netns del {side}"));
        }
        for host in [&self.one, &self.two] {
            let _ = ip(&format!("netns del {}", host.name));
        }
    }
}
