// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Taps: whoever wants to see what a port receives and sends. Without one a port pays one look at a flag for each batch.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use portway_buf::Packet;

/// Which way a packet goes, seen from the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It was received.
    Received,
    /// It is about to be sent.
    Sent,
}

/// Sees packets of a port.
pub trait Tap: Send + Sync {
    /// A packet passes. Called by workers, several at a time: must not block; what it cannot take it must let go.
    fn packet(&self, direction: Direction, packet: &Packet);
}

/// The taps of one port.
#[derive(Default)]
pub(crate) struct Taps {
    is_tapped: AtomicBool,
    /// One change at a time: the flag and the list go together.
    changing: Mutex<()>,
    taps: ArcSwapOption<Vec<Arc<dyn Tap>>>,
}

impl Taps {
    #[inline]
    pub(crate) fn show<'p>(&self, direction: Direction, packets: impl Iterator<Item = &'p Packet>) {
        if self.is_tapped.load(Ordering::Relaxed) {
            self.show_all(direction, packets);
        }
    }

    #[cold]
    fn show_all<'p>(&self, direction: Direction, packets: impl Iterator<Item = &'p Packet>) {
        let taps = self.taps.load();
        let Some(taps) = &*taps else { return };
        for packet in packets {
            taps.iter().for_each(|tap| tap.packet(direction, packet));
        }
    }

    pub(crate) fn are_there(&self) -> bool {
        self.taps.load().is_some()
    }

    /// Adds a tap.
    pub(crate) fn add(&self, tap: &Arc<dyn Tap>) {
        self.change(|taps| taps.push(Arc::clone(tap)));
    }

    /// Removes a tap. A worker may be showing it a last batch.
    pub(crate) fn remove(&self, tap: &Arc<dyn Tap>) {
        self.change(|taps| taps.retain(|other| !Arc::ptr_eq(other, tap)));
    }

    fn change(&self, change: impl Fn(&mut Vec<Arc<dyn Tap>>)) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.taps.rcu(|taps| {
            let mut taps = taps.as_deref().cloned().unwrap_or_default();
            change(&mut taps);
            (!taps.is_empty()).then(|| Arc::new(taps))
        });
        self.is_tapped.store(self.taps.load().is_some(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl Tap for Nobody {
        fn packet(&self, _: Direction, _: &Packet) {}
    }

    #[test]
    fn the_flag_follows_the_list_whoever_comes_and_goes() {
        let taps = Taps::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        let tap: Arc<dyn Tap> = Arc::new(Nobody);
                        taps.add(&tap);
                        assert!(taps.is_tapped.load(Ordering::Relaxed), "a tap that nothing is shown to");
                        taps.remove(&tap);
                    }
                });
            }
        });
        assert!(!taps.is_tapped.load(Ordering::Relaxed) && taps.taps.load().is_none());
    }
}
