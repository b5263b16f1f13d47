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
    Datagram(Queued),
    /// Messages were lost: ENOBUFS, once.
    Overrun,
}

/// A datagram, and why it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    /// One netlink message, or several parts of a dump.
    pub bytes: Vec<u8>,
    /// The multicast group that it was made for; 0: none.
    pub group: u32,
    /// Whether a request has caused it, which is complete only when the client can read this. Parts of a dump are not: they wait until
    /// they are read.
    pub is_answer: bool,
}

impl Queued {
    /// An answer to a request, for its sender alone.
    pub(crate) fn answer(bytes: Vec<u8>) -> Self {
        Self { bytes, group: 0, is_answer: true }
    }

    /// Something that the client did not ask for just now.
    pub(crate) fn other(bytes: Vec<u8>) -> Self {
        Self { bytes, group: 0, is_answer: false }
    }

    /// The same, made for a multicast group.
    pub(crate) fn of_group(self, group: u32) -> Self {
        Self { group, ..self }
    }
}

/// One netlink socket.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) peer: Peer,
    pub(crate) port_id: u32,
    pub(crate) ack: Ack,
    pub(crate) groups: BTreeSet<u32>,
    pub(crate) dump: Option<Dump>,
    queue: VecDeque<Queued>,
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
    pub(crate) fn push(&mut self, message: Queued) -> bool {
        let len = message.bytes.len();
        // As a socket buffer does it, one datagram is taken however long it is.
        if self.overrun || (!self.queue.is_empty() && self.queued_bytes + len > self.limit_bytes) {
            self.overrun = true;
            return false;
        }
        self.queued_bytes += len;
        self.queue.push_back(message);
        true
    }

    /// The next thing to tell. What was queued before an overrun comes first.
    pub(crate) fn pop(&mut self) -> Option<Delivery> {
        if let Some(message) = self.queue.pop_front() {
            self.queued_bytes -= message.bytes.len();
            return Some(Delivery::Datagram(message));
        }
        std::mem::take(&mut self.overrun).then_some(Delivery::Overrun)
    }

    /// Takes back what could not be given.
    pub(crate) fn put_back(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Datagram(message) => {
                self.queued_bytes += message.bytes.len();
                self.queue.push_front(message);
            }
            Delivery::Overrun => self.overrun = true,
        }
    }

    /// Gives up the answers that are still queued. Whether any were, or something was lost before: the client is being told now.
    pub(crate) fn settle(&mut self) -> bool {
        let before = self.queue.len();
        self.queue.retain(|message| !message.is_answer);
        self.queued_bytes = self.queue.iter().map(|message| message.bytes.len()).sum();
        std::mem::take(&mut self.overrun) || self.queue.len() < before
    }

    /// Whether nothing waits for the client.
    pub(crate) fn is_drained(&self) -> bool {
        self.queue.is_empty() && !self.overrun
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other(byte: u8, len: usize) -> Queued {
        Queued::other(vec![byte; len])
    }

    fn client() -> Client {
        Client::new(Peer { netns: Netns::default(), admin: true }, 7, 10)
    }

    #[test]
    fn an_overrun_is_told_once_after_what_came_before() {
        let mut client = client();
        assert!(client.push(other(0, 20)), "one is taken whatever its length");
        assert!(!client.push(other(1, 1)));
        assert!(!client.push(other(2, 1)));
        assert_eq!(client.pop(), Some(Delivery::Datagram(other(0, 20))));
        assert_eq!(client.pop(), Some(Delivery::Overrun));
        assert!(client.is_drained() && client.pop().is_none());
        assert!(client.push(other(3, 6)) && client.push(other(4, 4)) && !client.push(other(5, 1)));
    }

    #[test]
    fn answers_that_are_not_read_in_time_are_given_up() {
        let mut client = client();
        assert!(!client.settle(), "nothing is lost");
        assert!(client.push(other(0, 4).of_group(3)) && client.push(Queued::answer(vec![1; 3])));
        assert!(client.settle());
        assert!(!client.settle(), "told once");
        assert_eq!(
            client.pop(),
            Some(Delivery::Datagram(Queued { bytes: vec![0; 4], group: 3, is_answer: false }))
        );
        assert!(client.is_drained());
        assert!(client.push(Queued::answer(vec![1; 10])), "its bytes count no more");
        assert!(!client.push(Queued::answer(vec![1; 1])));
        assert!(client.settle(), "both at once");
        assert!(client.is_drained());
    }
}
