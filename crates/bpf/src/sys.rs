// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The system call.

use std::ffi::{c_int, c_long};
use std::os::fd::{FromRawFd, OwnedFd};

use portway_uapi::Errno;

// Commands, linux/bpf.h.
pub(crate) const MAP_CREATE: c_long = 0;
pub(crate) const MAP_LOOKUP_ELEM: c_long = 1;
pub(crate) const MAP_UPDATE_ELEM: c_long = 2;
pub(crate) const MAP_DELETE_ELEM: c_long = 3;
pub(crate) const PROG_LOAD: c_long = 5;
pub(crate) const PROG_GET_FD_BY_ID: c_long = 13;
pub(crate) const OBJ_GET_INFO_BY_FD: c_long = 15;
pub(crate) const PROG_QUERY: c_long = 16;
pub(crate) const LINK_CREATE: c_long = 28;

/// The system call with a command of linux/bpf.h and its attributes.
///
/// # Safety
/// Pointers in `attributes` must be valid for what the command does with them.
pub unsafe fn bpf<T>(command: c_long, attributes: &mut T) -> Result<c_int, Errno> {
    // SAFETY: `attributes` is a live value of the size given; the caller vouches for what it points to.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 { Err(Errno::last()) } else { Ok(result as c_int) }
}

/// # Safety
/// As [`bpf`], and the command must return a new file descriptor.
pub(crate) unsafe fn bpf_fd<T>(command: c_long, attributes: &mut T) -> Result<OwnedFd, Errno> {
    // SAFETY: the caller's promise; a successful result is a fresh descriptor that nobody else owns.
    unsafe { Ok(OwnedFd::from_raw_fd(bpf(command, attributes)?)) }
}
