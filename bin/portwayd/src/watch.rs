// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The thread that follows devices: asleep until something happens to one.

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use portway_netwatch::Event;

use crate::control::Control;

/// Namespaces that ports wait for are looked for in this rhythm: nothing tells when a name appears in a folder.
const RHYTHM: Duration = Duration::from_millis(500);

/// Carries out events until nobody sends any.
pub(crate) fn run(control: &Control, events: &Receiver<Event>) {
    loop {
        let event = if control.waits_for_namespaces() {
            events.recv_timeout(RHYTHM)
        } else {
            events.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        match event {
            Ok(event) => control.device_event(&event),
            Err(RecvTimeoutError::Timeout) => control.retry(&|(netns, _)| netns.is_some()),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
