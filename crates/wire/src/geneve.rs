// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Geneve headers (RFC 8926).

use crate::Error;
use crate::bytes::{be16, be32, prefix, split};

/// Bytes of the header without options.
pub const MIN_LEN: usize = 8;
/// The UDP port that IANA assigned.
pub const PORT: u16 = 6081;
/// Most bytes that the options can have: their length field has 6 bits and counts words.
pub const MAX_OPTIONS_LEN: usize = 63 * 4;

/// A Geneve header, its options and what is inside.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    header: &'a [u8; MIN_LEN],
    options: &'a [u8],
    payload: &'a [u8],
}

impl<'a> View<'a> {
    /// Checks version 0 and that the header with its options is whole.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        let (header, rest) = split::<MIN_LEN>(bytes)?;
        let version = header[0] >> 6;
        if version != 0 {
            return Err(Error::Version { version });
        }
        let len = usize::from(header[0] & 0x3f) * 4;
        prefix(bytes, MIN_LEN + len)?;
        let (options, payload) = rest.split_at(len);
        Ok(Self { header, options, payload })
    }

    /// Operations and maintenance packet.
    #[inline]
    pub fn oam(self) -> bool {
        self.header[1] & 0x80 != 0
    }

    /// There are options that must be understood.
    #[inline]
    pub fn critical(self) -> bool {
        self.header[1] & 0x40 != 0
    }

    /// Ethernet type of what is inside; 0x6558 for a frame.
    #[inline]
    pub fn protocol(self) -> u16 {
        be16!(self.header, 2)
    }

    /// Network id, 24 bits.
    #[inline]
    pub fn vni(self) -> u32 {
        be32!(self.header, 4) >> 8
    }

    /// The options' bytes, a multiple of 4.
    #[inline]
    pub fn options(self) -> &'a [u8] {
        self.options
    }

    /// What is inside.
    #[inline]
    pub fn payload(self) -> &'a [u8] {
        self.payload
    }
}

/// An option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opt<'a> {
    /// Who defined the type.
    pub class: u16,
    /// Type; the high bit says critical.
    pub kind: u8,
    /// The value, a multiple of 4 bytes.
    pub data: &'a [u8],
}

/// Iterator over options; an option that goes past the bytes ends it with an error.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    bytes: &'a [u8],
}

impl<'a> Options<'a> {
    /// `bytes` are options, as [`View::options`] and `OVS_TUNNEL_KEY_ATTR_GENEVE_OPTS` hold them.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = Result<Opt<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let bytes = std::mem::take(&mut self.bytes);
        Some(split::<4>(bytes).and_then(|(head, _)| {
            let len = 4 + usize::from(head[3] & 0x1f) * 4;
            let option = prefix(bytes, len)?;
            self.bytes = &bytes[len..];
            Ok(Opt { class: be16!(head, 0), kind: head[2], data: &option[4..] })
        }))
    }
}

/// A Geneve header without options as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Bytes of the options that follow, a multiple of 4 up to [`MAX_OPTIONS_LEN`].
    pub options_len: u8,
    /// Operations and maintenance packet.
    pub oam: bool,
    /// There are options that must be understood.
    pub critical: bool,
    /// Ethernet type of what is inside.
    pub protocol: u16,
    /// Network id, cut to 24 bits.
    pub vni: u32,
}

impl Repr {
    /// The first eight bytes of the header.
    pub fn to_bytes(&self) -> [u8; MIN_LEN] {
        let mut out = [0; MIN_LEN];
        out[0] = (self.options_len / 4) & 0x3f;
        out[1] = u8::from(self.oam) << 7 | u8::from(self.critical) << 6;
        out[2..4].copy_from_slice(&self.protocol.to_be_bytes());
        out[4..].copy_from_slice(&(self.vni << 8).to_be_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 17] = [
        0x02, 0xc0, 0x65, 0x58, 0x12, 0x34, 0x56, 0x00, // header
        0x01, 0x02, 0x80, 0x01, 0xde, 0xad, 0xbe, 0xef, // option
        0x99, // inside
    ];

    #[test]
    fn view_and_repr() {
        let view = View::new(&BYTES).unwrap();
        assert_eq!(
            (view.oam(), view.critical(), view.protocol(), view.vni()),
            (true, true, 0x6558, 0x12_3456)
        );
        assert_eq!((view.options().len(), view.payload()), (8, &[0x99][..]));
        let options: Vec<_> = Options::new(view.options()).collect();
        assert_eq!(options, [Ok(Opt { class: 0x0102, kind: 0x80, data: &[0xde, 0xad, 0xbe, 0xef] })]);
        let repr = Repr { options_len: 8, oam: true, critical: true, protocol: 0x6558, vni: 0x12_3456 };
        assert_eq!(repr.to_bytes(), BYTES[..8]);
    }

    #[test]
    fn refused() {
        assert_eq!(View::new(&BYTES[..15]).err(), Some(Error::Truncated { needed: 16, have: 15 }));
        let mut bytes = BYTES;
        bytes[0] |= 0x80;
        assert_eq!(View::new(&bytes).err(), Some(Error::Version { version: 2 }));
        let cut: Vec<_> = Options::new(&BYTES[8..15]).collect();
        assert_eq!(cut, [Err(Error::Truncated { needed: 8, have: 7 })]);
        assert!(Options::new(&[1, 2, 3]).next().unwrap().is_err());
    }
}
