// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which packets a client's own thread sends.

use super::*;
use crate::message::tests::{attribute, message};

/// A UDP packet of 46 bytes behind its Ethernet header, as far as this code looks.
fn frame(ethertype: u16) -> Vec<u8> {
    let mut frame = vec![2; 60];
    frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
    frame
}

/// What `ovs-vswitchd` says of a packet that port 2 has received.
fn key() -> Vec<u8> {
    [
        attribute(OVS_KEY_ATTR_PRIORITY, &[0; 4]),
        attribute(OVS_KEY_ATTR_SKB_MARK, &[0; 4]),
        attribute(OVS_KEY_ATTR_IN_PORT, &2_u32.to_ne_bytes()),
    ]
    .concat()
}

fn output(port: u32) -> Vec<u8> {
    attribute(OVS_ACTION_ATTR_OUTPUT, &port.to_ne_bytes())
}

fn request_of(flags: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
    let header = vec![OVS_PACKET_CMD_EXECUTE, 1, 0, 0, 7, 0, 0, 0];
    message(PACKET_FAMILY, flags, &[&[header], attributes].concat().concat())
}

fn request(frame: &[u8], key: &[u8], actions: &[u8]) -> Vec<u8> {
    let attributes = [
        attribute(OVS_PACKET_ATTR_PACKET, frame),
        attribute(OVS_PACKET_ATTR_KEY | NLA_F_NESTED, key),
        attribute(OVS_PACKET_ATTR_ACTIONS, actions),
        attribute(OVS_PACKET_ATTR_HASH, &[9; 8]),
    ];
    request_of(NLM_F_REQUEST, &attributes)
}

fn put() -> Vec<u8> {
    message(FLOW_FAMILY, NLM_F_REQUEST, &[1, 1, 0, 0, 7, 0, 0, 0, 1, 2, 3, 4])
}

/// Whether a request is carried out here.
fn is_ours(request: &[u8]) -> bool {
    Parts::of(request).is_some()
}

#[test]
fn a_batch_is_taken_apart() {
    let (first, second) =
        (request(&frame(0x0800), &key(), &output(3)), request(&frame(0x86dd), &key(), &output(4)));
    let batch = [put(), first.clone(), put(), second.clone()].concat();
    let parts = Parts::of(&batch).unwrap();
    assert_eq!(parts.rest, [put(), put()].concat());
    let [one, two] = parts.executes.try_into().unwrap();
    assert_eq!((one.dp_ifindex, one.port_no, one.frame), (7, 3, &frame(0x0800)[..]));
    assert_eq!((two.dp_ifindex, two.port_no, two.frame), (7, 4, &frame(0x86dd)[..]));
    assert_eq!((one.request, two.request), (&first[..], &second[..]));
}

#[test]
fn one_that_is_not_leaves_all_to_portwayd() {
    let plain = request(&frame(0x0806), &key(), &output(3));
    assert!(is_ours(&plain));
    let unusual = request(&frame(0x8100), &key(), &output(3));
    assert!(!is_ours(&[plain.clone(), unusual].concat()));
    let dump = message(FLOW_FAMILY, NLM_F_REQUEST | 0x300, &[3, 1, 0, 0, 7, 0, 0, 0]);
    assert!(!is_ours(&[plain.clone(), dump].concat()));
    let other = message(0x21, NLM_F_REQUEST, &[2, 1, 0, 0, 7, 0, 0, 0]);
    assert!(!is_ours(&[other, plain.clone()].concat()));
    assert!(!is_ours(&put()), "nothing to send");
    assert!(!is_ours(&[plain, vec![1; 8]].concat()), "something behind it");
}

#[test]
fn whatever_is_unusual_is_portwayds() {
    let frame = frame(0x0800);
    let with_key =
        |attr: u16, payload: &[u8]| request(&frame, &[key(), attribute(attr, payload)].concat(), &output(3));
    for (attr, len) in [
        (OVS_KEY_ATTR_CT_STATE, 4),
        (OVS_KEY_ATTR_CT_ZONE, 2),
        (OVS_KEY_ATTR_CT_MARK, 4),
        (OVS_KEY_ATTR_CT_LABELS, 16),
    ] {
        assert!(is_ours(&with_key(attr, &vec![0; len])), "{attr}: none");
        let mut one = vec![0; len];
        one[len - 1] = 1;
        assert!(!is_ours(&with_key(attr, &one)), "{attr}: some");
        assert!(!is_ours(&with_key(attr, &vec![0; len + 4])), "{attr}: too long");
    }
    assert!(is_ours(&with_key(OVS_KEY_ATTR_RECIRC_ID, &[1; 4])));
    assert!(!is_ours(&with_key(OVS_KEY_ATTR_TUNNEL, &[])));
    assert!(!is_ours(&with_key(OVS_KEY_ATTR_PRIORITY, &[0; 4])), "twice");
    assert!(!is_ours(&with_key(60, &[0; 4])), "unknown");
    let without_port = [attribute(OVS_KEY_ATTR_PRIORITY, &[0; 4]), attribute(OVS_KEY_ATTR_SKB_MARK, &[0; 4])];
    assert!(!is_ours(&request(&frame, &without_port.concat(), &output(3))));
    let marked = [attribute(OVS_KEY_ATTR_SKB_MARK, &[1; 4]), attribute(OVS_KEY_ATTR_IN_PORT, &[2, 0, 0, 0])];
    assert!(!is_ours(&request(&frame, &marked.concat(), &output(3))));
    let beyond = attribute(OVS_KEY_ATTR_IN_PORT, &DP_MAX_PORTS.to_ne_bytes());
    assert!(!is_ours(&request(&frame, &beyond, &output(3))));

    for actions in [
        vec![],
        [output(3), output(4)].concat(),
        output(DP_MAX_PORTS),
        attribute(OVS_ACTION_ATTR_OUTPUT, &[3, 0, 0, 0, 0]),
        attribute(OVS_ACTION_ATTR_POP_VLAN, &[]),
        [attribute(OVS_ACTION_ATTR_TRUNC, &[64, 0, 0, 0]), output(3)].concat(),
    ] {
        assert!(!is_ours(&request(&frame, &key(), &actions)), "{actions:?}");
    }
    assert!(!is_ours(&request(&frame[..13], &key(), &output(3))), "no Ethernet header");
    assert!(is_ours(&request(&frame[..14], &key(), &output(3))));
}

#[test]
fn a_request_must_be_nothing_else() {
    let whole = [
        attribute(OVS_PACKET_ATTR_PACKET, &frame(0x0800)),
        attribute(OVS_PACKET_ATTR_KEY, &key()),
        attribute(OVS_PACKET_ATTR_ACTIONS, &output(3)),
    ];
    assert!(is_ours(&request_of(NLM_F_REQUEST, &whole)));
    for flags in [0, NLM_F_REQUEST | 4, NLM_F_REQUEST | 8, NLM_F_REQUEST | 0x300] {
        assert!(!is_ours(&request_of(flags, &whole)), "flags {flags:#x}");
    }
    for missing in 0..whole.len() {
        let mut some = whole.to_vec();
        some.remove(missing);
        assert!(!is_ours(&request_of(NLM_F_REQUEST, &some)));
    }
    for attr in [OVS_PACKET_ATTR_PROBE, OVS_PACKET_ATTR_MRU, OVS_PACKET_ATTR_LEN, OVS_PACKET_ATTR_PACKET, 40]
    {
        let more = [&whole[..], &[attribute(attr, &[0; 4])]].concat();
        assert!(!is_ours(&request_of(NLM_F_REQUEST, &more)), "attribute {attr}");
    }
    let mut other_command = request_of(NLM_F_REQUEST, &whole);
    other_command[HEADER] = 1;
    assert!(!is_ours(&other_command));
}

#[test]
fn cut_or_damaged_nothing_is_read_beyond_it() {
    let whole = request(&frame(0x0800), &key(), &output(3));
    for len in 0..whole.len() {
        assert!(!is_ours(&whole[..len]), "{len} bytes");
    }
    for at in 0..whole.len() {
        for value in [0, 1, 3, 4, 5, 0x40, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] = value;
            let Some(parts) = Parts::of(&damaged) else { continue };
            let [execute] = parts.executes.try_into().unwrap();
            assert_eq!(execute.request, damaged, "byte {at}");
            assert!(execute.port_no < DP_MAX_PORTS && execute.frame.len() >= ETHERNET_HEADER, "byte {at}");
        }
    }
}
