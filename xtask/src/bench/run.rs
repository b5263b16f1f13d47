// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command: what to measure, how often, and the table at the end.

use super::huge_pages::HugePages;
use super::row::{Row, Verdict};
use super::{flows, memory, parts, scale, streams, tunnels};
use crate::product;
use crate::setup::{self, Purpose};
use crate::world::{RUN_DIR, enter};
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What to measure and how to tell it.
#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    /// Print the table as JSON, for programs
    #[arg(long)]
    json: bool,
    /// One short round of each: to see that everything runs
    #[arg(long)]
    quick: bool,
    /// Rounds of each side
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Measure only the peers: what the field does on this machine
    #[arg(long)]
    peers_only: bool,
    /// Only rows whose name contains one of these
    names: Vec<String>,
}

impl Options {
    fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| name.contains(wanted.as_str()))
    }
}

/// Builds, then measures in a private world.
pub(crate) fn run(options: &Options) -> Result<()> {
    let stock = flows::names().chain([streams::TSO_NAME, tunnels::OVS_NAME]).map(str::to_owned);
    let needs_ovs = memory::names().chain(stock).any(|name| options.wants(&name));
    setup::run(if needs_ovs { &[Purpose::Bench] } else { &[Purpose::Demo] })?;
    if !options.peers_only {
        let mut packages = vec!["portway-bench"];
        if scale::names().chain(streams::names()).chain(tunnels::names()).any(|name| options.wants(name)) {
            packages.extend(["portwayd", "portway"]);
        }
        if flows::names().any(|name| options.wants(name)) {
            packages.extend(["portwayd", "portway", "portway-preload"]);
        }
        product::build(&packages)?;
    }
    let mut arguments = vec!["bench-inside".to_owned(), format!("--rounds={}", options.rounds)];
    let flags = [("--json", options.json), ("--quick", options.quick), ("--peers-only", options.peers_only)];
    arguments.extend(flags.iter().filter(|(_, wanted)| *wanted).map(|(flag, _)| (*flag).to_owned()));
    arguments.extend(options.names.iter().cloned());
    let _alone = alone()?;
    enter(&arguments)
}

/// Waits until no other bench runs on this machine; the file stays locked while it is open.
fn alone() -> Result<Option<File>> {
    const LOCK: &str = "/run/portway-bench.lock";
    let Ok(lock) = File::create(LOCK) else { return Ok(None) };
    if lock.try_lock().is_err() {
        eprintln!("bench: another one runs; waiting for it to end");
        lock.lock().context(LOCK)?;
    }
    Ok(Some(lock))
}

/// The measuring itself, inside the private world.
pub(crate) fn inside(options: &Options) -> Result<()> {
    let bench = Bench::new(options)?;
    let mut rows = Vec::new();
    for measure in
        [memory::measure, parts::measure, streams::measure, tunnels::measure, scale::measure, flows::measure]
    {
        measure(&bench, &mut rows)?;
    }
    if options.json {
        let lines: Vec<_> = rows.iter().map(Row::to_json).collect();
        println!("{}", serde_json::to_string_pretty(&lines)?);
    } else {
        println!("{}", table(&rows));
    }
    let missed: Vec<_> =
        rows.iter().filter(|row| row.verdict() == Verdict::Missed).map(|row| &*row.name).collect();
    if !missed.is_empty() {
        bail!("bars missed: {}", missed.join(", "));
    }
    Ok(())
}

fn table(rows: &[Row]) -> String {
    rows.iter().map(Row::to_text).collect::<Vec<_>>().join("\n\n")
}

/// What every measurement needs to know.
pub(super) struct Bench {
    options: Options,
    /// Scratch space in memory.
    pub(super) scratch: PathBuf,
}

impl Bench {
    fn new(options: &Options) -> Result<Self> {
        let scratch = Path::new(RUN_DIR).join("bench");
        std::fs::create_dir_all(&scratch).context("scratch folder")?;
        Ok(Self { options: options.clone(), scratch })
    }

    /// How often each side is measured.
    pub(super) fn rounds(&self) -> u32 {
        if self.options.quick { 1 } else { self.options.rounds.max(1) }
    }

    /// How long one measurement takes, in seconds.
    pub(super) fn seconds(&self) -> u32 {
        if self.options.quick { 1 } else { 4 }
    }

    /// Whether our own side is left out.
    pub(super) fn peers_only(&self) -> bool {
        self.options.peers_only
    }

    /// Whether a row was asked for.
    pub(super) fn wants(&self, name: &str) -> bool {
        self.options.wants(name)
    }

    /// Says what goes on, where it does not get into the table.
    pub(super) fn tell(&self, what: &str) {
        eprintln!("bench: {what}");
    }

    /// Runs our measuring program with all processors, and gives its answer.
    pub(super) fn portway_bench(&self, arguments: &[&str]) -> Result<String> {
        crate::process::capture(Command::new(product::program("portway-bench")).args(arguments))
    }

    /// Runs it on the one core that the peers poll on: the last.
    pub(super) fn portway_bench_on_one_core(&self, arguments: &[&str]) -> Result<String> {
        let last = std::thread::available_parallelism()?.get() - 1;
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &last.to_string()]).arg(product::program("portway-bench"));
        crate::process::capture(command.args(arguments))
    }

    /// Huge pages for the peer that needs them, for as long as the guard lives.
    pub(super) fn huge_pages(&self) -> Result<HugePages> {
        HugePages::reserve()
    }
}
