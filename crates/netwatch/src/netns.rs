// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Network namespaces: found by name, process or path; work is run inside them.
//!
//! A namespace is entered by a thread of its own that ends with the work, so that no other thread can ever be left in the
//! wrong one.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{fstat, fstatfs};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use portway_vport::NetnsId;

use crate::{Error, socket_netns};

/// Where `ip netns` keeps names.
const NAMES: &str = "/run/netns";
/// The calling thread's own namespace.
const OWN: &str = "/proc/thread-self/ns/net";
/// NSFS_MAGIC, linux/magic.h.
const NSFS: u64 = 0x6e73_6673;

/// A network namespace, kept alive by this value.
#[derive(Debug)]
pub struct Netns {
    file: OwnedFd,
    id: NetnsId,
}

impl Netns {
    /// The calling thread's namespace.
    pub fn current() -> Result<Self, Error> {
        Self::by_path(Path::new(OWN))
    }

    /// The namespace that `ip netns` calls `name`.
    pub fn by_name(name: &str) -> Result<Self, Error> {
        if name.is_empty() || name.contains('/') || name == "." || name == ".." {
            return Err(Error::NoNamespace(name.to_owned()));
        }
        Self::by_path(&Path::new(NAMES).join(name))
    }

    /// The namespace of a process.
    pub fn by_pid(pid: u32) -> Result<Self, Error> {
        Self::by_path(&PathBuf::from(format!("/proc/{pid}/ns/net")))
    }

    /// The namespace behind a path.
    pub fn by_path(path: &Path) -> Result<Self, Error> {
        let name = || path.display().to_string();
        let file = File::open(path).map_err(|_| Error::NoNamespace(name()))?;
        Self::from_fd(file.into(), name)
    }

    /// What a person calls a namespace: a path if it has a slash, else a name of `ip netns`, else a process id.
    pub fn resolve(text: &str) -> Result<Self, Error> {
        if text.contains('/') {
            return Self::by_path(Path::new(text));
        }
        Self::by_name(text).or_else(|error| match text.parse() {
            Ok(pid) => Self::by_pid(pid),
            Err(_) => Err(error),
        })
    }

    /// The namespace behind a file descriptor, which is duplicated.
    pub fn from_borrowed(fd: BorrowedFd<'_>) -> Result<Self, Error> {
        let file = fd.try_clone_to_owned().map_err(|_| Error::NoNamespace(String::from("(passed)")))?;
        Self::from_fd(file, || String::from("the file descriptor"))
    }

    /// The namespace that a socket was made in. Needs CAP_NET_ADMIN there.
    pub fn of_socket(socket: impl AsFd) -> Result<Self, Error> {
        // Of other files, whose request that number may be, nothing is asked.
        rustix::net::sockopt::socket_domain(&socket).map_err(Error::call("look at a socket"))?;
        let file = socket_netns::namespace_of(socket).map_err(Error::call("namespace of a socket"))?;
        Self::from_owned(file)
    }

    /// The namespace behind an owned file descriptor.
    pub fn from_owned(file: OwnedFd) -> Result<Self, Error> {
        Self::from_fd(file, || String::from("the file descriptor"))
    }

    fn from_fd(file: OwnedFd, name: impl Fn() -> String) -> Result<Self, Error> {
        let kind = fstatfs(&file).map_err(Error::call("fstatfs of a namespace"))?;
        if kind.f_type as u64 != NSFS {
            return Err(Error::NotANamespace(name()));
        }
        let id = NetnsId(fstat(&file).map_err(Error::call("fstat of a namespace"))?.st_ino);
        let namespace = Self { file, id };
        // Other kinds of namespaces have files of the same file system: only entering tells.
        if namespace.id != Self::current_id()? {
            namespace.run(|| ()).map_err(|_| Error::NotANamespace(name()))?;
        }
        Ok(namespace)
    }

    /// Which namespace the calling thread is in.
    pub fn current_id() -> Result<NetnsId, Error> {
        let stat = rustix::fs::stat(OWN).map_err(Error::call("stat of the own namespace"))?;
        Ok(NetnsId(stat.st_ino))
    }

    /// Its identity.
    pub fn id(&self) -> NetnsId {
        self.id
    }

    /// Runs `job` inside the namespace. What it opens there stays there.
    pub fn run<T: Send>(&self, job: impl FnOnce() -> T + Send) -> Result<T, Error> {
        if Self::current_id()? == self.id {
            return Ok(job());
        }
        thread::scope(|scope| {
            let inside = || {
                move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
                    .map_err(Error::call("setns"))?;
                Ok(job())
            };
            let thread = thread::Builder::new().name("netns".into()).stack_size(256 << 10);
            let thread = thread.spawn_scoped(scope, inside).map_err(Error::NoThread)?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A second handle.
    pub fn try_clone(&self) -> Result<Self, Error> {
        let file = self.file.try_clone().map_err(|_| Error::NoNamespace(format!("{:?}", self.id)))?;
        Ok(Self { file, id: self.id })
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
