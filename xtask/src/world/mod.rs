// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A private world to run switches and hosts in: namespaces of its own for network, mounts and processes.
//!
//! All that demo and bench make - devices, namespaces, daemons, files below `/run` - exists only in it, and the kernel
//! takes it all away when its first process ends, however that comes about: done, failed, Ctrl-C, or `kill -9`.

mod daemon;
mod enter;
mod host;
mod inside;

pub(crate) use daemon::Daemon;
pub(crate) use enter::{can_enter, enter};
pub(crate) use host::Host;
pub(crate) use inside::{HUGE_PAGES, HUGE_PAGES_NOTE, RUN_DIR, give_huge_pages_back, inside};
