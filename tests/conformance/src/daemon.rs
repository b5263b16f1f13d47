// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The daemon under test: a `portwayd` of its own for each scenario.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use portway_api::{Client, Reply, Request, SOCKET_NAME};
use serde_json::{Map, Value};

use crate::modules::Modules;

/// A daemon starts within this time.
const START: Duration = Duration::from_secs(120);

/// A running daemon; ended when dropped.
pub(crate) struct Daemon {
    child: Child,
    folder: PathBuf,
}

impl Daemon {
    /// Starts `program` in the namespace that we are in, with its files in `folder`.
    pub(crate) fn start(program: &Path, folder: &Path) -> Result<Self> {
        let log = File::create(folder.join("log"))?;
        let modules = program.parent().unwrap_or(Path::new("."));
        let child = Command::new(program)
            .arg("--socket-dir")
            .arg(folder)
            .arg("--state-dir")
            .arg(folder)
            .arg("--socket")
            .arg(folder.join("netlink.sock"))
            .arg("--module-path")
            .arg(modules)
            .args(["--config", "/dev/null"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut daemon = Self { child, folder: folder.to_owned() };
        daemon.wait_until_ready()?;
        Ok(daemon)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START;
        // The socket is there a moment before somebody listens at it.
        while !self.log().contains(" is ready") {
            if let Some(status) = self.child.try_wait()? {
                bail!("the daemon ended at once, {status}: {}", self.log());
            }
            if Instant::now() > deadline {
                bail!("the daemon does not get ready: {}", self.log());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("netlink.sock")
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its modules.
    pub(crate) fn modules(&self) -> Box<dyn Modules> {
        Box::new(ByControlSocket { folder: self.folder.clone() })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks by the daemon's control socket.
struct ByControlSocket {
    folder: PathBuf,
}

impl ByControlSocket {
    fn call(&self, request: &Request) -> Result<Reply> {
        Ok(Client::connect(&self.folder.join(SOCKET_NAME))?.call(request)?)
    }
}

impl Modules for ByControlSocket {
    fn loaded(&mut self) -> Result<Value> {
        let Reply::Modules(modules) = self.call(&Request::ModuleList)? else {
            bail!("not a list of modules")
        };
        let tunnels = [("vport_gre", 3), ("vport_vxlan", 4), ("vport_geneve", 5)];
        let mut loaded = Map::new();
        for (name, number) in tunnels {
            if let Some(module) = modules.iter().find(|module| module.port_type == number) {
                loaded.insert(name.into(), module.ports.into());
            }
        }
        Ok(Value::Object(loaded))
    }

    fn modprobe(&mut self, args: &str) -> Result<()> {
        let number = match args.strip_prefix("-r ") {
            Some("vport_gre") => "3",
            Some("vport_vxlan") => "4",
            Some("vport_geneve") => "5",
            _ => return Ok(()),
        };
        self.call(&Request::ModuleUnload { module: number.into() }).map(drop)
    }
}
