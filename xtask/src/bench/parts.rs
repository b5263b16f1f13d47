// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is measured on our side alone, by `portway-bench`: masks, workers, allocations, the device table.

use super::row::{Goal, Row};
use super::run::Bench;
use super::{capture, peers};
use anyhow::Result;

/// A figure that our measuring program gives.
struct Part {
    name: &'static str,
    what: &'static str,
    unit: &'static str,
    /// The subcommand and the name of the figure in its answer.
    arguments: &'static [&'static str],
    figure: &'static str,
    goal: Goal,
}

const PARTS: &[Part] = &[
    Part {
        name: "allocations",
        what: "allocations per packet on the fast path",
        unit: "",
        arguments: &["allocations"],
        figure: "per_packet",
        goal: Goal::Zero,
    },
    Part {
        name: "null-ports",
        what: "100,000 null ports: add all, look each up, delete all",
        unit: "s",
        arguments: &["ports", "--count", "100000"],
        figure: "seconds",
        goal: Goal::Below { bar: 3.0, aim: 1.0 },
    },
    Part {
        name: "lookups",
        what: "look-ups by name while another thread adds and deletes: 2 readers against 1",
        unit: "x",
        arguments: &["lookups"],
        figure: "scaling",
        goal: Goal::AtLeast { bar: 1.0, aim: 1.8 },
    },
];

const MASKS: &[u32] = &[20, 100, 500];
const MASK_GOAL: Goal = Goal::Reported { aim: 2.0 };
const WORKERS: (&str, &str) = ("workers", "two workers against one, two port pairs");
const WORKERS_GOAL: Goal = Goal::AtLeast { bar: 1.7, aim: 1.95 };

/// Adds the rows of our own parts.
pub(super) fn measure(bench: &Bench, rows: &mut Vec<Row>) -> Result<()> {
    if bench.peers_only() {
        return Ok(());
    }
    for part in PARTS.iter().filter(|part| bench.wants(part.name)) {
        let figures = repeat(bench, || peers::number(&bench.portway_bench(part.arguments)?, part.figure));
        rows.push(Row::new(part.name, part.what, part.unit, part.goal, figures.map(|ours| (ours, None))));
    }
    for masks in MASKS {
        let name = format!("masks-{masks}");
        if bench.wants(&name) {
            let what =
                format!("{masks} masks live, packets spread over them: time per packet against 1 mask");
            let figures = masks_cost(bench, *masks).map(|(ours, one)| (ours, Some(("1 mask", one))));
            rows.push(Row::new(&name, &what, "ns/packet", MASK_GOAL, figures));
        }
    }
    if bench.wants(WORKERS.0) {
        let figures = workers(bench).map(|(two, one)| (two, Some(("1 worker", one))));
        rows.push(Row::new(WORKERS.0, WORKERS.1, "Mpps", WORKERS_GOAL, figures));
    }
    Ok(())
}

fn repeat(bench: &Bench, mut once: impl FnMut() -> Result<f64>) -> Result<Vec<f64>> {
    (0..bench.rounds()).map(|_| once()).collect()
}

fn masks_cost(bench: &Bench, masks: u32) -> Result<(Vec<f64>, Vec<f64>)> {
    let (mut many, mut one) = (Vec::new(), Vec::new());
    let cost = |masks: u32| {
        let (masks, seconds) = (masks.to_string(), bench.seconds().to_string());
        let answer = bench.portway_bench_on_one_core(&["masks", "--masks", &masks, "--seconds", &seconds])?;
        Ok::<_, anyhow::Error>(1000.0 / peers::mpps(&answer)?)
    };
    for _ in 0..bench.rounds() {
        many.push(cost(masks)?);
        one.push(cost(1)?);
    }
    Ok((many, one))
}

fn workers(bench: &Bench) -> Result<(Vec<f64>, Vec<f64>)> {
    let capture = bench.scratch.join("workers.pcap");
    capture::write(&capture, 1_000)?;
    let (capture, seconds) = (capture.to_string_lossy(), bench.seconds().to_string());
    let forward = |workers: u8| {
        let count = workers.to_string();
        let arguments =
            ["forward", "--pcap", &*capture, "--rule", "l4", "--seconds", &seconds, "--workers", &count];
        let answer = bench.portway_bench(&[&arguments[..], &["--pairs", "2"]].concat())?;
        Ok::<_, anyhow::Error>(peers::mpps(&answer)? * f64::from(workers))
    };
    let (mut two, mut one) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds() {
        two.push(forward(2)?);
        one.push(forward(1)?);
    }
    Ok((two, one))
}
