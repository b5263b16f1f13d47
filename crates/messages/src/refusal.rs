// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A request that is refused: the errno, and what the extended acknowledgement says.

use portway_netlink::{ExtAck, Rejected};
use portway_uapi::Errno;

/// Why a request was refused, as its client is told.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{errno}")]
pub struct Refusal {
    /// The error number.
    pub errno: Errno,
    /// The extended part, if the kernel has one for the case.
    pub ext: Option<Box<ExtAck>>,
}

impl Refusal {
    /// An error number with a sentence, where the kernel has one.
    pub fn with_text(errno: Errno, text: &'static str) -> Self {
        Self { errno, ext: Some(Box::new(ExtAck::message(text))) }
    }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self { errno, ext: None }
    }
}

impl From<Rejected> for Refusal {
    fn from(rejected: Rejected) -> Self {
        Self { errno: rejected.errno(), ext: Some(Box::new(rejected.ext_ack())) }
    }
}

impl From<portway_netlink::Error> for Refusal {
    fn from(error: portway_netlink::Error) -> Self {
        error.errno().into()
    }
}
