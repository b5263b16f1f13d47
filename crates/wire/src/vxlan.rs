// SPDX-License-Identifier: Apache-2.0 OR MIT
//! VXLAN headers (RFC 7348), with the group based policy extension (draft-smith-vxlan-group-policy).

use crate::Error;
use crate::bytes::{be16, be32, split};

/// Bytes of the header.
pub const LEN: usize = 8;
/// The UDP port that IANA assigned. (The kernel's own default is 8472.)
pub const PORT: u16 = 4789;
/// Flag of the first word: the network id counts. Always set.
pub const FLAG_VNI: u32 = 0x0800_0000;
/// Flag of the first word: a policy group is present.
pub const FLAG_GBP: u32 = 0x8000_0000;
/// Group policy: do not learn the inner source address.
pub const GBP_DONT_LEARN: u32 = 0x0040_0000;
/// Group policy: it has been applied.
pub const GBP_APPLIED: u32 = 0x0008_0000;
/// Bits of the first word that belong to group policy.
pub const GBP_MASK: u32 = FLAG_GBP | GBP_DONT_LEARN | GBP_APPLIED | 0xffff;

/// A VXLAN header and the frame inside.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    header: &'a [u8; LEN],
    payload: &'a [u8],
}

impl<'a> View<'a> {
    /// Checks that the header is whole; flags are the caller's business.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        let (header, payload) = split(bytes)?;
        Ok(Self { header, payload })
    }

    /// The first word: flags, group policy, reserved bits.
    #[inline]
    pub fn flags(self) -> u32 {
        be32!(self.header, 0)
    }

    /// Network id, 24 bits.
    #[inline]
    pub fn vni(self) -> u32 {
        be32!(self.header, 4) >> 8
    }

    /// The eight reserved bits behind the network id.
    #[inline]
    pub fn reserved(self) -> u8 {
        self.header[7]
    }

    /// Policy group id.
    #[inline]
    pub fn group(self) -> u16 {
        be16!(self.header, 2)
    }

    /// The frame inside.
    #[inline]
    pub fn payload(self) -> &'a [u8] {
        self.payload
    }
}

/// A VXLAN header as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// The first word; [`FLAG_VNI`] is added.
    pub flags: u32,
    /// Network id, cut to 24 bits.
    pub vni: u32,
}

impl Repr {
    /// The header.
    pub fn to_bytes(&self) -> [u8; LEN] {
        let mut out = [0; LEN];
        out[..4].copy_from_slice(&(self.flags | FLAG_VNI).to_be_bytes());
        out[4..].copy_from_slice(&(self.vni << 8).to_be_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn view_and_repr() {
        let bytes = [0x88, 0x48, 0x01, 0x02, 0x00, 0x30, 0x39, 0x00, 0xff];
        let view = View::new(&bytes).unwrap();
        assert_eq!((view.vni(), view.reserved(), view.group()), (12345, 0, 0x0102));
        assert_eq!(view.flags(), FLAG_VNI | FLAG_GBP | GBP_DONT_LEARN | GBP_APPLIED | 0x0102);
        assert_eq!(view.flags() & !GBP_MASK, FLAG_VNI);
        assert_eq!(view.payload(), [0xff]);
        assert_eq!(Repr { flags: view.flags() & GBP_MASK, vni: 12345 | 1 << 24 }.to_bytes(), bytes[..8]);
        assert!(View::new(&bytes[..7]).is_err());
    }
}
