// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reading fixed parts of headers without a check per access.

use crate::Error;

/// The first `N` bytes and the rest.
#[inline]
pub(crate) fn split<const N: usize>(bytes: &[u8]) -> Result<(&[u8; N], &[u8]), Error> {
    bytes.split_first_chunk::<N>().ok_or(Error::Truncated { needed: N, have: bytes.len() })
}

/// The first `len` bytes of `bytes`.
#[inline]
pub(crate) fn prefix(bytes: &[u8], len: usize) -> Result<&[u8], Error> {
    bytes.get(..len).ok_or(Error::Truncated { needed: len, have: bytes.len() })
}

/// `N` bytes at a constant place of an array: the compiler refuses a place outside it.
macro_rules! array {
    ($header:expr, $at:expr, $n:literal) => {{
        const AT: usize = $at;
        let header = $header;
        let mut out = [0u8; $n];
        out.copy_from_slice(&header[AT..AT + $n]);
        out
    }};
}

/// Big-endian 16 bits at a constant place.
macro_rules! be16 {
    ($header:expr, $at:expr) => {
        u16::from_be_bytes([$header[$at], $header[$at + 1]])
    };
}

/// Big-endian 32 bits at a constant place.
macro_rules! be32 {
    ($header:expr, $at:expr) => {
        u32::from_be_bytes([$header[$at], $header[$at + 1], $header[$at + 2], $header[$at + 3]])
    };
}

pub(crate) use {array, be16, be32};
