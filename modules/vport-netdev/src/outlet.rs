// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A port's outlet: a socket through which another process sends frames out of the device, and a page of memory in which it counts
//! them.
//!
//! The socket is one that this process has, too. To unbind it takes the device away from all who have it, at once: sending fails with
//! ENXIO. That is an agreement between the two: who has a packet socket may bind it anew, to send through other devices of its
//! namespace, as whoever administers that may by other ways.

use std::collections::VecDeque;
use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use portway_netwatch::Netns;
use portway_vport::abi::{OutletCounters, log_level};
use portway_vport::host;
use portway_vport::ops::Errno;

use crate::attach::Attached;
use crate::socket::PacketSocket;

/// Bytes of the counters' file: a page, of which the first 16 are in use.
const PAGE: usize = 4096;

/// So many closed outlets are still looked at.
const CLOSED_KEPT: usize = 4;

/// An outlet that is open.
struct Outlet {
    socket: Lent,
    page: Page,
}

/// A socket that others have, too, until this is dropped.
struct Lent(PacketSocket);

impl Lent {
    /// Takes the device from the socket, for all who have it. A frame that is being sent at this moment may still leave.
    fn end(&self) {
        if let Err(errno) = self.0.bind_to_send(0) {
            let line = format!("an outlet cannot be taken back (error {})", errno.0);
            host::log(log_level::ERROR, &line);
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.end();
    }
}

/// The outlets of a port: one at a time.
#[derive(Default)]
pub(crate) struct Outlets {
    open: Option<Outlet>,
    /// The last ones that were closed: what they sent until then may be counted a moment later.
    closed: VecDeque<Outlet>,
    /// What was sent through those before.
    before: OutletCounters,
    /// The most that was ever told: others may make the numbers smaller.
    told: OutletCounters,
}

impl Outlets {
    /// The outlet of a device, made if need be.
    pub(crate) fn open(&mut self, device: &Attached) -> Result<(OwnedFd, OwnedFd), Errno> {
        let outlet = match self.open.take() {
            Some(outlet) => outlet,
            None => {
                let namespace = Netns::of_socket(&device.socket).map_err(|error| Errno(error.errno()))?;
                let socket = namespace.run(|| PacketSocket::for_sending(device.ifindex));
                let socket = Lent(socket.map_err(|error| Errno(error.errno()))??);
                Outlet { socket, page: Page::new()? }
            }
        };
        let outlet = self.open.insert(outlet);
        let counters = outlet.page.file.try_clone();
        let counters = counters.map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EIO)))?;
        Ok((outlet.socket.0.try_clone()?, counters))
    }

    /// Makes what was given out useless.
    pub(crate) fn close(&mut self) {
        let Some(outlet) = self.open.take() else { return };
        // To close a packet socket takes the kernel milliseconds: not here, where others wait for a lock.
        outlet.socket.end();
        self.closed.push_back(outlet);
        if self.closed.len() > CLOSED_KEPT
            && let Some(oldest) = self.closed.pop_front()
        {
            self.before = sum(self.before, oldest.page.read());
        }
    }

    /// What has been sent.
    pub(crate) fn sent(&mut self) -> OutletCounters {
        let pages = self.closed.iter().chain(&self.open).map(|outlet| outlet.page.read());
        let now = pages.fold(self.before, sum);
        self.told.packets = self.told.packets.max(now.packets);
        self.told.bytes = self.told.bytes.max(now.bytes);
        self.told
    }
}

fn sum(one: OutletCounters, other: OutletCounters) -> OutletCounters {
    OutletCounters {
        packets: one.packets.wrapping_add(other.packets),
        bytes: one.bytes.wrapping_add(other.bytes),
    }
}

/// Memory that other processes have, too, of a size that nobody can change.
struct Page {
    file: OwnedFd,
    place: NonNull<[AtomicU64; 2]>,
}

// SAFETY: the mapping lives as long as this value and is only used by atomic operations.
unsafe impl Send for Page {}

impl Page {
    fn new() -> Result<Self, Errno> {
        // SAFETY: a NUL-terminated name; the result is checked before it is owned.
        let fd = unsafe {
            libc::memfd_create(c"portway outlet".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING)
        };
        let fd = checked(fd)?;
        // SAFETY: a fresh descriptor that nobody else owns.
        let file = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: no pointers in these two.
        checked(unsafe { libc::ftruncate(file.as_raw_fd(), PAGE as libc::off_t) })?;
        let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
        // SAFETY: as above.
        checked(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) })?;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the address is the kernel's choice, so no memory that is in use changes.
        let place =
            unsafe { libc::mmap(std::ptr::null_mut(), PAGE, access, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if place == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let place = NonNull::new(place.cast()).ok_or(Errno(libc::ENOMEM))?;
        Ok(Self { file, place })
    }

    fn read(&self) -> OutletCounters {
        // SAFETY: a mapping of a whole page, page-aligned, that lives as long as `self`, of a file that is sealed against shrinking. Other
        // processes write to it whenever they like, which for atomics is no more than another value.
        let [packets, bytes] = unsafe { self.place.as_ref() };
        OutletCounters { packets: packets.load(Ordering::Relaxed), bytes: bytes.load(Ordering::Relaxed) }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made, not used after this.
        unsafe { libc::munmap(self.place.as_ptr().cast::<c_void>(), PAGE) };
    }
}

fn checked(result: c_int) -> Result<c_int, Errno> {
    if result < 0 { Err(Errno::last()) } else { Ok(result) }
}
