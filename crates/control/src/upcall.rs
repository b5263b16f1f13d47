// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Upcalls: to whom, and as what message.

use portway_datapath::{DatapathOptions, Reason, Upcall};
use portway_flow::FlowKey;
use portway_messages::actions::put_actions;
use portway_messages::family::PACKET;
use portway_messages::key::{put_key, put_tunnel_info};
use portway_netlink::{AttrBuilder, Datagram, Error, Header};
use portway_uapi::openvswitch::*;

use crate::call::MESSAGE_MAX;
use crate::client::Queued;
use crate::describe::dp_ifindex;
use crate::sample;
use crate::server::Server;

impl Server {
    /// Gives a packet to the client that is to see it, or counts it as lost: nobody asked for it, the client has gone, or its
    /// queue is full.
    /// Samples go to whoever listens to them. `wall_ns`: nanoseconds since 1970.
    pub fn deliver_upcall(&mut self, upcall: Upcall, wall_ns: u64) {
        let netns = upcall.datapath.netns().id();
        if let Reason::Sample { group, cookie, probability } = &upcall.reason {
            let action =
                sample::Action { group: *group, cookie: cookie.as_deref(), probability: *probability };
            return self.deliver_sample(&upcall, &action, wall_ns);
        }
        let options = upcall.datapath.options();
        let hash = flow_hash(&upcall.key);
        let port_id = receiver(&upcall, &options, hash);
        let client = if port_id == 0 { None } else { self.client_by_port_id(netns, port_id) };
        let Some(client) = client else { return upcall.count_lost() };
        let mut message = Datagram::reusing(self.take_buffer(), MESSAGE_MAX);
        let delivered = encode(&upcall, &options, hash, &mut message).is_ok()
            && self.push(client, Queued::other(message.into_bytes()));
        if delivered { upcall.count_delivered() } else { upcall.count_lost() }
    }
}

/// The port id of the client that an upcall is for; 0: nobody.
fn receiver(upcall: &Upcall, options: &DatapathOptions, hash: u32) -> u32 {
    if let Some(pid) = upcall.packet.extension().map(|extension| extension.upcall_pid).filter(|&pid| pid != 0)
    {
        // Whoever sent the packet said so.
        return pid;
    }
    if options.user_features & OVS_DP_F_DISPATCH_UPCALL_PER_CPU != 0 {
        // A flow's packets go to one client, whichever worker has them, so they stay in order.
        let pids = &options.per_cpu_pids;
        return if pids.is_empty() { 0 } else { pids[hash as usize % pids.len()] };
    }
    match &upcall.reason {
        Reason::Sample { .. } => 0,
        Reason::Action { userspace, .. } => userspace.pid,
        Reason::Miss => {
            let port = upcall.datapath.port(upcall.key.in_port).or_else(|| upcall.datapath.port(OVSP_LOCAL));
            // Without the feature a client knows of one port id only.
            let several = options.user_features & OVS_DP_F_VPORT_PIDS != 0;
            port.map_or(0, |port| port.upcall_pid(if several { hash } else { 0 }))
        }
    }
}

fn encode(upcall: &Upcall, options: &DatapathOptions, hash: u32, out: &mut Datagram) -> Result<(), Error> {
    let cmd = match upcall.reason {
        Reason::Miss => OVS_PACKET_CMD_MISS,
        Reason::Action { .. } | Reason::Sample { .. } => OVS_PACKET_CMD_ACTION,
    };
    let header = Header { kind: PACKET.id, flags: 0, seq: 0, pid: 0 };
    let family_header = ovs_header { dp_ifindex: dp_ifindex(&upcall.datapath) };
    out.genl(header, cmd, PACKET.version, &family_header, |b| attributes(upcall, options, hash, b))
}

fn attributes(
    upcall: &Upcall,
    options: &DatapathOptions,
    hash: u32,
    b: &mut AttrBuilder<'_>,
) -> Result<(), Error> {
    put_key(b, OVS_PACKET_ATTR_KEY, &upcall.key)?;
    if let Reason::Action { userspace, actions, egress_tunnel } = &upcall.reason {
        if let Some(userdata) = &userspace.userdata {
            b.put(OVS_PACKET_ATTR_USERDATA, userdata)?;
        }
        if let Some(tunnel) = egress_tunnel {
            put_tunnel_info(b, OVS_PACKET_ATTR_EGRESS_TUN_KEY, tunnel)?;
        }
        if let Some(actions) = actions {
            put_actions(b, OVS_PACKET_ATTR_ACTIONS, actions)?;
        }
    }
    let packet = &upcall.packet;
    if packet.mru() != 0 {
        b.put_u16(OVS_PACKET_ATTR_MRU, packet.mru())?;
    }
    let frame = packet.frame();
    if upcall.cut_len != 0 {
        b.put_u32(OVS_PACKET_ATTR_LEN, frame.len() as u32)?;
    }
    let l4 = if upcall.key.ip_proto != 0 { OVS_PACKET_HASH_L4_BIT } else { 0 };
    let hash = u64::from(hash) | OVS_PACKET_HASH_SW_BIT | l4;
    b.put_u64(OVS_PACKET_ATTR_HASH, hash)?;
    let shown = &frame[..frame.len().saturating_sub(upcall.cut_len as usize)];
    if options.user_features & OVS_DP_F_UNALIGNED != 0 {
        b.put_last_unaligned(OVS_PACKET_ATTR_PACKET, shown)
    } else {
        b.put(OVS_PACKET_ATTR_PACKET, shown)
    }
}

/// A hash of what makes a connection: the same for all its packets of one direction.
fn flow_hash(key: &FlowKey) -> u32 {
    // Multiply and fold, a word at a time: for spreading flows, not against attackers.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let words = |address: [u8; 16]| -> [u64; 2] { zerocopy::transmute!(address) };
    let ends = u64::from(key.tp_src.get()) << 32 | u64::from(key.tp_dst.get()) << 8 | u64::from(key.ip_proto);
    let parts = [words(key.ip_src), words(key.ip_dst), [ends, 0]];
    let hash = parts.as_flattened().iter().fold(0, |hash: u64, word| {
        let mixed = (hash ^ word).wrapping_mul(FACTOR);
        mixed ^ mixed >> 32
    });
    hash as u32
}
