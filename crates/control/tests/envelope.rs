// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The rules that hold for every request, with no socket, no device and no root.

use portway_control::{ClientId, Delivery, Limits, NoDevices, Peer, Queued, Server};
use portway_datapath::{Netns, Switch, SwitchConfig};
use portway_messages::family::{DATAPATH, FLOW, NLCTRL, VPORT};
use portway_netlink::Messages;
use portway_uapi::netlink::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR};
use portway_vport::Registry;

fn server(limits: Limits) -> Server {
    Server::new(Switch::new(SwitchConfig::default(), Registry::new()), limits, Box::new(NoDevices))
}

fn connect(server: &mut Server, admin: bool) -> ClientId {
    server.connect(Peer { netns: Netns::default(), admin }, 0).unwrap()
}

fn request(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((16 + body.len() as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(7_u32.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(body);
    bytes
}

/// Types and error numbers of what a client is answered.
fn answers(server: &mut Server, client: ClientId, datagram: &[u8]) -> Vec<(u16, i32)> {
    server.handle_datagram(client, datagram, 0);
    let mut all = Vec::new();
    while let Some(Delivery::Datagram(Queued { bytes, .. })) = server.next_datagram(client) {
        all.extend(Messages::new(&bytes).map(|message| {
            let code =
                message.payload().get(..4).map_or(0, |code| i32::from_ne_bytes(code.try_into().unwrap()));
            (message.header().nlmsg_type, code)
        }));
    }
    all
}

const ASK: u16 = NLM_F_REQUEST | NLM_F_ACK;

#[test]
fn who_may_ask_what() {
    let mut server = server(Limits::default());
    let (root, nobody) = (connect(&mut server, true), connect(&mut server, false));
    let new = request(DATAPATH.id, ASK, &[1, 2, 0, 0, 0, 0, 0, 0]);
    assert_eq!(answers(&mut server, nobody, &new), [(NLMSG_ERROR, -1)], "EPERM");
    assert_eq!(answers(&mut server, root, &new), [(NLMSG_ERROR, -22)], "no NAME: EINVAL");
    let get = request(VPORT.id, ASK, &[3, 1, 0, 0, 0, 0, 0, 0, 8, 0, 1, 0, 1, 0, 0, 0]);
    assert_eq!(answers(&mut server, nobody, &get), [(NLMSG_ERROR, -19)], "ENODEV, not EPERM");
}

#[test]
fn the_envelope() {
    let mut server = server(Limits::default());
    let client = connect(&mut server, true);
    let cases = [
        (request(0x77, ASK, &[1, 1, 0, 0]), vec![(NLMSG_ERROR, -2)]),
        (request(DATAPATH.id, NLM_F_ACK, &[3, 2, 0, 0]), vec![(NLMSG_ERROR, 0)]),
        (request(DATAPATH.id, 0, &[3, 2, 0, 0]), vec![]),
        (request(DATAPATH.id, ASK, &[3, 2, 0, 0]), vec![(NLMSG_ERROR, -22)]),
        (request(DATAPATH.id, ASK, &[9, 2, 0, 0, 0, 0, 0, 0]), vec![(NLMSG_ERROR, -95)]),
        (request(DATAPATH.id, ASK | NLM_F_DUMP, &[3, 2, 0, 0, 0, 0, 0, 0]), vec![(NLMSG_DONE, 0)]),
        (request(DATAPATH.id, ASK | NLM_F_DUMP, &[4, 2, 0, 0, 0, 0, 0, 0]), vec![(NLMSG_ERROR, -95)]),
        (request(FLOW.id, NLM_F_REQUEST, &[1, 1, 0, 0, 0, 0, 0, 0]), vec![(NLMSG_ERROR, -22)]),
        (vec![1, 2, 3], vec![]),
    ];
    for (datagram, expected) in cases {
        assert_eq!(answers(&mut server, client, &datagram), expected, "{datagram:?}");
    }
}

#[test]
fn several_messages_in_a_datagram_are_carried_out_in_order() {
    let mut server = server(Limits::default());
    let client = connect(&mut server, true);
    let name = [&[3, 1, 0, 0, 13, 0, 2, 0][..], b"ovs_flow\0", &[0; 3]].concat();
    let both = [request(NLCTRL.id, ASK, &name), request(0x77, ASK, &[0; 4])].concat();
    let answers = answers(&mut server, client, &both);
    assert_eq!(
        answers.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(),
        [NLCTRL.id, NLMSG_ERROR, NLMSG_ERROR]
    );
    assert_eq!((answers[1].1, answers[2].1), (0, -2));
}

#[test]
fn a_client_that_does_not_read_loses_and_is_told_once() {
    let mut server = server(Limits { queue_bytes: 200, ..Limits::default() });
    let client = connect(&mut server, true);
    let ask = request(0x77, ASK, &[0; 4]);
    (0..100).for_each(|_| server.handle_datagram(client, &ask, 0));
    let mut seen = Vec::new();
    while let Some(delivery) = server.next_datagram(client) {
        seen.push(delivery);
    }
    assert!(seen.len() < 10);
    assert_eq!(seen.iter().filter(|delivery| **delivery == Delivery::Overrun).count(), 1);
    assert_eq!(answers(&mut server, client, &ask), [(NLMSG_ERROR, -2)], "it goes on");
}

#[test]
fn port_ids_are_unique_in_a_namespace() {
    let mut server = server(Limits { clients: 3, ..Limits::default() });
    let peer = Peer { netns: Netns::default(), admin: true };
    let first = server.connect(peer.clone(), 77).unwrap();
    assert!(server.connect(peer.clone(), 77).is_err());
    let second = server.connect(peer.clone(), 0).unwrap();
    assert!(server.bind(second, 77).is_err());
    server.disconnect(first);
    server.bind(second, 77).unwrap();
    assert_eq!(server.port_id(second), Some(77));
    server.connect(peer.clone(), 0).unwrap();
    server.connect(peer.clone(), 0).unwrap();
    assert!(server.connect(peer, 0).is_err(), "the limit");
}
