// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Error numbers (`asm-generic/errno-base.h`, `asm-generic/errno.h`): the ones that the datapath's ABI can return.

use core::fmt;

/// An error number, positive, as a client finds it (negated) in `nlmsgerr.error`. 0 means success.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Errno(pub i32);

impl Errno {
    /// The calling thread's errno: why its last system call failed.
    #[inline]
    pub fn last() -> Self {
        std::io::Error::last_os_error().raw_os_error().map_or(Self::EIO, Self)
    }
}

macro_rules! errnos {
    ($($id:ident = $value:literal, $text:literal;)+) => {
        impl Errno {
            $(#[doc = $text] pub const $id: Errno = Errno($value);)+

            /// Every number that has a name here, with its name.
            pub const NAMES: &[(&str, i32)] = &[$((stringify!($id), $value)),+];

            /// The symbolic name, such as `"ENODEV"`, if the number is one of those listed here.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($id)),)+
                    _ => None,
                }
            }

            /// What the C library says about the number (`strerror`, English).
            pub const fn text(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)+
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    EPERM = 1, "Operation not permitted";
    ENOENT = 2, "No such file or directory";
    EINTR = 4, "Interrupted system call";
    EIO = 5, "Input/output error";
    ENXIO = 6, "No such device or address";
    E2BIG = 7, "Argument list too long";
    EBADF = 9, "Bad file descriptor";
    EAGAIN = 11, "Resource temporarily unavailable";
    ENOMEM = 12, "Cannot allocate memory";
    EACCES = 13, "Permission denied";
    EFAULT = 14, "Bad address";
    EBUSY = 16, "Device or resource busy";
    EEXIST = 17, "File exists";
    EXDEV = 18, "Invalid cross-device link";
    ENODEV = 19, "No such device";
    EINVAL = 22, "Invalid argument";
    ENFILE = 23, "Too many open files in system";
    EMFILE = 24, "Too many open files";
    EFBIG = 27, "File too large";
    ENOSPC = 28, "No space left on device";
    EROFS = 30, "Read-only file system";
    EPIPE = 32, "Broken pipe";
    ERANGE = 34, "Numerical result out of range";
    ENAMETOOLONG = 36, "File name too long";
    ENOSYS = 38, "Function not implemented";
    ELOOP = 40, "Too many levels of symbolic links";
    ENOMSG = 42, "No message of desired type";
    ENODATA = 61, "No data available";
    EPROTO = 71, "Protocol error";
    EBADMSG = 74, "Bad message";
    EOVERFLOW = 75, "Value too large for defined data type";
    EMSGSIZE = 90, "Message too long";
    EPROTONOSUPPORT = 93, "Protocol not supported";
    EOPNOTSUPP = 95, "Operation not supported";
    EPFNOSUPPORT = 96, "Protocol family not supported";
    EAFNOSUPPORT = 97, "Address family not supported by protocol";
    EADDRINUSE = 98, "Address already in use";
    EADDRNOTAVAIL = 99, "Cannot assign requested address";
    ENETDOWN = 100, "Network is down";
    ENETUNREACH = 101, "Network is unreachable";
    ECONNRESET = 104, "Connection reset by peer";
    ENOBUFS = 105, "No buffer space available";
    ENOTCONN = 107, "Transport endpoint is not connected";
    ETIMEDOUT = 110, "Connection timed out";
    ECONNREFUSED = 111, "Connection refused";
    EHOSTUNREACH = 113, "No route to host";
    EALREADY = 114, "Operation already in progress";
    EINPROGRESS = 115, "Operation now in progress";
    ESTALE = 116, "Stale file handle";
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Errno({})", self.0),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.text(), self.name()) {
            (Some(text), Some(name)) => write!(f, "{text} ({name})"),
            _ => write!(f, "error {}", self.0),
        }
    }
}

impl core::error::Error for Errno {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts() {
        assert_eq!(
            format!("{:?} {}", Errno::ENODEV, Errno::EAFNOSUPPORT),
            "ENODEV Address family not supported by protocol (EAFNOSUPPORT)"
        );
        assert_eq!(format!("{:?} {}", Errno(4711), Errno(4711)), "Errno(4711) error 4711");
    }

    #[test]
    fn texts_are_those_of_the_system() {
        for (name, value) in Errno::NAMES {
            let system = std::io::Error::from_raw_os_error(*value).to_string();
            let ours = format!("{} (os error {value})", Errno(*value).text().expect("listed"));
            assert_eq!(system, ours, "{name}");
        }
    }
}
