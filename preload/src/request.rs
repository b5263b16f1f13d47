// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sending: a request is complete when this returns.

use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::sync::atomic::Ordering;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::address::Address;
use crate::connection::{self, Failure};
use crate::socket::{Link, Ours};
use crate::{kernel, loss, message, watch};

impl Ours<'_> {
    /// Sends a datagram on the program's `fd` and waits until it has been carried out. Returns its length.
    ///
    /// # Errors
    /// ECONNREFUSED: to a port id other than the kernel's. EPERM: to multicast groups. ENODATA: there is nothing in it.
    /// EMSGSIZE and what else a socket says.
    pub(crate) fn send(self, fd: RawFd, datagram: &[u8], to: Option<Address>) -> Result<usize, Errno> {
        let to = to.unwrap_or(Address { port_id: self.netlink.peer.load(Ordering::Acquire), groups: 0 });
        if to.groups != 0 {
            return Err(Errno::PERM);
        }
        if to.port_id != 0 {
            return Err(Errno::CONNREFUSED);
        }
        if datagram.is_empty() {
            return Err(Errno::NODATA);
        }
        self.netlink.is_bound.store(true, Ordering::Release);
        self.netlink.has_asked.store(true, Ordering::Relaxed);
        let mut link = self.netlink.link.lock();
        let mut was_offline = !link.is_online;
        let mut result = self.attempt(&mut link, fd, datagram);
        if !was_offline && matches!(result, Err(Failure::Gone(_))) {
            // It has been restarted, or it has ended: nothing of the request is left behind in either case.
            self.go_offline(&mut link)?;
            was_offline = true;
            result = self.attempt(&mut link, fd, datagram);
        }
        let is_new = was_offline && link.is_online;
        let is_answered = result.is_ok();
        let result = match result {
            Ok(()) => self.leave_to_kernel(&mut link, fd, datagram),
            Err(Failure::Gone(_)) => {
                self.go_offline(&mut link)?;
                match self.is_for_kernel(&link, datagram) {
                    true => kernel::take_over(self, &link.settings, fd, datagram),
                    false => self.refuse(&link, datagram),
                }
            }
            Err(Failure::Refused(errno)) => Err(errno),
        };
        drop(link);
        if is_answered {
            loss::note_answer();
        }
        if is_new {
            watch::connect_all();
        }
        result.map(|()| datagram.len())
    }

    fn attempt(self, link: &mut Link, fd: RawFd, datagram: &[u8]) -> Result<(), Failure> {
        self.go_online(link, connection::open_patiently)?;
        if message::is_batch(datagram) {
            self.take_bundles(link);
        }
        // SAFETY: the program sends on it, so it is open; should it be closed meanwhile, the send fails.
        let data = unsafe { BorrowedFd::borrow_raw(fd) };
        let dumps = message::dumps_started(datagram);
        // Before the first part can be received.
        self.netlink.dumps.fetch_add(dumps, Ordering::AcqRel);
        let result = connection::request(data, link.control.as_fd(), datagram);
        match result {
            Ok(false) => {}
            // Perhaps the refusal of a dump.
            Ok(true) => self.note_loss(),
            Err(_) => self.netlink.dumps.store(0, Ordering::Release),
        }
        result.map(drop)
    }

    /// Answers as a kernel without the module.
    fn refuse(self, link: &Link, datagram: &[u8]) -> Result<(), Errno> {
        loss::note_refusal();
        for refusal in message::refusals(datagram, self.netlink.port_id.load(Ordering::Acquire)) {
            send(&link.control, &refusal, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
                .map_err(|_| Errno::NOBUFS)?;
        }
        Ok(())
    }

    /// Whether a family is asked for that only the kernel may have, by a socket that can become its.
    fn is_for_kernel(self, link: &Link, datagram: &[u8]) -> bool {
        let foreign = message::family_asked(datagram).is_some_and(|name| !name.starts_with(b"ovs_"));
        foreign && link.settings.groups.is_empty() && self.is_in_current_namespace()
    }

    /// If portwayd did not know the family that was asked for and it is no `ovs_*`, the kernel is asked, and the socket becomes its.
    fn leave_to_kernel(self, link: &mut Link, fd: RawFd, datagram: &[u8]) -> Result<(), Errno> {
        if !self.is_for_kernel(link, datagram) {
            return Ok(());
        }
        // SAFETY: the program sends on it, so it is open; should it be closed meanwhile, the receive fails.
        let data = unsafe { BorrowedFd::borrow_raw(fd) };
        let mut reply = [0; 64];
        let peek = RecvFlags::PEEK | RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        let is_unknown = recv(data, &mut reply, peek).is_ok_and(|(len, whole)| {
            whole <= reply.len() && message::errno(&reply[..len]) == Some(libc::ENOENT as u32)
        });
        if !is_unknown {
            return Ok(());
        }
        kernel::take_over(self, &link.settings, fd, datagram)
    }
}
