// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A network namespace: its identity, and a handle to enter it with.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use portway_vport::NetnsId;

/// A network namespace. The core only hands the file descriptor on to port types; it opens none itself.
#[derive(Clone, Debug, Default)]
pub struct Netns {
    id: NetnsId,
    handle: Option<Arc<OwnedFd>>,
}

impl Netns {
    /// The namespace `id`, opened as `handle`; `None`: the one that the process is in.
    pub fn new(id: NetnsId, handle: Option<Arc<OwnedFd>>) -> Self {
        Self { id, handle }
    }

    /// Its identity.
    pub fn id(&self) -> NetnsId {
        self.id
    }

    /// The handle; `None`: the namespace that the process is in.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.handle.as_ref().map(AsFd::as_fd)
    }
}
