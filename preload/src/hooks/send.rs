// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `send`, `sendto`, `sendmsg`, `sendmmsg`.

use std::ffi::{c_int, c_uint, c_void};

use libc::{iovec, mmsghdr, msghdr, size_t, sockaddr, socklen_t, ssize_t};
use rustix::io::Errno;

use super::result::length;
use crate::address::Address;
use crate::real;
use crate::route::Route;
use crate::scratch::with_empty;
use crate::socket::{Ours, Socket};
use crate::table;

/// # Safety
/// As libc's `send`.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn send(fd: c_int, bytes: *const c_void, len: size_t, flags: c_int) -> ssize_t {
    if table::find(fd).is_none() {
        // SAFETY: as the caller's.
        return unsafe { real::send(fd, bytes, len, flags) };
    }
    // SAFETY: as the caller's.
    unsafe { sendto(fd, bytes, len, flags, std::ptr::null(), 0) }
}

/// # Safety
/// As libc's `sendto`.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn sendto(
    fd: c_int,
    bytes: *const c_void,
    len: size_t,
    flags: c_int,
    to: *const sockaddr,
    to_len: socklen_t,
) -> ssize_t {
    if table::find(fd).is_none() {
        // SAFETY: as the caller's.
        return unsafe { real::sendto(fd, bytes, len, flags, to, to_len) };
    }
    let mut piece = iovec { iov_base: bytes.cast_mut(), iov_len: len };
    // SAFETY: all zeros are a message without name, pieces and ancillary data.
    let mut message: msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = to.cast_mut().cast();
    message.msg_namelen = to_len;
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    // SAFETY: the message's parts are the caller's.
    unsafe { sendmsg(fd, &raw const message, flags) }
}

/// # Safety
/// As libc's `sendmsg`.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    let found = table::find(fd).filter(|_| !message.is_null());
    let Some(socket) = found else {
        // SAFETY: as the caller's.
        return unsafe { real::sendmsg(fd, message, flags) };
    };
    // SAFETY: it is not null, and the caller promises a message.
    let message = unsafe { &*message };
    with_empty(|bytes| {
        // SAFETY: the caller promises the pieces.
        unsafe { real::gather(bytes, message.msg_iov, message.msg_iovlen) };
        match (&*socket, Ours::new(&socket)) {
            (Socket::Portway(_), Some(ours)) => length(to(message).and_then(|to| {
                if flags & libc::MSG_OOB != 0 { Err(Errno::OPNOTSUPP) } else { ours.send(fd, bytes, to) }
            })),
            // SAFETY: as the caller's.
            (Socket::Route(route), _) => unsafe { send_route(route, fd, message, bytes, flags) },
            // SAFETY: as the caller's.
            (Socket::Portway(_), None) => unsafe { real::sendmsg(fd, message, flags) },
        }
    })
}

fn to(message: &msghdr) -> Result<Option<Address>, Errno> {
    if message.msg_name.is_null() || message.msg_namelen == 0 {
        return Ok(None);
    }
    // SAFETY: whoever passes a message promises its name's bytes.
    unsafe { Address::read(message.msg_name, message.msg_namelen) }.map(Some)
}

/// Sends to the kernel what is its own.
///
/// # Safety
/// As libc's `sendmsg`.
unsafe fn send_route(route: &Route, fd: c_int, message: &msghdr, bytes: &[u8], flags: c_int) -> ssize_t {
    let Some(requests) = route.requests(bytes) else {
        // SAFETY: as the caller's.
        return unsafe { real::sendmsg(fd, message, flags) };
    };
    for mut request in requests {
        let mut piece = iovec { iov_base: request.as_mut_ptr().cast(), iov_len: request.len() };
        let mut changed = *message;
        changed.msg_iov = &raw mut piece;
        changed.msg_iovlen = 1;
        // SAFETY: as the caller's, with bytes of ours.
        let sent = unsafe { real::sendmsg(fd, &raw const changed, flags) };
        if sent < 0 {
            return sent;
        }
    }
    bytes.len().cast_signed()
}

/// # Safety
/// As libc's `sendmmsg`.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn sendmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int {
    if table::find(fd).is_none() || messages.is_null() {
        // SAFETY: as the caller's.
        return unsafe { real::sendmmsg(fd, messages, count, flags) };
    }
    for index in 0..count {
        // SAFETY: the caller promises `count` messages.
        let one = unsafe { &mut *messages.add(index as usize) };
        // SAFETY: as the caller's.
        let sent = unsafe { sendmsg(fd, &raw const one.msg_hdr, flags) };
        if sent < 0 {
            // What was sent is told; the error comes with the next call.
            return if index == 0 { -1 } else { index.cast_signed() };
        }
        one.msg_len = sent as c_uint;
    }
    count.cast_signed()
}
