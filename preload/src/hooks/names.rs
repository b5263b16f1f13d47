// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `connect`, `bind`, `getsockname`, `getpeername`, `setsockopt`, `getsockopt`, `shutdown`.

use std::ffi::{c_int, c_void};
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;

use libc::{sockaddr, socklen_t};
use rustix::io::Errno;
use rustix::net::sockopt;

use super::result::status;
use crate::address::Address;
use crate::real;
use crate::socket::Ours;
use crate::table;

/// # Safety
/// As libc's `connect`.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn connect(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int {
    let found = table::find(fd);
    let Some(ours) = found.as_ref().and_then(Ours::new) else {
        // SAFETY: as the caller's.
        return unsafe { real::connect(fd, address, len) };
    };
    // SAFETY: the caller promises `len` bytes.
    status(unsafe { Address::read(address.cast(), len) }.map(|to| ours.connect(to)))
}

/// # Safety
/// As libc's `bind`.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn bind(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int {
    let found = table::find(fd);
    let Some(ours) = found.as_ref().and_then(Ours::new) else {
        // SAFETY: as the caller's.
        return unsafe { real::bind(fd, address, len) };
    };
    // SAFETY: the caller promises `len` bytes.
    status(unsafe { Address::read(address.cast(), len) }.and_then(|to| ours.bind(to)))
}

/// Gives an address to the caller.
///
/// # Safety
/// `len` is null or points to the room behind `address`.
pub(super) unsafe fn give(given: Address, address: *mut c_void, len: *mut socklen_t) -> Result<(), Errno> {
    if len.is_null() {
        return Err(Errno::FAULT);
    }
    // SAFETY: the caller promises that it is the room behind `address`.
    unsafe {
        if (*len).cast_signed() < 0 {
            return Err(Errno::INVAL);
        }
        *len = given.write(address, *len);
    }
    Ok(())
}

/// # Safety
/// As libc's `getsockname`.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn getsockname(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int {
    let found = table::find(fd);
    let Some(ours) = found.as_ref().and_then(Ours::new) else {
        // SAFETY: as the caller's.
        return unsafe { real::getsockname(fd, address, len) };
    };
    // SAFETY: the caller promises the room.
    status(unsafe { give(ours.own_address(), address.cast(), len) })
}

/// # Safety
/// As libc's `getpeername`.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn getpeername(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int {
    let found = table::find(fd);
    let Some(ours) = found.as_ref().and_then(Ours::new) else {
        // SAFETY: as the caller's.
        return unsafe { real::getpeername(fd, address, len) };
    };
    let peer = Address { port_id: ours.netlink.peer.load(Ordering::Acquire), groups: 0 };
    // SAFETY: the caller promises the room.
    status(unsafe { give(peer, address.cast(), len) })
}

/// The program has set SO_RCVBUF. What the kernel has made of that is the room that portwayd is told of, whose side of the connection is
/// where it is counted.
fn note_room(ours: Ours<'_>, fd: c_int) -> Result<(), Errno> {
    // SAFETY: the program has just used it; should it be closed meanwhile, the call fails.
    let data = unsafe { BorrowedFd::borrow_raw(fd) };
    let room = sockopt::socket_recv_buffer_size(data)?;
    ours.set_room(u32::try_from(room).unwrap_or(u32::MAX))
}

/// # Safety
/// As libc's `setsockopt`.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn setsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    len: socklen_t,
) -> c_int {
    let is_room = level == libc::SOL_SOCKET && matches!(name, libc::SO_RCVBUF | libc::SO_RCVBUFFORCE);
    let found = if level == libc::SOL_NETLINK || is_room { table::find(fd) } else { None };
    let Some(ours) = found.as_ref().and_then(Ours::new) else {
        // SAFETY: as the caller's.
        return unsafe { real::setsockopt(fd, level, name, value, len) };
    };
    if is_room {
        // SAFETY: as the caller's.
        let result = unsafe { real::setsockopt(fd, level, name, value, len) };
        return if result == 0 { status(note_room(ours, fd)) } else { result };
    }
    if value.is_null() || (len as usize) < size_of::<u32>() {
        return status(Err(Errno::INVAL));
    }
    // SAFETY: the caller promises `len` bytes, which are enough.
    let value = unsafe { value.cast::<u32>().read_unaligned() };
    status(ours.set_option(name, value))
}

/// # Safety
/// As libc's `getsockopt`.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn getsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    len: *mut socklen_t,
) -> c_int {
    let found = if matches!(level, libc::SOL_NETLINK | libc::SOL_SOCKET) { table::find(fd) } else { None };
    let words = found.as_ref().and_then(Ours::new).and_then(|ours| match level {
        libc::SOL_NETLINK => Some(ours.option(name)),
        _ => ours.socket_option(name).map(|word| Ok(vec![word.cast_unsigned()])),
    });
    match words {
        // SAFETY: as the caller's.
        None => unsafe { real::getsockopt(fd, level, name, value, len) },
        // SAFETY: the caller promises the room.
        Some(words) => status(words.and_then(|words| unsafe { give_option(name, &words, value, len) })),
    }
}

/// # Safety
/// `len` is null or points to the room behind `value`.
unsafe fn give_option(
    name: c_int,
    words: &[u32],
    value: *mut c_void,
    len: *mut socklen_t,
) -> Result<(), Errno> {
    if len.is_null() {
        return Err(Errno::FAULT);
    }
    // SAFETY: the caller promises it.
    let room = unsafe { *len } as usize;
    let is_list = name == libc::NETLINK_LIST_MEMBERSHIPS;
    if !is_list && room < size_of::<u32>() {
        return Err(Errno::INVAL);
    }
    let fitting = if is_list { words.len().min(room / size_of::<u32>()) } else { words.len() };
    if !value.is_null() {
        // SAFETY: the caller promises the room, of which no more than it has is used.
        unsafe {
            std::ptr::copy_nonoverlapping(
                words.as_ptr().cast::<u8>(),
                value.cast(),
                fitting * size_of::<u32>(),
            );
        };
    }
    // SAFETY: the caller promises it.
    unsafe { *len = size_of_val(words) as socklen_t };
    Ok(())
}

/// # Safety
/// As libc's `shutdown`.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn shutdown(fd: c_int, how: c_int) -> c_int {
    match table::find(fd).as_ref().and_then(Ours::new) {
        Some(_) => status(Err(Errno::OPNOTSUPP)),
        // SAFETY: as the caller's.
        None => unsafe { real::shutdown(fd, how) },
    }
}
