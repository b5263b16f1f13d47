// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Attribute values as the scenarios write them, turned into the attribute's bytes.

use portway_conformance::bytes_of_hex;
use serde_json::Value;

/// How a number or address is written.
#[derive(Clone, Copy)]
pub(crate) enum Leaf {
    U8,
    Be16,
    Be32,
    U16,
    U32,
    Mac,
    Ip4,
    Ip6,
    Hex(usize),
    Pad(usize),
}
use Leaf::{Be16, Be32, Hex, Ip4, Ip6, Mac, Pad, U8, U16, U32};

type Struct = &'static [(&'static str, Leaf)];

const PORTS: Struct = &[("src", Be16), ("dst", Be16)];
const ICMP: Struct = &[("type", U8), ("code", U8)];
const ETHERNET: Struct = &[("src", Mac), ("dst", Mac)];

/// The members of a key attribute that is a struct.
fn members(attribute: &str) -> Option<Struct> {
    Some(match attribute {
        "ETHERNET" | "PUSH_ETH" => ETHERNET,
        "IPV4" => &[("src", Ip4), ("dst", Ip4), ("proto", U8), ("tos", U8), ("ttl", U8), ("frag", U8)],
        "IPV6" => &[
            ("src", Ip6),
            ("dst", Ip6),
            ("label", Be32),
            ("proto", U8),
            ("tclass", U8),
            ("hlimit", U8),
            ("frag", U8),
        ],
        "TCP" | "UDP" | "SCTP" => PORTS,
        "ICMP" | "ICMPV6" => ICMP,
        "ARP" => &[("sip", Ip4), ("tip", Ip4), ("op", Be16), ("sha", Mac), ("tha", Mac), ("pad", Pad(2))],
        "ND" => &[("target", Ip6), ("sll", Mac), ("tll", Mac)],
        "BASE" => &[("flags", U8), ("ttl", U8), ("mdtype", U8), ("np", U8), ("path_hdr", Be32)],
        "PUSH_VLAN" => &[("tpid", Be16), ("tci", Be16)],
        "HASH" => &[("alg", U32), ("basis", U32)],
        "PUSH_MPLS" => &[("lse", Be32), ("ethertype", Be16), ("pad", Pad(2))],
        "ADD_MPLS" => &[("lse", Be32), ("ethertype", Be16), ("tun_flags", U16)],
        _ => return None,
    })
}

/// How an attribute that is a single number is written.
fn single(attribute: &str) -> Option<Leaf> {
    Some(match attribute {
        "ETHERTYPE" | "VLAN" | "TCP_FLAGS" | "POP_MPLS" => Be16,
        "MPLS" => Be32,
        "CT_ZONE" | "PKT_LEN" => U16,
        "CT_LABELS" | "MD1" => Hex(16),
        "PRIORITY" | "IN_PORT" | "SKB_MARK" | "DP_HASH" | "RECIRC_ID" | "CT_STATE" | "CT_MARK" | "OUTPUT"
        | "TRUNC" | "RECIRC" | "METER" | "PROBABILITY" | "EGRESS_TUN_PORT" => U32,
        _ => return None,
    })
}

/// A number, in either way of writing it.
pub(crate) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        },
        Value::Bool(flag) => Some(u64::from(*flag)),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn leaf(leaf: Leaf, value: Option<&Value>) -> Option<Vec<u8>> {
    let zero = Value::from(0);
    let value = value.unwrap_or(&zero);
    let text = value.as_str();
    Some(match leaf {
        U8 => vec![number(value)? as u8],
        Be16 => (number(value)? as u16).to_be_bytes().to_vec(),
        Be32 => (number(value)? as u32).to_be_bytes().to_vec(),
        U16 => (number(value)? as u16).to_ne_bytes().to_vec(),
        U32 => (number(value)? as u32).to_ne_bytes().to_vec(),
        Mac => text.map_or(Some(vec![0; 6]), |text| bytes_of_hex(&text.replace(':', "")))?,
        Ip4 => text
            .map_or(Some([0; 4]), |text| Some(text.parse::<std::net::Ipv4Addr>().ok()?.octets()))?
            .to_vec(),
        Ip6 => text
            .map_or(Some([0; 16]), |text| Some(text.parse::<std::net::Ipv6Addr>().ok()?.octets()))?
            .to_vec(),
        Hex(len) => {
            let mut bytes = bytes_of_hex(text.unwrap_or(""))?;
            bytes.resize(len, 0);
            bytes
        }
        Pad(len) => vec![0; len],
    })
}

/// The bytes of an attribute. `None`: the scenario's way of writing it is not known here.
pub(crate) fn bytes(attribute: &str, value: &Value) -> Option<Vec<u8>> {
    if let Some(hex) = value.get("hex").and_then(Value::as_str) {
        return bytes_of_hex(hex);
    }
    if let (Some(part), Some(mask)) = (value.get("value"), value.get("mask")) {
        return Some([bytes(attribute, part)?, bytes(attribute, mask)?].concat());
    }
    if let Some(members) = members(attribute) {
        let parts: Option<Vec<_>> =
            members.iter().map(|(name, kind)| leaf(*kind, value.get(*name))).collect();
        return Some(parts?.concat());
    }
    match (single(attribute), value) {
        (Some(kind), Value::Array(list)) => {
            let parts: Option<Vec<_>> = list.iter().map(|value| leaf(kind, Some(value))).collect();
            Some(parts?.concat())
        }
        (Some(kind), value) => leaf(kind, Some(value)),
        (None, Value::String(hex)) => bytes_of_hex(hex),
        (None, _) => None,
    }
}
