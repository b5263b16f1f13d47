// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The counters of devices, from rtnetlink.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use portway_control::Devices;
use portway_datapath::Netns;
use portway_netlink::{Attrs, Datagram, Error, Header, Messages};
use portway_uapi::openvswitch::ovs_vport_stats;
use portway_vport::NetnsId;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

/// Numbers of linux/rtnetlink.h and linux/if_link.h.
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const IFLA_STATS64: u16 = 23;
const NLM_F_REQUEST: u16 = 1;
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

    fn ask(&mut self, netns: &Netns, ifindex: u32) -> Option<()> {
        let mut request = Datagram::new(4096);
        let header = Header { kind: RTM_GETLINK, flags: NLM_F_REQUEST, seq: ifindex, pid: 0 };
        let fill = |buf: &mut Vec<u8>, _| {
            let mut info = [0; IFINFOMSG];
            info[IFINDEX_AT..IFINDEX_AT + 4].copy_from_slice(&ifindex.to_ne_bytes());
            buf.extend_from_slice(&info);
            Ok(())
        };
        request.raw::<Error>(header, fill).ok()?;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(64 << 10, 0);
        let socket = self.socket(netns)?;
        send(socket, request.bytes(), SendFlags::empty()).ok()?;
        let (_, len) = recv(socket, &mut buffer[..], RecvFlags::empty()).ok()?;
        buffer.truncate(len);
        self.buffer = buffer;
        Some(())
    }
}

impl Devices for LinkCounters {
    fn counters(&mut self, netns: &Netns, ifindex: u32) -> Option<ovs_vport_stats> {
        self.ask(netns, ifindex)?;
        let message = Messages::new(&self.buffer).next()?;
        if message.header().nlmsg_type != RTM_NEWLINK {
            return None;
        }
        let attrs = Attrs::new(message.payload().get(IFINFOMSG..)?);
        let stats = attrs.into_iter().find(|attr| attr.kind() == IFLA_STATS64)?;
        let (words, _) = stats.payload().as_chunks::<8>();
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
}
