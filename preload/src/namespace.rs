// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The network namespace that a socket was opened in: a netlink socket keeps it, wherever its thread goes later.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use portway_netlink_socket::{make_proof, proves_net_admin};
use rustix::fs::{Mode, OFlags, fstat, open};
use rustix::io::Errno;

use crate::lock::ForkLock;
use crate::table::Hidden;

/// A network namespace that is held open. Sockets of one namespace share the file descriptor.
#[derive(Debug)]
pub(crate) struct Namespace {
    fd: Hidden,
    inode: u64,
    /// What showed that its maker was an administrator here, or was none, the last time.
    proofs: ForkLock<[Option<Arc<Proof>>; 2]>,
}

/// A proof of what the opener of sockets might do ([`make_proof`]). Sockets of openers that might do the same share it.
#[derive(Debug)]
pub(crate) struct Proof {
    fd: Hidden,
    inode: u64,
}

impl Proof {
    /// As [`Namespace::is_open`].
    pub(crate) fn is_open(&self) -> bool {
        fstat(&self.fd).is_ok_and(|stat| stat.st_ino == self.inode)
    }
}

impl AsFd for Proof {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

static LAST: ForkLock<Option<Arc<Namespace>>> = ForkLock::new(None);

impl Namespace {
    /// The calling thread's.
    ///
    /// # Errors
    /// `/proc` is not there, or there is no room for another file descriptor.
    pub(crate) fn current() -> Result<Arc<Self>, Errno> {
        let fd = open("/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let inode = fstat(&fd)?.st_ino;
        let mut last = LAST.lock();
        if let Some(known) = last.as_ref().filter(|known| known.inode == inode && known.is_open()) {
            return Ok(Arc::clone(known));
        }
        let namespace = Arc::new(Self { fd: Hidden::new(fd)?, inode, proofs: ForkLock::new([None, None]) });
        *last = Some(Arc::clone(&namespace));
        Ok(namespace)
    }

    /// A proof of what the calling thread, which is in it, may do here now.
    pub(crate) fn proof(&self) -> Result<Arc<Proof>, Errno> {
        let made = make_proof()?;
        let mut proofs = self.proofs.lock();
        let known = &mut proofs[usize::from(proves_net_admin(&made))];
        if let Some(known) = known.as_ref().filter(|known| known.is_open()) {
            return Ok(Arc::clone(known));
        }
        let inode = fstat(&made)?.st_ino;
        let proof = Arc::new(Proof { fd: Hidden::new(made)?, inode });
        let forgotten = known.replace(Arc::clone(&proof));
        drop(proofs);
        drop(forgotten);
        Ok(proof)
    }

    /// Whether the calling thread is in it.
    pub(crate) fn is_current(&self) -> bool {
        rustix::fs::stat("/proc/thread-self/ns/net").is_ok_and(|stat| stat.st_ino == self.inode)
    }

    /// Whether the file descriptor is still what it was: programs may close what they do not know.
    pub(crate) fn is_open(&self) -> bool {
        fstat(&self.fd).is_ok_and(|stat| stat.st_ino == self.inode)
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
