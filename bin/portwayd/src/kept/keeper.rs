// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The thread that writes down what is to be kept, whenever it changes, and not too often.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use portway_datapath::{Event, Switch};
use portway_uapi::openvswitch::OVS_VPORT_TYPE_INTERNAL;
use vport_internal::OPTION_LASTING;

use super::what::{File, Kept, is_clients};

/// The file is written no more often than this. What changes meanwhile is in the next one.
const PAUSE: Duration = Duration::from_millis(50);

/// The thread.
pub(crate) struct Keeper {
    /// Says that something has changed of which the switch tells no event.
    changed: Sender<()>,
    /// Dropped to end the thread.
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

struct Work {
    file: File,
    switch: Arc<Switch>,
    /// What the file says; `None`: it could not be written.
    written: Option<Vec<Kept>>,
    has_failed: bool,
}

impl Keeper {
    /// Starts it. What is there already is written down first.
    pub(crate) fn start(file: File, switch: Arc<Switch>) -> std::io::Result<Self> {
        let events = switch.subscribe();
        let (changed, changes) = bounded(1);
        let (stop, stopped) = bounded(0);
        let mut work = Work { file, switch, written: None, has_failed: false };
        let run = move || work.run(&events, &changes, &stopped);
        let thread = thread::Builder::new().name("keeper".to_owned()).spawn(run)?;
        Ok(Self { changed, stop, thread })
    }

    /// To be called after a change of which the switch tells no event: of options, or of upcall port ids.
    pub(crate) fn on_change(&self) -> impl Fn() + Send + use<> {
        let changed = self.changed.clone();
        // If it is full, the thread is about to look anyway.
        move || {
            let _ = changed.try_send(());
        }
    }

    /// Writes down the last state and ends. Ports are no longer destroyed in an orderly way after this: the process is to end.
    pub(crate) fn finish(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("what netlink clients have made is not kept: the thread had failed");
        }
    }
}

impl Work {
    fn run(&mut self, events: &Receiver<Event>, changes: &Receiver<()>, stopped: &Receiver<()>) {
        loop {
            self.round();
            thread::sleep(PAUSE);
            let mut is_end = false;
            select! {
                recv(events) -> _ => {}
                recv(changes) -> _ => {}
                recv(stopped) -> _ => is_end = true,
            }
            // One look is enough for all that has happened so far.
            events.try_iter().for_each(drop);
            changes.try_iter().for_each(drop);
            if is_end {
                self.round();
                // The switch's end would be that of its ports, and of their devices.
                std::mem::forget(Arc::clone(&self.switch));
                return;
            }
        }
    }

    fn round(&mut self) {
        let now = Kept::all(&self.switch);
        if self.written.as_ref() == Some(&now) || (now.is_empty() && !self.file.exists()) {
            return;
        }
        match self.file.save(&now) {
            Ok(()) => {
                self.written = Some(now);
                self.has_failed = false;
                self.make_lasting();
            }
            Err(error) => {
                self.written = None;
                if !std::mem::replace(&mut self.has_failed, true) {
                    tracing::error!("what netlink clients make would not survive a restart: {error}");
                }
            }
        }
    }

    /// The devices that the file names outlive the process from now on.
    fn make_lasting(&self) {
        let mut option = Vec::new();
        if portway_vport::options::push(&mut option, OPTION_LASTING, &1_u32.to_ne_bytes()).is_err() {
            return;
        }
        for datapath in self.switch.datapaths().iter().filter(|datapath| is_clients(datapath)) {
            let ports = datapath.ports();
            for port in ports.iter().filter(|port| port.port_type() == OVS_VPORT_TYPE_INTERNAL) {
                // One whose device was deleted from outside cannot.
                let _ = port.handle().set_options(&option);
            }
        }
    }
}
