// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the switch knows and did, as its own command line tells it.

use super::expect::Expectations;
use super::topology::Hosts;
use crate::product::{portway, portway_json};
use anyhow::{Context, Result};

/// Prints what a person would ask for.
pub(super) fn tables() -> Result<()> {
    for arguments in
        [&["show"][..], &["bridge", "fdb", "br0"], &["flow", "list", "br0"], &["port", "stats"], &["drops"]]
    {
        println!("\n$ portway {}", arguments.join(" "));
        for line in portway(arguments)?.lines() {
            println!("  {line}");
        }
    }
    Ok(())
}

/// Every host was learned, at its port and in its VLAN, and nowhere else.
pub(super) fn expect_learned(hosts: &Hosts, expectations: &mut Expectations) -> Result<()> {
    let table = portway_json(&["bridge", "fdb", "br0"])?;
    let entries = table.as_array().context("the learned table is no list")?;
    let stations =
        hosts.plain.iter().map(|station| (station, 0)).chain(hosts.vlan.iter().map(|station| (station, 20)));
    for (station, vlan) in stations {
        let places: Vec<_> = entries
            .iter()
            .filter(|entry| entry["mac"] == station.host.mac.as_str())
            .map(|entry| (entry["vlan"].as_u64(), entry["port"].as_str()))
            .collect();
        let what =
            format!("{} was learned in VLAN {vlan} at {} and nowhere else", station.host.mac, station.port);
        expectations.that(places == [(Some(vlan), Some(station.port))], what);
    }
    Ok(())
}

/// The datapath holds flows, and most packets went through them without an upcall.
pub(super) fn expect_flows(expectations: &mut Expectations) -> Result<()> {
    let table = portway_json(&["flow", "list", "br0"])?;
    let flows = table.as_array().context("the flow table is no list")?;
    let packets: u64 = flows.iter().filter_map(|flow| flow["packets"].as_u64()).sum();
    expectations.that(!flows.is_empty(), format!("the datapath holds {} flows", flows.len()));
    expectations.that(packets > 100, format!("they carried {packets} packets"));
    Ok(())
}
