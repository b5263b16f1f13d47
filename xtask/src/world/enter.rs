// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The way in: this program starts itself again as the first process of the private world.

use crate::process::{self, Told};
use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long the inside may take to end once it is told to, before it is killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether this process may make a private world.
pub(crate) fn can_enter() -> bool {
    let mut probe = Command::new("unshare");
    probe.args(["--net", "--mount", "--ipc", "--pid", "--fork", "--mount-proc", "--", "true"]);
    process::is_root() && process::capture(&mut probe).is_ok()
}

/// Runs `cargo xtask <arguments>` inside and waits for it.
///
/// The inside holds the reading end of a pipe from here as its standard input: when that ends, because of a signal or
/// because this process is gone, it ends too.
pub(crate) fn enter(arguments: &[String]) -> Result<()> {
    if !process::is_root() {
        bail!(
            "network namespaces need root: run it with sudo, as in `sudo -E env PATH=$PATH cargo xtask ...`"
        );
    }
    let copy = OwnCopy::make()?;
    let mut child = Command::new("unshare")
        .args(["--net", "--mount", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
        .arg(&copy.0)
        .args(["world", "--"])
        .args(arguments)
        .env("PATH", std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin")
        .stdin(Stdio::piped())
        .process_group(0) // Ctrl-C comes to us alone, and we tell the inside
        .spawn()
        .context("cannot start `unshare`")?;
    let leash = Arc::new(Mutex::new(child.stdin.take()));
    let interrupted = hold_leash(&mut child, Arc::clone(&leash))?;
    let status = child.wait()?;
    interrupted.close();
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => bail!(Told(u8::try_from(code).unwrap_or(1))),
        None => bail!("`unshare` ended: {status}"),
    }
}

/// A copy of this program: cargo replaces the file it was started from when it builds the workspace, and tests do that.
struct OwnCopy(PathBuf);

impl OwnCopy {
    fn make() -> Result<Self> {
        let copy = Self(std::env::temp_dir().join(format!("portway-xtask-{}", std::process::id())));
        // This link leads to the file that runs, replaced or not.
        std::fs::copy("/proc/self/exe", &copy.0)
            .with_context(|| format!("cannot copy this program to {}", copy.0.display()))?;
        Ok(copy)
    }
}

impl Drop for OwnCopy {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// On a signal: lets go of the pipe, and kills the inside should it not end in time.
fn hold_leash<Pipe: Send + 'static>(
    child: &mut Child,
    leash: Arc<Mutex<Option<Pipe>>>,
) -> Result<signal_hook::iterator::Handle> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let handle = signals.handle();
    let pid = child.id().to_string();
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            drop(leash.lock().map(|mut pipe| pipe.take()));
            std::thread::sleep(PATIENCE);
            // Still here: `--kill-child` makes this the end of the first process, and so of all inside.
            let _ = Command::new("kill").args(["-KILL", &pid]).status();
        }
    });
    Ok(handle)
}
