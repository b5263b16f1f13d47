// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The file behind a TAP, and the requests that go through it, or through a socket in the namespace where the device is.

use std::ffi::{CStr, c_int};
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use portway_uapi::Errno;

/// An open TAP. Dropping it deletes the device, unless it is to last.
#[derive(Debug)]
pub struct TapFile(OwnedFd);

/// What a device is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Interface index.
    pub ifindex: u32,
    /// MTU in bytes.
    pub mtu: u32,
    /// Address.
    pub mac: [u8; 6],
    /// IFF_* of linux/if.h, the lower 16 bits.
    pub flags: c_int,
}

impl TapFile {
    /// A new TAP in the calling thread's namespace; it is down. `flags`: IFF_* of linux/if_tun.h, besides those of every TAP.
    ///
    /// # Errors
    /// EEXIST: a device has that name. Else what the kernel says.
    pub fn create(name: &CStr, flags: c_int) -> Result<Self, Errno> {
        Self::open(name, flags | libc::IFF_TUN_EXCL).map_err(|errno| match errno {
            // IFF_TUN_EXCL's way to say that the name is taken.
            Errno::EBUSY => Errno::EEXIST,
            errno => errno,
        })
    }

    /// The TAP of that name in the calling thread's namespace, or a new one if there is none. `flags` as for [`TapFile::create`].
    ///
    /// # Errors
    /// EBUSY: it is open already. Else what the kernel says.
    pub fn open(name: &CStr, flags: c_int) -> Result<Self, Errno> {
        // SAFETY: a NUL-terminated path.
        let fd = unsafe {
            libc::open(c"/dev/net/tun".as_ptr(), libc::O_RDWR | libc::O_NONBLOCK | libc::O_CLOEXEC)
        };
        if fd < 0 {
            return Err(Errno::last());
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        let file = unsafe { OwnedFd::from_raw_fd(fd) };
        let mut request = empty_request();
        for (to, from) in request.ifr_name[..libc::IFNAMSIZ - 1].iter_mut().zip(name.to_bytes()) {
            *to = *from as _;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI | flags) as i16;
        ioctl(&file, libc::TUNSETIFF as libc::Ioctl, &mut request)?;
        Ok(Self(file))
    }

    /// Whether the device outlives the file, and the process.
    pub fn set_lasting(&self, lasting: bool) -> Result<(), Errno> {
        let number = libc::TUNSETPERSIST as libc::Ioctl;
        // SAFETY: the argument is a number.
        let result = unsafe { libc::ioctl(self.as_raw_fd(), number, usize::from(lasting)) };
        if result < 0 { Err(Errno::last()) } else { Ok(()) }
    }

    /// Sets the device's address.
    pub fn set_mac(&self, mac: [u8; 6]) -> Result<(), Errno> {
        let mut request = self.named()?;
        // SAFETY: an address is plain data.
        let mut address: libc::sockaddr = unsafe { mem::zeroed() };
        address.sa_family = libc::ARPHRD_ETHER;
        for (to, from) in address.sa_data.iter_mut().zip(mac) {
            *to = from as _;
        }
        request.ifr_ifru.ifru_hwaddr = address;
        ioctl(self, libc::SIOCSIFHWADDR, &mut request)
    }

    /// Sets the device's MTU, in bytes. `control`, here and below: any socket that was made in the device's namespace.
    pub fn set_mtu(&self, control: &impl AsRawFd, mtu: c_int) -> Result<(), Errno> {
        let mut request = self.named()?;
        request.ifr_ifru.ifru_mtu = mtu;
        ioctl(control, libc::SIOCSIFMTU, &mut request)
    }

    /// Sets the device up.
    pub fn set_up(&self, control: &impl AsRawFd) -> Result<(), Errno> {
        let mut request = self.named()?;
        ioctl(control, libc::SIOCGIFFLAGS, &mut request)?;
        // SAFETY: the kernel has filled this member of the union.
        request.ifr_ifru.ifru_flags = unsafe { request.ifr_ifru.ifru_flags } | libc::IFF_UP as i16;
        ioctl(control, libc::SIOCSIFFLAGS, &mut request)
    }

    /// The device's index.
    pub fn index(&self, control: &impl AsRawFd) -> Result<u32, Errno> {
        index(control, &mut self.named()?)
    }

    /// What the device is now.
    ///
    /// # Errors
    /// Usually ENODEV or EBADFD: it has gone, or to another namespace than `control`'s.
    pub fn state(&self, control: &impl AsRawFd) -> Result<State, Errno> {
        let mut request = self.named()?;
        let ifindex = index(control, &mut request)?;
        ioctl(self, libc::SIOCGIFHWADDR, &mut request)?;
        // SAFETY: the kernel has filled this member of the union.
        let address = unsafe { request.ifr_ifru.ifru_hwaddr };
        let mac = std::array::from_fn(|index| address.sa_data[index] as u8);
        ioctl(control, libc::SIOCGIFMTU, &mut request)?;
        // SAFETY: as above.
        let mtu = unsafe { request.ifr_ifru.ifru_mtu } as u32;
        ioctl(control, libc::SIOCGIFFLAGS, &mut request)?;
        // SAFETY: as above.
        let flags = c_int::from(unsafe { request.ifr_ifru.ifru_flags });
        Ok(State { ifindex, mtu, mac, flags })
    }

    /// A request that names the device as it is called now.
    fn named(&self) -> Result<libc::ifreq, Errno> {
        let mut request = empty_request();
        ioctl(self, libc::TUNGETIFF as libc::Ioctl, &mut request)?;
        request.ifr_ifru = empty_request().ifr_ifru;
        Ok(request)
    }
}

/// The index of the device that the request names.
fn index(control: &impl AsRawFd, request: &mut libc::ifreq) -> Result<u32, Errno> {
    ioctl(control, libc::SIOCGIFINDEX, request)?;
    // SAFETY: the kernel has filled this member of the union.
    Ok(unsafe { request.ifr_ifru.ifru_ifindex } as u32)
}

impl AsRawFd for TapFile {
    fn as_raw_fd(&self) -> c_int {
        self.0.as_raw_fd()
    }
}

fn empty_request() -> libc::ifreq {
    // SAFETY: ifreq is plain data.
    unsafe { mem::zeroed() }
}

fn ioctl(fd: &impl AsRawFd, number: libc::Ioctl, request: &mut libc::ifreq) -> Result<(), Errno> {
    // SAFETY: every request used here reads and writes one ifreq, which lives through the call.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), number, std::ptr::from_mut(request)) };
    if result < 0 { Err(Errno::last()) } else { Ok(()) }
}
