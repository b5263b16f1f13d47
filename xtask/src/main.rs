// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The project's own commands: `cargo xtask setup | demo | test | conformance | differential | bench | tidy | ci`.
//!
//! Each command does its own set-up, so a fresh clone needs nothing but a Rust toolchain.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a command line that talks to a person")]

mod bench;
mod checks;
mod demo;
mod install;
mod process;
mod product;
mod setup;
mod tidy;
mod workspace;
mod world;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            if let Some(process::Told(code)) = error.downcast_ref() {
                return ExitCode::from(*code);
            }
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    match Cli::parse().command {
        Command::Setup { purposes } => setup::run(&purposes),
        Command::Tidy => tidy::run(),
        Command::Test(options) => checks::test::run(&options),
        Command::TestInside(options) => checks::test::inside(&options),
        Command::Conformance(options) => checks::conformance::run(&options),
        Command::Differential(options) => checks::differential::run(&options),
        Command::ConformanceInside(options) => checks::conformance::inside(&options),
        Command::Ci => checks::ci::run(),
        Command::Install(options) => install::run(&options),
        Command::Demo => demo::run(),
        Command::DemoInside => demo::inside(),
        Command::Bench(options) => bench::run(&options),
        Command::BenchInside(options) => bench::inside(&options),
        Command::World { arguments } => return world::inside(&arguments),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// Portway's own commands
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install the Debian packages that the commands need (root), or say which are missing
    Setup {
        /// What for; several may be given
        #[arg(value_enum, default_values = ["test", "demo"])]
        purposes: Vec<setup::Purpose>,
    },
    /// Check the rules of the house: lengths, dependency direction, unsafe code, dead files, links
    Tidy,
    /// Run every test: unit, property, loom, end to end, system, documentation
    Test(checks::test::Options),
    /// The part of `test` that runs in a private world
    #[command(hide = true)]
    TestInside(checks::test::Options),
    /// Replay the kernel module's recorded answers against the daemon
    Conformance(checks::conformance::Options),
    /// Do scenarios made at random to the real kernel module (in a virtual machine) and to the daemon
    Differential(checks::differential::Options),
    /// The part of `conformance` that runs in a private world
    #[command(hide = true)]
    ConformanceInside(checks::conformance::Options),
    /// Everything a change must pass: format, lints, tidy, tests, documentation
    Ci,
    /// Build and install programs, port types, systemd unit, man pages, completions
    Install(install::Options),
    /// Show the switch at its job: hosts in namespaces, pings, a TCP stream, VLANs, tables
    Demo,
    /// The part of `demo` that runs in a private world
    #[command(hide = true)]
    DemoInside,
    /// Measure the product, most of it against peers that do the same work
    Bench(bench::Options),
    /// The part of `bench` that runs in a private world
    #[command(hide = true)]
    BenchInside(bench::Options),
    /// The first process of a private world, which runs another command in it
    #[command(hide = true)]
    World {
        #[arg(last = true)]
        arguments: Vec<String>,
    },
}
