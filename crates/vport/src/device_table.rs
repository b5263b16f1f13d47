// SPDX-License-Identifier: Apache-2.0 OR MIT
//! All ports of all datapaths, by network namespace and name.
//!
//! Readers never block and write nothing shared but the reference count of the port that they find. The table does not own
//! the ports, the datapaths do: what a removal leaves to the map's deferred reclamation is a [`Weak`], so a port is
//! destroyed when its last reader leaves it and not when the map gets round to it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use crate::error::Error;
use crate::names::{NetnsId, PortName};
use crate::vport::Vport;

type Key = (NetnsId, PortName);

/// The device table.
pub struct DeviceTable {
    ports: papaya::HashMap<Key, Weak<Vport>, foldhash::fast::RandomState>,
    len: AtomicUsize,
    limit: usize,
}

impl DeviceTable {
    /// An empty table for at most `limit` ports.
    pub fn new(limit: usize) -> Self {
        let ports = papaya::HashMap::builder().hasher(foldhash::fast::RandomState::default()).build();
        Self { ports, len: AtomicUsize::new(0), limit }
    }

    /// The most ports that it takes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Ports in it.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Publishes a port under its namespace and name, in one step. The caller removes it before it drops the port.
    /// EEXIST if the name is taken, ENFILE at the limit.
    pub fn insert(&self, vport: &Arc<Vport>) -> Result<(), Error> {
        let (netns, name) = key_of(vport);
        let room = |len: usize| (len < self.limit).then_some(len + 1);
        if self.len.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_err() {
            return Err(Error::TooManyPorts { limit: self.limit });
        }
        if self.ports.pin().try_insert((netns, name), Arc::downgrade(vport)).is_err() {
            self.len.fetch_sub(1, Ordering::Relaxed);
            return Err(Error::NameTaken { name, netns });
        }
        Ok(())
    }

    /// The port of that name. Never blocks.
    pub fn find(&self, netns: NetnsId, name: &PortName) -> Option<Arc<Vport>> {
        self.ports.pin().get(&(netns, *name))?.upgrade()
    }

    /// Takes a port out; false if it is not in the table (another of its name may be).
    pub fn remove(&self, vport: &Vport) -> bool {
        let removed = self.remove_at(&key_of(vport), vport);
        if removed {
            self.len.fetch_sub(1, Ordering::Relaxed);
        }
        removed
    }

    /// Gives a port another name: in the table, and then in what [`Vport::name`] says. For a moment both names find it, at no
    /// moment none. EEXIST if the name is taken. One caller at a time for each port.
    pub fn rename(&self, vport: &Arc<Vport>, name: PortName) -> Result<(), Error> {
        let old = key_of(vport);
        let netns = old.0;
        if old.1 == name {
            return Ok(());
        }
        if self.ports.pin().try_insert((netns, name), Arc::downgrade(vport)).is_err() {
            return Err(Error::NameTaken { name, netns });
        }
        vport.set_name(name);
        self.remove_at(&old, vport);
        Ok(())
    }

    /// Every port, or those of one namespace; in no order. Ports that come or go meanwhile may or may not be there.
    pub fn list(&self, netns: Option<NetnsId>) -> Vec<Arc<Vport>> {
        let ports = self.ports.pin();
        let wanted = |key: &Key| netns.is_none_or(|netns| key.0 == netns);
        ports.iter().filter(|(key, _)| wanted(key)).filter_map(|(_, vport)| vport.upgrade()).collect()
    }

    fn remove_at(&self, key: &Key, vport: &Vport) -> bool {
        let same = |_: &Key, entry: &Weak<Vport>| std::ptr::eq(entry.as_ptr(), vport);
        matches!(self.ports.pin().remove_if(key, same), Ok(Some(_)))
    }
}

impl std::fmt::Debug for DeviceTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceTable")
            .field("len", &self.len())
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

fn key_of(vport: &Vport) -> Key {
    (vport.netns(), vport.name())
}
