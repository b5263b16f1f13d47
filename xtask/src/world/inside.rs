// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the first process of the private world does before anything else.

use crate::process;
use anyhow::{Context, Result, bail};
use std::io::Read;
use std::process::Command;
use std::sync::Mutex;

/// The folder for sockets, state and scratch files: memory that vanishes with the world.
pub(crate) const RUN_DIR: &str = "/run/portway";

/// What must be undone outside the world should it end early.
static UNDO: Mutex<Vec<fn()>> = Mutex::new(Vec::new());

/// Makes the world ready: an own `/run` (so `ip netns` names are private) and `/sys`, loopback up, and the watch on
/// the pipe from outside that ends everything.
pub(crate) fn settle() -> Result<()> {
    if std::process::id() != 1 {
        bail!("this command is run by the others in a private world, not by hand");
    }
    std::thread::spawn(|| {
        // Nothing is ever sent: a read returns when the outside lets go.
        let _ = std::io::stdin().read(&mut [0]);
        println!("\ninterrupted: cleaning up");
        for undo in UNDO.lock().map(|undo| undo.clone()).unwrap_or_default() {
            undo();
        }
        std::process::exit(130);
    });
    process::run(Command::new("mount").args(["-t", "tmpfs", "tmpfs", "/run"]))?;
    process::run(Command::new("mount").args(["-t", "sysfs", "sysfs", "/sys"]))?;
    process::run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    std::fs::create_dir_all(RUN_DIR).context(RUN_DIR)
}

/// Has `undo` called if the world ends because of a signal.
pub(crate) fn at_interrupt(undo: fn()) {
    if let Ok(mut list) = UNDO.lock() {
        list.push(undo);
    }
}
