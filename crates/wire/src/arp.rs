// SPDX-License-Identifier: Apache-2.0 OR MIT
//! ARP and RARP for IPv4 over Ethernet (RFC 826, RFC 903).

use crate::Error;
use crate::bytes::{array, be16, split};

/// Bytes of a message for IPv4 over Ethernet.
pub const LEN: usize = 28;

/// Operations.
pub mod op {
    /// Who has this address?
    pub const REQUEST: u16 = 1;
    /// I have it.
    pub const REPLY: u16 = 2;
}

/// Places of the fields.
pub mod field {
    use core::ops::Range;
    /// Operation.
    pub const OP: Range<usize> = 6..8;
    /// Sender's hardware address.
    pub const SHA: Range<usize> = 8..14;
    /// Sender's protocol address.
    pub const SPA: Range<usize> = 14..18;
    /// Target's hardware address.
    pub const THA: Range<usize> = 18..24;
    /// Target's protocol address.
    pub const TPA: Range<usize> = 24..28;
}

const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// An ARP message.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    message: &'a [u8; LEN],
}

impl<'a> View<'a> {
    /// Checks that a whole message is there; whether it is for IPv4 over Ethernet, see [`View::is_ethernet_ipv4`].
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        let (message, _) = split(bytes)?;
        Ok(Self { message })
    }

    /// Whether hardware and protocol types and address lengths are those of IPv4 over Ethernet: otherwise the addresses
    /// mean nothing.
    #[inline]
    pub fn is_ethernet_ipv4(self) -> bool {
        self.message[..6] == ETHERNET_IPV4
    }

    /// Operation.
    #[inline]
    pub fn op(self) -> u16 {
        be16!(self.message, 6)
    }

    /// Sender's hardware address.
    #[inline]
    pub fn sha(self) -> [u8; 6] {
        array!(self.message, 8, 6)
    }

    /// Sender's protocol address.
    #[inline]
    pub fn spa(self) -> [u8; 4] {
        array!(self.message, 14, 4)
    }

    /// Target's hardware address.
    #[inline]
    pub fn tha(self) -> [u8; 6] {
        array!(self.message, 18, 6)
    }

    /// Target's protocol address.
    #[inline]
    pub fn tpa(self) -> [u8; 4] {
        array!(self.message, 24, 4)
    }
}

/// An ARP message as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Operation.
    pub op: u16,
    /// Sender's hardware address.
    pub sha: [u8; 6],
    /// Sender's protocol address.
    pub spa: [u8; 4],
    /// Target's hardware address.
    pub tha: [u8; 6],
    /// Target's protocol address.
    pub tpa: [u8; 4],
}

impl Repr {
    /// The message.
    pub fn to_bytes(&self) -> [u8; LEN] {
        let mut out = [0; LEN];
        out[..6].copy_from_slice(&ETHERNET_IPV4);
        out[field::OP].copy_from_slice(&self.op.to_be_bytes());
        out[field::SHA].copy_from_slice(&self.sha);
        out[field::SPA].copy_from_slice(&self.spa);
        out[field::THA].copy_from_slice(&self.tha);
        out[field::TPA].copy_from_slice(&self.tpa);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: [u8; LEN] = [
        0x00, 0x01, 0x08, 0x00, 0x06, 0x04, // Ethernet, IPv4
        0x00, 0x01, // request
        0x02, 0x00, 0x00, 0x00, 0xaa, 0x01, 0x0a, 0x00, 0x00, 0x01, // sender
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x00, 0x00, 0x02, // target
    ];

    #[test]
    fn view_and_repr() {
        let view = View::new(&REQUEST).unwrap();
        assert!(view.is_ethernet_ipv4());
        let repr = Repr { op: view.op(), sha: view.sha(), spa: view.spa(), tha: view.tha(), tpa: view.tpa() };
        let expected = Repr {
            op: op::REQUEST,
            sha: [2, 0, 0, 0, 0xaa, 1],
            spa: [10, 0, 0, 1],
            tha: [0; 6],
            tpa: [10, 0, 0, 2],
        };
        assert_eq!(repr, expected);
        assert_eq!(repr.to_bytes(), REQUEST);
    }

    #[test]
    fn other_networks_and_cuts() {
        for at in 0..6 {
            let mut bytes = REQUEST;
            bytes[at] ^= 0x10;
            assert!(!View::new(&bytes).unwrap().is_ethernet_ipv4());
        }
        assert!(View::new(&REQUEST[..27]).is_err());
    }
}
