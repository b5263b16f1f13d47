// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What execution does with packets: who gets the packet and who a copy, what is cut, chosen, counted.

mod support;

use portway_actions::{Effect, Verdict};
use portway_buf::{DropReason, Gso, Offload, Packet};
use portway_flow::{
    Action, CheckPacketLength, Hash, HashAlgorithm, MacAddr, Masked, MplsPush, Psample, PushEth, PushVlan,
    Sample, Set, Userspace,
};
use support::{Frame, RECIRCULATIONS_MAX, Rig, TCP, outputs};

fn packet() -> Packet {
    Packet::copied_from(&Frame::default().bytes()).unwrap()
}

fn set_src(last: u8) -> Action {
    let all = |value| Masked { value: MacAddr(value), mask: None };
    Action::Set(Set::Ethernet { src: all([2, 0, 0, 0, 0, last]), dst: all([2, 0, 0, 0, 0, 0xff]) })
}

#[test]
fn the_last_output_gets_the_packet_itself() {
    let mut rig = Rig::default();
    let packet = packet();
    let address = packet.frame().as_ptr();
    let list = [Action::Output(1), Action::Output(2), Action::Output(3), Action::Truncate(20)];
    let sent = outputs(rig.run(&list, packet));
    assert_eq!(sent.iter().map(|(port, _)| *port).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(sent[2].1.frame().as_ptr(), address, "what is behind it changes nothing that anybody sees");
    assert!(sent[..2].iter().all(|(_, copy)| copy.frame().as_ptr() != address));
    assert_eq!(sent[0].1.frame(), sent[2].1.frame());
    assert_eq!(rig.take_drops(), []);
}

#[test]
fn a_clone_that_is_last_takes_the_packet() {
    let mut rig = Rig::default();
    let packet = packet();
    let address = packet.frame().as_ptr();
    let sent =
        outputs(rig.run(&[Action::Output(1), Action::Clone(vec![set_src(1), Action::Output(2)])], packet));
    assert_eq!(sent[1].1.frame().as_ptr(), address);
    assert_ne!(sent[0].1.frame()[..12], sent[1].1.frame()[..12]);
}

#[test]
fn changes_in_a_clone_stay_there() {
    let mut rig = Rig::default();
    let frame = Frame::default().bytes();
    let list = [Action::Clone(vec![set_src(1), Action::Output(1)]), Action::Output(2)];
    let sent = rig.frames(&list, &frame);
    assert_eq!(sent[0].1[6..12], [2, 0, 0, 0, 0, 1]);
    assert_eq!(sent[1].1, frame);
}

#[test]
fn a_packet_that_nobody_takes_is_one_drop() {
    let mut rig = Rig::default();
    for list in [vec![], vec![set_src(1)], vec![Action::Clone(vec![])]] {
        assert!(rig.run(&list, packet()).is_empty());
        assert_eq!(rig.take_drops(), [(DropReason::FlowDrop, 1)], "{list:?}");
    }
    rig.run(&[Action::Drop(0)], packet());
    assert_eq!(rig.take_drops(), [(DropReason::ActionDrop, 1)]);
    rig.run(&[Action::Output(1), Action::Drop(7)], packet());
    assert_eq!(rig.take_drops(), [(DropReason::ActionError, 1)]);
}

#[test]
fn sample_compares_with_the_random_number() {
    let mut rig = Rig::default();
    let list = |probability| {
        let actions = vec![Action::Output(1)];
        [Action::Sample(Sample { probability, actions }), Action::Output(2)]
    };
    let mut ports = |probability, random| {
        rig.services.random = random;
        outputs(rig.run(&list(probability), packet())).iter().map(|(port, _)| *port).collect::<Vec<_>>()
    };
    assert_eq!(ports(u32::MAX, u32::MAX), [1, 2]);
    assert_eq!(ports(0, 0), [2]);
    assert_eq!(ports(1000, 1000), [1, 2]);
    assert_eq!(ports(1000, 1001), [2]);
}

#[test]
fn truncation_is_for_the_next_output_and_inherited() {
    let mut rig = Rig::default();
    let frame = Frame::default().bytes();
    let list = [
        Action::Truncate(20),
        Action::Clone(vec![Action::Output(1), Action::Output(2)]),
        Action::Output(3),
        Action::Output(4),
    ];
    let lengths: Vec<usize> = rig.frames(&list, &frame).iter().map(|(_, frame)| frame.len()).collect();
    assert_eq!(lengths, [20, frame.len(), 20, frame.len()]);
    let list = [Action::Truncate(20), Action::Truncate(1000), Action::Output(1)];
    assert_eq!(rig.frames(&list, &frame)[0].1.len(), frame.len(), "the last one counts");
}

#[test]
fn a_tag_beside_the_frame_is_not_counted() {
    let mut rig = Rig::default();
    let frame = Frame { tags: vec![(0x8100, 5)], ..Frame::default() }.bytes();
    assert_eq!(rig.frames(&[Action::Truncate(30), Action::Output(1)], &frame)[0].1.len(), 34);
    let meter = [Action::Meter(7), Action::Output(1)];
    rig.frames(&meter, &frame);
    assert_eq!(rig.services.metered, [(7, frame.len() - 4)]);
}

#[test]
fn truncation_leaves_the_ethernet_header_and_the_outer_tag() {
    let mut rig = Rig::default();
    let frame = Frame { tags: vec![(0x88a8, 5), (0x8100, 6)], ..Frame::default() }.bytes();
    let list = [Action::Truncate(14), Action::PopVlan, Action::Output(1)];
    assert_eq!(
        rig.frames(&list, &frame)[0].1.len(),
        18,
        "four bytes less, but the tag moved out of the frame"
    );
    let list = [Action::Truncate(14), Action::PopVlan, Action::PopVlan, Action::Output(1)];
    assert_eq!(rig.frames(&list, &frame)[0].1.len(), 14);
}

#[test]
fn truncation_goes_with_a_recirculated_packet() {
    let mut rig = Rig::default();
    let effects = rig.run(&[Action::Truncate(20), Action::Recirculate(9)], packet());
    let [Effect::Recirculate { packet }] = <[Effect; 1]>::try_from(effects).unwrap() else { panic!() };
    assert_eq!((packet.recirc_id(), packet.recirculations()), (9, 1));
    let sent = outputs(rig.run(&[Action::Output(1), Action::Output(2)], packet));
    assert_eq!((sent[0].1.len(), sent[1].1.len()), (20, 50));
}

#[test]
fn recirculation_ends() {
    let mut rig = Rig::default();
    let mut packet = packet();
    for _ in 0..RECIRCULATIONS_MAX {
        let effects = rig.run(&[Action::Recirculate(1)], packet);
        let [Effect::Recirculate { packet: again }] = <[Effect; 1]>::try_from(effects).unwrap() else {
            panic!()
        };
        packet = again;
    }
    assert!(rig.run(&[Action::Recirculate(1)], packet).is_empty());
    assert_eq!(rig.take_drops(), [(DropReason::RecirculationLimit, 1)]);
}

#[test]
fn upcalls_and_samples_say_what_is_cut() {
    let mut rig = Rig::default();
    let userspace = Userspace { pid: 5, userdata: Some(vec![1]), ..Userspace::default() };
    let psample = Psample { group: 3, cookie: Some(vec![9; 16]) };
    let list = [
        Action::Truncate(20),
        Action::Userspace(userspace.clone()),
        Action::Sample(Sample {
            probability: 77,
            actions: vec![Action::Truncate(40), Action::Psample(psample)],
        }),
    ];
    let effects = rig.run(&list, packet());
    let [
        Effect::Upcall { packet, userspace: told, cut_len, key: None },
        Effect::Psample { group, probability, cut_len: cut, .. },
    ] = effects.as_slice()
    else {
        panic!("{effects:?}")
    };
    assert_eq!((packet.len(), *cut_len, &**told), (50, 30, &userspace));
    assert_eq!((*group, *probability, *cut), (3, 77, 10));
}

#[test]
fn a_meter_may_drop() {
    let mut rig = Rig::default();
    rig.services.verdict = Verdict::Drop;
    assert!(rig.run(&[Action::Meter(1), Action::Output(1)], packet()).is_empty());
    assert_eq!(rig.take_drops(), [(DropReason::Meter, 1)]);
}

#[test]
fn an_expired_packet_takes_the_other_way() {
    let mut rig = Rig::default();
    let expired = Frame { ttl: 1, ..Frame::default() }.bytes();
    let list = [Action::DecTtl(vec![Action::Output(9)]), Action::Output(1)];
    assert_eq!(rig.frames(&list, &expired), [(9, expired.clone())]);
    assert!(rig.frames(&[Action::DecTtl(vec![]), Action::Output(1)], &expired).is_empty());
    assert_eq!(rig.take_drops(), [(DropReason::TtlExpired, 1)]);
}

#[test]
fn a_super_packet_is_as_long_as_its_segments() {
    let mut rig = Rig::default();
    let frame = Frame { protocol: TCP, payload: vec![7; 3000], ..Frame::default() };
    let list = |len| {
        [Action::CheckPacketLength(CheckPacketLength {
            len,
            greater: vec![Action::Output(1)],
            less_or_equal: vec![Action::Output(2)],
        })]
    };
    let mut port = |len| {
        let mut packet = frame.partial();
        let gso = Some(Gso { gso_type: 1, size: 1000 });
        packet.set_offload(Offload { gso, ..packet.offload() });
        outputs(rig.run(&list(len), packet))[0].0
    };
    assert_eq!((port(1053), port(1054)), (1, 2));
}

#[test]
fn hash_is_never_zero_and_depends_on_the_flow() {
    let mut rig = Rig::default();
    let mut hash = |algorithm, frame: &Frame| {
        let list = [Action::Hash(Hash { algorithm, basis: 1 }), Action::Output(1)];
        outputs(rig.run(&list, Packet::copied_from(&frame.bytes()).unwrap()))[0].1.dp_hash()
    };
    let there = Frame::default();
    let back = Frame { src: there.dst, dst: there.src, ports: (2000, 1000), ..there.clone() };
    let other = Frame { ports: (1001, 2000), ..there.clone() };
    assert_ne!(hash(HashAlgorithm::L4, &there), 0);
    assert_ne!(hash(HashAlgorithm::L4, &there), hash(HashAlgorithm::L4, &back));
    assert_ne!(hash(HashAlgorithm::L4, &there), hash(HashAlgorithm::L4, &other));
    assert_eq!(hash(HashAlgorithm::SymL4, &there), hash(HashAlgorithm::SymL4, &back));
    let fragment = Frame { fragment: 0x2000, ..there.clone() };
    let later = Frame { fragment: 0x0001, ports: (7, 7), ..there };
    assert_eq!(
        hash(HashAlgorithm::L4, &fragment),
        hash(HashAlgorithm::L4, &later),
        "a datagram stays together"
    );
}

#[test]
fn headers_move_and_offloads_follow() {
    let mut rig = Rig::default();
    let tag = Action::PushVlan(PushVlan { tpid: 0x8100, tci: 0x1005 });
    let sent = outputs(rig.run(&[tag.clone(), Action::Output(1)], Frame::default().partial()));
    assert_eq!(sent[0].1.offload().partial_csum, Some((38, 6)));
    let sent = outputs(rig.run(&[tag, Action::PopVlan, Action::Output(1)], Frame::default().partial()));
    assert_eq!(sent[0].1.offload().partial_csum, Some((34, 6)));
    assert_eq!(sent[0].1.frame(), Frame::default().partial().frame());
    let to = PushEth { src: MacAddr([2; 6]), dst: MacAddr([4; 6]) };
    let list = [Action::PopEth, Action::PushEth(to), Action::Output(1)];
    let sent = outputs(rig.run(&list, Frame::default().partial()));
    assert_eq!(sent[0].1.offload().partial_csum, Some((34, 6)));
    assert_eq!(sent[0].1.layers(), (0, 0), "noted places are forgotten");
}

#[test]
fn a_super_packet_under_mpls_leaves_in_segments() {
    let mut rig = Rig::default();
    let frame = Frame { protocol: TCP, payload: vec![7; 2500], ..Frame::default() };
    let mut packet = frame.partial();
    let gso = Some(Gso { gso_type: 1, size: 1000 });
    packet.set_offload(Offload { gso, ..packet.offload() });
    let push = MplsPush { lse: 0x0006_4140, ethertype: 0x8847, add_l3_tunnel: None };
    let sent = outputs(rig.run(&[Action::PushMpls(push), Action::Output(1)], packet));
    assert_eq!(sent.iter().map(|(_, packet)| packet.len()).collect::<Vec<_>>(), [1058, 1058, 558]);
    for (_, packet) in &sent {
        assert!(packet.is_plain());
        assert_eq!(packet.frame()[12..18], [0x88, 0x47, 0, 6, 0x41, 0x40]);
        let inner = [&packet.frame()[..12], &[8, 0], &packet.frame()[18..]].concat();
        support::verify(&inner).unwrap();
    }
}

#[test]
fn a_failing_action_is_one_named_drop() {
    let mut rig = Rig::default();
    let mark = Action::Set(Set::CtMark(Masked { value: 1, mask: None }));
    assert!(rig.run(&[mark.clone(), Action::Output(1)], packet()).is_empty());
    assert_eq!(rig.take_drops(), [(DropReason::ActionFailed, 1)]);
    let effects = rig.run(&[Action::Output(1), Action::Clone(vec![mark]), Action::Output(2)], packet());
    assert_eq!(effects.len(), 1, "a list that fails ends the one around it");
    assert_eq!(rig.take_drops(), [(DropReason::ActionFailed, 2)]);
}

#[test]
fn an_upcall_behind_moved_headers_reports_the_key_from_before() {
    let mut rig = Rig::default();
    let push = Action::PushMpls(MplsPush { lse: 0x0006_4140, ethertype: 0x8847, add_l3_tunnel: None });
    let upcall = Action::Userspace(Userspace { pid: 5, ..Userspace::default() });
    let reported = |effects: Vec<Effect>| match effects.into_iter().next() {
        Some(Effect::Upcall { key, .. }) => key,
        other => panic!("{other:?}"),
    };
    let list = [
        set_src(7),
        push.clone(),
        set_src(9),
        Action::Set(Set::SkbMark(Masked { value: 3, mask: None })),
        upcall.clone(),
    ];
    let key = reported(rig.run(&list, packet())).unwrap();
    assert_eq!((key.eth_type.get(), key.tp_dst.get(), key.mpls_count), (0x0800, 2000, 0));
    assert_eq!((key.eth_src.0[5], key.skb_mark), (9, 3), "what is set later is in it");
    assert!(reported(rig.run(&[set_src(7), upcall.clone()], packet())).is_none());
    let tag = Action::PushVlan(PushVlan { tpid: 0x8100, tci: 0x1005 });
    assert!(
        reported(rig.run(&[tag.clone(), upcall.clone()], packet())).is_none(),
        "a first tag is in the key"
    );
    let list = [tag.clone(), Action::PopVlan, upcall.clone()];
    assert!(reported(rig.run(&list, packet())).is_none(), "and a last one goes from it");
    let key = reported(rig.run(&[tag.clone(), tag, upcall], packet())).unwrap();
    assert_eq!((key.vlan_tci.get(), key.cvlan_tci.get(), key.tp_dst.get()), (0x1005, 0, 2000));
}

#[test]
fn fields_are_set_under_any_number_of_tags() {
    let mut rig = Rig::default();
    let frame = Frame { tags: vec![(0x88a8, 7), (0x8100, 9)], ..Frame::default() }.bytes();
    let tag = Action::PushVlan(PushVlan { tpid: 0x88a8, tci: 0x1001 });
    let ports = Masked { value: portway_flow::Ports { src: 7, dst: 8 }, mask: None };
    let list = [tag.clone(), tag, Action::Set(Set::Udp(ports)), Action::Output(1)];
    let sent = rig.frames(&list, &frame).remove(0).1;
    assert_eq!(sent[50..54], [0, 7, 0, 8]);
    support::verify(&sent).unwrap();
}
