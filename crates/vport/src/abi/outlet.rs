// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A live port's outlet as the switch sees it: the module's functions behind safe methods.

use std::os::fd::{FromRawFd, OwnedFd};

use crate::abi::handle::PortHandle;
use crate::abi::{OutletCounters, OutletFds, OutletOps};
use crate::ops::Errno;

/// What another process needs to send frames out of a port by itself.
#[derive(Debug)]
pub struct Outlet {
    /// Each message that is written here is a frame.
    pub socket: OwnedFd,
    /// Where it is counted: see [`OutletFds::counters`].
    pub counters: OwnedFd,
}

impl PortHandle {
    fn outlets(&self) -> Option<&OutletOps> {
        // SAFETY: null, or the module's constant table, which stays as long as its code: as long as the port's kind.
        unsafe { self.kind().table.outlets.as_ref() }
    }

    /// The port's outlet: the same one until [`PortHandle::outlet_close`]. One call of these two at a time.
    ///
    /// # Errors
    /// EOPNOTSUPP for a port without one; what the type says.
    pub(crate) fn outlet_open(&self) -> Result<Outlet, Errno> {
        let ops = self.outlets().ok_or(Errno::EOPNOTSUPP)?;
        let mut fds = OutletFds { socket: -1, counters: -1 };
        // SAFETY: the port lives as long as `self`; `fds` is valid for writing.
        let code = unsafe { (ops.open)(self.raw(), &raw mut fds) };
        if code != 0 {
            return Err(self.errno_of("outlets: open", i64::from(code)));
        }
        // SAFETY: open file descriptors that are given away (contract of `OutletOps::open`).
        let owned = |fd: i32| (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) });
        match (owned(fds.socket), owned(fds.counters)) {
            (Some(socket), Some(counters)) => Ok(Outlet { socket, counters }),
            _ => {
                self.fault("outlets: open", "returned success without file descriptors");
                Err(Errno::EIO)
            }
        }
    }

    /// Nothing leaves through the outlet any more.
    pub(crate) fn outlet_close(&self) {
        if let Some(ops) = self.outlets() {
            // SAFETY: the port lives as long as `self`.
            unsafe { (ops.close)(self.raw()) };
        }
    }

    /// What has been sent through outlets.
    pub(crate) fn outlet_sent(&self) -> Result<OutletCounters, Errno> {
        let Some(ops) = self.outlets() else { return Ok(OutletCounters::default()) };
        let mut counters = OutletCounters::default();
        // SAFETY: the port lives as long as `self`; the counters are valid for writing.
        let code = unsafe { (ops.sent)(self.raw(), &raw mut counters) };
        if code == 0 { Ok(counters) } else { Err(self.errno_of("outlets: sent", i64::from(code))) }
    }
}
