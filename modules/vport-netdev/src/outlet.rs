// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A port's outlet: a socket through which another process sends frames out of the device, and a page of memory in which it counts
//! them.
//!
//! The socket is one that this process has, too. To unbind it takes it away from all who have it, at once: sending fails with ENXIO.

use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use portway_netwatch::Netns;
use portway_vport::abi::OutletCounters;
use portway_vport::ops::Errno;

use crate::socket::PacketSocket;

/// Bytes of the counters' file: a page, of which the first 16 are in use.
const PAGE: usize = 4096;

/// An outlet that is open.
struct Outlet {
    socket: PacketSocket,
    page: Page,
}

impl Drop for Outlet {
    fn drop(&mut self) {
        // It fails for a device that has gone, through which nothing is sent anyway.
        let _ = self.socket.bind_to_send(0);
    }
}

/// The outlets of a port: one at a time.
#[derive(Default)]
pub(crate) struct Outlets {
    open: Option<Outlet>,
    /// What was sent through those that are closed.
    before: OutletCounters,
    /// The most that was ever told: others may make the numbers smaller.
    told: OutletCounters,
}

impl Outlets {
    /// The outlet, made if need be, in the namespace of the device.
    pub(crate) fn open(
        &mut self,
        namespace: Option<&Netns>,
        ifindex: u32,
    ) -> Result<(OwnedFd, OwnedFd), Errno> {
        let outlet = match self.open.take() {
            Some(outlet) => outlet,
            None => {
                let socket = || PacketSocket::for_sending(ifindex);
                let socket = match namespace {
                    None => socket()?,
                    Some(namespace) => namespace.run(socket).map_err(|error| Errno(error.errno()))??,
                };
                Outlet { socket, page: Page::new()? }
            }
        };
        let outlet = self.open.insert(outlet);
        let counters = outlet.page.file.try_clone();
        let counters = counters.map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EIO)))?;
        Ok((outlet.socket.try_clone()?, counters))
    }

    /// Makes what was given out useless.
    pub(crate) fn close(&mut self) {
        if let Some(outlet) = self.open.take() {
            // Unbound first: what was sent until then may be counted yet.
            let _ = outlet.socket.bind_to_send(0);
            self.before = sum(self.before, outlet.page.read());
        }
    }

    /// What has been sent.
    pub(crate) fn sent(&mut self) -> OutletCounters {
        let now = self.open.as_ref().map_or(self.before, |outlet| sum(self.before, outlet.page.read()));
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
