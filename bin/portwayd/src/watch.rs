// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Devices that ports wait for: attached when they appear.

use std::thread;
use std::time::Duration;

use crate::control::Control;

/// Ports that wait for their device are looked at in this rhythm.
const RHYTHM: Duration = Duration::from_millis(500);

/// Looks for devices as long as the process lives.
pub(crate) fn run(control: &Control) {
    loop {
        thread::sleep(RHYTHM);
        if !control.pending().is_empty() {
            control.retry(&|_| true);
        }
    }
}
