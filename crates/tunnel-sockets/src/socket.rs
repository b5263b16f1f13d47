// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sockets: made, set and bound.

use std::ffi::{c_int, c_void};
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use portway_vport::ops::Errno;

/// Instruction of a classic packet filter: code, jumps, operand.
pub(crate) const fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

/// Accepts nothing.
pub(crate) const NOTHING: [libc::sock_filter; 1] = [instruction(0x06, 0, 0, 0)];

/// IP version of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// An IP address and a UDP port, as the kernel takes them.
#[derive(Clone, Copy)]
pub(crate) struct Address {
    pub(crate) storage: libc::sockaddr_in6,
    pub(crate) len: u32,
}

impl Address {
    /// `address`: IPv4 in the first four bytes. `label`: IPv6 flow label.
    pub(crate) fn new(family: Family, address: &[u8; 16], port: u16, label: u32) -> Self {
        // SAFETY: plain data.
        let mut storage: libc::sockaddr_in6 = unsafe { mem::zeroed() };
        match family {
            Family::V6 => {
                storage.sin6_family = libc::AF_INET6 as u16;
                storage.sin6_port = port.to_be();
                storage.sin6_flowinfo = (label & 0x000f_ffff).to_be();
                storage.sin6_addr.s6_addr = *address;
                Self { storage, len: size_of::<libc::sockaddr_in6>() as u32 }
            }
            Family::V4 => {
                let short = libc::sockaddr_in {
                    sin_family: libc::AF_INET as u16,
                    sin_port: port.to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from_ne_bytes([address[0], address[1], address[2], address[3]]),
                    },
                    sin_zero: [0; 8],
                };
                // SAFETY: a sockaddr_in6 is longer and no less aligned than a sockaddr_in.
                unsafe { (&raw mut storage).cast::<libc::sockaddr_in>().write(short) };
                Self { storage, len: size_of::<libc::sockaddr_in>() as u32 }
            }
        }
    }

    /// Address, IPv4 in the first four bytes, and port.
    pub(crate) fn read(storage: &libc::sockaddr_in6) -> ([u8; 16], u16) {
        if c_int::from(storage.sin6_family) == libc::AF_INET6 {
            return (storage.sin6_addr.s6_addr, u16::from_be(storage.sin6_port));
        }
        // SAFETY: as in `new`; any bytes are a sockaddr_in.
        let short = unsafe { (&raw const *storage).cast::<libc::sockaddr_in>().read() };
        let mut address = [0; 16];
        address[..4].copy_from_slice(&short.sin_addr.s_addr.to_ne_bytes());
        (address, u16::from_be(short.sin_port))
    }
}

/// A socket.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

impl Socket {
    /// A UDP socket in the calling thread's namespace.
    pub(crate) fn udp(family: Family) -> Result<Self, Errno> {
        Self::open(family, libc::SOCK_DGRAM, 0)
    }

    /// A socket of any kind in the calling thread's namespace.
    pub(crate) fn open(family: Family, kind: c_int, protocol: c_int) -> Result<Self, Errno> {
        let domain = if family == Family::V4 { libc::AF_INET } else { libc::AF_INET6 };
        // SAFETY: no pointers; the result is checked before it is owned.
        let fd = unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, protocol) };
        if fd < 0 {
            return Err(Errno::last());
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        let socket = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        if family == Family::V6 && kind == libc::SOCK_DGRAM {
            socket.set(libc::SOL_IPV6, libc::IPV6_V6ONLY, 1)?;
        }
        Ok(socket)
    }

    /// Sets an option to a number.
    pub(crate) fn set(&self, level: c_int, option: c_int, value: c_int) -> Result<(), Errno> {
        self.set_value(level, option, &value)
    }

    fn set_value<T>(&self, level: c_int, option: c_int, value: &T) -> Result<(), Errno> {
        // SAFETY: `value` lives through the call and its size is given.
        let result = unsafe {
            let value = std::ptr::from_ref(value).cast::<c_void>();
            libc::setsockopt(self.0.as_raw_fd(), level, option, value, size_of::<T>() as u32)
        };
        if result < 0 { Err(Errno::last()) } else { Ok(()) }
    }

    /// Attaches a classic packet filter as `option` of SOL_SOCKET.
    pub(crate) fn attach(&self, option: c_int, program: &[libc::sock_filter]) -> Result<(), Errno> {
        let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
        self.set_value(libc::SOL_SOCKET, option, &program)
    }

    /// The size without the system's limit where that is allowed, else as much as it gives.
    pub(crate) fn set_buffers(&self, bytes: c_int) -> Result<(), Errno> {
        for (force, ask) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)]
        {
            let set = |option| self.set(libc::SOL_SOCKET, option, bytes);
            set(force).or_else(|_| set(ask))?;
        }
        Ok(())
    }

    /// Binds to a UDP port of every address; 0: one that is free.
    pub(crate) fn bind(&self, family: Family, port: u16) -> Result<(), Errno> {
        let address = Address::new(family, &[0; 16], port, 0);
        // SAFETY: the address lives through the call and is as long as said.
        let result =
            unsafe { libc::bind(self.as_raw_fd(), (&raw const address.storage).cast(), address.len) };
        if result < 0 { Err(Errno::last()) } else { Ok(()) }
    }

    /// The address that the socket is bound to.
    pub(crate) fn local(&self) -> Result<([u8; 16], u16), Errno> {
        // SAFETY: plain data.
        let mut storage: libc::sockaddr_in6 = unsafe { mem::zeroed() };
        let mut len = size_of_val(&storage) as u32;
        // SAFETY: room for an address of either family, of the length given.
        let result = unsafe { libc::getsockname(self.as_raw_fd(), (&raw mut storage).cast(), &raw mut len) };
        if result < 0 { Err(Errno::last()) } else { Ok(Address::read(&storage)) }
    }

    /// Connects, or with `None` disconnects.
    pub(crate) fn connect(&self, to: Option<&Address>) -> Result<(), Errno> {
        let nowhere = libc::sockaddr { sa_family: libc::AF_UNSPEC as u16, sa_data: [0; 14] };
        let (address, len) = match to {
            Some(to) => ((&raw const to.storage).cast(), to.len),
            None => (&raw const nowhere, size_of::<libc::sockaddr>() as u32),
        };
        // SAFETY: the address lives through the call and is as long as said.
        let result = unsafe { libc::connect(self.as_raw_fd(), address, len) };
        if result < 0 { Err(Errno::last()) } else { Ok(()) }
    }

    /// MTU of the device with that index.
    pub(crate) fn device_mtu(&self, ifindex: u32) -> Option<u32> {
        // SAFETY: ifreq is plain data.
        let mut request: libc::ifreq = unsafe { mem::zeroed() };
        request.ifr_ifru.ifru_ifindex = ifindex as c_int;
        for number in [libc::SIOCGIFNAME, libc::SIOCGIFMTU] {
            // SAFETY: both requests read and write one ifreq, which lives through the call.
            let result = unsafe { libc::ioctl(self.as_raw_fd(), number, &raw mut request) };
            if result < 0 {
                return None;
            }
        }
        // SAFETY: the kernel has filled this member of the union.
        Some(unsafe { request.ifr_ifru.ifru_mtu } as u32)
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> c_int {
        self.0.as_raw_fd()
    }
}
