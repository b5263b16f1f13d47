// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `recv`, `recvfrom`, `recvmsg`, `recvmmsg`, and the names that fortified programs use.

use std::ffi::{c_int, c_uint, c_void};

use libc::{iovec, mmsghdr, msghdr, size_t, sockaddr, socklen_t, ssize_t, timespec};

use super::names::give;
use super::result::length;
use crate::socket::{Ours, Socket};
use crate::table;
use crate::{ancillary, real};

/// # Safety
/// As libc's `recv`.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn recv(fd: c_int, bytes: *mut c_void, len: size_t, flags: c_int) -> ssize_t {
    if table::find_to_receive(fd).is_none() {
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
    let found = table::find_to_receive(fd);
    let piece = iovec { iov_base: bytes, iov_len: len };
    let Some(ours) = found.as_ref().and_then(Ours::new) else {
        // SAFETY: as the caller's.
        let received = unsafe { real::recvfrom(fd, bytes, len, flags, from, from_len) };
        // SAFETY: the piece is the caller's room, of which that much has been written.
        return unsafe { of_route(found.as_deref(), received, &raw const piece, 1, flags) };
    };
    if !from.is_null() {
        ours.is_asked_for_source();
    }
    // SAFETY: the piece is the caller's room.
    let received = ours.receive(fd, len, flags, |bytes| unsafe { real::scatter(bytes, &raw const piece, 1) });
    let Some(received) = received.transpose() else {
        // SAFETY: as the caller's.
        return unsafe { real::recvfrom(fd, bytes, len, flags, from, from_len) };
    };
    length(received.and_then(|received| {
        if !from.is_null() {
            // SAFETY: the caller promises the room.
            unsafe { give(received.source(), from.cast(), from_len) }?;
        }
        Ok(received.value)
    }))
}

/// What the program is told of a datagram of the kernel's, `received` being what the call returned.
///
/// # Safety
/// `pieces` points to `count` pieces of the program's room, where as much as was received has been written.
unsafe fn of_route(
    socket: Option<&Socket>,
    received: ssize_t,
    pieces: *const iovec,
    count: usize,
    flags: c_int,
) -> ssize_t {
    let (Some(Socket::Route(route)), Ok(len @ 1..)) = (socket, usize::try_from(received)) else {
        return received;
    };
    // SAFETY: the caller promises the pieces.
    if len > unsafe { real::room(pieces, count) } {
        // Cut, and only its length is told: no less than what it will be.
        return received;
    }
    // SAFETY: the caller promises so many bytes.
    let datagram = unsafe { real::gather_first(pieces, count, len) };
    match route.received(&datagram, flags & libc::MSG_PEEK != 0) {
        Some(other) => {
            // SAFETY: there is room for more.
            unsafe { real::scatter(&other, pieces, count) };
            other.len().cast_signed()
        }
        None => received,
    }
}

/// # Safety
/// As libc's `recvmsg`.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
    let found = table::find_to_receive(fd).filter(|_| !message.is_null());
    let Some(ours) = found.as_ref().and_then(Ours::new) else {
        // SAFETY: as the caller's.
        let received = unsafe { real::recvmsg(fd, message, flags) };
        if found.is_none() {
            return received;
        }
        // SAFETY: it is not null, and the caller promises a message that is its alone.
        let message = unsafe { &*message };
        // SAFETY: the pieces are the caller's room, of which that much has been written.
        return unsafe { of_route(found.as_deref(), received, message.msg_iov, message.msg_iovlen, flags) };
    };
    // SAFETY: it is not null, and the caller promises a message that is its alone.
    let message = unsafe { &mut *message };
    let (pieces, count) = (message.msg_iov, message.msg_iovlen);
    if !message.msg_name.is_null() {
        ours.is_asked_for_source();
    }
    // SAFETY: the caller promises the pieces.
    let room = unsafe { real::room(pieces, count) };
    // SAFETY: the caller promises the pieces.
    let received = ours.receive(fd, room, flags, |bytes| unsafe { real::scatter(bytes, pieces, count) });
    let Some(received) = received.transpose() else {
        // SAFETY: as the caller's.
        return unsafe { real::recvmsg(fd, message, flags) };
    };
    length(received.map(|received| {
        if !message.msg_name.is_null() {
            // SAFETY: the caller promises the room.
            message.msg_namelen = unsafe { received.source().write(message.msg_name, message.msg_namelen) };
        }
        message.msg_flags = received.flags;
        let packet_info = ours.wants_packet_info().then_some(received.group);
        // SAFETY: the caller promises the room.
        unsafe { ancillary::give(message, packet_info) };
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
        let received = unsafe { real::recvmmsg(fd, messages, count, flags, timeout) };
        for index in 0..if found.is_some() { usize::try_from(received).unwrap_or(0) } else { 0 } {
            // SAFETY: the caller promises `count` messages, and so many have been received.
            let one = unsafe { &mut *messages.add(index) };
            let (pieces, pieces_len) = (one.msg_hdr.msg_iov, one.msg_hdr.msg_iovlen);
            let len = one.msg_len as ssize_t;
            // SAFETY: the pieces are the caller's room, of which that much has been written.
            one.msg_len = unsafe { of_route(found.as_deref(), len, pieces, pieces_len, flags) } as c_uint;
        }
        return received;
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
