// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `portway-conformance`: replays recordings of the real kernel module against `portwayd`.
#![forbid(unsafe_code)]

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use portway_conformance::scenario;
use portway_conformance::suite::{self, Selection};

/// Replays recordings of the kernel module against portwayd and compares byte for byte.
#[derive(Debug, Parser)]
struct Args {
    /// Folders of recordings; default: the project's own.
    folders: Vec<PathBuf>,
    /// Only this area.
    #[arg(long)]
    area: Option<String>,
    /// Only scenarios whose names begin so.
    #[arg(long)]
    scenario: Option<String>,
    /// Show differences in full, and what the daemon logged.
    #[arg(long)]
    verbose: bool,
    /// The daemon; default: the one beside this program.
    #[arg(long)]
    daemon: Option<PathBuf>,
    /// Scenarios at a time.
    #[arg(long, default_value_t = 3)]
    jobs: usize,
    /// How often a scenario that differs is replayed again, alone, before it counts.
    #[arg(long, default_value_t = 0)]
    retries: usize,
    /// One recording, in this process; the result is JSON.
    #[arg(long, hide = true)]
    one: Option<PathBuf>,
}

fn run(args: &Args) -> Result<bool> {
    let own = std::env::current_exe()?;
    let daemon = args.daemon.clone().unwrap_or_else(|| own.with_file_name("portwayd"));
    let mut out = std::io::stdout();
    if let Some(path) = &args.one {
        let report = scenario::run(path, &daemon)?;
        serde_json::to_writer(&mut out, &report)?;
        return Ok(true);
    }
    let recordings = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("recordings");
    let folders = if args.folders.is_empty() { vec![recordings] } else { args.folders.clone() };
    let selection = Selection { folders, area: args.area.clone(), scenario: args.scenario.clone() };
    let recordings = selection.recordings()?;
    anyhow::ensure!(!recordings.is_empty(), "no recording is selected");
    anyhow::ensure!(daemon.exists(), "there is no daemon {}: build it, or use --daemon", daemon.display());
    let reports = suite::run(&recordings, &daemon, args.jobs, args.retries)
        .context("the recordings could not be replayed")?;
    let (text, all) = suite::summary(&reports, args.verbose);
    out.write_all(text.as_bytes())?;
    Ok(all)
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "portway-conformance: {error:#}");
            ExitCode::from(2)
        }
    }
}
