// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Neighbour discovery for IPv6 (RFC 4861): solicitations and advertisements of neighbours, and their options.

use crate::Error;
use crate::bytes::{array, split};

/// Bytes of a neighbour solicitation or advertisement, ICMPv6 header included, without options.
pub const LEN: usize = 24;

/// Types of options.
pub mod option {
    /// Link-layer address of the sender.
    pub const SOURCE_LINK_ADDR: u8 = 1;
    /// Link-layer address of the target.
    pub const TARGET_LINK_ADDR: u8 = 2;
    /// Prefix information.
    pub const PREFIX: u8 = 3;
    /// The packet that is redirected.
    pub const REDIRECTED: u8 = 4;
    /// MTU.
    pub const MTU: u8 = 5;
}

/// Places of the fields, from the start of the ICMPv6 header.
pub mod field {
    use core::ops::Range;
    /// Target address.
    pub const TARGET: Range<usize> = 8..24;
}

/// A neighbour solicitation or advertisement.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    message: &'a [u8; LEN],
    options: &'a [u8],
}

impl<'a> View<'a> {
    /// `bytes` start at the ICMPv6 header. Checks that the message without options is whole; type and code are the
    /// caller's business.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        let (message, options) = split(bytes)?;
        Ok(Self { message, options })
    }

    /// Target address.
    #[inline]
    pub fn target(self) -> [u8; 16] {
        array!(self.message, 8, 16)
    }

    /// The options, as far as the bytes go.
    #[inline]
    pub fn options(self) -> Options<'a> {
        Options { bytes: self.options }
    }
}

/// An option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opt<'a> {
    /// Type, see [`option`].
    pub kind: u8,
    /// What follows type and length: 6 bytes, or 8 more for each further unit of length.
    pub data: &'a [u8],
}

impl Opt<'_> {
    /// The Ethernet address of a link-layer address option of 8 bytes; `None` for every other option.
    #[inline]
    pub fn link_addr(&self) -> Option<[u8; 6]> {
        match self.kind {
            option::SOURCE_LINK_ADDR | option::TARGET_LINK_ADDR => self.data.try_into().ok(),
            _ => None,
        }
    }
}

/// Iterator over options; ends at one whose length is 0 or goes past the bytes.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    bytes: &'a [u8],
}

impl<'a> Iterator for Options<'a> {
    type Item = Opt<'a>;

    #[inline]
    fn next(&mut self) -> Option<Opt<'a>> {
        let &[kind, len, ..] = self.bytes else { return None };
        let data = self.bytes.get(2..usize::from(len) * 8)?;
        self.bytes = &self.bytes[usize::from(len) * 8..];
        Some(Opt { kind, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solicitation_with_options() {
        let mut bytes = vec![135, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend([0xfe; 16]);
        bytes.extend([1, 1, 2, 0, 0, 0, 0, 9]); // source address
        bytes.extend([5, 1, 0, 0, 0, 0, 5, 0xdc]); // MTU
        bytes.extend([2, 2, 2, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0]); // target, too long for Ethernet
        let view = View::new(&bytes).unwrap();
        assert_eq!(view.target(), [0xfe; 16]);
        let options: Vec<_> = view.options().collect();
        assert_eq!(options.iter().map(|o| o.kind).collect::<Vec<_>>(), [1, 5, 2]);
        let addresses: Vec<_> = options.iter().map(Opt::link_addr).collect();
        assert_eq!(addresses, [Some([2, 0, 0, 0, 0, 9]), None, None]);
        assert!(View::new(&bytes[..23]).is_err());
    }

    #[test]
    fn bad_options_end_the_list() {
        for bytes in [&[1, 0, 0, 0, 0, 0, 0, 0][..], &[1, 1, 0, 0, 0, 0, 0], &[1, 2, 0, 0, 0, 0, 0, 0], &[1]]
        {
            assert_eq!(Options { bytes }.next(), None);
        }
    }
}
