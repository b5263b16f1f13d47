// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The services that the switch offers to port types ([`HostApi`]), from both ends: what the switch hands out, and how a
//! type written in Rust calls it, linked in or loaded.

use std::ffi::c_char;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::abi::{ABI_VERSION, HostApi, log_level};

/// Bytes of a log line from a module that are kept: what comes after is cut.
const LINE_MAX: usize = 4096;

/// What the switch hands to each module's `init`.
pub static HOST_API: HostApi =
    HostApi { size: size_of::<HostApi>() as u32, abi_version: ABI_VERSION, log: log_to_tracing };

/// The table that this copy of the library was given by its switch; null before `init`.
///
/// A loaded module has its own copy of this crate, hence of this variable: without it, its lines would go to a `tracing`
/// that nobody listens to.
static GIVEN: AtomicPtr<HostApi> = AtomicPtr::new(std::ptr::null_mut());

/// Remembers the switch's table for [`log`].
pub(crate) fn set_host(host: *const HostApi) {
    GIVEN.store(host.cast_mut(), Ordering::Release);
}

/// Logs a line through the switch; `level` is one of [`log_level`]. Not for the fast path.
pub fn log(level: u32, text: &str) {
    let given = GIVEN.load(Ordering::Acquire);
    // SAFETY: the switch's table is valid from `init` to `exit`, hence while any code of the port type runs.
    let log = if given.is_null() { HOST_API.log } else { unsafe { (*given).log } };
    // SAFETY: pointer and length are those of `text`, which outlives the call.
    unsafe { log(level, text.as_ptr().cast(), text.len()) };
}

/// [`HostApi::log`] of the switch.
unsafe extern "C" fn log_to_tracing(level: u32, text: *const c_char, len: usize) {
    if text.is_null() {
        return;
    }
    // SAFETY: the caller passes `len` readable bytes (contract of `HostApi::log`).
    let bytes = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), len.min(LINE_MAX)) };
    let line: String =
        String::from_utf8_lossy(bytes).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match level {
        log_level::ERROR => tracing::error!(target: "portway::module", "{line}"),
        log_level::WARNING => tracing::warn!(target: "portway::module", "{line}"),
        log_level::INFO => tracing::info!(target: "portway::module", "{line}"),
        _ => tracing::debug!(target: "portway::module", "{line}"),
    }
}
