// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Messages about devices and what becomes of them.

use super::*;
use crate::message::tests::{attribute, message};

const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const CREATE: u16 = NLM_F_REQUEST | 4 | NLM_F_CREATE | 0x200;

fn about(kind: u16, name: &[u8], flags: u16, more: &[u8]) -> Vec<u8> {
    message(kind, flags, &[&[0xff; IFINFOMSG], &attribute(IFLA_IFNAME, name)[..], more].concat())
}

fn new_link(name: &[u8], kind: &[u8], flags: u16) -> Vec<u8> {
    about(RTM_NEWLINK, name, flags, &attribute(IFLA_LINKINFO, &attribute(IFLA_INFO_KIND, kind)))
}

fn wanted_of(bytes: &[u8]) -> Wanted {
    wanted(&messages(bytes).next().expect("a message"))
}

fn changed(bytes: &[u8], change: fn(&Message<'_>) -> Vec<u8>) -> Vec<u8> {
    change(&messages(bytes).next().expect("a message"))
}

#[test]
fn what_is_wanted() {
    for (name, kind, flags, expected) in [
        (&b"vxlan_sys_4789\0"[..], &b"vxlan\0"[..], CREATE, Wanted::Make(true)),
        (b"genev_sys_6081\0", b"geneve", CREATE, Wanted::Make(true)),
        (b"gre_sys\0", b"gretap\0", CREATE, Wanted::Make(true)),
        (b"erspan_sys\0", b"erspan\0", CREATE, Wanted::Make(false)),
        (b"gre_sys\0", b"ovs_geneve\0", CREATE, Wanted::Probe),
        (b"x\0", b"ovs_geneve\0", CREATE, Wanted::Probe),
        (b"vxlan0\0", b"vxlan\0", CREATE, Wanted::Nothing),
        (b"vxlan_sys_4789\0", b"vxlan\0", NLM_F_REQUEST, Wanted::Nothing),
        (b"vxlan_sys_4789\0", b"", CREATE, Wanted::Nothing),
    ] {
        assert_eq!(wanted_of(&new_link(name, kind, flags)), expected, "{name:?} {kind:?}");
    }
    let name = b"genev_sys_6081\0";
    assert_eq!(wanted_of(&about(RTM_GETLINK, name, NLM_F_REQUEST, &[])), Wanted::Geneve);
    assert_eq!(wanted_of(&about(RTM_GETLINK, name, NLM_F_REQUEST | NLM_F_DUMP, &[])), Wanted::Nothing);
    assert_eq!(wanted_of(&about(RTM_GETLINK, b"genev0\0", NLM_F_REQUEST, &[])), Wanted::Nothing);
    let delete = about(RTM_DELLINK, b"gre_sys\0", NLM_F_REQUEST, &[]);
    assert_eq!(wanted_of(&delete), Wanted::Delete(b"gre_sys".to_vec()));
    assert_eq!(wanted_of(&about(RTM_DELLINK, b"gre0\0", NLM_F_REQUEST, &[])), Wanted::Nothing);
}

#[test]
fn spoiled_requests_differ_in_one_place() {
    let request = new_link(b"vxlan_sys_4789\0", b"vxlan\0", CREATE);
    assert_eq!(changed(&request, of_no_kind), new_link(b"vxlan_sys_4789\0", b"!xlan\0", CREATE));
    let ask = |name| about(RTM_GETLINK, name, NLM_F_REQUEST, &[]);
    assert_eq!(changed(&ask(b"genev_sys_6081\0"), of_no_name), ask(b"!enev_sys_6081\0"));
    let delete = |name| about(RTM_DELLINK, name, NLM_F_REQUEST, &[]);
    assert_eq!(changed(&delete(b"gre_sys\0"), of_the_loopback), delete(b"lo\0\0\0\0\0\0"));
}

#[test]
fn a_request_that_is_done_asks_for_nothing_but_an_answer() {
    let mtu = attribute(4, &[1, 0, 0, 0]);
    let info = attribute(IFLA_LINKINFO, &attribute(IFLA_INFO_KIND, b"vxlan\0"));
    let request = about(RTM_NEWLINK, b"vxlan_sys_1\0", CREATE, &[mtu, info.clone()].concat());
    let nothing = [attribute(NOTHING, &[1, 0, 0, 0]), attribute(NOTHING, &info[4..])].concat();
    let mut expected = about(RTM_NEWLINK, b"vxlan_sys_1\0", NLM_F_REQUEST | 4, &nothing);
    expected[FLAGS].fill(0);
    assert_eq!(changed(&request, done), expected);
}

#[test]
fn a_refusal_has_the_other_errno_and_the_request() {
    let request = new_link(b"vxlan_sys_1\0", b"vxlan\0", CREATE);
    let spoiled = changed(&request, of_no_kind);
    let tlv = attribute(1, b"Unknown device type\0");
    let error = |flags: u16, errno: i32, parts: &[&[u8]]| {
        message(NLMSG_ERROR, flags, &[&(-errno).to_ne_bytes()[..], &parts.concat()].concat())
    };
    let told = |bytes: &[u8]| refusal(&messages(bytes).next().expect("a message"), Some(17), &request);
    let whole = error(NLM_F_ACK_TLVS, 95, &[&spoiled, &tlv]);
    assert_eq!(told(&whole), Some(error(0, 17, &[&request])));
    let capped = error(NLM_F_ACK_TLVS | NLM_F_CAPPED, 95, &[&spoiled[..HEADER], &tlv]);
    assert_eq!(told(&capped), Some(error(NLM_F_CAPPED, 17, &[&request[..HEADER]])));
    assert_eq!(told(&error(0, 0, &[&request[..HEADER]])), None, "an acknowledgement");
    assert_eq!(told(&request), None);
    let message = messages(&whole).next().expect("a message");
    assert_eq!(refusal(&message, None, &request), Some(error(0, 95, &[&request])), "the kernel's errno");
}

/// What the kernel says of the TAP that stands for the device.
fn tap(alias: &str) -> Vec<u8> {
    let one = |kind| attribute(kind, &[1]);
    let data = [one(3), one(4), one(5), one(6), one(7)].concat();
    let info = [attribute(IFLA_INFO_KIND, b"tun\0"), attribute(2, &data)].concat();
    let name = attribute(IFLA_IFNAME, b"vxlan_sys_1\0");
    let alias = attribute(IFLA_IFALIAS, &[alias.as_bytes(), &[0]].concat());
    let parts = [vec![0xff; IFINFOMSG], name, alias, attribute(4, &[9; 4]), attribute(IFLA_LINKINFO, &info)];
    message(RTM_NEWLINK, 0, &[parts.concat(), attribute(33, &[1])].concat())
}

#[test]
fn a_tap_is_shown_as_what_it_stands_for() {
    let device = TunnelDevice { zero_checksum6: true, ..TunnelDevice::new(TunnelKind::Vxlan, 1) };
    let (theirs, other) = (tap(&device.alias()), tap("a person's"));
    let datagram = [other.clone(), theirs.clone(), other.clone()].concat();
    assert!(may_be_tunnel(&datagram) && !may_be_tunnel(&other));
    let shown = replaced(&datagram, as_tunnel).expect("one is replaced");
    assert!(shown.len() < datagram.len());
    let name = attribute(IFLA_IFNAME, b"vxlan_sys_1\0");
    let info = attribute(IFLA_LINKINFO, &device.link_info());
    let parts = [vec![0xff; IFINFOMSG], name, attribute(4, &[9; 4]), info, attribute(33, &[1])];
    assert_eq!(shown, [other.clone(), message(RTM_NEWLINK, 0, &parts.concat()), other.clone()].concat());
    assert_eq!(replaced(&other, as_tunnel), None);
}

#[test]
fn cut_anywhere_nothing_is_read_beyond() {
    let device = TunnelDevice::new(TunnelKind::Geneve, 6081);
    let whole = [new_link(b"gre_sys\0", b"gretap\0", CREATE), tap(&device.alias())].concat();
    for len in 0..whole.len() {
        let mut cut = whole[..len].to_vec();
        for _ in 0..2 {
            for message in messages(&cut) {
                let _ = (wanted(&message), of_no_kind(&message), of_no_name(&message), done(&message));
                let _ = (of_the_loopback(&message), refusal(&message, Some(1), &cut), as_tunnel(&message));
            }
            let _ = (may_be_tunnel(&cut), replaced(&cut, as_tunnel));
            // Once more with a first message that says that it is as long as what is left.
            if let Some(first) = cut.get_mut(..4) {
                first.copy_from_slice(&(len as u32).to_ne_bytes());
            }
        }
    }
}
