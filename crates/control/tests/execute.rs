// SPDX-License-Identifier: Apache-2.0 OR MIT
//! EXECUTE, and what is told of packets that a userspace action names, in memory.

use std::sync::Arc;

use portway_buf::{Packet, TunnelKey};
use portway_control::{ClientId, Delivery, Limits, NoDevices, Peer, Queued, Server};
use portway_datapath::{DatapathOptions, Reason, Upcall};
use portway_flow::{Action, Userspace, tunnel_flags};
use portway_messages::actions::put_actions;
use portway_messages::family::PACKET;
use portway_netlink::{AttrBuilder, Datagram, Error, Header, Messages};
use portway_testkit::{Bench, Frame};
use portway_uapi::netlink::{NLM_F_ACK, NLM_F_REQUEST, NLMSG_ERROR};
use portway_uapi::openvswitch::*;

fn connect(server: &mut Server, bench: &Bench) -> (ClientId, u32) {
    let id = server.connect(Peer { netns: bench.datapath.netns().clone(), admin: true }, 0).unwrap();
    (id, server.port_id(id).unwrap())
}

fn execute(
    bench: &Bench,
    frame: &[u8],
    actions: &[Action],
    more: impl FnOnce(&mut AttrBuilder<'_>),
) -> Vec<u8> {
    let header = Header { kind: PACKET.id, flags: NLM_F_REQUEST | NLM_F_ACK, seq: 1, pid: 0 };
    let dp_ifindex = bench.datapath.port(0).unwrap().ifindex() as i32;
    let mut datagram = Datagram::new(1 << 20);
    datagram
        .genl::<_, Error>(header, OVS_PACKET_CMD_EXECUTE, 1, &ovs_header { dp_ifindex }, |b| {
            b.put(OVS_PACKET_ATTR_PACKET, frame)?;
            b.nest(OVS_PACKET_ATTR_KEY, |b| b.put_u32(OVS_KEY_ATTR_IN_PORT, 1))?;
            put_actions(b, OVS_PACKET_ATTR_ACTIONS, actions)?;
            more(b);
            Ok(())
        })
        .unwrap();
    datagram.into_bytes()
}

/// What a client finds: the errors of acknowledgements, and the commands of upcalls with their attributes' types.
fn found(server: &mut Server, client: ClientId) -> (Vec<i32>, Vec<(u8, Vec<u16>)>) {
    let (mut errors, mut upcalls) = (vec![], vec![]);
    while let Some(Delivery::Datagram(Queued { bytes, .. })) = server.next_datagram(client) {
        for message in Messages::new(&bytes) {
            if message.header().nlmsg_type == NLMSG_ERROR {
                errors.push(i32::from_ne_bytes(message.payload()[..4].try_into().unwrap()));
            } else {
                let genl = message.genl(PACKET.header).unwrap();
                upcalls.push((genl.cmd(), genl.attrs().map(|attr| attr.kind()).collect()));
            }
        }
    }
    (errors, upcalls)
}

#[test]
fn a_port_id_in_the_request_goes_before_every_other() {
    let bench = Bench::new();
    let (_p1, _wire) = bench.port("p1");
    let mut server = Server::new(bench.switch.clone(), Limits::default(), Box::new(NoDevices));
    let (sender, _) = connect(&mut server, &bench);
    let (named, named_pid) = connect(&mut server, &bench);
    let (chosen, chosen_pid) = connect(&mut server, &bench);
    let userspace = Userspace { pid: named_pid, ..Userspace::default() };
    // Nobody has asked for misses of the port; recirculation leads to one.
    let actions = [Action::Userspace(userspace), Action::Recirculate(9)];
    let frame = Frame::between(1, 2).bytes();
    for per_cpu in [false, true] {
        if per_cpu {
            let options = DatapathOptions {
                user_features: OVS_DP_F_DISPATCH_UPCALL_PER_CPU,
                per_cpu_pids: vec![named_pid],
                ..DatapathOptions::default()
            };
            bench.switch.datapath_set(&bench.datapath, options);
        }
        let plain = execute(&bench, &frame, &actions, |_| ());
        server.handle_datagram(sender, &plain, 0);
        bench.upcalls().into_iter().for_each(|upcall| server.deliver_upcall(upcall, 0));
        assert_eq!(found(&mut server, sender), (vec![0], vec![]));
        let commands = |upcalls: Vec<(u8, Vec<u16>)>| upcalls.iter().map(|(cmd, _)| *cmd).collect::<Vec<_>>();
        let both = [OVS_PACKET_CMD_ACTION, OVS_PACKET_CMD_MISS];
        let to_named = commands(found(&mut server, named).1);
        assert_eq!(to_named, if per_cpu { &both[..] } else { &both[..1] });

        let directed =
            execute(&bench, &frame, &actions, |b| b.put_u32(OVS_PACKET_ATTR_UPCALL_PID, chosen_pid).unwrap());
        server.handle_datagram(sender, &directed, 0);
        bench.upcalls().into_iter().for_each(|upcall| server.deliver_upcall(upcall, 0));
        assert_eq!(found(&mut server, sender), (vec![0], vec![]));
        assert!(found(&mut server, named).1.is_empty());
        assert_eq!(commands(found(&mut server, chosen).1), both);
    }
    let short = execute(&bench, &frame, &actions, |b| b.put_u16(OVS_PACKET_ATTR_UPCALL_PID, 1).unwrap());
    server.handle_datagram(sender, &short, 0);
    assert_eq!(found(&mut server, sender).0, [-34], "ERANGE");
}

#[test]
fn all_that_an_upcall_can_tell_in_the_kernels_order() {
    let bench = Bench::new();
    let mut server = Server::new(bench.switch.clone(), Limits::default(), Box::new(NoDevices));
    let (client, pid) = connect(&mut server, &bench);
    let mut packet = Packet::copied_from(&Frame::between(1, 2).bytes()).unwrap();
    packet.set_mru(1400);
    let key = portway_flow::extract(&mut packet).unwrap();
    let mut tunnel = TunnelKey { id: 7, flags: tunnel_flags::KEY, ttl: 64, ..TunnelKey::default() };
    tunnel.dst[..4].copy_from_slice(&[10, 0, 0, 1]);
    let userspace = Userspace { pid, userdata: Some(vec![1, 2, 3]), egress_tun_port: Some(4), actions: true };
    let reason = Reason::Action {
        userspace: Arc::new(userspace),
        actions: Some(vec![Action::Output(1)].into()),
        egress_tunnel: Some(Arc::new(tunnel)),
    };
    let upcall = Upcall { datapath: bench.datapath.clone(), packet, key, reason, cut_len: 5 };
    server.deliver_upcall(upcall, 0);
    let order = vec![
        OVS_PACKET_ATTR_KEY,
        OVS_PACKET_ATTR_USERDATA,
        OVS_PACKET_ATTR_EGRESS_TUN_KEY,
        OVS_PACKET_ATTR_ACTIONS,
        OVS_PACKET_ATTR_MRU,
        OVS_PACKET_ATTR_LEN,
        OVS_PACKET_ATTR_HASH,
        OVS_PACKET_ATTR_PACKET,
    ];
    assert_eq!(found(&mut server, client).1, [(OVS_PACKET_CMD_ACTION, order)]);
}
