// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A live port's shortcuts as the switch sees them: the module's functions behind safe methods.

use std::sync::Arc;

use crate::abi::handle::PortHandle;
use crate::abi::{ShortcutCounters, ShortcutKey, ShortcutMasks, ShortcutOps};
use crate::ops::Errno;

impl PortHandle {
    fn shortcuts(&self) -> Option<&ShortcutOps> {
        // SAFETY: null, or the module's constant table, which stays as long as its code: as long as the port's kind.
        unsafe { self.kind().table.shortcuts.as_ref() }
    }

    /// Whether the port's type can carry frames between its ports by itself.
    pub fn has_shortcuts(&self) -> bool {
        self.shortcuts().is_some()
    }

    /// Says which header bits decide; `None`: no shortcuts. Those that there are end.
    ///
    /// # Errors
    /// EOPNOTSUPP for a type without shortcuts; what the type says, for example EPERM where BPF is not allowed.
    pub fn shortcut_masks(&self, masks: Option<&ShortcutMasks>) -> Result<(), Errno> {
        let ops = self.shortcuts().ok_or(Errno::EOPNOTSUPP)?;
        let masks = masks.map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the port lives as long as `self`; the masks are null or readable for the call.
        let code = unsafe { (ops.set_masks)(self.raw(), masks) };
        if code == 0 { Ok(()) } else { Err(self.errno_of("shortcuts: set_masks", i64::from(code))) }
    }

    /// Lets the frames of `key` go to `output` by themselves; returns the shortcut's number.
    ///
    /// # Errors
    /// EOPNOTSUPP for ports of different types or of one without shortcuts; EXDEV, ENOSPC and what else the type says.
    pub fn shortcut_add(&self, output: &Self, key: &ShortcutKey) -> Result<u64, Errno> {
        let ops = self.shortcuts().ok_or(Errno::EOPNOTSUPP)?;
        if !Arc::ptr_eq(self.kind(), output.kind()) {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut id = 0;
        // SAFETY: both ports live and are of the type that the function is of; key and id are valid for the call.
        let code = unsafe { (ops.add)(self.raw(), output.raw(), key, &raw mut id) };
        if code == 0 { Ok(id) } else { Err(self.errno_of("shortcuts: add", i64::from(code))) }
    }

    /// Ends a shortcut: no later frame takes it.
    ///
    /// # Errors
    /// What the type says.
    pub fn shortcut_end(&self, id: u64) -> Result<(), Errno> {
        let ops = self.shortcuts().ok_or(Errno::EOPNOTSUPP)?;
        // SAFETY: the port lives as long as `self`.
        let code = unsafe { (ops.end)(self.raw(), id) };
        if code == 0 { Ok(()) } else { Err(self.errno_of("shortcuts: end", i64::from(code))) }
    }

    /// What a shortcut has carried, also after its end.
    ///
    /// # Errors
    /// What the type says.
    pub fn shortcut_read(&self, id: u64) -> Result<ShortcutCounters, Errno> {
        let ops = self.shortcuts().ok_or(Errno::EOPNOTSUPP)?;
        let mut counters = ShortcutCounters::default();
        // SAFETY: the port lives as long as `self`; the counters are valid for writing.
        let code = unsafe { (ops.read)(self.raw(), id, &raw mut counters) };
        if code == 0 { Ok(counters) } else { Err(self.errno_of("shortcuts: read", i64::from(code))) }
    }

    /// Forgets an ended shortcut.
    pub fn shortcut_free(&self, id: u64) {
        if let Some(ops) = self.shortcuts() {
            // SAFETY: the port lives as long as `self`.
            unsafe { (ops.free)(self.raw(), id) };
        }
    }

    /// Waits until frames that came before the call are counted. May block, for tens of milliseconds.
    pub fn shortcut_settle(&self) {
        if let Some(ops) = self.shortcuts() {
            // SAFETY: the port lives as long as `self`.
            unsafe { (ops.settle)(self.raw()) };
        }
    }
}
