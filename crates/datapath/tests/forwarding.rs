// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Packets through a whole datapath, in memory: every counter that moves is looked at.

use portway_buf::DropReason;
use portway_datapath::{Error, Reason};
use portway_flow::{Action, FlowKey, MacAddr, Masked, PushVlan, Set};
use portway_testkit::{Bench, Frame};
use zerocopy::network_endian::U16;

#[test]
fn a_miss_goes_to_user_space_and_a_flow_forwards() {
    let mut bench = Bench::new();
    let (p1, w1) = bench.port("p1");
    let (p2, w2) = bench.port("p2");
    let frame = Frame::between(1, 2).bytes();
    w1.send(&frame);
    assert_eq!(bench.run(), 1);
    let upcalls = bench.upcalls();
    assert_eq!(upcalls.len(), 1);
    assert!(matches!(upcalls[0].reason, Reason::Miss));
    assert_eq!(upcalls[0].key.in_port, p1.port_no());
    assert_eq!(upcalls[0].packet.frame(), frame);

    let flow = bench.port_flow(p1.port_no(), &[Action::Output(p2.port_no())]);
    for _ in 0..100 {
        w1.send(&frame);
    }
    assert_eq!(bench.run(), 100);
    assert_eq!(w2.received(), vec![frame.clone(); 100]);
    let stats = flow.stats(&bench.datapath.pin());
    assert_eq!((stats.packets, stats.bytes, stats.used_ns), (100, 100 * frame.len() as u64, bench.now_ns));
    let datapath = bench.datapath.stats();
    assert_eq!(
        (datapath.hit, datapath.missed, datapath.lost, datapath.flows, datapath.masks),
        (100, 1, 0, 1, 1)
    );
    assert_eq!((p1.stats().rx_packets, p2.stats().tx_packets, p2.stats().rx_packets), (101, 100, 0));
    assert!(bench.datapath.drops().is_empty());
}

#[test]
fn the_narrower_flow_counts_once_it_is_there() {
    // The lens of a port follows its flows: a result cached under a shallow lens must not outlive a deeper flow.
    let mut bench = Bench::new();
    let (p1, w1) = bench.port("p1");
    let (_, w2) = bench.port("p2");
    let (_, w3) = bench.port("p3");
    let to = |port: u16| Frame::between(1, 2).with_ports(9, port).bytes();
    let wide = bench.port_flow(p1.port_no(), &[Action::Output(2)]);
    w1.send(to(80));
    w1.send(to(443));
    bench.run();
    assert_eq!(w2.received().len(), 2);
    bench.switch.flow_del(&bench.datapath, &wide).unwrap();
    for (port, out) in [(80, 2), (443, 3)] {
        let key = FlowKey {
            in_port: 1,
            eth_type: U16::new(0x800),
            ip_proto: 17,
            tp_dst: U16::new(port),
            ..FlowKey::default()
        };
        let mask = FlowKey {
            in_port: u32::MAX,
            eth_type: U16::new(0xffff),
            ip_proto: 0xff,
            tp_dst: U16::new(0xffff),
            ..FlowKey::default()
        };
        bench.flow(key, mask, &[Action::Output(out)]).unwrap();
    }
    for port in [80, 443, 443, 80, 22] {
        w1.send(to(port));
    }
    bench.run();
    assert_eq!(w2.received(), vec![to(80); 2]);
    assert_eq!(w3.received(), vec![to(443); 2]);
    assert_eq!(bench.upcalls().len(), 1);
}

#[test]
fn a_deleted_flow_stops_at_once_and_its_actions_can_be_replaced() {
    let mut bench = Bench::new();
    let (p1, w1) = bench.port("p1");
    let (_, w2) = bench.port("p2");
    let frame = Frame::between(1, 2).bytes();
    let flow = bench.port_flow(p1.port_no(), &[Action::Output(2)]);
    w1.send(&frame);
    bench.run();
    let tag = Action::PushVlan(PushVlan { tpid: 0x8100, tci: 0x1005 });
    bench
        .switch
        .flow_set_actions(&bench.datapath, &flow, &[tag, Action::Output(2), Action::Output(2)])
        .unwrap();
    w1.send(&frame);
    bench.run();
    let tagged = Frame::between(1, 2).tagged(5).bytes();
    assert_eq!(w2.received(), [frame.clone(), tagged.clone(), tagged]);
    assert!(matches!(
        bench.switch.flow_set_actions(&bench.datapath, &flow, &[Action::PopNsh]),
        Err(Error::Actions(_))
    ));
    bench.switch.flow_del(&bench.datapath, &flow).unwrap();
    assert!(matches!(bench.switch.flow_del(&bench.datapath, &flow), Err(Error::NoSuchFlow)));
    w1.send(&frame);
    bench.run();
    assert!(w2.received().is_empty());
    assert_eq!(bench.upcalls().len(), 1);
    assert_eq!(bench.datapath.stats().flows, 0);
}

#[test]
fn recirculation_re_enters_the_tables() {
    let mut bench = Bench::new();
    let (p1, w1) = bench.port("p1");
    let (_, w2) = bench.port("p2");
    let key = |recirc_id| FlowKey { in_port: p1.port_no(), recirc_id, ..FlowKey::default() };
    let mask = FlowKey { in_port: u32::MAX, recirc_id: u32::MAX, ..FlowKey::default() };
    bench.flow(key(0), mask.clone(), &[Action::Recirculate(7), Action::Output(2)]).unwrap();
    let tag = Action::PushVlan(PushVlan { tpid: 0x8100, tci: 0x1009 });
    let second = bench.flow(key(7), mask, &[tag, Action::Output(2)]).unwrap();
    for _ in 0..200 {
        w1.send(Frame::between(1, 2).bytes());
    }
    bench.run();
    let received = w2.received();
    assert_eq!(received.len(), 400);
    let tagged = Frame::between(1, 2).tagged(9).bytes();
    assert_eq!(received.iter().filter(|frame| **frame == tagged).count(), 200);
    assert_eq!(second.stats(&bench.datapath.pin()).packets, 200);
    assert_eq!(bench.datapath.stats().hit, 400);
}

#[test]
fn what_a_recirculated_packet_leads_to_comes_before_the_rest_of_the_list() {
    let mut bench = Bench::new();
    let (_, w1) = bench.port("p1");
    let (_, w2) = bench.port("p2");
    let key = |recirc_id| FlowKey { in_port: 1, recirc_id, ..FlowKey::default() };
    let mask = FlowKey { in_port: u32::MAX, recirc_id: u32::MAX, ..FlowKey::default() };
    let tag = |vid: u16| Action::PushVlan(PushVlan { tpid: 0x8100, tci: 0x1000 | vid });
    let list = [Action::Recirculate(1), tag(3), Action::Recirculate(2), tag(5), Action::Output(2)];
    bench.flow(key(0), mask.clone(), &list).unwrap();
    bench.flow(key(1), mask.clone(), &[tag(2), Action::Output(2)]).unwrap();
    bench.flow(key(2), mask, &[Action::PopVlan, tag(4), Action::Output(2)]).unwrap();
    w1.send(Frame::between(1, 2).bytes());
    bench.run();
    let tags: Vec<_> = w2.received().iter().map(|frame| frame[15]).collect();
    assert_eq!(tags, [2, 4, 5]);
}

const OUT: Action = Action::Output(2);

/// Writes a number into the frame's destination.
fn mark(number: u8) -> Action {
    let dst = Masked { value: MacAddr([0, 0, 0, 0, 0, number]), mask: Some(MacAddr([0, 0, 0, 0, 0, 0xff])) };
    Action::Set(Set::Ethernet {
        src: Masked { value: MacAddr::default(), mask: Some(MacAddr::default()) },
        dst,
    })
}

/// Flows by recirculation id, and the numbers in the frames that they send.
type Case<'c> = (&'c [(u32, &'c [Action])], &'c [u8]);

/// The order in which the kernel sends what nested recirculations lead to (recordings of Linux 6.1): one inside the other for three,
/// what goes deeper when the outermost list is done.
#[test]
fn nested_recirculation_has_the_kernels_order() {
    let recirculate = Action::Recirculate;
    // A flow of each recirculation id: recirculate, then send the frame with a number in it.
    let cases: [Case<'_>; 4] = [
        (
            &[
                (0, &[recirculate(1), mark(10), OUT]),
                (1, &[recirculate(2), mark(11), OUT]),
                (2, &[mark(12), OUT]),
            ],
            &[12, 11, 10],
        ),
        (
            &[
                (0, &[recirculate(1), mark(10), OUT]),
                (1, &[recirculate(2), mark(11), OUT]),
                (2, &[recirculate(3), mark(12), OUT]),
                (3, &[recirculate(4), mark(13), OUT]),
                (4, &[recirculate(5), mark(14), OUT]),
                (5, &[recirculate(6), mark(15), OUT]),
                (6, &[mark(16), OUT]),
            ],
            &[13, 12, 11, 10, 16, 15, 14],
        ),
        (
            &[
                (0, &[recirculate(1), mark(10), OUT, recirculate(3), mark(20), OUT]),
                (1, &[recirculate(2), mark(11), OUT, recirculate(2), mark(13), OUT]),
                (2, &[mark(12), OUT]),
                (3, &[recirculate(2), mark(21), OUT]),
            ],
            &[12, 11, 12, 13, 10, 12, 21, 20],
        ),
        (
            &[
                (0, &[mark(10), OUT, recirculate(1)]),
                (1, &[mark(11), OUT, recirculate(2)]),
                (2, &[mark(12), OUT, recirculate(3)]),
                (3, &[mark(13), OUT, recirculate(4)]),
                (4, &[mark(14), OUT, recirculate(5)]),
                (5, &[mark(15), OUT, recirculate(6)]),
                (6, &[mark(16), OUT]),
            ],
            &[10, 11, 12, 13, 14, 15, 16],
        ),
    ];
    for (flows, order) in cases {
        let mut bench = Bench::new();
        let (_, w1) = bench.port("p1");
        let (_, w2) = bench.port("p2");
        for (recirc_id, actions) in flows {
            let key = FlowKey { in_port: 1, recirc_id: *recirc_id, ..FlowKey::default() };
            let mask = FlowKey { in_port: u32::MAX, recirc_id: u32::MAX, ..FlowKey::default() };
            bench.flow(key, mask, actions).unwrap();
        }
        // Every packet of a batch has the order, whatever happens to the others.
        let frames = 70;
        for sender in 0..frames {
            w1.send(Frame::between(sender, 2).bytes());
        }
        bench.run();
        let received = w2.received();
        for sender in 0..frames {
            let of_it = received.iter().filter(|frame| frame[11] == sender);
            let marks: Vec<u8> = of_it.map(|frame| frame[5]).collect();
            assert_eq!(marks, order, "packet {sender}");
        }
    }
}

#[test]
fn endless_recirculation_ends_with_a_reason() {
    let mut bench = Bench::new();
    let (p1, w1) = bench.port("p1");
    let flow = bench.port_flow(p1.port_no(), &[Action::Recirculate(1)]);
    w1.send(Frame::between(1, 2).bytes());
    bench.run();
    // As often as the kernel (recording act-recirc).
    assert_eq!(flow.stats(&bench.datapath.pin()).packets, 31);
    assert_eq!(bench.datapath.drops().get(DropReason::RecirculationLimit), 1);
}

#[test]
fn recirculation_that_multiplies_is_bounded() {
    let mut bench = Bench::new();
    let (p1, w1) = bench.port("p1");
    bench.port_flow(p1.port_no(), &[Action::Recirculate(1), Action::Recirculate(1), Action::Recirculate(1)]);
    w1.send(Frame::between(1, 2).bytes());
    bench.run();
    let (stats, drops) = (bench.datapath.stats(), bench.datapath.drops());
    assert!(drops.get(DropReason::RecirculationFull) > 0);
    assert!(stats.hit < 10_000, "{} look-ups for one packet", stats.hit);
}

#[test]
fn packets_without_a_way_are_counted_by_reason() {
    let mut bench = Bench::new();
    let (p1, w1) = bench.port("p1");
    let (_, w2) = bench.port("p2");
    bench.port_flow(p1.port_no(), &[Action::Output(77), Action::Output(2)]);
    w1.send(Frame::between(1, 2).bytes());
    w1.send(Frame::between(1, 2).with_payload(1500).bytes());
    w1.send([1, 2, 3]);
    bench.run();
    let drops = bench.datapath.drops();
    assert_eq!(drops.get(DropReason::NoSuchPort), 2);
    assert_eq!(drops.get(DropReason::OverMtu), 1);
    assert_eq!(drops.get(DropReason::BadFrame), 1);
    assert_eq!(w2.received().len(), 1);
    // a flow without actions drops
    let (p3, w3) = bench.port("p3");
    bench.port_flow(p3.port_no(), &[]);
    w3.send(Frame::between(1, 2).bytes());
    bench.run();
    assert_eq!(bench.datapath.drops().get(DropReason::FlowDrop), 1);
}

#[test]
fn one_flooding_port_does_not_starve_the_others_misses() {
    let mut bench = Bench::new();
    let (_, flooder) = bench.port("p1");
    let (p2, quiet) = bench.port("p2");
    for port in 0..2000u16 {
        flooder.send(Frame::between(1, 2).with_ports(port, 1).bytes());
    }
    bench.run();
    quiet.send(Frame::between(3, 4).bytes());
    bench.run();
    let mut round = Vec::new();
    let _ = bench.switch.upcalls().pop_round(1, &mut round);
    assert_eq!(round.len(), 2, "one of each port in the first round");
    assert!(round.iter().any(|(_, upcall)| upcall.key.in_port == p2.port_no()));
    let stats = bench.datapath.stats();
    assert_eq!((stats.missed, stats.lost), (2001, 2000 - 256));
    assert_eq!(bench.datapath.drops().get(DropReason::UpcallQueueFull), 2000 - 256);
    assert_eq!(MacAddr::BROADCAST.to_string(), "ff:ff:ff:ff:ff:ff");
}
