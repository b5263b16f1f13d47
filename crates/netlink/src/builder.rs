// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Writing attributes. Whatever fails leaves the bytes as they were before that call.

use crate::{Error, align};
use portway_uapi::netlink::{NLA_F_NESTED, NLA_HDRLEN};
use zerocopy::{Immutable, IntoBytes};

/// Appends attributes to a buffer, up to a limit on the buffer's length.
#[derive(Debug)]
pub struct AttrBuilder<'b> {
    buf: &'b mut Vec<u8>,
    limit: usize,
}

/// A nest that is open: give it back to [`AttrBuilder::nest_end`] or [`AttrBuilder::nest_cancel`]. The nest that was
/// opened last is to be closed first.
#[derive(Debug)]
#[must_use = "the nest's length is written by nest_end"]
pub struct Nest {
    at: usize,
}

impl<'b> AttrBuilder<'b> {
    /// Appends to `buf`, which must hold a multiple of 4 bytes for the attributes to be aligned.
    pub fn new(buf: &'b mut Vec<u8>) -> Self {
        Self::with_limit(buf, usize::MAX)
    }

    /// The same, but `buf` will not grow past `limit` bytes.
    pub fn with_limit(buf: &'b mut Vec<u8>, limit: usize) -> Self {
        debug_assert!(buf.len().is_multiple_of(4), "attributes are aligned");
        Self { buf, limit }
    }

    /// Bytes in the buffer.
    #[allow(clippy::len_without_is_empty)] // a builder is not a collection
    pub fn len(&self) -> usize {
        self.buf.len()
    }

    /// Writes an attribute's header, if there is room for it and `payload` bytes.
    #[inline]
    fn start(&mut self, kind: u16, payload: usize) -> Result<(), Error> {
        let len = u16::try_from(payload.saturating_add(NLA_HDRLEN))
            .map_err(|_| Error::AttributeTooLong { kind, len: payload })?;
        let needed = self.buf.len() + align(usize::from(len));
        if needed > self.limit {
            return Err(Error::NoRoom { needed, limit: self.limit });
        }
        self.buf.reserve(align(usize::from(len)));
        let ([l0, l1], [k0, k1]) = (len.to_ne_bytes(), kind.to_ne_bytes());
        self.buf.extend_from_slice(&[l0, l1, k0, k1]);
        Ok(())
    }

    #[inline]
    fn pad(&mut self) {
        let end = align(self.buf.len());
        if end != self.buf.len() {
            self.buf.resize(end, 0);
        }
    }

    /// An attribute with these bytes, padded with zeros.
    #[inline]
    pub fn put(&mut self, kind: u16, payload: &[u8]) -> Result<(), Error> {
        self.start(kind, payload.len())?;
        self.buf.extend_from_slice(payload);
        self.pad();
        Ok(())
    }

    /// An attribute whose payload is the parts one after the other.
    pub fn put_parts(&mut self, kind: u16, parts: &[&[u8]]) -> Result<(), Error> {
        self.start(kind, parts.iter().map(|p| p.len()).sum())?;
        for part in parts {
            self.buf.extend_from_slice(part);
        }
        self.pad();
        Ok(())
    }

    /// An attribute whose payload, of `len` bytes, `fill` writes: it is given zeros.
    #[inline]
    pub fn put_with(&mut self, kind: u16, len: usize, fill: impl FnOnce(&mut [u8])) -> Result<(), Error> {
        self.start(kind, len)?;
        let at = self.buf.len();
        self.buf.resize(at + align(len), 0);
        fill(&mut self.buf[at..at + len]);
        Ok(())
    }

    /// An attribute that is the last of its message and is not padded (`OVS_DP_F_UNALIGNED` allows that for upcalls).
    /// Nothing may be put after it.
    pub fn put_last_unaligned(&mut self, kind: u16, payload: &[u8]) -> Result<(), Error> {
        self.put(kind, payload)?;
        let padding = align(payload.len()) - payload.len();
        self.buf.truncate(self.buf.len() - padding);
        Ok(())
    }

    /// An attribute without payload.
    #[inline]
    pub fn put_flag(&mut self, kind: u16) -> Result<(), Error> {
        self.put(kind, &[])
    }

    /// One byte.
    #[inline]
    pub fn put_u8(&mut self, kind: u16, value: u8) -> Result<(), Error> {
        self.put(kind, &[value])
    }

    /// 16 bits in host order.
    #[inline]
    pub fn put_u16(&mut self, kind: u16, value: u16) -> Result<(), Error> {
        self.put(kind, &value.to_ne_bytes())
    }

    /// 32 bits in host order.
    #[inline]
    pub fn put_u32(&mut self, kind: u16, value: u32) -> Result<(), Error> {
        self.put(kind, &value.to_ne_bytes())
    }

    /// 32 bits in host order, signed.
    #[inline]
    pub fn put_i32(&mut self, kind: u16, value: i32) -> Result<(), Error> {
        self.put(kind, &value.to_ne_bytes())
    }

    /// 64 bits in host order. As the kernel on machines that read unaligned numbers, no padding attribute is put in front.
    #[inline]
    pub fn put_u64(&mut self, kind: u16, value: u64) -> Result<(), Error> {
        self.put(kind, &value.to_ne_bytes())
    }

    /// 16 bits in network order.
    #[inline]
    pub fn put_be16(&mut self, kind: u16, value: u16) -> Result<(), Error> {
        self.put(kind, &value.to_be_bytes())
    }

    /// 32 bits in network order.
    #[inline]
    pub fn put_be32(&mut self, kind: u16, value: u32) -> Result<(), Error> {
        self.put(kind, &value.to_be_bytes())
    }

    /// 64 bits in network order.
    #[inline]
    pub fn put_be64(&mut self, kind: u16, value: u64) -> Result<(), Error> {
        self.put(kind, &value.to_be_bytes())
    }

    /// A string; a NUL is added.
    pub fn put_str(&mut self, kind: u16, text: &str) -> Result<(), Error> {
        self.put_parts(kind, &[text.as_bytes(), &[0]])
    }

    /// A structure of the ABI, or an array of them.
    #[inline]
    pub fn put_struct<T: IntoBytes + Immutable + ?Sized>(
        &mut self,
        kind: u16,
        value: &T,
    ) -> Result<(), Error> {
        self.put(kind, value.as_bytes())
    }

    /// Opens a nest, marked with `NLA_F_NESTED`.
    pub fn nest_start(&mut self, kind: u16) -> Result<Nest, Error> {
        self.nest_start_unmarked(kind | NLA_F_NESTED)
    }

    /// Opens a nest without the mark, as families from before 2019 do: the OVS families are of them.
    pub fn nest_start_unmarked(&mut self, kind: u16) -> Result<Nest, Error> {
        let at = self.buf.len();
        self.put_flag(kind)?;
        Ok(Nest { at })
    }

    /// Writes the nest's length. If that is more than an attribute can hold, the nest is removed.
    pub fn nest_end(&mut self, nest: Nest) -> Result<(), Error> {
        let len = self.buf.len() - nest.at;
        match u16::try_from(len) {
            Ok(len) => {
                self.buf[nest.at..nest.at + 2].copy_from_slice(&len.to_ne_bytes());
                Ok(())
            }
            Err(_) => {
                let kind = u16::from_ne_bytes([self.buf[nest.at + 2], self.buf[nest.at + 3]]) & !NLA_F_NESTED;
                self.nest_cancel(nest);
                Err(Error::AttributeTooLong { kind, len: len - NLA_HDRLEN })
            }
        }
    }

    /// Removes the nest and what was put in it.
    pub fn nest_cancel(&mut self, nest: Nest) {
        self.buf.truncate(nest.at);
    }

    /// A marked nest with what `fill` puts in it; removed again if `fill` fails.
    pub fn nest<E: From<Error>>(
        &mut self,
        kind: u16,
        fill: impl FnOnce(&mut AttrBuilder<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.nest_unmarked(kind | NLA_F_NESTED, fill)
    }

    /// The same without the mark.
    pub fn nest_unmarked<E: From<Error>>(
        &mut self,
        kind: u16,
        fill: impl FnOnce(&mut AttrBuilder<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let nest = self.nest_start_unmarked(kind)?;
        match fill(self) {
            Ok(()) => Ok(self.nest_end(nest)?),
            Err(error) => {
                self.nest_cancel(nest);
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Attrs;

    #[test]
    fn golden() {
        let mut buf = Vec::new();
        let mut b = AttrBuilder::new(&mut buf);
        b.put_str(1, "br0").unwrap();
        b.put_u8(2, 9).unwrap();
        b.nest::<Error>(4, |b| b.put_flag(7)).unwrap();
        b.nest_unmarked::<Error>(5, |b| b.put_be16(1, 0x0800)).unwrap();
        assert_eq!(b.len(), 36);
        let mut expected: Vec<u8> = Vec::new();
        for (len, kind, data) in [
            (8u16, 1u16, &b"br0\0"[..]),
            (5, 2, &[9, 0, 0, 0]),
            (8, 0x8004, &[]),
            (4, 7, &[]),
            (10, 5, &[]),
            (6, 1, &[8, 0, 0, 0]),
        ] {
            expected.extend(len.to_ne_bytes());
            expected.extend(kind.to_ne_bytes());
            expected.extend(data);
        }
        // The unmarked nest ends after its padded attribute.
        expected[24..26].copy_from_slice(&12u16.to_ne_bytes());
        assert_eq!(buf, expected);
    }

    #[test]
    fn too_long() {
        let mut buf = Vec::new();
        let mut b = AttrBuilder::new(&mut buf);
        b.put(1, &[0; 65_531]).unwrap();
        let before = b.len();
        assert_eq!(b.put(2, &[0; 65_532]), Err(Error::AttributeTooLong { kind: 2, len: 65_532 }));
        assert_eq!(b.len(), before);
        let nested = b.nest::<Error>(3, |b| {
            b.put(1, &[0; 60_000])?;
            b.put(2, &[0; 6_000])
        });
        assert_eq!(nested, Err(Error::AttributeTooLong { kind: 3, len: 66_008 }));
        assert_eq!(b.len(), before, "the nest is gone");
    }

    #[test]
    fn limit() {
        let mut buf = vec![0; 4];
        let mut b = AttrBuilder::with_limit(&mut buf, 16);
        b.put_u32(1, 7).unwrap();
        assert_eq!(b.put_u32(2, 7), Err(Error::NoRoom { needed: 20, limit: 16 }));
        assert_eq!(b.nest::<Error>(2, |b| b.put_flag(1)), Err(Error::NoRoom { needed: 20, limit: 16 }));
        assert_eq!(b.len(), 12);
        b.put_flag(2).unwrap();
        assert_eq!(Attrs::new(&buf[4..]).map(|a| a.kind()).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn last_unaligned() {
        let mut buf = Vec::new();
        AttrBuilder::new(&mut buf).put_last_unaligned(1, &[1, 2, 3]).unwrap();
        assert_eq!(buf.len(), 7);
        assert_eq!(Attrs::new(&buf).next().unwrap().payload(), [1, 2, 3]);
    }
}
