// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `recv`, `recvfrom`, `recvmsg`, `recvmmsg`, and the names that fortified programs use.

use std::ffi::{c_int, c_uint, c_void};

use libc::{iovec, mmsghdr, msghdr, size_t, sockaddr, socklen_t, ssize_t, timespec};

use super::names::give;
use super::result::length;
use crate::address::Address;
use crate::real;
use crate::socket::Ours;
use crate::table;

/// # Safety
/// As libc's `recv`.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn recv(fd: c_int, bytes: *mut c_void, len: size_t, flags: c_int) -> ssize_t {
    if table::find(fd).is_none() {
        // SAFETY: as the caller's.
        return unsafe { real::recv(fd, bytes, len, flags) };
    }
    // SAFETY: as the caller's.
    unsafe { recvfrom(fd, bytes, len, flags, std::ptr::null_mut(), std::ptr::null_mut()) }
}

/// # Safety
/// As libc's `recvfrom`.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn recvfrom(
    fd: c_int,
    bytes: *mut c_void,
    len: size_t,
    flags: c_int,
    from: *mut sockaddr,
    from_len: *mut socklen_t,
) -> ssize_t {
    let found = table::find(fd);
    let Some(ours) = found.as_ref().and_then(Ours::new) else {
        // SAFETY: as the caller's.
        return unsafe { real::recvfrom(fd, bytes, len, flags, from, from_len) };
    };
    let piece = iovec { iov_base: bytes, iov_len: len };
    // SAFETY: the piece is the caller's room.
    let received = ours.receive(fd, len, flags, |bytes| unsafe { real::scatter(bytes, &raw const piece, 1) });
    length(received.and_then(|received| {
        if !from.is_null() {
            // SAFETY: the caller promises the room.
            unsafe { give(Address::default(), from.cast(), from_len) }?;
        }
        Ok(received.value)
    }))
}

/// # Safety
/// As libc's `recvmsg`.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
    let found = table::find(fd).filter(|_| !message.is_null());
    let Some(ours) = found.as_ref().and_then(Ours::new) else {
        // SAFETY: as the caller's.
        return unsafe { real::recvmsg(fd, message, flags) };
    };
    // SAFETY: it is not null, and the caller promises a message that is its alone.
    let message = unsafe { &mut *message };
    let (pieces, count) = (message.msg_iov, message.msg_iovlen);
    // SAFETY: the caller promises the pieces.
    let room = unsafe { real::room(pieces, count) };
    // SAFETY: the caller promises the pieces.
    let received = ours.receive(fd, room, flags, |bytes| unsafe { real::scatter(bytes, pieces, count) });
    length(received.map(|received| {
        if !message.msg_name.is_null() {
            // SAFETY: the caller promises the room.
            message.msg_namelen = unsafe { Address::default().write(message.msg_name, message.msg_namelen) };
        }
        message.msg_controllen = 0;
        message.msg_flags = received.flags;
        received.value
    }))
}

/// # Safety
/// As libc's `recvmmsg`.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn recvmmsg(
    fd: c_int,
    messages: *mut mmsghdr,
    count: c_uint,
    flags: c_int,
    timeout: *mut timespec,
) -> c_int {
    let found = table::find(fd).filter(|_| !messages.is_null());
    if found.as_ref().and_then(Ours::new).is_none() {
        // SAFETY: as the caller's.
        return unsafe { real::recvmmsg(fd, messages, count, flags, timeout) };
    }
    // The timeout is looked at after a datagram, as the system call does it; none comes late here, so it is the same as without.
    let mut now = flags & !libc::MSG_WAITFORONE;
    for index in 0..count {
        // SAFETY: the caller promises `count` messages.
        let one = unsafe { &mut *messages.add(index as usize) };
        // SAFETY: as the caller's.
        let received = unsafe { recvmsg(fd, &raw mut one.msg_hdr, now) };
        if received < 0 {
            return if index == 0 { -1 } else { index.cast_signed() };
        }
        one.msg_len = received as c_uint;
        if flags & libc::MSG_WAITFORONE != 0 {
            now |= libc::MSG_DONTWAIT;
        }
    }
    count.cast_signed()
}

unsafe extern "C" {
    /// Ends the program with a message about an overflow.
    pub(super) fn __chk_fail() -> !;
}

/// What `recv` is in programs built with `_FORTIFY_SOURCE`.
///
/// # Safety
/// As `recv`; `room` is that of `bytes`.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn __recv_chk(
    fd: c_int,
    bytes: *mut c_void,
    len: size_t,
    room: size_t,
    flags: c_int,
) -> ssize_t {
    if len > room {
        // SAFETY: it has no conditions.
        unsafe { __chk_fail() }
    }
    // SAFETY: as the caller's.
    unsafe { recv(fd, bytes, len, flags) }
}

/// What `recvfrom` is in programs built with `_FORTIFY_SOURCE`.
///
/// # Safety
/// As `recvfrom`; `room` is that of `bytes`.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn __recvfrom_chk(
    fd: c_int,
    bytes: *mut c_void,
    len: size_t,
    room: size_t,
    flags: c_int,
    from: *mut sockaddr,
    from_len: *mut socklen_t,
) -> ssize_t {
    if len > room {
        // SAFETY: it has no conditions.
        unsafe { __chk_fail() }
    }
    // SAFETY: as the caller's.
    unsafe { recvfrom(fd, bytes, len, flags, from, from_len) }
}
