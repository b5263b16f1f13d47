// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The packet socket of a port, and the questions that are asked through it about its device.

use std::ffi::{c_int, c_void};
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use portway_vport::abi::log_level;
use portway_vport::host;
use portway_vport::ops::Errno;

/// Receive queue, in bytes of buffer memory (the kernel doubles it): a TCP window of several connections fits without loss.
const RECEIVE_BYTES: c_int = 16 << 20;
/// Bytes in flight towards the device.
const SEND_BYTES: c_int = 16 << 20;

/// PACKET_IGNORE_OUTGOING, linux/if_packet.h: frames that the host sends through the device do not come from it.
const PACKET_IGNORE_OUTGOING: c_int = 23;

/// SO_RCVMARK, asm-generic/socket.h: a frame's mark comes with it.
const SO_RCVMARK: c_int = 75;
/// SO_RCVPRIORITY, asm-generic/socket.h. Kernels that know it (6.14) also take SO_PRIORITY with a frame that is sent.
const SO_RCVPRIORITY: c_int = 82;

/// SO_NETNS_COOKIE, asm-generic/socket.h.
const SO_NETNS_COOKIE: c_int = 71;

/// BPF_RET | BPF_K, linux/filter.h: so many bytes of each frame are for the socket.
const BPF_RET_K: u16 = 0x06;

/// struct tpacket_stats, linux/if_packet.h.
#[repr(C)]
#[derive(Default)]
struct Statistics {
    /// Those that were lost included.
    packets: u32,
    drops: u32,
}

/// A packet socket bound to one device.
#[derive(Debug)]
pub(crate) struct PacketSocket {
    fd: OwnedFd,
    /// Packets that found the receive queue full, as far as the kernel was asked.
    missed: AtomicU64,
}

impl PacketSocket {
    /// A socket in the calling thread's namespace that does not receive yet.
    pub(crate) fn open() -> Result<Self, Errno> {
        // SAFETY: no pointers; the result is checked before it is owned.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(Errno::last());
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        let socket = Self { fd: unsafe { OwnedFd::from_raw_fd(fd) }, missed: AtomicU64::new(0) };
        socket.set(libc::SOL_PACKET, libc::PACKET_VNET_HDR, 1)?;
        socket.set(libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)?;
        socket.set(libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)?;
        socket.set(libc::SOL_SOCKET, SO_RCVMARK, 1)?;
        socket.set_buffer(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, RECEIVE_BYTES)?;
        socket.set_buffer(libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, SEND_BYTES)?;
        Ok(socket)
    }

    /// A socket in the calling thread's namespace through which frames are only sent, out of one device, by whoever has it. It can
    /// receive nothing, also if that one binds it otherwise.
    pub(crate) fn for_sending(ifindex: u32) -> Result<Self, Errno> {
        // SAFETY: no pointers; the result is checked before it is owned.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(Errno::last());
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        let socket = Self { fd: unsafe { OwnedFd::from_raw_fd(fd) }, missed: AtomicU64::new(0) };
        let mut nothing = libc::sock_filter { code: BPF_RET_K, jt: 0, jf: 0, k: 0 };
        socket.set(
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            libc::sock_fprog { len: 1, filter: &raw mut nothing },
        )?;
        socket.set(libc::SOL_SOCKET, libc::SO_LOCK_FILTER, 1)?;
        socket.set_buffer(libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, SEND_BYTES)?;
        socket.bind_to_send(ifindex)?;
        Ok(socket)
    }

    /// Sends through that device from now on; 0: through none, so that sending fails with ENXIO.
    pub(crate) fn bind_to_send(&self, ifindex: u32) -> Result<(), Errno> {
        let address = link_address(ifindex);
        // SAFETY: a sockaddr_ll of that size lives through the call.
        let result = unsafe {
            libc::bind(self.fd.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as u32)
        };
        if result < 0 { Err(Errno::last()) } else { Ok(()) }
    }

    /// Another descriptor of the same socket.
    pub(crate) fn try_clone(&self) -> Result<OwnedFd, Errno> {
        self.fd.try_clone().map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EIO)))
    }

    /// Whether a frame's priority can be handed to the kernel with it. It comes with none: no wire carries it.
    pub(crate) fn sends_priority(&self) -> bool {
        let known = self.set(libc::SOL_SOCKET, SO_RCVPRIORITY, 1).is_ok();
        // Only a question: received frames shall not carry it.
        known && self.set(libc::SOL_SOCKET, SO_RCVPRIORITY, 0).is_ok()
    }

    /// Starts to receive every frame of the device, those for other addresses too.
    pub(crate) fn bind(&self, ifindex: u32) -> Result<(), Errno> {
        let mut address = link_address(ifindex);
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: a sockaddr_ll of that size lives through the call.
        let result = unsafe {
            libc::bind(self.fd.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as u32)
        };
        if result < 0 {
            return Err(Errno::last());
        }
        self.be_promiscuous(ifindex)?;
        self.clear_error()
    }

    fn be_promiscuous(&self, ifindex: u32) -> Result<(), Errno> {
        // SAFETY: packet_mreq is plain data.
        let mut request: libc::packet_mreq = unsafe { mem::zeroed() };
        request.mr_ifindex = ifindex as c_int;
        request.mr_type = libc::PACKET_MR_PROMISC as u16;
        self.set(libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, request)
    }

    /// A device that is down leaves an error at bind; it is a state, not a failure.
    fn clear_error(&self) -> Result<(), Errno> {
        let (mut error, mut length): (c_int, _) = (0, size_of::<c_int>() as u32);
        // SAFETY: both point to live variables of the sizes given.
        let result = unsafe {
            let error = (&raw mut error).cast::<c_void>();
            libc::getsockopt(self.fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ERROR, error, &raw mut length)
        };
        if result < 0 || error != 0 && error != libc::ENETDOWN {
            return Err(if result < 0 { Errno::last() } else { Errno(error) });
        }
        Ok(())
    }

    /// How many packets found the receive queue full since the socket was opened.
    pub(crate) fn missed(&self) -> u64 {
        let (mut statistics, mut length) = (Statistics::default(), size_of::<Statistics>() as u32);
        // SAFETY: both point to live variables of the sizes given.
        let result = unsafe {
            let statistics = (&raw mut statistics).cast::<c_void>();
            let (level, option) = (libc::SOL_PACKET, libc::PACKET_STATISTICS);
            libc::getsockopt(self.fd.as_raw_fd(), level, option, statistics, &raw mut length)
        };
        // The kernel's counts start anew with each answer.
        let new = if result < 0 { 0 } else { u64::from(statistics.drops) };
        self.missed.fetch_add(new, Ordering::Relaxed) + new
    }

    /// A number for the socket's network namespace that no other has; `None`: the kernel does not tell.
    pub(crate) fn namespace(&self) -> Option<u64> {
        let (mut cookie, mut length): (u64, _) = (0, size_of::<u64>() as u32);
        // SAFETY: both point to live variables of the sizes given.
        let result = unsafe {
            let cookie = (&raw mut cookie).cast::<c_void>();
            libc::getsockopt(self.fd.as_raw_fd(), libc::SOL_SOCKET, SO_NETNS_COOKIE, cookie, &raw mut length)
        };
        (result >= 0).then_some(cookie)
    }

    /// Puts a BPF program on the socket: it says how much of each frame the socket gets.
    pub(crate) fn set_filter(&self, program: &OwnedFd) -> Result<(), Errno> {
        self.set(libc::SOL_SOCKET, libc::SO_ATTACH_BPF, program.as_raw_fd())
    }

    /// The socket gets every frame again.
    pub(crate) fn clear_filter(&self) -> Result<(), Errno> {
        self.set(libc::SOL_SOCKET, libc::SO_DETACH_FILTER, 0)
    }

    fn set<T: Copy>(&self, level: c_int, option: c_int, value: T) -> Result<(), Errno> {
        // SAFETY: `value` lives through the call and its size is given.
        let result = unsafe {
            let value = (&raw const value).cast::<c_void>();
            libc::setsockopt(self.fd.as_raw_fd(), level, option, value, size_of::<T>() as u32)
        };
        if result < 0 { Err(Errno::last()) } else { Ok(()) }
    }

    /// The size without the system's limit where that is allowed, else as much as it gives.
    fn set_buffer(&self, force: c_int, ask: c_int, bytes: c_int) -> Result<(), Errno> {
        self.set(libc::SOL_SOCKET, force, bytes).or_else(|_| self.set(libc::SOL_SOCKET, ask, bytes))
    }

    /// What the device with that index is now; `None`: it is no longer in the socket's namespace.
    pub(crate) fn device(&self, ifindex: u32) -> Option<Device> {
        let mut request = empty_request(ifindex);
        self.ioctl(libc::SIOCGIFNAME, &mut request)?;
        self.ioctl(libc::SIOCGIFMTU, &mut request)?;
        // SAFETY: the kernel has filled this member of the union.
        let mtu = unsafe { request.ifr_ifru.ifru_mtu } as u32;
        self.ioctl(libc::SIOCGIFFLAGS, &mut request)?;
        // SAFETY: as above.
        let flags = c_int::from(unsafe { request.ifr_ifru.ifru_flags });
        self.ioctl(libc::SIOCGIFHWADDR, &mut request)?;
        // SAFETY: as above.
        let address = unsafe { request.ifr_ifru.ifru_hwaddr };
        let mac = std::array::from_fn(|index| address.sa_data[index] as u8);
        let wanted = libc::IFF_UP | libc::IFF_RUNNING;
        Some(Device { mtu, mac, is_up: flags & wanted == wanted })
    }

    /// Switches large receive off, where a device has it on: it merges segments in a way that cannot be undone, so they could not
    /// be forwarded. (GRO stays on: what it merges is a super-packet like any other.)
    pub(crate) fn disable_lro(&self, ifindex: u32) {
        let mut flags = EthtoolValue { command: ETHTOOL_GFLAGS, data: 0 };
        let mut request = empty_request(ifindex);
        if self.ioctl(libc::SIOCGIFNAME, &mut request).is_none() {
            return;
        }
        request.ifr_ifru.ifru_data = (&raw mut flags).cast();
        if self.ioctl(libc::SIOCETHTOOL as libc::Ioctl, &mut request).is_some()
            && flags.data & ETH_FLAG_LRO != 0
        {
            flags = EthtoolValue { command: ETHTOOL_SFLAGS, data: flags.data & !ETH_FLAG_LRO };
            request.ifr_ifru.ifru_data = (&raw mut flags).cast();
            if self.ioctl(libc::SIOCETHTOOL as libc::Ioctl, &mut request).is_none() {
                host::log(
                    log_level::WARNING,
                    "large receive offload cannot be switched off: its frames are lost",
                );
            }
        }
    }

    fn ioctl(&self, number: libc::Ioctl, request: &mut libc::ifreq) -> Option<()> {
        // SAFETY: these requests read and write one ifreq, which lives through the call, as does what it points to.
        let result = unsafe { libc::ioctl(self.fd.as_raw_fd(), number, std::ptr::from_mut(request)) };
        (result >= 0).then_some(())
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for PacketSocket {
    fn as_raw_fd(&self) -> c_int {
        self.fd.as_raw_fd()
    }
}

/// What may change about a device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Device {
    pub(crate) mtu: u32,
    pub(crate) mac: [u8; 6],
    pub(crate) is_up: bool,
}

/// struct ethtool_value, linux/ethtool.h.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

const ETHTOOL_GFLAGS: u32 = 0x25;
const ETHTOOL_SFLAGS: u32 = 0x26;
const ETH_FLAG_LRO: u32 = 1 << 15;

/// A request about the device with that index.
fn empty_request(ifindex: u32) -> libc::ifreq {
    // SAFETY: ifreq is plain data.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    request.ifr_ifru.ifru_ifindex = ifindex as c_int;
    request
}

/// The link-layer address that names a device.
pub(crate) fn link_address(ifindex: u32) -> libc::sockaddr_ll {
    // SAFETY: sockaddr_ll is plain data.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = ifindex as c_int;
    address
}
