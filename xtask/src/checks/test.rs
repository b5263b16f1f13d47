// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask test`: every test there is, then one line with the sum.

use super::conformance;
use super::summary::Summary;
use crate::process::{self, Told, cargo};
use crate::setup::{self, Purpose};
use crate::workspace;
use crate::world::{can_enter, enter};
use anyhow::{Result, bail};
use std::process::Command;

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Use cargo's own runner even where cargo-nextest is installed
    #[arg(long)]
    no_nextest: bool,
    /// Do not replay the kernel module's recordings
    #[arg(long)]
    no_conformance: bool,
    /// Only tests whose name contains this
    filter: Option<String>,
}

impl Options {
    /// Everything, with the best runner at hand.
    pub(super) fn everything() -> Self {
        Self { no_nextest: false, no_conformance: false, filter: None }
    }

    /// A filter is for tests: a recording is chosen with `cargo xtask conformance`.
    fn replays(&self) -> bool {
        !self.no_conformance && self.filter.is_none()
    }
}

/// Builds the tests, runs them in a private world where that can be, and prints `N passed, N failed`.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::run(&[Purpose::Test])?;
    if !can_enter() {
        println!(
            "test: cannot make network namespaces; tests that need them will say so. Root (sudo) runs all."
        );
        return inside(options);
    }
    // Building may need the registry, which is out of reach inside. A failure is met again there, and counted.
    let workspace = cargo(["test", "--workspace", "--all-targets"]);
    for mut build in [workspace, loom_tests(options)] {
        let _ = process::run(build.arg("--no-run"));
    }
    let mut arguments = vec!["test-inside".to_owned()];
    arguments.extend(options.no_nextest.then(|| "--no-nextest".to_owned()));
    arguments.extend(options.no_conformance.then(|| "--no-conformance".to_owned()));
    process::run(&mut conformance::build())?;
    // A module that a test loads.
    process::run(&mut cargo(["build", "--package", "portway-vport", "--example", "faulty_module"]))?;
    if options.replays() {
        conformance::lay_out()?;
    }
    arguments.extend(options.filter.clone());
    enter(&arguments)
}

/// Runs the tests here and prints the sum.
pub(crate) fn inside(options: &Options) -> Result<()> {
    let mut summary = Summary::default();
    let mut broken = Vec::new();
    for step in steps(options) {
        println!("test: {}", step.what);
        let failed_before = summary.failed;
        let what = step.what;
        let succeeded = step.run(&mut summary)?;
        if !succeeded && summary.failed == failed_before {
            // It broke outside a test, as when it does not build; the sum must not look clean.
            summary.failed += 1;
            broken.push(what);
        }
    }
    for what in &broken {
        println!("test: broke outside a test: {what}");
    }
    if summary.ignored > 0 {
        println!("test: {} were left out: marked `ignore`, or by the filter", summary.ignored);
    }
    println!("{} passed, {} failed", summary.passed, summary.failed);
    if summary.failed > 0 {
        bail!(Told(1)); // that line is the last
    }
    Ok(())
}

/// One run of a test runner.
struct Step {
    what: &'static str,
    command: Command,
    /// Whether the lines to count are those of the conformance runner.
    is_conformance: bool,
}

impl Step {
    fn new(what: &'static str, command: Command) -> Self {
        Self { what, command, is_conformance: false }
    }

    fn run(mut self, summary: &mut Summary) -> Result<bool> {
        let take = if self.is_conformance { Summary::take_area } else { Summary::take };
        process::watch(&mut self.command, |line| take(summary, line))
    }
}

fn steps(options: &Options) -> Vec<Step> {
    let mut steps = vec![
        Step::new("unit, property, end-to-end and system tests", workspace_tests(options)),
        Step::new("examples in the documentation", doc_tests(options)),
    ];
    if workspace::has_package("crates/sync") {
        steps.push(Step::new("concurrent structures under loom", loom_tests(options)));
    }
    // Alone, at the end: what the kernel did at once must not wait for other tests.
    if options.replays() {
        let what = "recordings of the kernel module";
        steps.push(Step { what, command: conformance::repeating_runner(), is_conformance: true });
    }
    steps
}

fn workspace_tests(options: &Options) -> Command {
    let mut command = if !options.no_nextest && process::find_program("cargo-nextest").is_some() {
        cargo(["nextest", "run", "--workspace", "--no-fail-fast", "--no-tests=pass"])
    } else {
        cargo(["test", "--workspace", "--all-targets", "--no-fail-fast"])
    };
    command.args(&options.filter).env("PORTWAY_PROGRAMS_ARE_BUILT", "1");
    command
}

fn doc_tests(options: &Options) -> Command {
    let mut command = cargo(["test", "--workspace", "--doc", "--no-fail-fast"]);
    command.args(&options.filter);
    command
}

/// Loom replaces the atomics, so everything is built anew: in a folder of its own, lest the other build be lost.
fn loom_tests(options: &Options) -> Command {
    let mut command =
        cargo(["test", "--package", "portway-sync", "--release", "--lib", "--tests", "--no-fail-fast"]);
    command.args(&options.filter);
    command.env("RUSTFLAGS", "--cfg loom").env("CARGO_TARGET_DIR", workspace::target_dir().join("loom"));
    command.env("LOOM_MAX_PREEMPTIONS", "2");
    command
}
