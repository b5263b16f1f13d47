// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Keys and action lists of the scenarios, as the crates have them. What the kernel refuses because of an attribute's form is
//! refused here too: that belongs to `messages` and is not what these tests are about.

use portway_flow::{
    Action, CheckPacketLength, FlowKey, FlowMask, Hash, HashAlgorithm, Ipv4Fields, Ipv6Fields, MacAddr,
    Masked, MplsPush, Ports, PushEth, PushNsh, PushVlan, Sample, Set, Userspace, mac_proto,
};
use serde_json::Value;

use crate::wire_form::{bytes, number};

/// Why a list is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Its form is wrong.
    Form,
    /// It has an action that does not exist yet.
    Unsupported,
}

fn be16(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}

fn ne32(bytes: &[u8]) -> u32 {
    u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    *bytes.first_chunk().expect("checked length")
}

fn pairs(list: &Value) -> Result<impl Iterator<Item = (&str, &Value)>, Refused> {
    let list = list.as_array().ok_or(Refused::Form)?;
    Ok(list.iter().filter_map(|pair| Some((pair[0].as_str()?.trim_start_matches('!'), &pair[1]))))
}

/// A flow's key and mask.
pub(crate) fn key_and_mask(key: &Value, mask: &Value) -> Result<(FlowKey, FlowMask), Refused> {
    let mut fields = FlowKey { mac_proto: mac_proto::NONE, ..FlowKey::default() };
    fields.eth_type.set(0x0001);
    fill(&mut fields, key, false, false)?;
    let mut bits = FlowKey { mac_proto: 0xff, ..FlowKey::default() };
    if mask.is_null() {
        fill(&mut bits, key, true, false)?;
    } else {
        fill(&mut bits, mask, false, true)?;
    }
    for (tci, tpid, bits_tci, bits_tpid) in [
        (fields.vlan_tci, fields.vlan_tpid, &mut bits.vlan_tci, &mut bits.vlan_tpid),
        (fields.cvlan_tci, fields.cvlan_tpid, &mut bits.cvlan_tci, &mut bits.cvlan_tpid),
    ] {
        bits_tpid.set(0xffff);
        if tci.get() == 0 && tpid.get() == 0 {
            bits_tci.set(0xffff);
        }
    }
    Ok((fields, FlowMask::new(bits)))
}

/// Fills the fields that `list` names. `exact`: all their bits one, for the mask of a flow that gives none.
fn fill(key: &mut FlowKey, list: &Value, exact: bool, is_mask: bool) -> Result<(), Refused> {
    let mut tag: Option<(u16, u16)> = None;
    let mut encapsulated = None;
    for (name, value) in pairs(list)? {
        match name {
            "ENCAP" => encapsulated = Some(value),
            "NSH" => nsh(key, value, exact)?,
            "VLAN" => {
                let tci = be16(&bytes(name, value).ok_or(Refused::Form)?);
                tag.get_or_insert((0, 0)).1 = if exact { 0xffff } else { tci };
            }
            _ => {
                let mut bytes = bytes(name, value).ok_or(Refused::Unsupported)?;
                if is_mask && bytes.iter().all(|byte| *byte == 0) {
                    continue; // as if it were not there
                }
                if exact {
                    bytes.fill(0xff);
                }
                field(key, name, &bytes)?;
            }
        }
    }
    if let (Some(inner), Some((_, tci))) = (encapsulated, tag) {
        let tpid = if exact || is_mask { 0xffff } else { key.eth_type.get() };
        if key.vlan_tpid.get() == 0 {
            key.vlan_tci.set(tci);
            key.vlan_tpid.set(tpid);
        } else {
            key.cvlan_tci.set(tci);
            key.cvlan_tpid.set(tpid);
        }
        key.eth_type.set(if exact || is_mask { 0 } else { 0x0001 });
        fill(key, inner, exact, is_mask)?;
    }
    Ok(())
}

fn nsh(key: &mut FlowKey, list: &Value, exact: bool) -> Result<(), Refused> {
    for (name, value) in pairs(list)? {
        let mut bytes = bytes(name, value).ok_or(Refused::Unsupported)?;
        if exact {
            bytes.fill(0xff);
        }
        match (name, bytes.as_slice()) {
            ("BASE", [flags, ttl, mdtype, np, path @ ..]) => {
                (key.nsh_flags, key.nsh_ttl, key.nsh_mdtype, key.nsh_np) = (*flags, *ttl, *mdtype, *np);
                key.nsh_path = array::<4>(path).into();
            }
            ("MD1", context) if context.len() == 16 => {
                for (word, bytes) in key.nsh_context.iter_mut().zip(context.chunks(4)) {
                    *word = array::<4>(bytes).into();
                }
            }
            _ => return Err(Refused::Form),
        }
    }
    Ok(())
}

fn field(key: &mut FlowKey, name: &str, bytes: &[u8]) -> Result<(), Refused> {
    match (name, bytes.len()) {
        ("RECIRC_ID", 4) => key.recirc_id = ne32(bytes),
        ("IN_PORT", 4) => key.in_port = ne32(bytes),
        ("SKB_MARK", 4) => key.skb_mark = ne32(bytes),
        ("PRIORITY", 4) => key.priority = ne32(bytes),
        ("DP_HASH", 4) => key.dp_hash = ne32(bytes),
        ("ETHERNET", 12) => {
            key.mac_proto = if key.mac_proto == 0xff { 0xff } else { mac_proto::ETHERNET };
            key.eth_src = MacAddr(array(bytes));
            key.eth_dst = MacAddr(array(&bytes[6..]));
        }
        ("ETHERTYPE", 2) => key.eth_type.set(be16(bytes)),
        ("IPV4", 12) => {
            key.ip_src[..4].copy_from_slice(&bytes[..4]);
            key.ip_dst[..4].copy_from_slice(&bytes[4..8]);
            (key.ip_proto, key.ip_tos, key.ip_ttl, key.ip_frag) = (bytes[8], bytes[9], bytes[10], bytes[11]);
        }
        ("IPV6", 40) => {
            key.ip_src = array(bytes);
            key.ip_dst = array(&bytes[16..]);
            key.ipv6_label = array::<4>(&bytes[32..]).into();
            (key.ip_proto, key.ip_tos, key.ip_ttl, key.ip_frag) =
                (bytes[36], bytes[37], bytes[38], bytes[39]);
        }
        ("TCP" | "UDP" | "SCTP", 4) => {
            key.tp_src.set(be16(bytes));
            key.tp_dst.set(be16(&bytes[2..]));
        }
        ("ICMP" | "ICMPV6", 2) => {
            key.tp_src.set(u16::from(bytes[0]));
            key.tp_dst.set(u16::from(bytes[1]));
        }
        ("TCP_FLAGS", 2) => key.tcp_flags.set(be16(bytes)),
        ("ARP", 24) => {
            key.ip_src[..4].copy_from_slice(&bytes[..4]);
            key.ip_dst[..4].copy_from_slice(&bytes[4..8]);
            key.ip_proto = bytes[9];
            key.arp_sha = MacAddr(array(&bytes[10..]));
            key.arp_tha = MacAddr(array(&bytes[16..]));
        }
        ("ND", 28) => {
            key.nd_target = array(bytes);
            key.nd_sll = MacAddr(array(&bytes[16..]));
            key.nd_tll = MacAddr(array(&bytes[22..]));
        }
        ("MPLS", len @ (4 | 8 | 12)) => {
            for (lse, bytes) in key.mpls_lse.iter_mut().zip(bytes.chunks(4)) {
                *lse = array::<4>(bytes).into();
            }
            key.mpls_count = (1 << (len / 4)) - 1;
        }
        _ => return Err(Refused::Unsupported),
    }
    Ok(())
}

/// An action list. `pid` gives the number of a symbolic port id.
pub(crate) fn actions(list: &Value, pid: &mut dyn FnMut(&str) -> u32) -> Result<Vec<Action>, Refused> {
    pairs(list)?.map(|(name, value)| action(name, value, pid)).collect()
}

fn sized<const N: usize>(name: &str, value: &Value) -> Result<[u8; N], Refused> {
    let bytes = bytes(name, value).ok_or(Refused::Form)?;
    bytes.try_into().map_err(|_| Refused::Form)
}

fn flag(value: &Value) -> Result<(), Refused> {
    if *value == Value::Bool(true) { Ok(()) } else { Err(Refused::Form) }
}

fn action(name: &str, value: &Value, pid: &mut dyn FnMut(&str) -> u32) -> Result<Action, Refused> {
    let u32_of = |value| sized::<4>(name, value).map(u32::from_ne_bytes);
    Ok(match name {
        "OUTPUT" => Action::Output(u32_of(value)?),
        "TRUNC" => Action::Truncate(u32_of(value)?),
        "RECIRC" => Action::Recirculate(u32_of(value)?),
        "METER" => Action::Meter(u32_of(value)?),
        "USERSPACE" => Action::Userspace(userspace(value, pid)?),
        "SET" => Action::Set(set(value, false)?),
        "SET_MASKED" => Action::Set(set(value, true)?),
        "PUSH_VLAN" => {
            let [a, b, c, d] = sized(name, value)?;
            Action::PushVlan(PushVlan { tpid: be16(&[a, b]), tci: be16(&[c, d]) })
        }
        "POP_VLAN" => flag(value).map(|()| Action::PopVlan)?,
        "POP_ETH" => flag(value).map(|()| Action::PopEth)?,
        "POP_NSH" => flag(value).map(|()| Action::PopNsh)?,
        "HASH" => match sized::<8>(name, value)? {
            [0, 0, 0, 0, basis @ ..] => {
                Action::Hash(Hash { algorithm: HashAlgorithm::L4, basis: u32::from_ne_bytes(basis) })
            }
            _ => return Err(Refused::Form),
        },
        "PUSH_MPLS" | "ADD_MPLS" => {
            let bytes = sized::<8>(name, value)?;
            let l3 = u16::from_ne_bytes([bytes[6], bytes[7]]) & 1 != 0;
            Action::PushMpls(MplsPush {
                lse: u32::from_be_bytes(array(&bytes)),
                ethertype: be16(&bytes[4..]),
                add_l3_tunnel: (name == "ADD_MPLS").then_some(l3),
            })
        }
        "POP_MPLS" => Action::PopMpls(u16::from_be_bytes(sized(name, value)?)),
        "PUSH_ETH" => {
            let bytes = sized::<12>(name, value)?;
            Action::PushEth(PushEth { src: MacAddr(array(&bytes)), dst: MacAddr(array(&bytes[6..])) })
        }
        "PUSH_NSH" => Action::PushNsh(push_nsh(value)?),
        "CLONE" => Action::Clone(actions(value, pid)?),
        "SAMPLE" => sample(value, pid)?,
        "CHECK_PKT_LEN" => check_length(value, pid)?,
        "DEC_TTL" => Action::DecTtl(actions(only(value, "ACTION").ok_or(Refused::Form)?, pid)?),
        "CT" | "CT_CLEAR" => return Err(Refused::Unsupported),
        _ => return Err(Refused::Form),
    })
}

fn only<'a>(list: &'a Value, name: &str) -> Option<&'a Value> {
    pairs(list).ok()?.filter(|(found, _)| *found == name).map(|(_, value)| value).last()
}

fn userspace(value: &Value, pid: &mut dyn FnMut(&str) -> u32) -> Result<Userspace, Refused> {
    let receiver = only(value, "PID").ok_or(Refused::Form)?;
    Ok(Userspace {
        pid: match receiver.as_str().and_then(|text| text.strip_prefix("$pid:")) {
            Some(name) => pid(name),
            None => number(receiver).ok_or(Refused::Form)? as u32,
        },
        userdata: only(value, "USERDATA")
            .map(|data| bytes("USERDATA", data).ok_or(Refused::Form))
            .transpose()?,
        egress_tun_port: only(value, "EGRESS_TUN_PORT").and_then(number).map(|port| port as u32),
        actions: only(value, "ACTIONS").is_some(),
    })
}

fn sample(value: &Value, pid: &mut dyn FnMut(&str) -> u32) -> Result<Action, Refused> {
    let probability = number(only(value, "PROBABILITY").ok_or(Refused::Form)?).ok_or(Refused::Form)?;
    let list = only(value, "ACTIONS").ok_or(Refused::Form)?;
    Ok(Action::Sample(Sample { probability: probability as u32, actions: actions(list, pid)? }))
}

fn check_length(value: &Value, pid: &mut dyn FnMut(&str) -> u32) -> Result<Action, Refused> {
    let part = |name| only(value, name).ok_or(Refused::Form);
    Ok(Action::CheckPacketLength(CheckPacketLength {
        len: u16::from_ne_bytes(sized("PKT_LEN", part("PKT_LEN")?)?),
        greater: actions(part("IF_GREATER")?, pid)?,
        less_or_equal: actions(part("IF_LESS_EQUAL")?, pid)?,
    }))
}

fn push_nsh(value: &Value) -> Result<PushNsh, Refused> {
    let list = only(value, "NSH").ok_or(Refused::Form)?;
    let base: [u8; 8] = sized("BASE", only(list, "BASE").ok_or(Refused::Form)?)?;
    let part = if base[2] == 1 { "MD1" } else { "MD2" };
    let metadata = only(list, part).and_then(|value| bytes(part, value)).ok_or(Refused::Form)?;
    Ok(PushNsh {
        flags: base[0],
        ttl: base[1],
        mdtype: base[2],
        np: base[3],
        path_hdr: u32::from_be_bytes(array(&base[4..])),
        metadata,
    })
}

/// The single attribute of a SET, its bytes, and where a mask starts in them.
fn set(value: &Value, masked: bool) -> Result<Set, Refused> {
    let mut pairs = pairs(value)?;
    let ((name, value), None) = (pairs.next().ok_or(Refused::Form)?, pairs.next()) else {
        return Err(Refused::Form);
    };
    if name == "TUNNEL" {
        // Not read here: what is compared are lists that change packets.
        return Err(Refused::Unsupported);
    }
    if !matches!(
        name,
        "PRIORITY"
            | "SKB_MARK"
            | "ETHERNET"
            | "IPV4"
            | "IPV6"
            | "TCP"
            | "UDP"
            | "SCTP"
            | "MPLS"
            | "CT_MARK"
            | "CT_LABELS"
    ) {
        return Err(Refused::Form);
    }
    let bytes = bytes(name, value).ok_or(Refused::Form)?;
    let (value, mask) = if masked { bytes.split_at(bytes.len() / 2) } else { (bytes.as_slice(), &[][..]) };
    let len = match name {
        "ETHERNET" | "IPV4" => 12,
        "IPV6" => 40,
        "CT_LABELS" => 16,
        _ => 4,
    };
    if value.len() != len || (masked && mask.len() != len) {
        return Err(Refused::Form);
    }
    let mask = masked.then_some(mask);
    Ok(match name {
        "PRIORITY" => Set::Priority(both(value, mask, ne32)),
        "SKB_MARK" => Set::SkbMark(both(value, mask, ne32)),
        "CT_MARK" => Set::CtMark(both(value, mask, ne32)),
        "CT_LABELS" => Set::CtLabels(both(value, mask, array)),
        "MPLS" => Set::Mpls(both(value, mask, |bytes| u32::from_be_bytes(array(bytes)))),
        "TCP" => Set::Tcp(both(value, mask, ports)),
        "UDP" => Set::Udp(both(value, mask, ports)),
        "SCTP" => Set::Sctp(both(value, mask, ports)),
        "ETHERNET" => Set::Ethernet {
            src: both(value, mask, |bytes| MacAddr(array(bytes))),
            dst: both(value, mask, |bytes| MacAddr(array(&bytes[6..]))),
        },
        "IPV4" => Set::Ipv4(both(value, mask, |bytes| Ipv4Fields {
            src: array(bytes),
            dst: array(&bytes[4..]),
            proto: bytes[8],
            tos: bytes[9],
            ttl: bytes[10],
            frag: bytes[11],
        })),
        _ => Set::Ipv6(both(value, mask, |bytes| Ipv6Fields {
            src: array(bytes),
            dst: array(&bytes[16..]),
            label: u32::from_be_bytes(array(&bytes[32..])),
            proto: bytes[36],
            tclass: bytes[37],
            hlimit: bytes[38],
            frag: bytes[39],
        })),
    })
}

fn ports(bytes: &[u8]) -> Ports {
    Ports { src: be16(bytes), dst: be16(&bytes[2..]) }
}

fn both<T>(value: &[u8], mask: Option<&[u8]>, read: impl Fn(&[u8]) -> T) -> Masked<T> {
    Masked { value: read(value), mask: mask.map(&read) }
}
