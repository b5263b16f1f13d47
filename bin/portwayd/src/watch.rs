// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The thread that follows what others do: to devices, and through netlink to the switch. Asleep until something happens.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, at, never, select};
use portway_datapath::Event as SwitchEvent;
use portway_netwatch::Event;

use crate::control::Control;

/// Namespaces that ports wait for are looked for in this rhythm: nothing tells when a name appears in a folder.
const RHYTHM: Duration = Duration::from_millis(500);

/// Carries out events until nobody sends any.
pub(crate) fn run(control: &Control, devices: &Receiver<Event>, switch: &Receiver<SwitchEvent>) {
    let mut next_look = Instant::now();
    loop {
        let timer = if control.waits_for_namespaces() { at(next_look) } else { never() };
        select! {
            recv(devices) -> event => match event {
                Ok(event) => control.device_event(&event),
                Err(_) => return,
            },
            recv(switch) -> event => match event {
                Ok(event) => control.switch_event(&event),
                Err(_) => return,
            },
            recv(timer) -> _ => {
                control.retry(&|(netns, _)| netns.is_some());
                next_look = Instant::now() + RHYTHM;
            }
        }
    }
}
