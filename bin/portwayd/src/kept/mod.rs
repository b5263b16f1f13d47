// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The datapaths of netlink clients survive a restart of the daemon: `ovs-vswitchd` makes its own only when it starts.
//!
//! What is kept is what a client would have to say again: datapaths and ports with their numbers, options and upcall port ids. Flows
//! come again by upcalls. The devices of internal ports outlive the process, so that interface indexes, addresses and
//! routes stay; a device is told to do so only when the file that names it has been written, and one that is deleted goes before the
//! file forgets it. So whenever the daemon is killed, what it leaves is complete, and what is not complete goes with it.
//!
//! The kernel forgets its datapaths when it is booted, and so does this: devices would not be there any more.

mod keeper;
mod restore;
mod what;

pub(crate) use keeper::Keeper;
pub(crate) use restore::{delete_tunnel_devices, restore};
pub(crate) use what::File;
