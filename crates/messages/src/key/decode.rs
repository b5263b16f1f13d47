// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Keys and masks, read.

use portway_flow::field::{GROUPS, Group, Met, Prerequisite, Shape};
use portway_flow::{FlowKey, FlowMask, Frag, mac_proto};
use portway_netlink::Attrs;
use portway_uapi::netlink::NLA_HDRLEN;
use portway_uapi::openvswitch as ovs;

use super::attrs::{Parsed, bit};
use super::tunnel::read_tunnel;
use super::vlan::read_tags;
use super::{KeyError, NO_PORT, ethertype};

/// What a flow matches, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The key, not yet masked: replies show it like this.
    pub key: FlowKey,
    /// The mask.
    pub mask: FlowMask,
}

/// Reads a flow's key and mask from the payloads of OVS_FLOW_ATTR_KEY and OVS_FLOW_ATTR_MASK. Without a mask, every
/// field that the key names must match exactly.
///
/// # Errors
/// The reason for the kernel's EINVAL.
pub fn decode_match(key: &[u8], mask: Option<&[u8]>) -> Result<Match, KeyError> {
    let mut reader = Reader::new();
    let key_attrs = reader.key(key)?;
    let exact;
    let (nest, of_all) = match mask {
        Some(mask) => (mask, false),
        None => {
            exact = all_ones(key);
            (&exact[..], true)
        }
    };
    let mut parsed = reader.parsed;
    let mut bits = FlowKey { vlan_tci: u16::MAX.into(), cvlan_tci: u16::MAX.into(), ..FlowKey::default() };
    if of_all && reader.key.tun_proto != 0 {
        // Tunnel fields that are zero are not sent, but an exact flow must not leave them open.
        whole_tunnel(&mut bits);
    }
    let mut mask_attrs = 0;
    parsed.read(nest, &mut mask_attrs, true)?;
    read_tags(&mut parsed, &mut mask_attrs, &mut bits, Some(&reader.key))?;
    read_fields(&parsed, mask_attrs, &mut bits, Some(&reader.key))?;
    check(&reader.key, key_attrs, Some((&bits, mask_attrs)))?;
    Ok(Match { key: reader.key, mask: FlowMask::new(bits) })
}

/// Reads a key alone, as requests that look a flow up have it.
///
/// # Errors
/// The reason for the kernel's EINVAL.
pub fn decode_key(key: &[u8]) -> Result<FlowKey, KeyError> {
    let mut reader = Reader::new();
    let attrs = reader.key(key)?;
    check(&reader.key, attrs, None)?;
    Ok(reader.key)
}

/// Reads the metadata out of OVS_PACKET_ATTR_KEY: what the packet itself does not say. Of the rest only the form is looked at.
///
/// # Errors
/// The reason for the kernel's EINVAL.
pub fn decode_metadata(key: &[u8]) -> Result<FlowKey, KeyError> {
    let mut parsed = Parsed::new();
    let mut present = 0;
    parsed.read(key, &mut present, false)?;
    let mut metadata = FlowKey { in_port: NO_PORT, ..FlowKey::default() };
    read_metadata(&parsed, &mut present, &mut metadata, None)?;
    Ok(metadata)
}

struct Reader<'a> {
    parsed: Parsed<'a>,
    key: FlowKey,
}

impl<'a> Reader<'a> {
    fn new() -> Self {
        Self { parsed: Parsed::new(), key: FlowKey::default() }
    }

    /// Reads a key; returns which attributes it has.
    fn key(&mut self, nest: &'a [u8]) -> Result<u64, KeyError> {
        let mut present = 0;
        self.parsed.read(nest, &mut present, false)?;
        read_tags(&mut self.parsed, &mut present, &mut self.key, None)?;
        read_fields(&self.parsed, present, &mut self.key, None)?;
        Ok(present)
    }
}

/// A copy of a key's attributes in which every bit of every value is one.
fn all_ones(key: &[u8]) -> Vec<u8> {
    let mut mask = key.to_vec();
    fill(&mut mask, key, 0, Nest::Key);
    mask
}

/// Which table of attributes applies.
#[derive(Clone, Copy)]
enum Nest {
    Key,
    Tunnel,
    Leaf,
}

/// Sets the values of the attributes in `nest`, which stands at `base` of `mask`.
fn fill(mask: &mut [u8], nest: &[u8], base: usize, kind: Nest) {
    for attr in Attrs::new(nest) {
        let start = base + attr.offset() + NLA_HDRLEN;
        let inner = match (kind, attr.kind()) {
            (Nest::Key, ovs::OVS_KEY_ATTR_ENCAP) => Some(Nest::Key),
            (Nest::Key, ovs::OVS_KEY_ATTR_TUNNEL) => Some(Nest::Tunnel),
            (Nest::Key, ovs::OVS_KEY_ATTR_NSH) => Some(Nest::Leaf),
            (Nest::Tunnel, ovs::OVS_TUNNEL_KEY_ATTR_VXLAN_OPTS) => Some(Nest::Leaf),
            _ => None,
        };
        match inner {
            Some(inner) => fill(mask, attr.payload(), start, inner),
            None => mask[start..start + attr.len()].fill(0xff),
        }
        if matches!(kind, Nest::Key) && attr.kind() == ovs::OVS_KEY_ATTR_CT_STATE && attr.len() == 4 {
            // The bits that exist.
            mask[start..start + 4].copy_from_slice(&u32::from(u8::MAX).to_ne_bytes());
        }
    }
}

fn whole_tunnel(bits: &mut FlowKey) {
    bits.tun_id = u64::MAX.into();
    (bits.tun_src, bits.tun_dst) = ([0xff; 16], [0xff; 16]);
    (bits.tun_label, bits.tun_flags) = (u32::MAX.into(), u16::MAX);
    (bits.tun_tos, bits.tun_ttl) = (0xff, 0xff);
    (bits.tun_tp_src, bits.tun_tp_dst) = (u16::MAX.into(), u16::MAX.into());
}

/// Copies a structure's fields into a key.
pub(crate) fn read_structure(payload: &[u8], group: &Group, to: &mut FlowKey) {
    let mut at = 0;
    for field in group.fields {
        if let Some(bytes) = payload.get(at..at + field.wire) {
            field.set_from_wire(to, bytes);
        }
        at += field.wire;
    }
}

/// The groups that are metadata: all before the Ethernet header.
fn metadata_groups() -> &'static [Group] {
    let end = GROUPS.iter().position(|group| group.attr == ovs::OVS_KEY_ATTR_ETHERNET);
    &GROUPS[..end.unwrap_or(GROUPS.len())]
}

/// Reads the metadata and takes it off `present`. `key` is the key's when `to` is a mask.
fn read_metadata(
    parsed: &Parsed<'_>,
    present: &mut u64,
    to: &mut FlowKey,
    key: Option<&FlowKey>,
) -> Result<(), KeyError> {
    for group in metadata_groups() {
        if *present & bit(group.attr) == 0 {
            continue;
        }
        match (group.shape(), parsed.get(group.attr)) {
            (Shape::Tunnel, Some(nest)) => read_tunnel(nest, to, key)?,
            _ => read_structure(parsed.payload(group.attr), group, to),
        }
        *present &= !bit(group.attr);
        match group.attr {
            // Part of a port number is no port.
            ovs::OVS_KEY_ATTR_IN_PORT if key.is_some() => to.in_port = u32::MAX,
            ovs::OVS_KEY_ATTR_IN_PORT if to.in_port >= NO_PORT => return Err(KeyError::Port(to.in_port)),
            ovs::OVS_KEY_ATTR_CT_STATE => {
                let state =
                    parsed.payload(group.attr).first_chunk().map_or(0, |&word| u32::from_ne_bytes(word));
                if state > u32::from(u8::MAX) {
                    return Err(KeyError::CtState(state));
                }
            }
            _ => {}
        }
    }
    let has = |kind| *present & bit(kind) != 0;
    let layer3 = !has(ovs::OVS_KEY_ATTR_ETHERNET) && has(ovs::OVS_KEY_ATTR_ETHERTYPE);
    to.mac_proto = match (key.is_some(), layer3) {
        (true, _) => 0xff,
        (false, true) => mac_proto::NONE,
        (false, false) => mac_proto::ETHERNET,
    };
    if layer3 { read_ethertype(parsed, present, to, key.is_some()) } else { Ok(()) }
}

/// Reads the ethertype, which a mask has whole or not at all.
fn read_ethertype(
    parsed: &Parsed<'_>,
    present: &mut u64,
    to: &mut FlowKey,
    is_mask: bool,
) -> Result<(), KeyError> {
    let protocol = if is_mask { u16::MAX } else { parsed.be16(ovs::OVS_KEY_ATTR_ETHERTYPE) };
    if protocol < ethertype::MIN {
        return Err(KeyError::Ethertype(protocol));
    }
    to.eth_type.set(protocol);
    *present &= !bit(ovs::OVS_KEY_ATTR_ETHERTYPE);
    Ok(())
}

/// Reads all attributes that are `present` into a key, or into a mask of `key`.
fn read_fields(
    parsed: &Parsed<'_>,
    mut present: u64,
    to: &mut FlowKey,
    key: Option<&FlowKey>,
) -> Result<(), KeyError> {
    let is_mask = key.is_some();
    if !is_mask && present & bit(ovs::OVS_KEY_ATTR_IN_PORT) == 0 {
        to.in_port = NO_PORT;
    }
    read_metadata(parsed, &mut present, to, key)?;
    if present & bit(ovs::OVS_KEY_ATTR_ETHERNET) != 0 {
        if present & bit(ovs::OVS_KEY_ATTR_VLAN) != 0 {
            return Err(KeyError::Vlan);
        }
        if present & bit(ovs::OVS_KEY_ATTR_ETHERTYPE) != 0 {
            read_ethertype(parsed, &mut present, to, is_mask)?;
        } else if !is_mask {
            to.eth_type.set(ethertype::LLC);
        }
    } else if key.unwrap_or(to).eth_type.get() == 0 {
        return Err(KeyError::NoEthertype);
    }
    for group in &GROUPS[metadata_groups().len()..] {
        let behind_tags = matches!(group.shape(), Shape::Fields | Shape::Nsh | Shape::Labels);
        if present & bit(group.attr) == 0 || !behind_tags {
            continue;
        }
        if !is_mask {
            check_structure(parsed, group.attr)?;
        }
        match (group.shape(), parsed.get(group.attr)) {
            (Shape::Nsh, Some(nest)) => read_nsh(nest.nested(), to, is_mask)?,
            (Shape::Labels, _) => read_labels(parsed.payload(group.attr), to)?,
            _ => read_structure(parsed.payload(group.attr), group, to),
        }
        present &= !bit(group.attr);
    }
    if present == 0 { Ok(()) } else { Err(KeyError::Unexpected(present)) }
}

/// The values that a key, though not a mask, may not have.
fn check_structure(parsed: &Parsed<'_>, attr: u16) -> Result<(), KeyError> {
    let payload = parsed.payload(attr);
    let fragment = match attr {
        ovs::OVS_KEY_ATTR_IPV4 => payload.get(11),
        ovs::OVS_KEY_ATTR_IPV6 => {
            let label = payload
                .get(32..)
                .and_then(|rest| rest.first_chunk())
                .map_or(0, |&word| u32::from_be_bytes(word));
            if label > 0xf_ffff {
                return Err(KeyError::FlowLabel(label));
            }
            payload.get(39)
        }
        ovs::OVS_KEY_ATTR_ARP => {
            let op =
                payload.get(8..).and_then(|rest| rest.first_chunk()).map_or(0, |&op| u16::from_be_bytes(op));
            return if op > 0xff { Err(KeyError::ArpOperation(op)) } else { Ok(()) };
        }
        _ => None,
    };
    match fragment {
        Some(&kind) if kind > Frag::Later as u8 => Err(KeyError::Fragment(kind)),
        Some(_) | None => Ok(()),
    }
}

fn read_labels(payload: &[u8], to: &mut FlowKey) -> Result<(), KeyError> {
    let (labels, rest) = payload.as_chunks::<4>();
    if labels.is_empty() || labels.len() > to.mpls_lse.len() || !rest.is_empty() {
        return Err(KeyError::Labels(payload.len()));
    }
    for (slot, label) in to.mpls_lse.iter_mut().zip(labels) {
        *slot = (*label).into();
    }
    to.mpls_count = (1 << labels.len()) - 1;
    Ok(())
}

fn read_nsh(mut attrs: Attrs<'_>, to: &mut FlowKey, is_mask: bool) -> Result<(), KeyError> {
    let (mut mdtype, mut context) = (0, false);
    for attr in attrs.by_ref() {
        let wrong = KeyError::Nested { nest: "NSH", kind: attr.kind(), len: attr.len() };
        match (attr.kind(), attr.payload()) {
            (ovs::OVS_NSH_KEY_ATTR_BASE, &[flags, ttl, kind, np, ref path @ ..]) => {
                let path: [u8; 4] = path.try_into().map_err(|_| wrong)?;
                (to.nsh_flags, to.nsh_ttl, to.nsh_mdtype, to.nsh_np) = (flags, ttl, kind, np);
                to.nsh_path = path.into();
                mdtype = kind;
            }
            (ovs::OVS_NSH_KEY_ATTR_MD1, payload) => {
                let bytes: [u8; 16] = payload.try_into().map_err(|_| wrong)?;
                to.nsh_context = zerocopy::transmute!(bytes);
                context = true;
            }
            // Context of metadata type 2 cannot be matched.
            _ => return Err(wrong),
        }
    }
    if !attrs.leftover().is_empty() {
        return Err(KeyError::Leftover);
    }
    if !is_mask && context && mdtype != 1 { Err(KeyError::Nsh) } else { Ok(()) }
}

/// Whether the key has the attributes that its fields require, and the mask only those that the key and itself allow.
fn check(key: &FlowKey, key_attrs: u64, mask: Option<(&FlowKey, u64)>) -> Result<(), KeyError> {
    let met = Met::by(key);
    let mut expected = 0;
    let mut allowed = key_attrs;
    let dependent = GROUPS[metadata_groups().len()..].iter().filter(|group| {
        matches!(group.shape(), Shape::Fields | Shape::Nsh | Shape::Labels)
            && !matches!(group.attr, ovs::OVS_KEY_ATTR_ETHERNET | ovs::OVS_KEY_ATTR_IPV6_EXTHDRS)
    });
    for group in dependent {
        allowed &= !bit(group.attr);
        if met.has(group.prerequisite) {
            expected |= bit(group.attr);
            if mask.is_some_and(|(bits, _)| group.prerequisite.is_fixed_by(bits)) {
                allowed |= bit(group.attr);
            }
        }
    }
    for (tuple, prerequisite) in [
        (ovs::OVS_KEY_ATTR_CT_ORIG_TUPLE_IPV4, Prerequisite::Ipv4),
        (ovs::OVS_KEY_ATTR_CT_ORIG_TUPLE_IPV6, Prerequisite::Ipv6),
    ] {
        allowed &= !bit(tuple);
        if met.has(prerequisite) && mask.is_some_and(|(bits, _)| prerequisite.is_fixed_by(bits)) {
            allowed |= bit(tuple);
        }
    }
    if met.has(Prerequisite::NeighbourDiscovery) {
        // In the kernel's key these two share bytes.
        allowed &= !bit(ovs::OVS_KEY_ATTR_CT_ORIG_TUPLE_IPV6);
    }
    allowed |=
        bit(ovs::OVS_KEY_ATTR_TUNNEL) | bit(ovs::OVS_KEY_ATTR_IN_PORT) | bit(ovs::OVS_KEY_ATTR_ETHERTYPE);
    if key_attrs & expected != expected {
        return Err(KeyError::Missing { present: key_attrs, expected });
    }
    match mask {
        Some((_, attrs)) if attrs & !allowed != 0 => Err(KeyError::Mask { mask: attrs, allowed }),
        Some(_) | None => Ok(()),
    }
}
