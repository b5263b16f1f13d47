// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The TAP behind a port: made, described and addressed by ioctl.

use std::ffi::{CStr, c_int};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use portway_netwatch::{Links, Netns, NetnsId};
use portway_tap::{State, TapFile};
use portway_vport::ops::Errno;

/// Alias of every internal port's TAP: `vport-netdev` refuses such a device, as the kernel module refuses its own.
const ALIAS: &str = "portway internal port";

/// SIOCGSKNS' sibling for TAPs: the namespace that the device is in now (linux/if_tun.h).
const TUNGETDEVNETNS: libc::Ioctl = 0x54e3;
/// Sets the program that says how much of each frame is queued; TUNSETSTEERINGEBPF's sibling (linux/if_tun.h).
const TUNSETFILTEREBPF: libc::Ioctl = 0x8004_54e1_u32 as libc::Ioctl;
/// UDP segmentation, since Linux 6.2 (linux/if_tun.h).
const TUN_F_USO: u32 = 0x20 | 0x40;

/// What may change about the device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Device {
    pub(crate) ifindex: u32,
    pub(crate) mtu: u32,
    pub(crate) mac: [u8; 6],
    /// Up and with a carrier.
    pub(crate) is_up: bool,
}

/// A TAP. Dropping it deletes the device; the end of the process does so, too, unless the device is to outlive it.
#[derive(Debug)]
pub(crate) struct Tap {
    file: TapFile,
    /// Whether the device was found deleted from outside.
    gone: AtomicBool,
    /// Whether the device was up when that was last looked at.
    up: AtomicBool,
    /// For questions in the namespace where the device was made.
    home: Control,
    /// Held while something is asked: names are looked up and used in two steps.
    asking: Mutex<()>,
}

/// A socket for questions in one namespace. It keeps that namespace alive.
#[derive(Debug)]
struct Control {
    socket: OwnedFd,
    namespace: NetnsId,
}

impl Tap {
    /// Makes a TAP in the calling thread's namespace, with offloads on; it is down. `mac` of zeros: the kernel chooses
    /// one. EEXIST: a device has that name. One that outlived the process that made it is taken over as it is.
    pub(crate) fn create(name: &CStr, mac: [u8; 6], queues: usize) -> Result<Self, Errno> {
        // With IFF_MULTI_QUEUE more queues can be attached to the same device later.
        let flags = libc::IFF_VNET_HDR | if queues > 1 { libc::IFF_MULTI_QUEUE } else { 0 };
        let (file, is_new) = match TapFile::create(name, flags) {
            Err(Errno::EEXIST) if is_orphan(name) => (take_over(name, flags)?, false),
            made => (made?, true),
        };
        let (gone, up) = (AtomicBool::new(false), AtomicBool::new(false));
        let tap = Self { home: Control::open()?, file, gone, up, asking: Mutex::default() };
        tap.offer_offloads()?;
        if is_new {
            tap.set_up(mac)?;
        }
        Ok(tap)
    }

    /// What a new device is given: address and alias.
    fn set_up(&self, mac: [u8; 6]) -> Result<(), Errno> {
        if mac != [0; 6] {
            self.file.set_mac(mac)?;
        }
        let index = self.file.index(&self.home.socket)?;
        let mut links = Links::open().map_err(|error| Errno(error.errno()))?;
        links.set_alias(index, ALIAS).map_err(|error| Errno(error.errno()))
    }

    /// Whether the device outlives the process, with its index, addresses and routes, until it is dropped.
    pub(crate) fn set_lasting(&self, lasting: bool) -> Result<(), Errno> {
        self.file.set_lasting(lasting)
    }

    /// What the device is now, in whatever namespace; `None`: it has gone.
    pub(crate) fn device(&self) -> Option<Device> {
        // A panic leaves nothing half-made: the lock only keeps questions apart.
        let _asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let away = self.away()?;
        let control = away.as_ref().unwrap_or(&self.home);
        let State { ifindex, mtu, mac, flags } = self.file.state(&control.socket).ok()?;
        self.up.store(flags & libc::IFF_UP != 0, Ordering::Relaxed);
        let wanted = libc::IFF_UP | libc::IFF_RUNNING;
        Some(Device { ifindex, mtu, mac, is_up: flags & wanted == wanted })
    }

    /// Puts a program on the device that sees each frame before it is queued; `None`: takes it away.
    pub(crate) fn set_filter(&self, program: Option<&OwnedFd>) -> Result<(), Errno> {
        let fd = program.map_or(-1, AsRawFd::as_raw_fd);
        // SAFETY: the argument is a number that lives through the call.
        let result = unsafe { libc::ioctl(self.file.as_raw_fd(), TUNSETFILTEREBPF, &raw const fd) };
        if result < 0 { Err(Errno::last()) } else { Ok(()) }
    }

    /// Where the device is: its index, and the namespace in which it has that. `None`: it has gone.
    pub(crate) fn place(&self) -> Option<(u32, NetnsId)> {
        let namespace = self.namespace()?.id();
        let ifindex = self.device()?.ifindex;
        (self.namespace()?.id() == namespace).then_some((ifindex, namespace))
    }

    /// Runs `job` in the namespace where the device is.
    pub(crate) fn inside<T: Send>(&self, job: impl FnOnce() -> T + Send) -> Result<T, Errno> {
        let namespace = self.namespace().ok_or(Errno(libc::ENODEV))?;
        namespace.run(job).map_err(|error| Errno(error.errno()))
    }

    /// Whether the device takes frames. One that was down is looked at again: the news that it is up may be on its way.
    #[inline]
    pub(crate) fn takes_frames(&self) -> bool {
        self.up.load(Ordering::Relaxed) || self.is_up_after_all()
    }

    #[cold]
    fn is_up_after_all(&self) -> bool {
        !self.is_gone() && self.device().is_some() && self.up.load(Ordering::Relaxed)
    }

    /// Notes that the device does not take frames any more.
    pub(crate) fn set_down(&self) {
        self.up.store(false, Ordering::Relaxed);
    }

    /// Whether the device was deleted from outside.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Notes that the device was deleted from outside. Its descriptor would poll ready for ever and keep a worker awake, so it
    /// is replaced by one that can do nothing; the kernel takes it out of every epoll set.
    #[cold]
    pub(crate) fn set_gone(&self) {
        if self.gone.swap(true, Ordering::Relaxed) {
            return;
        }
        // SAFETY: a NUL-terminated path; the new descriptor is closed below; dup3 keeps our own number open.
        unsafe {
            let inert = libc::open(c"/".as_ptr(), libc::O_PATH | libc::O_CLOEXEC);
            if inert >= 0 {
                libc::dup3(inert, self.file.as_raw_fd(), libc::O_CLOEXEC);
                libc::close(inert);
            }
        }
    }

    /// A way to ask in the namespace where the device is, if it has left the one where it was made. Not kept: it would keep that namespace
    /// alive. The outer `None`: there is no device any more.
    fn away(&self) -> Option<Option<Control>> {
        let namespace = self.namespace()?;
        if namespace.id() == self.home.namespace {
            return Some(None);
        }
        Some(Some(namespace.run(Control::open).ok()?.ok()?))
    }

    /// The namespace where the device is; `None`: there is no device any more.
    fn namespace(&self) -> Option<Netns> {
        // SAFETY: no argument; a successful result is a fresh descriptor.
        let fd = unsafe { libc::ioctl(self.file.as_raw_fd(), TUNGETDEVNETNS) };
        if fd < 0 {
            return None;
        }
        // SAFETY: as above: nobody else owns it.
        Netns::from_owned(unsafe { OwnedFd::from_raw_fd(fd) }).ok()
    }

    /// Lets the host's stack leave checksums and segmentation of TCP and UDP to whoever needs them done. IP fragmentation
    /// of UDP (UFO) stays off: no modern receiver takes it.
    fn offer_offloads(&self) -> Result<(), Errno> {
        let basic = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
        let set = |offloads: libc::c_uint| {
            // SAFETY: the argument is a number.
            let result = unsafe {
                libc::ioctl(self.file.as_raw_fd(), libc::TUNSETOFFLOAD as libc::Ioctl, offloads as usize)
            };
            if result < 0 { Err(Errno::last()) } else { Ok(()) }
        };
        set(basic | TUN_F_USO).or_else(|_| set(basic))
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        // A device that has gone already cannot be told.
        let _ = self.set_lasting(false);
    }
}

impl AsRawFd for Tap {
    fn as_raw_fd(&self) -> c_int {
        self.file.as_raw_fd()
    }
}

impl Control {
    fn open() -> Result<Self, Errno> {
        // SAFETY: no pointers; the result is checked before it is owned.
        let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(Errno::last());
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let namespace = Netns::current_id().map_err(|error| Errno(error.errno()))?;
        Ok(Self { socket, namespace })
    }
}

/// Whether a device of that name is one of ours that nobody has open any more.
fn is_orphan(name: &CStr) -> bool {
    let link = name.to_str().ok().and_then(|name| Links::open().ok()?.by_name(name).ok());
    link.is_some_and(|link| link.alias == ALIAS && link.kind == "tun" && !link.carrier)
}

/// Opens an orphan. EEXIST: somebody else has been faster.
fn take_over(name: &CStr, flags: c_int) -> Result<TapFile, Errno> {
    TapFile::open(name, flags).map_err(|errno| if errno == Errno::EBUSY { Errno::EEXIST } else { errno })
}
