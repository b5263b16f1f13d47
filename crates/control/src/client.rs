// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A client: one netlink socket as the server sees it.

use std::collections::{BTreeSet, VecDeque};

use portway_datapath::Netns;
use portway_netlink::Ack;

use crate::dump::Dump;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The network namespace that its requests act in.
    pub netns: Netns,
    /// Whether it has CAP_NET_ADMIN there.
    pub admin: bool,
}

/// What the server's tables may hold, and what the machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that may wait for one client.
    pub queue_bytes: usize,
    /// Clients in all.
    pub clients: usize,
    /// Clients of one namespace.
    pub clients_per_netns: usize,
    /// CPUs of the machine: a port has not more upcall port ids than that.
    pub cpus: usize,
    /// First port id that is given to clients that want none in particular: 0x8000_0001 or above.
    pub first_port_id: u32,
}

impl Default for Limits {
    fn default() -> Self {
        // 4 MiB is what stock clients ask for with SO_RCVBUFFORCE.
        Self {
            queue_bytes: 4 << 20,
            clients: 65_536,
            clients_per_netns: 32_768,
            cpus: 1,
            first_port_id: 0x8000_0001,
        }
    }
}

/// What is to be given to a client next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Messages.
    Datagram(Vec<u8>),
    /// Messages were lost: ENOBUFS, once.
    Overrun,
}

/// One netlink socket.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) peer: Peer,
    pub(crate) port_id: u32,
    pub(crate) ack: Ack,
    pub(crate) groups: BTreeSet<u32>,
    pub(crate) dump: Option<Dump>,
    queue: VecDeque<Vec<u8>>,
    queued_bytes: usize,
    limit_bytes: usize,
    overrun: bool,
}

impl Client {
    pub(crate) fn new(peer: Peer, port_id: u32, limit_bytes: usize) -> Self {
        Self {
            peer,
            port_id,
            ack: Ack::default(),
            groups: BTreeSet::new(),
            dump: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            limit_bytes,
            overrun: false,
        }
    }

    /// Queues a datagram; `false`: there is no room, it is lost, and the client will be told.
    pub(crate) fn push(&mut self, datagram: Vec<u8>) -> bool {
        // As a socket buffer does it, one datagram is taken however long it is.
        if self.overrun || (!self.queue.is_empty() && self.queued_bytes + datagram.len() > self.limit_bytes) {
            self.overrun = true;
            return false;
        }
        self.queued_bytes += datagram.len();
        self.queue.push_back(datagram);
        true
    }

    /// The next thing to tell. What was queued before an overrun comes first.
    pub(crate) fn pop(&mut self) -> Option<Delivery> {
        if let Some(datagram) = self.queue.pop_front() {
            self.queued_bytes -= datagram.len();
            return Some(Delivery::Datagram(datagram));
        }
        std::mem::take(&mut self.overrun).then_some(Delivery::Overrun)
    }

    /// Takes back what could not be given.
    pub(crate) fn put_back(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Datagram(datagram) => {
                self.queued_bytes += datagram.len();
                self.queue.push_front(datagram);
            }
            Delivery::Overrun => self.overrun = true,
        }
    }

    /// Whether nothing waits for the client.
    pub(crate) fn is_drained(&self) -> bool {
        self.queue.is_empty() && !self.overrun
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overrun_is_told_once_after_what_came_before() {
        let peer = Peer { netns: Netns::default(), admin: true };
        let mut client = Client::new(peer, 7, 10);
        assert!(client.push(vec![0; 20]), "one is taken whatever its length");
        assert!(!client.push(vec![1]));
        assert!(!client.push(vec![2]));
        assert_eq!(client.pop(), Some(Delivery::Datagram(vec![0; 20])));
        assert_eq!(client.pop(), Some(Delivery::Overrun));
        assert!(client.is_drained() && client.pop().is_none());
        assert!(client.push(vec![3; 6]) && client.push(vec![4; 4]) && !client.push(vec![5]));
    }
}
