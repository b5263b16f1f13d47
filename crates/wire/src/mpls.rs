// SPDX-License-Identifier: Apache-2.0 OR MIT
//! MPLS label stacks (RFC 3032).

use crate::Error;
use crate::bytes::split;

/// Bytes of a label stack entry.
pub const LEN: usize = 4;

/// A label stack entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lse(pub u32);

impl Lse {
    /// Builds an entry: 20-bit label, 3-bit traffic class (both cut to size), bottom of stack, time to live.
    pub const fn new(label: u32, traffic_class: u8, bottom: bool, ttl: u8) -> Self {
        Self((label & 0xf_ffff) << 12 | ((traffic_class as u32) & 7) << 9 | (bottom as u32) << 8 | ttl as u32)
    }

    /// Reads the entry at the start of `bytes`.
    #[inline]
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        split(bytes).map(|(lse, _)| Self(u32::from_be_bytes(*lse)))
    }

    /// Label, 20 bits.
    #[inline]
    pub const fn label(self) -> u32 {
        self.0 >> 12
    }

    /// Traffic class, 3 bits.
    #[inline]
    pub const fn traffic_class(self) -> u8 {
        (self.0 >> 9) as u8 & 7
    }

    /// Whether this is the last entry of the stack.
    #[inline]
    pub const fn bottom(self) -> bool {
        self.0 & 0x100 != 0
    }

    /// Time to live.
    #[inline]
    pub const fn ttl(self) -> u8 {
        self.0 as u8
    }

    /// The entry's bytes.
    pub const fn to_bytes(self) -> [u8; LEN] {
        self.0.to_be_bytes()
    }
}

/// The entries of a stack from the top, up to the bottom-of-stack bit or the end of the bytes.
#[derive(Clone, Debug)]
pub struct Stack<'a> {
    bytes: &'a [u8],
    done: bool,
}

impl<'a> Stack<'a> {
    /// `bytes` start at the top of the stack.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, done: false }
    }

    /// Whether an entry with the bottom-of-stack bit has been returned.
    #[inline]
    pub fn bottom_reached(&self) -> bool {
        self.done
    }

    /// What follows the entries returned so far.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }
}

impl Iterator for Stack<'_> {
    type Item = Lse;

    #[inline]
    fn next(&mut self) -> Option<Lse> {
        if self.done {
            return None;
        }
        let (lse, rest) = self.bytes.split_first_chunk::<LEN>()?;
        let lse = Lse(u32::from_be_bytes(*lse));
        self.bytes = rest;
        self.done = lse.bottom();
        Some(lse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry() {
        let lse = Lse::new(0x12345, 5, true, 64);
        assert_eq!(lse.to_bytes(), [0x12, 0x34, 0x5b, 0x40]);
        assert_eq!((lse.label(), lse.traffic_class(), lse.bottom(), lse.ttl()), (0x12345, 5, true, 64));
        assert_eq!(Lse::read(&lse.to_bytes()), Ok(lse));
        assert_eq!(Lse::read(&[0; 3]), Err(Error::Truncated { needed: 4, have: 3 }));
        assert_eq!(Lse::new(u32::MAX, 0xff, false, 0).0, 0xffff_fe00, "cut to size");
    }

    #[test]
    fn stack() {
        let mut bytes = Vec::new();
        for (label, bottom) in [(1, false), (2, false), (3, true)] {
            bytes.extend(Lse::new(label, 0, bottom, 9).to_bytes());
        }
        bytes.extend([0x45, 0, 0, 0, 0]);
        let mut stack = Stack::new(&bytes);
        assert_eq!(stack.by_ref().map(Lse::label).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(stack.bottom_reached());
        assert_eq!(stack.rest(), [0x45, 0, 0, 0, 0]);

        let mut cut = Stack::new(&bytes[..10]);
        assert_eq!(cut.by_ref().count(), 2);
        assert!(!cut.bottom_reached());
    }
}
