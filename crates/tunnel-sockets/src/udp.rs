// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A tunnel port over UDP: everything but the tunnel's own header.

mod train;
mod unpack;

use std::ffi::CStr;
use std::os::fd::RawFd;
use std::sync::Mutex;

use portway_buf::{Batch, Packet, PoolRef};
use portway_netwatch::NetnsId;
use portway_tunnel::{Header, Refusal, ecn, inner};
use portway_vport::abi::{PortInfo, TunnelInfo, TxReport, info_flags, tunnel_flags};
use portway_vport::host;
use portway_vport::ops::{CreateParams, Errno, OptionDescription, PortType};

use crate::common::{lock, make_in_namespace};
use crate::device::{Device, OPTION_ZERO_CHECKSUM6, option};
use crate::receive::Inbox;
use crate::registry::Claim;
use crate::route::Routes;
use crate::send::{Outer, Ports, SLOTS};
use crate::socket::{Address, Family, Socket};
use train::Sender;

/// What makes one tunnel over UDP other than another: its header, and what its ports are made with.
pub trait Codec: Sized + Send + Sync + 'static {
    /// As [`PortType::TYPE`].
    const TYPE: u32;
    /// As [`PortType::NAME`].
    const NAME: &'static CStr;
    /// As [`PortType::OPTIONS`].
    const OPTIONS: &'static [OptionDescription];
    /// Whether the metadata may name another destination port than the port's own.
    const ANY_DESTINATION_PORT: bool;
    /// Whether IPv6 datagrams without a checksum are taken.
    const TAKES_ZERO_CHECKSUM6: bool;
    /// Whether a time to live of 0 goes out as it is; else it is the host's default.
    const SENDS_TTL_ZERO: bool;
    /// Whether frames that are cut within their IP header are refused.
    const REFUSES_CUT_FRAMES: bool;
    /// Whether packets without metadata are counted as dropped.
    const COUNTS_NO_TUNNEL: bool;

    /// As [`PortType::create`].
    fn create(params: &CreateParams<'_>) -> Result<UdpPort<Self>, Errno>;

    /// Appends the port's options as netlink attributes.
    fn write_options(&self, out: &mut Vec<u8>) -> Result<(), Errno>;

    /// The header that `info` asks for.
    fn encode(&self, info: &TunnelInfo) -> Header;

    /// Notes in `info` what the header says, and returns where the frame inside starts.
    fn decode(&self, datagram: &[u8], info: &mut TunnelInfo) -> Result<usize, Refusal>;
}

/// A tunnel port over UDP.
pub struct UdpPort<C> {
    codec: C,
    port: u16,
    fixed: Option<Box<TunnelInfo>>,
    ports: Ports,
    routes: Routes,
    // One thread at a time receives, and one per queue sends, so these are never waited for; they keep a caller that breaks
    // that rule from doing harm.
    rx: Mutex<Inbox>,
    tx: Vec<Mutex<Sender>>,
    rx_fd: RawFd,
    device: Device,
    _claim: Claim,
}

impl<C: Codec> UdpPort<C> {
    /// A port that listens at UDP `port`, with a device of this MTU. `fixed`: the port's one peer: packets without metadata go to it,
    /// only its packets are taken, and these have no metadata. `claim` takes the port for the namespace, before anything is made.
    pub fn open(
        params: &CreateParams<'_>,
        codec: C,
        port: u16,
        mtu: u32,
        fixed: Option<TunnelInfo>,
        claim: impl FnOnce(NetnsId) -> Result<Claim, Errno> + Send,
    ) -> Result<Self, Errno> {
        let queues = params.tx_queues.max(1);
        let asked = option(params.options, OPTION_ZERO_CHECKSUM6);
        let zero6 = asked.map_or(C::TAKES_ZERO_CHECKSUM6, |value| value == [1]);
        let make = || -> Result<_, Errno> {
            // The name before the UDP port, as the kernel complains.
            let device = Device::of_port(params, mtu)?;
            let inbox = Inbox::open(port, zero6)?;
            let mut ports = Ports::default();
            let senders = (0..queues).map(|_| Sender::open(&mut ports)).collect::<Result<Vec<_>, _>>()?;
            Ok((inbox, ports, senders, Routes::open()?, device))
        };
        let (claim, (inbox, ports, senders, routes, device)) = make_in_namespace(params, claim, make)?;
        Ok(Self {
            codec,
            port,
            fixed: fixed.map(Box::new),
            ports,
            routes,
            rx_fd: inbox.event_source(),
            rx: Mutex::new(inbox),
            tx: senders.into_iter().map(Mutex::new).collect(),
            device,
            _claim: claim,
        })
    }

    fn destination_port(&self, info: &TunnelInfo) -> u16 {
        if C::ANY_DESTINATION_PORT && info.tp_dst != 0 { info.tp_dst } else { self.port }
    }

    /// What the packet's outer headers shall say; false: nobody has said it.
    fn metadata(&self, packet: &Packet, info: &mut TunnelInfo) -> bool {
        if host::egress_tunnel(packet, info) {
            return true;
        }
        self.fixed.as_deref().is_some_and(|fixed| {
            info.clone_from(fixed);
            true
        })
    }

    fn outer(&self, info: &TunnelInfo, packet: &Packet) -> Outer {
        let family = family(info);
        Outer {
            family,
            to: Address::new(family, &info.dst, self.destination_port(info), info.label),
            from: info.src,
            tos: ecn::encapsulate(info.tos, packet.frame()),
            ttl: info.ttl,
            dont_fragment: info.flags & tunnel_flags::DONT_FRAGMENT != 0,
            checksum: info.flags & tunnel_flags::CSUM != 0,
            mark: packet.mark(),
            slot: slot(packet),
        }
    }
}

impl<C: Codec> PortType for UdpPort<C> {
    const TYPE: u32 = C::TYPE;
    const NAME: &'static CStr = C::NAME;
    const TUNNEL: bool = true;
    const OPTIONS: &'static [OptionDescription] = C::OPTIONS;

    fn create(params: &CreateParams<'_>) -> Result<Self, Errno> {
        C::create(params)
    }

    fn info(&self) -> PortInfo {
        let info = self.device.info();
        PortInfo { flags: info.flags | info_flags::CUTS_TCP, ..info }
    }

    fn get_options(&self, out: &mut Vec<u8>) -> Result<bool, Errno> {
        self.codec.write_options(out).map(|()| true)
    }

    fn rx(&self, _queue: usize, pool: &mut PoolRef<'_>, batch: &mut Batch) -> Result<(), Errno> {
        unpack::receive(self, &mut lock(&self.rx), pool, batch);
        Ok(())
    }

    fn rx_fd(&self, _queue: usize) -> Option<RawFd> {
        Some(self.rx_fd)
    }

    fn tx(&self, queue: usize, pool: &mut PoolRef<'_>, batch: &mut Batch, report: &mut TxReport) {
        lock(&self.tx[queue % self.tx.len()]).send(self, batch, report);
        pool.give_all(batch);
    }

    fn egress_tunnel(&self, packet: &Packet, info: &mut TunnelInfo) -> Result<(), Errno> {
        let family = family(info);
        let port = self.destination_port(info);
        if info.src == [0; 16] {
            info.src = self.routes.source(family, &info.dst, port)?;
        } else {
            self.routes.source(family, &info.dst, port)?;
        }
        info.tp_src = self.ports.of(family, slot(packet));
        info.tp_dst = port;
        Ok(())
    }
}

/// Whether a UDP port is free in the calling thread's namespace. EADDRINUSE: somebody has it.
pub fn probe(port: u16) -> Result<(), Errno> {
    Socket::udp(Family::V4)?.bind(Family::V4, port)?;
    match Socket::udp(Family::V6).and_then(|socket| socket.bind(Family::V6, port)) {
        // A host without IPv6 has tunnels over IPv4.
        Err(Errno(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)) => Ok(()),
        result => result,
    }
}

fn family(info: &TunnelInfo) -> Family {
    if info.ip_version == 6 { Family::V6 } else { Family::V4 }
}

fn slot(packet: &Packet) -> usize {
    inner::flow_hash(packet.frame()) as usize % SLOTS
}
