// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The daemon with many ports or none busy: what it costs while nothing happens, how fast it attaches.

use super::row::{Goal, Row};
use super::run::Bench;
use crate::process;
use crate::product::Switch;
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Clock ticks in a second, as `/proc/PID/stat` counts; the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// One measurement: its row, and how many devices to make for it.
struct Case {
    name: &'static str,
    what: &'static str,
    unit: &'static str,
    ports: usize,
    goal: Goal,
    measure: fn(&Bench, &Devices) -> Result<f64>,
}

const CASES: &[Case] = &[
    Case {
        name: "idle-cpu",
        what: "idle: CPU with 100 ports attached and no traffic",
        unit: "% of a core",
        ports: 100,
        goal: Goal::Below { bar: 1.0, aim: 0.2 },
        measure: idle_cpu,
    },
    Case {
        name: "idle-rss",
        what: "idle: resident memory, 4 ports",
        unit: "MiB",
        ports: 4,
        goal: Goal::Below { bar: 40.0, aim: 20.0 },
        measure: resident_memory,
    },
    Case {
        name: "veth-ports",
        what: "500 veth ports: start the daemon and attach all",
        unit: "s",
        ports: 500,
        goal: Goal::Below { bar: 10.0, aim: 3.0 },
        measure: attach_time,
    },
];

/// Adds the rows `idle-cpu`, `idle-rss` and `veth-ports`.
pub(super) fn measure(bench: &Bench, rows: &mut Vec<Row>) -> Result<()> {
    if bench.peers_only() {
        return Ok(());
    }
    for case in CASES.iter().filter(|case| bench.wants(case.name)) {
        bench.tell(case.name);
        let figures = (0..bench.rounds()).map(|_| {
            let devices = Devices::new(case.ports, &bench.scratch)?;
            (case.measure)(bench, &devices)
        });
        let measured = figures.collect::<Result<Vec<_>>>().map(|ours| (ours, None));
        rows.push(Row::new(case.name, case.what, case.unit, case.goal, measured));
    }
    Ok(())
}

/// The names of the rows, all of which need the daemon.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    CASES.iter().map(|case| case.name)
}

fn idle_cpu(bench: &Bench, devices: &Devices) -> Result<f64> {
    let switch = devices.attach()?;
    std::thread::sleep(Duration::from_secs(2)); // what starting left to do
    let seconds = if bench.rounds() == 1 { 5 } else { 10 };
    let before = cpu_seconds(switch.pid())?;
    std::thread::sleep(Duration::from_secs(seconds));
    Ok((cpu_seconds(switch.pid())? - before) / seconds as f64 * 100.0)
}

fn resident_memory(_bench: &Bench, devices: &Devices) -> Result<f64> {
    let switch = devices.attach()?;
    std::thread::sleep(Duration::from_secs(1));
    let status = std::fs::read_to_string(format!("/proc/{}/status", switch.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}

fn attach_time(_bench: &Bench, devices: &Devices) -> Result<f64> {
    let start = Instant::now();
    let switch = devices.attach()?;
    let taken = start.elapsed().as_secs_f64();
    drop(switch);
    Ok(taken)
}

/// User and system time that a process has used: fields 14 and 15 of its `stat`, counted behind the name.
fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("stat without a name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |index: usize| -> Result<f64> { Ok(fields.get(index).context("stat too short")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

/// Veth pairs, both ends here and up.
struct Devices {
    count: usize,
}

impl Devices {
    fn new(count: usize, scratch: &Path) -> Result<Self> {
        let devices = Self { count };
        process::run(
            Command::new("sh").args(["-c", "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6"]),
        )?;
        let mut batch = String::new();
        for number in 0..count {
            let _ = writeln!(batch, "link add p{number} up type veth peer name q{number}");
            let _ = writeln!(batch, "link set q{number} up");
        }
        devices.batch(scratch, &batch)?;
        Ok(devices)
    }

    /// A switch with one end of each pair as a port.
    fn attach(&self) -> Result<Switch> {
        let mut config = "[[bridge]]\nname = \"br0\"\n".to_owned();
        for number in 0..self.count {
            let _ = writeln!(config, "[[bridge.port]]\nname = \"p{number}\"");
        }
        Switch::start(&config, self.count)
    }

    fn batch(&self, scratch: &Path, commands: &str) -> Result<()> {
        let file = scratch.join("ip-batch");
        std::fs::write(&file, commands)?;
        process::capture(Command::new("ip").arg("-batch").arg(&file)).map(drop)
    }
}

impl Drop for Devices {
    fn drop(&mut self) {
        let mut batch = String::new();
        for number in 0..self.count {
            let _ = writeln!(batch, "link del p{number}");
        }
        let _ = self.batch(Path::new(crate::world::RUN_DIR), &batch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_cpu_time_is_read_and_grows() {
        let before = cpu_seconds(std::process::id()).unwrap();
        let start = Instant::now();
        let mut work = 0_u64;
        while start.elapsed() < Duration::from_millis(60) {
            work = std::hint::black_box(work + 1);
        }
        let used = cpu_seconds(std::process::id()).unwrap() - before;
        assert!((0.01..10.0).contains(&used), "{used}");
    }
}
