// SPDX-License-Identifier: Apache-2.0 OR MIT
//! TCP segments (RFC 9293).

use crate::Error;
use crate::bytes::{be16, be32, prefix, split};

/// Bytes of the header without options.
pub const MIN_LEN: usize = 20;

/// Flags: the low 12 bits of the bytes 12 and 13.
pub mod flags {
    /// No more data.
    pub const FIN: u16 = 0x001;
    /// Synchronise.
    pub const SYN: u16 = 0x002;
    /// Reset.
    pub const RST: u16 = 0x004;
    /// Push.
    pub const PSH: u16 = 0x008;
    /// The acknowledgement number counts.
    pub const ACK: u16 = 0x010;
    /// The urgent pointer counts.
    pub const URG: u16 = 0x020;
    /// ECN echo.
    pub const ECE: u16 = 0x040;
    /// Congestion window reduced.
    pub const CWR: u16 = 0x080;
    /// All bits that are not the data offset.
    pub const MASK: u16 = 0xfff;
}

/// Places of the fields.
pub mod field {
    use core::ops::Range;
    /// Source port.
    pub const SRC: Range<usize> = 0..2;
    /// Destination port.
    pub const DST: Range<usize> = 2..4;
    /// Sequence number.
    pub const SEQ: Range<usize> = 4..8;
    /// Acknowledgement number.
    pub const ACK: Range<usize> = 8..12;
    /// Data offset and flags.
    pub const FLAGS: Range<usize> = 12..14;
    /// Window.
    pub const WINDOW: Range<usize> = 14..16;
    /// Checksum.
    pub const CHECKSUM: Range<usize> = 16..18;
    /// Urgent pointer.
    pub const URGENT: Range<usize> = 18..20;
}

/// A TCP header, its options and what follows it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    header: &'a [u8; MIN_LEN],
    bytes: &'a [u8],
    header_len: usize,
}

impl<'a> View<'a> {
    /// Checks that the header with its options is whole.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        let (header, _) = split::<MIN_LEN>(bytes)?;
        let header_len = usize::from(header[12] >> 4) * 4;
        if header_len < MIN_LEN {
            return Err(Error::Length { length: header_len });
        }
        prefix(bytes, header_len)?;
        Ok(Self { header, bytes, header_len })
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

    /// Sequence number.
    #[inline]
    pub fn seq(self) -> u32 {
        be32!(self.header, 4)
    }

    /// Acknowledgement number.
    #[inline]
    pub fn ack(self) -> u32 {
        be32!(self.header, 8)
    }

    /// Bytes of the header with its options, 20 to 60.
    #[inline]
    pub fn header_len(self) -> usize {
        self.header_len
    }

    /// The twelve [`flags`], reserved bits included.
    #[inline]
    pub fn flags(self) -> u16 {
        be16!(self.header, 12) & flags::MASK
    }

    /// Window, not scaled.
    #[inline]
    pub fn window(self) -> u16 {
        be16!(self.header, 14)
    }

    /// Checksum as it stands.
    #[inline]
    pub fn checksum(self) -> u16 {
        be16!(self.header, 16)
    }

    /// Urgent pointer.
    #[inline]
    pub fn urgent(self) -> u16 {
        be16!(self.header, 18)
    }

    /// The options.
    #[inline]
    pub fn options(self) -> Options<'a> {
        Options { bytes: &self.bytes[MIN_LEN..self.header_len] }
    }

    /// All that follows the header.
    #[inline]
    pub fn rest(self) -> &'a [u8] {
        &self.bytes[self.header_len..]
    }
}

/// An option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Opt<'a> {
    /// Largest segment that the sender takes, in bytes.
    MaxSegmentSize(u16),
    /// The window is shifted left by so many bits.
    WindowScale(u8),
    /// Selective acknowledgements may be sent.
    SackPermitted,
    /// Selective acknowledgements: pairs of 4-byte sequence numbers.
    Sack(&'a [u8]),
    /// Time stamp and echo.
    Timestamp(u32, u32),
    /// Any other kind, or one of the above with a length that it cannot have.
    Other {
        /// Kind.
        kind: u8,
        /// What follows kind and length.
        data: &'a [u8],
    },
}

/// Iterator over options. Padding is skipped; it ends at the end-of-list option, and at an option whose length is less
/// than 2 or goes past the header.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    bytes: &'a [u8],
}

impl<'a> Iterator for Options<'a> {
    type Item = Opt<'a>;

    fn next(&mut self) -> Option<Opt<'a>> {
        loop {
            match *self.bytes {
                [1, ref rest @ ..] => self.bytes = rest,
                [kind, len, ..] if kind != 0 && len >= 2 && usize::from(len) <= self.bytes.len() => {
                    let (option, rest) = self.bytes.split_at(usize::from(len));
                    self.bytes = rest;
                    return Some(parse_option(kind, &option[2..]));
                }
                _ => {
                    self.bytes = &[];
                    return None;
                }
            }
        }
    }
}

fn parse_option(kind: u8, data: &[u8]) -> Opt<'_> {
    match (kind, data) {
        (2, &[a, b]) => Opt::MaxSegmentSize(u16::from_be_bytes([a, b])),
        (3, &[shift]) => Opt::WindowScale(shift),
        (4, &[]) => Opt::SackPermitted,
        (5, blocks) if !blocks.is_empty() && blocks.len().is_multiple_of(8) => Opt::Sack(blocks),
        (8, &[a, b, c, d, e, f, g, h]) => {
            Opt::Timestamp(u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
        }
        _ => Opt::Other { kind, data },
    }
}

/// A TCP header without options as a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repr {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// [`flags`].
    pub flags: u16,
    /// Window.
    pub window: u16,
}

impl Repr {
    /// The header; its checksum is zero.
    pub fn to_bytes(&self) -> [u8; MIN_LEN] {
        let mut out = [0; MIN_LEN];
        out[field::SRC].copy_from_slice(&self.src_port.to_be_bytes());
        out[field::DST].copy_from_slice(&self.dst_port.to_be_bytes());
        out[field::SEQ].copy_from_slice(&self.seq.to_be_bytes());
        out[field::ACK].copy_from_slice(&self.ack.to_be_bytes());
        out[field::FLAGS].copy_from_slice(&(5 << 12 | self.flags & flags::MASK).to_be_bytes());
        out[field::WINDOW].copy_from_slice(&self.window.to_be_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYN: [u8; 40] = [
        0xa0, 0x1c, 0x00, 0x50, // ports 40988, 80
        0x12, 0x34, 0x56, 0x78, // sequence number
        0x00, 0x00, 0x00, 0x00, // acknowledgement number
        0xa0, 0x02, 0xfa, 0xf0, // 40 bytes, SYN, window
        0xbe, 0xef, 0x00, 0x00, // checksum, urgent pointer
        0x02, 0x04, 0x05, 0xb4, // largest segment 1460
        0x04, 0x02, // selective acknowledgements
        0x08, 0x0a, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x02, // time stamps
        0x01, // padding
        0x03, 0x03, 0x07, // window scale
    ];

    #[test]
    fn view() {
        let view = View::new(&SYN).unwrap();
        assert_eq!((view.src_port(), view.dst_port()), (40988, 80));
        assert_eq!((view.seq(), view.ack(), view.header_len()), (0x1234_5678, 0, 40));
        assert_eq!((view.flags(), view.window()), (flags::SYN, 0xfaf0));
        assert_eq!((view.checksum(), view.urgent()), (0xbeef, 0));
        let options: Vec<_> = view.options().collect();
        assert_eq!(
            options,
            [Opt::MaxSegmentSize(1460), Opt::SackPermitted, Opt::Timestamp(1, 2), Opt::WindowScale(7)]
        );
        assert!(view.rest().is_empty());
    }

    #[test]
    fn bad_options_end_the_list() {
        let collect = |bytes: &'static [u8]| Options { bytes }.collect::<Vec<_>>();
        assert_eq!(collect(&[3, 3, 7, 0, 2, 4, 5, 0xb4]), [Opt::WindowScale(7)], "end of list");
        assert_eq!(collect(&[3, 0, 7, 0]), [], "length 0");
        assert_eq!(collect(&[3, 5, 7, 0]), [], "past the end");
        assert_eq!(collect(&[2]), [], "no length");
        assert_eq!(collect(&[3, 4, 7, 7]), [Opt::Other { kind: 3, data: &[7, 7] }]);
    }

    #[test]
    fn bad_lengths_and_repr() {
        assert_eq!(View::new(&SYN[..19]).err(), Some(Error::Truncated { needed: 20, have: 19 }));
        assert_eq!(View::new(&SYN[..39]).err(), Some(Error::Truncated { needed: 40, have: 39 }));
        let mut bytes = SYN;
        bytes[12] = 0x40;
        assert_eq!(View::new(&bytes).err(), Some(Error::Length { length: 16 }));
        let repr =
            Repr { src_port: 40988, dst_port: 80, seq: 0x1234_5678, flags: 0x02, window: 0xfaf0, ack: 0 };
        let built = repr.to_bytes();
        assert_eq!(built[..12], SYN[..12]);
        assert_eq!(built[12..], [0x50, 2, 0xfa, 0xf0, 0, 0, 0, 0]);
    }
}
