// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The network service header (RFC 8300).

use crate::Error;
use crate::bytes::{be16, be32, prefix, split};

/// Bytes of the base and service path headers.
pub const BASE_LEN: usize = 8;
/// Bytes of the whole header with metadata type 1.
pub const MD1_LEN: usize = 24;
/// Most bytes that the header can have: its length field has 6 bits and counts words.
pub const MAX_LEN: usize = 63 * 4;

/// Metadata types.
pub mod md_type {
    /// Fixed context of 16 bytes.
    pub const FIXED: u8 = 1;
    /// Variable context.
    pub const VARIABLE: u8 = 2;
}

/// Next protocols.
pub mod np {
    /// IPv4.
    pub const IPV4: u8 = 1;
    /// IPv6.
    pub const IPV6: u8 = 2;
    /// Ethernet.
    pub const ETHERNET: u8 = 3;
    /// NSH.
    pub const NSH: u8 = 4;
    /// MPLS.
    pub const MPLS: u8 = 5;
}

/// Places of the fields.
pub mod field {
    use core::ops::Range;
    /// Version, flags, time to live and length.
    pub const BASE: Range<usize> = 0..2;
    /// Metadata type.
    pub const MD_TYPE: usize = 2;
    /// Next protocol.
    pub const NP: usize = 3;
    /// Service path id and index.
    pub const PATH: Range<usize> = 4..8;
    /// Context of metadata type 1.
    pub const CONTEXT: Range<usize> = 8..24;
}

/// An NSH header and what follows it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    base: &'a [u8; BASE_LEN],
    bytes: &'a [u8],
    header_len: usize,
}

impl<'a> View<'a> {
    /// Checks what the kernel checks: version 0, the header whole, metadata type 1 (of exactly [`MD1_LEN`] bytes) or 2.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        let (base, _) = split::<BASE_LEN>(bytes)?;
        let version = base[0] >> 6;
        if version != 0 {
            return Err(Error::Version { version });
        }
        let header_len = usize::from(base[1] & 0x3f) * 4;
        prefix(bytes, header_len)?;
        match base[2] {
            md_type::FIXED if header_len != MD1_LEN => Err(Error::Length { length: header_len }),
            md_type::FIXED | md_type::VARIABLE => Ok(Self { base, bytes, header_len }),
            kind => Err(Error::Kind { kind }),
        }
    }

    /// The two flag bits behind the version: 2 is "operations and maintenance".
    #[inline]
    pub fn flags(self) -> u8 {
        (self.base[0] >> 4) & 3
    }

    /// Time to live, 6 bits.
    #[inline]
    pub fn ttl(self) -> u8 {
        ((be16!(self.base, 0) >> 6) & 0x3f) as u8
    }

    /// Bytes of the header as its length field says, 0 to [`MAX_LEN`].
    #[inline]
    pub fn header_len(self) -> usize {
        self.header_len
    }

    /// Metadata type, see [`md_type`].
    #[inline]
    pub fn md_type(self) -> u8 {
        self.base[2]
    }

    /// Next protocol, see [`np`].
    #[inline]
    pub fn next_protocol(self) -> u8 {
        self.base[3]
    }

    /// Service path id (24 bits) and service index (8 bits).
    #[inline]
    pub fn path(self) -> u32 {
        be32!(self.base, 4)
    }

    /// The fixed context, if the metadata type is 1.
    #[inline]
    pub fn context(self) -> Option<[u32; 4]> {
        if self.md_type() != md_type::FIXED {
            return None;
        }
        let bytes: &[u8; 16] = self.bytes.get(field::CONTEXT)?.try_into().ok()?;
        Some([be32!(bytes, 0), be32!(bytes, 4), be32!(bytes, 8), be32!(bytes, 12)])
    }

    /// Everything of the header behind the path: the context headers of either metadata type.
    #[inline]
    pub fn metadata(self) -> &'a [u8] {
        self.bytes.get(BASE_LEN..self.header_len).unwrap_or(&[])
    }

    /// What follows the header.
    #[inline]
    pub fn rest(self) -> &'a [u8] {
        &self.bytes[self.header_len..]
    }
}

/// The base and path headers as values; the context follows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Two flag bits.
    pub flags: u8,
    /// Time to live, 6 bits.
    pub ttl: u8,
    /// Bytes of the whole header, a multiple of 4 up to [`MAX_LEN`].
    pub header_len: u8,
    /// Metadata type.
    pub md_type: u8,
    /// Next protocol.
    pub next_protocol: u8,
    /// Service path id and index.
    pub path: u32,
}

impl Repr {
    /// The first eight bytes of the header. Fields that are too wide are cut.
    pub fn to_bytes(&self) -> [u8; BASE_LEN] {
        let mut out = [0; BASE_LEN];
        let base = u16::from(self.flags & 3) << 12
            | u16::from(self.ttl & 0x3f) << 6
            | u16::from((self.header_len / 4) & 0x3f);
        out[field::BASE].copy_from_slice(&base.to_be_bytes());
        out[field::MD_TYPE] = self.md_type;
        out[field::NP] = self.next_protocol;
        out[field::PATH].copy_from_slice(&self.path.to_be_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn md1() -> Vec<u8> {
        let repr = Repr {
            flags: 2,
            ttl: 63,
            header_len: 24,
            md_type: 1,
            next_protocol: np::ETHERNET,
            path: 0x0000_7bff,
        };
        let mut bytes = repr.to_bytes().to_vec();
        bytes.extend((0..16).map(|i| i * 3));
        bytes
    }

    #[test]
    fn fixed_context() {
        let mut bytes = md1();
        assert_eq!(bytes[..8], [0x2f, 0xc6, 1, 3, 0, 0, 0x7b, 0xff]);
        bytes.push(9);
        let view = View::new(&bytes).unwrap();
        assert_eq!((view.flags(), view.ttl(), view.header_len()), (2, 63, 24));
        assert_eq!((view.md_type(), view.next_protocol(), view.path()), (1, 3, 0x7bff));
        assert_eq!(view.context().unwrap()[3], 0x2427_2a2d);
        assert_eq!((view.metadata().len(), view.rest()), (16, &[9][..]));
    }

    #[test]
    fn variable_context() {
        let mut bytes = md1();
        bytes[2] = md_type::VARIABLE;
        let view = View::new(&bytes).unwrap();
        assert_eq!((view.context(), view.metadata().len()), (None, 16));
        bytes[1] = 1;
        let view = View::new(&bytes).unwrap();
        assert_eq!(
            (view.metadata().len(), view.rest().len()),
            (0, 20),
            "a length under 8 passes, as in the kernel"
        );
    }

    #[test]
    fn refused() {
        let bytes = md1();
        assert_eq!(View::new(&bytes[..7]).err(), Some(Error::Truncated { needed: 8, have: 7 }));
        assert_eq!(View::new(&bytes[..23]).err(), Some(Error::Truncated { needed: 24, have: 23 }));
        let with = |at: usize, value: u8| {
            let mut bytes = md1();
            bytes[at] = value;
            View::new(&bytes).err()
        };
        assert_eq!(with(0, 0x40), Some(Error::Version { version: 1 }));
        assert_eq!(with(1, 0xc5), Some(Error::Length { length: 20 }));
        assert_eq!(with(2, 3), Some(Error::Kind { kind: 3 }));
    }
}
