// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Set actions and the fields that they write: a set action is a group of fields with values and, perhaps, a mask.

use zerocopy::network_endian::{U16, U32};

use super::GroupId;
use crate::action::{Ipv4Fields, Ipv6Fields, Masked, Ports, Set};
use crate::key::FlowKey;

/// A set action as a group of fields: which, their values, and which bits of them (`None`: all).
pub fn set_parts(set: &Set) -> (GroupId, FlowKey, Option<FlowKey>) {
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
pub fn set_from_parts(group: GroupId, key: &FlowKey, mask: Option<&FlowKey>) -> Option<Set> {
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

/// Whether any of a tunnel's Geneve options is critical: who does not know it must drop the packet (RFC 8926, section 3.5). `None` if the
/// options do not end where their lengths say.
pub fn has_critical_option(mut options: &[u8]) -> Option<bool> {
    let mut critical = false;
    while !options.is_empty() {
        let &[_, _, kind, length] = options.first_chunk()?;
        critical |= kind & 0x80 != 0;
        options = options.get(4 + usize::from(length & 0x1f) * 4..)?;
    }
    Some(critical)
}
