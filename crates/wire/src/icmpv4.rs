// SPDX-License-Identifier: Apache-2.0 OR MIT
//! ICMP messages (RFC 792).

use crate::Error;
use crate::bytes::{be16, be32, split};

/// Bytes of the header.
pub const LEN: usize = 8;

/// Types.
pub mod kind {
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 3;
    /// Source quench.
    pub const SOURCE_QUENCH: u8 = 4;
    /// Redirect.
    pub const REDIRECT: u8 = 5;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 8;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Parameter problem.
    pub const PARAMETER: u8 = 12;
    /// Time stamp request.
    pub const TIMESTAMP: u8 = 13;
    /// Time stamp reply.
    pub const TIMESTAMP_REPLY: u8 = 14;
    /// Information request.
    pub const INFO: u8 = 15;
    /// Information reply.
    pub const INFO_REPLY: u8 = 16;
    /// Address mask request.
    pub const ADDRESS_MASK: u8 = 17;
    /// Address mask reply.
    pub const ADDRESS_MASK_REPLY: u8 = 18;
}

/// Places of the fields.
pub mod field {
    use core::ops::Range;
    /// Type.
    pub const TYPE: usize = 0;
    /// Code.
    pub const CODE: usize = 1;
    /// Checksum.
    pub const CHECKSUM: Range<usize> = 2..4;
    /// Identifier, of echo and the other queries.
    pub const ID: Range<usize> = 4..6;
    /// Sequence number, of the same.
    pub const SEQ: Range<usize> = 6..8;
}

/// An ICMP header and what follows it.
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

    /// Type.
    #[inline]
    pub fn kind(self) -> u8 {
        self.header[0]
    }

    /// Code.
    #[inline]
    pub fn code(self) -> u8 {
        self.header[1]
    }

    /// Checksum as it stands.
    #[inline]
    pub fn checksum(self) -> u16 {
        be16!(self.header, 2)
    }

    /// Identifier, of echo and the other queries.
    #[inline]
    pub fn id(self) -> u16 {
        be16!(self.header, 4)
    }

    /// Sequence number, of the same.
    #[inline]
    pub fn seq(self) -> u16 {
        be16!(self.header, 6)
    }

    /// The last four bytes of the header as one number, as the type defines them.
    #[inline]
    pub fn word(self) -> u32 {
        be32!(self.header, 4)
    }

    /// Whether the type reports an error, so that the packet it is about follows.
    #[inline]
    pub fn is_error(self) -> bool {
        matches!(
            self.kind(),
            kind::UNREACHABLE | kind::SOURCE_QUENCH | kind::REDIRECT | kind::TIME_EXCEEDED | kind::PARAMETER
        )
    }

    /// What follows: data, or the packet that the error is about.
    #[inline]
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }
}

/// An ICMP header as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// The last four bytes, as the type defines them: identifier and sequence number, MTU, ...
    pub word: u32,
}

impl Repr {
    /// The header with the checksum over itself and `payload`.
    pub fn to_bytes(&self, payload: &[u8]) -> [u8; LEN] {
        let mut out = [0; LEN];
        out[0] = self.kind;
        out[1] = self.code;
        out[4..].copy_from_slice(&self.word.to_be_bytes());
        let check = crate::checksum::Sum::new().bytes(&out).bytes(payload).checksum();
        out[field::CHECKSUM].copy_from_slice(&check.to_be_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn view_and_repr() {
        let bytes = [8, 0, 0xe5, 0xca, 0x12, 0x34, 0, 1, b'a'];
        let view = View::new(&bytes).unwrap();
        assert_eq!((view.kind(), view.code(), view.id(), view.seq()), (kind::ECHO_REQUEST, 0, 0x1234, 1));
        assert_eq!((view.word(), view.rest(), view.is_error()), (0x1234_0001, &b"a"[..], false));
        assert!(View::new(&bytes[..7]).is_err());
        let built = Repr { kind: 8, code: 0, word: 0x1234_0001 }.to_bytes(b"a");
        let mut whole = built.to_vec();
        whole.push(b'a');
        assert_eq!(crate::checksum::checksum(&whole), 0, "verifies");
        assert_eq!(built[4..], bytes[4..8]);
        assert!(View::new(&[3, 1, 0, 0, 0, 0, 0, 0]).unwrap().is_error());
    }
}
