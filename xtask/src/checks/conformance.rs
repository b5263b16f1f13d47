// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask conformance`: recordings of the kernel module's answers, replayed against the daemon.

use super::summary::Summary;
use crate::process::{self, Told, cargo};
use crate::product;
use crate::setup::{self, Purpose};
use crate::workspace;
use crate::world::enter;
use anyhow::{Result, bail};
use std::process::Command;

/// What to replay.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// What `portway-conformance` takes, as `--scenario vport- --verbose`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds the daemon and the runner, and replays in a private world.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::run(&[Purpose::Test])?;
    replay(options.arguments.clone())
}

/// Builds what is needed and replays with these arguments.
pub(super) fn replay(arguments: Vec<String>) -> Result<()> {
    process::run(&mut build())?;
    lay_out()?;
    let inside = ["conformance-inside", "--"].map(str::to_owned).into_iter();
    enter(&inside.chain(arguments).collect::<Vec<_>>())
}

/// The replaying itself, inside the private world.
pub(crate) fn inside(options: &Options) -> Result<()> {
    let mut summary = Summary::default();
    let succeeded = process::watch(runner().args(&options.arguments), |line| summary.take_area(line))?;
    println!("{} scenarios passed, {} failed", summary.passed, summary.failed);
    if !succeeded {
        bail!(Told(1));
    }
    Ok(())
}

/// Builds the programs, and the runner beside them. One set for all who need some of it: another would have other features of the
/// libraries, and build most of the workspace again.
pub(super) fn build() -> Command {
    let mut command = cargo(["build"]);
    let packages = ["portwayd", "portway", "portway-preload", "portway-conformance"];
    product::with_port_types(&mut command, &packages);
    command
}

/// Puts the port types where the runner's daemon looks for them: beside its program.
pub(super) fn lay_out() -> Result<()> {
    product::lay_out_built("debug", &workspace::target_dir().join("debug"))
}

/// The runner for a machine that may stall: what differs is replayed again, alone, and listed if it then matches.
pub(super) fn repeating_runner() -> Command {
    let mut command = runner();
    command.args(["--retries", "2"]);
    command
}

/// The runner with the project's own recordings.
pub(super) fn runner() -> Command {
    Command::new(workspace::target_dir().join("debug/portway-conformance"))
}
