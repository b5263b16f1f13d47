// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask ci`: format, the rules of the house, lints, documentation, tests. Every check runs, so that one run
//! tells all that is wrong; the tests come last, so that their sum is the last line.

use super::test::{self, Options};
use crate::process::{self, Told, cargo};
use crate::{setup, tidy};
use anyhow::{Result, bail};

type Check = fn() -> Result<()>;

/// Runs everything that a change must pass.
pub(crate) fn run() -> Result<()> {
    setup::run(&[setup::Purpose::Test])?;
    let checks: [(&str, Check); 5] = [
        ("format", format),
        ("rules of the house", tidy::run),
        ("lints", lints),
        ("documentation", documentation),
        ("tests", || test::run(&Options::everything())),
    ];
    let mut failed = Vec::new();
    for (name, check) in checks {
        println!("ci: {name}");
        if let Err(error) = check() {
            if !error.is::<Told>() {
                eprintln!("ci: {name}: {error:#}");
            }
            failed.push(name);
        }
    }
    match failed.as_slice() {
        [] => Ok(()),
        ["tests"] => bail!(Told(1)), // their sum stays the last line
        _ => bail!("ci failed: {}", failed.join(", ")),
    }
}

fn format() -> Result<()> {
    process::run(&mut cargo(["fmt", "--all", "--check"]))
}

fn lints() -> Result<()> {
    process::run(&mut cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn documentation() -> Result<()> {
    let mut documentation = cargo(["doc", "--workspace", "--no-deps", "--document-private-items"]);
    process::run(documentation.env("RUSTDOCFLAGS", "-D warnings"))
}
