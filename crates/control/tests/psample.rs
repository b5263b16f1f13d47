// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Samples: from the action to the message that a listener reads, in memory.

use portway_control::{ClientId, Delivery, Limits, NoDevices, Peer, Queued, Server};
use portway_flow::{Action, Psample, PushVlan, Sample};
use portway_messages::family::{NLCTRL, PSAMPLE, SAMPLES};
use portway_netlink::{Attr, Messages};
use portway_testkit::{Bench, Frame};
use portway_uapi::Errno;
use portway_uapi::netlink::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR};
use portway_uapi::psample::*;

const WALL_NS: u64 = 1_700_000_000_123_456_789;

fn sample(group: u32, cookie: Option<&[u8]>) -> Action {
    Action::Psample(Psample { group, cookie: cookie.map(<[u8]>::to_vec) })
}

fn connect(server: &mut Server, bench: &Bench, admin: bool) -> ClientId {
    server.connect(Peer { netns: bench.datapath.netns().clone(), admin }, 0).unwrap()
}

/// Attributes by type and bytes, in order.
type Attributes = Vec<(u16, Vec<u8>)>;

/// What a listener reads: commands and attributes.
fn read(server: &mut Server, client: ClientId) -> Vec<(u8, Attributes)> {
    let mut all = Vec::new();
    while let Some(Delivery::Datagram(Queued { bytes, .. })) = server.next_datagram(client) {
        for message in Messages::new(&bytes) {
            assert_eq!((message.header().nlmsg_type, message.header().nlmsg_pid), (PSAMPLE.id, 0));
            let genl = message.genl(PSAMPLE.header).unwrap();
            let pair = |attr: Attr<'_>| (attr.kind(), attr.payload().to_vec());
            all.push((genl.cmd(), genl.attrs().map(pair).collect()));
        }
    }
    all
}

fn number(value: u32) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

/// The attributes in front of the packet.
fn expected(probability: u32, len: usize, group: u32, protocol: u16) -> Attributes {
    vec![
        (PSAMPLE_ATTR_SAMPLE_RATE, number(probability)),
        (PSAMPLE_ATTR_ORIGSIZE, number(len as u32)),
        (PSAMPLE_ATTR_SAMPLE_GROUP, number(group)),
        (PSAMPLE_ATTR_GROUP_SEQ, number(0)),
        (PSAMPLE_ATTR_TIMESTAMP, WALL_NS.to_ne_bytes().to_vec()),
        (PSAMPLE_ATTR_PROTO, protocol.to_ne_bytes().to_vec()),
    ]
}

#[test]
fn a_listener_reads_samples() {
    let mut bench = Bench::new();
    let (p1, w1) = bench.port("p1");
    let (p2, w2) = bench.port("p2");
    let mut server = Server::new(bench.switch.clone(), Limits::default(), Box::new(NoDevices));
    let frame = Frame::between(1, 2).bytes();
    let tagged = PushVlan { tpid: 0x8100, tci: 0x1005 };
    bench.port_flow(
        p1.port_no(),
        &[
            sample(7, Some(b"cookie")),
            Action::Sample(Sample { probability: u32::MAX, actions: vec![sample(8, None)] }),
            Action::Truncate(20),
            sample(9, None),
            Action::PushVlan(tagged),
            sample(10, Some(&[1; 16])),
            Action::Output(p2.port_no()),
        ],
    );
    let turn = |bench: &mut Bench, server: &mut Server| {
        w1.send(&frame);
        bench.run();
        assert_eq!(w2.received().len(), 1);
        let upcalls = bench.upcalls();
        let samples = upcalls.len();
        upcalls.into_iter().for_each(|upcall| server.deliver_upcall(upcall, WALL_NS));
        samples
    };
    assert_eq!(turn(&mut bench, &mut server), 0, "nobody listens, nothing is made");
    let listener = connect(&mut server, &bench, true);
    server.set_membership(listener, SAMPLES.id, true).unwrap();
    assert_eq!(turn(&mut bench, &mut server), 4);

    let flag = || (PSAMPLE_ATTR_SAMPLE_PROBABILITY, vec![]);
    let cookie = |bytes: &[u8]| (PSAMPLE_ATTR_USER_COOKIE, bytes.to_vec());
    let data = |len: usize| (PSAMPLE_ATTR_DATA, frame[..len].to_vec());
    let all = |group, len: usize, rest: Attributes| {
        let mut attrs = expected(u32::MAX, frame.len(), group, 0x800);
        attrs.push(data(len));
        attrs.extend(rest);
        (PSAMPLE_CMD_SAMPLE, attrs)
    };
    // The outer tag is not in the data: the kernel has it beside the frame.
    assert_eq!(
        read(&mut server, listener),
        [
            all(7, frame.len(), vec![cookie(b"cookie"), flag()]),
            all(8, frame.len(), vec![flag()]),
            all(9, 20, vec![flag()]),
            all(10, frame.len(), vec![cookie(&[1; 16]), flag()]),
        ]
    );
    assert_eq!(bench.datapath.stats().lost, 0);

    server.disconnect(listener);
    assert_eq!(turn(&mut bench, &mut server), 0, "the last listener has gone");
}

#[test]
fn samples_displace_no_upcalls_and_are_lost_in_silence() {
    let mut bench = Bench::new();
    let (p1, w1) = bench.port("p1");
    bench.port_flow(p1.port_no(), &[sample(1, None)]);
    bench.switch.want_samples(true);
    let (_, w3) = bench.port("p3");
    (0..2000).for_each(|_| w1.send(Frame::between(1, 2).bytes()));
    w3.send(Frame::between(1, 2).bytes());
    bench.run();
    let upcalls = bench.upcalls();
    let misses = upcalls.iter().filter(|upcall| matches!(upcall.reason, portway_datapath::Reason::Miss));
    assert_eq!(misses.count(), 1);
    assert!(upcalls.len() > 100 && upcalls.len() < 2000);
    upcalls.iter().for_each(portway_datapath::Upcall::count_lost);
    assert_eq!(bench.datapath.stats().lost, 1, "the miss");
}

#[test]
fn the_family_is_found_and_its_group_is_guarded() {
    let bench = Bench::new();
    let mut server = Server::new(bench.switch.clone(), Limits::default(), Box::new(NoDevices));
    let (root, nobody) = (connect(&mut server, &bench, true), connect(&mut server, &bench, false));
    assert_eq!(server.set_membership(nobody, SAMPLES.id, true), Err(Errno::EPERM));
    assert_eq!(server.set_membership(nobody, PSAMPLE.groups[0].id, true), Ok(()));
    assert_eq!(server.set_membership(root, SAMPLES.id, true), Ok(()));
    assert_eq!(server.set_membership(root, 0x7777, true), Err(Errno::EINVAL));

    let mut ask = |kind: u16, flags: u16, body: &[u8]| {
        let mut bytes = (16 + body.len() as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([7, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(body);
        server.handle_datagram(root, &bytes, 0);
        match server.next_datagram(root) {
            Some(Delivery::Datagram(Queued { bytes, .. })) => bytes,
            other => panic!("no answer: {other:?}"),
        }
    };
    let found = ask(NLCTRL.id, NLM_F_REQUEST, b"\x03\x01\x00\x00\x0c\x00\x02\x00psample\x00");
    let text = |name: &[u8]| found.windows(name.len()).any(|bytes| bytes == name);
    assert!(text(b"psample\0") && text(b"config\0") && text(b"packets\0"));
    let groups = ask(PSAMPLE.id, NLM_F_REQUEST | NLM_F_DUMP, &[PSAMPLE_CMD_GET_GROUP, 1, 0, 0]);
    let kinds: Vec<u16> = Messages::new(&groups).map(|message| message.header().nlmsg_type).collect();
    assert_eq!(kinds, [NLMSG_DONE]);
    let one = ask(PSAMPLE.id, NLM_F_REQUEST | NLM_F_ACK, &[PSAMPLE_CMD_GET_GROUP, 1, 0, 0]);
    let message = Messages::new(&one).next().expect("an acknowledgement");
    assert_eq!(message.header().nlmsg_type, NLMSG_ERROR);
    assert_eq!(message.payload()[..4], (-95_i32).to_ne_bytes());
}
