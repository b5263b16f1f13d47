// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Outlets: packet sockets that portwayd has handed over, through which frames are sent out of its ports.
//!
//! portwayd makes an outlet useless when its port goes or is captured: sending fails then, and the frame is portwayd's again. A
//! connection that has ended takes its outlets with it.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};

use crate::connection::{self, Failure};
use crate::execute::Execute;
use crate::table::Hidden;

/// Ports that a connection knows at most. Packets for others go to portwayd.
const OUTLETS_MAX: usize = 256;
/// After so many of those all ports are forgotten: some will have gone.
const STRANGERS_MAX: u32 = 65_536;
/// So many packets for a port without an outlet go to portwayd before it is asked for one again.
const PATIENCE: u32 = 4096;
/// Bytes of the counters' page in use: packets and bytes.
const COUNTERS: usize = 16;

/// A port's outlet.
#[derive(Debug)]
struct Outlet {
    socket: Hidden,
    counters: Counters,
}

/// What is known of a port.
#[derive(Debug)]
enum Way {
    Open(Outlet),
    /// It has none; so many packets may come before that is asked again.
    Closed(u32),
}

/// The outlets of a connection, by `dp_ifindex` and port number.
#[derive(Debug, Default)]
pub(crate) struct Outlets {
    ways: BTreeMap<(u32, u32), Way>,
    /// Packets for ports for which there was no room.
    strangers: u32,
}

impl Outlets {
    /// Makes sure that there is an outlet for each of the packets; `false`: there is not. portwayd is asked for those that are missing.
    ///
    /// # Errors
    /// portwayd is not there any more.
    pub(crate) fn have_all(
        &mut self,
        control: BorrowedFd<'_>,
        executes: &[Execute<'_>],
    ) -> Result<bool, Failure> {
        for execute in executes {
            let is_full = self.ways.len() >= OUTLETS_MAX;
            let port = (execute.dp_ifindex, execute.port_no);
            match self.ways.get_mut(&port) {
                // The program may have closed it.
                Some(Way::Open(outlet)) if outlet.socket.is_ours() => continue,
                Some(Way::Open(_) | Way::Closed(0)) => {}
                Some(Way::Closed(left)) => {
                    *left -= 1;
                    return Ok(false);
                }
                None if is_full => {
                    self.strangers += 1;
                    if self.strangers >= STRANGERS_MAX {
                        *self = Self::default();
                    }
                    return Ok(false);
                }
                None => {}
            }
            let way = open(control, port)?;
            let is_open = matches!(way, Way::Open(_));
            self.ways.insert(port, way);
            if !is_open {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sends the packets, those of each port in their order. Returns those that could not be sent.
    pub(crate) fn send<'a>(&mut self, executes: &[Execute<'a>]) -> Vec<Execute<'a>> {
        let mut unsent = Vec::new();
        let mut left: Vec<Execute<'a>> = executes.to_vec();
        while let Some(first) = left.first() {
            let port = (first.dp_ifindex, first.port_no);
            let (of_port, others) =
                left.into_iter().partition(|execute| (execute.dp_ifindex, execute.port_no) == port);
            left = others;
            self.send_to(port, of_port, &mut unsent);
        }
        unsent
    }

    fn send_to<'a>(&mut self, port: (u32, u32), executes: Vec<Execute<'a>>, unsent: &mut Vec<Execute<'a>>) {
        let Some(Way::Open(outlet)) = self.ways.get(&port) else { return unsent.extend(executes) };
        let frames: Vec<[IoSlice<'_>; 1]> =
            executes.iter().map(|execute| [IoSlice::new(execute.frame)]).collect();
        let mut controls: Vec<_> = frames.iter().map(|_| SendAncillaryBuffer::default()).collect();
        let mut messages: Vec<_> =
            frames.iter().zip(&mut controls).map(|(frame, control)| MMsgHdr::new(frame, control)).collect();
        let (mut at, mut is_closed) = (0, false);
        while at < messages.len() && !is_closed {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match sendmmsg(outlet.socket.as_fd(), &mut messages[at..], flags) {
                Ok(sent) if sent > 0 => {
                    outlet.counters.add(&executes[at..at + sent]);
                    at += sent;
                }
                Err(Errno::INTR) => {}
                // There is no room: the others would overtake it.
                Err(Errno::AGAIN | Errno::NOBUFS) => break,
                // portwayd counts those that are too long.
                Err(Errno::MSGSIZE) => {
                    unsent.push(executes[at]);
                    at += 1;
                }
                Ok(_) | Err(_) => is_closed = true,
            }
        }
        unsent.extend(&executes[at..]);
        if is_closed {
            self.ways.remove(&port);
        }
    }
}

/// Asks for a port's outlet.
fn open(control: BorrowedFd<'_>, (dp_ifindex, port_no): (u32, u32)) -> Result<Way, Failure> {
    let (socket, counters) = match connection::outlet(control, dp_ifindex, port_no) {
        Ok(fds) => fds,
        Err(Failure::Refused(_)) => return Ok(Way::Closed(PATIENCE)),
        Err(gone) => return Err(gone),
    };
    let opened = Counters::new(&counters).and_then(|counters| {
        let socket = Hidden::new(socket)?;
        Ok(Way::Open(Outlet { socket, counters }))
    });
    Ok(opened.unwrap_or(Way::Closed(PATIENCE)))
}

/// Where what was sent is counted: memory that portwayd sees, too.
#[derive(Debug)]
struct Counters(NonNull<AtomicU64>);

// SAFETY: the memory is a mapping that lives as long as this value, and is only used by atomic operations.
unsafe impl Send for Counters {}

impl Counters {
    fn new(file: &OwnedFd) -> Result<Self, Errno> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the address is the kernel's choice, so no memory that is in use changes.
        let place = unsafe { mmap(std::ptr::null_mut(), COUNTERS, access, MapFlags::SHARED, file, 0) }?;
        Ok(Self(NonNull::new(place.cast()).ok_or(Errno::INVAL)?))
    }

    fn add(&self, sent: &[Execute<'_>]) {
        let bytes: usize = sent.iter().map(|execute| execute.frame.len()).sum();
        // SAFETY: a mapping of a whole page, page-aligned, that is unmapped only when this value is dropped; portwayd has sealed the
        // file's size, so all of it is there. Both sides use atomic operations only.
        let [packets, octets] = unsafe { self.0.cast::<[AtomicU64; 2]>().as_ref() };
        packets.fetch_add(sent.len() as u64, Ordering::Relaxed);
        octets.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made, not used after this.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), COUNTERS) };
    }
}
