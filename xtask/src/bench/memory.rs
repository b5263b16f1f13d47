// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Forwarding in memory, capture file to null port, on one core: us against OVS-DPDK.

use super::contest::{Rival, contest};
use super::row::{Goal, Row};
use super::run::Bench;
use super::{capture, peers};
use anyhow::Result;
use std::path::Path;

/// The same switching, told to each side in its own words.
struct Rule {
    /// In the rows' names, and to our measuring program.
    name: &'static str,
    what: &'static str,
    /// To OVS.
    openflow: &'static str,
    flows: &'static [u32],
}

const RULES: &[Rule] = &[
    Rule {
        name: "l4",
        what: "one rule on L3/L4",
        openflow: "in_port=1,udp,nw_dst=11.0.0.1,tp_dst=80,actions=output:2",
        flows: &[1, 1_000, 10_000, 100_000],
    },
    Rule {
        name: "l2",
        what: "the learning switch, few MACs",
        openflow: "actions=NORMAL",
        flows: &[1, 1_000, 10_000, 100_000],
    },
];

const GOAL: Goal = Goal::AtLeast { bar: 2.0, aim: 3.0 };

/// Adds the rows `memory-l4-<flows>` and `memory-l2-<flows>`.
pub(super) fn measure(bench: &Bench, rows: &mut Vec<Row>) -> Result<()> {
    let cases = RULES.iter().flat_map(|rule| rule.flows.iter().map(move |flows| (rule, *flows)));
    let wanted: Vec<_> = cases.filter(|(rule, flows)| bench.wants(&name(rule, *flows))).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let _pages = bench.huge_pages()?;
    for (rule, flows) in wanted {
        let what = format!("in memory, 64 bytes, one core, {}, {flows} flows", rule.what);
        let name = name(rule, flows);
        let capture = bench.scratch.join(format!("{flows}.pcap"));
        capture::write(&capture, flows)?;
        let theirs = || peers::ovs_dpdk(&capture, bench.seconds(), rule.openflow);
        let rival = Rival { row: &name, what: &what, goal: GOAL, name: "OVS-DPDK", measure: &theirs };
        contest(bench, rows, (&name, "Mpps"), &|| forward(bench, rule.name, &capture), &[rival]);
        std::fs::remove_file(&capture)?;
    }
    Ok(())
}

/// The names of the rows, all of which need OVS-DPDK.
pub(super) fn names() -> impl Iterator<Item = String> {
    RULES.iter().flat_map(|rule| rule.flows.iter().map(move |flows| name(rule, *flows)))
}

fn name(rule: &Rule, flows: u32) -> String {
    format!("memory-{}-{flows}", rule.name)
}

fn forward(bench: &Bench, rule: &str, capture: &Path) -> Result<f64> {
    let (capture, seconds) = (capture.to_string_lossy(), bench.seconds().to_string());
    let arguments = ["forward", "--pcap", &capture, "--rule", rule, "--seconds", &seconds, "--workers", "1"];
    peers::mpps(&bench.portway_bench_on_one_core(&arguments)?)
}
