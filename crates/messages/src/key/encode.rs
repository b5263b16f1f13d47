// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Keys and masks, written.

use portway_flow::field::{GROUPS, Group, GroupId, Met, Shape};
use portway_flow::{FlowKey, FlowMask, mac_proto};
use portway_netlink::{AttrBuilder, Error};
use portway_uapi::openvswitch as ovs;

use super::attrs::structure_len;
use super::tunnel::put_tunnel;
use super::{NO_PORT, ethertype};

/// The longest structure: struct ovs_key_ipv6 and struct ovs_key_ct_tuple_ipv6.
const STRUCTURE_MAX: usize = 40;

/// A packet's or flow's key as the payload of its attribute.
pub fn encode_key(key: &FlowKey) -> Vec<u8> {
    encode(|out| Writer::of_key(key).write(out))
}

/// A flow's mask as the payload of its attribute. The flow's key decides which attributes there are; what the mask hides of it does not
/// count.
pub fn encode_mask(key: &FlowKey, mask: &FlowMask) -> Vec<u8> {
    let key = &mask.apply(key);
    encode(|out| Writer::of_mask(key, mask).write(out))
}

fn encode(write: impl FnOnce(&mut AttrBuilder<'_>) -> Result<(), Error>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let result = write(&mut AttrBuilder::new(&mut bytes));
    debug_assert!(result.is_ok(), "a key is far smaller than an attribute can be");
    bytes
}

/// Writes a key as a nest of this kind.
///
/// # Errors
/// No room.
pub fn put_key(out: &mut AttrBuilder<'_>, kind: u16, key: &FlowKey) -> Result<(), Error> {
    out.nest_unmarked(kind, |out| Writer::of_key(key).write(out))
}

/// Writes a flow's mask as a nest of this kind.
///
/// # Errors
/// No room.
pub fn put_mask(out: &mut AttrBuilder<'_>, kind: u16, key: &FlowKey, mask: &FlowMask) -> Result<(), Error> {
    let key = &mask.apply(key);
    out.nest_unmarked(kind, |out| Writer::of_mask(key, mask).write(out))
}

/// A group's structure, and how many of the bytes are it.
pub(crate) fn structure(group: &Group, key: &FlowKey) -> ([u8; STRUCTURE_MAX], usize) {
    let mut bytes = [0; STRUCTURE_MAX];
    write_structure(group, key, &mut bytes);
    (bytes, structure_len(group))
}

/// Writes a group's structure to where there is room for it.
#[inline]
fn write_structure(group: &Group, key: &FlowKey, to: &mut [u8]) {
    let mut at = 0;
    for field in group.fields {
        field.put_wire(key, &mut to[at..at + field.wire]);
        at += field.wire;
    }
}

struct Writer<'a> {
    /// Decides which attributes there are,
    key: &'a FlowKey,
    /// by what a packet of it is.
    met: Met,
    /// What is in them.
    output: &'a FlowKey,
    is_mask: bool,
}

impl<'a> Writer<'a> {
    fn of_key(key: &'a FlowKey) -> Self {
        Self { key, met: Met::by(key), output: key, is_mask: false }
    }

    fn of_mask(key: &'a FlowKey, mask: &'a FlowMask) -> Self {
        Self { key, met: Met::by(key), output: mask.bits(), is_mask: true }
    }

    fn write(&self, out: &mut AttrBuilder<'_>) -> Result<(), Error> {
        for group in GROUPS {
            match group.shape() {
                Shape::Tunnel if self.key.tun_proto != 0 || self.is_mask => {
                    put_tunnel(out, self.output, self.key.tun_proto, self.key.tun_opts_len)?;
                }
                Shape::Ethertype => return self.behind_tags(out, 0),
                Shape::Fields if group.id == GroupId::InPort => self.input_port(out)?,
                Shape::Fields if self.met.has(group.prerequisite) => self.structure(out, group)?,
                Shape::Fields | Shape::Tunnel | Shape::Tags | Shape::Nsh | Shape::Labels => {}
            }
        }
        Ok(())
    }

    /// A port number has sixteen bits in the kernel's key; a mask shows the others as ones. A key without a port has no attribute.
    fn input_port(&self, out: &mut AttrBuilder<'_>) -> Result<(), Error> {
        let upper = if self.is_mask { 0xffff_0000 } else { 0 };
        if self.key.in_port != NO_PORT {
            out.put_u32(ovs::OVS_KEY_ATTR_IN_PORT, upper | self.output.in_port & 0xffff)
        } else if self.is_mask && self.output.in_port & 0xffff == 0xffff {
            out.put_u32(ovs::OVS_KEY_ATTR_IN_PORT, u32::MAX)
        } else {
            Ok(())
        }
    }

    fn structure(&self, out: &mut AttrBuilder<'_>, group: &Group) -> Result<(), Error> {
        out.put_with(group.attr, structure_len(group), |bytes| write_structure(group, self.output, bytes))
    }

    /// The ethertype and all that depends on it, behind `level` VLAN tags.
    fn behind_tags(&self, out: &mut AttrBuilder<'_>, level: usize) -> Result<(), Error> {
        let (key, output) = (self.key, self.output);
        let eth_type = key.eth_type.get();
        let (tci, output_tci, output_tpid) = match level {
            0 => (key.vlan_tci.get(), output.vlan_tci.get(), output.vlan_tpid.get()),
            _ => (key.cvlan_tci.get(), output.cvlan_tci.get(), output.cvlan_tpid.get()),
        };
        let ethernet = key.mac_proto == mac_proto::ETHERNET;
        if ethernet && level < 2 && (tci != 0 || ethertype::is_vlan(eth_type)) {
            // Whether or not the mask has it, the tag's ethertype is shown as exact.
            out.put_be16(ovs::OVS_KEY_ATTR_ETHERTYPE, if self.is_mask { u16::MAX } else { output_tpid })?;
            out.put_be16(ovs::OVS_KEY_ATTR_VLAN, output_tci)?;
            return out.nest_unmarked(ovs::OVS_KEY_ATTR_ENCAP, |out| {
                // Behind a tag that the packet's end cut off there is nothing.
                if tci != 0 { self.behind_tags(out, level + 1) } else { Ok(()) }
            });
        }
        if ethernet && eth_type == ethertype::LLC {
            // 802.2 frames have no ethertype; that a flow matches them is said by the mask.
            return match output.eth_type.get() {
                mask if self.is_mask && mask != 0 => out.put_be16(ovs::OVS_KEY_ATTR_ETHERTYPE, mask),
                _ => Ok(()),
            };
        }
        out.put_be16(ovs::OVS_KEY_ATTR_ETHERTYPE, output.eth_type.get())?;
        if ethertype::is_vlan(eth_type) {
            return Ok(());
        }
        for group in &GROUPS[GroupId::EthType as usize + 1..] {
            if !self.met.has(group.prerequisite) {
                continue;
            }
            match group.shape() {
                Shape::Nsh => self.nsh(out)?,
                Shape::Labels => self.labels(out)?,
                Shape::Fields | Shape::Tunnel | Shape::Tags | Shape::Ethertype => {
                    self.structure(out, group)?;
                }
            }
        }
        Ok(())
    }

    fn nsh(&self, out: &mut AttrBuilder<'_>) -> Result<(), Error> {
        let key = self.output;
        let base = ovs::ovs_nsh_key_base {
            flags: key.nsh_flags,
            ttl: key.nsh_ttl,
            mdtype: key.nsh_mdtype,
            np: key.nsh_np,
            path_hdr: key.nsh_path,
        };
        out.nest_unmarked(ovs::OVS_KEY_ATTR_NSH, |out| {
            out.put_struct(ovs::OVS_NSH_KEY_ATTR_BASE, &base)?;
            if self.is_mask || key.nsh_mdtype == 1 {
                out.put_struct(ovs::OVS_NSH_KEY_ATTR_MD1, &key.nsh_context)?;
            }
            Ok(())
        })
    }

    fn labels(&self, out: &mut AttrBuilder<'_>) -> Result<(), Error> {
        let count = (self.output.mpls_count.count_ones() as usize).min(self.output.mpls_lse.len());
        out.put_struct(ovs::OVS_KEY_ATTR_MPLS, &self.output.mpls_lse[..count])
    }
}
