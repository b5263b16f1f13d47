// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What can go wrong in reading a value or writing a message. (Requests that a policy refuses: [`crate::Rejected`].)

use portway_uapi::Errno;

/// What can go wrong in reading a value or writing a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A message is too short for the headers that its family has.
    #[error("message of {have} bytes is too short for headers of {needed}")]
    HeaderCut {
        /// Bytes that the headers have.
        needed: usize,
        /// Bytes that are there.
        have: usize,
    },
    /// An attribute has fewer bytes than its value.
    #[error("attribute {kind} has {have} bytes, its value {needed}")]
    ValueCut {
        /// The attribute's type.
        kind: u16,
        /// Bytes of the value.
        needed: usize,
        /// Bytes that are there.
        have: usize,
    },
    /// A string is not UTF-8.
    #[error("attribute {kind} is not text")]
    NotText {
        /// The attribute's type.
        kind: u16,
    },
    /// An attribute's payload, or what was put in a nest, has more than the 65531 bytes that an attribute can hold.
    #[error("attribute {kind} would have {len} bytes of payload; 65531 are possible")]
    AttributeTooLong {
        /// The attribute's type.
        kind: u16,
        /// Bytes of the payload.
        len: usize,
    },
    /// The message does not fit in what is left of the datagram.
    #[error("no room in the datagram: {needed} bytes needed, {limit} allowed")]
    NoRoom {
        /// Bytes that the datagram would have.
        needed: usize,
        /// Bytes that it may have.
        limit: usize,
    },
}

impl Error {
    /// What the kernel returns in that case.
    pub fn errno(&self) -> Errno {
        match self {
            Self::HeaderCut { .. } | Self::NotText { .. } => Errno::EINVAL,
            Self::ValueCut { .. } => Errno::ERANGE,
            Self::AttributeTooLong { .. } | Self::NoRoom { .. } => Errno::EMSGSIZE,
        }
    }
}
