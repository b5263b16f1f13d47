// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `read`, `readv`, `write`, `writev`: on a netlink socket they are `recv` and `send` without flags.

use std::ffi::{c_int, c_void};

use libc::{iovec, msghdr, size_t, ssize_t};

use super::receive::{__chk_fail, recv, recvmsg};
use super::send::{send, sendmsg};
use crate::{real, table};

/// # Safety
/// As libc's `read`.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn read(fd: c_int, bytes: *mut c_void, len: size_t) -> ssize_t {
    match table::find(fd) {
        // SAFETY: as the caller's.
        Some(_) => unsafe { recv(fd, bytes, len, 0) },
        // SAFETY: as the caller's.
        None => unsafe { real::read(fd, bytes, len) },
    }
}

/// What `read` is in programs built with `_FORTIFY_SOURCE`.
///
/// # Safety
/// As `read`; `room` is that of `bytes`.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn __read_chk(fd: c_int, bytes: *mut c_void, len: size_t, room: size_t) -> ssize_t {
    if len > room {
        // SAFETY: it has no conditions.
        unsafe { __chk_fail() }
    }
    // SAFETY: as the caller's.
    unsafe { read(fd, bytes, len) }
}

/// # Safety
/// As libc's `write`.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, len: size_t) -> ssize_t {
    match table::find(fd) {
        // SAFETY: as the caller's.
        Some(_) => unsafe { send(fd, bytes, len, 0) },
        // SAFETY: as the caller's.
        None => unsafe { real::write(fd, bytes, len) },
    }
}

/// A message that has these pieces and nothing else; `None`: their number is none.
fn message(pieces: *const iovec, count: c_int) -> Option<msghdr> {
    // SAFETY: all zeros are a message without name, pieces and ancillary data.
    let mut message: msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = pieces.cast_mut();
    message.msg_iovlen = usize::try_from(count).ok()?;
    Some(message)
}

/// # Safety
/// As libc's `readv`.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn readv(fd: c_int, pieces: *const iovec, count: c_int) -> ssize_t {
    match table::find(fd).and_then(|_| message(pieces, count)) {
        // SAFETY: the pieces are the caller's.
        Some(mut message) => unsafe { recvmsg(fd, &raw mut message, 0) },
        // SAFETY: as the caller's.
        None => unsafe { real::readv(fd, pieces, count) },
    }
}

/// # Safety
/// As libc's `writev`.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn writev(fd: c_int, pieces: *const iovec, count: c_int) -> ssize_t {
    match table::find(fd).and_then(|_| message(pieces, count)) {
        // SAFETY: the pieces are the caller's.
        Some(message) => unsafe { sendmsg(fd, &raw const message, 0) },
        // SAFETY: as the caller's.
        None => unsafe { real::writev(fd, pieces, count) },
    }
}
