// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What becomes of devices and namespaces.

use crate::link::Link;
use portway_vport::NetnsId;

/// Something happened in a watched namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The namespace.
    pub netns: NetnsId,
    /// What happened there.
    pub what: Change,
}

/// One change. Those of a device come in the order in which they happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A device is new here: made, or moved in from another namespace.
    Appeared(Link),
    /// A device was deleted.
    Gone {
        /// The index that it had.
        ifindex: u32,
        /// Its last name.
        name: String,
    },
    /// A device went to another namespace, where it may have another index and name.
    MovedAway {
        /// The index that it had here.
        ifindex: u32,
        /// Its last name here.
        name: String,
    },
    /// A device has another name.
    Renamed {
        /// Its index.
        ifindex: u32,
        /// The name that it had.
        name: String,
        /// The name that it has.
        new_name: String,
    },
    /// A device's MTU changed.
    Mtu {
        /// Its index.
        ifindex: u32,
        /// The new value in bytes.
        mtu: u32,
    },
    /// A device's Ethernet address changed.
    Address {
        /// Its index.
        ifindex: u32,
        /// The new address.
        mac: [u8; 6],
    },
    /// A device went up or down, by command or by its carrier.
    Link {
        /// Its index.
        ifindex: u32,
        /// Whether it is up now.
        is_up: bool,
    },
    /// Something became of a device in another namespace that this one has a number for (or here): see
    /// [`crate::WatchHandle::watch_elsewhere`].
    Elsewhere,
    /// The namespace is gone as far as anybody but this process can tell: no name refers to it and no process is in it. It is
    /// no longer watched; what still holds it open should let go.
    NamespaceGone,
}
