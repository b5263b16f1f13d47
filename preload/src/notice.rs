// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is said to the person, on the standard error: once.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;

static SAID: AtomicBool = AtomicBool::new(false);

/// portwayd cannot be reached.
pub(crate) fn not_there(path: &Path, errno: Errno) {
    if SAID.swap(true, Ordering::Relaxed) {
        return;
    }
    let why = std::io::Error::from(errno);
    say(&format!(
        "portway: portwayd cannot be reached at {} ({why}); this program sees a kernel without Open vSwitch until it can\n",
        path.display()
    ));
}

/// portwayd has been restarted. A program that was started with `PORTWAY_ON_RESTART=end` ends, by SIGALRM: a new portwayd has none
/// of the datapaths that it made, and its supervisor (systemd, or its own `--monitor`) starts it anew, on which it makes them.
pub(crate) fn restarted() {
    static ENDING: AtomicBool = AtomicBool::new(false);
    let is_wanted = std::env::var_os("PORTWAY_ON_RESTART").is_some_and(|wanted| wanted == "end");
    if is_wanted && !ENDING.swap(true, Ordering::Relaxed) {
        say("portway: portwayd has been restarted; this program ends, to be started again\n");
        // SAFETY: no memory is passed.
        unsafe { libc::kill(libc::getpid(), libc::SIGALRM) };
    }
}

fn say(line: &str) {
    // SAFETY: the bytes are the string's. Nobody is left to tell if the standard error is closed. One write, past std's locks, which
    // a fork may have left taken.
    unsafe { libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), line.len()) };
}
