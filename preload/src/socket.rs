// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One netlink socket: what a kernel would know of it, its connection, and what happens when portwayd goes and comes.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use portway_netlink_socket::Command;
use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::net::sockopt;

use crate::connection::{self, Failure, Opened, Place};
use crate::listen::Unread;
use crate::lock::{ForkLock, forks};
use crate::outlet::Outlets;
use crate::route::Route;
use crate::table::{self, Hidden};
use crate::watch;

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
    place: Place,
    pub(crate) port_id: AtomicU32,
    /// Whether the program has been given the port id, as `bind`, `connect` and a first request do.
    pub(crate) is_bound: AtomicBool,
    /// The port id given to `connect`.
    pub(crate) peer: AtomicU32,
    /// Dumps that have not ended.
    pub(crate) dumps: AtomicU32,
    /// Something was lost that the program has not been told of.
    pub(crate) lost: AtomicBool,
    /// The thread that may not hear of that yet (`loss.rs`); 0: none has looked.
    pub(crate) is_awaited_by: AtomicU32,
    /// How often the process had forked when the socket was opened: later children have it, too.
    pub(crate) forks_before: u32,
    /// A request was sent.
    pub(crate) has_asked: AtomicBool,
    /// portwayd was told that bundles are welcome.
    pub(crate) has_offered: AtomicBool,
    /// portwayd knows that: what comes may come in bundles.
    pub(crate) takes_bundles: AtomicBool,
    /// What has come and was not received. Locked before `link`, if both are.
    pub(crate) unread: ForkLock<Unread>,
    /// Whether the program wants to know for which groups messages were made.
    pub(crate) tells_groups: AtomicBool,
    /// Whether a message's group is told beside it (NETLINK_PKTINFO).
    pub(crate) packet_info: AtomicBool,
    /// The multicast group that the next datagram was made for; 0: none.
    pub(crate) next_group: AtomicU32,
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
    /// What portwayd has handed over: of this connection only.
    pub(crate) outlets: Outlets,
}

/// Options, which a new connection is given again.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// A bit for each option of SOL_NETLINK that is on, by its number.
    pub(crate) options: u32,
    pub(crate) groups: BTreeSet<u32>,
    pub(crate) takes_bundles: bool,
    /// SO_RCVBUF, if the program has set it.
    pub(crate) room: Option<u32>,
}

impl Settings {
    /// Whether an option of SOL_NETLINK is on.
    pub(crate) fn has(&self, option: i32) -> bool {
        self.options & 1 << option != 0
    }

    /// Gives them to a new connection.
    fn restore(&self, data: BorrowedFd<'_>, control: BorrowedFd<'_>) -> Result<(), Failure> {
        connection::command(control, self.ack())?;
        if let Some(room) = self.room {
            // The kernel doubles what it is told. One that may not have so much has less.
            let half = room as usize / 2;
            let _ = sockopt::set_socket_recv_buffer_size_force(data, half)
                .or_else(|_| sockopt::set_socket_recv_buffer_size(data, half));
            connection::command(control, Command::Room(room))?;
        }
        Ok(())
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

    /// Whether it is given bundles, which nothing else is.
    pub(crate) fn takes_bundles(&self) -> bool {
        match self {
            Self::Portway(netlink) => netlink.takes_bundles.load(Ordering::Acquire),
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
        let place = Place::current().map_err(Failure::Refused)?;
        let (Opened { data, control, port_id }, is_online) = match connection::open_patiently(&place, 0) {
            Err(Failure::Gone(_)) if connection::was_seen() => (nobodys().map_err(Failure::Refused)?, false),
            opened => (opened?, true),
        };
        let inode = fstat(&data).map_err(Failure::Refused)?.st_ino;
        let control = Hidden::new(control).map_err(Failure::Refused)?;
        let socket = Netlink {
            kind,
            inode: AtomicU64::new(inode),
            place,
            port_id: AtomicU32::new(port_id),
            is_bound: AtomicBool::new(false),
            peer: AtomicU32::new(0),
            dumps: AtomicU32::new(0),
            lost: AtomicBool::new(false),
            is_awaited_by: AtomicU32::new(0),
            forks_before: forks(),
            has_asked: AtomicBool::new(false),
            has_offered: AtomicBool::new(false),
            takes_bundles: AtomicBool::new(false),
            unread: ForkLock::new(Unread::default()),
            tells_groups: AtomicBool::new(false),
            packet_info: AtomicBool::new(false),
            next_group: AtomicU32::new(0),
            link: ForkLock::new(Link {
                control,
                is_online,
                settings: Settings::default(),
                outlets: Outlets::default(),
            }),
        };
        if !is_online {
            watch::begin();
        }
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
        self.netlink.place.namespace.is_current()
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
        link.outlets = Outlets::default();
        watch::begin();
        // What members of groups have missed they are told of when the connection is back.
        if self.netlink.dumps.swap(0, Ordering::AcqRel) > 0 {
            self.netlink.lost.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Connects again if need be: with the same port id, unless it has been taken meanwhile, and the same options.
    pub(crate) fn go_online(
        self,
        link: &mut Link,
        open: impl Fn(&Place, u32) -> Result<Opened, Failure>,
    ) -> Result<(), Failure> {
        if link.is_online {
            return Ok(());
        }
        let wanted = self.netlink.port_id.load(Ordering::Acquire);
        let place = &self.netlink.place;
        if !place.is_open() {
            return Err(Failure::Gone(Errno::BADF));
        }
        let opened = match open(place, wanted) {
            Err(Failure::Refused(Errno::ADDRINUSE)) => open(place, 0),
            result => result,
        }?;
        let control = Hidden::new(opened.control).map_err(Failure::Refused)?;
        link.settings.restore(opened.data.as_fd(), control.as_fd())?;
        if self.netlink.tells_groups.load(Ordering::Acquire) {
            connection::command(control.as_fd(), Command::TellGroups)?;
        }
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
        self.netlink.next_group.store(0, Ordering::Release);
        table::replace(self.whole, opened.data.as_fd()).map_err(Failure::Refused)?;
        link.is_online = true;
        // With the old other end, whoever waits on the old file is woken.
        link.control = control;
        Ok(())
    }

    /// Whether it is without its connection and can get another.
    pub(crate) fn waits(self) -> bool {
        self.netlink.place.is_open() && !self.netlink.link.lock().is_online
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
            watch::connect_all();
        }
        Ok(())
    }
}
