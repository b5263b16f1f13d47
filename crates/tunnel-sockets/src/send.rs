// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sending datagrams: one packet, or a train of packets for one peer with one system call (UDP_SEGMENT).
//!
//! The source port tells a flow from another to whoever spreads traffic over several ways. A socket has one source port,
//! so each worker has some sockets, and a flow's hash chooses one; the workers' sockets share the ports, so that a flow keeps its
//! port whichever worker sends it.

use std::mem;
use std::os::fd::AsRawFd;

use portway_buf::Packet;
use portway_vport::abi::TxReport;
use portway_vport::ops::Errno;
use portway_wire::checksum::{Sum, nonzero, pseudo_v4};

use crate::message::Control;
use crate::socket::{Address, Family, NOTHING, Socket};

/// Source ports.
pub(crate) const SLOTS: usize = 8;
/// Packets in one train.
pub(crate) const TRAIN_MAX: usize = 64;
/// Bytes of one train: a datagram's limit.
pub(crate) const TRAIN_BYTES: usize = 65_000;
/// Bytes in flight.
const BUFFER_BYTES: i32 = 16 << 20;

/// linux/udp.h, linux/in6.h.
const UDP_SEGMENT: i32 = 103;
const UDP_NO_CHECK6_TX: i32 = 101;
const IPV6_FLOWINFO_SEND: i32 = 33;
const IPV6_AUTOFLOWLABEL: i32 = 70;

/// What the outer headers of a train shall say.
pub(crate) struct Outer {
    pub(crate) family: Family,
    pub(crate) to: Address,
    /// Zeros: the host chooses.
    pub(crate) from: [u8; 16],
    pub(crate) tos: u8,
    /// 0: the host's default.
    pub(crate) ttl: u8,
    pub(crate) dont_fragment: bool,
    pub(crate) checksum: bool,
    pub(crate) mark: u32,
    pub(crate) slot: usize,
}

/// What is sent as one datagram: some headers, and a frame or the rest of it.
pub(crate) struct Piece<'p> {
    pub(crate) head: &'p [u8],
    pub(crate) body: &'p [u8],
    /// The last of its packet.
    pub(crate) is_last: bool,
}

#[derive(Debug)]
struct TxSocket {
    socket: Socket,
    port: u16,
    family: Family,
    dont_fragment: Option<bool>,
    checksum: Option<bool>,
}

/// A worker's sockets.
pub(crate) struct Outbox {
    v4: Vec<TxSocket>,
    v6: Vec<TxSocket>,
    /// For packets whose IPv4 header is ours.
    raw: Socket,
    /// The last packet's IPv4 id.
    id: u16,
    vectors: Box<[libc::iovec; 2 * TRAIN_MAX]>,
}

// SAFETY: the raw pointers in `vectors` are written before each use and mean nothing between calls.
unsafe impl Send for Outbox {}

/// The source ports by slot, of IPv4 and of IPv6.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ports {
    v4: Vec<u16>,
    v6: Vec<u16>,
}

impl Ports {
    /// The source port of a slot; 0: none.
    pub(crate) fn of(&self, family: Family, slot: usize) -> u16 {
        let ports = if family == Family::V4 { &self.v4 } else { &self.v6 };
        ports.get(slot).copied().unwrap_or(0)
    }
}

impl Outbox {
    /// Opens the sockets in the calling thread's namespace, with free source ports if `ports` has none yet.
    pub(crate) fn open(ports: &mut Ports) -> Result<Self, Errno> {
        let v4 = bound(Family::V4, &mut ports.v4)?;
        let v6 = match bound(Family::V6, &mut ports.v6) {
            Ok(sockets) => sockets,
            Err(Errno(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)) => Vec::new(),
            Err(errno) => return Err(errno),
        };
        // SAFETY: plain data.
        let vectors = Box::new(unsafe { mem::zeroed() });
        let raw = own_header()?;
        Ok(Self { v4, v6, raw, id: 0, vectors })
    }

    /// One raw socket for a protocol over IPv4, as slot 0.
    pub(crate) fn open_raw(protocol: i32) -> Result<Self, Errno> {
        let socket = Socket::open(Family::V4, libc::SOCK_RAW, protocol)?;
        socket.attach(libc::SO_ATTACH_FILTER, &NOTHING)?;
        socket.set(libc::SOL_SOCKET, libc::SO_BROADCAST, 1)?;
        socket.set_buffers(BUFFER_BYTES)?;
        // A checksum is not the socket's business.
        let v4 =
            vec![TxSocket { socket, port: 0, family: Family::V4, dont_fragment: None, checksum: Some(true) }];
        // SAFETY: plain data.
        let vectors = Box::new(unsafe { mem::zeroed() });
        Ok(Self { v4, v6: Vec::new(), raw: own_header()?, id: 0, vectors })
    }

    /// Sends the pieces, with checksums or without: several only with them, and if all but the last are of the same length and the
    /// last is not longer. (The kernel refuses UDP_SEGMENT without checksums. Receivers take them where none are asked for, too:
    /// RFC 7348, section 5.)
    ///
    /// # Errors
    /// The kernel's. EMSGSIZE, EINVAL and EIO may mean that these packets cannot be sent as a train.
    pub(crate) fn send(&mut self, outer: &Outer, pieces: &[Piece<'_>], checksum: bool) -> Result<(), Errno> {
        let sockets = if outer.family == Family::V4 { &mut self.v4 } else { &mut self.v6 };
        let Some(socket) = sockets.get_mut(outer.slot) else { return Err(Errno::ENETUNREACH) };
        let is_train = pieces.len() > 1;
        socket.prepare(outer.dont_fragment, checksum)?;
        let parts = pieces.iter().take(TRAIN_MAX).flat_map(|piece| [piece.head, piece.body]);
        let mut n = 0;
        for (vector, part) in self.vectors.iter_mut().zip(parts) {
            *vector = of(part);
            n += 1;
        }
        let mut control = outer.control();
        if is_train {
            let len = pieces[0].head.len() + pieces[0].body.len();
            control.push(libc::SOL_UDP, UDP_SEGMENT, &(len as u16).to_ne_bytes());
        }
        call(&socket.socket, &outer.to, &mut self.vectors[..n], &mut control)
    }

    /// Sends one piece over IPv4 with an IP header of our own, which says what other sockets cannot say (see
    /// [`Outer::is_for_raw`]). `port`: the UDP port to send to; `None`: the piece follows IP directly.
    ///
    /// # Errors
    /// The kernel's. EMSGSIZE: longer than the device takes.
    pub(crate) fn send_raw(
        &mut self,
        outer: &Outer,
        port: Option<u16>,
        piece: &Piece<'_>,
    ) -> Result<(), Errno> {
        let from = self.v4.get(outer.slot).ok_or(Errno::ENETUNREACH)?.port;
        self.id = self.id.wrapping_add(1).max(1);
        let len = piece.head.len() + piece.body.len();
        let mut front = outer.ip_and_udp(self.id, port.map(|to| (from, to)), len);
        if outer.checksum && port.is_some() {
            let sum = outer.pseudo_header(&front).bytes(&front[20..]).bytes(piece.head).bytes(piece.body);
            front[26..28].copy_from_slice(&nonzero(sum.checksum()).to_be_bytes());
        }
        let front = &front[..if port.is_some() { 28 } else { 20 }];
        let mut vectors = [front, piece.head, piece.body].map(of);
        call(&self.raw, &outer.to, &mut vectors, &mut outer.control())
    }
}

/// `bytes` as the kernel takes them.
fn of(bytes: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

/// One sendmsg of `vectors`, which point to bytes that the caller holds.
fn call(
    socket: &Socket,
    to: &Address,
    vectors: &mut [libc::iovec],
    control: &mut Control,
) -> Result<(), Errno> {
    // SAFETY: plain data.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_name = (&raw const to.storage).cast_mut().cast();
    message.msg_namelen = to.len;
    message.msg_iov = vectors.as_mut_ptr();
    message.msg_iovlen = vectors.len() as _;
    if control.len() != 0 {
        message.msg_control = control.room().cast();
        message.msg_controllen = control.len();
    }
    // SAFETY: the message points to an address, vectors and control bytes that live through the call.
    let result = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT) };
    if result < 0 { Err(Errno::last()) } else { Ok(()) }
}

impl Outer {
    /// Whether an IPv4 packet's header must be ours. Another socket has no id for a packet that must not be fragmented, and no time
    /// to live of 0; the kernel's tunnels have both.
    pub(crate) fn is_for_raw(&self, ttl_zero: bool) -> bool {
        let ttl = if self.ttl == 0 { ttl_zero } else { self.dont_fragment };
        // Without an address there is nothing to sum.
        self.family == Family::V4 && ttl && (self.from != [0; 16] || !self.checksum)
    }

    /// IPv4 header of a packet with `len` bytes behind it and behind a UDP header, if there are `ports` (source and destination)
    /// for one. Without checksums: the kernel fills in IP's.
    fn ip_and_udp(&self, id: u16, ports: Option<(u16, u16)>, len: usize) -> [u8; 28] {
        let mut bytes = [0; 28];
        let peer = Address::read(&self.to.storage).0;
        let len = if ports.is_some() { len + 8 } else { len };
        bytes[0] = 0x45;
        bytes[1] = self.tos;
        bytes[2..4].copy_from_slice(&((20 + len) as u16).to_be_bytes());
        bytes[4..6].copy_from_slice(&id.to_be_bytes());
        bytes[6] = if self.dont_fragment { 0x40 } else { 0 };
        bytes[8] = self.ttl;
        bytes[9] = if ports.is_some() { libc::IPPROTO_UDP } else { libc::IPPROTO_GRE } as u8;
        bytes[12..16].copy_from_slice(&self.from[..4]);
        bytes[16..20].copy_from_slice(&peer[..4]);
        if let Some((from, to)) = ports {
            bytes[20..22].copy_from_slice(&from.to_be_bytes());
            bytes[22..24].copy_from_slice(&to.to_be_bytes());
            bytes[24..26].copy_from_slice(&(len as u16).to_be_bytes());
        }
        bytes
    }

    fn pseudo_header(&self, front: &[u8; 28]) -> Sum {
        let address = |at: usize| [front[at], front[at + 1], front[at + 2], front[at + 3]];
        let len = u16::from_be_bytes([front[24], front[25]]);
        pseudo_v4(address(12), address(16), libc::IPPROTO_UDP as u8, len)
    }

    fn control(&self) -> Control {
        let mut control = Control::new();
        let (tos, ttl) = (i32::from(self.tos).to_ne_bytes(), i32::from(self.ttl).to_ne_bytes());
        let mut information = [0; 20];
        match self.family {
            Family::V4 => {
                // struct in_pktinfo: index, the address to send from, an address that is not looked at.
                information[4..8].copy_from_slice(&self.from[..4]);
                if self.from != [0; 16] {
                    control.push(libc::SOL_IP, libc::IP_PKTINFO, &information[..12]);
                }
                control.push(libc::SOL_IP, libc::IP_TOS, &tos);
                if self.ttl != 0 {
                    control.push(libc::SOL_IP, libc::IP_TTL, &ttl);
                }
            }
            Family::V6 => {
                information[..16].copy_from_slice(&self.from);
                if self.from != [0; 16] {
                    control.push(libc::SOL_IPV6, libc::IPV6_PKTINFO, &information);
                }
                control.push(libc::SOL_IPV6, libc::IPV6_TCLASS, &tos);
                if self.ttl != 0 {
                    control.push(libc::SOL_IPV6, libc::IPV6_HOPLIMIT, &ttl);
                }
            }
        }
        if self.mark != 0 {
            control.push(libc::SOL_SOCKET, libc::SO_MARK, &self.mark.to_ne_bytes());
        }
        control
    }
}

impl TxSocket {
    /// Sets what cannot be said with each packet, where it is not so already.
    fn prepare(&mut self, dont_fragment: bool, checksum: bool) -> Result<(), Errno> {
        if self.dont_fragment != Some(dont_fragment) {
            let (level, option) = match self.family {
                Family::V4 => (libc::SOL_IP, libc::IP_MTU_DISCOVER),
                Family::V6 => (libc::SOL_IPV6, libc::IPV6_MTU_DISCOVER),
            };
            let value = if dont_fragment { libc::IP_PMTUDISC_DO } else { libc::IP_PMTUDISC_DONT };
            self.socket.set(level, option, value)?;
            self.dont_fragment = Some(dont_fragment);
        }
        if self.checksum != Some(checksum) {
            let (level, option) = match self.family {
                Family::V4 => (libc::SOL_SOCKET, libc::SO_NO_CHECK),
                Family::V6 => (libc::SOL_UDP, UDP_NO_CHECK6_TX),
            };
            self.socket.set(level, option, i32::from(!checksum))?;
            self.checksum = Some(checksum);
        }
        Ok(())
    }
}

/// A socket that takes whole IPv4 packets.
fn own_header() -> Result<Socket, Errno> {
    let raw = Socket::open(Family::V4, libc::SOCK_RAW, libc::IPPROTO_RAW)?;
    raw.set(libc::SOL_SOCKET, libc::SO_BROADCAST, 1)?;
    raw.set_buffers(BUFFER_BYTES)?;
    Ok(raw)
}

fn bound(family: Family, ports: &mut Vec<u16>) -> Result<Vec<TxSocket>, Errno> {
    let are_new = ports.is_empty();
    let mut sockets = Vec::with_capacity(SLOTS);
    for slot in 0..SLOTS {
        let socket = Socket::udp(family)?;
        // Nobody is to send to these ports, and what comes is lost.
        socket.attach(libc::SO_ATTACH_FILTER, &NOTHING)?;
        if !are_new {
            socket.set(libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
        }
        socket.bind(family, if are_new { 0 } else { ports[slot] })?;
        if are_new {
            ports.push(socket.local()?.1);
            socket.set(libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
        }
        socket.set(libc::SOL_SOCKET, libc::SO_BROADCAST, 1)?;
        if family == Family::V6 {
            socket.set(libc::SOL_IPV6, IPV6_FLOWINFO_SEND, 1)?;
            socket.set(libc::SOL_IPV6, IPV6_AUTOFLOWLABEL, 0)?;
        }
        socket.set_buffers(BUFFER_BYTES)?;
        sockets.push(TxSocket { socket, port: ports[slot], family, dont_fragment: None, checksum: None });
    }
    Ok(sockets)
}

/// What a packet counts for, in bytes: as in the kernel, without Ethernet header and VLAN tag.
pub(crate) fn payload_len(packet: &Packet) -> u64 {
    let tagged = matches!(packet.frame().get(12..14), Some([0x81, 0x00] | [0x88, 0xa8]));
    packet.len().saturating_sub(if tagged { 18 } else { 14 }) as u64
}

/// Counts what became of one packet.
pub(crate) fn count(result: Result<(), Errno>, packet: &Packet, report: &mut TxReport) {
    match result {
        Ok(()) => {
            report.sent += 1;
            report.sent_bytes += payload_len(packet);
        }
        Err(Errno(libc::EAGAIN | libc::ENOBUFS)) => report.dropped += 1,
        Err(Errno(libc::EMSGSIZE)) => {
            report.dropped += 1;
            report.over_mtu += 1;
        }
        Err(Errno(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EADDRNOTAVAIL | libc::EINVAL)) => {
            report.errors += 1;
            report.no_route += 1;
        }
        Err(_) => report.errors += 1,
    }
}
