// SPDX-License-Identifier: Apache-2.0 OR MIT
//! ICMPv6 messages (RFC 4443). Neighbour discovery: [`crate::nd`].

use crate::Error;
use crate::bytes::{be16, be32, split};

/// Bytes of the header.
pub const LEN: usize = 8;

/// Types.
pub mod kind {
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 1;
    /// Packet too big.
    pub const TOO_BIG: u8 = 2;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 3;
    /// Parameter problem.
    pub const PARAMETER: u8 = 4;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 128;
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 129;
    /// Multicast listener query.
    pub const LISTENER_QUERY: u8 = 130;
    /// Router solicitation.
    pub const ROUTER_SOLICITATION: u8 = 133;
    /// Router advertisement.
    pub const ROUTER_ADVERTISEMENT: u8 = 134;
    /// Neighbour solicitation.
    pub const NEIGHBOR_SOLICITATION: u8 = 135;
    /// Neighbour advertisement.
    pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;
}

/// Places of the fields.
pub mod field {
    use core::ops::Range;
    /// Type.
    pub const TYPE: usize = 0;
    /// Code.
    pub const CODE: usize = 1;
    /// Checksum (over a pseudo header, too).
    pub const CHECKSUM: Range<usize> = 2..4;
    /// Identifier of echo.
    pub const ID: Range<usize> = 4..6;
    /// Sequence number of echo.
    pub const SEQ: Range<usize> = 6..8;
}

/// An ICMPv6 header and what follows it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    header: &'a [u8; LEN],
    rest: &'a [u8],
}

impl<'a> View<'a> {
    /// Checks that the header is whole: eight bytes, of which the last four depend on the type.
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

    /// Identifier of echo.
    #[inline]
    pub fn id(self) -> u16 {
        be16!(self.header, 4)
    }

    /// Sequence number of echo.
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
        self.kind() < 128
    }

    /// What follows the header.
    #[inline]
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }
}

/// An ICMPv6 header as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// The last four bytes, as the type defines them.
    pub word: u32,
}

impl Repr {
    /// The header with the checksum over itself, `payload` and the pseudo header of `src` and `dst`.
    pub fn to_bytes(&self, src: [u8; 16], dst: [u8; 16], payload: &[u8]) -> [u8; LEN] {
        let mut out = [0; LEN];
        out[0] = self.kind;
        out[1] = self.code;
        out[4..].copy_from_slice(&self.word.to_be_bytes());
        let len = (LEN + payload.len()) as u32;
        let pseudo = crate::checksum::pseudo_v6(src, dst, crate::ip_proto::ICMPV6, len);
        let check = pseudo.bytes(&out).bytes(payload).checksum();
        out[field::CHECKSUM].copy_from_slice(&check.to_be_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The echo request of the recording keys-ipv6, with the checksum that the sender's kernel made.
    const ECHO: &[u8] =
        &[0x80, 0x00, 0xbb, 0xe7, 0x12, 0x34, 0x00, 0x01, b'p', b'i', b'n', b'g', b'd', b'a', b't', b'a'];

    #[test]
    fn view_and_repr() {
        let view = View::new(ECHO).unwrap();
        assert_eq!((view.kind(), view.code(), view.id(), view.seq()), (kind::ECHO_REQUEST, 0, 0x1234, 1));
        assert_eq!((view.word(), view.checksum(), view.is_error()), (0x1234_0001, 0xbbe7, false));
        let address = |last| {
            let mut a = [0u8; 16];
            (a[0], a[15]) = (0xfd, last);
            a
        };
        let built =
            Repr { kind: 128, code: 0, word: 0x1234_0001 }.to_bytes(address(1), address(2), view.rest());
        assert_eq!(built, ECHO[..8]);
        assert!(View::new(&ECHO[..7]).is_err());
    }
}
