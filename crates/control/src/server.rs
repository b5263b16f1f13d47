// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The server: clients, and what they and the switch have to say to each other.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crossbeam_channel::Receiver;
use portway_datapath::{Event, Switch};
use portway_messages::family;
use portway_netlink::Ack;
use portway_uapi::Errno;
use portway_vport::NetnsId;

use crate::client::{Client, Delivery, Limits, Peer, Queued};
use crate::ct_limit::ZoneLimits;
use crate::devices::Devices;

/// Names a client; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(u64);

/// Why a client was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The port id that it wants belongs to another client of its namespace.
    #[error("port id {0} is in use")]
    PortIdInUse(u32),
    /// There are too many clients.
    #[error("there are {0} clients, the limit")]
    TooManyClients(usize),
}

/// How many messages' memory is kept, each of at most so many bytes.
const SPARE: usize = 256;
const SPARE_LEN: usize = 2048;

/// Lowest port id that is given to clients that want none in particular.
const FIRST_PORT_ID: u32 = 0x8000_0001;

/// The netlink server. One thread at a time.
pub struct Server {
    pub(crate) switch: Arc<Switch>,
    pub(crate) clients: BTreeMap<ClientId, Client>,
    port_ids: HashMap<(NetnsId, u32), ClientId>,
    events: Receiver<Event>,
    next_client: u64,
    next_port_id: u32,
    pub(crate) limits: Limits,
    pub(crate) devices: Box<dyn Devices>,
    pub(crate) zone_limits: ZoneLimits,
    /// Clients with something new in their queues.
    ready: BTreeSet<ClientId>,
    /// A request has changed a datapath or a port since this was last asked for.
    pub(crate) changed: bool,
    /// Packets from clients may wait in the switch to be sent.
    pub(crate) executed: bool,
    /// Memory of messages that have been sent, for upcalls.
    spare: Vec<Vec<u8>>,
}

impl Server {
    /// A server for a switch.
    pub fn new(switch: Arc<Switch>, limits: Limits, devices: Box<dyn Devices>) -> Self {
        let events = switch.subscribe();
        Self {
            switch,
            clients: BTreeMap::new(),
            port_ids: HashMap::new(),
            events,
            next_client: 1,
            next_port_id: limits.first_port_id.max(FIRST_PORT_ID),
            limits,
            devices,
            zone_limits: ZoneLimits::default(),
            ready: BTreeSet::new(),
            changed: false,
            executed: false,
            spare: Vec::new(),
        }
    }

    /// The switch.
    pub fn switch(&self) -> &Arc<Switch> {
        &self.switch
    }

    /// Takes a client. `port_id`: the one that it wants, or 0.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect(&mut self, peer: Peer, port_id: u32) -> Result<ClientId, ConnectError> {
        let netns = peer.netns.id();
        if self.clients.len() >= self.limits.clients {
            return Err(ConnectError::TooManyClients(self.limits.clients));
        }
        let neighbours = self.clients.values().filter(|client| client.peer.netns.id() == netns).count();
        if neighbours >= self.limits.clients_per_netns {
            return Err(ConnectError::TooManyClients(self.limits.clients_per_netns));
        }
        let port_id = match port_id {
            0 => self.free_port_id(netns),
            taken if self.port_ids.contains_key(&(netns, taken)) => {
                return Err(ConnectError::PortIdInUse(taken));
            }
            wanted => wanted,
        };
        let id = ClientId(self.next_client);
        self.next_client += 1;
        self.port_ids.insert((netns, port_id), id);
        self.clients.insert(id, Client::new(peer, port_id, self.limits.queue_bytes));
        Ok(id)
    }

    fn free_port_id(&mut self, netns: NetnsId) -> u32 {
        loop {
            let candidate = self.next_port_id;
            self.next_port_id = candidate.checked_add(1).unwrap_or(FIRST_PORT_ID);
            if !self.port_ids.contains_key(&(netns, candidate)) {
                return candidate;
            }
        }
    }

    /// Gives a client another port id, as `bind` does.
    ///
    /// # Errors
    /// [`ConnectError::PortIdInUse`].
    pub fn bind(&mut self, id: ClientId, port_id: u32) -> Result<(), ConnectError> {
        let Some(client) = self.clients.get_mut(&id) else { return Ok(()) };
        if port_id == 0 || port_id == client.port_id {
            return Ok(());
        }
        let netns = client.peer.netns.id();
        if self.port_ids.contains_key(&(netns, port_id)) {
            return Err(ConnectError::PortIdInUse(port_id));
        }
        self.port_ids.remove(&(netns, client.port_id));
        self.port_ids.insert((netns, port_id), id);
        client.port_id = port_id;
        Ok(())
    }

    /// Lets a client go. Upcalls to its port id count as lost from now on.
    pub fn disconnect(&mut self, id: ClientId) {
        self.ready.remove(&id);
        if let Some(client) = self.clients.remove(&id) {
            self.port_ids.remove(&(client.peer.netns.id(), client.port_id));
            if client.groups.contains(&family::SAMPLES.id) {
                self.note_sample_listeners();
            }
        }
    }

    /// A client's port id.
    pub fn port_id(&self, id: ClientId) -> Option<u32> {
        self.clients.get(&id).map(|client| client.port_id)
    }

    /// Number of clients.
    pub fn client_count(&self) -> usize {
        self.clients.len()
    }

    /// How a client wants to be answered: its socket's options.
    pub fn set_ack(&mut self, id: ClientId, ack: Ack) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.ack = ack;
        }
    }

    /// Joins or leaves a multicast group.
    ///
    /// # Errors
    /// EINVAL if there is no such group, EPERM if the client may not join it.
    pub fn set_membership(&mut self, id: ClientId, group: u32, member: bool) -> Result<(), Errno> {
        let group = family::group_by_id(group).ok_or(Errno::EINVAL)?;
        let Some(client) = self.clients.get_mut(&id) else { return Ok(()) };
        if member && group.needs_admin && !client.peer.admin {
            return Err(Errno::EPERM);
        }
        if member {
            client.groups.insert(group.id)
        } else {
            client.groups.remove(&group.id)
        };
        self.note_sample_listeners();
        Ok(())
    }

    /// Tells the switch whether anybody wants samples.
    fn note_sample_listeners(&self) {
        let wanted = self.clients.values().any(|client| client.groups.contains(&family::SAMPLES.id));
        self.switch.want_samples(wanted);
    }

    /// What a client is to be given next. Parts of a dump are made as they are asked for.
    pub fn next_datagram(&mut self, id: ClientId) -> Option<Delivery> {
        if self.clients.get(&id)?.is_drained() {
            self.continue_dump(id);
        }
        self.clients.get_mut(&id)?.pop()
    }

    /// Takes back what a client's socket had no room for: it is given first the next time.
    pub fn put_back(&mut self, id: ClientId, delivery: Delivery) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.put_back(delivery);
        }
    }

    /// Takes the memory of a message that was sent: upcalls come in great numbers.
    pub fn recycle(&mut self, delivery: Delivery) {
        if let Delivery::Datagram(Queued { bytes, .. }) = delivery
            && bytes.capacity() <= SPARE_LEN
            && self.spare.len() < SPARE
        {
            self.spare.push(bytes);
        }
    }

    /// Memory for a message.
    pub(crate) fn take_buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Clients that have been given something since the last call.
    pub fn take_ready(&mut self) -> BTreeSet<ClientId> {
        std::mem::take(&mut self.ready)
    }

    /// Whether a request has changed a datapath or a port since the last call. Options and upcall port ids are among what it says, of
    /// which the switch tells no event.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// A client has a dump to go on with.
    pub(crate) fn set_ready(&mut self, id: ClientId) {
        self.ready.insert(id);
    }

    /// Queues a datagram for a client; `false`: it is lost.
    pub(crate) fn push(&mut self, id: ClientId, message: Queued) -> bool {
        let Some(client) = self.clients.get_mut(&id) else { return false };
        self.ready.insert(id);
        client.push(message)
    }

    /// To be called when all that a request has caused was taken from [`Server::next_datagram`] as far as the client's socket has room:
    /// answers that are left are lost, as they are on a netlink socket. `true`: the client must be told that something was lost (ENOBUFS).
    pub fn settle(&mut self, id: ClientId) -> bool {
        self.clients.get_mut(&id).is_some_and(Client::settle)
    }

    /// The client of that port id in that namespace.
    pub(crate) fn client_by_port_id(&self, netns: NetnsId, port_id: u32) -> Option<ClientId> {
        self.port_ids.get(&(netns, port_id)).copied()
    }

    /// Passes on what has changed in the switch by other ways than requests.
    pub fn handle_events(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.handle_event(&event);
        }
    }

    /// Something to wait for: it is readable when [`Server::handle_events`] has something to do.
    pub fn events(&self) -> &Receiver<Event> {
        &self.events
    }
}
