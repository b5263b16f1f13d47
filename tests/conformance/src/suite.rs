// SPDX-License-Identifier: Apache-2.0 OR MIT
//! All scenarios: each in a process of its own, then a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::scenario::{Outcome, Report};

/// A scenario that takes longer is ended.
const TIME_LIMIT: Duration = Duration::from_secs(180);

/// What to replay.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Folders of recordings.
    pub folders: Vec<PathBuf>,
    /// Only this area.
    pub area: Option<String>,
    /// Only the scenarios whose names begin so.
    pub scenario: Option<String>,
}

impl Selection {
    /// The recordings, by name.
    pub fn recordings(&self) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for folder in &self.folders {
            let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
            for entry in entries {
                let path = entry?.path();
                let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
                let wanted = self.scenario.as_ref().is_none_or(|wanted| stem.starts_with(wanted.as_str()));
                if path.extension().is_some_and(|end| end == "json") && wanted && self.is_in_area(&path)? {
                    found.push(path);
                }
            }
        }
        found.sort();
        Ok(found)
    }

    fn is_in_area(&self, path: &Path) -> Result<bool> {
        let Some(area) = &self.area else { return Ok(true) };
        let recording: serde_json::Value = serde_json::from_slice(&std::fs::read(path)?)?;
        Ok(recording["scenario"]["area"] == area.as_str())
    }
}

/// Replays recordings, several at a time, each by running this program again as `--one`. Those that differ are replayed again, one after
/// the other, up to `retries` times.
pub fn run(recordings: &[PathBuf], daemon: &Path, jobs: usize, retries: usize) -> Result<Vec<Report>> {
    let own = std::env::current_exe()?;
    let (next, reports) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some(path) = recordings.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let report = run_one(&own, path, daemon);
                    if let Ok(mut reports) = reports.lock() {
                        reports.push((path, report));
                    }
                }
            });
        }
    });
    let mut reports = reports.into_inner().unwrap_or_default();
    for (path, report) in &mut reports {
        for _ in 0..retries {
            if !differs(report) {
                break;
            }
            let again = run_one(&own, path, daemon);
            report.at_first = differences(report);
            *report = Report { at_first: std::mem::take(&mut report.at_first), ..again };
        }
    }
    let mut reports: Vec<Report> = reports.into_iter().map(|(_, report)| report).collect();
    reports.sort_by(|a, b| (&a.area, &a.name).cmp(&(&b.area, &b.name)));
    Ok(reports)
}

fn differs(report: &Report) -> bool {
    report.steps.iter().any(|step| matches!(step, Outcome::Differs(_)))
}

/// A line for each step that differs.
fn differences(report: &Report) -> Vec<String> {
    let line = |(place, step): (usize, &Outcome)| match step {
        Outcome::Differs(why) => Some(format!("step {place}: {}", why.lines().next().unwrap_or_default())),
        Outcome::SetUp | Outcome::Match | Outcome::Excused(_) | Outcome::HostCannot(_) => None,
    };
    report.steps.iter().enumerate().filter_map(line).collect()
}

fn run_one(own: &Path, path: &Path, daemon: &Path) -> Report {
    let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
    let broken = |why: String| Report {
        name: name.clone(),
        area: "broken".into(),
        steps: vec![Outcome::Differs(why)],
        ..Report::default()
    };
    let limit = TIME_LIMIT.as_secs().to_string();
    let child = Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "private", "--"])
        .args(["timeout", "--kill-after=5", &limit])
        .arg(own)
        .args(["--one".as_ref(), path.as_os_str(), "--daemon".as_ref(), daemon.as_os_str()])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output();
    match child {
        Ok(output) => match serde_json::from_slice(&output.stdout) {
            Ok(report) => report,
            Err(_) => broken(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr))),
        },
        Err(error) => broken(error.to_string()),
    }
}

/// Numbers of an area.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    scenarios: usize,
    scenarios_matched: usize,
    matched: usize,
    in_scope: usize,
    excused: usize,
    host_cannot: usize,
}

impl Tally {
    fn add(&mut self, report: &Report) {
        let count = |wanted: fn(&Outcome) -> bool| report.steps.iter().filter(|step| wanted(step)).count();
        let differs = count(|step| matches!(step, Outcome::Differs(_)));
        let matched = count(|step| matches!(step, Outcome::Match));
        self.scenarios += 1;
        self.scenarios_matched += usize::from(differs == 0);
        self.matched += matched;
        self.in_scope += matched + differs;
        self.excused += count(|step| matches!(step, Outcome::Excused(_)));
        self.host_cannot += count(|step| matches!(step, Outcome::HostCannot(_)));
    }
}

/// The reports as text: what differs, then a line per area. The second: whether every step in scope matches.
pub fn summary(reports: &[Report], verbose: bool) -> (String, bool) {
    let mut text = String::new();
    let mut areas: BTreeMap<&str, Tally> = BTreeMap::new();
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    let mut host: BTreeMap<&str, usize> = BTreeMap::new();
    for report in reports {
        areas.entry(&report.area).or_default().add(report);
        for line in &report.at_first {
            let short: String = line.chars().take(200).collect();
            let _ = writeln!(text, "{} differed at first, {short}", report.name);
        }
        for (place, step) in report.steps.iter().enumerate() {
            match step {
                Outcome::Differs(why) => {
                    let shown: &str = if verbose { why } else { why.lines().next().unwrap_or_default() };
                    let short: String = shown.chars().take(if verbose { 4000 } else { 200 }).collect();
                    let _ = writeln!(text, "{} step {place}: {short}", report.name);
                }
                Outcome::Excused(reason) => *reasons.entry(reason).or_default() += 1,
                Outcome::HostCannot(what) => *host.entry(what).or_default() += 1,
                Outcome::SetUp | Outcome::Match => {}
            }
        }
        if verbose && !report.log.is_empty() {
            let _ = writeln!(text, "{}: the daemon's log\n{}", report.name, report.log);
        }
    }
    let _ = writeln!(
        text,
        "\n{:<10} {:>9} {:>15} {:>8} {:>12}",
        "area", "scenarios", "steps matched", "excused", "host cannot"
    );
    for (area, tally) in &areas {
        let (scenarios, steps) = (
            format!("{}/{}", tally.scenarios_matched, tally.scenarios),
            format!("{}/{}", tally.matched, tally.in_scope),
        );
        let (excused, host) = (tally.excused, tally.host_cannot);
        let _ = writeln!(text, "{area:<10} {scenarios:>9} {steps:>15} {excused:>8} {host:>12}");
    }
    for (reason, count) in &reasons {
        let _ = writeln!(text, "excused, {count} steps: {reason}");
    }
    for (what, count) in &host {
        let short: String = what.chars().take(160).collect();
        let _ = writeln!(text, "not possible on this host, {count} steps: {short}");
    }
    let all = areas.values().all(|tally| tally.matched == tally.in_scope);
    (text, all)
}
