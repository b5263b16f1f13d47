// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Programs run on packets that their flow could not have matched, cut and damaged: every packet ends as an effect or a counted drop.

mod support;

use portway_actions::{Limits, Program};
use portway_buf::{Packet, PacketKind};
use portway_flow::{
    Action, FlowMask, Ipv4Fields, Ipv6Fields, MacAddr, Masked, MplsPush, Ports, PushEth, PushNsh, PushVlan,
    Set,
};
use support::{Frame, Rig, SCTP, TCP, UDP};

fn all<T>(value: T) -> Masked<T> {
    Masked { value, mask: None }
}

/// Each action that changes packets, compiled for a frame that it fits.
fn programs() -> Vec<Program> {
    let ports = all(Ports { src: 7, dst: 8 });
    let udp4 = Frame::default();
    let tcp6 = Frame { ipv6: true, protocol: TCP, ..Frame::default() };
    let sctp = Frame { protocol: SCTP, ..Frame::default() };
    let ipv4 = Ipv4Fields { src: [9; 4], proto: UDP, ..Ipv4Fields::default() };
    let ipv6 = Ipv6Fields { dst: [9; 16], proto: TCP, ..Ipv6Fields::default() };
    let mpls = |before| MplsPush { lse: 0x100, ethertype: 0x8847, add_l3_tunnel: before };
    let nsh = PushNsh { flags: 0, ttl: 9, mdtype: 1, np: 3, path_hdr: 1, metadata: vec![1; 16] };
    let mac = MacAddr([2; 6]);
    let to = PushEth { src: mac, dst: mac };
    let lists = [
        (vec![Action::Set(Set::Ethernet { src: all(mac), dst: all(mac) })], &udp4),
        (vec![Action::Set(Set::Ipv4(all(ipv4)))], &udp4),
        (vec![Action::Set(Set::Ipv6(all(ipv6)))], &tcp6),
        (vec![Action::Set(Set::Udp(ports.clone()))], &udp4),
        (vec![Action::Set(Set::Tcp(ports.clone()))], &tcp6),
        (vec![Action::Set(Set::Sctp(ports))], &sctp),
        (vec![Action::PushVlan(PushVlan { tpid: 0x88a8, tci: 0x1001 })], &udp4),
        (vec![Action::PopVlan, Action::PopVlan], &udp4),
        (vec![Action::PushMpls(mpls(None)), Action::Set(Set::Mpls(all(1))), Action::PopMpls(0x0800)], &udp4),
        (vec![Action::PushMpls(mpls(Some(false)))], &udp4),
        (vec![Action::PopEth, Action::PushEth(to)], &udp4),
        (vec![Action::PushNsh(nsh), Action::PushEth(to)], &udp4),
        (vec![Action::DecTtl(vec![])], &tcp6),
        (vec![Action::Truncate(14)], &tcp6),
    ];
    lists
        .into_iter()
        .map(|(mut list, frame)| {
            list.push(Action::Output(1));
            let mut packet = Packet::copied_from(&frame.bytes()).unwrap();
            let key = portway_flow::extract(&mut packet).unwrap();
            Program::compile(&list, &key, &FlowMask::exact(), &Limits::default()).unwrap()
        })
        .collect()
}

fn frames() -> Vec<Vec<u8>> {
    let tags = vec![(0x88a8, 7), (0x8100, 9)];
    let extensions = vec![(0, 0), (43, 1), (44, 0)];
    let frames = [
        Frame::default(),
        Frame { tags, protocol: TCP, ..Frame::default() },
        Frame { ipv6: true, protocol: TCP, extensions, ..Frame::default() },
        Frame { protocol: SCTP, options: 3, ..Frame::default() },
    ];
    let mut bytes: Vec<Vec<u8>> = frames.iter().map(Frame::bytes).collect();
    let mut damaged = bytes[0].clone();
    damaged[14] = 0x41; // a header of four bytes
    bytes.push(damaged);
    let mut lying = bytes[0].clone();
    lying[14] = 0x4f; // a header of sixty bytes
    bytes.push(lying);
    bytes
}

#[test]
fn frames_cut_at_every_byte() {
    let mut rig = Rig::default();
    for program in programs() {
        for frame in frames() {
            for len in 0..=frame.len() {
                for kind in [PacketKind::Ethernet, PacketKind::Layer3(0x0800), PacketKind::Layer3(0x894f)] {
                    let mut packet = Packet::copied_from(&frame[..len]).unwrap();
                    packet.set_kind(kind);
                    let effects = rig.execute(&program, packet);
                    let drops: u64 = rig.take_drops().iter().map(|(_, count)| count).sum();
                    assert_eq!(effects.len() as u64 + drops, 1, "{:?} on {len} bytes", program.actions());
                }
            }
        }
    }
}

#[test]
fn a_packet_has_only_so_much_headroom() {
    let mut rig = Rig::default();
    let tag = Action::PushVlan(PushVlan { tpid: 0x8100, tci: 0x1001 });
    let list = |n| {
        let mut list = vec![tag.clone(); n];
        list.push(Action::Output(1));
        list
    };
    let frame = Frame::default().bytes();
    let room = portway_buf::HEADROOM / 4;
    assert_eq!(rig.frames(&list(room), &frame)[0].1.len(), frame.len() + portway_buf::HEADROOM);
    assert!(rig.frames(&list(room + 1), &frame).is_empty());
    assert_eq!(rig.take_drops(), [(portway_buf::DropReason::NoBuffer, 1)]);
}
