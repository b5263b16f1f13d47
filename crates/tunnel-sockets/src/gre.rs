// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A GRE tunnel port: raw sockets, which receive whole IP packets of the protocol, reassembled, and send what they put an IP header in
//! front of.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Mutex;

use portway_buf::{Batch, Class, Offload, Packet, PoolRef};
use portway_tunnel::{Refusal, ecn, gre, inner};
use portway_vport::abi::{PortInfo, TunnelInfo, TxReport, tunnel_flags};
use portway_vport::host;
use portway_vport::ops::{CreateParams, Errno, OptionDescription, PortType};

use crate::common::{lock, make_in_namespace, refused};
use crate::device::Device;
use crate::peer::Peer;
use crate::registry::{Claim, Claims};
use crate::route::Routes;
use crate::send::{Outbox, Outer, Piece, count};
use crate::socket::{Address, Family, Socket};

/// IPPROTO_GRE.
const PROTOCOL: i32 = 47;
/// MTU of the device, as the kernel module's has it.
const MTU: u32 = 65_497;
/// The longest IP packet.
const PACKET_MAX: usize = 65_536;
/// Memory of a socket for what waits.
const BUFFER_BYTES: i32 = 16 << 20;
/// A type of service of 1 asks for that of the frame inside.
const INHERIT_TOS: u8 = 1;

/// Namespaces that have a port of this type.
static CLAIMS: Claims = Claims::new();

/// A GRE tunnel port.
pub struct GrePort {
    rx: Mutex<Inbox>,
    tx: Vec<Mutex<Outbox>>,
    rx_fd: RawFd,
    peer: Option<Peer>,
    /// What the peer's packets say: then packets without metadata go to it, only its packets are taken, and these have no metadata.
    fixed: Option<Box<TunnelInfo>>,
    routes: Routes,
    device: Device,
    _claim: Claim,
}

struct Inbox {
    socket: Socket,
    buffer: Vec<u8>,
}

impl PortType for GrePort {
    const TYPE: u32 = 3;
    const NAME: &'static CStr = c"gre";
    const TUNNEL: bool = true;
    const OPTIONS: &'static [OptionDescription] = &[Peer::REMOTE, Peer::KEY];

    /// EEXIST: the namespace has such a port already; EINVAL: the one peer's address is none of IPv4. Options that are not known are not
    /// looked at, as in the kernel.
    fn create(params: &CreateParams<'_>) -> Result<Self, Errno> {
        let queues = params.tx_queues.max(1);
        let peer = Peer::read(params.options, u32::MAX)?;
        if peer.is_some_and(|peer| peer.address.is_ipv6()) {
            return Err(Errno::EINVAL);
        }
        let claim = |netns| CLAIMS.take(netns, 0, 0, Errno::EEXIST, Errno::EEXIST);
        let make = || -> Result<_, Errno> {
            let socket = Socket::open(Family::V4, libc::SOCK_RAW, PROTOCOL)?;
            socket.set_buffers(BUFFER_BYTES)?;
            let outboxes = (0..queues).map(|_| Outbox::open_raw(PROTOCOL)).collect::<Result<Vec<_>, _>>()?;
            Ok((socket, outboxes, Routes::open()?, Device::of_port(params, MTU)?))
        };
        let (claim, (socket, outboxes, routes, device)) = make_in_namespace(params, claim, make)?;
        Ok(Self {
            rx_fd: socket.as_raw_fd(),
            rx: Mutex::new(Inbox { socket, buffer: vec![0; PACKET_MAX] }),
            tx: outboxes.into_iter().map(Mutex::new).collect(),
            peer,
            fixed: peer.map(|peer| Box::new(peer.info())),
            routes,
            device,
            _claim: claim,
        })
    }

    fn info(&self) -> PortInfo {
        self.device.info()
    }

    fn get_options(&self, out: &mut Vec<u8>) -> Result<bool, Errno> {
        self.peer.map_or(Ok(false), |peer| peer.write(out).map(|()| true))
    }

    fn rx_fd(&self, _queue: usize) -> Option<RawFd> {
        Some(self.rx_fd)
    }

    fn rx(&self, _queue: usize, pool: &mut PoolRef<'_>, batch: &mut Batch) -> Result<(), Errno> {
        let inbox = &mut *lock(&self.rx);
        while !batch.is_full()
            && let Some(packet) = inbox.receive()
        {
            batch.extend(unpack(packet, self.fixed.as_deref(), pool));
        }
        Ok(())
    }

    fn tx(&self, queue: usize, pool: &mut PoolRef<'_>, batch: &mut Batch, report: &mut TxReport) {
        let mut outbox = lock(&self.tx[queue % self.tx.len()]);
        for packet in &*batch {
            send(&mut outbox, packet, self.fixed.as_deref(), report);
        }
        pool.give_all(batch);
    }

    /// EINVAL: the peer's address is none of IPv4.
    fn egress_tunnel(&self, _packet: &Packet, info: &mut TunnelInfo) -> Result<(), Errno> {
        if info.ip_version == 6 {
            return Err(Errno::EINVAL);
        }
        let source = self.routes.source(Family::V4, &info.dst, 0)?;
        if info.src == [0; 16] {
            info.src = source;
        }
        Ok(())
    }
}

impl Inbox {
    /// The next packet, from its IP header on.
    fn receive(&mut self) -> Option<&mut [u8]> {
        loop {
            // SAFETY: the buffer lives through the call and is as long as said.
            let result = unsafe {
                libc::recv(
                    self.socket.as_raw_fd(),
                    self.buffer.as_mut_ptr().cast(),
                    self.buffer.len(),
                    libc::MSG_DONTWAIT,
                )
            };
            match usize::try_from(result) {
                Ok(len) => return self.buffer.get_mut(..len),
                Err(_) if Errno::last() == Errno(libc::EINTR) => {}
                Err(_) => return None,
            }
        }
    }
}

/// A received IP packet as one for the switch; one that is only to be counted as dropped if it is not acceptable.
fn unpack(bytes: &mut [u8], fixed: Option<&TunnelInfo>, pool: &mut PoolRef<'_>) -> Option<Packet> {
    let (info, start) = match decapsulate(bytes, fixed) {
        Ok(decapsulated) => decapsulated,
        Err(refusal) => return refused(bytes, refusal, pool),
    };
    let frame = &bytes[start..];
    let mut packet = pool.take(Class::for_frame(frame.len())?)?;
    packet.set_frame(frame);
    let partial_csum = inner::partial_checksum(frame);
    if partial_csum.is_some() {
        packet.set_offload(Offload { partial_csum, gso: None });
    }
    if fixed.is_none() {
        host::set_tunnel(&mut packet, &info).ok()?;
    }
    Some(packet)
}

/// Whether a packet is the one peer's: from its address, with its key or with none.
fn is_from(info: &TunnelInfo, peer: &TunnelInfo) -> bool {
    (info.src, info.id, info.flags & tunnel_flags::KEY) == (peer.dst, peer.id, peer.flags & tunnel_flags::KEY)
}

/// What the headers say, and where the frame starts; congestion marks are carried over to it.
fn decapsulate(bytes: &mut [u8], fixed: Option<&TunnelInfo>) -> Result<(TunnelInfo, usize), Refusal> {
    let header = bytes.first_chunk::<20>().ok_or(Refusal::BadHeader)?;
    let ip_len = usize::from(header[0] & 0xf) * 4;
    let mut info = TunnelInfo { ip_version: 4, tos: header[1], ttl: header[8], ..TunnelInfo::default() };
    info.src[..4].copy_from_slice(&header[12..16]);
    info.dst[..4].copy_from_slice(&header[16..20]);
    let packet = bytes.get(ip_len..).ok_or(Refusal::BadHeader)?;
    let start = ip_len + gre::decode(packet, &mut info)?;
    let frame = bytes.get_mut(start..).unwrap_or_default();
    if frame.len() < inner::ETH_HLEN {
        return Err(Refusal::BadHeader);
    }
    if fixed.is_some_and(|peer| !is_from(&info, peer)) {
        return Err(Refusal::BadHeader);
    }
    ecn::decapsulate(info.tos, frame)?;
    Ok((info, start))
}

fn send(outbox: &mut Outbox, packet: &Packet, fixed: Option<&TunnelInfo>, report: &mut TxReport) {
    let frame = packet.frame();
    let mut info = TunnelInfo::default();
    if !host::egress_tunnel(packet, &mut info) {
        let Some(fixed) = fixed else {
            report.dropped += 1;
            report.no_tunnel += 1;
            return;
        };
        info.clone_from(fixed);
    }
    if info.ip_version == 6 || inner::depth(frame, 0) == inner::DEPTH_MAX {
        report.errors += 1;
        return;
    }
    if ecn::is_cut(frame) {
        report.dropped += 1;
        return;
    }
    let tos = if info.tos == INHERIT_TOS { ecn::inner_tos(frame) } else { info.tos };
    let outer = Outer {
        family: Family::V4,
        to: Address::new(Family::V4, &info.dst, 0, 0),
        from: info.src,
        tos: ecn::encapsulate(tos, frame),
        ttl: if info.ttl == 0 { ecn::inner_ttl(frame).unwrap_or(0) } else { info.ttl },
        dont_fragment: info.flags & tunnel_flags::DONT_FRAGMENT != 0 || ecn::inner_dont_fragment(frame),
        checksum: true,
        mark: packet.mark(),
        slot: 0,
    };
    let header = gre::encode(&info, frame);
    let piece = Piece { head: header.bytes(), body: frame, is_last: true };
    let result = if outer.is_for_raw(false) {
        outbox.send_raw(&outer, None, &piece)
    } else {
        outbox.send(&outer, &[piece], true)
    };
    count(result, packet, report);
}
