// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One netlink socket: what a kernel would know of it, its connection, and what happens when portwayd goes and comes.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use portway_netlink_socket::Command;
use rustix::fs::fstat;
use rustix::io::Errno;

use crate::connection::{self, Failure, Opened};
use crate::listen::Unread;
use crate::lock::{ForkLock, forks};
use crate::namespace::Namespace;
use crate::route::Route;
use crate::table::{self, Hidden};

/// Whose socket it is.
#[derive(Debug)]
pub(crate) enum Socket {
    /// Its other end is portwayd.
    Portway(Netlink),
    /// The kernel's, of NETLINK_ROUTE.
    Route(Route),
}

/// A generic-netlink socket to portwayd.
#[derive(Debug)]
pub(crate) struct Netlink {
    /// SOCK_RAW or SOCK_DGRAM: no difference but that programs may ask.
    pub(crate) kind: i32,
    inode: AtomicU64,
    namespace: Arc<Namespace>,
    pub(crate) port_id: AtomicU32,
    /// Whether the program has been given the port id, as `bind`, `connect` and a first request do.
    pub(crate) is_bound: AtomicBool,
    /// The port id given to `connect`.
    pub(crate) peer: AtomicU32,
    /// Dumps that have not ended.
    pub(crate) dumps: AtomicU32,
    /// Something was lost that the program has not been told of.
    pub(crate) lost: AtomicBool,
    /// How often the process had forked when the socket was opened: later children have it, too.
    pub(crate) forks_before: u32,
    /// A request was sent.
    pub(crate) has_asked: AtomicBool,
    /// portwayd was told that bundles are welcome.
    pub(crate) has_offered: AtomicBool,
    /// portwayd knows that: what comes may come in bundles.
    pub(crate) takes_bundles: AtomicBool,
    /// Part of a bundle waits in `unread`.
    pub(crate) has_unread: AtomicBool,
    /// What has come and was not received. Locked before `link`, if both are.
    pub(crate) unread: ForkLock<Unread>,
    /// Taken for a request and its answer, and to connect again.
    pub(crate) link: ForkLock<Link>,
}

/// The connection's state beside the program's file descriptor.
#[derive(Debug)]
pub(crate) struct Link {
    /// The control connection; while portwayd is not there, the other end of the program's file descriptor.
    pub(crate) control: Hidden,
    pub(crate) is_online: bool,
    pub(crate) settings: Settings,
}

/// Options, which a new connection is given again.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// A bit for each option of SOL_NETLINK that is on, by its number.
    pub(crate) options: u32,
    pub(crate) groups: BTreeSet<u32>,
    pub(crate) takes_bundles: bool,
}

impl Settings {
    /// Whether an option of SOL_NETLINK is on.
    pub(crate) fn has(&self, option: i32) -> bool {
        self.options & 1 << option != 0
    }

    /// What portwayd must know of acknowledgements.
    pub(crate) fn ack(&self) -> Command {
        Command::SetAck { capped: self.has(libc::NETLINK_CAP_ACK), extended: self.has(libc::NETLINK_EXT_ACK) }
    }
}

impl Socket {
    /// The inode of its file descriptor.
    pub(crate) fn inode(&self) -> u64 {
        match self {
            Self::Portway(netlink) => netlink.inode.load(Ordering::Acquire),
            Self::Route(route) => route.inode,
        }
    }

    /// Whether something of it can be received without a system call. It was seen to be the program's file descriptor when that came.
    pub(crate) fn is_at_hand(&self) -> bool {
        match self {
            Self::Portway(netlink) => netlink.has_unread.load(Ordering::Acquire),
            Self::Route(_) => false,
        }
    }

    /// Another file has taken its place.
    pub(crate) fn set_inode(&self, inode: u64) {
        if let Self::Portway(netlink) = self {
            netlink.inode.store(inode, Ordering::Release);
        }
    }

    /// Opens a socket in the calling thread's namespace. Its file descriptor is the program's. If portwayd has been there and is not
    /// now, the socket waits for it.
    pub(crate) fn open(kind: i32) -> Result<(Arc<Self>, OwnedFd), Failure> {
        let namespace = Namespace::current().map_err(Failure::Refused)?;
        let (Opened { data, control, port_id }, is_online) =
            match connection::open_patiently(namespace.as_fd(), 0) {
                Err(Failure::Gone(_)) if connection::was_seen() => {
                    (nobodys().map_err(Failure::Refused)?, false)
                }
                opened => (opened?, true),
            };
        let inode = fstat(&data).map_err(Failure::Refused)?.st_ino;
        let control = Hidden::new(control).map_err(Failure::Refused)?;
        let socket = Netlink {
            kind,
            inode: AtomicU64::new(inode),
            namespace,
            port_id: AtomicU32::new(port_id),
            is_bound: AtomicBool::new(false),
            peer: AtomicU32::new(0),
            dumps: AtomicU32::new(0),
            lost: AtomicBool::new(false),
            forks_before: forks(),
            has_asked: AtomicBool::new(false),
            has_offered: AtomicBool::new(false),
            takes_bundles: AtomicBool::new(false),
            has_unread: AtomicBool::new(false),
            unread: ForkLock::new(Unread::default()),
            link: ForkLock::new(Link { control, is_online, settings: Settings::default() }),
        };
        Ok((Arc::new(Self::Portway(socket)), data))
    }
}

/// A connection to nobody, with a port id that will hardly be taken when portwayd is back.
fn nobodys() -> Result<Opened, Errno> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (data, control) = connection::pair()?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed) & 0xff;
    let port_id = 0xc000_0000 | (std::process::id() << 8 & 0x3fff_ff00) | number;
    Ok(Opened { data, control, port_id })
}

/// A socket to portwayd, with the count that keeps it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ours<'a> {
    pub(crate) whole: &'a Arc<Socket>,
    pub(crate) netlink: &'a Netlink,
}

impl<'a> Ours<'a> {
    /// `None`: it is the kernel's.
    pub(crate) fn new(whole: &'a Arc<Socket>) -> Option<Self> {
        match &**whole {
            Socket::Portway(netlink) => Some(Self { whole, netlink }),
            Socket::Route(_) => None,
        }
    }

    /// Whether it belongs to the calling thread's namespace.
    pub(crate) fn is_in_current_namespace(self) -> bool {
        self.netlink.namespace.is_current()
    }

    /// portwayd has closed the connection: the program's file descriptor becomes one on which nothing comes, until there is a new
    /// connection.
    pub(crate) fn go_offline(self, link: &mut Link) -> Result<(), Errno> {
        if !link.is_online {
            return Ok(());
        }
        let (theirs, ours) = connection::pair()?;
        let ours = Hidden::new(ours)?;
        table::replace(self.whole, theirs.as_fd())?;
        link.control = ours;
        link.is_online = false;
        if self.netlink.dumps.swap(0, Ordering::AcqRel) > 0 || !link.settings.groups.is_empty() {
            self.netlink.lost.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Connects again if need be: with the same port id, unless it has been taken meanwhile, and the same options.
    pub(crate) fn go_online(
        self,
        link: &mut Link,
        open: impl Fn(BorrowedFd<'_>, u32) -> Result<Opened, Failure>,
    ) -> Result<(), Failure> {
        if link.is_online {
            return Ok(());
        }
        let wanted = self.netlink.port_id.load(Ordering::Acquire);
        let netns = self.netlink.namespace.as_fd();
        if !self.netlink.namespace.is_open() {
            return Err(Failure::Gone(Errno::BADF));
        }
        let opened = match open(netns, wanted) {
            Err(Failure::Refused(Errno::ADDRINUSE)) => open(netns, 0),
            result => result,
        }?;
        let control = Hidden::new(opened.control).map_err(Failure::Refused)?;
        connection::command(control.as_fd(), link.settings.ack())?;
        let mut unknown = Vec::new();
        for group in &link.settings.groups {
            match connection::command(control.as_fd(), Command::Join(*group)) {
                // It was joined while nobody could say that there is no such group.
                Err(Failure::Refused(_)) => unknown.push(*group),
                joined => {
                    joined?;
                }
            }
        }
        link.settings.groups.retain(|group| !unknown.contains(group));
        if link.settings.takes_bundles {
            // One that knows none sends none.
            let _ = connection::command(control.as_fd(), Command::TakeBundles);
        }
        // Whoever polls the old file is woken below, looks for the new one, and goes on waiting, on the old one, if it has nothing.
        connection::command(control.as_fd(), Command::Wake)?;
        if !link.settings.groups.is_empty() {
            self.netlink.lost.store(true, Ordering::Release);
        }
        self.netlink.port_id.store(opened.port_id, Ordering::Release);
        table::replace(self.whole, opened.data.as_fd()).map_err(Failure::Refused)?;
        link.is_online = true;
        // With the old other end, whoever waits on the old file is woken.
        link.control = control;
        Ok(())
    }

    /// portwayd has been seen again: connects those sockets that would not find out by themselves, since they only wait.
    pub(crate) fn wake_others(self) {
        for (_, other) in table::all() {
            if let Some(other) = Ours::new(&other).filter(|other| !Arc::ptr_eq(other.whole, self.whole)) {
                // One that cannot be connected now is tried again by its next request.
                let _ = other.go_online(&mut other.netlink.link.lock(), connection::open);
            }
        }
    }

    /// The end of the connection that had `inode` was seen.
    pub(crate) fn connection_ended(self, inode: u64) -> Result<(), Errno> {
        let mut link = self.netlink.link.lock();
        if self.whole.inode() != inode {
            return Ok(());
        }
        self.go_offline(&mut link)?;
        // Whoever receives does not wait; a request will.
        let is_back = self.go_online(&mut link, connection::open).is_ok();
        drop(link);
        if is_back {
            self.wake_others();
        }
        Ok(())
    }
}
