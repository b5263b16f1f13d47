// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The counters of devices, from rtnetlink.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use portway_control::{Devices, TunnelPort};
use portway_datapath::Netns;
use portway_netlink::{Attrs, Datagram, Error, Header, Messages};
use portway_netlink_socket::TunnelKind;
use portway_uapi::Errno;
use portway_uapi::openvswitch::ovs_vport_stats;
use portway_vport::{NetnsId, PortName};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

use crate::tunnels::tunnel_behind;

/// Numbers of linux/rtnetlink.h and linux/if_link.h.
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWNSID: u16 = 88;
const RTM_GETNSID: u16 = 90;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_IFALIAS: u16 = 20;
const IFLA_STATS64: u16 = 23;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_TARGET_NETNSID: u16 = 46;
const NETNSA_NSID: u16 = 1;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// Bytes of struct rtgenmsg, padded.
const RTGENMSG: usize = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
/// Kinds of tunnel devices, and the attribute that says that one gets metadata.
const COLLECT_METADATA: [(&[u8], u16); 6] = [
    (b"vxlan", 25),
    (b"geneve", 6),
    (b"gretap", 18),
    (b"ip6gretap", 18),
    (b"erspan", 18),
    (b"ip6erspan", 18),
];
/// RTEXT_FILTER_SKIP_STATS.
const SKIP_STATS: u32 = 8;
/// Namespaces that a device is looked for in.
const PEERS_MAX: usize = 4096;
/// Bytes of struct ifinfomsg, and where its index is.
const IFINFOMSG: usize = 16;
const IFINDEX_AT: usize = 4;
/// Sockets that are kept; with more namespaces than that they are opened again.
const SOCKETS: usize = 256;

/// Asks the kernel.
#[derive(Debug, Default)]
pub(crate) struct LinkCounters {
    sockets: HashMap<NetnsId, OwnedFd>,
    buffer: Vec<u8>,
}

impl LinkCounters {
    fn socket(&mut self, netns: &Netns) -> Option<&OwnedFd> {
        if !self.sockets.contains_key(&netns.id()) {
            if self.sockets.len() >= SOCKETS {
                self.sockets.clear();
            }
            let space = match netns.as_fd() {
                Some(fd) => portway_netwatch::Netns::from_borrowed(fd),
                None => portway_netwatch::Netns::current(),
            };
            // NETLINK_ROUTE is protocol 0.
            let open = || socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None);
            let socket = space.ok()?.run(open).ok()?.ok()?;
            self.sockets.insert(netns.id(), socket);
        }
        self.sockets.get(&netns.id())
    }

    /// Asks for a device, in `netns` or in the namespace that has that number there; the answer is in the buffer.
    fn ask(&mut self, netns: &Netns, ifindex: u32, peer: Option<u32>) -> Option<()> {
        let mut info = [0; IFINFOMSG + 8];
        info[IFINDEX_AT..IFINDEX_AT + 4].copy_from_slice(&ifindex.to_ne_bytes());
        info[IFINFOMSG..IFINFOMSG + 2].copy_from_slice(&8_u16.to_ne_bytes());
        info[IFINFOMSG + 2..IFINFOMSG + 4].copy_from_slice(&IFLA_TARGET_NETNSID.to_ne_bytes());
        info[IFINFOMSG + 4..].copy_from_slice(&peer.unwrap_or(0).to_ne_bytes());
        let body = if peer.is_some() { &info[..] } else { &info[..IFINFOMSG] };
        self.request(netns, RTM_GETLINK, NLM_F_REQUEST, body)?;
        self.receive(netns)
    }

    /// Asks for the device of that name; the answer is in the buffer.
    fn ask_by_name(&mut self, netns: &Netns, name: &PortName) -> Option<()> {
        let mut body = vec![0; IFINFOMSG];
        for (kind, value) in [
            (IFLA_EXT_MASK, SKIP_STATS.to_ne_bytes().to_vec()),
            (IFLA_IFNAME, name.as_c_str().to_bytes_with_nul().to_vec()),
        ] {
            body.extend(((4 + value.len()) as u16).to_ne_bytes());
            body.extend(kind.to_ne_bytes());
            body.extend(value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        self.request(netns, RTM_GETLINK, NLM_F_REQUEST, &body)?;
        self.receive(netns)
    }

    /// The tunnel behind the device that the buffer's answer describes; `None`: it is an ordinary one, or there is none.
    fn tunnel_answer(&self) -> Option<Result<TunnelPort, Errno>> {
        let message = Messages::new(&self.buffer).next()?;
        if message.header().nlmsg_type != RTM_NEWLINK {
            return None;
        }
        let attrs = Attrs::new(message.payload().get(IFINFOMSG..)?);
        // Any other of the kernel's is a port as in the kernel, of frames without metadata.
        let name = attrs.first_of(IFLA_IFNAME)?.payload();
        if TunnelKind::of_device(name).is_some() && is_kernels_tunnel(&attrs).is_some() {
            tracing::warn!(
                "{}: a tunnel device of the kernel's, which nothing here can give metadata; delete it, and the next request for \
                 one gets Portway's",
                String::from_utf8_lossy(name.strip_suffix(b"\0").unwrap_or(name))
            );
            return Some(Err(Errno::EOPNOTSUPP));
        }
        let tunnel = tunnel_behind(attrs.first_of(IFLA_IFALIAS)?.str().ok()?)?;
        Some(if attrs.first_of(IFLA_MASTER).is_some() { Err(Errno::EBUSY) } else { Ok(tunnel) })
    }

    fn request(&mut self, netns: &Netns, kind: u16, flags: u16, body: &[u8]) -> Option<()> {
        let mut request = Datagram::new(4096);
        let fill = |buf: &mut Vec<u8>, _| {
            buf.extend_from_slice(body);
            Ok(())
        };
        request.raw::<Error>(Header { kind, flags, seq: 0, pid: 0 }, fill).ok()?;
        send(self.socket(netns)?, request.bytes(), SendFlags::empty()).ok().map(drop)
    }

    fn receive(&mut self, netns: &Netns) -> Option<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(64 << 10, 0);
        let (_, len) = recv(self.socket(netns)?, &mut buffer[..], RecvFlags::empty()).ok()?;
        buffer.truncate(len);
        self.buffer = buffer;
        Some(())
    }

    /// The numbers of the namespaces that are known in `netns`.
    fn peers(&mut self, netns: &Netns) -> Option<Vec<u32>> {
        self.request(netns, RTM_GETNSID, NLM_F_REQUEST | NLM_F_DUMP, &[0; RTGENMSG])?;
        let mut peers = Vec::new();
        loop {
            self.receive(netns)?;
            for message in Messages::new(&self.buffer) {
                match message.header().nlmsg_type {
                    NLMSG_DONE | NLMSG_ERROR => return Some(peers),
                    RTM_NEWNSID => {
                        let mut attrs = Attrs::new(message.payload().get(RTGENMSG..)?);
                        let number = attrs.find(|attr| attr.kind() == NETNSA_NSID)?;
                        if peers.len() < PEERS_MAX {
                            peers.push(number.u32().ok()?);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// The counters and the address of the device that the buffer's answer describes.
    fn answer(&self) -> Option<(ovs_vport_stats, [u8; 6])> {
        let message = Messages::new(&self.buffer).next()?;
        if message.header().nlmsg_type != RTM_NEWLINK {
            return None;
        }
        let (mut stats, mut mac) = (None, [0; 6]);
        for attr in Attrs::new(message.payload().get(IFINFOMSG..)?) {
            match attr.kind() {
                IFLA_STATS64 => stats = counters(attr.payload()),
                IFLA_ADDRESS => mac = attr.payload().try_into().unwrap_or_default(),
                _ => {}
            }
        }
        Some((stats?, mac))
    }
}

/// `Some`: the kernel's own device of a tunnel's kind that gets metadata, as Open vSwitch on the kernel's datapath leaves one.
fn is_kernels_tunnel(attrs: &Attrs<'_>) -> Option<()> {
    let info = attrs.first_of(IFLA_LINKINFO)?.nested();
    let kind = info.first_of(IFLA_INFO_KIND)?;
    let (_, collect_metadata) = COLLECT_METADATA.iter().find(|(name, _)| *name == kind.c_str())?;
    let metadata = info.first_of(IFLA_INFO_DATA)?.nested().first_of(*collect_metadata)?;
    // A flag for some, a number for others.
    (metadata.payload() != [0]).then_some(())
}

/// The counters in struct rtnl_link_stats64.
fn counters(bytes: &[u8]) -> Option<ovs_vport_stats> {
    let (words, _) = bytes.as_chunks::<8>();
    let [rx_packets, tx_packets, rx_bytes, tx_bytes, rx_errors, tx_errors, rx_dropped, tx_dropped, ..] =
        words
    else {
        return None;
    };
    let number = |bytes: &[u8; 8]| u64::from_ne_bytes(*bytes);
    Some(ovs_vport_stats {
        rx_packets: number(rx_packets),
        tx_packets: number(tx_packets),
        rx_bytes: number(rx_bytes),
        tx_bytes: number(tx_bytes),
        rx_errors: number(rx_errors),
        tx_errors: number(tx_errors),
        rx_dropped: number(rx_dropped),
        tx_dropped: number(tx_dropped),
    })
}

impl Devices for LinkCounters {
    fn counters(&mut self, netns: &Netns, ifindex: u32) -> Option<ovs_vport_stats> {
        self.ask(netns, ifindex, None)?;
        self.answer().map(|(stats, _)| stats)
    }

    fn elsewhere(&mut self, netns: &Netns, ifindex: u32, mac: [u8; 6]) -> Option<(u32, ovs_vport_stats)> {
        for peer in self.peers(netns)? {
            self.ask(netns, ifindex, Some(peer))?;
            if let Some((stats, _)) = self.answer().filter(|(_, found)| *found == mac) {
                return Some((peer, stats));
            }
        }
        None
    }

    fn tunnel(&mut self, netns: &Netns, name: &PortName) -> Result<Option<TunnelPort>, Errno> {
        self.ask_by_name(netns, name).and_then(|()| self.tunnel_answer()).transpose()
    }

    fn forget(&mut self, netns: NetnsId) {
        self.sockets.remove(&netns);
    }
}
