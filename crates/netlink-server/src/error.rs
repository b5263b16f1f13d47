// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Why the server could not start or go on.

use std::path::PathBuf;

/// Why the server could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another daemon listens there.
    #[error("another daemon listens on {0}")]
    InUse(PathBuf),
    /// The socket could not be made.
    #[error("cannot listen on {path}: {source}")]
    Listen {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The operating system says no.
    #[error("{what}: {source}")]
    Io {
        /// Doing what.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

pub(crate) fn io_error(what: &'static str) -> impl Fn(rustix::io::Errno) -> Error {
    move |errno| Error::Io { what, source: errno.into() }
}
