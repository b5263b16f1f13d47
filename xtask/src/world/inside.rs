// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The first process of the private world: makes it ready, runs one command in it, and ends it.

use crate::process;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, WaitOptions, wait};
use std::io::Read;
use std::process::{Command, ExitCode, Stdio};

/// The folder for sockets, state and scratch files: memory that vanishes with the world.
pub(crate) const RUN_DIR: &str = "/run/portway";

/// The machine's number of huge pages, which a run may raise.
pub(crate) const HUGE_PAGES: &str = "/proc/sys/vm/nr_hugepages";

/// Where a run that raises it notes what it was, for the world's end to put back.
pub(crate) const HUGE_PAGES_NOTE: &str = "/run/huge-pages-before";

/// Runs `cargo xtask <arguments>` and gives its exit code. When this returns the process must end, and the kernel
/// ends all others with it.
pub(crate) fn inside(arguments: &[String]) -> Result<ExitCode> {
    if std::process::id() != 1 {
        bail!("this command is run by the others in a private world, not by hand");
    }
    std::thread::spawn(|| {
        // Nothing is ever sent: a read returns when the outside lets go.
        let _ = std::io::stdin().read(&mut [0]);
        println!("\ninterrupted; everything is cleaned up");
        give_huge_pages_back();
        std::process::exit(130);
    });
    settle()?;
    let child = Command::new(std::env::current_exe()?).args(arguments).stdin(Stdio::null()).spawn()?;
    let code = reap_until(Pid::from_child(&child))?;
    give_huge_pages_back();
    Ok(code.into())
}

/// An own `/run`, so that `ip netns` names are private, an own view of the devices, and loopback up.
fn settle() -> Result<()> {
    process::run(Command::new("mount").args(["-t", "tmpfs", "tmpfs", "/run"]))?;
    process::run(Command::new("mount").args(["-t", "sysfs", "sysfs", "/sys"]))?;
    process::run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    std::fs::create_dir_all(RUN_DIR).context(RUN_DIR)
}

/// Waits for every process that ends here, as a first process must, until this one does.
fn reap_until(main: Pid) -> Result<u8> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == main => {
                return Ok(status.exit_status().and_then(|code| u8::try_from(code).ok()).unwrap_or(1));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("waiting for the processes of the private world"),
        }
    }
}

/// Puts the number of huge pages back if this world has raised it.
pub(crate) fn give_huge_pages_back() {
    if let Ok(before) = std::fs::read_to_string(HUGE_PAGES_NOTE) {
        let _ = std::fs::write(HUGE_PAGES, before);
        let _ = std::fs::remove_file(HUGE_PAGES_NOTE);
    }
}
