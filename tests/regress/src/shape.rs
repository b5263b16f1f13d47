// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Requests as they ought to be, and as they ought not to be: attributes of the right size, with now and then one that is too short, too
//! long, twice there, of another type, nested too deep, or with a length that is a lie.

use portway_messages::family::{CT_LIMIT, DATAPATH, FLOW, Family, METER, NLCTRL, PACKET, VPORT};

use crate::input::Input;

/// What an attribute holds.
#[derive(Clone, Copy)]
enum Value {
    /// Bytes of that number.
    Bytes(usize),
    /// A small number, as u32 or u16: port numbers, types, lengths.
    Small(usize),
    /// A name with its NUL.
    Name,
    /// Up to that many bytes.
    Upto(usize),
    Nest(&'static [(u16, Value)]),
    /// A flow key that belongs together.
    Key,
    /// A flow's mask.
    Mask,
    /// A list of actions.
    Actions,
}

use Value::{Actions, Bytes, Key, Mask, Name, Nest, Small, Upto};

const TUNNEL: &[(u16, Value)] = &[
    (0, Bytes(8)),
    (1, Bytes(4)),
    (2, Bytes(4)),
    (3, Bytes(1)),
    (4, Bytes(1)),
    (5, Bytes(0)),
    (6, Bytes(0)),
    (7, Bytes(0)),
    (8, Upto(300)),
    (9, Bytes(2)),
    (10, Bytes(2)),
    (11, Nest(&[(1, Bytes(4))])),
    (12, Bytes(16)),
    (13, Bytes(16)),
    (15, Bytes(12)),
    (16, Bytes(0)),
];
const NSH: &[(u16, Value)] = &[(1, Bytes(8)), (2, Bytes(16)), (3, Upto(260))];
const KEYS: &[(u16, Value)] = &[
    (1, Key),
    (2, Small(4)),
    (3, Small(4)),
    (4, Bytes(12)),
    (5, Bytes(2)),
    (6, Bytes(2)),
    (7, Bytes(12)),
    (8, Bytes(40)),
    (9, Bytes(4)),
    (10, Bytes(4)),
    (11, Bytes(2)),
    (12, Bytes(2)),
    (13, Bytes(24)),
    (14, Bytes(28)),
    (15, Bytes(4)),
    (16, Nest(TUNNEL)),
    (17, Bytes(4)),
    (18, Bytes(2)),
    (19, Bytes(4)),
    (20, Small(4)),
    (21, Bytes(4)),
    (22, Bytes(4)),
    (23, Small(2)),
    (24, Bytes(4)),
    (25, Bytes(16)),
    (26, Bytes(16)),
    (27, Bytes(40)),
    (28, Nest(NSH)),
    (29, Bytes(4)),
    (30, Bytes(8)),
    (32, Bytes(2)),
];
const CT: &[(u16, Value)] = &[
    (1, Bytes(0)),
    (2, Small(2)),
    (3, Bytes(8)),
    (4, Bytes(32)),
    (5, Name),
    (6, Nest(NAT)),
    (7, Bytes(0)),
    (8, Bytes(4)),
    (9, Name),
];
const NAT: &[(u16, Value)] = &[
    (1, Bytes(0)),
    (2, Bytes(0)),
    (3, Bytes(4)),
    (4, Bytes(4)),
    (5, Bytes(2)),
    (6, Bytes(2)),
    (7, Bytes(0)),
    (8, Bytes(0)),
    (9, Bytes(0)),
];
const ACTIONS: &[(u16, Value)] = &[
    (1, Small(4)),
    (2, Nest(&[(1, Small(4)), (2, Upto(64)), (3, Small(4)), (4, Bytes(0))])),
    (3, Nest(KEYS)),
    (4, Bytes(4)),
    (5, Bytes(0)),
    (6, Nest(&[(1, Bytes(4)), (2, Actions)])),
    (7, Small(4)),
    (8, Small(8)),
    (9, Bytes(6)),
    (10, Bytes(2)),
    (11, Nest(KEYS)),
    (12, Nest(CT)),
    (13, Small(4)),
    (14, Bytes(12)),
    (15, Bytes(0)),
    (16, Bytes(0)),
    (17, Nest(NSH)),
    (18, Bytes(0)),
    (19, Small(4)),
    (20, Actions),
    (21, Nest(&[(1, Small(2)), (2, Actions), (3, Actions)])),
    (22, Bytes(12)),
    (23, Nest(&[(1, Actions)])),
    (24, Small(4)),
    (25, Nest(&[(1, Small(4)), (2, Upto(20))])),
];
/// Actions that fit every key, most of the time.
const PLAIN_ACTIONS: &[(u16, Value)] =
    &[(1, Small(4)), (2, Nest(&[(1, Small(4))])), (7, Small(4)), (20, Nest(&[(1, Small(4))]))];
/// A mask that fits every key.
const PLAIN_MASK: &[(u16, Value)] = &[(3, Bytes(4)), (4, Bytes(12)), (20, Bytes(4))];
const BAND: &[(u16, Value)] = &[(1, Small(4)), (2, Small(4)), (3, Small(4)), (4, Bytes(16))];

/// Attributes of a family's requests.
fn attributes_of(family: &Family) -> &'static [(u16, Value)] {
    match family.id {
        id if id == DATAPATH.id => {
            &[(1, Name), (2, Upto(8)), (5, Small(4)), (7, Small(4)), (8, Upto(64)), (9, Small(4))]
        }
        id if id == VPORT.id => &[
            (1, Small(4)),
            (2, Small(4)),
            (3, Name),
            (4, Nest(&[(1, Bytes(2)), (2, Nest(&[(1, Bytes(4))]))])),
            (5, Upto(16)),
            (8, Small(4)),
            (9, Small(4)),
        ],
        id if id == FLOW.id => {
            &[(1, Key), (2, Actions), (6, Bytes(0)), (7, Mask), (8, Bytes(0)), (9, Bytes(16)), (10, Small(4))]
        }
        id if id == PACKET.id => &[
            (1, Upto(1600)),
            (2, Nest(KEYS)),
            (3, Actions),
            (4, Upto(40)),
            (5, Nest(TUNNEL)),
            (7, Bytes(0)),
            (8, Small(2)),
            (9, Small(4)),
            (10, Bytes(8)),
            (11, Small(4)),
        ],
        id if id == METER.id => &[
            (1, Small(4)),
            (2, Bytes(0)),
            (4, Nest(&[(0, Nest(BAND)), (1, Nest(BAND))])),
            (7, Bytes(0)),
            (8, Bytes(0)),
        ],
        id if id == CT_LIMIT.id => &[(1, Upto(48))],
        _ => &[(1, Small(2)), (2, Name), (10, Small(4))],
    }
}

const NAMES: [&[u8]; 6] = [b"dp0\0", b"dp1\0", b"p1\0", b"p2\0", b"ovs_flow\0", b"a-name-of-15-by\0"];
/// Nothing nests deeper than this, and what does not end by then ends there.
const DEPTH: usize = 24;
/// A list has no more attributes than this, but for those that are to burst it.
const LENGTH: usize = 8;

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

/// An attribute around what is written by `fill`. Now and then its length is a lie.
fn attribute(
    input: &mut Input<'_>,
    kind: u16,
    out: &mut Vec<u8>,
    fill: impl FnOnce(&mut Input<'_>, &mut Vec<u8>),
) {
    let start = out.len();
    out.extend([0; 4]);
    fill(input, out);
    // As a client's 16-bit addition does it: more than 65,535 bytes wrap.
    let mut len = (out.len() - start) as u16;
    let mut kind = kind;
    if input.rarely(250) {
        len = match input.below(4) {
            0 => len.wrapping_add(1),
            1 => len.wrapping_sub(1),
            2 => 0,
            _ => u16::from(input.byte()) << 8,
        };
    }
    if input.rarely(250) {
        kind ^= [0x8000, 0x4000, 1, 0x7fff][input.below(4)];
    }
    out[start..start + 2].copy_from_slice(&len.to_ne_bytes());
    out[start + 2..start + 4].copy_from_slice(&kind.to_ne_bytes());
    pad(out);
}

/// A list of actions.
pub(crate) fn actions(input: &mut Input<'_>) -> Vec<u8> {
    let mut list = Vec::new();
    value(input, Actions, DEPTH, &mut list);
    list
}

fn value(input: &mut Input<'_>, value: Value, depth: usize, out: &mut Vec<u8>) {
    if depth == 0 {
        return;
    }
    match value {
        Bytes(len) => {
            let len = if input.rarely(250) { input.below(70) } else { len };
            out.extend(input.bytes(len));
        }
        Small(len) => {
            let number = u64::from(input.byte() % 8).to_ne_bytes();
            let len = if input.rarely(250) { input.below(9) } else { len };
            out.extend(&number[..len.min(8)]);
        }
        Name => out.extend(NAMES[input.below(NAMES.len())]),
        Upto(most) => {
            let len = input.below(most + 1);
            let whole = if input.rarely(8) { !0 } else { !3 };
            out.extend(input.bytes(len & whole));
        }
        Nest(list) => some_of(input, list, depth - 1, out),
        Key => match input.rarely(6) {
            true => some_of(input, KEYS, depth - 1, out),
            false => coherent_key(input, out),
        },
        Mask => match input.rarely(4) {
            true => some_of(input, KEYS, depth - 1, out),
            false => most_of(input, PLAIN_MASK, out),
        },
        Actions => match input.rarely(200) {
            // More than 65,535 bytes of actions.
            true => out.extend([8, 0, 1, 0, 1, 0, 0, 0].repeat(8192 + input.below(8))),
            false if input.rarely(2) => some_of(input, ACTIONS, depth - 1, out),
            false => some_of(input, PLAIN_ACTIONS, depth - 1, out),
        },
    }
}

/// Some of a list's attributes, in any order, perhaps more than once.
fn some_of(input: &mut Input<'_>, list: &[(u16, Value)], depth: usize, out: &mut Vec<u8>) {
    for _ in 0..input.below(LENGTH) {
        if input.is_empty() {
            return;
        }
        let (kind, of) = list[input.below(list.len())];
        attribute(input, kind, out, |input, out| value(input, of, depth, out));
    }
}

/// All of a list's attributes, but for some that are left out.
fn most_of(input: &mut Input<'_>, list: &[(u16, Value)], out: &mut Vec<u8>) {
    for &(kind, of) in list {
        if !input.rarely(5) {
            attribute(input, kind, out, |input, out| value(input, of, DEPTH, out));
        }
        if input.rarely(250) {
            attribute(input, kind, out, |input, out| value(input, of, DEPTH, out));
        }
    }
}

/// A key whose parts belong together, so that what comes behind the checks is reached.
fn coherent_key(input: &mut Input<'_>, out: &mut Vec<u8>) {
    let mut put = |input: &mut Input<'_>, kind: u16, bytes: &[u8]| {
        attribute(input, kind, out, |_, out| out.extend(bytes));
    };
    let port = u32::from(input.byte() % 4).to_ne_bytes();
    put(input, 3, &port);
    let ethernet = input.bytes(12);
    put(input, 4, &ethernet);
    let (ethertype, l3, kind) = match input.below(4) {
        0 => (0x0800_u16, 12, 7),
        1 => (0x86dd, 40, 8),
        2 => (0x0806, 24, 13),
        _ => (0x88cc, 0, 0),
    };
    put(input, 6, &ethertype.to_be_bytes());
    if l3 == 0 {
        return;
    }
    let mut network = input.bytes(l3);
    let (proto, l4, len) =
        [(6, 9, 4), (17, 10, 4), (132, 17, 4), (1, 11, 2), (58, 12, 2), (47, 0, 0)][input.below(6)];
    match kind {
        7 => network[8..12].copy_from_slice(&[proto, 0, 64, 0]),
        8 => network[32..40].copy_from_slice(&[0, 0, 0, 0, proto, 0, 64, 0]),
        _ => {}
    }
    put(input, kind, &network);
    if kind != 13 && len != 0 {
        let ports = input.bytes(len);
        put(input, l4, &ports);
    }
}

/// The number of the datapath that a request is about: one that is there, most of the time.
pub(crate) fn datagram(input: &mut Input<'_>, dp_ifindex: &[i32]) -> Vec<u8> {
    let mut datagram = Vec::new();
    while !input.is_empty() && datagram.len() < 256 << 10 {
        let start = datagram.len();
        let families = [&FLOW, &FLOW, &FLOW, &PACKET, &PACKET, &VPORT, &DATAPATH, &METER, &CT_LIMIT, &NLCTRL];
        let family = families[input.below(families.len())];
        datagram.extend([0; 16]);
        datagram.extend([input.byte() % 6, 1, 0, 0]);
        if family.header != 0 {
            let number = match dp_ifindex {
                [] => 0,
                some => some[input.below(some.len())],
            };
            datagram.extend(number.to_ne_bytes());
        }
        match input.rarely(4) {
            true => some_of(input, attributes_of(family), DEPTH, &mut datagram),
            false => most_of(input, attributes_of(family), &mut datagram),
        }
        // REQUEST, and some of ACK, ECHO, ROOT, MATCH, ...
        let flags = 1 | [0_u16, 4, 8, 12, 0x300, 0x304, 0x400, 0x2ff][input.below(8)];
        let mut len = (datagram.len() - start) as u32;
        if input.rarely(250) {
            len = [0, 15, len + 4, len - 1, u32::MAX][input.below(5)];
        }
        datagram[start..start + 4].copy_from_slice(&len.to_ne_bytes());
        datagram[start + 4..start + 6].copy_from_slice(&family.id.to_ne_bytes());
        datagram[start + 6..start + 8].copy_from_slice(&flags.to_ne_bytes());
        if input.rarely(32) {
            datagram.truncate(start + input.below(datagram.len() - start + 1));
        }
    }
    datagram
}
