// SPDX-License-Identifier: Apache-2.0 OR MIT
//! libc's own functions, behind ours of the same name.

use std::ffi::{CStr, c_int, c_uint, c_ulong, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

use libc::{iovec, mmsghdr, msghdr, size_t, sockaddr, socklen_t, ssize_t, timespec};

/// The next object's function of that name: libc's, or that of a library that is loaded between.
fn next(place: &AtomicPtr<c_void>, name: &CStr) -> *mut c_void {
    let known = place.load(Ordering::Relaxed);
    if !known.is_null() {
        return known;
    }
    // SAFETY: the name is a C string.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    place.store(found, Ordering::Relaxed);
    found
}

macro_rules! real {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {$(
        /// libc's function of this name; ENOSYS if it has none.
        ///
        /// # Safety
        /// As libc's.
        pub(crate) unsafe fn $name($($argument: $type),*) -> $result {
            static PLACE: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
            let found = next(&PLACE, const {
                match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                    Ok(name) => name,
                    Err(_) => unreachable!(),
                }
            });
            if found.is_null() {
                // SAFETY: the location is the calling thread's and always there.
                unsafe { *libc::__errno_location() = libc::ENOSYS };
                return -1;
            }
            // SAFETY: libc's function of this name has this signature (variable arguments are passed as fixed ones are on
            // the processors that we build for).
            let function = unsafe {
                std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($type),*) -> $result>(found)
            };
            // SAFETY: the caller keeps libc's contract.
            unsafe { function($($argument),*) }
        }
    )*};
}

real! {
    socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    connect(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int;
    bind(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int;
    getsockname(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int;
    getpeername(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int;
    setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, len: socklen_t) -> c_int;
    getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, len: *mut socklen_t) -> c_int;
    shutdown(fd: c_int, how: c_int) -> c_int;
    send(fd: c_int, bytes: *const c_void, len: size_t, flags: c_int) -> ssize_t;
    sendto(fd: c_int, bytes: *const c_void, len: size_t, flags: c_int, to: *const sockaddr, to_len: socklen_t) -> ssize_t;
    sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t;
    sendmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int;
    recv(fd: c_int, bytes: *mut c_void, len: size_t, flags: c_int) -> ssize_t;
    recvfrom(fd: c_int, bytes: *mut c_void, len: size_t, flags: c_int, from: *mut sockaddr, from_len: *mut socklen_t) -> ssize_t;
    recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t;
    recvmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int, timeout: *mut timespec) -> c_int;
    read(fd: c_int, bytes: *mut c_void, len: size_t) -> ssize_t;
    readv(fd: c_int, pieces: *const iovec, count: c_int) -> ssize_t;
    write(fd: c_int, bytes: *const c_void, len: size_t) -> ssize_t;
    writev(fd: c_int, pieces: *const iovec, count: c_int) -> ssize_t;
    close(fd: c_int) -> c_int;
    close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int;
    dup(fd: c_int) -> c_int;
    dup2(fd: c_int, new: c_int) -> c_int;
    dup3(fd: c_int, new: c_int, flags: c_int) -> c_int;
    fcntl(fd: c_int, command: c_int, argument: *mut c_void) -> c_int;
    ioctl(fd: c_int, request: c_ulong, argument: *mut c_void) -> c_int;
}

/// Adds the bytes of a message in pieces to others.
///
/// # Safety
/// `pieces` points to `count` pieces, each of as many readable bytes as it says.
pub(crate) unsafe fn gather(bytes: &mut Vec<u8>, pieces: *const iovec, count: usize) {
    if pieces.is_null() {
        return;
    }
    // SAFETY: the caller promises the array.
    let pieces = unsafe { std::slice::from_raw_parts(pieces, count) };
    for piece in pieces.iter().filter(|piece| !piece.iov_base.is_null()) {
        // SAFETY: the caller promises the piece's bytes.
        bytes.extend_from_slice(unsafe {
            std::slice::from_raw_parts(piece.iov_base.cast::<u8>(), piece.iov_len)
        });
    }
}

/// The first bytes in pieces, at most `limit`.
///
/// # Safety
/// As [`gather`], for the bytes that are asked for.
pub(crate) unsafe fn gather_first(pieces: *const iovec, count: usize, limit: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(limit);
    for index in 0..if pieces.is_null() { 0 } else { count } {
        // SAFETY: the caller promises the array.
        let piece = unsafe { &*pieces.add(index) };
        let len = piece.iov_len.min(limit - bytes.len());
        if len > 0 && !piece.iov_base.is_null() {
            // SAFETY: the caller promises the piece's bytes.
            bytes.extend_from_slice(unsafe { std::slice::from_raw_parts(piece.iov_base.cast::<u8>(), len) });
        }
    }
    bytes
}

/// Room in pieces.
///
/// # Safety
/// As [`gather`].
pub(crate) unsafe fn room(pieces: *const iovec, count: usize) -> usize {
    if pieces.is_null() {
        return 0;
    }
    // SAFETY: the caller promises the array.
    let pieces = unsafe { std::slice::from_raw_parts(pieces, count) };
    pieces.iter().fold(0, |sum: usize, piece| sum.saturating_add(piece.iov_len))
}

/// Puts bytes into pieces.
///
/// # Safety
/// As [`gather`], with writable bytes.
pub(crate) unsafe fn scatter(mut bytes: &[u8], pieces: *const iovec, count: usize) {
    for index in 0..count {
        if bytes.is_empty() || pieces.is_null() {
            return;
        }
        // SAFETY: the caller promises the array.
        let piece = unsafe { &*pieces.add(index) };
        let (now, later) = bytes.split_at(bytes.len().min(piece.iov_len));
        // SAFETY: the caller promises the piece's room, of which no more is used; `bytes` is memory of ours.
        unsafe { std::ptr::copy_nonoverlapping(now.as_ptr(), piece.iov_base.cast(), now.len()) };
        bytes = later;
    }
}
