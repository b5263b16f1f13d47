// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Receiving datagrams: several per system call, trains of equal ones as one (UDP_GRO), each with what its outer headers said.
//!
//! Whether a datagram has a checksum is part of its metadata, and a socket does not tell. So there are two sockets for
//! each IP version that share the port, and a filter that reads the UDP header chooses between them.

use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use portway_vport::abi::{TunnelInfo, tunnel_flags};
use portway_vport::ops::Errno;

use crate::message::{Control, number};
use crate::socket::{Address, Family, Socket, instruction, last_errno};

/// Datagrams per system call.
const AT_ONCE: usize = 8;
/// The longest datagram, or train of them.
const DATAGRAM_MAX: usize = 65_536;
/// Memory of a socket for what waits: a TCP window of several connections.
const BUFFER_BYTES: i32 = 16 << 20;

/// linux/udp.h and linux/in6.h.
const UDP_GRO: i32 = 104;
const UDP_NO_CHECK6_RX: i32 = 102;
const IPV6_FLOWINFO: i32 = 11;

/// Where the network header starts for a packet filter (SKF_NET_OFF, linux/filter.h).
const NET: u32 = -0x10_0000_i32 as u32;

/// A filter that returns `zero` for a datagram without a checksum, else `other`. Chooses between the two sockets, and says for each
/// whether the datagram is its: those for several receivers (broadcast) are offered to both.
fn by_checksum(family: Family, zero: u32, other: u32) -> Vec<libc::sock_filter> {
    let mut program = match family {
        Family::V4 => vec![
            instruction(0xb1, 0, 0, NET),     // x = length of the IP header
            instruction(0x48, 0, 0, NET + 6), // a = 16 bits at x + 6: the UDP checksum
        ],
        // Extension headers are not walked: the flag may then be wrong, but the datagram arrives.
        Family::V6 => vec![instruction(0x28, 0, 0, NET + 46)],
    };
    program.extend([
        instruction(0x15, 0, 1, 0), // is it 0?
        instruction(0x06, 0, 0, zero),
        instruction(0x06, 0, 0, other),
    ]);
    program
}

#[derive(Debug)]
struct RxSocket {
    socket: Socket,
    family: Family,
    has_checksum: bool,
}

/// What the kernel writes to. The pointers are set anew for each call.
struct Arrays {
    headers: [libc::mmsghdr; AT_ONCE],
    pieces: [libc::iovec; AT_ONCE],
    senders: [libc::sockaddr_in6; AT_ONCE],
    controls: [Control; AT_ONCE],
    datagrams: Vec<u8>,
}

/// A datagram, or a train of datagrams of equal length with equal outer headers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Datagram {
    /// What the outer headers said.
    pub(crate) info: TunnelInfo,
    /// Bytes of it all.
    pub(crate) len: usize,
    /// Bytes of each datagram of a train but the last; `len` if it is none.
    pub(crate) piece: usize,
    /// The device that it came by, and, if it is not a train, that one's MTU.
    ifindex: u32,
    pub(crate) mtu: usize,
    /// Bytes of IP and UDP headers.
    pub(crate) overhead: usize,
}

/// The sockets of a port and what they gave last.
pub(crate) struct Inbox {
    sockets: Vec<RxSocket>,
    epoll: OwnedFd,
    arrays: Box<Arrays>,
    received: usize,
    taken: usize,
    /// The datagram number `taken`, and how many of its bytes have been dealt with.
    in_hand: Option<Datagram>,
    at: usize,
    /// The socket that gave it.
    from: usize,
    /// Sockets that are still to be asked in this round.
    to_ask: Vec<usize>,
    mtu: (u32, u32),
}

// SAFETY: the raw pointers in `arrays` are written before each use and mean nothing between calls.
unsafe impl Send for Inbox {}

impl Inbox {
    /// Binds to a UDP port in the calling thread's namespace. `zero6`: IPv6 datagrams without checksums are taken, too.
    /// EADDRINUSE: someone has the port.
    pub(crate) fn open(port: u16, zero6: bool) -> Result<Self, Errno> {
        let mut sockets = Vec::new();
        let port = pair(&mut sockets, Family::V4, port, false)?;
        match pair(&mut sockets, Family::V6, port, zero6) {
            // A host without IPv6 has tunnels over IPv4.
            Ok(_) | Err(Errno(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)) => {}
            Err(errno) => return Err(errno),
        }
        let arrays = Arrays {
            // SAFETY: all of these are plain data for which zeros are valid.
            headers: unsafe { mem::zeroed() },
            // SAFETY: as above.
            pieces: unsafe { mem::zeroed() },
            // SAFETY: as above.
            senders: unsafe { mem::zeroed() },
            controls: [Control::new(); AT_ONCE],
            datagrams: vec![0; AT_ONCE * DATAGRAM_MAX],
        };
        let epoll = watch(&sockets)?;
        let arrays = Box::new(arrays);
        Ok(Self {
            sockets,
            epoll,
            arrays,
            received: 0,
            taken: 0,
            in_hand: None,
            at: 0,
            from: 0,
            to_ask: Vec::new(),
            mtu: (0, 0),
        })
    }

    /// Polls readable when there is something to receive.
    pub(crate) fn event_source(&self) -> i32 {
        self.epoll.as_raw_fd()
    }

    /// Looks which sockets have something, for the calls of [`Inbox::current`] that follow.
    pub(crate) fn look(&mut self) {
        let mut fds: [libc::pollfd; 4] = [libc::pollfd { fd: -1, events: libc::POLLIN, revents: 0 }; 4];
        for (fd, socket) in fds.iter_mut().zip(&self.sockets) {
            fd.fd = socket.socket.as_raw_fd();
        }
        // SAFETY: an array of that many entries.
        let ready = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, 0) };
        self.to_ask.clear();
        self.mtu.0 = 0;
        if ready > 0 {
            self.to_ask.extend((0..self.sockets.len()).filter(|&index| fds[index].revents != 0));
        }
    }

    /// The datagram in hand, how many of its bytes have been dealt with, and all of them; `None`: there is nothing now.
    pub(crate) fn current(&mut self) -> Option<(Datagram, usize, &mut [u8])> {
        let (datagram, index) = match self.in_hand {
            Some(datagram) => (datagram, self.taken),
            None => {
                while self.taken == self.received {
                    self.from = self.to_ask.pop()?;
                    self.taken = 0;
                    self.received = self.call().unwrap_or(0);
                }
                let mut datagram = self.describe(self.taken);
                if datagram.piece == datagram.len {
                    datagram.mtu = self.mtu(datagram.ifindex);
                }
                self.in_hand = Some(datagram);
                (datagram, self.taken)
            }
        };
        let start = index * DATAGRAM_MAX;
        Some((datagram, self.at, &mut self.arrays.datagrams[start..start + datagram.len]))
    }

    /// Notes how many bytes of the datagram in hand have been dealt with.
    pub(crate) fn consumed(&mut self, at: usize) {
        self.at = at;
        if self.in_hand.is_none_or(|datagram| at >= datagram.len) {
            (self.in_hand, self.at) = (None, 0);
            self.taken += 1;
        }
    }

    fn call(&mut self) -> Result<usize, Errno> {
        let Arrays { headers, pieces, senders, controls, datagrams } = &mut *self.arrays;
        for (index, header) in headers.iter_mut().enumerate() {
            let place = &mut datagrams[index * DATAGRAM_MAX..(index + 1) * DATAGRAM_MAX];
            pieces[index] = libc::iovec { iov_base: place.as_mut_ptr().cast(), iov_len: DATAGRAM_MAX };
            let header = &mut header.msg_hdr;
            header.msg_name = (&raw mut senders[index]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in6>() as u32;
            header.msg_iov = &raw mut pieces[index];
            header.msg_iovlen = 1;
            header.msg_control = controls[index].room().cast();
            header.msg_controllen = Control::ROOM;
            header.msg_flags = 0;
        }
        // SAFETY: each header points to a piece, an address and control room of this value, which live through the call.
        let result = unsafe {
            libc::recvmmsg(
                self.sockets[self.from].socket.as_raw_fd(),
                headers.as_mut_ptr(),
                AT_ONCE as u32,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        if result < 0 { Err(last_errno()) } else { Ok(result as usize) }
    }

    fn describe(&self, index: usize) -> Datagram {
        let header = &self.arrays.headers[index];
        let socket = &self.sockets[self.from];
        let is_v6 = socket.family == Family::V6;
        let len = (header.msg_len as usize).min(DATAGRAM_MAX);
        let mut info = TunnelInfo { ip_version: if is_v6 { 6 } else { 4 }, ..TunnelInfo::default() };
        (info.src, info.tp_src) = Address::read(&self.arrays.senders[index]);
        info.flags = if socket.has_checksum { tunnel_flags::CSUM } else { 0 };
        let mut datagram =
            Datagram { info, len, piece: len, ifindex: 0, mtu: 0, overhead: if is_v6 { 48 } else { 28 } };
        let info = &mut datagram.info;
        for (level, kind, value) in self.arrays.controls[index].iter(header.msg_hdr.msg_controllen) {
            match (level, kind) {
                (libc::SOL_IP, libc::IP_PKTINFO) if value.len() >= 12 => {
                    datagram.ifindex = number(value);
                    info.dst[..4].copy_from_slice(&value[8..12]);
                }
                (libc::SOL_IPV6, libc::IPV6_PKTINFO) if value.len() >= 20 => {
                    info.dst.copy_from_slice(&value[..16]);
                    datagram.ifindex = number(&value[16..]);
                }
                (libc::SOL_IP, libc::IP_TTL) | (libc::SOL_IPV6, libc::IPV6_HOPLIMIT) => {
                    info.ttl = number(value) as u8;
                }
                (libc::SOL_IP, libc::IP_TOS) | (libc::SOL_IPV6, libc::IPV6_TCLASS) => {
                    info.tos = number(value) as u8;
                }
                (libc::SOL_IPV6, IPV6_FLOWINFO) => info.label = u32::from_be(number(value)) & 0x000f_ffff,
                (libc::SOL_UDP, UDP_GRO) if number(value) != 0 => datagram.piece = number(value) as usize,
                _ => {}
            }
        }
        datagram
    }

    /// MTU of a device, as it was at the last look.
    fn mtu(&mut self, ifindex: u32) -> usize {
        if self.mtu.0 != ifindex {
            let mtu = self.sockets[0].socket.device_mtu(ifindex).unwrap_or(1500);
            self.mtu = (ifindex, mtu);
        }
        self.mtu.1 as usize
    }
}

/// The two sockets of an IP version; returns their port, which for 0 is one that is free.
fn pair(sockets: &mut Vec<RxSocket>, family: Family, port: u16, zero6: bool) -> Result<u16, Errno> {
    let first = receiving(family, zero6)?;
    // Without SO_REUSEPORT: whoever has the port already is not joined, he is found out.
    first.bind(family, port)?;
    let port = first.local()?.1;
    first.set(libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    let second = receiving(family, zero6)?;
    second.set(libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    second.bind(family, port)?;
    first.attach(libc::SO_ATTACH_REUSEPORT_CBPF, &by_checksum(family, 0, 1))?;
    first.attach(libc::SO_ATTACH_FILTER, &by_checksum(family, u32::MAX, 0))?;
    second.attach(libc::SO_ATTACH_FILTER, &by_checksum(family, 0, u32::MAX))?;
    sockets.push(RxSocket { socket: first, family, has_checksum: false });
    sockets.push(RxSocket { socket: second, family, has_checksum: true });
    Ok(port)
}

fn receiving(family: Family, zero6: bool) -> Result<Socket, Errno> {
    let socket = Socket::udp(family)?;
    let options: &[(i32, i32)] = match family {
        Family::V4 => &[
            (libc::SOL_IP, libc::IP_PKTINFO),
            (libc::SOL_IP, libc::IP_RECVTTL),
            (libc::SOL_IP, libc::IP_RECVTOS),
            (libc::SOL_UDP, UDP_GRO),
        ],
        Family::V6 => &[
            (libc::SOL_IPV6, libc::IPV6_RECVPKTINFO),
            (libc::SOL_IPV6, libc::IPV6_RECVHOPLIMIT),
            (libc::SOL_IPV6, libc::IPV6_RECVTCLASS),
            (libc::SOL_IPV6, IPV6_FLOWINFO),
            (libc::SOL_UDP, UDP_GRO),
        ],
    };
    for &(level, option) in options {
        socket.set(level, option, 1)?;
    }
    if family == Family::V6 && zero6 {
        socket.set(libc::SOL_UDP, UDP_NO_CHECK6_RX, 1)?;
    }
    socket.set_buffers(BUFFER_BYTES)?;
    Ok(socket)
}

fn watch(sockets: &[RxSocket]) -> Result<OwnedFd, Errno> {
    // SAFETY: no pointers; the result is checked before it is owned.
    let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: a fresh descriptor that nobody else owns.
    let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
    for socket in sockets {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
        // SAFETY: two open descriptors, and an event that lives through the call.
        let result = unsafe {
            libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.socket.as_raw_fd(), &raw mut event)
        };
        if result < 0 {
            return Err(last_errno());
        }
    }
    Ok(epoll)
}
