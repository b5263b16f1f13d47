// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One TCP stream between two hosts, each behind a switch of its own, over a VXLAN tunnel between the switches.

use super::contest::{Rival, contest};
use super::hosts::{PORTS, Pair};
use super::peers::Peer;
use super::row::{Goal, Row};
use super::run::Bench;
use crate::process;
use crate::product::{lay_out_modules, program};
use crate::world::{Daemon, RUN_DIR};
use anyhow::Result;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The row that needs OVS.
pub(super) const OVS_NAME: &str = "stream-vxlan-ovs";

const KERNEL_NAME: &str = "stream-vxlan-kernel";
/// The switches' namespaces.
const SIDES: [&str; 2] = ["bv1", "bv2"];
/// What fits into the tunnel on a cable of 1500 bytes.
const MTU: &str = "1450";

/// Adds the rows.
pub(super) fn measure(bench: &Bench, rows: &mut Vec<Row>) -> Result<()> {
    let rivals = [
        Rival {
            row: OVS_NAME,
            what: "one TCP stream over VXLAN between two switches, against OVS userspace",
            goal: Goal::AtLeast { bar: 1.5, aim: 1.5 },
            name: "OVS userspace",
            measure: &|| through(bench, false, || Peer::up("vxlan-ovs.sh", &PORTS)),
        },
        Rival {
            row: KERNEL_NAME,
            what: "one TCP stream over VXLAN between two switches, against the kernel's vxlan device and bridge",
            goal: Goal::AtLeast { bar: 0.0, aim: 0.7 },
            name: "Linux",
            measure: &|| through(bench, true, || Peer::up("vxlan-kernel.sh", &PORTS)),
        },
    ];
    contest(bench, rows, ("stream over VXLAN", "Gbit/s"), &|| through(bench, true, portway), &rivals);
    Ok(())
}

/// The names of the rows, all of which need the daemon.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    [OVS_NAME, KERNEL_NAME].into_iter()
}

/// Makes two hosts and two places for switches, has `start` put switches there, and measures; all is gone afterwards. `offloads`: the
/// hosts leave checksums and segments to others.
fn through<Guard>(bench: &Bench, offloads: bool, start: impl FnOnce() -> Result<Guard>) -> Result<f64> {
    let Places(hosts) = &Places::new()?;
    if !offloads {
        hosts.leave_nothing_to_others()?;
    }
    let _switches = start()?;
    hosts.stream(bench)
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

/// Two namespaces in which the hosts' cables end, joined by a cable `u`.
struct Places(Pair);

impl Places {
    fn new() -> Result<Self> {
        let places = Self(Pair::new()?);
        for side in SIDES {
            ip(&format!("netns add {side}"))?;
        }
        ip(&format!("link add u netns {} type veth peer name u netns {}", SIDES[0], SIDES[1]))?;
        for ((number, side), (port, host)) in (1..).zip(SIDES).zip(PORTS.into_iter().zip(places.0.both())) {
            ip(&format!("link set {port} netns {side}"))?;
            ip(&format!("-n {side} link set {port} up"))?;
            ip(&format!("-n {side} addr add 172.31.0.{number}/24 dev u"))?;
            ip(&format!("-n {side} link set u up"))?;
            ip(&format!("-n {side} link set lo up"))?;
            ip(&format!("-n {} link set eth0 mtu {MTU}", host.name))?;
        }
        Ok(places)
    }
}

fn ip(arguments: &str) -> Result<()> {
    process::capture(Command::new("ip").args(arguments.split(' '))).map(drop)
}

impl Drop for Places {
    fn drop(&mut self) {
        // The devices first, as with the hosts.
        let _ = ip(&format!("-n {} link del u", SIDES[0]));
        for (side, port) in SIDES.into_iter().zip(PORTS) {
            let _ = ip(&format!("-n {side} link del {port}"));
            let _ = ip(&format!("netns del {side}"));
        }
    }
}
