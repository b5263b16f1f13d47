// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Why a header cannot be viewed.

/// Why a header cannot be viewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes end before the header does.
    #[error("header is cut short: {needed} bytes needed, {have} there")]
    Truncated {
        /// Bytes that the header needs, as far as could be read.
        needed: usize,
        /// Bytes that are there.
        have: usize,
    },
    /// The header's own length field is less than its fixed part, or contradicts another field.
    #[error("header length field of {length} bytes is not possible")]
    Length {
        /// What the field says, in bytes.
        length: usize,
    },
    /// A version that is not understood.
    #[error("header version {version} is not understood")]
    Version {
        /// What the field says.
        version: u8,
    },
    /// A kind (NSH metadata type) that is not understood.
    #[error("header kind {kind} is not understood")]
    Kind {
        /// What the field says.
        kind: u8,
    },
}
