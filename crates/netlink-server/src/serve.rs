// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The loop: who has something to say, who has room for more.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};
use portway_control::{ClientId, ConnectError, Delivery, Limits, Server};
use portway_datapath::{Switch, Upcall};
use portway_netlink::Ack;
use portway_netlink_socket::{Answer, Bundle, Command, OVERRUN};
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, socket_with,
};
use rustix::time::{ClockId, clock_gettime};

use crate::connection::{
    Came, Connection, Greeting, Who, answer, answer_with_outlet, receive, receive_hello,
};
use crate::devices::LinkCounters;
use crate::error::{Error, io_error};
use crate::{peer, tunnels};

/// NETLINK_GENERIC and NETLINK_ROUTE.
const GENERIC: u32 = 16;
const ROUTE: u32 = 0;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// Upcalls that may wait for this thread.
const UPCALLS: usize = 8192;
/// Events taken at a time.
const EVENTS: usize = 64;

/// What an epoll entry stands for; with the connection's number above.
const LISTENER: u64 = 0;
const WAKE: u64 = 1;
const FIRST_CONNECTION: u64 = 2;

/// How other threads reach the server.
#[derive(Clone, Debug)]
pub struct Handle {
    upcalls: Sender<Upcall>,
    wake: Arc<OwnedFd>,
    stop: Arc<AtomicBool>,
}

impl Handle {
    /// Hands over a packet for user space, to be seen after the next [`Handle::wake`]. If there is no room it counts as lost.
    pub fn upcall(&self, upcall: Upcall) {
        if let Err(full) = self.upcalls.try_send(upcall) {
            full.into_inner().count_lost();
        }
    }

    /// Makes the server look at what has changed.
    pub fn wake(&self) {
        // The counter is full only if a wake-up is due anyway.
        let _ = rustix::io::write(&*self.wake, &1_u64.to_ne_bytes());
    }

    /// Ends the loop.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake();
    }
}

/// Runs a step; false if it panicked: a fault of ours that must not take the thread with it.
fn contained(step: impl FnOnce()) -> bool {
    let outcome = catch_unwind(AssertUnwindSafe(step));
    if outcome.is_err() {
        tracing::error!("a netlink request failed inside portwayd and was given up; please report this");
    }
    outcome.is_ok()
}

/// The netlink server with its sockets.
pub struct NetlinkServer {
    server: Server,
    path: PathBuf,
    epoll: OwnedFd,
    listener: OwnedFd,
    connections: BTreeMap<u64, Connection>,
    by_client: BTreeMap<ClientId, u64>,
    next: u64,
    upcalls: Receiver<Upcall>,
    handle: Handle,
    buffer: Vec<u8>,
    on_change: Box<dyn Fn() + Send>,
    source: Source,
    taken: Vec<(u32, Upcall)>,
    bundle: Bundle,
    bundled: Vec<Delivery>,
}

/// Where packets for user space come from: appends some, with their ports, and says whether there are more.
pub type Source = Box<dyn FnMut(&mut Vec<(u32, Upcall)>) -> bool + Send>;

impl NetlinkServer {
    /// Listens on `path`.
    ///
    /// # Errors
    /// [`Error`].
    pub fn bind(path: &Path, switch: Arc<Switch>, limits: Limits) -> Result<Self, Error> {
        let listener = listen_on(path)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io_error("epoll"))?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(io_error("eventfd"))?;
        let input = epoll::EventFlags::IN;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), input)
            .map_err(io_error("epoll"))?;
        epoll::add(&epoll, &wake, epoll::EventData::new_u64(WAKE), input).map_err(io_error("epoll"))?;
        let (sender, upcalls) = bounded(UPCALLS);
        let handle = Handle { upcalls: sender, wake: Arc::new(wake), stop: Arc::new(AtomicBool::new(false)) };
        Ok(Self {
            server: Server::new(switch, limits, Box::<LinkCounters>::default()),
            path: path.to_owned(),
            epoll,
            listener,
            connections: BTreeMap::new(),
            by_client: BTreeMap::new(),
            next: FIRST_CONNECTION,
            upcalls,
            handle,
            buffer: Vec::new(),
            on_change: Box::new(|| ()),
            source: Box::new(|_| false),
            taken: Vec::new(),
            bundle: Bundle::default(),
            bundled: Vec::new(),
        })
    }

    /// Where packets for user space are taken from at each wake-up, beside those that are handed over.
    pub fn take_upcalls_from(&mut self, source: Source) {
        self.source = source;
    }

    /// What is to be called after a request that has changed a datapath or a port. It must not wait.
    pub fn on_change(&mut self, call: Box<dyn Fn() + Send>) {
        self.on_change = call;
    }

    /// For other threads.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until [`Handle::stop`].
    ///
    /// # Errors
    /// What epoll says; nothing that a client does is an error here.
    pub fn run(&mut self) -> Result<(), Error> {
        let mut events = Vec::with_capacity(EVENTS);
        while !self.handle.stop.load(Ordering::Acquire) {
            events.clear();
            // A second at most: what the switch retires without a wake-up of ours is told then.
            let timeout = Timespec { tv_sec: 1, tv_nsec: 0 };
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(io_error("epoll")(errno)),
            }
            for event in &events {
                let token = event.data.u64();
                if !contained(|| self.event(token, event.flags)) {
                    // Whoever brought it about loses its connection; the others notice nothing.
                    self.close(token / 2);
                }
            }
            contained(|| {
                self.take_from_switch();
                self.flush_all();
            });
        }
        Ok(())
    }

    fn event(&mut self, token: u64, flags: epoll::EventFlags) {
        match token {
            LISTENER => self.accept(),
            WAKE => {
                let _ = rustix::io::read(&*self.handle.wake, &mut [0; 8]);
            }
            token => {
                let (number, is_control) = (token / 2, token % 2 == 1);
                if flags.contains(epoll::EventFlags::OUT) {
                    self.set_blocked(number, false);
                    // What waited for room is nobody else's to send.
                    self.flush(number);
                }
                if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
                    if is_control { self.command(number) } else { self.data(number) }
                }
            }
        }
    }

    fn accept(&mut self) {
        loop {
            let data = match accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(data) => data,
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(errno) => {
                    tracing::warn!("a client could not be accepted: {errno}");
                    return;
                }
            };
            let number = self.next;
            self.next += 1;
            let token = epoll::EventData::new_u64(number * 2);
            if epoll::add(&self.epoll, &data, token, epoll::EventFlags::IN).is_ok() {
                self.connections.insert(number, Connection::new(data));
            }
        }
    }

    fn data(&mut self, number: u64) {
        let Some(connection) = self.connections.get(&number) else { return };
        let Some((who, _)) = &connection.open else { return self.hello(number) };
        let who = who.clone();
        match (receive(&connection.data, &mut self.buffer), who) {
            (Came::Datagram(len), Who::Links(peer)) => {
                let made = tunnels::new_link(self.server.switch(), &peer, &self.buffer[..len]);
                let (errno, index) = made.map_or_else(|errno| (errno.0 as u32, 0), |index| (0, index));
                self.answer(number, errno, index);
            }
            (Came::Datagram(len), Who::Client(client)) => {
                self.server.handle_datagram(client, &self.buffer[..len], now_ns());
                if self.server.take_changed() {
                    (self.on_change)();
                }
                // All that the request has caused is on its way before it is called finished; what has no room is lost. The client may
                // have made some since it had none.
                self.set_blocked(number, false);
                self.flush_all();
                let lost = self.server.settle(client);
                self.answer(number, 0, if lost { Answer::LOST } else { 0 });
            }
            (Came::Nothing, _) => {}
            (Came::End, _) => self.close(number),
        }
    }

    fn hello(&mut self, number: u64) {
        if self.greet(number).is_none() {
            self.close(number);
        }
    }

    /// Takes a client in; `None`: it is not acceptable.
    fn greet(&mut self, number: u64) -> Option<()> {
        let connection = self.connections.get_mut(&number)?;
        let Greeting { hello, netns, control, proof } = receive_hello(&connection.data)?;
        let peer = peer::identify(netns, &proof)?;
        let who = match hello.protocol {
            ROUTE => Who::Links(peer),
            GENERIC => match self.server.connect(peer, hello.port_id) {
                Ok(client) => Who::Client(client),
                Err(error) => {
                    answer(&control, errno_of(&error), 0);
                    return None;
                }
            },
            _ => {
                answer(&control, Errno::PROTONOSUPPORT.raw_os_error() as u32, 0);
                return None;
            }
        };
        let token = epoll::EventData::new_u64(number * 2 + 1);
        epoll::add(&self.epoll, &control, token, epoll::EventFlags::IN).ok()?;
        let port_id = match &who {
            Who::Client(client) => {
                self.by_client.insert(*client, number);
                self.server.port_id(*client)?
            }
            Who::Links(_) => 0,
        };
        answer(&control, 0, port_id);
        connection.open = Some((who, control));
        Some(())
    }

    fn command(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let Some((who, control)) = &connection.open else { return };
        let who = who.clone();
        match receive(control, &mut self.buffer) {
            Came::Datagram(len) => {
                let command = Command::decode(&self.buffer[..len]);
                if let (Some(Command::Outlet { dp_ifindex, port_no }), Who::Client(client)) = (command, &who)
                {
                    return self.outlet(number, *client, dp_ifindex, port_no);
                }
                let (errno, value) = match command {
                    Some(command) => match who {
                        Who::Client(client) => self.carry_out(number, client, command),
                        Who::Links(_) => (Errno::OPNOTSUPP.raw_os_error() as u32, 0),
                    },
                    None => (Errno::INVAL.raw_os_error() as u32, 0),
                };
                self.answer(number, errno, value);
            }
            Came::Nothing => {}
            Came::End => self.close(number),
        }
    }

    fn carry_out(&mut self, number: u64, client: ClientId, command: Command) -> (u32, u32) {
        let Some(connection) = self.connections.get_mut(&number) else { return (0, 0) };
        match command {
            Command::Bind(port_id) => match self.server.bind(client, port_id) {
                Ok(()) => (0, self.server.port_id(client).unwrap_or(0)),
                Err(error) => (errno_of(&error), 0),
            },
            Command::SetAck { capped, extended } => {
                self.server.set_ack(client, Ack { capped, extended });
                (0, 0)
            }
            Command::Join(group) | Command::Leave(group) => {
                let member = matches!(command, Command::Join(_));
                let done = self.server.set_membership(client, group, member);
                (done.map_or_else(|errno| errno.0 as u32, |()| 0), 0)
            }
            Command::Wake => {
                connection.wake();
                (0, 0)
            }
            Command::TellGroups => {
                connection.tells_groups = true;
                (0, 0)
            }
            Command::Room(bytes) => {
                connection.set_room(bytes as usize);
                (0, 0)
            }
            Command::TakeBundles => {
                connection.takes_bundles = true;
                (0, 0)
            }
            // Its answer is no number.
            Command::Outlet { .. } => (Errno::OPNOTSUPP.raw_os_error() as u32, 0),
        }
    }

    /// Hands a port's outlet to a client.
    fn outlet(&mut self, number: u64, client: ClientId, dp_ifindex: u32, port_no: u32) {
        let outlet = match self.server.outlet(client, dp_ifindex, port_no) {
            Ok(outlet) => outlet,
            Err(errno) => return self.answer(number, errno.0 as u32, 0),
        };
        let Some(Connection { open: Some((_, control)), .. }) = self.connections.get(&number) else { return };
        if !answer_with_outlet(control, &outlet) {
            self.close(number);
        }
    }

    fn answer(&mut self, number: u64, errno: u32, value: u32) {
        let Some(Connection { open: Some((_, control)), .. }) = self.connections.get(&number) else { return };
        if !answer(control, errno, value) {
            self.close(number);
        }
    }

    /// What the switch has to say.
    fn take_from_switch(&mut self) {
        if (self.source)(&mut self.taken) {
            // Requests are served in between.
            self.handle.wake();
        }
        let now_ns = wall_ns();
        for (_, upcall) in self.taken.drain(..) {
            self.server.deliver_upcall(upcall, now_ns);
        }
        while let Ok(upcall) = self.upcalls.try_recv() {
            self.server.deliver_upcall(upcall, wall_ns());
        }
        self.server.handle_events();
    }

    fn flush_all(&mut self) {
        for client in self.server.take_ready() {
            if let Some(number) = self.by_client.get(&client).copied() {
                self.flush(number);
            }
        }
    }

    /// Gives a client what waits for it, as far as its socket takes it.
    fn flush(&mut self, number: u64) {
        while let Some(connection) = self.connections.get_mut(&number) {
            let Some((Who::Client(client), _)) = &connection.open else { return };
            if connection.blocked {
                return;
            }
            let client = *client;
            let Some(delivery) = self.server.next_datagram(client) else { return };
            // What a step that failed has left.
            self.bundled.clear();
            self.bundled.push(delivery);
            // Each of those whose group is told travels alone.
            let in_bundle = connection.takes_bundles && !connection.tells_groups;
            if in_bundle {
                self.bundle.clear();
                self.fill_bundle(client);
            }
            let (bytes, group) = match self.bundled.as_slice() {
                [Delivery::Overrun] => (&OVERRUN[..], 0),
                // One alone, too, if it may: who receives a bundle need not ask the kernel whose it is.
                [Delivery::Datagram(queued)] if !in_bundle => (queued.bytes.as_slice(), queued.group),
                _ => (self.bundle.bytes(), 0),
            };
            let Some(connection) = self.connections.get_mut(&number) else { return };
            match connection.give(bytes, group) {
                Ok(()) => self.bundled.drain(..).for_each(|sent| self.server.recycle(sent)),
                Err(Errno::AGAIN | Errno::NOBUFS) => {
                    for delivery in self.bundled.drain(..).rev() {
                        self.server.put_back(client, delivery);
                    }
                    self.set_blocked(number, true);
                }
                // A peer that has gone is ordinary.
                Err(_) => {
                    self.bundled.clear();
                    return self.close(number);
                }
            }
        }
    }

    /// Adds what else waits for the client to the one datagram in `bundled`.
    fn fill_bundle(&mut self, client: ClientId) {
        while let Some(Delivery::Datagram(queued)) = self.bundled.last() {
            self.bundle.add(&queued.bytes);
            if self.bundle.is_full() {
                return;
            }
            match self.server.next_datagram(client) {
                Some(Delivery::Overrun) => return self.server.put_back(client, Delivery::Overrun),
                Some(delivery) => self.bundled.push(delivery),
                None => return,
            }
        }
    }

    fn set_blocked(&mut self, number: u64, blocked: bool) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if connection.blocked == blocked {
            return;
        }
        connection.blocked = blocked;
        let output = if blocked { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
        let token = epoll::EventData::new_u64(number * 2);
        let _ = epoll::modify(&self.epoll, &connection.data, token, epoll::EventFlags::IN | output);
    }

    fn close(&mut self, number: u64) {
        let Some(connection) = self.connections.remove(&number) else { return };
        let _ = epoll::delete(&self.epoll, &connection.data);
        if let Some((who, control)) = connection.open {
            let _ = epoll::delete(&self.epoll, control.as_fd());
            if let Who::Client(client) = who {
                self.by_client.remove(&client);
                self.server.disconnect(client);
            }
        }
    }
}

impl Drop for NetlinkServer {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn errno_of(error: &ConnectError) -> u32 {
    let errno = match error {
        ConnectError::PortIdInUse(_) => Errno::ADDRINUSE,
        ConnectError::TooManyClients(_) => Errno::NFILE,
    };
    errno.raw_os_error() as u32
}

/// Nanoseconds since 1970.
fn wall_ns() -> u64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A listening socket at `path`; one that a dead daemon left there is replaced.
fn listen_on(path: &Path) -> Result<OwnedFd, Error> {
    let failed = |errno: Errno| Error::Listen { path: path.to_owned(), source: errno.into() };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let make = || socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).map_err(failed);
    let address = SocketAddrUnix::new(path).map_err(failed)?;
    let socket = make()?;
    match bind(&socket, &address) {
        Err(Errno::ADDRINUSE) => {
            if connect(make()?, &address).is_ok() {
                return Err(Error::InUse(path.to_owned()));
            }
            rustix::fs::unlink(path).map_err(failed)?;
            bind(&socket, &address).map_err(failed)?;
        }
        result => result.map_err(failed)?,
    }
    // Anybody may ask; who may change things is checked for each request.
    let everybody = rustix::fs::Mode::from_raw_mode(0o666);
    rustix::fs::chmod(path, everybody).map_err(failed)?;
    listen(&socket, BACKLOG).map_err(failed)?;
    Ok(socket)
}
