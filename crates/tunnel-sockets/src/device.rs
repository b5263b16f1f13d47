// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device that stands for a tunnel port on the host: a TAP of the port's name, up, that takes nothing and gives nothing.
//!
//! The kernel module's tunnel ports are devices; programs look them up by name, read their index, and delete them to get rid
//! of the port. Traffic goes through sockets.

use std::ffi::{CStr, c_int};
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Mutex;

use portway_netwatch::Links;
use portway_vport::abi::{PortInfo, info_flags};
use portway_vport::ops::Errno;

use crate::common::lock;
use crate::socket::{Family, NOTHING, Socket, last_errno};

/// Alias of every tunnel port's device.
const ALIAS: &str = "portway tunnel port";
/// The largest MTU of a TAP.
const MTU_MAX: c_int = 65_521;

/// The device.
#[derive(Debug)]
pub(crate) struct Device {
    file: OwnedFd,
    control: Socket,
    /// What it was when it was seen last.
    last: Mutex<PortInfo>,
}

fn empty_request() -> libc::ifreq {
    // SAFETY: ifreq is plain data.
    unsafe { mem::zeroed() }
}

fn ioctl(fd: &impl AsRawFd, number: libc::Ioctl, request: &mut libc::ifreq) -> Result<(), Errno> {
    // SAFETY: every request used here reads and writes one ifreq, which lives through the call.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), number, std::ptr::from_mut(request)) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

impl Device {
    /// Makes it in the calling thread's namespace, with this MTU or the most that a TAP can have. EEXIST: a device has that name.
    pub(crate) fn create(name: &CStr, mtu: u32) -> Result<Self, Errno> {
        // SAFETY: a NUL-terminated path.
        let fd = unsafe {
            libc::open(c"/dev/net/tun".as_ptr(), libc::O_RDWR | libc::O_NONBLOCK | libc::O_CLOEXEC)
        };
        if fd < 0 {
            return Err(last_errno());
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        let file = unsafe { OwnedFd::from_raw_fd(fd) };
        let mut request = empty_request();
        for (to, from) in request.ifr_name[..libc::IFNAMSIZ - 1].iter_mut().zip(name.to_bytes()) {
            *to = *from as _;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_TUN_EXCL) as i16;
        ioctl(&file, libc::TUNSETIFF as libc::Ioctl, &mut request).map_err(|errno| match errno {
            // IFF_TUN_EXCL's way to say that the name is taken.
            Errno(libc::EBUSY) => Errno(libc::EEXIST),
            errno => errno,
        })?;
        let device = Self { file, control: Socket::udp(Family::V4)?, last: Mutex::default() };
        device.discard()?;
        device.set_up(mtu.min(MTU_MAX as u32) as c_int)?;
        *lock(&device.last) = device.seen().ok_or(Errno(libc::ENODEV))?;
        Ok(device)
    }

    /// What the host sends to the device is lost, and takes no memory.
    fn discard(&self) -> Result<(), Errno> {
        let program = libc::sock_fprog { len: NOTHING.len() as u16, filter: NOTHING.as_ptr().cast_mut() };
        // SAFETY: the program is read during the call.
        let result = unsafe {
            libc::ioctl(self.file.as_raw_fd(), libc::TUNATTACHFILTER as libc::Ioctl, &raw const program)
        };
        if result < 0 { Err(last_errno()) } else { Ok(()) }
    }

    fn set_up(&self, mtu: c_int) -> Result<(), Errno> {
        let mut request = self.named()?;
        request.ifr_ifru.ifru_mtu = mtu;
        ioctl(&self.control, libc::SIOCSIFMTU, &mut request)?;
        let mut links = Links::open().map_err(|error| Errno(error.errno()))?;
        let index = self.seen().map_or(0, |info| info.ifindex);
        links.set_alias(index, ALIAS).map_err(|error| Errno(error.errno()))?;
        let mut request = self.named()?;
        ioctl(&self.control, libc::SIOCGIFFLAGS, &mut request)?;
        // SAFETY: the kernel has filled this member of the union.
        request.ifr_ifru.ifru_flags = unsafe { request.ifr_ifru.ifru_flags } | libc::IFF_UP as i16;
        ioctl(&self.control, libc::SIOCSIFFLAGS, &mut request)
    }

    /// A request that names the device as it is called now.
    fn named(&self) -> Result<libc::ifreq, Errno> {
        let mut request = empty_request();
        ioctl(&self.file, libc::TUNGETIFF as libc::Ioctl, &mut request)?;
        request.ifr_ifru = empty_request().ifr_ifru;
        Ok(request)
    }

    /// As `PortType::info` of a tunnel port, which has one receive queue and no MTU of its own. One whose device has gone, or to another
    /// namespace, is what it was, but down.
    pub(crate) fn info(&self) -> PortInfo {
        let mut last = lock(&self.last);
        match self.seen() {
            Some(info) => *last = info,
            None => last.link_up = 0,
        }
        PortInfo { flags: info_flags::NO_MTU, rx_queues: 1, ..*last }
    }

    /// Index, MTU, address and state; `None`: it has gone, or to another namespace.
    fn seen(&self) -> Option<PortInfo> {
        let mut request = self.named().ok()?;
        ioctl(&self.control, libc::SIOCGIFHWADDR, &mut request).ok()?;
        // SAFETY: the kernel has filled this member of the union.
        let address = unsafe { request.ifr_ifru.ifru_hwaddr };
        let mac = std::array::from_fn(|index| address.sa_data[index] as u8);
        ioctl(&self.control, libc::SIOCGIFINDEX, &mut request).ok()?;
        // SAFETY: as above.
        let ifindex = unsafe { request.ifr_ifru.ifru_ifindex } as u32;
        ioctl(&self.control, libc::SIOCGIFMTU, &mut request).ok()?;
        // SAFETY: as above.
        let mtu = unsafe { request.ifr_ifru.ifru_mtu } as u32;
        ioctl(&self.control, libc::SIOCGIFFLAGS, &mut request).ok()?;
        // SAFETY: as above.
        let flags = c_int::from(unsafe { request.ifr_ifru.ifru_flags });
        Some(PortInfo {
            ifindex,
            mtu,
            mac,
            link_up: u8::from(flags & libc::IFF_UP != 0),
            ..PortInfo::default()
        })
    }
}
