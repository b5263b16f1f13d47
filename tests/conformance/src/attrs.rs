// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Attributes as the scenarios write them (`[NAME, VALUE]` pairs, see `shared/oracle/README.md`), turned into the bytes that were sent.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use crate::bytes_of_hex;

/// How a value is written and how many bytes it has.
#[derive(Clone, Copy)]
pub enum Kind {
    /// A number in host order, of so many bytes.
    Host(usize),
    /// A big-endian number of so many bytes.
    Net(usize),
    /// An Ethernet address.
    Mac,
    /// An IPv4 address.
    Ip4,
    /// An IPv6 address.
    Ip6,
    /// An address of either kind.
    Ip,
    /// Hexadecimal digits.
    Hex,
    /// Hexadecimal digits of so many bytes.
    FixHex(usize),
    /// No payload.
    Flag,
    /// A string with a zero at its end.
    Text,
    /// Numbers that may be symbols.
    Symbols,
    /// Zeros.
    Pad(usize),
    /// Values one after the other.
    Array(&'static Kind),
    /// Named members.
    Struct(&'static [(&'static str, Kind)]),
    /// Attributes.
    Nest(Table),
    /// Attributes of [`KEY`].
    Key,
    /// Attributes of [`ACTIONS`].
    Actions,
}

/// The attributes of a nest: name, number, kind.
pub type Table = &'static [(&'static str, u16, Kind)];

use Kind::{
    Actions, Array, FixHex, Flag, Hex, Host, Ip, Ip4, Ip6, Key, Mac, Nest, Net, Pad, Struct, Symbols, Text,
};

const ETHERNET: Kind = Struct(&[("src", Mac), ("dst", Mac)]);
const PORTS: Kind = Struct(&[("src", Net(2)), ("dst", Net(2))]);
const ICMP: Kind = Struct(&[("type", Host(1)), ("code", Host(1))]);
const IPV4: Kind = Struct(&[
    ("src", Ip4),
    ("dst", Ip4),
    ("proto", Host(1)),
    ("tos", Host(1)),
    ("ttl", Host(1)),
    ("frag", Host(1)),
]);
const IPV6: Kind = Struct(&[
    ("src", Ip6),
    ("dst", Ip6),
    ("label", Net(4)),
    ("proto", Host(1)),
    ("tclass", Host(1)),
    ("hlimit", Host(1)),
    ("frag", Host(1)),
]);
const ARP: Kind =
    Struct(&[("sip", Ip4), ("tip", Ip4), ("op", Net(2)), ("sha", Mac), ("tha", Mac), ("pad", Pad(2))]);
const CT4: Kind = Struct(&[
    ("src", Ip4),
    ("dst", Ip4),
    ("sport", Net(2)),
    ("dport", Net(2)),
    ("proto", Host(1)),
    ("pad", Pad(3)),
]);
const CT6: Kind = Struct(&[
    ("src", Ip6),
    ("dst", Ip6),
    ("sport", Net(2)),
    ("dport", Net(2)),
    ("proto", Host(1)),
    ("pad", Pad(3)),
]);
const NSH_BASE: Kind = Struct(&[
    ("flags", Host(1)),
    ("ttl", Host(1)),
    ("mdtype", Host(1)),
    ("np", Host(1)),
    ("path_hdr", Net(4)),
]);
const MPLS_PUSH: Kind = Struct(&[("lse", Net(4)), ("ethertype", Net(2)), ("pad", Pad(2))]);
const MPLS_ADD: Kind = Struct(&[("lse", Net(4)), ("ethertype", Net(2)), ("tun_flags", Host(2))]);

const NSH: Table = &[("BASE", 1, NSH_BASE), ("MD1", 2, FixHex(16)), ("MD2", 3, Hex)];

const TUNNEL: Table = &[
    ("ID", 0, Net(8)),
    ("IPV4_SRC", 1, Ip4),
    ("IPV4_DST", 2, Ip4),
    ("TOS", 3, Host(1)),
    ("TTL", 4, Host(1)),
    ("DONT_FRAGMENT", 5, Flag),
    ("CSUM", 6, Flag),
    ("OAM", 7, Flag),
    ("GENEVE_OPTS", 8, Hex),
    ("TP_SRC", 9, Net(2)),
    ("TP_DST", 10, Net(2)),
    ("VXLAN_OPTS", 11, Nest(&[("GBP", 1, Host(4))])),
    ("IPV6_SRC", 12, Ip6),
    ("IPV6_DST", 13, Ip6),
    ("PAD", 14, Hex),
    ("ERSPAN_OPTS", 15, Hex),
    ("IPV4_INFO_BRIDGE", 16, Flag),
];

/// OVS_KEY_ATTR_*.
pub const KEY: Table = &[
    ("ENCAP", 1, Key),
    ("PRIORITY", 2, Host(4)),
    ("IN_PORT", 3, Host(4)),
    ("ETHERNET", 4, ETHERNET),
    ("VLAN", 5, Net(2)),
    ("ETHERTYPE", 6, Net(2)),
    ("IPV4", 7, IPV4),
    ("IPV6", 8, IPV6),
    ("TCP", 9, PORTS),
    ("UDP", 10, PORTS),
    ("ICMP", 11, ICMP),
    ("ICMPV6", 12, ICMP),
    ("ARP", 13, ARP),
    ("ND", 14, Struct(&[("target", Ip6), ("sll", Mac), ("tll", Mac)])),
    ("SKB_MARK", 15, Host(4)),
    ("TUNNEL", 16, Nest(TUNNEL)),
    ("SCTP", 17, PORTS),
    ("TCP_FLAGS", 18, Net(2)),
    ("DP_HASH", 19, Host(4)),
    ("RECIRC_ID", 20, Host(4)),
    ("MPLS", 21, Array(&Net(4))),
    ("CT_STATE", 22, Host(4)),
    ("CT_ZONE", 23, Host(2)),
    ("CT_MARK", 24, Host(4)),
    ("CT_LABELS", 25, FixHex(16)),
    ("CT_ORIG_TUPLE_IPV4", 26, CT4),
    ("CT_ORIG_TUPLE_IPV6", 27, CT6),
    ("NSH", 28, Nest(NSH)),
    ("PACKET_TYPE", 29, Net(4)),
    ("ND_EXTENSIONS", 30, Hex),
    ("TUNNEL_INFO", 31, Hex),
    ("IPV6_EXTHDRS", 32, Host(2)),
];

const NAT: Table = &[
    ("SRC", 1, Flag),
    ("DST", 2, Flag),
    ("IP_MIN", 3, Ip),
    ("IP_MAX", 4, Ip),
    ("PROTO_MIN", 5, Host(2)),
    ("PROTO_MAX", 6, Host(2)),
    ("PERSISTENT", 7, Flag),
    ("PROTO_HASH", 8, Flag),
    ("PROTO_RANDOM", 9, Flag),
];

const CT: Table = &[
    ("COMMIT", 1, Flag),
    ("ZONE", 2, Host(2)),
    ("MARK", 3, Host(4)),
    ("LABELS", 4, FixHex(16)),
    ("HELPER", 5, Text),
    ("NAT", 6, Nest(NAT)),
    ("FORCE_COMMIT", 7, Flag),
    ("EVENTMASK", 8, Host(4)),
    ("TIMEOUT", 9, Text),
];

/// OVS_ACTION_ATTR_*.
pub const ACTIONS: Table = &[
    ("OUTPUT", 1, Host(4)),
    (
        "USERSPACE",
        2,
        Nest(&[
            ("PID", 1, Symbols),
            ("USERDATA", 2, Hex),
            ("EGRESS_TUN_PORT", 3, Host(4)),
            ("ACTIONS", 4, Flag),
        ]),
    ),
    ("SET", 3, Key),
    ("PUSH_VLAN", 4, Struct(&[("tpid", Net(2)), ("tci", Net(2))])),
    ("POP_VLAN", 5, Flag),
    ("SAMPLE", 6, Nest(&[("PROBABILITY", 1, Host(4)), ("ACTIONS", 2, Actions)])),
    ("RECIRC", 7, Host(4)),
    ("HASH", 8, Struct(&[("alg", Host(4)), ("basis", Host(4))])),
    ("PUSH_MPLS", 9, MPLS_PUSH),
    ("POP_MPLS", 10, Net(2)),
    ("SET_MASKED", 11, Key),
    ("CT", 12, Nest(CT)),
    ("TRUNC", 13, Host(4)),
    ("PUSH_ETH", 14, ETHERNET),
    ("POP_ETH", 15, Flag),
    ("CT_CLEAR", 16, Flag),
    ("PUSH_NSH", 17, Key),
    ("POP_NSH", 18, Flag),
    ("METER", 19, Host(4)),
    ("CLONE", 20, Actions),
    (
        "CHECK_PKT_LEN",
        21,
        Nest(&[("PKT_LEN", 1, Host(2)), ("IF_GREATER", 2, Actions), ("IF_LESS_EQUAL", 3, Actions)]),
    ),
    ("ADD_MPLS", 22, MPLS_ADD),
    ("DEC_TTL", 23, Nest(&[("ACTION", 1, Actions)])),
    ("DROP", 24, Host(4)),
    ("PSAMPLE", 25, Nest(&[("GROUP", 1, Host(4)), ("COOKIE", 2, Hex)])),
];

/// OVS_FLOW_ATTR_* that requests have.
pub const FLOW: Table = &[
    ("KEY", 1, Key),
    ("ACTIONS", 2, Actions),
    ("CLEAR", 6, Flag),
    ("MASK", 7, Key),
    ("PROBE", 8, Flag),
    ("UFID", 9, Hex),
    ("UFID_FLAGS", 10, Host(4)),
];

/// OVS_PACKET_ATTR_* that requests have.
pub const PACKET: Table = &[
    ("PACKET", 1, Hex),
    ("KEY", 2, Key),
    ("ACTIONS", 3, Actions),
    ("USERDATA", 4, Hex),
    ("PROBE", 8, Flag),
    ("MRU", 9, Host(2)),
    ("HASH", 11, Host(8)),
    ("UPCALL_PID", 12, Symbols),
];

/// A number, in either way of writing it; `$pid:...` is some port id.
pub fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| number.as_i64().map(|number| number as u64)),
        Value::String(text) if text.starts_with('$') => Some(0x1234),
        Value::String(text) => match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        },
        Value::Bool(flag) => Some(u64::from(*flag)),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The attributes of a nest as bytes. `None`: a way of writing that is not known here.
pub fn nest_bytes(list: &Value, table: Table) -> Option<Vec<u8>> {
    if let Some(hex) = list.get("hex") {
        return bytes_of_hex(hex.as_str()?);
    }
    let mut out = Vec::new();
    for pair in list.as_array()? {
        let (name, value) = (pair[0].as_str()?, &pair[1]);
        let (flags, name) = name.strip_prefix('!').map_or((0, name), |name| (0x8000, name));
        let (number, kind) = match name.strip_prefix('#') {
            Some(digits) => {
                let number: u16 = digits.parse().ok()?;
                (number, table.iter().find(|row| row.1 == number & 0x3fff).map_or(Hex, |row| row.2))
            }
            None => table.iter().find(|row| row.0 == name).map(|row| (row.1, row.2))?,
        };
        let payload = payload(value, kind)?;
        out.extend(((payload.len() + 4) as u16).to_ne_bytes());
        out.extend((number | flags).to_ne_bytes());
        out.extend(&payload);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    Some(out)
}

fn payload(value: &Value, kind: Kind) -> Option<Vec<u8>> {
    if let Some(hex) = value.get("hex") {
        return bytes_of_hex(hex.as_str()?);
    }
    if let (Some(rep), Some(count)) = (value.get("rep"), value.get("n")) {
        return Some(bytes_of_hex(rep.as_str()?)?.repeat(count.as_u64()? as usize));
    }
    if let Some(actions) = value.get("nested") {
        return nest_bytes(actions, ACTIONS);
    }
    match (value.get("value"), value.get("mask")) {
        (Some(part), Some(mask)) => Some([leaf(part, kind)?, leaf(mask, kind)?].concat()),
        _ => leaf(value, kind),
    }
}

fn leaf(value: &Value, kind: Kind) -> Option<Vec<u8>> {
    Some(match kind {
        Host(len) => number(value)?.to_le_bytes()[..len].to_vec(),
        Net(len) => number(value)?.to_be_bytes()[8 - len..].to_vec(),
        Mac => bytes_of_hex(&value.as_str()?.replace(':', ""))?,
        Ip4 => value.as_str()?.parse::<Ipv4Addr>().ok()?.octets().to_vec(),
        Ip6 => value.as_str()?.parse::<Ipv6Addr>().ok()?.octets().to_vec(),
        Ip => leaf(value, if value.as_str()?.contains(':') { Ip6 } else { Ip4 })?,
        Hex => bytes_of_hex(value.as_str()?)?,
        FixHex(len) => {
            let mut bytes = bytes_of_hex(value.as_str()?)?;
            bytes.resize(len, 0);
            bytes
        }
        Flag => Vec::new(),
        Text => [value.as_str()?.as_bytes(), &[0]].concat(),
        Symbols => match value.as_array() {
            Some(list) => list.iter().map(|value| leaf(value, Host(4))).collect::<Option<Vec<_>>>()?.concat(),
            None => leaf(value, Host(4))?,
        },
        Pad(len) => vec![0; len],
        Array(kind) => {
            value.as_array()?.iter().map(|value| leaf(value, *kind)).collect::<Option<Vec<_>>>()?.concat()
        }
        Struct(members) => {
            let part = |(name, kind): &(&str, Kind)| match value.get(name) {
                Some(value) => leaf(value, *kind),
                None => Some(vec![0; size(*kind)]),
            };
            members.iter().map(part).collect::<Option<Vec<_>>>()?.concat()
        }
        Nest(table) => nest_bytes(value, table)?,
        Key => nest_bytes(value, KEY)?,
        Actions => nest_bytes(value, ACTIONS)?,
    })
}

/// Bytes of a structure's member.
fn size(kind: Kind) -> usize {
    match kind {
        Host(len) | Net(len) | Pad(len) | FixHex(len) => len,
        Mac => 6,
        Ip4 => 4,
        Ip6 => 16,
        Ip | Hex | Flag | Text | Symbols | Array(_) | Struct(_) | Nest(_) | Key | Actions => 0,
    }
}
