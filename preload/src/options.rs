// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Socket options and addresses, as a netlink socket has them.

use std::ffi::c_int;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use portway_netlink_socket::Command;
use rustix::io::Errno;

use crate::address::Address;
use crate::connection::{self, Failure};
use crate::socket::{Link, Ours};

/// Options that are on or off.
const SWITCHES: [c_int; 7] = [
    libc::NETLINK_PKTINFO,
    libc::NETLINK_BROADCAST_ERROR,
    libc::NETLINK_NO_ENOBUFS,
    libc::NETLINK_LISTEN_ALL_NSID,
    libc::NETLINK_CAP_ACK,
    libc::NETLINK_EXT_ACK,
    libc::NETLINK_GET_STRICT_CHK,
];

impl Ours<'_> {
    /// `connect`, which for netlink names where requests go to.
    pub(crate) fn connect(self, to: Address) {
        self.netlink.peer.store(to.port_id, Ordering::Release);
        self.netlink.is_bound.store(true, Ordering::Release);
    }

    /// `bind`: takes a port id (0: the one it has), and memberships of the groups 1 to 32.
    ///
    /// # Errors
    /// EINVAL: it has another already. EADDRINUSE.
    pub(crate) fn bind(self, to: Address) -> Result<(), Errno> {
        let netlink = self.netlink;
        let mut link = netlink.link.lock();
        let own = netlink.port_id.load(Ordering::Acquire);
        if netlink.is_bound.load(Ordering::Acquire) && to.port_id != 0 && to.port_id != own {
            return Err(Errno::INVAL);
        }
        if to.port_id != 0 && to.port_id != own {
            self.command(&mut link, Command::Bind(to.port_id))?;
            netlink.port_id.store(to.port_id, Ordering::Release);
        }
        netlink.is_bound.store(true, Ordering::Release);
        // Whoever names itself may look at where messages come from.
        self.tell_groups(&mut link)?;
        for group in (1..=32).filter(|group| to.groups & 1 << (group - 1) != 0) {
            self.join(&mut link, group)?;
        }
        Ok(())
    }

    /// What `getsockname` says: the port id is 0 until it was needed, as a kernel's socket has it.
    pub(crate) fn own_address(self) -> Address {
        if !self.netlink.is_bound.load(Ordering::Acquire) {
            return Address::default();
        }
        let link = self.netlink.link.lock();
        let low = link.settings.groups.iter().filter(|group| (1..=32).contains(*group));
        let groups = low.fold(0, |mask, group| mask | 1 << (group - 1));
        Address { port_id: self.netlink.port_id.load(Ordering::Acquire), groups }
    }

    /// Tells portwayd; one that is not there is told when it is back.
    fn command(self, link: &mut Link, command: Command) -> Result<(), Errno> {
        if !link.is_online {
            return Ok(());
        }
        match connection::command(link.control.as_fd(), command) {
            Ok(_) => Ok(()),
            Err(Failure::Gone(_)) => self.go_offline(link),
            Err(Failure::Refused(errno)) => Err(errno),
        }
    }

    /// Has portwayd say for which groups messages were made.
    fn tell_groups(self, link: &mut Link) -> Result<(), Errno> {
        if !self.netlink.tells_groups.swap(true, Ordering::AcqRel) {
            self.command(link, Command::TellGroups)?;
        }
        Ok(())
    }

    /// The program wants to know where a message comes from: from now on that is known.
    pub(crate) fn is_asked_for_source(self) {
        if !self.netlink.tells_groups.load(Ordering::Relaxed) {
            // A connection that has ended is found out by others.
            let _ = self.tell_groups(&mut self.netlink.link.lock());
        }
    }

    /// Whether a message's group is told beside it.
    pub(crate) fn wants_packet_info(self) -> bool {
        self.netlink.packet_info.load(Ordering::Acquire)
    }

    /// SO_RCVBUF has been set to this.
    pub(crate) fn set_room(self, bytes: u32) -> Result<(), Errno> {
        let mut link = self.netlink.link.lock();
        link.settings.room = Some(bytes);
        self.command(&mut link, Command::Room(bytes))
    }

    fn join(self, link: &mut Link, group: u32) -> Result<(), Errno> {
        self.tell_groups(link)?;
        self.command(link, Command::Join(group))?;
        link.settings.groups.insert(group);
        Ok(())
    }

    /// Sets an option of SOL_NETLINK.
    ///
    /// # Errors
    /// ENOPROTOOPT; what portwayd says to a membership.
    pub(crate) fn set_option(self, option: c_int, value: u32) -> Result<(), Errno> {
        let mut link = self.netlink.link.lock();
        match option {
            libc::NETLINK_ADD_MEMBERSHIP => self.join(&mut link, value),
            libc::NETLINK_DROP_MEMBERSHIP => {
                self.command(&mut link, Command::Leave(value))?;
                link.settings.groups.remove(&value);
                Ok(())
            }
            option if SWITCHES.contains(&option) => {
                let bit = 1 << option;
                let options = link.settings.options & !bit | if value != 0 { bit } else { 0 };
                link.settings.options = options;
                if option == libc::NETLINK_PKTINFO {
                    self.netlink.packet_info.store(value != 0, Ordering::Release);
                    self.tell_groups(&mut link)?;
                }
                if option == libc::NETLINK_CAP_ACK || option == libc::NETLINK_EXT_ACK {
                    let ack = link.settings.ack();
                    self.command(&mut link, ack)?;
                }
                Ok(())
            }
            _ => Err(Errno::NOPROTOOPT),
        }
    }

    /// The value of an option of SOL_NETLINK.
    ///
    /// # Errors
    /// ENOPROTOOPT.
    pub(crate) fn option(self, option: c_int) -> Result<Vec<u32>, Errno> {
        let link = self.netlink.link.lock();
        match option {
            libc::NETLINK_LIST_MEMBERSHIPS => {
                let words = link.settings.groups.last().map_or(0, |last| last.div_ceil(32));
                let mut mask = vec![0; words as usize];
                for group in &link.settings.groups {
                    mask[(group.saturating_sub(1) / 32) as usize] |= 1 << (group.saturating_sub(1) % 32);
                }
                Ok(mask)
            }
            option if SWITCHES.contains(&option) && option != libc::NETLINK_LISTEN_ALL_NSID => {
                Ok(vec![u32::from(link.settings.has(option))])
            }
            _ => Err(Errno::NOPROTOOPT),
        }
    }

    /// The value of an option of SOL_SOCKET on which a netlink socket differs from the Unix socket that it is.
    pub(crate) fn socket_option(self, option: c_int) -> Option<c_int> {
        match option {
            libc::SO_DOMAIN => Some(libc::AF_NETLINK),
            libc::SO_PROTOCOL => Some(libc::NETLINK_GENERIC),
            libc::SO_TYPE => Some(self.netlink.kind),
            _ => None,
        }
    }
}
