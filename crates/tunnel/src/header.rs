// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A tunnel header as bytes, and why one is refused.

use portway_vport::abi::refused;

/// The longest header: Geneve with all the options that fit.
pub const HEADER_MAX: usize = 8 + 252;

/// A tunnel header to be put in front of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    bytes: [u8; HEADER_MAX],
    len: usize,
}

impl Header {
    /// A header of `parts`; what is more than [`HEADER_MAX`] bytes is cut.
    pub(crate) fn new(parts: &[&[u8]]) -> Self {
        let (mut bytes, mut len) = ([0; HEADER_MAX], 0);
        for part in parts {
            let n = part.len().min(HEADER_MAX - len);
            bytes[len..len + n].copy_from_slice(&part[..n]);
            len += n;
        }
        Self { bytes, len }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Its bytes, for whoever fills in a checksum.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

/// Why a received packet is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The outer headers are damaged or say what the port does not accept.
    BadHeader,
    /// Congestion is marked on the outside, and the frame inside cannot carry the mark.
    Ecn,
    /// The headers of the frame inside are cut.
    BadFrame,
}

impl Refusal {
    /// The module ABI's number ([`refused`]).
    pub const fn number(self) -> u16 {
        match self {
            Self::BadHeader => refused::BAD_HEADER,
            Self::Ecn => refused::ECN,
            Self::BadFrame => refused::BAD_FRAME,
        }
    }
}
