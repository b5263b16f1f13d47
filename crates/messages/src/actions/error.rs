// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Why attributes are not a list of actions.

use portway_uapi::Errno;

use crate::key::KeyError;

/// Why attributes are not a list of actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// An action that nobody knows.
    #[error("action {0} is unknown")]
    Unknown(u16),
    /// An action that the kernel has and we have not.
    #[error("action {0} is not supported")]
    NotSupported(&'static str),
    /// An action of the wrong length.
    #[error("action {kind} has a wrong length of {len} bytes")]
    Length {
        /// The action.
        kind: u16,
        /// Its bytes.
        len: usize,
    },
    /// Bytes behind the last attribute.
    #[error("bytes behind the last attribute of {0}")]
    Leftover(&'static str),
    /// A part of an action that is missing, unknown or given twice.
    #[error("{0} lacks a part, or has one that is unknown or given twice")]
    Parts(&'static str),
    /// A part of an action that is too short.
    #[error("a part of {0} is too short for its value")]
    Short(&'static str),
    /// A hash algorithm that does not exist.
    #[error("hash algorithm {0} is unknown")]
    HashAlgorithm(u32),
    /// A field that cannot be set.
    #[error("key attribute {0} cannot be set")]
    NotSettable(u16),
    /// Bits to set outside of the mask.
    #[error("key attribute {0} has bits outside of its mask")]
    OutsideMask(u16),
    /// A tunnel key, or a network service header, that is not one.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Geneve options that do not add up.
    #[error("Geneve options do not end where their lengths say")]
    GeneveOptions,
    /// Lists in lists beyond [`super::DEPTH_MAX`].
    #[error("actions nest deeper than {} levels", super::DEPTH_MAX)]
    TooDeep,
}

impl ActionError {
    /// The kernel's answer.
    pub fn errno(self) -> Errno {
        match self {
            Self::TooDeep => Errno::EOVERFLOW,
            Self::Short(_) => Errno::ERANGE,
            Self::Unknown(_)
            | Self::NotSupported(_)
            | Self::Length { .. }
            | Self::Leftover(_)
            | Self::Parts(_)
            | Self::HashAlgorithm(_)
            | Self::NotSettable(_)
            | Self::OutsideMask(_)
            | Self::Key(_)
            | Self::GeneveOptions => Errno::EINVAL,
        }
    }
}

impl From<ActionError> for crate::Refusal {
    fn from(error: ActionError) -> Self {
        error.errno().into()
    }
}
