// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `close`, `close_range`, `closefrom`, `dup`, `dup2`, `dup3`, `fcntl`, `ioctl`: how numbers come and go.

use std::ffi::{c_int, c_uint, c_ulong, c_void};

use rustix::io::Errno;

use super::result::status;
use crate::real;
use crate::socket::Ours;
use crate::table;

/// CLOSE_RANGE_CLOEXEC of linux/close_range.h.
const CLOEXEC: c_int = 4;
/// FIONREAD: bytes that can be read.
const FIONREAD: c_ulong = libc::FIONREAD;

/// # Safety
/// As libc's `close`.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn close(fd: c_int) -> c_int {
    if table::is_hidden(fd) {
        return status(Err(Errno::BADF));
    }
    table::remove(fd);
    // SAFETY: as the caller's.
    unsafe { real::close(fd) }
}

/// # Safety
/// As libc's `close_range`.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int {
    if flags & CLOEXEC == 0 {
        forget(first, last);
    }
    // SAFETY: as the caller's.
    unsafe { real::close_range(first, last, flags) }
}

/// # Safety
/// As libc's `closefrom`.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn closefrom(first: c_int) {
    // SAFETY: as the caller's; a negative number means 0, as libc has it.
    unsafe { close_range(first.max(0).cast_unsigned(), c_uint::MAX, 0) };
}

fn forget(first: c_uint, last: c_uint) {
    let number = |number: c_uint| c_int::try_from(number).unwrap_or(c_int::MAX);
    table::remove_range(number(first), number(last));
}

/// `new` now is what `old` is.
fn copied(old: c_int, new: c_int) -> c_int {
    if new >= 0 && new != old {
        table::remove(new);
        if let Some(socket) = table::find(old) {
            // Beyond the table's end the copy is only that of a Unix socket.
            let _ = table::insert(new, socket);
        }
    }
    new
}

/// # Safety
/// As libc's `dup`.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn dup(fd: c_int) -> c_int {
    // SAFETY: as the caller's.
    copied(fd, unsafe { real::dup(fd) })
}

/// # Safety
/// As libc's `dup2`.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn dup2(fd: c_int, new: c_int) -> c_int {
    // SAFETY: as the caller's.
    copied(fd, unsafe { real::dup2(fd, new) })
}

/// # Safety
/// As libc's `dup3`.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn dup3(fd: c_int, new: c_int, flags: c_int) -> c_int {
    // SAFETY: as the caller's.
    copied(fd, unsafe { real::dup3(fd, new, flags) })
}

/// # Safety
/// As libc's `fcntl`.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn fcntl(fd: c_int, command: c_int, argument: *mut c_void) -> c_int {
    // SAFETY: as the caller's.
    let result = unsafe { real::fcntl(fd, command, argument) };
    if matches!(command, libc::F_DUPFD | libc::F_DUPFD_CLOEXEC) { copied(fd, result) } else { result }
}

/// What `fcntl` is in programs built for large files.
///
/// # Safety
/// As libc's `fcntl64`.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn fcntl64(fd: c_int, command: c_int, argument: *mut c_void) -> c_int {
    // SAFETY: as the caller's; on 64-bit machines the two are one.
    unsafe { fcntl(fd, command, argument) }
}

/// # Safety
/// As libc's `ioctl`.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn ioctl(fd: c_int, request: c_ulong, argument: *mut c_void) -> c_int {
    // A netlink socket does not tell how much waits in it; questions about devices it answers as every socket does.
    if request == FIONREAD && table::find(fd).as_ref().and_then(Ours::new).is_some() {
        return status(Err(Errno::NOTTY));
    }
    // SAFETY: as the caller's.
    unsafe { real::ioctl(fd, request, argument) }
}
