// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Datagrams to the netlink server of a switch in memory.

use portway_control::{ClientId, Delivery, Limits, NoDevices, Peer, Server};
use portway_datapath::{Limits as SwitchLimits, Netns, Switch, SwitchConfig};
use portway_messages::family::{DATAPATH, FLOW, PACKET, VPORT};
use portway_netlink::Messages;
use portway_uapi::netlink::{NLMSG_DONE, NLMSG_ERROR, NLMSG_MIN_TYPE};
use portway_uapi::openvswitch::OVS_PACKET_CMD_EXECUTE;
use portway_vport::{NetnsId, PortName, Registry};

use crate::input::Input;
use crate::{memory, shape};

/// Errno values that a request can be answered with are below this (MAX_ERRNO).
const ERRNO_END: i32 = 4096;
/// Flows of a datapath, so that a fuzzer meets the limit.
pub const FLOWS: usize = 512;

/// A switch with two datapaths, and clients: one that may do everything, one that may only ask, one that listens.
pub struct World {
    server: Server,
    root: ClientId,
    nobody: ClientId,
    listener: ClientId,
    now_ns: u64,
    flows_max: usize,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// A message of two attributes, for the start.
fn make(kind: u16, dp_ifindex: i32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = vec![1, 2, 0, 0];
    body.extend(dp_ifindex.to_ne_bytes());
    for (number, value) in attributes {
        body.extend((4 + value.len() as u16).to_ne_bytes());
        body.extend(number.to_ne_bytes());
        body.extend(*value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let mut bytes = (16 + body.len() as u32).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend([1, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(body);
    bytes
}

impl World {
    /// A fresh one.
    pub fn new() -> Self {
        Self::with_flows(FLOWS)
    }

    /// One whose datapaths take so many flows.
    ///
    /// # Panics
    /// If it cannot be made: a fault of this crate.
    pub fn with_flows(flows: usize) -> Self {
        let registry = Registry::new();
        for module in [memory::netdev::MODULE, memory::internal::MODULE, memory::vxlan::MODULE] {
            registry.register(module).expect("a port type of ours");
        }
        let limits = SwitchLimits { flows, masks: 64, ..SwitchLimits::default() };
        let switch = Switch::new(SwitchConfig { limits, ..SwitchConfig::default() }, registry);
        let mut server = Server::new(switch, Limits { cpus: 4, ..Limits::default() }, Box::new(NoDevices));
        let mut client = |admin| server.connect(Peer { netns: Netns::default(), admin }, 0).expect("room");
        let (root, nobody, listener) = (client(true), client(false), client(true));
        for group in 0..64 {
            // Not every number is a group's.
            let _ = server.set_membership(listener, group, true);
        }
        let mut world = Self { server, root, nobody, listener, now_ns: 1, flows_max: flows };
        world.furnish();
        world
    }

    /// Makes the datapaths that are missing.
    fn furnish(&mut self) {
        if self.is_furnished() {
            return;
        }
        for name in [&b"dp0\0"[..], b"dp1\0"] {
            let pid = 7_u32.to_ne_bytes();
            self.server.handle_datagram(
                self.root,
                &make(DATAPATH.id, 0, &[(1, name), (2, &pid), (5, &[2, 0, 0, 0])]),
                0,
            );
        }
        for (name, kind) in [(&b"p1\0"[..], 1), (b"p2\0", 2)] {
            if let Some(&ifindex) = self.datapaths().first() {
                let kind = u32::to_ne_bytes(kind);
                let port = make(VPORT.id, ifindex, &[(2, &kind), (3, name), (5, &[7, 0, 0, 0])]);
                self.server.handle_datagram(self.root, &port, 0);
            }
        }
        self.drain();
    }

    fn is_furnished(&self) -> bool {
        let has = |name: &[u8]| {
            let name = PortName::new(name);
            name.is_some_and(|name| self.server.switch().port_named(NetnsId::default(), &name).is_some())
        };
        [&b"dp0"[..], b"dp1", b"p1", b"p2"].into_iter().all(has)
    }

    fn datapaths(&self) -> Vec<i32> {
        let datapaths = self.server.switch().datapaths();
        datapaths.iter().filter_map(|datapath| Some(datapath.port(0)?.ifindex() as i32)).collect()
    }

    /// Reads all that waits for the clients, and checks that it is well-formed.
    fn drain(&mut self) {
        for client in [self.root, self.nobody, self.listener] {
            while let Some(delivery) = self.server.next_datagram(client) {
                if let Delivery::Datagram(bytes) = delivery {
                    check(&bytes.bytes);
                }
            }
        }
        self.server.take_ready();
    }

    /// What a client can have made is deleted again.
    pub fn clear(&mut self) {
        for datapath in self.server.switch().datapaths() {
            // Nobody else deletes it.
            let _ = self.server.switch().datapath_del(&datapath);
        }
        self.server.handle_events();
        self.drain();
        self.server.switch().reclaim();
    }

    /// Packets that the ports of the first datapath have been sent, and those that were dropped.
    pub fn sent_and_dropped(&self) -> (u64, u64) {
        let datapaths = self.server.switch().datapaths();
        let Some(datapath) = datapaths.first() else { return (0, 0) };
        let ports = (0..8).filter_map(|number| datapath.port(number));
        (
            ports.map(|port| port.stats().tx_packets).sum(),
            datapath.drops().iter().map(|(_, count)| count).sum(),
        )
    }

    /// Flows of all datapaths.
    pub fn flows(&self) -> usize {
        self.server.switch().datapaths().iter().map(|datapath| datapath.stats().flows).sum()
    }

    fn deliver_upcalls(&mut self) {
        let (mut upcalls, now_ns) = (Vec::new(), self.now_ns);
        while self.server.switch().upcalls().pop_round(64, &mut upcalls) {}
        upcalls.drain(..).for_each(|(_, upcall)| self.server.deliver_upcall(upcall, now_ns));
    }
}

/// Whether what a client is given can be read: whole messages, and error numbers that are some.
fn check(datagram: &[u8]) {
    let mut read = 0;
    for message in Messages::new(datagram) {
        let header = message.header();
        read += (header.nlmsg_len as usize).next_multiple_of(4);
        if header.nlmsg_type == NLMSG_ERROR || header.nlmsg_type == NLMSG_DONE {
            let code = message.payload().first_chunk().map(|code| i32::from_ne_bytes(*code));
            assert!(code.is_some_and(|code| (-ERRNO_END + 1..=0).contains(&code)), "error {code:?}");
        } else {
            assert!(header.nlmsg_type >= NLMSG_MIN_TYPE, "type {}", header.nlmsg_type);
        }
    }
    // Only what comes last may lack its padding: a packet.
    assert!(
        read == datagram.len() || read == datagram.len().next_multiple_of(4),
        "{read} of {}",
        datagram.len()
    );
}

/// One run. The first byte says who asks, and whether the rest is a datagram as it is or a recipe for one.
pub fn fuzz_one(data: &[u8], world: &mut World) {
    let mut input = Input::new(data);
    let first = input.byte();
    let client = if first & 0x82 == 0x82 { world.nobody } else { world.root };
    let datagram = match first & 1 {
        0 => shape::datagram(&mut input, &world.datapaths()),
        _ => input.rest().to_vec(),
    };
    world.now_ns += 1_000_000;
    world.server.handle_datagram(client, &datagram, world.now_ns);
    world.deliver_upcalls();
    world.server.handle_events();
    world.drain();
    assert!(
        world.server.switch().datapaths().iter().all(|datapath| datapath.stats().flows <= world.flows_max)
    );
    if first & 0x7c == 0 || world.datapaths().len() > 16 {
        world.clear();
    }
    world.furnish();
    world.server.switch().reclaim();
}

/// A request to do to a frame of `len` bytes what a list of so many outputs says, to the ports 1 and 2 by turns.
pub fn outputs(world: &World, len: usize, count: usize) -> Vec<u8> {
    let ifindex = world.datapaths().first().copied().unwrap_or(0);
    let mut frame = vec![0; len];
    frame[12..14].copy_from_slice(&[0x88, 0xcc]);
    let key =
        [&[8, 0, 3, 0, 1, 0, 0, 0][..], &[16, 0, 4, 0], &[0; 12], &[6, 0, 6, 0, 0x88, 0xcc, 0, 0]].concat();
    let output = |n: usize| [8, 0, 1, 0, 1 + (n % 2) as u8, 0, 0, 0];
    let actions: Vec<u8> = (0..count).flat_map(output).collect();
    let mut request = make(PACKET.id, ifindex, &[(1, &frame), (2, &key), (3, &actions)]);
    request[16] = OVS_PACKET_CMD_EXECUTE;
    request
}

/// A request to make the flow of that Ethernet source address, as a case that is no accident.
pub fn new_flow(world: &World, number: u32) -> Vec<u8> {
    let ifindex = world.datapaths().first().copied().unwrap_or(0);
    let mut ethernet = [0; 16];
    ethernet[..4].copy_from_slice(&[16, 0, 4, 0]);
    ethernet[4..8].copy_from_slice(&number.to_ne_bytes());
    let key = [&[8, 0, 3, 0, 1, 0, 0, 0][..], &ethernet, &[6, 0, 6, 0, 0x88, 0xcc, 0, 0]].concat();
    make(FLOW.id, ifindex, &[(1, &key), (2, &[8, 0, 1, 0, 1, 0, 0, 0])])
}
