// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The outlet methods of a port type written in Rust, as the C table that the switch calls. See `export.rs`.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::os::fd::IntoRawFd;

use crate::abi::export::{code, contain, port_of};
use crate::abi::{OutletCounters, OutletFds, OutletOps};
use crate::ops::PortType;

/// A type's outlet functions as a constant with an address.
pub(super) struct Table<T>(PhantomData<T>);

impl<T: PortType> Table<T> {
    pub(super) const OPS: &'static OutletOps =
        &OutletOps { open: open::<T>, close: close::<T>, sent: sent::<T> };
}

unsafe extern "C" fn open<T: PortType>(port: *mut c_void, outlet: *mut OutletFds) -> i32 {
    // SAFETY: a live port for this call.
    let port = unsafe { port_of::<T>(port) };
    code(contain::<T, _>("outlets: open", || {
        let (socket, counters) = port.outlet_open()?;
        let fds = OutletFds { socket: socket.into_raw_fd(), counters: counters.into_raw_fd() };
        // SAFETY: `outlet` is valid for writing.
        unsafe { outlet.write(fds) };
        Ok(())
    }))
}

unsafe extern "C" fn close<T: PortType>(port: *mut c_void) {
    // SAFETY: a live port for this call.
    let port = unsafe { port_of::<T>(port) };
    contain::<T, _>("outlets: close", || port.outlet_close());
}

unsafe extern "C" fn sent<T: PortType>(port: *mut c_void, counters: *mut OutletCounters) -> i32 {
    // SAFETY: a live port for this call.
    let port = unsafe { port_of::<T>(port) };
    code(contain::<T, _>("outlets: sent", || {
        let now = port.outlet_sent();
        // SAFETY: `counters` is valid for writing.
        unsafe { counters.write(now) };
        Ok(())
    }))
}
