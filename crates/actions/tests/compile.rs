// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is refused, and with which errno. The recordings in `tests/conformance` hold many more cases.

mod support;

use portway_actions::{Error, Limits, Program};
use portway_buf::Packet;
use portway_flow::{
    Action, FlowKey, FlowMask, Ipv6Fields, Masked, MplsPush, Ports, Psample, PushNsh, PushVlan, Set,
    Userspace,
};
use portway_uapi::errno::Errno;
use support::{Frame, Rig, SCTP, TCP};

fn compile(actions: &[Action], frame: &Frame) -> Result<Program, Error> {
    Rig::compile(actions, &mut Packet::copied_from(&frame.bytes()).unwrap())
}

fn nested(depth: usize) -> Vec<Action> {
    (0..depth).fold(vec![Action::Output(1)], |list, _| vec![Action::Clone(list)])
}

fn ports() -> Masked<Ports> {
    Masked { value: Ports { src: 1, dst: 2 }, mask: None }
}

#[test]
fn nesting_has_a_limit() {
    let frame = Frame::default();
    assert!(compile(&nested(16), &frame).is_ok());
    assert_eq!(compile(&nested(17), &frame).unwrap_err().errno(), Errno::EOVERFLOW);
    let limits = Limits { depth_max: 2, ..Limits::default() };
    let shallow = |list: &[Action]| Program::compile(list, &FlowKey::default(), &FlowMask::exact(), &limits);
    assert!(shallow(&nested(2)).is_ok());
    assert_eq!(shallow(&nested(3)).unwrap_err(), Error::TooDeep(2));
}

#[test]
fn a_list_has_a_longest_length() {
    let frame = Frame::default();
    // As many as a netlink attribute holds.
    assert!(compile(&vec![Action::PopVlan; 16_383], &frame).is_ok());
    let nested = vec![Action::Clone(vec![Action::Output(1)]); 8192];
    for too_many in [vec![Action::PopVlan; 16_384], nested] {
        let error = compile(&too_many, &frame).unwrap_err();
        assert_eq!((error, error.errno()), (Error::TooMany(16_383), Errno::EMSGSIZE));
    }
}

#[test]
fn numbers_have_ranges() {
    let frame = Frame::default();
    let refused = |action: Action| compile(&[action], &frame).unwrap_err();
    assert!(compile(&[Action::Output(65_534)], &frame).is_ok());
    assert_eq!(refused(Action::Output(65_535)), Error::PortTooLarge(65_535));
    assert_eq!(refused(Action::Truncate(13)), Error::TruncateTooShort(13));
    assert_eq!(refused(Action::Userspace(Userspace::default())), Error::NoReceiver);
    assert_eq!(refused(Action::PushVlan(PushVlan { tpid: 0x9100, tci: 0x1000 })), Error::BadTpid(0x9100));
    assert_eq!(refused(Action::PushVlan(PushVlan { tpid: 0x8100, tci: 5 })), Error::NoCfi);
    let long = Psample { group: 1, cookie: Some(vec![0; 17]) };
    assert_eq!(refused(Action::Psample(long)), Error::CookieTooLong(17));
    let label = Ipv6Fields { label: 0x10_0000, ..Ipv6Fields::default() };
    assert_eq!(refused(Action::Set(Set::Ipv6(Masked { value: label, mask: None }))), Error::LabelTooLarge);
    let md2 = PushNsh { flags: 0, ttl: 1, mdtype: 2, np: 3, path_hdr: 0, metadata: vec![0; 249] };
    assert_eq!(refused(Action::PushNsh(md2)), Error::BadNsh);
}

#[test]
fn nothing_may_follow_a_drop() {
    let frame = Frame::default();
    assert!(compile(&[Action::Output(1), Action::Drop(3)], &frame).is_ok());
    assert_eq!(compile(&[Action::Drop(3), Action::Output(1)], &frame).unwrap_err(), Error::BehindDrop);
    assert!(compile(&[Action::Clone(vec![Action::Drop(3)]), Action::Output(1)], &frame).is_ok());
}

#[test]
fn a_header_must_be_matched_to_be_set() {
    let tcp = Frame { protocol: TCP, ..Frame::default() };
    let sctp = Frame { protocol: SCTP, ipv6: true, ..Frame::default() };
    assert!(compile(&[Action::Set(Set::Tcp(ports()))], &tcp).is_ok());
    assert!(compile(&[Action::Set(Set::Sctp(ports()))], &sctp).is_ok());
    for (set, frame) in [(Set::Udp(ports()), &tcp), (Set::Tcp(ports()), &sctp), (Set::Sctp(ports()), &tcp)] {
        assert!(matches!(compile(&[Action::Set(set)], frame), Err(Error::HeaderNotMatched(_))));
    }
    let mut packet = Packet::copied_from(&tcp.bytes()).unwrap();
    let key = portway_flow::extract(&mut packet).unwrap();
    let anything = FlowMask::new(FlowKey::default());
    let refused =
        Program::compile(&[Action::Set(Set::Tcp(ports()))], &key, &anything, &Limits::default()).unwrap_err();
    assert_eq!(refused, Error::HeaderNotMatched("tcp"), "the key has it, but the mask leaves it out");
}

#[test]
fn the_walk_follows_the_headers() {
    let frame = Frame { protocol: TCP, ..Frame::default() };
    let push = |ethertype| Action::PushMpls(MplsPush { lse: 0x100, ethertype, add_l3_tunnel: None });
    let tag = Action::PushVlan(PushVlan { tpid: 0x8100, tci: 0x1001 });
    let set = Action::Set(Set::Tcp(ports()));
    assert_eq!(
        compile(&[push(0x8847), set.clone()], &frame).unwrap_err(),
        Error::HeaderNotMatched("tcp"),
        "under a label nothing is known"
    );
    assert!(
        compile(&[push(0x8847), push(0x8848), Action::PopMpls(0x8847), Action::PopMpls(0x0800)], &frame)
            .is_ok()
    );
    assert!(compile(&[push(0x8847), Action::PopMpls(0x0800), set.clone()], &frame).is_err());
    assert_eq!(compile(&[tag.clone(), push(0x8847)], &frame).unwrap_err(), Error::UnderVlan("push_mpls"));
    assert!(compile(&[tag.clone(), Action::PopVlan, push(0x8847)], &frame).is_ok());
    assert_eq!(compile(&[tag.clone(), Action::PopEth], &frame).unwrap_err(), Error::UnderVlan("pop_eth"));
    assert_eq!(compile(&[Action::PopEth, tag], &frame).unwrap_err(), Error::NeedsEthernet("push_vlan"));
    // What a list inside does is not seen outside.
    assert!(compile(&[Action::Clone(vec![Action::PopEth]), set], &frame).is_ok());
}

#[test]
fn simple_forms_are_recognised() {
    let frame = Frame::default();
    let outputs = |list: &[Action]| compile(list, &frame).unwrap();
    assert_eq!(outputs(&[Action::Output(4)]).single_output(), Some(4));
    let flood = outputs(&[Action::Output(4), Action::Output(5)]);
    assert_eq!((flood.single_output(), flood.outputs()), (None, Some(&[4, 5][..])));
    let drop = outputs(&[]);
    assert!(drop.is_drop() && drop.outputs() == Some(&[]));
    let more = outputs(&[Action::PopVlan, Action::Output(4)]);
    assert_eq!((more.single_output(), more.outputs(), more.actions().len()), (None, None, 2));
}
