// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The daemon with a config file, asked through the command line. Sockets and state lie in the world's own `/run`,
//! where both programs look for them by default.

use super::build::{lay_out_modules, program};
use crate::process;
use crate::world::{Daemon, RUN_DIR};
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A running daemon.
pub(crate) struct Switch {
    daemon: Daemon,
}

impl Switch {
    /// Starts the daemon with this configuration and waits until it answers and has `ports` ports.
    pub(crate) fn start(config: &str, ports: usize) -> Result<Self> {
        let folder = Path::new(RUN_DIR);
        let (file, modules, state) =
            (folder.join("portway.toml"), folder.join("modules"), folder.join("state"));
        std::fs::write(&file, config).context("config file")?;
        let _ = std::fs::remove_dir_all(&state);
        lay_out_modules(&modules)?;
        let mut command = Command::new(program("portwayd"));
        command.arg("--config").arg(&file).arg("--socket-dir").arg(folder);
        command.arg("--module-path").arg(&modules).arg("--state-dir").arg(&state);
        let mut daemon = Daemon::start(&mut command, &folder.join("portwayd.log"))?;
        daemon.wait_until(Duration::from_secs(60), || count_ports().is_ok_and(|count| count >= ports))?;
        Ok(Self { daemon })
    }

    /// The daemon's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// What the daemon has logged.
    pub(crate) fn log(&self) -> String {
        self.daemon.output()
    }

    /// Ends it as an init system would, and tells if it did not end well.
    pub(crate) fn stop(self) -> Result<()> {
        self.daemon.stop(Duration::from_secs(10))
    }
}

/// What `portway <arguments>` prints.
pub(crate) fn portway(arguments: &[&str]) -> Result<String> {
    process::capture(Command::new(program("portway")).args(arguments))
}

/// What `portway --json <arguments>` answers.
pub(crate) fn portway_json(arguments: &[&str]) -> Result<Value> {
    let answer = process::capture(Command::new(program("portway")).arg("--json").args(arguments))?;
    serde_json::from_str(&answer)
        .with_context(|| format!("`portway --json {}` said: {answer}", arguments.join(" ")))
}

/// How many ports carry traffic, those that come with a bridge not counted.
fn count_ports() -> Result<usize> {
    let answer = portway_json(&["port", "list"])?;
    let ports = answer.as_array().context("`portway --json port list` gave no list")?;
    Ok(ports.iter().filter(|port| port["state"] == "attached" && port["origin"] != "bridge").count())
}
