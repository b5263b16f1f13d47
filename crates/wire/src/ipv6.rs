// SPDX-License-Identifier: Apache-2.0 OR MIT
//! IPv6 headers (RFC 8200). Extension headers: [`crate::ipv6_ext`].

use crate::Error;
use crate::bytes::{array, be16, be32, split};

/// Bytes of the fixed header.
pub const LEN: usize = 40;

/// Places of the fields.
pub mod field {
    use core::ops::Range;
    /// Version, traffic class and flow label.
    pub const FLOW: Range<usize> = 0..4;
    /// Bytes of what follows the fixed header.
    pub const PAYLOAD_LEN: Range<usize> = 4..6;
    /// Next header.
    pub const NEXT_HEADER: usize = 6;
    /// Hop limit.
    pub const HOP_LIMIT: usize = 7;
    /// Source address.
    pub const SRC: Range<usize> = 8..24;
    /// Destination address.
    pub const DST: Range<usize> = 24..40;
}

/// An IPv6 header and what follows it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    header: &'a [u8; LEN],
    rest: &'a [u8],
}

impl<'a> View<'a> {
    /// Checks that the fixed header is whole. Version and payload length are not looked at.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        let (header, rest) = split(bytes)?;
        Ok(Self { header, rest })
    }

    /// Version: 6, if all is well.
    #[inline]
    pub fn version(self) -> u8 {
        self.header[0] >> 4
    }

    /// Traffic class.
    #[inline]
    pub fn traffic_class(self) -> u8 {
        (be16!(self.header, 0) >> 4) as u8
    }

    /// Flow label, 20 bits.
    #[inline]
    pub fn flow_label(self) -> u32 {
        be32!(self.header, 0) & 0xf_ffff
    }

    /// Bytes of what follows the fixed header, as the header says.
    #[inline]
    pub fn payload_len(self) -> u16 {
        be16!(self.header, 4)
    }

    /// Type of what follows the fixed header.
    #[inline]
    pub fn next_header(self) -> u8 {
        self.header[6]
    }

    /// Hop limit.
    #[inline]
    pub fn hop_limit(self) -> u8 {
        self.header[7]
    }

    /// Source address.
    #[inline]
    pub fn src(self) -> [u8; 16] {
        array!(self.header, 8, 16)
    }

    /// Destination address.
    #[inline]
    pub fn dst(self) -> [u8; 16] {
        array!(self.header, 24, 16)
    }

    /// All that follows the fixed header, padding of the frame included.
    #[inline]
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// What follows the fixed header as the payload length delimits it: `None` if it is more than what is there.
    #[inline]
    pub fn payload(self) -> Option<&'a [u8]> {
        self.rest.get(..usize::from(self.payload_len()))
    }
}

/// An IPv6 header as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Traffic class.
    pub traffic_class: u8,
    /// Flow label, cut to 20 bits.
    pub flow_label: u32,
    /// Bytes of what follows.
    pub payload_len: u16,
    /// Type of what follows.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub src: [u8; 16],
    /// Destination address.
    pub dst: [u8; 16],
}

impl Repr {
    /// The header.
    pub fn to_bytes(&self) -> [u8; LEN] {
        let mut out = [0; LEN];
        let flow = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label & 0xf_ffff;
        out[field::FLOW].copy_from_slice(&flow.to_be_bytes());
        out[field::PAYLOAD_LEN].copy_from_slice(&self.payload_len.to_be_bytes());
        out[field::NEXT_HEADER] = self.next_header;
        out[field::HOP_LIMIT] = self.hop_limit;
        out[field::SRC].copy_from_slice(&self.src);
        out[field::DST].copy_from_slice(&self.dst);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn view_and_repr() {
        let repr = Repr {
            traffic_class: 0xab,
            flow_label: 0xcdef0,
            payload_len: 2,
            next_header: 17,
            hop_limit: 63,
            src: [1; 16],
            dst: [2; 16],
        };
        let mut bytes = repr.to_bytes().to_vec();
        assert_eq!(bytes[..8], [0x6a, 0xbc, 0xde, 0xf0, 0, 2, 17, 63]);
        bytes.extend([7, 8, 0]);
        let view = View::new(&bytes).unwrap();
        assert_eq!((view.version(), view.traffic_class(), view.flow_label()), (6, 0xab, 0xcdef0));
        assert_eq!((view.payload_len(), view.next_header(), view.hop_limit()), (2, 17, 63));
        assert_eq!((view.src(), view.dst()), ([1; 16], [2; 16]));
        assert_eq!((view.rest(), view.payload()), (&[7, 8, 0][..], Some(&[7, 8][..])));
        assert_eq!(View::new(&bytes[..41]).unwrap().payload(), None);
        assert!(View::new(&bytes[..39]).is_err());
    }
}
