// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Ethernet II and IEEE 802.3 frames, with the LLC/SNAP headers of the latter (IEEE 802.2, RFC 1042).

use crate::Error;
use crate::bytes::{array, be16, split};

/// Bytes of the header.
pub const LEN: usize = 14;

/// Places of the fields.
pub mod field {
    use core::ops::Range;
    /// Destination address.
    pub const DST: Range<usize> = 0..6;
    /// Source address.
    pub const SRC: Range<usize> = 6..12;
    /// Type, or length below 0x600.
    pub const TYPE: Range<usize> = 12..14;
}

/// Ethernet types.
pub mod ethertype {
    /// The lowest type: below is a length.
    pub const MIN: u16 = 0x0600;
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// Transparent Ethernet bridging (GRE, Geneve, NSH).
    pub const TEB: u16 = 0x6558;
    /// Reverse ARP.
    pub const RARP: u16 = 0x8035;
    /// VLAN tag, IEEE 802.1Q.
    pub const VLAN: u16 = 0x8100;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// MPLS, downstream assigned.
    pub const MPLS_UNICAST: u16 = 0x8847;
    /// MPLS, upstream assigned.
    pub const MPLS_MULTICAST: u16 = 0x8848;
    /// Service VLAN tag, IEEE 802.1ad.
    pub const QINQ: u16 = 0x88a8;
    /// Network service header.
    pub const NSH: u16 = 0x894f;
    /// LLDP.
    pub const LLDP: u16 = 0x88cc;
    /// The kernel's stand-in for an 802.3 frame without a type (`ETH_P_802_2`).
    pub const LLC_802_2: u16 = 0x0004;
}

/// An Ethernet header and what follows it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    header: &'a [u8; LEN],
    payload: &'a [u8],
}

impl<'a> View<'a> {
    /// Checks that the header is whole.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        let (header, payload) = split(bytes)?;
        Ok(Self { header, payload })
    }

    /// Destination address.
    #[inline]
    pub fn dst(self) -> [u8; 6] {
        array!(self.header, 0, 6)
    }

    /// Source address.
    #[inline]
    pub fn src(self) -> [u8; 6] {
        array!(self.header, 6, 6)
    }

    /// The type field as it stands: a length if below [`ethertype::MIN`].
    #[inline]
    pub fn type_or_length(self) -> u16 {
        be16!(self.header, 12)
    }

    /// What follows the header.
    #[inline]
    pub fn payload(self) -> &'a [u8] {
        self.payload
    }
}

/// Bytes of an LLC/SNAP header.
pub const SNAP_LEN: usize = 8;

/// What `bytes`, which follow an 802.3 length field, carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Llc {
    /// LLC without a SNAP header that names an Ethernet type of RFC 1042.
    Plain,
    /// SNAP with organisation code 0: [`SNAP_LEN`] bytes, and this protocol number (a type if at least
    /// [`ethertype::MIN`]).
    Snap(u16),
}

/// Reads what follows an 802.3 length field. As the kernel does, the control byte is not looked at.
#[inline]
pub fn llc(bytes: &[u8]) -> Llc {
    match bytes {
        [0xaa, 0xaa, _, 0, 0, 0, hi, lo, ..] => Llc::Snap(u16::from_be_bytes([*hi, *lo])),
        _ => Llc::Plain,
    }
}

/// An Ethernet header as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Destination address.
    pub dst: [u8; 6],
    /// Source address.
    pub src: [u8; 6],
    /// Ethernet type.
    pub ethertype: u16,
}

impl Repr {
    /// The header.
    pub fn to_bytes(&self) -> [u8; LEN] {
        let mut out = [0; LEN];
        out[field::DST].copy_from_slice(&self.dst);
        out[field::SRC].copy_from_slice(&self.src);
        out[field::TYPE].copy_from_slice(&self.ethertype.to_be_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: [u8; 16] = [
        0x02, 0x00, 0x00, 0x00, 0xaa, 0x02, // destination
        0x02, 0x00, 0x00, 0x00, 0xaa, 0x01, // source
        0x86, 0xdd, // type
        0x60, 0x00, // payload
    ];

    #[test]
    fn view_and_repr() {
        let view = View::new(&FRAME).unwrap();
        assert_eq!(view.dst(), [2, 0, 0, 0, 0xaa, 2]);
        assert_eq!(view.src(), [2, 0, 0, 0, 0xaa, 1]);
        assert_eq!(view.type_or_length(), ethertype::IPV6);
        assert_eq!(view.payload(), [0x60, 0]);
        let repr = Repr { dst: view.dst(), src: view.src(), ethertype: view.type_or_length() };
        assert_eq!(repr.to_bytes(), FRAME[..LEN]);
    }

    #[test]
    fn cut_short() {
        for len in 0..LEN {
            assert_eq!(View::new(&FRAME[..len]).err(), Some(Error::Truncated { needed: LEN, have: len }));
        }
    }

    #[test]
    fn llc_and_snap() {
        assert_eq!(llc(&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0, 0x45]), Llc::Snap(0x0800));
        assert_eq!(llc(&[0xaa, 0xaa, 3, 0, 0, 0, 0, 4]), Llc::Snap(4));
        assert_eq!(llc(&[0xaa, 0xaa, 3, 0, 0, 1, 8, 0]), Llc::Plain, "another organisation");
        assert_eq!(llc(&[0x42, 0x42, 3, 0, 0, 0, 8, 0]), Llc::Plain, "spanning tree");
        assert_eq!(llc(&[0xaa, 0xaa, 3, 0, 0, 0, 8]), Llc::Plain, "cut short");
    }
}
