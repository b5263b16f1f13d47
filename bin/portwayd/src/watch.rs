// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The thread that follows what others do: to devices, and through netlink to the switch. Asleep until something happens.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, at, never, select};
use portway_datapath::Event as SwitchEvent;
use portway_netwatch::Event;

use crate::control::Control;

/// What nothing tells of is looked at in this rhythm: when a namespace's name appears in a folder, and what happens to internal ports'
/// devices in namespaces that are not watched.
const RHYTHM: Duration = Duration::from_millis(500);

/// Carries out events until nobody sends any.
pub(crate) fn run(control: &Control, devices: &Receiver<Event>, switch: &Receiver<SwitchEvent>) {
    let mut next_look = Instant::now();
    loop {
        let timer = if control.must_look() { at(next_look) } else { never() };
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
                control.look();
                next_look = Instant::now() + RHYTHM;
            }
        }
    }
}
