// SPDX-License-Identifier: Apache-2.0 OR MIT
//! UDP datagrams (RFC 768).

use crate::Error;
use crate::bytes::{be16, split};

/// Bytes of the header.
pub const LEN: usize = 8;

/// Places of the fields.
pub mod field {
    use core::ops::Range;
    /// Source port.
    pub const SRC: Range<usize> = 0..2;
    /// Destination port.
    pub const DST: Range<usize> = 2..4;
    /// Bytes of header and payload.
    pub const LENGTH: Range<usize> = 4..6;
    /// Checksum; 0: none.
    pub const CHECKSUM: Range<usize> = 6..8;
}

/// A UDP header and what follows it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    header: &'a [u8; LEN],
    rest: &'a [u8],
}

impl<'a> View<'a> {
    /// Checks that the header is whole. The length field is not looked at.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        let (header, rest) = split(bytes)?;
        Ok(Self { header, rest })
    }

    /// Source port.
    #[inline]
    pub fn src_port(self) -> u16 {
        be16!(self.header, 0)
    }

    /// Destination port.
    #[inline]
    pub fn dst_port(self) -> u16 {
        be16!(self.header, 2)
    }

    /// Bytes of header and payload, as the header says.
    #[inline]
    pub fn length(self) -> u16 {
        be16!(self.header, 4)
    }

    /// Checksum as it stands; 0: none.
    #[inline]
    pub fn checksum(self) -> u16 {
        be16!(self.header, 6)
    }

    /// All that follows the header.
    #[inline]
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// The payload as the length field delimits it: `None` if that is less than the header or more than what is there.
    #[inline]
    pub fn payload(self) -> Option<&'a [u8]> {
        self.rest.get(..usize::from(self.length()).checked_sub(LEN)?)
    }
}

/// A UDP header as a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repr {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Bytes of header and payload.
    pub length: u16,
    /// Checksum; 0: none.
    pub checksum: u16,
}

impl Repr {
    /// The header.
    pub fn to_bytes(&self) -> [u8; LEN] {
        let mut out = [0; LEN];
        out[field::SRC].copy_from_slice(&self.src_port.to_be_bytes());
        out[field::DST].copy_from_slice(&self.dst_port.to_be_bytes());
        out[field::LENGTH].copy_from_slice(&self.length.to_be_bytes());
        out[field::CHECKSUM].copy_from_slice(&self.checksum.to_be_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn view_and_repr() {
        let bytes = [0x03, 0xe8, 0x07, 0xd0, 0x00, 0x0a, 0x3c, 0xc1, 0x70, 0x61, 0x00];
        let view = View::new(&bytes).unwrap();
        assert_eq!(
            (view.src_port(), view.dst_port(), view.length(), view.checksum()),
            (1000, 2000, 10, 0x3cc1)
        );
        assert_eq!((view.payload(), view.rest()), (Some(&[0x70, 0x61][..]), &[0x70, 0x61, 0][..]));
        let repr = Repr { src_port: 1000, dst_port: 2000, length: 10, checksum: 0x3cc1 };
        assert_eq!(repr.to_bytes(), bytes[..8]);
        assert!(View::new(&bytes[..7]).is_err());
        let short = [0, 0, 0, 0, 0, 7, 0, 0];
        assert_eq!(View::new(&short).unwrap().payload(), None);
        assert_eq!(View::new(&bytes[..9]).unwrap().payload(), None);
    }
}
