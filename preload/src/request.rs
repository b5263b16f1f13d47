// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sending: a request is complete when this returns.

use std::borrow::Cow;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::sync::atomic::Ordering;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::address::Address;
use crate::connection::{self, Failure};
use crate::execute::{self, Execute, Parts};
use crate::outlet::Outlets;
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
        let mut left = Cow::Borrowed(datagram);
        let mut result = self.attempt(&mut link, fd, &mut left);
        if !was_offline && matches!(result, Err(Failure::Gone(_))) {
            // It has been restarted, or it has ended: nothing of what is left of the request is left behind in either case.
            self.go_offline(&mut link)?;
            was_offline = true;
            result = self.attempt(&mut link, fd, &mut left);
        }
        let is_new = was_offline && link.is_online;
        let is_answered = result.is_ok() && !left.is_empty();
        let result = match result {
            Ok(()) => self.leave_to_kernel(&mut link, fd, &left),
            Err(Failure::Gone(_)) => {
                self.go_offline(&mut link)?;
                match self.is_for_kernel(&link, &left) {
                    true => kernel::take_over(self, &link.settings, fd, &left),
                    false => self.refuse(&link, &left),
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

    /// Has a request carried out. What can be done here is, once, and is not in `left` any more.
    fn attempt(self, link: &mut Link, fd: RawFd, left: &mut Cow<'_, [u8]>) -> Result<(), Failure> {
        self.go_online(link, connection::open_patiently)?;
        if message::is_batch(left) {
            self.take_bundles(link);
        }
        let Cow::Borrowed(datagram) = *left else { return self.ask(link, fd, left, || ()) };
        let Some(Parts { executes, rest }) = Parts::of(datagram) else {
            return self.ask(link, fd, datagram, || ());
        };
        let mut outlets = std::mem::take(&mut link.outlets);
        let result = match outlets.have_all(link.control.as_fd(), &executes) {
            Ok(true) => self.share(link, fd, &executes, rest, &mut outlets, left),
            Ok(false) => self.ask(link, fd, datagram, || ()),
            Err(failure) => Err(failure),
        };
        link.outlets = outlets;
        result
    }

    /// Sends the packets here and leaves the rest to portwayd, which is at it at the same time.
    fn share(
        self,
        link: &Link,
        fd: RawFd,
        executes: &[Execute<'_>],
        rest: Vec<u8>,
        outlets: &mut Outlets,
        left: &mut Cow<'_, [u8]>,
    ) -> Result<(), Failure> {
        let mut unsent = None;
        let result = if rest.is_empty() {
            if connection::has_ended(link.control.as_fd()) {
                // Nobody could take the outlets back any more.
                return Err(Failure::Gone(Errno::CONNRESET));
            }
            unsent = Some(outlets.send(executes));
            Ok(())
        } else {
            self.ask(link, fd, &rest, || unsent = Some(outlets.send(executes)))
        };
        // Packets that were sent are not sent again, whatever becomes of the rest.
        let Some(unsent) = unsent else { return result };
        let mut refused = Vec::new();
        unsent.iter().for_each(|execute| execute::append(&mut refused, execute.request));
        let result = match result {
            Ok(()) if !refused.is_empty() => {
                *left = Cow::Owned(refused);
                return self.ask(link, fd, left, || ());
            }
            result => result,
        };
        let mut remaining = rest;
        remaining.extend(refused);
        *left = Cow::Owned(remaining);
        result
    }

    /// Has portwayd carry out a request.
    fn ask(self, link: &Link, fd: RawFd, datagram: &[u8], meanwhile: impl FnOnce()) -> Result<(), Failure> {
        // SAFETY: the program sends on it, so it is open; should it be closed meanwhile, the send fails.
        let data = unsafe { BorrowedFd::borrow_raw(fd) };
        let dumps = message::dumps_started(datagram);
        // Before the first part can be received.
        self.netlink.dumps.fetch_add(dumps, Ordering::AcqRel);
        let result = connection::request(data, link.control.as_fd(), datagram, meanwhile);
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
