// SPDX-License-Identifier: Apache-2.0 OR MIT
//! SCTP packets (RFC 9260). The checksum is CRC32c, see [`crate::checksum::sctp`].

use crate::Error;
use crate::bytes::{be16, be32, split};

/// Bytes of the common header.
pub const LEN: usize = 12;

/// Places of the fields.
pub mod field {
    use core::ops::Range;
    /// Source port.
    pub const SRC: Range<usize> = 0..2;
    /// Destination port.
    pub const DST: Range<usize> = 2..4;
    /// Verification tag.
    pub const VTAG: Range<usize> = 4..8;
    /// CRC32c, least significant byte first.
    pub const CHECKSUM: Range<usize> = 8..12;
}

/// An SCTP common header and what follows it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    header: &'a [u8; LEN],
    rest: &'a [u8],
}

impl<'a> View<'a> {
    /// Checks that the header is whole.
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

    /// Verification tag.
    #[inline]
    pub fn vtag(self) -> u32 {
        be32!(self.header, 4)
    }

    /// The CRC32c that the header holds.
    #[inline]
    pub fn checksum(self) -> u32 {
        be32!(self.header, 8).swap_bytes()
    }

    /// The chunks.
    #[inline]
    pub fn chunks(self) -> Chunks<'a> {
        Chunks { bytes: self.rest }
    }

    /// All that follows the header.
    #[inline]
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }
}

/// A chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// Type.
    pub kind: u8,
    /// Flags.
    pub flags: u8,
    /// What follows type, flags and length.
    pub value: &'a [u8],
}

/// Iterator over chunks; ends at one whose length is less than 4 or goes past the packet.
#[derive(Clone, Debug)]
pub struct Chunks<'a> {
    bytes: &'a [u8],
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Chunk<'a>> {
        let &[kind, flags, hi, lo, ..] = self.bytes else { return None };
        let len = usize::from(u16::from_be_bytes([hi, lo]));
        let value = self.bytes.get(4..len)?;
        self.bytes = self.bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some(Chunk { kind, flags, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn view_and_chunks() {
        let bytes = [
            0x0b, 0x59, 0x0b, 0x5a, 0x01, 0x02, 0x03, 0x04, 0x44, 0x33, 0x22, 0x11, // common header
            0x0e, 0x01, 0x00, 0x05, 0xaa, 0x00, 0x00, 0x00, // 5 bytes and padding
            0x06, 0x00, 0x00, 0x04, // abort
        ];
        let view = View::new(&bytes).unwrap();
        assert_eq!((view.src_port(), view.dst_port()), (2905, 2906));
        assert_eq!((view.vtag(), view.checksum()), (0x0102_0304, 0x1122_3344));
        let chunks: Vec<_> = view.chunks().collect();
        assert_eq!(
            chunks,
            [Chunk { kind: 14, flags: 1, value: &[0xaa] }, Chunk { kind: 6, flags: 0, value: &[] }]
        );
        assert!(View::new(&bytes[..11]).is_err());
    }

    #[test]
    fn bad_chunks_end_the_list() {
        for bytes in [&[1, 0, 0, 3, 0][..], &[1, 0, 0, 9, 0, 0, 0, 0], &[1, 0, 0]] {
            assert_eq!(Chunks { bytes }.next(), None);
        }
        assert_eq!(Chunks { bytes: &[1, 0, 0, 5, 9] }.count(), 1, "the last may lack its padding");
    }
}
