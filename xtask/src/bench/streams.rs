// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One TCP stream between two hosts on veth: us, OVS in user space with TSO, and the Linux bridge.

use super::contest::{Rival, contest};
use super::hosts::{PORTS, Pair};
use super::peers::Peer;
use super::row::{Goal, Row};
use super::run::Bench;
use crate::product::Switch;
use anyhow::Result;

/// The row that needs OVS.
pub(super) const TSO_NAME: &str = "stream-ovs-tso";

const BRIDGE_NAME: &str = "stream-bridge";
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
    let rivals = [
        Rival {
            row: TSO_NAME,
            what: "one TCP stream between two veth hosts, against OVS userspace with TSO",
            goal: Goal::AtLeast { bar: 1.1, aim: 1.5 },
            name: "OVS with TSO",
            measure: &|| through(bench, || Peer::up("ovs-tso.sh", &PORTS)),
        },
        Rival {
            row: BRIDGE_NAME,
            what: "one TCP stream between two veth hosts, against the Linux bridge",
            goal: Goal::AtLeast { bar: 0.7, aim: 1.0 },
            name: "Linux bridge",
            measure: &|| through(bench, || Peer::up("linux-bridge.sh", &PORTS)),
        },
    ];
    let ours = || through(bench, || Switch::start(CONFIG, PORTS.len()));
    contest(bench, rows, ("stream", "Gbit/s"), &ours, &rivals);
    Ok(())
}

/// The names of the rows, all of which need the daemon.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    [TSO_NAME, BRIDGE_NAME].into_iter()
}

/// Makes two hosts, has `start` put a switch between them, and measures; all is gone afterwards.
fn through<Guard>(bench: &Bench, start: impl FnOnce() -> Result<Guard>) -> Result<f64> {
    let hosts = Pair::new()?;
    let _switch = start()?;
    hosts.stream(bench)
}
