// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One scenario, in a process of its own: its namespaces, its daemon, its steps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::compare::difference;
use crate::daemon::Daemon;
use crate::excuses::{Excuse, excuse};
use crate::modules::counterpart;
use crate::player::Player;

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Carried out; there is nothing to compare.
    SetUp,
    /// The same as recorded.
    Match,
    /// Not the same.
    Differs(String),
    /// Not the same, and on the list of excuses.
    Excused(String),
    /// This host cannot make what the step needs.
    HostCannot(String),
}

/// What became of a scenario.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Its area.
    pub area: String,
    /// Its name.
    pub name: String,
    /// Its steps.
    pub steps: Vec<Outcome>,
    /// What differed when it was replayed before.
    #[serde(default)]
    pub at_first: Vec<String>,
    /// What the daemon logged, if something is wrong.
    pub log: String,
}

/// Hides the host from what follows. The network and mount namespaces are new: see `suite.rs`.
fn isolate() -> Result<()> {
    std::fs::create_dir_all("/run/netns")?;
    // sysfs shows the devices of the network namespace that mounted it.
    for (kind, place) in [("tmpfs", "/run/netns"), ("sysfs", "/sys")] {
        let mounted = Command::new("mount").args(["-t", kind, kind, place]).status()?;
        anyhow::ensure!(mounted.success(), "mount {place}: {mounted}");
    }
    Ok(())
}

/// Plays the recording `path` against a fresh daemon `program`.
pub fn run(path: &Path, program: &Path) -> Result<Report> {
    isolate()?;
    let recording: Value = serde_json::from_slice(&std::fs::read(path)?)?;
    let scenario = &recording["scenario"];
    let name = recording["name"].as_str().unwrap_or_default().to_owned();
    let folder = tempfile::tempdir()?;
    let mut daemon = Daemon::start(program, folder.path())?;
    let mut player = Player::new(daemon.socket(), daemon.pid(), scenario, daemon.modules())?;
    let mut judge = Judge { name: name.clone(), missing: BTreeSet::new(), unmade: BTreeMap::new() };
    let mut report =
        Report { area: scenario["area"].as_str().unwrap_or("?").into(), name, ..Report::default() };
    let unstable: Vec<u64> =
        scenario["unstable_steps"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
    for (place, step) in recording["steps"].as_array().into_iter().flatten().enumerate() {
        let (what, recorded) = (&step["do"], &step["got"]);
        player.expect(!judge.is_vain(place, what, recorded));
        let seen = player.step(what, recorded);
        let outcome = if unstable.contains(&(place as u64)) {
            Outcome::SetUp
        } else if daemon.is_alive() {
            judge.step(place, what, recorded, seen)
        } else {
            Outcome::Differs("the daemon has ended".into())
        };
        report.steps.push(outcome);
    }
    if report.steps.iter().any(|step| matches!(step, Outcome::Differs(_))) {
        report.log = daemon.log();
    }
    Ok(report)
}

struct Judge {
    name: String,
    /// Devices that this host could not make.
    missing: BTreeSet<String>,
    /// Ports that a later part of the project makes, with the excuse.
    unmade: BTreeMap<String, Excuse>,
}

/// Whether steps of this kind are compared.
fn is_compared(what: &Value) -> bool {
    let op = what["op"].as_str().unwrap_or_default();
    matches!(op, "nl" | "inject" | "collect" | "mcast" | "modules")
}

/// Names that a command of iproute2 would have made.
fn made_by(args: &str) -> Vec<String> {
    let words: Vec<&str> = args.split_whitespace().collect();
    let after = |word: &str| words.iter().position(|known| *known == word).and_then(|at| words.get(at + 1));
    match words.as_slice() {
        ["link", "add", "link" | "name", ..] => {
            after("name").into_iter().map(|name| (*name).into()).collect()
        }
        ["link", "add", name, ..] => vec![(*name).into()],
        ["tuntap", "add", name, ..] => vec![(*name).into()],
        _ => Vec::new(),
    }
}

fn names(value: &Value, name: &str) -> bool {
    let at = format!("@{name}");
    match value {
        Value::String(text) => {
            text == name || *text == at || text.split_whitespace().any(|word| word == name)
        }
        Value::Array(list) => list.iter().any(|value| names(value, name)),
        Value::Object(map) => map.values().any(|value| names(value, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

impl Judge {
    /// Whether a step will hardly do what is recorded.
    fn is_vain(&self, place: usize, what: &Value, recorded: &Value) -> bool {
        let named = |device: &String| names(what, device) || names(recorded, device);
        self.missing.iter().chain(self.unmade.keys()).any(named)
            || matches!(excuse(&self.name, place), Some(Excuse::Later(_)))
    }

    fn step(&mut self, place: usize, what: &Value, recorded: &Value, seen: Result<Value>) -> Outcome {
        let seen = seen.unwrap_or_else(|error| json!({"error": format!("{error:#}")}));
        let is_named = |device: &&String| [what, recorded, &seen].iter().any(|value| names(value, device));
        if let Some(device) = self.missing.iter().find(is_named).cloned() {
            if what["op"] == "ip" {
                self.missing.extend(made_by(what["args"].as_str().unwrap_or_default()));
            }
            return Outcome::HostCannot(device);
        }
        if let Some((_, excuse)) = self.unmade.iter().find(|(port, _)| is_named(port)) {
            return Outcome::Excused(excuse.reason().into());
        }
        if !is_compared(what) {
            let outcome = self.set_up(what, recorded, &seen);
            return match (outcome, excuse(&self.name, place)) {
                (Outcome::Differs(_), Some(excuse)) => Outcome::Excused(excuse.reason().into()),
                (outcome, _) => outcome,
            };
        }
        let mut recorded = recorded.clone();
        if what["op"] == "modules" {
            recorded = json!({"modules": counterpart(&recorded["modules"])});
        }
        let found = match seen.get("error") {
            Some(error) => Some(format!("could not be done: {error}")),
            None => difference(what, &recorded, &seen),
        };
        let excuse = excuse(&self.name, place);
        match (found, excuse) {
            (None, _) => Outcome::Match,
            (Some(found), None) => Outcome::Differs(found),
            (Some(_), Some(excuse)) => {
                self.note_unmade(what, &recorded, excuse);
                Outcome::Excused(excuse.reason().into())
            }
        }
    }

    /// A port that an excused step did not make: later steps that name it are excused, too.
    fn note_unmade(&mut self, what: &Value, recorded: &Value, excuse: Excuse) {
        let makes = what["family"] == "ovs_vport" && what["cmd"] == "NEW" && recorded["errno"] == 0;
        let name = what["attrs"].as_array().into_iter().flatten().find(|attr| attr[0] == "NAME");
        if let (true, Some(name)) = (makes, name.and_then(|attr| attr[1].as_str())) {
            self.unmade.insert(name.to_owned(), excuse);
        }
    }

    /// A step that prepares: if it worked there and not here, the host lacks something.
    fn set_up(&mut self, what: &Value, recorded: &Value, seen: &Value) -> Outcome {
        let failed = |value: &Value| value.get("rc").is_some_and(|rc| *rc != 0);
        if seen.get("error").is_none() && (failed(recorded) || !failed(seen)) {
            return Outcome::SetUp;
        }
        let args = match &what["args"] {
            Value::Array(args) => args.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
            args => args.as_str().unwrap_or_default().to_owned(),
        };
        let made = made_by(&args);
        let text = format!("{what}: {seen}");
        if made.is_empty() {
            return Outcome::Differs(format!("set-up failed: {text}"));
        }
        self.missing.extend(made);
        Outcome::HostCannot(text)
    }
}
