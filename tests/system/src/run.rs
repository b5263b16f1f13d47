// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Running programs.

use std::io::BufReader;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// What a program said, and whether it succeeded.
#[derive(Debug)]
pub struct Said {
    /// The standard output.
    pub out: String,
    /// The standard error.
    pub err: String,
    /// Whether it succeeded.
    pub ok: bool,
}

/// Runs a program to its end.
pub fn said(command: &mut Command) -> Said {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Said {
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
        ok: output.status.success(),
    }
}

/// Runs a program that must succeed; its standard output.
pub(crate) fn run(command: &mut Command) -> String {
    let said = said(command);
    assert!(said.ok, "{command:?}: {}{}", said.out, said.err);
    said.out
}

/// Starts a program that goes on; it is ended with the returned value.
pub fn background(command: &mut Command) -> Background {
    command.stdin(Stdio::null());
    Background(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
}

/// A program that goes on until this is dropped.
#[derive(Debug)]
pub struct Background(pub(crate) Child);

impl From<Child> for Background {
    fn from(child: Child) -> Self {
        Self(child)
    }
}

impl Background {
    /// What the program says, if that was piped and nobody has taken it yet.
    pub fn take_output(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.0.stdout.take().expect("the output is piped"))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits until the program ends by itself; whether it succeeded.
    pub fn wait(&mut self) -> bool {
        self.0.wait().is_ok_and(|status| status.success())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lines of a log that a failed test shows.
const SHOWN: usize = 150;

/// The last lines of a log, without the counters that `ovs-vswitchd` writes into its own when it was held up.
pub(crate) fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains("|coverage")).collect();
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}

/// How long [`within`] is patient. Two minutes: a machine may be slow and loaded, and a monitor may wait ten seconds before it starts
/// a daemon again. What holds at once is seen at once.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until something holds; panics with `what` if it does not within two minutes.
pub fn within(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "not within {} seconds: {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(20));
    }
}
