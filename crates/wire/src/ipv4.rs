// SPDX-License-Identifier: Apache-2.0 OR MIT
//! IPv4 headers (RFC 791, RFC 2474 and RFC 3168 for the type-of-service byte).

use crate::bytes::{array, be16, prefix, split};
use crate::{Error, checksum};

/// Bytes of the header without options.
pub const MIN_LEN: usize = 20;
/// Bit of the flags and offset field: do not fragment.
pub const DF: u16 = 0x4000;
/// Bit of the flags and offset field: more fragments follow.
pub const MF: u16 = 0x2000;
/// Bits of the flags and offset field that are the offset, in units of 8 bytes.
pub const OFFSET_MASK: u16 = 0x1fff;

/// Places of the fields.
pub mod field {
    use core::ops::Range;
    /// Type of service.
    pub const TOS: usize = 1;
    /// Bytes of header and payload.
    pub const TOTAL_LEN: Range<usize> = 2..4;
    /// Identification.
    pub const ID: Range<usize> = 4..6;
    /// Flags and fragment offset.
    pub const FRAGMENT: Range<usize> = 6..8;
    /// Time to live.
    pub const TTL: usize = 8;
    /// Protocol.
    pub const PROTOCOL: usize = 9;
    /// Header checksum.
    pub const CHECKSUM: Range<usize> = 10..12;
    /// Source address.
    pub const SRC: Range<usize> = 12..16;
    /// Destination address.
    pub const DST: Range<usize> = 16..20;
}

/// An IPv4 header, its options and what follows it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    header: &'a [u8; MIN_LEN],
    bytes: &'a [u8],
    header_len: usize,
}

impl<'a> View<'a> {
    /// Checks that the header with its options is whole. Version, total length and checksum are not looked at.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        let (header, _) = split::<MIN_LEN>(bytes)?;
        let header_len = usize::from(header[0] & 0xf) * 4;
        if header_len < MIN_LEN {
            return Err(Error::Length { length: header_len });
        }
        prefix(bytes, header_len)?;
        Ok(Self { header, bytes, header_len })
    }

    /// Version: 4, if all is well.
    #[inline]
    pub fn version(self) -> u8 {
        self.header[0] >> 4
    }

    /// Bytes of the header with its options, 20 to 60.
    #[inline]
    pub fn header_len(self) -> usize {
        self.header_len
    }

    /// Type of service.
    #[inline]
    pub fn tos(self) -> u8 {
        self.header[1]
    }

    /// Bytes of header and payload as the header says.
    #[inline]
    pub fn total_len(self) -> u16 {
        be16!(self.header, 2)
    }

    /// Identification.
    #[inline]
    pub fn id(self) -> u16 {
        be16!(self.header, 4)
    }

    /// Flags and fragment offset as they stand.
    #[inline]
    pub fn flags_and_offset(self) -> u16 {
        be16!(self.header, 6)
    }

    /// Do not fragment.
    #[inline]
    pub fn dont_fragment(self) -> bool {
        self.flags_and_offset() & DF != 0
    }

    /// More fragments follow.
    #[inline]
    pub fn more_fragments(self) -> bool {
        self.flags_and_offset() & MF != 0
    }

    /// Offset of this fragment in bytes.
    #[inline]
    pub fn fragment_offset(self) -> usize {
        usize::from(self.flags_and_offset() & OFFSET_MASK) * 8
    }

    /// Time to live.
    #[inline]
    pub fn ttl(self) -> u8 {
        self.header[8]
    }

    /// Protocol of the payload.
    #[inline]
    pub fn protocol(self) -> u8 {
        self.header[9]
    }

    /// Header checksum as it stands.
    #[inline]
    pub fn checksum(self) -> u16 {
        be16!(self.header, 10)
    }

    /// Whether the header checksum is right.
    pub fn checksum_ok(self) -> bool {
        checksum::checksum(&self.bytes[..self.header_len]) == 0
    }

    /// Source address.
    #[inline]
    pub fn src(self) -> [u8; 4] {
        array!(self.header, 12, 4)
    }

    /// Destination address.
    #[inline]
    pub fn dst(self) -> [u8; 4] {
        array!(self.header, 16, 4)
    }

    /// The options' bytes.
    #[inline]
    pub fn options(self) -> &'a [u8] {
        &self.bytes[MIN_LEN..self.header_len]
    }

    /// All that follows the header, padding of the frame included.
    #[inline]
    pub fn rest(self) -> &'a [u8] {
        &self.bytes[self.header_len..]
    }

    /// The payload as the total length delimits it: `None` if the length is less than the header's or more than
    /// what is there.
    #[inline]
    pub fn payload(self) -> Option<&'a [u8]> {
        self.bytes.get(self.header_len..usize::from(self.total_len()))
    }
}

/// An IPv4 header without options as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Type of service.
    pub tos: u8,
    /// Bytes of header and payload.
    pub total_len: u16,
    /// Identification.
    pub id: u16,
    /// [`DF`], [`MF`] and the offset in units of 8 bytes.
    pub flags_and_offset: u16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Source address.
    pub src: [u8; 4],
    /// Destination address.
    pub dst: [u8; 4],
}

impl Repr {
    /// The header with its checksum.
    pub fn to_bytes(&self) -> [u8; MIN_LEN] {
        let mut out = [0; MIN_LEN];
        out[0] = 0x45;
        out[field::TOS] = self.tos;
        out[field::TOTAL_LEN].copy_from_slice(&self.total_len.to_be_bytes());
        out[field::ID].copy_from_slice(&self.id.to_be_bytes());
        out[field::FRAGMENT].copy_from_slice(&self.flags_and_offset.to_be_bytes());
        out[field::TTL] = self.ttl;
        out[field::PROTOCOL] = self.protocol;
        out[field::SRC].copy_from_slice(&self.src);
        out[field::DST].copy_from_slice(&self.dst);
        let check = checksum::checksum(&out);
        out[field::CHECKSUM].copy_from_slice(&check.to_be_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example header of many textbooks; its checksum is b1e6.
    const HEADER: [u8; 20] = [
        0x45, 0x00, 0x00, 0x3c, 0x1c, 0x46, 0x40, 0x00, 0x40, 0x06, 0xb1, 0xe6, 0xac, 0x10, 0x0a, 0x63, 0xac,
        0x10, 0x0a, 0x0c,
    ];

    #[test]
    fn view_and_repr() {
        let view = View::new(&HEADER).unwrap();
        assert_eq!((view.version(), view.header_len(), view.tos()), (4, 20, 0));
        assert_eq!((view.total_len(), view.id(), view.ttl(), view.protocol()), (60, 0x1c46, 64, 6));
        assert_eq!((view.dont_fragment(), view.more_fragments(), view.fragment_offset()), (true, false, 0));
        assert_eq!((view.src(), view.dst()), ([172, 16, 10, 99], [172, 16, 10, 12]));
        assert_eq!(view.checksum(), 0xb1e6);
        assert!(view.checksum_ok());
        assert!(view.options().is_empty() && view.rest().is_empty());
        assert_eq!(view.payload(), None, "60 bytes are promised");
        let repr = Repr {
            tos: 0,
            total_len: 60,
            id: 0x1c46,
            flags_and_offset: DF,
            ttl: 64,
            protocol: 6,
            src: view.src(),
            dst: view.dst(),
        };
        assert_eq!(repr.to_bytes(), HEADER);
    }

    #[test]
    fn options_fragment_and_padding() {
        let mut bytes = [0u8; 32];
        bytes[0] = 0x46;
        bytes[3] = 28;
        bytes[6..8].copy_from_slice(&(MF | 3).to_be_bytes());
        bytes[20..28].copy_from_slice(&[1, 1, 1, 0, 0xaa, 0xbb, 0xcc, 0xdd]);
        let view = View::new(&bytes).unwrap();
        assert_eq!(view.options(), [1, 1, 1, 0]);
        assert_eq!(view.payload(), Some(&[0xaa, 0xbb, 0xcc, 0xdd][..]));
        assert_eq!(view.rest().len(), 8);
        assert_eq!((view.more_fragments(), view.fragment_offset()), (true, 24));
        assert!(!view.checksum_ok());
    }

    #[test]
    fn bad_lengths() {
        assert_eq!(View::new(&HEADER[..19]).err(), Some(Error::Truncated { needed: 20, have: 19 }));
        let mut bytes = HEADER;
        bytes[0] = 0x44;
        assert_eq!(View::new(&bytes).err(), Some(Error::Length { length: 16 }));
        bytes[0] = 0x4f;
        assert_eq!(View::new(&bytes).err(), Some(Error::Truncated { needed: 60, have: 20 }));
    }
}
