// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The watch over all namespaces that have datapaths or ports: one thread of the daemon, asleep in epoll until something
//! happens.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::io::{Errno, read, write};

use crate::anchor::{Anchor, MOUNTS, find};
use crate::elsewhere::Elsewhere;
use crate::event::{Change, Event};
use crate::space::Space;
use crate::{Error, Link, Netns, NetnsId};

/// Tokens of the two descriptors that belong to no namespace.
const TOKEN_COMMANDS: u64 = 0;
const TOKEN_MOUNTS: u64 = 1;
/// Events taken from the kernel at once.
const READY_MAX: usize = 64;
/// Tokens of one namespace, from a multiple of this on: its socket's, its process's, that of its socket for others.
const TOKENS: u64 = 4;
const PROCESS: u64 = 1;
const ELSEWHERE: u64 = 2;

enum Command {
    Watch(Box<Space>),
    Unwatch(NetnsId),
    Elsewhere(NetnsId, Elsewhere),
    Stop,
}

/// Says which namespaces to watch; any number of copies, any thread.
#[derive(Clone, Debug)]
pub struct WatchHandle {
    commands: Sender<Command>,
    wake: Arc<OwnedFd>,
}

impl WatchHandle {
    /// Watches a namespace from now on: what happens after the return of this call is told. The devices that are there
    /// already are returned. Watching twice needs [`WatchHandle::unwatch`] twice.
    pub fn watch(&self, netns: &Netns) -> Result<Vec<Link>, Error> {
        let space = Space::open(netns)?;
        let links = space.links();
        self.command(Command::Watch(Box::new(space)));
        Ok(links)
    }

    /// Tells of changes to devices in other namespaces, too, that `netns`, which is watched, has a number for ([`Change::Elsewhere`]):
    /// for as long as it is watched. Doing it twice does no harm.
    pub fn watch_elsewhere(&self, netns: &Netns) -> Result<(), Error> {
        let socket = Elsewhere::open(netns)?;
        self.command(Command::Elsewhere(netns.id(), socket));
        Ok(())
    }

    /// Takes one [`WatchHandle::watch`] back.
    pub fn unwatch(&self, netns: NetnsId) {
        self.command(Command::Unwatch(netns));
    }

    /// Ends [`Watcher::run`].
    pub fn stop(&self) {
        self.command(Command::Stop);
    }

    fn command(&self, command: Command) {
        // A watcher that has ended takes no commands, and needs none.
        if self.commands.send(command).is_ok() {
            let _ = write(&*self.wake, &1_u64.to_ne_bytes());
        }
    }
}

/// One watched namespace.
struct Entry {
    space: Box<Space>,
    anchor: Anchor,
    /// Its first token.
    token: u64,
    elsewhere: Option<Elsewhere>,
    /// How often it was asked to be watched.
    count: usize,
}

/// Follows devices and namespaces. Poll it (`AsFd`) and call [`Watcher::handle_ready`], or give it a thread with
/// [`Watcher::run`].
pub struct Watcher {
    epoll: OwnedFd,
    /// Kept open: it is in the epoll set.
    _mounts: File,
    wake: Arc<OwnedFd>,
    commands: Receiver<Command>,
    events: Sender<Event>,
    entries: HashMap<NetnsId, Entry>,
    next_token: u64,
}

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watcher").field("namespaces", &self.entries.keys()).finish_non_exhaustive()
    }
}

impl Watcher {
    /// A watcher of nothing yet, the handle that gives it namespaces, and where its events come out.
    pub fn new() -> Result<(Self, WatchHandle, Receiver<Event>), Error> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(Error::call("epoll_create1"))?;
        let wake =
            eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(Error::call("eventfd"))?;
        let mounts = File::open(MOUNTS).map_err(|_| Error::Call { what: MOUNTS, source: Errno::NOENT })?;
        let add = |fd: BorrowedFd<'_>, token, flags| {
            let data = epoll::EventData::new_u64(token);
            epoll::add(&epoll, fd, data, flags).map_err(Error::call("epoll_ctl"))
        };
        add(wake.as_fd(), TOKEN_COMMANDS, epoll::EventFlags::IN)?;
        add(mounts.as_fd(), TOKEN_MOUNTS, epoll::EventFlags::PRI)?;
        let ((to_us, commands), (events, from_us)) = (unbounded(), unbounded());
        let wake = Arc::new(wake);
        let handle = WatchHandle { commands: to_us, wake: Arc::clone(&wake) };
        let watcher = Self {
            epoll,
            _mounts: mounts,
            wake,
            commands,
            events,
            entries: HashMap::new(),
            next_token: TOKENS,
        };
        Ok((watcher, handle, from_us))
    }

    /// Works until [`WatchHandle::stop`], or until nobody listens to the events any more.
    pub fn run(mut self) -> Result<(), Error> {
        while self.wait(None)? {}
        Ok(())
    }

    /// Does what there is to do without waiting. False: it was stopped.
    pub fn handle_ready(&mut self) -> Result<bool, Error> {
        self.wait(Some(rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 }))
    }

    fn wait(&mut self, timeout: Option<rustix::event::Timespec>) -> Result<bool, Error> {
        let mut ready = Vec::with_capacity(READY_MAX);
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut ready), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(source) => return Err(Error::Call { what: "epoll_wait", source }),
        }
        for event in ready {
            let token = event.data.u64();
            let goes_on = match token {
                TOKEN_COMMANDS => self.obey()?,
                TOKEN_MOUNTS => self.look_for_names(),
                _ => self.handle_namespace(token),
            };
            if !goes_on {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn obey(&mut self) -> Result<bool, Error> {
        let _ = read(&*self.wake, &mut [0; 8]);
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Watch(space) => self.add(space)?,
                Command::Unwatch(id) => {
                    let entry = self.entries.get_mut(&id);
                    if entry.is_some_and(|entry| {
                        entry.count -= 1;
                        entry.count == 0
                    }) {
                        self.entries.remove(&id);
                    }
                }
                Command::Elsewhere(id, socket) => self.add_elsewhere(id, socket)?,
                Command::Stop => return Ok(false),
            }
        }
        Ok(true)
    }

    fn add(&mut self, space: Box<Space>) -> Result<(), Error> {
        let id = space.netns().id();
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.count += 1;
            return Ok(());
        }
        let Some(anchor) = find(id) else {
            self.tell(id, Change::NamespaceGone);
            return Ok(());
        };
        let token = self.next_token;
        self.next_token += TOKENS;
        self.poll(space.as_fd(), token)?;
        if let Anchor::Process(process) = &anchor {
            self.poll(process.as_fd(), token + PROCESS)?;
        }
        self.entries.insert(id, Entry { space, anchor, token, elsewhere: None, count: 1 });
        Ok(())
    }

    fn add_elsewhere(&mut self, id: NetnsId, socket: Elsewhere) -> Result<(), Error> {
        let Some(entry) = self.entries.get(&id).filter(|entry| entry.elsewhere.is_none()) else {
            return Ok(());
        };
        self.poll(socket.as_fd(), entry.token + ELSEWHERE)?;
        self.entries.entry(id).and_modify(|entry| entry.elsewhere = Some(socket));
        Ok(())
    }

    fn poll(&self, fd: BorrowedFd<'_>, token: u64) -> Result<(), Error> {
        let data = epoll::EventData::new_u64(token);
        epoll::add(&self.epoll, fd, data, epoll::EventFlags::IN).map_err(Error::call("epoll_ctl"))
    }

    /// One of a namespace's descriptors has something.
    fn handle_namespace(&mut self, token: u64) -> bool {
        // Unwatched by a command that came with the same wake-up: nothing to do.
        let found = self.entries.iter_mut().find(|(_, entry)| entry.token == token - token % TOKENS);
        let Some((&id, entry)) = found else { return true };
        if token % TOKENS == PROCESS {
            return self.hold_again(id);
        }
        if token % TOKENS == ELSEWHERE {
            if entry.elsewhere.as_ref().is_some_and(|socket| socket.drain().is_err()) {
                entry.elsewhere = None;
            }
            return self.tell(id, Change::Elsewhere);
        }
        let mut changes = Vec::new();
        // A socket that fails for good tells nothing more; its namespace is still followed by its anchor.
        if entry.space.read(&mut changes).is_err() {
            let _ = epoll::delete(&self.epoll, &*entry.space);
        }
        changes.into_iter().all(|change| self.tell(id, change))
    }

    /// The mount table has changed: are the names still there?
    fn look_for_names(&mut self) -> bool {
        let named = self.entries.iter().filter(|(_, entry)| matches!(entry.anchor, Anchor::Mounted));
        let named: Vec<_> = named.map(|(&id, _)| id).collect();
        named.into_iter().all(|id| self.hold_again(id))
    }

    /// Looks for what holds a namespace now.
    fn hold_again(&mut self, id: NetnsId) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else { return true };
        match find(id) {
            Some(anchor) => {
                entry.anchor = anchor;
                let token = entry.token + PROCESS;
                match &self.entries[&id].anchor {
                    // When it cannot be polled the next change of the mount table brings the next look.
                    Anchor::Process(process) => drop(self.poll(process.as_fd(), token)),
                    Anchor::Own | Anchor::Mounted => {}
                }
                true
            }
            None => {
                self.entries.remove(&id);
                self.tell(id, Change::NamespaceGone)
            }
        }
    }

    /// False: nobody listens any more.
    fn tell(&self, netns: NetnsId, what: Change) -> bool {
        self.events.send(Event { netns, what }).is_ok()
    }
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
