// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a port is found by: its name and its network namespace.

use std::ffi::CStr;
use std::fmt;

use crate::abi::NAME_SIZE;

/// A network namespace, by the inode number of its file (`/proc/PID/ns/net`): unique while the namespace lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetnsId(pub u64);

impl fmt::Display for NetnsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "net:[{}]", self.0)
    }
}

/// A port's name: 1 to 15 bytes, none of them NUL; always NUL-terminated inside.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortName([u8; NAME_SIZE]);

impl PortName {
    /// A name from bytes without terminator; `None` if it is empty, longer than 15 bytes or contains a NUL.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() || bytes.len() >= NAME_SIZE || bytes.contains(&0) {
            return None;
        }
        let mut name = [0; NAME_SIZE];
        name[..bytes.len()].copy_from_slice(bytes);
        Some(Self(name))
    }

    /// The bytes, without terminator.
    pub fn as_bytes(&self) -> &[u8] {
        let end = self.0.iter().position(|&byte| byte == 0).unwrap_or(NAME_SIZE);
        &self.0[..end]
    }

    /// The name as C sees it.
    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"")
    }

    /// Whether the kernel would take it as the name of a new device: no `/`, `:` or white space, not `.` or `..`.
    pub fn is_device_name(&self) -> bool {
        let bytes = self.as_bytes();
        // 0x0b is the vertical tab, which C's isspace() knows and Rust's is_ascii_whitespace() does not.
        let forbidden = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'/' | b':' | 0x0b | 0xa0);
        bytes != b"." && bytes != b".." && !bytes.iter().any(forbidden)
    }
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl fmt::Debug for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(self.as_bytes()), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_limits() {
        assert_eq!(PortName::new(b"eth0").unwrap().to_string(), "eth0");
        assert_eq!(PortName::new(b"123456789012345").unwrap().as_bytes().len(), 15);
        assert_eq!(PortName::new(b"eth0").unwrap().as_c_str(), c"eth0");
        for bad in [&b""[..], b"1234567890123456", b"a\0b"] {
            assert!(PortName::new(bad).is_none());
        }
    }

    #[test]
    fn device_names_follow_the_kernel() {
        assert!(PortName::new(b"br-int.7").unwrap().is_device_name());
        for bad in [&b"."[..], b"..", b"a/b", b"a b", b"a:b", b"a\tb", b"a\x0bb", b"a\nb"] {
            assert!(!PortName::new(bad).unwrap().is_device_name(), "{bad:?}");
        }
    }
}
