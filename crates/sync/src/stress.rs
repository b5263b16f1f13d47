// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the stress tests share.

use std::sync::atomic::{AtomicBool, Ordering};

/// Runs `readers` threads of `read` over and over for as long as `write` runs, which it does on this thread. Also stops
/// them when `write` panics.
pub(crate) fn read_while(readers: usize, read: impl Fn(&dyn Fn() -> bool) + Sync, write: impl FnOnce()) {
    struct StopAtEnd<'a>(&'a AtomicBool);
    impl Drop for StopAtEnd<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..readers {
            scope.spawn(|| read(&|| !stop.load(Ordering::Relaxed)));
        }
        let _stop = StopAtEnd(&stop);
        write();
    });
}
