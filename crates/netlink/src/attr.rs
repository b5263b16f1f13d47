// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Attributes in place: the iterator and the values.

use crate::{Error, align};
use portway_uapi::netlink::{NLA_F_NESTED, NLA_HDRLEN, NLA_TYPE_MASK};
use zerocopy::FromBytes;

/// One attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr<'a> {
    raw_kind: u16,
    payload: &'a [u8],
    offset: usize,
}

impl<'a> Attr<'a> {
    /// Type, without the flag bits.
    #[inline]
    pub fn kind(&self) -> u16 {
        self.raw_kind & NLA_TYPE_MASK
    }

    /// The type field as it stands: the flags `NLA_F_*` are in the high bits.
    #[inline]
    pub fn raw_kind(&self) -> u16 {
        self.raw_kind
    }

    /// Whether the sender marked the attribute as a nest.
    #[inline]
    pub fn is_nested(&self) -> bool {
        self.raw_kind & NLA_F_NESTED != 0
    }

    /// The payload, without padding.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Bytes of the payload.
    #[inline]
    #[allow(clippy::len_without_is_empty)] // "empty" is what `len() == 0` says; an attribute is not a collection
    pub fn len(&self) -> usize {
        self.payload.len()
    }

    /// Where the attribute's header starts, counted from where the outermost [`Attrs`] was told that it starts: with
    /// [`Attrs::at`] the offset within the message, as extended acknowledgements give it.
    #[inline]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The attributes inside.
    #[inline]
    pub fn nested(&self) -> Attrs<'a> {
        Attrs::at(self.payload, self.offset + NLA_HDRLEN)
    }

    fn first<const N: usize>(&self) -> Result<[u8; N], Error> {
        let cut = Error::ValueCut { kind: self.kind(), needed: N, have: self.payload.len() };
        self.payload.first_chunk().copied().ok_or(cut)
    }

    /// The first byte. (Payloads longer than the value are accepted here and below, as the kernel's liberal policy does;
    /// where exactly one length will do, ask [`Attr::len`].)
    pub fn u8(&self) -> Result<u8, Error> {
        self.first().map(u8::from_ne_bytes)
    }

    /// 16 bits in host order.
    pub fn u16(&self) -> Result<u16, Error> {
        self.first().map(u16::from_ne_bytes)
    }

    /// 32 bits in host order.
    pub fn u32(&self) -> Result<u32, Error> {
        self.first().map(u32::from_ne_bytes)
    }

    /// 32 bits in host order, signed.
    pub fn i32(&self) -> Result<i32, Error> {
        self.first().map(i32::from_ne_bytes)
    }

    /// 64 bits in host order.
    pub fn u64(&self) -> Result<u64, Error> {
        self.first().map(u64::from_ne_bytes)
    }

    /// 16 bits in network order.
    pub fn be16(&self) -> Result<u16, Error> {
        self.first().map(u16::from_be_bytes)
    }

    /// 32 bits in network order.
    pub fn be32(&self) -> Result<u32, Error> {
        self.first().map(u32::from_be_bytes)
    }

    /// 64 bits in network order.
    pub fn be64(&self) -> Result<u64, Error> {
        self.first().map(u64::from_be_bytes)
    }

    /// A structure of the ABI.
    pub fn read<T: FromBytes>(&self) -> Result<T, Error> {
        let cut = Error::ValueCut { kind: self.kind(), needed: size_of::<T>(), have: self.payload.len() };
        T::read_from_prefix(self.payload).map(|(value, _)| value).map_err(|_| cut)
    }

    /// A string's bytes up to the first NUL, or all if there is none.
    pub fn c_str(&self) -> &'a [u8] {
        self.payload.split(|b| *b == 0).next().unwrap_or(&[])
    }

    /// A string up to the first NUL, or all if there is none.
    pub fn str(&self) -> Result<&'a str, Error> {
        std::str::from_utf8(self.c_str()).map_err(|_| Error::NotText { kind: self.kind() })
    }

    /// An array of 32-bit numbers in host order; `None` if the payload is not a whole number of them.
    pub fn u32s(&self) -> Option<impl ExactSizeIterator<Item = u32> + use<'a>> {
        let (words, rest) = self.payload.as_chunks::<4>();
        rest.is_empty().then(|| words.iter().map(|w| u32::from_ne_bytes(*w)))
    }
}

/// Iterator over attributes that follow each other. It ends at the end, or at a header whose length is less than its own
/// or goes past the end: see [`Attrs::leftover`].
#[derive(Clone, Debug)]
pub struct Attrs<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Attrs<'a> {
    /// Attributes of a payload; offsets count from its start.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::at(bytes, 0)
    }

    /// The same, where the first attribute counts as standing at `offset`.
    #[inline]
    pub fn at(bytes: &'a [u8], offset: usize) -> Self {
        Self { bytes, offset }
    }

    /// What the iterator has not returned: once it has ended, the bytes that are no attribute. Padding after the last
    /// attribute does not count; up to three bytes that are too short for a header do.
    #[inline]
    pub fn leftover(&self) -> &'a [u8] {
        self.bytes
    }

    /// The first attribute of a type.
    pub fn first_of(&self, kind: u16) -> Option<Attr<'a>> {
        self.clone().find(|attr| attr.kind() == kind)
    }
}

impl<'a> Iterator for Attrs<'a> {
    type Item = Attr<'a>;

    #[inline]
    fn next(&mut self) -> Option<Attr<'a>> {
        let &[l0, l1, k0, k1, ..] = self.bytes else { return None };
        let len = usize::from(u16::from_ne_bytes([l0, l1]));
        let payload = self.bytes.get(NLA_HDRLEN..len)?;
        let attr = Attr { raw_kind: u16::from_ne_bytes([k0, k1]), payload, offset: self.offset };
        self.bytes = self.bytes.get(align(len)..).unwrap_or(&[]);
        self.offset += align(len);
        Some(attr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden() {
        // A datapath's name, a user feature word, and a nest of one flag (little endian, as recorded).
        let bytes = [
            0x08, 0x00, 0x01, 0x00, b'b', b'r', b'0', 0, // name
            0x08, 0x00, 0x05, 0x00, 0x02, 0x00, 0x00, 0x00, // features
            0x08, 0x00, 0x04, 0x80, 0x04, 0x00, 0x07, 0x00, // nest
            0x05, 0x00, 0x02, 0x00, 0x09, 0x00, 0x00, 0x00, // one byte and padding
        ];
        let attrs: Vec<_> = Attrs::at(&bytes, 24).collect();
        assert_eq!(attrs.len(), 4);
        assert_eq!((attrs[0].kind(), attrs[0].str(), attrs[0].offset()), (1, Ok("br0"), 24));
        assert_eq!((attrs[1].kind(), attrs[1].u32(), attrs[1].offset()), (5, Ok(2), 32));
        assert!(attrs[2].is_nested() && !attrs[1].is_nested());
        assert_eq!((attrs[2].kind(), attrs[2].raw_kind()), (4, 0x8004));
        let inner: Vec<_> = attrs[2].nested().collect();
        assert_eq!((inner[0].kind(), inner[0].len(), inner[0].offset()), (7, 0, 44));
        assert_eq!((attrs[3].u8(), attrs[3].payload()), (Ok(9), &[9][..]));
        assert_eq!(
            attrs[3].u32(),
            Err(Error::ValueCut { kind: 2, needed: 4, have: 1 }),
            "padding is not payload"
        );
    }

    #[test]
    fn malformed_headers_end_the_walk() {
        let good = [4u8, 0, 1, 0];
        for (tail, leftover) in [
            (&[][..], 0),
            (&[1, 2, 3], 3),                // too short for a header
            (&[3, 0, 1, 0, 9], 5),          // less than a header
            (&[9, 0, 1, 0, 1, 2, 3, 4], 8), // past the end
            (&[0, 0, 0, 0], 4),
        ] {
            let bytes = [&good[..], tail].concat();
            let mut attrs = Attrs::new(&bytes);
            assert_eq!(attrs.by_ref().count(), 1);
            assert_eq!(attrs.leftover().len(), leftover, "{tail:?}");
        }
        let mut unpadded = Attrs::new(&[5, 0, 1, 0, 7]);
        assert_eq!(unpadded.next().unwrap().payload(), [7]);
        assert!(unpadded.leftover().is_empty());
    }

    #[test]
    fn values() {
        let attr = |payload: &'static [u8]| Attr { raw_kind: 3, payload, offset: 0 };
        assert_eq!(attr(b"eth0\0junk").str(), Ok("eth0"));
        assert_eq!(attr(b"eth0").c_str(), b"eth0");
        assert_eq!(attr(b"").str(), Ok(""));
        assert_eq!(attr(b"\xff\xff").str(), Err(Error::NotText { kind: 3 }));
        assert_eq!(attr(&[0x12, 0x34, 0x56, 0x78, 9]).be32(), Ok(0x1234_5678));
        assert_eq!(attr(&[0x12, 0x34]).be16(), Ok(0x1234));
        assert_eq!(attr(&[0, 0, 0, 0, 0, 0, 0, 5]).be64(), Ok(5));
        let array = [1u32.to_ne_bytes(), 2u32.to_ne_bytes()].concat();
        let array = Attr { raw_kind: 3, payload: &array, offset: 0 };
        assert_eq!(array.u32s().unwrap().collect::<Vec<_>>(), [1, 2]);
        assert!(attr(&[1, 2, 3, 4, 5]).u32s().is_none());
        assert_eq!(array.read::<[u32; 2]>(), Ok([1, 2]));
        assert_eq!(array.read::<[u32; 3]>().unwrap_err().errno(), portway_uapi::Errno::ERANGE);
        assert_eq!(
            (array.u64().is_ok(), array.i32(), array.u16()),
            (true, Ok(1), Ok(u16::from_ne_bytes([array.payload[0], array.payload[1]])))
        );
        assert_eq!(Attrs::new(&[4, 0, 1, 0, 4, 0, 2, 0]).first_of(2).map(|a| a.offset()), Some(4));
    }
}
