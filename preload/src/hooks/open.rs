// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `socket`.

use std::ffi::c_int;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd};
use std::sync::Arc;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl, fstat};
use rustix::io::{Errno, FdFlags, fcntl_setfd};

use super::result::status;
use crate::connection::{self, Failure};
use crate::route::Route;
use crate::socket::Socket;
use crate::{notice, real, table};

const FLAGS: c_int = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;

/// # Safety
/// As libc's `socket`.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    if domain != libc::AF_NETLINK {
        // SAFETY: as the caller's.
        return unsafe { real::socket(domain, kind, protocol) };
    }
    let is_netlink = matches!(kind & !FLAGS, libc::SOCK_RAW | libc::SOCK_DGRAM);
    if is_netlink && protocol == libc::NETLINK_GENERIC && !table::is_borrowed() {
        match generic(kind) {
            Ok(fd) => return fd,
            Err(Failure::Gone(errno)) => notice::not_there(connection::path(), errno),
            Err(Failure::Refused(errno)) => return status(Err(errno)),
        }
    }
    // SAFETY: as the caller's.
    let fd = unsafe { real::socket(domain, kind, protocol) };
    if fd >= 0 && protocol == libc::NETLINK_ROUTE {
        // SAFETY: it was opened just now.
        let inode = fstat(unsafe { BorrowedFd::borrow_raw(fd) }).map(|stat| stat.st_ino);
        // Beyond the table's end it is the kernel's without exception.
        let _ = inode.and_then(|inode| table::insert(fd, Arc::new(Socket::Route(Route::new(inode)))));
    }
    fd
}

fn generic(kind: c_int) -> Result<c_int, Failure> {
    let (socket, data) = Socket::open(kind & !FLAGS)?;
    set_flags(&data, kind).map_err(Failure::Refused)?;
    table::insert(data.as_raw_fd(), socket).map_err(Failure::Refused)?;
    Ok(data.into_raw_fd())
}

fn set_flags(data: &std::os::fd::OwnedFd, kind: c_int) -> Result<(), Errno> {
    if kind & libc::SOCK_CLOEXEC == 0 {
        fcntl_setfd(data, FdFlags::empty())?;
    }
    if kind & libc::SOCK_NONBLOCK != 0 {
        fcntl_setfl(data, fcntl_getfl(data)? | OFlags::NONBLOCK)?;
    }
    Ok(())
}
