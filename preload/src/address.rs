// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `struct sockaddr_nl` as programs pass it and are given it.

use std::ffi::c_void;

use rustix::io::Errno;

/// Bytes of a `sockaddr_nl`.
pub(crate) const LEN: usize = 12;
const FAMILY: u16 = libc::AF_NETLINK as u16;

/// A netlink address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Address {
    /// Port id; 0 is the kernel.
    pub(crate) port_id: u32,
    /// Multicast groups 1 to 32, a bit each.
    pub(crate) groups: u32,
}

impl Address {
    fn encode(self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..2].copy_from_slice(&FAMILY.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.port_id.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.groups.to_ne_bytes());
        bytes
    }

    fn decode(bytes: [u8; LEN]) -> Option<Self> {
        let word = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        (u16::from_ne_bytes([bytes[0], bytes[1]]) == FAMILY)
            .then(|| Self { port_id: word(4), groups: word(8) })
    }

    /// From a program's memory.
    ///
    /// # Errors
    /// EINVAL: too short, or of another family.
    ///
    /// # Safety
    /// `at` is null or points to `len` readable bytes.
    pub(crate) unsafe fn read(at: *const c_void, len: u32) -> Result<Self, Errno> {
        if at.is_null() || (len as usize) < LEN {
            return Err(Errno::INVAL);
        }
        // SAFETY: the caller promises `len` bytes, which are enough; a byte array has no alignment.
        let bytes = unsafe { at.cast::<[u8; LEN]>().read() };
        Self::decode(bytes).ok_or(Errno::INVAL)
    }

    /// To a program's memory of `room` bytes, cut if that is too small. Returns the whole length.
    ///
    /// # Safety
    /// `at` is null or points to `room` writable bytes.
    pub(crate) unsafe fn write(self, at: *mut c_void, room: u32) -> u32 {
        let bytes = self.encode();
        if !at.is_null() {
            // SAFETY: at most `room` bytes are written, which the caller promises; `bytes` is ours.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at.cast(), LEN.min(room as usize)) };
        }
        LEN as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_refusals() {
        let address = Address { port_id: 0x8000_0001, groups: 5 };
        let mut bytes = [0xff_u8; 16];
        // SAFETY: the array has that room.
        let len = unsafe { address.write(bytes.as_mut_ptr().cast(), 16) };
        assert_eq!((len, &bytes[12..]), (12, &[0xff; 4][..]));
        // SAFETY: the array has these bytes.
        assert_eq!(unsafe { Address::read(bytes.as_ptr().cast(), 12) }, Ok(address));
        // SAFETY: the array has these bytes.
        assert_eq!(unsafe { Address::read(bytes.as_ptr().cast(), 11) }, Err(Errno::INVAL));
        bytes[0] = 1;
        // SAFETY: the array has these bytes.
        assert_eq!(unsafe { Address::read(bytes.as_ptr().cast(), 12) }, Err(Errno::INVAL));
        let mut short = [0xff_u8; 8];
        // SAFETY: the array has the room that is told.
        assert_eq!(unsafe { address.write(short.as_mut_ptr().cast(), 6) }, 12);
        assert_eq!(short, [16, 0, 0, 0, 1, 0, 0xff, 0xff]);
    }
}
