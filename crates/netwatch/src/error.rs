// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What can go wrong with devices and namespaces.

use rustix::io::Errno;

/// A failed look-up or change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No device of that name or index in the namespace.
    #[error("no device {0}")]
    NoDevice(String),
    /// No namespace of that name, process or path.
    #[error("no network namespace {0}")]
    NoNamespace(String),
    /// The file exists but is no network namespace.
    #[error("{0} is not a network namespace")]
    NotANamespace(String),
    /// A system call failed.
    #[error("{what}")]
    Call {
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// The kernel's answer to an rtnetlink request could not be understood.
    #[error("an rtnetlink answer is malformed")]
    Malformed,
    /// The thread that should have worked inside a namespace could not be started.
    #[error("cannot start a thread to enter a network namespace")]
    NoThread(#[source] std::io::Error),
}

impl Error {
    pub(crate) fn call(what: &'static str) -> impl Fn(Errno) -> Self {
        move |source| Self::Call { what, source }
    }

    /// The positive errno that a client of a request sees.
    pub fn errno(&self) -> i32 {
        match self {
            Self::NoDevice(_) => Errno::NODEV.raw_os_error(),
            Self::NoNamespace(_) => Errno::NOENT.raw_os_error(),
            Self::NotANamespace(_) => Errno::INVAL.raw_os_error(),
            Self::Call { source, .. } => source.raw_os_error(),
            Self::Malformed => Errno::BADMSG.raw_os_error(),
            Self::NoThread(error) => error.raw_os_error().unwrap_or(Errno::AGAIN.raw_os_error()),
        }
    }
}
