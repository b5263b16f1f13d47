// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The demo from set-up to the last line.

use super::expect::Expectations;
use super::show;
use super::topology::{CONFIG, Hosts, PICTURE, PORTS, Station};
use crate::product::{self, Switch};
use crate::setup::{self, Purpose};
use crate::world::{RUN_DIR, enter};
use anyhow::{Context, Result};
use std::path::Path;
use std::time::Instant;

/// How long the TCP stream runs, in seconds.
const STREAM_SECONDS: u32 = 5;

/// Builds, then shows in a private world.
pub(crate) fn run() -> Result<()> {
    setup::run(&[Purpose::Demo])?;
    product::build(&["portwayd", "portway"])?;
    enter(&["demo-inside".to_owned()])
}

/// The demo itself, inside the private world.
pub(crate) fn inside() -> Result<()> {
    let start = Instant::now();
    println!("Six hosts in network namespaces, one switch:\n{PICTURE}");
    let mut hosts = Hosts::on_veth()?;
    println!("The switch's configuration:\n");
    CONFIG.lines().for_each(|line| println!("  {line}"));
    let switch = Switch::start(CONFIG, PORTS)?;
    println!("\nportwayd runs (process {}).", switch.pid());
    hosts.add_internal()?;

    let mut expectations = Expectations::default();
    let outcome = exercise(&hosts, &mut expectations);
    if outcome.is_err() {
        println!("\nportwayd's log:\n{}", switch.log());
    }
    outcome?;
    println!("\nThe daemon is asked to end:");
    let ended = switch.stop();
    expectations.that(ended.is_ok(), format!("portwayd ended well{}", reason(&ended)));
    expectations.that(!device_is_there("h4")?, "its internal port went with it");
    let met = expectations.conclude()?;
    println!("\ndemo: all {met} expectations met in {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn exercise(hosts: &Hosts, expectations: &mut Expectations) -> Result<()> {
    println!("\nPings between all hosts without a VLAN:");
    for (from, to) in pairs(&hosts.plain, &hosts.plain) {
        let answered = from.host.ping(&to.host, 3)?;
        expectations
            .that(answered == 3, format!("{} -> {}: {answered} of 3 answered", from.host.name, to.host.name));
    }
    println!("\nThe pair in VLAN 20 reaches itself and nobody else:");
    for (from, to) in pairs(&hosts.vlan, &hosts.vlan) {
        let answered = from.host.ping(&to.host, 3)?;
        expectations
            .that(answered == 3, format!("{} -> {}: {answered} of 3 answered", from.host.name, to.host.name));
    }
    let across = pairs(&hosts.vlan[..1], &hosts.plain).chain(pairs(&hosts.plain[..1], &hosts.vlan));
    for (from, to) in across {
        let answered = from.host.ping(&to.host, 2)?;
        let what =
            format!("{} -> {}: {answered} of 2 answered, as it should be", from.host.name, to.host.name);
        expectations.that(answered == 0, what);
    }
    println!("\nOne TCP stream, h1 -> h2, {STREAM_SECONDS} s:");
    let stream = hosts.plain[0].host.stream(&hosts.plain[1].host, STREAM_SECONDS, Path::new(RUN_DIR))?;
    let what = format!("{:.2} Gbit/s, {} segments sent again", stream.gbits, stream.retransmits);
    expectations.that(stream.gbits > 0.1, what);

    show::tables()?;
    println!("\nWhat the switch learned and did:");
    show::expect_learned(hosts, expectations)?;
    show::expect_flows(expectations)
}

/// Every ordered pair of two different stations.
fn pairs<'a>(from: &'a [Station], to: &'a [Station]) -> impl Iterator<Item = (&'a Station, &'a Station)> {
    let all = from.iter().flat_map(move |one| to.iter().map(move |other| (one, other)));
    all.filter(|(one, other)| one.host.name != other.host.name)
}

fn reason(outcome: &Result<()>) -> String {
    outcome.as_ref().err().map(|error| format!(": {error:#}")).unwrap_or_default()
}

/// Whether a host still has its device.
fn device_is_there(host: &str) -> Result<bool> {
    let mut command = std::process::Command::new("ip");
    let devices = command.args(["-n", host, "-brief", "link"]).output().context("ip")?;
    Ok(String::from_utf8_lossy(&devices.stdout).lines().any(|line| line.starts_with("eth0")))
}
