// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The network namespace of a socket: SIOCGSKNS of linux/sockios.h, for which there is no safe function.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use rustix::io::Result;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl};

/// SIOCGSKNS: the result is a new file descriptor.
struct GetNamespace;

// SAFETY: the request takes no argument and writes to no memory; a result that is not negative is a new file descriptor, which belongs to
// nobody else.
unsafe impl Ioctl for GetNamespace {
    type Output = OwnedFd;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        0x894c
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(result: IoctlOutput, _: *mut c_void) -> Result<OwnedFd> {
        // SAFETY: it is called with the result of a call that succeeded: see above.
        Ok(unsafe { OwnedFd::from_raw_fd(result) })
    }
}

/// The namespace that a socket was made in. Needs CAP_NET_ADMIN there.
pub(crate) fn namespace_of(socket: impl AsFd) -> Result<OwnedFd> {
    // SAFETY: the request is what `GetNamespace` says; on a file that is no socket it is unknown, or has no meaning without an argument.
    unsafe { ioctl(socket, GetNamespace) }
}
