// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Several datagrams in one: a client that listens for upcalls is given, with one system call, all that wait for it.
//!
//! A bundle begins with a message header of a type of its own, [`MARK`], whose sequence number is the bundle's. Then come the
//! datagrams, each behind its length (a u32, host order), each padded to four bytes.

use crate::protocol::OVERRUN;

/// How a bundle begins: a message header and nothing else, of the first type behind netlink's own.
const MARK: [u8; 16] = {
    let mut bytes = OVERRUN;
    bytes[4] = 5_u16.to_ne_bytes()[0];
    bytes[5] = 5_u16.to_ne_bytes()[1];
    bytes
};

/// Bytes beyond which nothing is added to a bundle.
const FULL: usize = 32 << 10;

/// A bundle in the making.
#[derive(Debug, Default)]
pub struct Bundle {
    bytes: Vec<u8>,
    number: u32,
}

/// Bytes by which bundles of one connection that follow each other can be told apart.
pub const BUNDLE_MARK: usize = MARK.len();
/// Where the sequence number is, and where it ends.
const SEQUENCE: usize = 8;
const SEQUENCE_END: usize = 12;

impl Bundle {
    /// Begins anew.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.extend_from_slice(&MARK);
        self.number = self.number.wrapping_add(1);
        self.bytes[SEQUENCE..SEQUENCE_END].copy_from_slice(&self.number.to_ne_bytes());
    }

    /// Adds a datagram.
    pub fn add(&mut self, datagram: &[u8]) {
        self.bytes.extend_from_slice(&(datagram.len() as u32).to_ne_bytes());
        self.bytes.extend_from_slice(datagram);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// Whether it is long enough to be sent.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= FULL
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Where the first datagram is in what was received, if that is a bundle.
pub fn first_in_bundle(received: &[u8]) -> Option<usize> {
    received.starts_with(&MARK[..SEQUENCE]).then_some(MARK.len()).filter(|len| received.len() >= *len)
}

/// The datagram at a place in a bundle, and the place of the next; `None`: there are no more.
pub fn next_in_bundle(bundle: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let (len, rest) = bundle.get(at..)?.split_first_chunk()?;
    let len = u32::from_ne_bytes(*len) as usize;
    Some((rest.get(..len)?, at + 4 + len.next_multiple_of(4)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpack(bytes: &[u8]) -> Vec<&[u8]> {
        let mut at = first_in_bundle(bytes);
        std::iter::from_fn(|| {
            let (datagram, next) = next_in_bundle(bytes, at?)?;
            at = Some(next);
            Some(datagram)
        })
        .collect()
    }

    #[test]
    fn what_goes_in_comes_out() {
        let mut bundle = Bundle::default();
        bundle.clear();
        let datagrams: [&[u8]; 4] = [&[1; 20], &[2; 21], &[], &[3; 400]];
        datagrams.iter().for_each(|datagram| bundle.add(datagram));
        assert_eq!(unpack(bundle.bytes()), datagrams);
        assert!(!bundle.is_full());
        bundle.add(&[0; FULL]);
        assert!(bundle.is_full());
        let mark = bundle.bytes()[..BUNDLE_MARK].to_vec();
        bundle.clear();
        assert_ne!(bundle.bytes(), mark, "another bundle");
        assert!(unpack(bundle.bytes()).is_empty());
    }

    #[test]
    fn one_that_is_cut_ends_early() {
        let mut bundle = Bundle::default();
        bundle.clear();
        bundle.add(&[7; 30]);
        bundle.add(&[8; 30]);
        for len in 0..bundle.bytes().len() {
            let unpacked = unpack(&bundle.bytes()[..len]);
            assert!(unpacked.len() < 2 || len >= 16 + 34 + 2 + 34, "{len}");
        }
        assert_eq!(first_in_bundle(&OVERRUN), None, "an ordinary message");
    }
}
