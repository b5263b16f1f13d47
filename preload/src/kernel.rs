// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sockets that become the kernel's, since they ask for a family that only the kernel has.

use std::ffi::c_int;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use crate::address::{self, Address};
use crate::socket::{Ours, Settings};
use crate::{real, table};

/// Options that are bits of [`Settings::options`].
const OPTIONS: std::ops::RangeInclusive<c_int> = libc::NETLINK_PKTINFO..=libc::NETLINK_GET_STRICT_CHK;

fn last_error() -> Errno {
    // SAFETY: the location is the calling thread's and always there.
    Errno::from_raw_os_error(unsafe { *libc::__errno_location() })
}

fn done(result: isize) -> Result<isize, Errno> {
    if result < 0 { Err(last_error()) } else { Ok(result) }
}

/// Makes the kernel's socket that `ours` is to be, with its port id and options, in its place, and sends it the datagram.
pub(crate) fn take_over(
    ours: Ours<'_>,
    settings: &Settings,
    fd: RawFd,
    datagram: &[u8],
) -> Result<(), Errno> {
    let kind = ours.netlink.kind | libc::SOCK_CLOEXEC;
    // SAFETY: no memory is passed.
    let socket = done(unsafe { real::socket(libc::AF_NETLINK, kind, libc::NETLINK_GENERIC) } as isize)?;
    // SAFETY: the kernel has just given it to us, and nobody else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(socket as RawFd) };
    let number = socket.as_raw_fd();
    for option in OPTIONS.filter(|option| settings.has(*option)) {
        let on: c_int = 1;
        // SAFETY: the value is a local integer of the length that is told. An option that this kernel lacks stays off.
        unsafe {
            real::setsockopt(
                number,
                libc::SOL_NETLINK,
                option,
                (&raw const on).cast(),
                size_of::<c_int>() as u32,
            )
        };
    }
    let mut bytes = [0_u8; address::LEN];
    let own = Address { port_id: ours.netlink.port_id.load(Ordering::Acquire), groups: 0 };
    // SAFETY: the array has the room that is told; `bind` reads as much. Should the port id be taken, the kernel gives another.
    unsafe {
        own.write(bytes.as_mut_ptr().cast(), address::LEN as u32);
        real::bind(number, bytes.as_ptr().cast(), address::LEN as u32);
    }
    table::replace(ours.whole, socket.as_fd())?;
    for (fd, other) in table::all() {
        if std::sync::Arc::ptr_eq(&other, ours.whole) {
            table::remove(fd);
        }
    }
    // SAFETY: the slice is valid for its length.
    done(unsafe { real::send(fd, datagram.as_ptr().cast(), datagram.len(), 0) }).map(drop)
}
