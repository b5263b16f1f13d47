// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Finding a source by its number without a lock.

#[cfg(not(loom))]
mod imp {
    /// Numbers to shared values, for any number of threads at once.
    pub(in crate::fair_queue) struct Index<V>(papaya::HashMap<u32, V>);

    impl<V: Clone> Index<V> {
        pub(in crate::fair_queue) fn new() -> Self {
            Self(papaya::HashMap::new())
        }

        pub(in crate::fair_queue) fn get(&self, number: u32) -> Option<V> {
            self.0.pin().get(&number).cloned()
        }

        pub(in crate::fair_queue) fn get_or_insert_with(&self, number: u32, make: impl FnOnce() -> V) -> V {
            self.0.pin().get_or_insert_with(number, make).clone()
        }

        pub(in crate::fair_queue) fn remove(&self, number: u32) -> Option<V> {
            self.0.pin().remove(&number).cloned()
        }

        pub(in crate::fair_queue) fn for_each(&self, mut visit: impl FnMut(&V)) {
            self.0.pin().values().for_each(&mut visit);
        }
    }
}

#[cfg(loom)]
mod imp {
    use crate::primitives::{Mutex, lock};
    use std::collections::BTreeMap;

    /// The same contract out of a loom mutex: papaya is opaque to loom.
    pub(in crate::fair_queue) struct Index<V>(Mutex<BTreeMap<u32, V>>);

    impl<V: Clone> Index<V> {
        pub(in crate::fair_queue) fn new() -> Self {
            Self(Mutex::new(BTreeMap::new()))
        }

        pub(in crate::fair_queue) fn get(&self, number: u32) -> Option<V> {
            lock(&self.0).get(&number).cloned()
        }

        pub(in crate::fair_queue) fn get_or_insert_with(&self, number: u32, make: impl FnOnce() -> V) -> V {
            lock(&self.0).entry(number).or_insert_with(make).clone()
        }

        pub(in crate::fair_queue) fn remove(&self, number: u32) -> Option<V> {
            lock(&self.0).remove(&number)
        }

        pub(in crate::fair_queue) fn for_each(&self, visit: impl FnMut(&V)) {
            lock(&self.0).values().for_each(visit);
        }
    }
}

pub(super) use self::imp::Index;
