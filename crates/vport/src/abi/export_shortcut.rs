// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The shortcut methods of a port type written in Rust, as the C table that the switch calls. See `export.rs`.

use std::ffi::c_void;
use std::marker::PhantomData;

use crate::abi::export::{code, contain, port_of};
use crate::abi::{ShortcutCounters, ShortcutKey, ShortcutMasks, ShortcutOps};
use crate::ops::PortType;

/// A type's shortcut functions as a constant with an address.
pub(super) struct Table<T>(PhantomData<T>);

impl<T: PortType> Table<T> {
    pub(super) const OPS: &'static ShortcutOps = &ShortcutOps {
        set_masks: set_masks::<T>,
        add: add::<T>,
        end: end::<T>,
        read: read::<T>,
        free: free::<T>,
        settle: settle::<T>,
    };
}

unsafe extern "C" fn set_masks<T: PortType>(port: *mut c_void, masks: *const ShortcutMasks) -> i32 {
    // SAFETY: a live port, and masks that are null or readable, for this call.
    let (port, masks) = unsafe { (port_of::<T>(port), masks.as_ref()) };
    code(contain::<T, _>("shortcuts: set_masks", || port.shortcut_masks(masks)))
}

unsafe extern "C" fn add<T: PortType>(
    port: *mut c_void,
    output: *mut c_void,
    key: *const ShortcutKey,
    id: *mut u64,
) -> i32 {
    // SAFETY: two live ports of this type and a readable key, for this call.
    let (port, output, key) = unsafe { (port_of::<T>(port), port_of::<T>(output), &*key) };
    code(contain::<T, _>("shortcuts: add", || {
        let made = port.shortcut_add(output, key)?;
        // SAFETY: `id` is valid for writing.
        unsafe { id.write(made) };
        Ok(())
    }))
}

unsafe extern "C" fn end<T: PortType>(port: *mut c_void, id: u64) -> i32 {
    // SAFETY: a live port for this call.
    let port = unsafe { port_of::<T>(port) };
    code(contain::<T, _>("shortcuts: end", || port.shortcut_end(id)))
}

unsafe extern "C" fn read<T: PortType>(port: *mut c_void, id: u64, counters: *mut ShortcutCounters) -> i32 {
    // SAFETY: a live port for this call.
    let port = unsafe { port_of::<T>(port) };
    code(contain::<T, _>("shortcuts: read", || {
        let now = port.shortcut_read(id)?;
        // SAFETY: `counters` is valid for writing.
        unsafe { counters.write(now) };
        Ok(())
    }))
}

unsafe extern "C" fn free<T: PortType>(port: *mut c_void, id: u64) {
    // SAFETY: a live port for this call.
    let port = unsafe { port_of::<T>(port) };
    contain::<T, _>("shortcuts: free", || port.shortcut_free(id));
}

unsafe extern "C" fn settle<T: PortType>(port: *mut c_void) {
    // SAFETY: a live port for this call.
    let port = unsafe { port_of::<T>(port) };
    contain::<T, _>("shortcuts: settle", || port.shortcut_settle());
}
