// SPDX-License-Identifier: Apache-2.0 OR MIT
//! VLAN tags (IEEE 802.1Q, 802.1ad): the four bytes after the source address are TPID and TCI; a [`View`] starts behind
//! the TPID, at the TCI, as the Ethernet header's type field has told the TPID already.

use crate::Error;
use crate::bytes::{be16, split};
use crate::ethernet::ethertype;

/// Bytes that a tag adds to a frame.
pub const LEN: usize = 4;
/// Bits of the TCI that are the VLAN id.
pub const VID_MASK: u16 = 0x0fff;
/// The TCI's drop-eligible bit. Flow keys of OVS use its place to say that there is a tag (CFI).
pub const CFI: u16 = 0x1000;
/// Bits of the TCI that are the priority.
pub const PCP_MASK: u16 = 0xe000;

/// Whether an Ethernet type announces a VLAN tag.
#[inline]
pub const fn is_tpid(ethertype: u16) -> bool {
    ethertype == ethertype::VLAN || ethertype == ethertype::QINQ
}

/// TCI and the type that follows.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    tag: &'a [u8; LEN],
    payload: &'a [u8],
}

impl<'a> View<'a> {
    /// `bytes` start behind the TPID. Checks that TCI and the following type are there.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        let (tag, payload) = split(bytes)?;
        Ok(Self { tag, payload })
    }

    /// Tag control information.
    #[inline]
    pub fn tci(self) -> u16 {
        be16!(self.tag, 0)
    }

    /// VLAN id, 0 to 4095.
    #[inline]
    pub fn vid(self) -> u16 {
        self.tci() & VID_MASK
    }

    /// Priority, 0 to 7.
    #[inline]
    pub fn pcp(self) -> u8 {
        (self.tag[0]) >> 5
    }

    /// Drop eligible.
    #[inline]
    pub fn dei(self) -> bool {
        self.tci() & CFI != 0
    }

    /// Type of what follows: a length if below 0x600.
    #[inline]
    pub fn type_or_length(self) -> u16 {
        be16!(self.tag, 2)
    }

    /// What follows.
    #[inline]
    pub fn payload(self) -> &'a [u8] {
        self.payload
    }
}

/// A tag as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// 0x8100 or 0x88a8.
    pub tpid: u16,
    /// Tag control information.
    pub tci: u16,
}

impl Repr {
    /// The four bytes to insert behind the source address.
    pub fn to_bytes(&self) -> [u8; LEN] {
        let [a, b] = self.tpid.to_be_bytes();
        let [c, d] = self.tci.to_be_bytes();
        [a, b, c, d]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn view_and_repr() {
        let bytes = [0xb0, 0x64, 0x08, 0x00, 0x45];
        let view = View::new(&bytes).unwrap();
        assert_eq!((view.pcp(), view.dei(), view.vid()), (5, true, 100));
        assert_eq!((view.tci(), view.type_or_length(), view.payload()), (0xb064, 0x0800, &[0x45][..]));
        assert_eq!(View::new(&bytes[..3]).err(), Some(Error::Truncated { needed: 4, have: 3 }));
        assert_eq!(Repr { tpid: 0x88a8, tci: 0xb064 }.to_bytes(), [0x88, 0xa8, 0xb0, 0x64]);
    }

    #[test]
    fn tpids() {
        assert!(is_tpid(0x8100) && is_tpid(0x88a8) && !is_tpid(0x9100));
    }
}
