// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Receiving datagrams: several per system call, trains of equal ones as one (UDP_GRO), each with what its outer headers said.
//!
//! A train of TCP segments is to become one packet. So the kernel is told to write the headers of each segment to one place and the
//! payload to another, behind the payload before it; where they are it cannot know, so it is told where they were in the last train.
//!
//! Whether a datagram has a checksum is part of its metadata, and a socket does not tell. So there are two sockets for
//! each IP version that share the port, and a filter that reads the UDP header chooses between them.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use portway_buf::{Class, HEADROOM, Packet, PoolRef};
use portway_vport::abi::{TunnelInfo, tunnel_flags};
use portway_vport::ops::Errno;

use crate::message::{Control, number};
use crate::socket::{Address, Family, Socket, instruction};

/// Datagrams, or trains, per system call at most, and at least.
const AT_ONCE: usize = 8;
const OFFER_MIN: usize = 2;
/// The longest datagram, or train of them.
const DATAGRAM_MAX: usize = 65_535;
/// Pieces of a train whose payload is put side by side, and bytes of headers of each.
const PIECES_MAX: usize = 64;
const LEAD_MAX: usize = 160;
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
    senders: [libc::sockaddr_in6; AT_ONCE],
    controls: [Control; AT_ONCE],
    vectors: [[libc::iovec; 2 * PIECES_MAX]; AT_ONCE],
}

/// How trains have looked lately. When the next one looks the same its payload lands in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Bytes of each datagram.
    pub(crate) piece: usize,
    /// How many of these are the tunnel's header.
    pub(crate) start: usize,
    /// And the headers of the frame inside.
    pub(crate) headers: usize,
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

/// A datagram that has been received, or what is left of it.
pub(crate) struct Message {
    pub(crate) datagram: Datagram,
    /// Its buffer, and where in that it starts.
    pub(crate) packet: Packet,
    pub(crate) start: usize,
    /// Where its pieces are: of one that is longer than the first piece, the other pieces' payload follows that, and their leads, the
    /// headers, are at `leads`. `None`: all is side by side.
    pub(crate) layout: Option<Layout>,
    leads: usize,
}

/// The sockets of a port and what they gave last.
pub(crate) struct Inbox {
    sockets: Vec<RxSocket>,
    epoll: OwnedFd,
    arrays: Box<Arrays>,
    /// Buffers for the datagrams, from the first that is not taken on.
    packets: [Option<Packet>; AT_ONCE],
    received: usize,
    taken: usize,
    /// How many datagrams the next call asks for.
    offer: usize,
    /// What is left of the datagram in hand.
    pub(crate) rest: Option<Message>,
    /// For the next call, and as it was for the last one.
    pub(crate) layout: Option<Layout>,
    last_layout: Option<Layout>,
    /// The socket that was asked last.
    from: usize,
    /// Sockets that are still to be asked in this round.
    to_ask: Vec<usize>,
    mtu: (u32, u32),
}

// SAFETY: the raw pointers in `arrays` are written before each use and mean nothing between calls.
unsafe impl Send for Inbox {}

impl Layout {
    /// Bytes of headers of each piece.
    pub(crate) fn lead(&self) -> usize {
        self.start + self.headers
    }

    /// Bytes of a whole piece's payload.
    pub(crate) fn payload(&self) -> usize {
        self.piece - self.lead()
    }

    /// Whether so many pieces fit the arrays that no datagram is longer.
    fn is_good(&self) -> bool {
        self.lead() <= LEAD_MAX && self.lead() < self.piece && self.piece * PIECES_MAX >= DATAGRAM_MAX
    }

    /// Where in a buffer the datagram is to start, and where the leads behind the first are: behind the payload of the longest one.
    fn places(layout: Option<Self>) -> (usize, usize) {
        let Some(layout) = layout else { return (HEADROOM, 0) };
        // The payload of the packet that it becomes shall start on a cache line, which makes copies faster.
        let start = (HEADROOM + layout.lead()).next_multiple_of(64) - layout.lead();
        let others = (DATAGRAM_MAX - 1) / layout.piece;
        let last = (DATAGRAM_MAX - others * layout.piece).saturating_sub(layout.lead());
        let payload = others.saturating_sub(1) * layout.payload() + last;
        (start, start + layout.piece + payload)
    }
}

impl Message {
    /// How many pieces it has.
    pub(crate) fn pieces(&self) -> usize {
        self.datagram.len.div_ceil(self.datagram.piece.max(1))
    }

    /// Its bytes, if all is side by side, else those of the first piece.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        let len = self.layout.map_or(self.datagram.len, |layout| layout.piece);
        &mut self.packet.area_mut()[self.start..self.start + len]
    }

    /// The first piece, and the lead and the payload of piece `index`, which is not the first.
    pub(crate) fn piece(&mut self, layout: Layout, index: usize) -> (&[u8], &mut [u8], &[u8]) {
        let left = self.datagram.len.saturating_sub(index * layout.piece).min(layout.piece);
        let lead = layout.lead().min(left);
        let lead_at = self.leads - self.start + (index - 1) * layout.lead();
        let payload_at = layout.piece + (index - 1) * layout.payload();
        let (front, back) = self.packet.area_mut()[self.start..].split_at_mut(self.leads - self.start);
        let back_at = lead_at - front.len();
        (
            &front[..layout.piece],
            &mut back[back_at..back_at + lead],
            &front[payload_at..payload_at + left - lead],
        )
    }

    /// Leaves the first `len` bytes behind, which are the first piece if not all is side by side.
    pub(crate) fn advance(&mut self, len: usize) {
        let len = len.min(self.datagram.len);
        match self.layout {
            // The next lead takes the room in front of its payload, where the first piece's end was.
            Some(layout) => {
                let lead = layout.lead().min(self.datagram.len - len);
                self.start += layout.payload();
                self.packet.area_mut().copy_within(self.leads..self.leads + lead, self.start);
                self.leads += layout.lead();
            }
            None => self.start += len,
        }
        self.datagram.len -= len;
        self.layout = self.layout.filter(|layout| self.datagram.len > layout.piece);
    }

    /// The pieces from number `from` on, at least 1, in a buffer of their own. `None`: there is no buffer.
    pub(crate) fn split(&mut self, layout: Layout, from: usize, pool: &mut PoolRef<'_>) -> Option<Self> {
        let mut datagram = self.datagram;
        datagram.len = datagram.len.checked_sub(from * layout.piece).filter(|len| *len != 0)?;
        let mut packet = pool.take(Class::Large)?;
        let (start, leads) = Layout::places(Some(layout));
        let (n, area) = (datagram.len.div_ceil(layout.piece), packet.area_mut());
        let mut at = start;
        for index in from..from + n {
            let (_, lead, payload) = self.piece(layout, index);
            let lead_at = if index == from { start } else { leads + (index - from - 1) * layout.lead() };
            area[lead_at..lead_at + lead.len()].copy_from_slice(lead);
            at += if index == from { lead.len() } else { 0 };
            area[at..at + payload.len()].copy_from_slice(payload);
            at += payload.len();
        }
        let layout = Some(layout).filter(|layout| datagram.len > layout.piece);
        Some(Self { datagram, packet, start, layout, leads })
    }

    /// Puts all of it side by side. Without a buffer for that it is lost.
    pub(crate) fn gather(&mut self, layout: Layout, pool: &mut PoolRef<'_>) {
        self.layout = None;
        let Some(mut packet) = pool.take(Class::Large) else {
            self.datagram.len = 0;
            return;
        };
        let area = packet.area_mut();
        let mut at = HEADROOM;
        let mut put = |bytes: &[u8]| {
            area[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&self.packet.area_mut()[self.start..self.start + layout.piece]);
        for index in 1..self.datagram.len.div_ceil(layout.piece) {
            let (_, lead, payload) = self.piece(layout, index);
            put(lead);
            put(payload);
        }
        self.start = HEADROOM;
        pool.give(std::mem::replace(&mut self.packet, packet));
    }
}

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
        // SAFETY: all of it is plain data for which zeros are valid.
        let arrays = unsafe { Box::<Arrays>::new_zeroed().assume_init() };
        let epoll = watch(&sockets)?;
        Ok(Self {
            sockets,
            epoll,
            arrays,
            packets: Default::default(),
            received: 0,
            taken: 0,
            offer: OFFER_MIN,
            rest: None,
            layout: None,
            last_layout: None,
            from: 0,
            to_ask: Vec::new(),
            mtu: (0, 0),
        })
    }

    /// Polls readable when there is something to receive.
    pub(crate) fn event_source(&self) -> i32 {
        self.epoll.as_raw_fd()
    }

    /// Looks which sockets have something, for the calls of [`Inbox::next`] that follow.
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
            // The one that was asked last comes last.
            self.to_ask.sort_by_key(|index| *index != self.from);
        }
    }

    /// The next datagram; `None`: there is nothing now.
    pub(crate) fn next(&mut self, pool: &mut PoolRef<'_>) -> Option<Message> {
        while self.taken == self.received {
            self.from = self.to_ask.pop()?;
            self.received = self.call(pool).unwrap_or(0);
        }
        let index = self.taken;
        self.taken += 1;
        let mut datagram = self.describe(index);
        if datagram.piece == datagram.len {
            datagram.mtu = self.mtu(datagram.ifindex);
        }
        let packet = self.packets[index].take()?;
        let (start, leads) = Layout::places(self.last_layout);
        let layout = self.last_layout.filter(|layout| datagram.len > layout.piece);
        Some(Message { datagram, packet, start, layout, leads })
    }

    /// Gives the buffers back that nothing was received into. For the end of a round.
    pub(crate) fn tidy(&mut self, pool: &mut PoolRef<'_>) {
        if self.taken == self.received {
            self.packets.iter_mut().filter_map(Option::take).for_each(|packet| pool.give(packet));
        }
    }

    /// Asks the socket for datagrams; returns how many there are. Those before have been taken.
    fn call(&mut self, pool: &mut PoolRef<'_>) -> Result<usize, Errno> {
        (self.received, self.taken) = (0, 0);
        self.last_layout = self.layout.filter(Layout::is_good);
        let mut offered = 0;
        for (index, place) in self.packets[..self.offer].iter_mut().enumerate() {
            let Some(packet) = place.take().or_else(|| pool.take(Class::Large)) else { break };
            let packet = place.insert(packet);
            self.arrays.prepare(index, packet, self.last_layout);
            offered += 1;
        }
        // SAFETY: each header points to an address, control room and vectors of this value, and these to room of this value and of
        // the packets, all of which live through the call.
        let result = unsafe {
            libc::recvmmsg(
                self.sockets[self.from].socket.as_raw_fd(),
                self.arrays.headers.as_mut_ptr(),
                offered as u32,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let received = usize::try_from(result).map_err(|_| Errno::last())?;
        if received == offered {
            self.offer = (self.offer * 2).min(AT_ONCE);
            // There may be more; the others first.
            self.to_ask.insert(0, self.from);
        } else if received * 4 <= offered {
            self.offer = (self.offer / 2).max(OFFER_MIN);
        }
        Ok(received)
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

impl Arrays {
    /// Points message `index` at the packet's buffer, so that a train of this layout has its payload side by side there.
    fn prepare(&mut self, index: usize, packet: &mut Packet, layout: Option<Layout>) {
        let vectors = &mut self.vectors[index];
        let (start, leads) = Layout::places(layout);
        let (mut room, mut leads) = match layout {
            Some(_) => packet.area_mut()[start..].split_at_mut(leads - start),
            None => (&mut packet.area_mut()[start..], &mut [][..]),
        };
        let (mut left, mut used) = (DATAGRAM_MAX, 0);
        let mut put = |from: &mut &mut [u8], len: usize| {
            let len = len.min(left).min(from.len());
            let (bytes, rest) = std::mem::take(from).split_at_mut(len);
            *from = rest;
            vectors[used] = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: len };
            used += 1;
            left -= len;
            left != 0
        };
        match layout {
            None => _ = put(&mut room, DATAGRAM_MAX),
            Some(layout) => {
                let mut more = put(&mut room, layout.piece);
                while more {
                    more = put(&mut leads, layout.lead()) && put(&mut room, layout.payload());
                }
            }
        }
        let header = &mut self.headers[index].msg_hdr;
        header.msg_name = (&raw mut self.senders[index]).cast();
        header.msg_namelen = size_of::<libc::sockaddr_in6>() as u32;
        header.msg_iov = vectors.as_mut_ptr();
        header.msg_iovlen = used as _;
        header.msg_control = self.controls[index].room().cast();
        header.msg_controllen = Control::ROOM;
        header.msg_flags = 0;
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
        return Err(Errno::last());
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
            return Err(Errno::last());
        }
    }
    Ok(epoll)
}

#[cfg(test)]
mod tests;
