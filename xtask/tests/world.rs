// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The private world of demo and bench: it works, and nothing outlives it however it ends. Needs root.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "says why it does nothing")]

use signal_hook::consts::{SIGINT, SIGKILL};
use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A measurement that makes hosts, a bridge and a TCP stream, and needs no package but iproute2, ping and iperf3.
fn xtask() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["bench", "--peers-only", "--quick", "--json", "stream-bridge"]).stdin(Stdio::null());
    command
}

#[test]
fn a_stream_is_measured() {
    if !is_root() {
        return;
    }
    let output = xtask().output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(rows[0]["name"], "stream-bridge");
    assert!(rows[0]["peer"]["rounds"][0].as_f64().unwrap() > 0.01, "{rows}");
}

#[test]
fn a_signal_ends_everything() {
    if !is_root() {
        return;
    }
    for (signal, code) in [(SIGINT, Some(130)), (SIGKILL, None)] {
        let mut running = xtask().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_until("iperf3 runs", || descendants(&running).iter().any(|pid| name(*pid) == "iperf3"));
        let inside = descendants(&running);
        let kill =
            Command::new("kill").args([format!("-{signal}"), running.id().to_string()]).status().unwrap();
        assert!(kill.success());
        assert_eq!(running.wait().unwrap().code(), code);
        wait_until("all processes are gone", || inside.iter().all(|pid| name(*pid).is_empty()));
    }
}

fn is_root() -> bool {
    let root =
        std::fs::metadata("/proc/self").is_ok_and(|owner| std::os::unix::fs::MetadataExt::uid(&owner) == 0);
    if !root {
        println!("skipped: network namespaces need root");
    }
    root
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(120), "not after two minutes: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The processes that come from this one, over all generations.
fn descendants(of: &Child) -> BTreeSet<u32> {
    let mut found = BTreeSet::from([of.id()]);
    loop {
        let before = found.len();
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let children: Vec<_> =
            pids.filter(|pid| parent(*pid).is_some_and(|parent| found.contains(&parent))).collect();
        found.extend(children);
        if found.len() == before {
            found.remove(&of.id());
            return found;
        }
    }
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// The program's name; empty for a process that has ended, waited for or not.
fn name(pid: u32) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let Some((start, rest)) = stat.rsplit_once(')') else { return String::new() };
    if rest.trim_start().starts_with('Z') {
        return String::new();
    }
    start.split_once('(').map_or_else(String::new, |(_, name)| name.to_owned())
}
