// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask conformance`: the kernel module's recordings, replayed against `portwayd`.

use crate::process::{self, cargo};
use crate::workspace;
use anyhow::Result;
use std::process::Command;

/// What to replay; the program `portway-conformance` explains its options with `--help`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Folders of recordings, --area A, --scenario S, --verbose
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds the daemon and the runner, and runs it. It makes namespaces of its own for each scenario: it needs root.
pub(crate) fn run(options: &Options) -> Result<()> {
    process::run(&mut cargo(["build", "--package", "portwayd", "--package", "portway-conformance"]))?;
    let runner = workspace::target_dir().join("debug/portway-conformance");
    process::run(Command::new(runner).args(&options.arguments))
}
