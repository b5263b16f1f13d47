// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Keys and masks, read.

use portway_uapi::openvswitch::DP_MAX_PORTS;

use super::cursor::Cursor;
use super::tunnel::read_tunnel;
use super::value::{Pair, read_field, read_lse_part, read_tci, tci};
use super::{Error, PortNumber};
use crate::extract::ethertype;
use crate::field::{FieldId, GROUPS, Group, GroupId, Met, Shape};
use crate::key::{FlowKey, mac_proto};
use crate::mask::FlowMask;

/// VLAN tags that a key can hold.
const TAGS_MAX: usize = 2;

/// Reads a key with its masks, as `ovs-dpctl` prints it. What is not named is left open by the mask.
///
/// # Errors
/// What is wrong, where, and what would be right.
pub fn parse_key(text: &str, port: PortNumber<'_>) -> Result<(FlowKey, FlowMask), Error> {
    let mut parser = Parser {
        at: Cursor::new(text),
        port,
        key: FlowKey { in_port: DP_MAX_PORTS, eth_type: ethertype::LLC.into(), ..FlowKey::default() },
        mask: FlowKey { mac_proto: 0xff, ..FlowKey::default() },
        seen: Vec::new(),
    };
    parser.identifier();
    parser.level(0)?;
    if !parser.at.is_at_end() {
        return Err(parser.at.unexpected("`,` and another field, or the end of the text"));
    }
    parser.finish()
}

struct Parser<'a> {
    at: Cursor<'a>,
    port: PortNumber<'a>,
    key: FlowKey,
    mask: FlowKey,
    /// Groups that were named, and in which column.
    seen: Vec<(GroupId, usize)>,
}

/// What one level of `encap(...)` says about itself.
#[derive(Default)]
struct Level {
    ethertype: Option<Pair>,
    tag: Option<(u16, u16)>,
    encapsulates: bool,
}

impl Parser<'_> {
    /// Steps over `ufid:...,`: an identifier that some listings put in front; it is no part of the key.
    fn identifier(&mut self) {
        self.at.skip_space();
        if self.at.eat("ufid:") {
            self.at.take_while(|c| c.is_ascii_hexdigit() || c == '-');
            self.at.eat(",");
        }
    }

    /// Reads the fields of one level, up to its `)` or the end of the text, which is left to the caller.
    fn level(&mut self, depth: usize) -> Result<(), Error> {
        let mut level = Level::default();
        loop {
            self.at.skip_space();
            if self.at.is_at_end() || self.at.sees(")") {
                break;
            }
            self.item(&mut level, depth)?;
            self.at.skip_space();
            if !self.at.eat(",") {
                break;
            }
        }
        self.close(&level, depth)
    }

    /// Reads one `name(...)`.
    fn item(&mut self, level: &mut Level, depth: usize) -> Result<(), Error> {
        let before = self.at.clone();
        let name = self.at.word();
        if name == "encap" {
            self.at.expect("(")?;
            if level.tag.is_none() || std::mem::replace(&mut level.encapsulates, true) {
                return Err(before.unexpected("`encap(...)` once, behind `vlan(...)`"));
            }
            if depth == TAGS_MAX {
                return Err(before.unexpected(format!("at most {TAGS_MAX} VLAN tags")));
            }
            self.level(depth + 1)?;
            return self.at.expect(")");
        }
        let Some(group) = Group::by_name(name) else {
            let known: Vec<_> = GROUPS.iter().map(|group| group.name).collect();
            return Err(before.unexpected(format!("one of {}, encap", known.join(", "))));
        };
        let column = before.column();
        let here = match group.shape() {
            Shape::Ethertype => level.ethertype.is_some(),
            Shape::Tags => level.tag.is_some(),
            Shape::Fields | Shape::Tunnel | Shape::Nsh | Shape::Labels => {
                self.seen.iter().any(|(seen, _)| *seen == group.id)
            }
        };
        if here {
            return Err(Error::Twice { column, name: name.to_owned() });
        }
        self.seen.push((group.id, column));
        self.at.expect("(")?;
        match group.shape() {
            Shape::Ethertype => {
                level.ethertype = Some(self.ethertype()?);
                self.at.expect(")")
            }
            Shape::Tags => {
                level.tag = Some(read_tci(&mut self.at)?);
                Ok(())
            }
            Shape::Tunnel => read_tunnel(&mut self.at, &mut self.key, &mut self.mask),
            Shape::Labels => read_labels(&mut self.at, &mut self.key, &mut self.mask),
            Shape::Fields | Shape::Nsh => {
                read_fields(&mut self.at, group, self.port, &mut self.key, &mut self.mask)
            }
        }
    }

    /// Reads an ethertype; it matters as a whole or not at all.
    fn ethertype(&mut self) -> Result<Pair, Error> {
        let before = self.at.clone();
        let (value, mask) = read_field(&mut self.at, FieldId::EthType.field(), self.port)?;
        match (value as u16, mask as u16) {
            (_, 0) => Ok((0, 0)),
            (0, 0xffff) => Ok((ethertype::LLC.into(), 0xffff)),
            (ethertype::MIN.., 0xffff) => Ok((value, mask)),
            (_, 0xffff) => {
                Err(before.unexpected("an ethertype of 0x0600 or more, or 0/0xffff for 802.2 frames"))
            }
            _ => Err(before.unexpected("an ethertype whose mask is 0xffff or 0")),
        }
    }

    /// What a level's ethertype and tag mean for the key.
    fn close(&mut self, level: &Level, depth: usize) -> Result<(), Error> {
        if depth < TAGS_MAX && level.tag.is_none_or(|(value, _)| value == 0) {
            // No tag at this depth: the flow matches frames without one only.
            let mask = if depth == 0 { &mut self.mask.vlan_tci } else { &mut self.mask.cvlan_tci };
            mask.set(0xffff);
            if depth == 0 {
                self.mask.cvlan_tci.set(0xffff);
            }
        }
        let Some((value, mask)) = level.tag else {
            if let Some((value, mask)) = level.ethertype.filter(|(_, mask)| *mask != 0) {
                self.key.eth_type.set(value as u16);
                self.mask.eth_type.set(mask as u16);
            }
            return Ok(());
        };
        let tpid = level.ethertype.filter(|(value, _)| ethertype::is_vlan(*value as u16));
        let Some((tpid, _)) = tpid.filter(|_| depth < TAGS_MAX) else {
            return Err(self.lacking(GroupId::Vlan));
        };
        if value & tci::CFI == 0 {
            // A tag that the packet's end cut off: only its ethertype is known.
            self.key.eth_type.set(tpid as u16);
            self.mask.eth_type.set(0xffff);
            return if value == 0 { Ok(()) } else { Err(self.lacking(GroupId::Vlan)) };
        }
        let (key, open) = (&mut self.key, &mut self.mask);
        let fields = match depth {
            0 => [(&mut key.vlan_tci, &mut key.vlan_tpid), (&mut open.vlan_tci, &mut open.vlan_tpid)],
            _ => [(&mut key.cvlan_tci, &mut key.cvlan_tpid), (&mut open.cvlan_tci, &mut open.cvlan_tpid)],
        };
        for ((tci, tpid), (tci_bits, tpid_bits)) in
            fields.into_iter().zip([(value, tpid as u16), (mask | tci::CFI, 0xffff)])
        {
            tci.set(tci_bits);
            tpid.set(tpid_bits);
        }
        Ok(())
    }

    /// The error that a group's prerequisite does not hold.
    fn lacking(&self, id: GroupId) -> Error {
        let seen = self.seen.iter().rev().find(|(seen, _)| *seen == id);
        let group = id.group();
        Error::Prerequisite {
            column: seen.map_or(1, |(_, column)| *column),
            group: group.name,
            requirement: group.prerequisite.sentence(),
        }
    }

    /// Decides on what the whole text says: layer 2 or 3, and whether each field makes sense.
    fn finish(mut self) -> Result<(FlowKey, FlowMask), Error> {
        let named = |id| self.seen.iter().any(|(seen, _)| *seen == id);
        if named(GroupId::EthType) && !named(GroupId::Ethernet) {
            self.key.mac_proto = mac_proto::NONE;
            if named(GroupId::Vlan) {
                return Err(self.lacking(GroupId::Vlan));
            }
        }
        let met = Met::by(&self.key);
        for &(id, _) in &self.seen {
            let group = id.group();
            let matched = group.is_matched(&self.mask);
            let known = matches!(id, GroupId::Vlan | GroupId::EthType);
            if !known
                && !(met.has(group.prerequisite) && (!matched || group.prerequisite.is_fixed_by(&self.mask)))
            {
                return Err(self.lacking(id));
            }
        }
        self.mask.mac_proto = 0xff;
        Ok((self.key, FlowMask::new(self.mask)))
    }
}

/// Reads a group's fields up to and with its `)`: a value alone, or `name=value` pairs.
pub(super) fn read_fields(
    at: &mut Cursor<'_>,
    group: &Group,
    port: PortNumber<'_>,
    key: &mut FlowKey,
    mask: &mut FlowKey,
) -> Result<(), Error> {
    if let Some(field) = group.fields.iter().find(|field| field.name.is_empty()) {
        let before = at.clone();
        let (value, open) = read_field(at, field, port)?;
        if group.id == GroupId::InPort && open != 0 {
            if open != field.full() {
                return Err(before.unexpected("a port without a mask"));
            }
            if value >= DP_MAX_PORTS.into() {
                let (name, max) = (group.name.to_owned(), (DP_MAX_PORTS - 1).to_string());
                return Err(Error::TooLarge { column: before.column(), value: value.to_string(), name, max });
            }
        }
        field.set(key, value);
        field.set(mask, open);
        return at.expect(")");
    }
    let mut seen = Vec::new();
    while at.next_in_parentheses(seen.is_empty())? {
        let before = at.clone();
        let name = at.word();
        let Some(field) = group.field(name) else {
            let known: Vec<_> = group.fields.iter().map(|field| field.name).collect();
            return Err(before.unexpected(format!("one of {}", known.join(", "))));
        };
        if seen.contains(&name) {
            return Err(Error::Twice { column: before.column(), name: name.to_owned() });
        }
        seen.push(name);
        at.expect("=")?;
        let (value, open) = read_field(at, field, port)?;
        field.set(key, value);
        field.set(mask, open);
    }
    Ok(())
}

/// Reads an MPLS label stack up to and with its `)`.
pub(super) fn read_labels(at: &mut Cursor<'_>, key: &mut FlowKey, mask: &mut FlowKey) -> Result<(), Error> {
    let mut outermost = (0, 0);
    let mut count = 0_u8;
    let mut first = true;
    while at.next_in_parentheses(first)? {
        first = false;
        let before = at.clone();
        let name = at.word();
        if read_lse_part(at, name, &mut outermost)? {
            count = count.max(1);
            key.mpls_lse[0].set(outermost.0);
            mask.mpls_lse[0].set(outermost.1);
            continue;
        }
        let (0..=2, Some(field)) = (count, GroupId::Mpls.group().field(&format!("lse{count}"))) else {
            return Err(before.unexpected("at most 3 labels"));
        };
        if name != field.name {
            return Err(before.unexpected(format!("label, tc, ttl or bos, or {}", field.name)));
        }
        at.expect("=")?;
        let (value, open) = read_field(at, field, super::NO_NUMBERS)?;
        field.set(key, value);
        field.set(mask, open);
        count += 1;
    }
    (key.mpls_count, mask.mpls_count) = ((1 << count) - 1, (1 << count) - 1);
    Ok(())
}
