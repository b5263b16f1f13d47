// SPDX-License-Identifier: Apache-2.0 OR MIT
//! GRE headers (RFC 2784) with key and sequence number (RFC 2890).

use crate::Error;
use crate::bytes::{be16, prefix, split};

/// Bytes of the header without optional fields.
pub const MIN_LEN: usize = 4;
/// A checksum is present.
pub const FLAG_CHECKSUM: u16 = 0x8000;
/// Source routing (RFC 1701, deprecated) is present.
pub const FLAG_ROUTING: u16 = 0x4000;
/// A key is present.
pub const FLAG_KEY: u16 = 0x2000;
/// A sequence number is present.
pub const FLAG_SEQUENCE: u16 = 0x1000;
/// Bits that are the version.
pub const VERSION_MASK: u16 = 0x0007;

/// A GRE header with its optional fields, and what is inside.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    header: &'a [u8; MIN_LEN],
    optional: &'a [u8],
    payload: &'a [u8],
}

impl<'a> View<'a> {
    /// Checks version 0, no source routing, and that the header with its optional fields is whole.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        let (header, rest) = split::<MIN_LEN>(bytes)?;
        let flags = be16!(header, 0);
        if flags & VERSION_MASK != 0 {
            return Err(Error::Version { version: (flags & VERSION_MASK) as u8 });
        }
        if flags & FLAG_ROUTING != 0 {
            return Err(Error::Kind { kind: (FLAG_ROUTING >> 8) as u8 });
        }
        let len = optional_len(flags);
        prefix(bytes, MIN_LEN + len)?;
        let (optional, payload) = rest.split_at(len);
        Ok(Self { header, optional, payload })
    }

    /// The flags and version.
    #[inline]
    pub fn flags(self) -> u16 {
        be16!(self.header, 0)
    }

    /// Ethernet type of what is inside; 0x6558 for a frame.
    #[inline]
    pub fn protocol(self) -> u16 {
        be16!(self.header, 2)
    }

    fn word(self, index: usize) -> Option<u32> {
        self.optional.get(index * 4..)?.first_chunk().map(|b| u32::from_be_bytes(*b))
    }

    /// The checksum over header and payload, if present.
    pub fn checksum(self) -> Option<u16> {
        (self.flags() & FLAG_CHECKSUM != 0).then(|| self.word(0).map(|w| (w >> 16) as u16))?
    }

    /// The key, if present.
    pub fn key(self) -> Option<u32> {
        let index = usize::from(self.flags() & FLAG_CHECKSUM != 0);
        (self.flags() & FLAG_KEY != 0).then(|| self.word(index))?
    }

    /// The sequence number, if present.
    pub fn sequence(self) -> Option<u32> {
        let index =
            usize::from(self.flags() & FLAG_CHECKSUM != 0) + usize::from(self.flags() & FLAG_KEY != 0);
        (self.flags() & FLAG_SEQUENCE != 0).then(|| self.word(index))?
    }

    /// Bytes of the header with its optional fields.
    #[inline]
    pub fn header_len(self) -> usize {
        MIN_LEN + self.optional.len()
    }

    /// What is inside.
    #[inline]
    pub fn payload(self) -> &'a [u8] {
        self.payload
    }
}

const fn optional_len(flags: u16) -> usize {
    (flags & (FLAG_CHECKSUM | FLAG_KEY | FLAG_SEQUENCE)).count_ones() as usize * 4
}

/// A GRE header as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Ethernet type of what is inside.
    pub protocol: u16,
    /// Leave room for a checksum (it is written as 0: sum header and payload, then put it at offset 4).
    pub checksum: bool,
    /// Key.
    pub key: Option<u32>,
    /// Sequence number.
    pub sequence: Option<u32>,
}

impl Repr {
    /// Bytes of the header.
    pub fn header_len(&self) -> usize {
        MIN_LEN
            + 4 * (usize::from(self.checksum)
                + usize::from(self.key.is_some())
                + usize::from(self.sequence.is_some()))
    }

    /// Writes the header to the start of `out`; returns its length, or an error if `out` is too short.
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, Error> {
        let len = self.header_len();
        let have = out.len();
        let out = out.get_mut(..len).ok_or(Error::Truncated { needed: len, have })?;
        let flag = |on: bool, bit: u16| if on { bit } else { 0 };
        let flags = flag(self.checksum, FLAG_CHECKSUM)
            | flag(self.key.is_some(), FLAG_KEY)
            | flag(self.sequence.is_some(), FLAG_SEQUENCE);
        out[..2].copy_from_slice(&flags.to_be_bytes());
        out[2..4].copy_from_slice(&self.protocol.to_be_bytes());
        let words = [self.checksum.then_some(0), self.key, self.sequence];
        for (place, word) in out[4..].chunks_exact_mut(4).zip(words.into_iter().flatten()) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination() {
        for bits in 0..8u8 {
            let repr = Repr {
                protocol: 0x6558,
                checksum: bits & 1 != 0,
                key: (bits & 2 != 0).then_some(0xdead_beef),
                sequence: (bits & 4 != 0).then_some(7),
            };
            let mut bytes = [0xff; 20];
            let len = repr.emit(&mut bytes).unwrap();
            assert_eq!(len, 4 + 4 * bits.count_ones() as usize);
            assert_eq!(
                repr.emit(&mut [0; 20][..len - 1]),
                Err(Error::Truncated { needed: len, have: len - 1 })
            );
            let view = View::new(&bytes).unwrap();
            assert_eq!((view.header_len(), view.protocol()), (len, 0x6558));
            assert_eq!(view.checksum(), repr.checksum.then_some(0));
            assert_eq!((view.key(), view.sequence()), (repr.key, repr.sequence));
            assert_eq!(view.payload().len(), 20 - len);
            assert!(View::new(&bytes[..len - 1]).is_err());
        }
    }

    #[test]
    fn golden_and_refused() {
        let bytes = [0x20, 0x00, 0x65, 0x58, 0x00, 0x00, 0x00, 0x2a];
        assert_eq!(View::new(&bytes).unwrap().key(), Some(42));
        assert_eq!(
            View::new(&[0x20, 1, 0x88, 0x0b, 0, 0, 0, 0]).err(),
            Some(Error::Version { version: 1 }),
            "PPTP"
        );
        assert_eq!(View::new(&[0x40, 0, 8, 0]).err(), Some(Error::Kind { kind: 0x40 }), "source routing");
    }
}
