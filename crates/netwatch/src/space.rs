// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The devices of one namespace, and how what rtnetlink says of them becomes changes.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv, sockopt};

use crate::event::Change;
use crate::link::{DATAGRAM, Link, Links, open_socket};
use crate::rtnl::{Message, RTM_DELLINK, RTM_NEWLINK, link, messages};
use crate::{Error, Netns};

/// RTMGRP_LINK, linux/rtnetlink.h.
const GROUP_LINK: u32 = 1;
/// Receive queue in bytes: some thousands of notifications.
const QUEUE: usize = 4 << 20;

/// A namespace's devices as last seen, and the socket that tells of changes.
#[derive(Debug)]
pub(crate) struct Space {
    netns: Netns,
    socket: OwnedFd,
    known: HashMap<u32, Link>,
}

impl Space {
    /// Listens, then looks: what happens in between is told twice rather than not at all.
    pub(crate) fn open(netns: &Netns) -> Result<Self, Error> {
        let (socket, links) = netns.run(|| -> Result<_, Error> {
            let socket = open_socket(GROUP_LINK)?;
            Ok((socket, Links::open()?.list()?))
        })??;
        // Without the privilege the ordinary limit holds; too short a queue costs a new look, not an event.
        let _ = sockopt::set_socket_recv_buffer_size_force(&socket, QUEUE);
        let known = links.into_iter().map(|link| (link.index, link)).collect();
        Ok(Self { netns: netns.try_clone()?, socket, known })
    }

    pub(crate) fn netns(&self) -> &Netns {
        &self.netns
    }

    pub(crate) fn links(&self) -> Vec<Link> {
        self.known.values().cloned().collect()
    }

    /// Reads everything that the socket has and appends the changes.
    pub(crate) fn read(&mut self, changes: &mut Vec<Change>) -> Result<(), Error> {
        let mut buffer = vec![0; DATAGRAM];
        loop {
            match recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => {
                    messages(&buffer[..length]).for_each(|message| self.apply(&message, changes));
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                // Notifications were lost: look again.
                Err(Errno::NOBUFS) => self.look(changes)?,
                Err(source) => return Err(Error::Call { what: "rtnetlink notification", source }),
            }
        }
    }

    fn apply(&mut self, message: &Message<'_>, changes: &mut Vec<Change>) {
        match (message.kind, link(message)) {
            (RTM_NEWLINK, Some(link)) => self.seen(link, changes),
            (RTM_DELLINK, Some(link)) => self.lost(link.index, link.moved, changes),
            _ => {}
        }
    }

    /// Compares with a complete list.
    fn look(&mut self, changes: &mut Vec<Change>) -> Result<(), Error> {
        let links = Links::open_in(&self.netns)?.list()?;
        self.compare(links, changes);
        Ok(())
    }

    fn compare(&mut self, links: Vec<Link>, changes: &mut Vec<Change>) {
        let mut missing: Vec<u32> = self
            .known
            .keys()
            .copied()
            .filter(|index| links.iter().all(|link| link.index != *index))
            .collect();
        missing.sort_unstable();
        missing.into_iter().for_each(|index| self.lost(index, false, changes));
        links.into_iter().for_each(|link| self.seen(link, changes));
    }

    fn lost(&mut self, ifindex: u32, moved: bool, changes: &mut Vec<Change>) {
        if let Some(Link { name, .. }) = self.known.remove(&ifindex) {
            changes.push(match moved {
                true => Change::MovedAway { ifindex, name },
                false => Change::Gone { ifindex, name },
            });
        }
    }

    fn seen(&mut self, link: Link, changes: &mut Vec<Change>) {
        let ifindex = link.index;
        let Some(old) = self.known.get_mut(&ifindex) else {
            changes.push(Change::Appeared(link.clone()));
            self.known.insert(ifindex, link);
            return;
        };
        if old.name != link.name {
            let (name, new_name) = (old.name.clone(), link.name.clone());
            changes.push(Change::Renamed { ifindex, name, new_name });
        }
        if old.mtu != link.mtu {
            changes.push(Change::Mtu { ifindex, mtu: link.mtu });
        }
        if old.mac != link.mac {
            changes.push(Change::Address { ifindex, mac: link.mac });
        }
        if old.is_up() != link.is_up() {
            changes.push(Change::Link { ifindex, is_up: link.is_up() });
        }
        *old = link;
    }
}

impl AsFd for Space {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> Space {
        let mut space = Space::open(&Netns::current().unwrap()).unwrap();
        space.known.clear();
        space
    }

    fn device(index: u32, name: &str) -> Link {
        Link { index, name: name.into(), mtu: 1500, ..Link::default() }
    }

    #[test]
    fn a_new_look_finds_what_was_missed() {
        let (mut space, mut changes) = (space(), Vec::new());
        space.compare(vec![device(1, "a"), device(2, "b"), device(3, "c")], &mut changes);
        assert_eq!(changes.len(), 3);
        changes.clear();
        // "a" was deleted and made again, "b" renamed, "c" changed in every way.
        let changed = Link { mtu: 9000, mac: [2; 6], flags: 1 | 1 << 6, ..device(3, "c") };
        space.compare(vec![device(2, "x"), changed, device(4, "a")], &mut changes);
        assert_eq!(
            changes,
            [
                Change::Gone { ifindex: 1, name: "a".into() },
                Change::Renamed { ifindex: 2, name: "b".into(), new_name: "x".into() },
                Change::Mtu { ifindex: 3, mtu: 9000 },
                Change::Address { ifindex: 3, mac: [2; 6] },
                Change::Link { ifindex: 3, is_up: true },
                Change::Appeared(device(4, "a")),
            ]
        );
        changes.clear();
        space.compare(space.links(), &mut changes);
        assert_eq!(changes, [], "nothing is told twice");
    }
}
