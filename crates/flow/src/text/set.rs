// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `set(...)`: its fields are those of a key's group, so they are written and read as such.

use zerocopy::network_endian::{U16, U32};

use super::cursor::Cursor;
use super::format::{Style, write_fields};
use super::parse::{read_fields, read_labels};
use super::tunnel::{read_tunnel, write_tunnel};
use super::value::write_lse;
use super::{Error, NO_NUMBERS};
use crate::action::{Ipv4Fields, Ipv6Fields, Masked, Ports, Set};
use crate::field::{GROUPS, Group, GroupId, Shape};
use crate::key::FlowKey;

/// Writes what stands in the parentheses of `set(...)`.
pub(super) fn write_set(out: &mut String, set: &Set) {
    let (group, key, mask) = parts(set);
    let group = group.group();
    out.push_str(group.name);
    out.push('(');
    match group.shape() {
        Shape::Tunnel => write_tunnel(out, &key, None, false),
        Shape::Labels => write_lse(out, key.mpls_lse[0].get(), mask.map(|mask| mask.mpls_lse[0].get())),
        Shape::Fields | Shape::Nsh | Shape::Tags | Shape::Ethertype => {
            write_fields(out, group, &key, mask.as_ref(), Style::default());
        }
    }
    out.push(')');
}

/// Reads what stands in the parentheses of `set(...)`.
pub(super) fn read_set(at: &mut Cursor<'_>) -> Result<Set, Error> {
    let before = at.clone();
    let name = at.word();
    let Some(group) = Group::by_name(name).filter(|group| is_settable(group)) else {
        let known: Vec<_> =
            GROUPS.iter().filter(|group| is_settable(group)).map(|group| group.name).collect();
        return Err(before.unexpected(format!("one of {}", known.join(", "))));
    };
    at.expect("(")?;
    let (mut key, mut mask) = (FlowKey::default(), FlowKey::default());
    match group.shape() {
        Shape::Tunnel => {
            read_tunnel(at, &mut key, &mut mask)?;
            return Ok(Set::Tunnel(Box::new(key)));
        }
        Shape::Labels => {
            read_labels(at, &mut key, &mut mask)?;
            // Only the outermost entry can be set; how many there are is not the action's matter.
            mask.mpls_count = 0;
        }
        Shape::Fields | Shape::Nsh | Shape::Tags | Shape::Ethertype => {
            read_fields(at, group, NO_NUMBERS, &mut key, &mut mask)?;
        }
    }
    let exact = if group.id == GroupId::Mpls {
        mask.mpls_lse[0].get() == u32::MAX
    } else {
        group.fields.iter().all(|field| field.is_exact(&mask))
    };
    if let Some(fixed) = group
        .fields
        .iter()
        .find(|field| !exact && !field.name.is_empty() && !field.settable && field.get(&mask) != 0)
    {
        return Err(before.unexpected(format!(
            "fields that can be set: `{}` of {} cannot, and may be given only together with all the others",
            fixed.name, group.name
        )));
    }
    for (word, bits) in key.words_mut().iter_mut().zip(mask.words()) {
        *word &= bits;
    }
    from_parts(group.id, &key, (!exact).then_some(&mask))
        .ok_or_else(|| before.unexpected("a field that can be set"))
}

/// Connection marks and labels: the kernel takes the action, though carrying it out fails.
fn is_settable(group: &Group) -> bool {
    matches!(group.id, GroupId::CtMark | GroupId::CtLabels) || group.fields.iter().any(|field| field.settable)
}

/// A set action as a group of fields: which, their values, and which bits of them (`None`: all).
pub(super) fn parts(set: &Set) -> (GroupId, FlowKey, Option<FlowKey>) {
    let mut key = FlowKey::default();
    let mut mask = FlowKey::default();
    let (group, masked) = match set {
        Set::Priority(it) => {
            (key.priority, mask.priority) = (it.value, it.mask.unwrap_or(0));
            (GroupId::Priority, it.mask.is_some())
        }
        Set::SkbMark(it) => {
            (key.skb_mark, mask.skb_mark) = (it.value, it.mask.unwrap_or(0));
            (GroupId::SkbMark, it.mask.is_some())
        }
        Set::CtMark(it) => {
            (key.ct_mark, mask.ct_mark) = (it.value, it.mask.unwrap_or(0));
            (GroupId::CtMark, it.mask.is_some())
        }
        Set::CtLabels(it) => {
            (key.ct_labels, mask.ct_labels) = (it.value, it.mask.unwrap_or_default());
            (GroupId::CtLabels, it.mask.is_some())
        }
        Set::Ethernet { src, dst } => {
            let all = crate::MacAddr::BROADCAST;
            (key.eth_src, mask.eth_src) = (src.value, src.mask.unwrap_or(all));
            (key.eth_dst, mask.eth_dst) = (dst.value, dst.mask.unwrap_or(all));
            (GroupId::Ethernet, src.mask.is_some() || dst.mask.is_some())
        }
        Set::Ipv4(it) => (GroupId::Ipv4, put(it, &mut key, &mut mask, put_ipv4)),
        Set::Ipv6(it) => (GroupId::Ipv6, put(it, &mut key, &mut mask, put_ipv6)),
        Set::Tcp(it) => (GroupId::Tcp, put(it, &mut key, &mut mask, put_ports)),
        Set::Udp(it) => (GroupId::Udp, put(it, &mut key, &mut mask, put_ports)),
        Set::Sctp(it) => (GroupId::Sctp, put(it, &mut key, &mut mask, put_ports)),
        Set::Mpls(it) => {
            (key.mpls_lse[0], mask.mpls_lse[0]) = (U32::new(it.value), U32::new(it.mask.unwrap_or(0)));
            (GroupId::Mpls, it.mask.is_some())
        }
        Set::Tunnel(tunnel) => {
            key = (**tunnel).clone();
            (GroupId::Tunnel, false)
        }
    };
    (group, key, masked.then_some(mask))
}

/// Puts value and mask into keys; whether there is a mask.
fn put<T>(
    masked: &Masked<T>,
    key: &mut FlowKey,
    mask: &mut FlowKey,
    into: impl Fn(&T, &mut FlowKey),
) -> bool {
    into(&masked.value, key);
    if let Some(bits) = &masked.mask {
        into(bits, mask);
    }
    masked.mask.is_some()
}

fn put_ipv4(fields: &Ipv4Fields, key: &mut FlowKey) {
    key.ip_src[..4].copy_from_slice(&fields.src);
    key.ip_dst[..4].copy_from_slice(&fields.dst);
    (key.ip_proto, key.ip_tos, key.ip_ttl, key.ip_frag) = (fields.proto, fields.tos, fields.ttl, fields.frag);
}

fn put_ipv6(fields: &Ipv6Fields, key: &mut FlowKey) {
    (key.ip_src, key.ip_dst, key.ipv6_label) = (fields.src, fields.dst, U32::new(fields.label));
    (key.ip_proto, key.ip_tos, key.ip_ttl, key.ip_frag) =
        (fields.proto, fields.tclass, fields.hlimit, fields.frag);
}

fn put_ports(ports: &Ports, key: &mut FlowKey) {
    (key.tp_src, key.tp_dst) = (U16::new(ports.src), U16::new(ports.dst));
}

fn ipv4(key: &FlowKey) -> Ipv4Fields {
    let address = |wide: &[u8; 16]| [wide[0], wide[1], wide[2], wide[3]];
    Ipv4Fields {
        src: address(&key.ip_src),
        dst: address(&key.ip_dst),
        proto: key.ip_proto,
        tos: key.ip_tos,
        ttl: key.ip_ttl,
        frag: key.ip_frag,
    }
}

fn ipv6(key: &FlowKey) -> Ipv6Fields {
    Ipv6Fields {
        src: key.ip_src,
        dst: key.ip_dst,
        label: key.ipv6_label.get(),
        proto: key.ip_proto,
        tclass: key.ip_tos,
        hlimit: key.ip_ttl,
        frag: key.ip_frag,
    }
}

fn ports(key: &FlowKey) -> Ports {
    Ports { src: key.tp_src.get(), dst: key.tp_dst.get() }
}

/// The set action on a group of fields; `None` for a group that cannot be set.
pub(super) fn from_parts(group: GroupId, key: &FlowKey, mask: Option<&FlowKey>) -> Option<Set> {
    fn masked<T>(key: &FlowKey, mask: Option<&FlowKey>, get: impl Fn(&FlowKey) -> T) -> Masked<T> {
        Masked { value: get(key), mask: mask.map(get) }
    }
    Some(match group {
        GroupId::Priority => Set::Priority(masked(key, mask, |key| key.priority)),
        GroupId::SkbMark => Set::SkbMark(masked(key, mask, |key| key.skb_mark)),
        GroupId::CtMark => Set::CtMark(masked(key, mask, |key| key.ct_mark)),
        GroupId::CtLabels => Set::CtLabels(masked(key, mask, |key| key.ct_labels)),
        GroupId::Ethernet => Set::Ethernet {
            src: masked(key, mask, |key| key.eth_src),
            dst: masked(key, mask, |key| key.eth_dst),
        },
        GroupId::Ipv4 => Set::Ipv4(masked(key, mask, ipv4)),
        GroupId::Ipv6 => Set::Ipv6(masked(key, mask, ipv6)),
        GroupId::Tcp => Set::Tcp(masked(key, mask, ports)),
        GroupId::Udp => Set::Udp(masked(key, mask, ports)),
        GroupId::Sctp => Set::Sctp(masked(key, mask, ports)),
        GroupId::Mpls => Set::Mpls(masked(key, mask, |key| key.mpls_lse[0].get())),
        GroupId::Tunnel => Set::Tunnel(Box::new(key.clone())),
        GroupId::RecircId
        | GroupId::DpHash
        | GroupId::InPort
        | GroupId::CtState
        | GroupId::CtZone
        | GroupId::CtTuple4
        | GroupId::CtTuple6
        | GroupId::Vlan
        | GroupId::EthType
        | GroupId::Ipv6Exthdrs
        | GroupId::Nsh
        | GroupId::Arp
        | GroupId::TcpFlags
        | GroupId::Icmp
        | GroupId::Icmpv6
        | GroupId::Nd => return None,
    })
}
