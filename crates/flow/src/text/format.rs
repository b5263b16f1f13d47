// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Keys, masks and whole flows, written.

use std::fmt::Write;

use super::names::TCP_FLAGS;
use super::tunnel::write_tunnel;
use super::value::{write_field, write_lse, write_tci};
use super::{NO_NAMES, PortName, format_actions};
use crate::action::Action;
use crate::extract::ethertype;
use crate::field::{Field, FieldId, GROUPS, Group, GroupId, Met, Shape};
use crate::key::{FlowKey, mac_proto};
use crate::mask::FlowMask;

/// How much to write, and how ports are called.
#[derive(Clone, Copy)]
pub struct Style<'a> {
    /// Also what the mask leaves open (`ovs-dpctl -m`).
    pub verbose: bool,
    /// Names of ports.
    pub port: PortName<'a>,
}

impl Default for Style<'_> {
    fn default() -> Self {
        Self { verbose: false, port: NO_NAMES }
    }
}

/// What a flow has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FlowStats {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// How long ago the last packet was, in milliseconds; `None`: there was none.
    pub idle_ms: Option<u64>,
    /// All TCP flags that were seen, together.
    pub tcp_flags: u16,
}

/// A flow in one line: match, counters, actions.
pub fn format_flow(
    key: &FlowKey,
    mask: &FlowMask,
    stats: &FlowStats,
    actions: &[Action],
    style: Style<'_>,
) -> String {
    let mut out = format_key(key, Some(mask), style);
    let _ = write!(out, ", packets:{}, bytes:{}, used:", stats.packets, stats.bytes);
    let _ = match stats.idle_ms {
        Some(ms) => write!(out, "{}.{:03}s", ms / 1000, ms % 1000),
        None => write!(out, "never"),
    };
    if stats.tcp_flags != 0 {
        out.push_str(", flags:");
        for (&(bit, name), letter) in TCP_FLAGS.iter().zip("FSRP.UECN".chars().map(Some).chain([None; 3])) {
            if u32::from(stats.tcp_flags) & bit != 0 {
                match letter {
                    Some(letter) => out.push(letter),
                    None => out.push_str(name),
                }
            }
        }
    }
    let _ = write!(out, ", actions:{}", format_actions(actions, style.port));
    out
}

/// A key with its mask; without a mask, a packet's key, every field of it.
pub fn format_key(key: &FlowKey, mask: Option<&FlowMask>, style: Style<'_>) -> String {
    let writer = Writer { key, met: Met::by(key), mask: mask.map(FlowMask::bits), style };
    let mut out = String::new();
    for group in GROUPS {
        match group.shape() {
            Shape::Tags => {}
            Shape::Ethertype => {
                writer.behind_tags(&mut out, 0);
                break;
            }
            Shape::Fields if group.id == GroupId::Ethernet && key.mac_proto == mac_proto::ETHERNET => {
                writer.ethernet(&mut out, group);
            }
            Shape::Fields | Shape::Tunnel | Shape::Nsh | Shape::Labels => writer.group(&mut out, group),
        }
    }
    out
}

struct Writer<'a> {
    key: &'a FlowKey,
    met: Met,
    mask: Option<&'a FlowKey>,
    style: Style<'a>,
}

impl Writer<'_> {
    /// Whether a group's fields are to be written at all.
    fn wants(&self, group: &Group) -> bool {
        self.met.has(group.prerequisite)
            && (self.style.verbose || self.mask.is_none_or(|mask| group.is_matched(mask)))
    }

    /// Whether a field is to be written.
    fn wants_field(&self, field: &Field) -> bool {
        self.style.verbose || self.mask.is_none_or(|mask| field.get(mask) != 0)
    }

    fn group(&self, out: &mut String, group: &Group) {
        if !self.wants(group) {
            return;
        }
        separate(out);
        let _ = write!(out, "{}(", group.name);
        match group.shape() {
            Shape::Tunnel => write_tunnel(out, self.key, self.mask, self.style.verbose),
            Shape::Labels => self.labels(out),
            Shape::Fields | Shape::Nsh | Shape::Tags | Shape::Ethertype => {
                write_fields(out, group, self.key, self.mask, self.style);
            }
        }
        out.push(')');
    }

    /// The Ethernet header is always named: a key without it is one of packets without it.
    fn ethernet(&self, out: &mut String, group: &Group) {
        separate(out);
        out.push_str("eth(");
        if self.wants(group) {
            write_fields(out, group, self.key, self.mask, self.style);
        }
        out.push(')');
    }

    /// The ethertype and all that depends on it, behind `level` VLAN tags.
    fn behind_tags(&self, out: &mut String, level: usize) {
        if let Some((tci, tpid)) = self.tag(level) {
            separate(out);
            let _ = write!(out, "eth_type({tpid:#06x}),vlan(");
            let mask = self.mask.map(|mask| if level == 0 { mask.vlan_tci } else { mask.cvlan_tci }.get());
            write_tci(out, tci, mask, self.style.verbose);
            out.push_str("),encap(");
            let mut inner = String::new();
            if tci != 0 {
                self.behind_tags(&mut inner, level + 1);
            }
            out.push_str(&inner);
            out.push(')');
            return;
        }
        let field = FieldId::EthType.field();
        let value = self.key.eth_type.get();
        if value == ethertype::LLC {
            if let Some(mask) = self.mask.map(|mask| mask.eth_type.get()).filter(|mask| *mask != 0) {
                separate(out);
                let _ = write!(out, "eth_type(0/{mask:#06x})");
            }
        } else if self.wants_field(field) {
            separate(out);
            out.push_str("eth_type(");
            write_field(out, field, value.into(), self.mask.map(|mask| field.get(mask)), self.style.port);
            out.push(')');
        }
        for group in &GROUPS[GroupId::EthType as usize + 1..] {
            self.group(out, group);
        }
    }

    /// The tag at this depth: its TCI and TPID. A tag that was cut off in the packet has a TCI of zero, and its TPID is the ethertype.
    fn tag(&self, level: usize) -> Option<(u16, u16)> {
        let (tci, tpid) = match level {
            0 => (self.key.vlan_tci.get(), self.key.vlan_tpid.get()),
            1 => (self.key.cvlan_tci.get(), self.key.cvlan_tpid.get()),
            _ => return None,
        };
        match self.key.eth_type.get() {
            _ if tci != 0 => Some((tci, tpid)),
            protocol if ethertype::is_vlan(protocol) => Some((0, protocol)),
            _ => None,
        }
    }

    /// One label in its parts, several as whole entries.
    fn labels(&self, out: &mut String) {
        let count = (self.key.mpls_count.count_ones() as usize).min(self.key.mpls_lse.len());
        let mask = |index: usize| self.mask.map(|mask| mask.mpls_lse[index].get());
        if count == 1 {
            write_lse(out, self.key.mpls_lse[0].get(), mask(0));
            return;
        }
        for index in 0..count {
            let value = self.key.mpls_lse[index].get();
            let _ = write!(out, "lse{index}={value:#x}");
            if let Some(mask) = mask(index) {
                let _ = write!(out, "/{mask:#x}");
            }
            out.push(',');
        }
        if count > 0 {
            out.pop();
        }
    }
}

/// The fields of a group, as they stand in its parentheses.
pub(super) fn write_fields(
    out: &mut String,
    group: &Group,
    key: &FlowKey,
    mask: Option<&FlowKey>,
    style: Style<'_>,
) {
    let start = out.len();
    for field in in_text_order(group) {
        let field_mask = mask.map(|mask| field.get(mask));
        let alone = field.name.is_empty();
        // Context headers exist in metadata type 1 only.
        let absent = group.id == GroupId::Nsh && field.name.starts_with('c') && key.nsh_mdtype != 1;
        if !alone && ((!style.verbose && field_mask == Some(0)) || (absent && field_mask.unwrap_or(0) == 0)) {
            continue;
        }
        if out.len() > start {
            out.push(',');
        }
        if !alone {
            let _ = write!(out, "{}=", field.name);
        }
        write_field(out, field, field.get(key), field_mask, style.port);
    }
}

/// A group's fields as they are written: a connection's protocol stands before its ports, unlike in the attribute.
fn in_text_order(group: &Group) -> impl Iterator<Item = &'static Field> {
    let fields = group.fields;
    let tuple = matches!(group.id, GroupId::CtTuple4 | GroupId::CtTuple6);
    (0..fields.len()).map(move |index| match index {
        2 if tuple => &fields[4],
        3 | 4 if tuple => &fields[index - 1],
        _ => &fields[index],
    })
}

/// A comma, unless something opens here.
fn separate(out: &mut String) {
    if !out.is_empty() && !out.ends_with('(') {
        out.push(',');
    }
}
