// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A program that runs in the background and ends with its guard.

use crate::process;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running daemon; its output goes to a file that is shown when it fails.
pub(crate) struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts it. `log`: where its output goes.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| log.display().to_string())?;
        let name = process::show(command);
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start `{name}`"))?;
        Ok(Self { name, child, log: log.to_owned() })
    }

    /// Waits until `is_ready` says so; an error if the program ends first or `limit` passes.
    pub(crate) fn wait_until(&mut self, limit: Duration, mut is_ready: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            if is_ready() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("`{}` ended: {status}\n{}", self.name, self.output());
            }
            if Instant::now() > deadline {
                bail!("`{}` was not ready after {} s\n{}", self.name, limit.as_secs(), self.output());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Asks it to end (SIGTERM) and tells whether it ended well within `limit`.
    pub(crate) fn stop(mut self, limit: Duration) -> Result<()> {
        process::run(Command::new("kill").args(["-TERM", &self.pid().to_string()]))?;
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                bail!("`{}` ended badly: {status}\n{}", self.name, self.output());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("`{}` did not end within {} s", self.name, limit.as_secs())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
