// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is said to the person, on the standard error: once.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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

/// A setting is ignored.
pub(crate) fn not_a_number(name: &str, said: &OsStr, instead: Duration) {
    say(&format!(
        "portway: {name} is {said:?}, which is no number of whole seconds; requests wait for {} seconds\n",
        instead.as_secs()
    ));
}

fn say(line: &str) {
    // SAFETY: the bytes are the string's. Nobody is left to tell if the standard error is closed. One write, past std's locks, which
    // a fork may have left taken.
    unsafe { libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), line.len()) };
}
