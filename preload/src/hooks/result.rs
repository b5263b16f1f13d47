// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Results as C has them.

use std::ffi::c_int;

use rustix::io::Errno;

fn set_errno(errno: Errno) {
    // SAFETY: the location is the calling thread's and always there.
    unsafe { *libc::__errno_location() = errno.raw_os_error() };
}

/// A length, or -1 and errno.
pub(super) fn length(result: Result<usize, Errno>) -> isize {
    match result {
        Ok(length) => length.cast_signed(),
        Err(errno) => {
            set_errno(errno);
            -1
        }
    }
}

/// 0, or -1 and errno.
pub(super) fn status(result: Result<(), Errno>) -> c_int {
    match result {
        Ok(()) => 0,
        Err(errno) => {
            set_errno(errno);
            -1
        }
    }
}
