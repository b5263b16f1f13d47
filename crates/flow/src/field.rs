// SPDX-License-Identifier: Apache-2.0 OR MIT
//! THE table of match fields. Everything that must know the fields one by one is derived from it: the netlink codec
//! (`messages::key`), printing and parsing ([`crate::text`]), prerequisites, and `docs/fields.md`.
//!
//! Fields stand in groups: a group is one OVS_KEY_ATTR_* attribute and one word of the text form, like `ipv4(src=10.0.0.1,...)`.
//! Fields of different groups may share bytes of the key, as in the kernel (ARP and IP addresses, ICMP types and ports);
//! prerequisites keep them apart.

mod prerequisite;
mod set;
mod table;

#[cfg(test)]
mod tests;

pub use prerequisite::{Met, Prerequisite};
pub use set::{has_critical_option, set_from_parts, set_parts};
pub use table::{FIELD_COUNT, FieldId, GROUPS, GroupId};

use portway_uapi::openvswitch::OVS_KEY_ATTR_IPV6_EXTHDRS;

use crate::key::FlowKey;

/// Byte order of a field in the key (and in its attribute).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The host's: metadata.
    Host,
    /// Big-endian: what stands in a header.
    Network,
}

/// How people read and write a field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Decimal; a mask in hexadecimal.
    Dec,
    /// Hexadecimal with `0x`, but a bare `0`.
    Hex,
    /// Four hexadecimal digits: an ethertype.
    Hex4,
    /// An Ethernet address; a mask, too.
    Mac,
    /// An IPv4 address in dotted form; a mask, too.
    Ipv4,
    /// An IPv6 address; a mask, too.
    Ipv6,
    /// `no`, `first` or `later`.
    Frag,
    /// A port's number or name.
    Port,
    /// Named bits, `+` for one and `-` for zero: connection states.
    CtState,
    /// Named bits: TCP flags.
    TcpFlags,
    /// Named bits: tunnel flags.
    TunnelFlags,
    /// A VLAN tag: `vid`, `pcp` and `cfi`.
    VlanTci,
    /// An MPLS label stack entry: `label`, `tc`, `ttl`, `bos`.
    MplsLse,
    /// Not written by itself: a part of its group's form.
    Part,
}

/// One match field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Which one.
    pub id: FieldId,
    /// Name inside its group's parentheses; empty where the value stands there alone.
    pub name: &'static str,
    /// Offset in [`FlowKey`], in bytes.
    pub offset: usize,
    /// Bytes in [`FlowKey`], at most 16 (but for the tunnel options).
    pub width: usize,
    /// Bytes in the attribute's structure; 0: not at a fixed place there.
    pub wire: usize,
    /// Bits that can be other than zero in a valid key.
    pub bits: u32,
    /// Byte order.
    pub order: Order,
    /// Text form.
    pub format: Format,
    /// Whether the set actions can write it.
    pub settable: bool,
    /// What it is.
    pub doc: &'static str,
}

/// One attribute: a word of the text form with its fields, in the order of the attribute's structure.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// Which one.
    pub id: GroupId,
    /// Word of the text form.
    pub name: &'static str,
    /// OVS_KEY_ATTR_* number.
    pub attr: u16,
    /// What a packet must be to have these fields.
    pub prerequisite: Prerequisite,
    /// The fields.
    pub fields: &'static [Field],
    /// Bytes of the attribute's structure, without padding at its end; 0: it has no fixed structure.
    pub wire_len: usize,
    /// What it is.
    pub doc: &'static str,
}

/// The place in [`GROUPS`] of each attribute's group, by the attribute's number.
const BY_ATTR: [Option<u8>; OVS_KEY_ATTR_IPV6_EXTHDRS as usize + 1] = {
    let mut places = [None; OVS_KEY_ATTR_IPV6_EXTHDRS as usize + 1];
    let mut place = 0;
    while place < GROUPS.len() {
        places[GROUPS[place].attr as usize] = Some(place as u8);
        place += 1;
    }
    places
};

impl Field {
    /// The field's bytes in a key or in a mask's bits.
    #[inline]
    pub fn bytes(self, key: &FlowKey) -> &[u8] {
        &zerocopy::IntoBytes::as_bytes(key)[self.offset..self.offset + self.width]
    }

    /// The field's bytes, for writing.
    #[inline]
    pub fn bytes_mut(self, key: &mut FlowKey) -> &mut [u8] {
        &mut zerocopy::IntoBytes::as_mut_bytes(key)[self.offset..self.offset + self.width]
    }

    /// The field's value as a number (addresses, too). Of a field wider than 16 bytes: its first 16 bytes.
    pub fn get(self, key: &FlowKey) -> u128 {
        number(self.bytes(key), self.order)
    }

    /// Sets the field's value; bits that it has no room for are dropped.
    pub fn set(self, key: &mut FlowKey, value: u128) {
        let order = self.order;
        put_number(self.bytes_mut(key), order, value);
    }

    /// The field in the attribute's structure, from a key or from a mask's bits.
    #[inline]
    pub fn put_wire(&self, key: &FlowKey, wire: &mut [u8]) {
        if self.wire == self.width {
            // Both have the same order.
            copy(wire, self.bytes(key));
        } else {
            put_number(wire, self.order, self.get(key));
        }
    }

    /// The opposite of [`Field::put_wire`]; bits that the key has no room for are dropped.
    #[inline]
    pub fn set_from_wire(&self, key: &mut FlowKey, wire: &[u8]) {
        if self.wire == self.width {
            copy(self.bytes_mut(key), wire);
        } else {
            self.set(key, number(wire, self.order));
        }
    }

    /// The value in which every bit that can be used is one.
    pub const fn full(self) -> u128 {
        if self.bits >= 128 { u128::MAX } else { (1 << self.bits) - 1 }
    }

    /// Whether a mask leaves no usable bit of the field open.
    pub fn is_exact(self, mask: &FlowKey) -> bool {
        self.get(mask) & self.full() == self.full()
    }
}

impl Group {
    /// The group of this name in the text form.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        GROUPS.iter().find(|group| group.name == name)
    }

    /// The group of this OVS_KEY_ATTR_* number.
    pub fn by_attr(attr: u16) -> Option<&'static Self> {
        let place = BY_ATTR.get(usize::from(attr)).copied().flatten()?;
        GROUPS.get(usize::from(place))
    }

    /// The field of this name. The stock programs print the ports of `ct_tuple6` by names that they do not read; both are known here.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        let name = match name {
            "src_port" if self.id == GroupId::CtTuple6 => "tp_src",
            "dst_port" if self.id == GroupId::CtTuple6 => "tp_dst",
            name => name,
        };
        self.fields.iter().find(|field| field.name == name)
    }

    /// Whether a mask has any bit of the group's fields.
    pub fn is_matched(&self, mask: &FlowKey) -> bool {
        self.fields.iter().any(|field| field.bytes(mask).iter().any(|&byte| byte != 0))
    }
}

/// How a group is written, and how its attribute is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Its fields one after the other.
    Fields,
    /// Tunnel metadata: a nest.
    Tunnel,
    /// VLAN tags: with a nest of what they encapsulate.
    Tags,
    /// The ethertype: repeated behind each tag.
    Ethertype,
    /// Network service header: a nest.
    Nsh,
    /// MPLS labels: as many as there are.
    Labels,
}

impl Group {
    /// How the group is written.
    #[inline]
    pub const fn shape(&self) -> Shape {
        // A comparison each, not a match over all of them: this is asked for each group of each key that is written.
        if matches!(self.id, GroupId::Tunnel) {
            Shape::Tunnel
        } else if matches!(self.id, GroupId::Vlan) {
            Shape::Tags
        } else if matches!(self.id, GroupId::EthType) {
            Shape::Ethertype
        } else if matches!(self.id, GroupId::Nsh) {
            Shape::Nsh
        } else if matches!(self.id, GroupId::Mpls) {
            Shape::Labels
        } else {
            Shape::Fields
        }
    }
}

/// Copies a field's bytes: the lengths that most fields have are known where it is compiled.
///
/// # Panics
/// If the lengths differ.
#[inline(always)]
fn copy(to: &mut [u8], from: &[u8]) {
    match from.len() {
        1 => to.copy_from_slice(&from[..1]),
        2 => to.copy_from_slice(&from[..2]),
        4 => to.copy_from_slice(&from[..4]),
        6 => to.copy_from_slice(&from[..6]),
        16 => to.copy_from_slice(&from[..16]),
        _ => to.copy_from_slice(from),
    }
}

impl FieldId {
    /// The field's row of the table.
    pub fn field(self) -> &'static Field {
        let mut fields = GROUPS.iter().flat_map(|group| group.fields);
        fields.find(|field| field.id == self).expect("the table is made from the same list as FieldId")
    }
}

impl GroupId {
    /// The group's row of the table.
    pub fn group(self) -> &'static Group {
        &GROUPS[self as usize]
    }
}

/// The number that at most 16 bytes are.
pub fn number(bytes: &[u8], order: Order) -> u128 {
    let mut wide = [0; 16];
    let len = bytes.len().min(16);
    match order {
        Order::Network => {
            wide[16 - len..].copy_from_slice(&bytes[..len]);
            u128::from_be_bytes(wide)
        }
        Order::Host if cfg!(target_endian = "little") => {
            wide[..len].copy_from_slice(&bytes[..len]);
            u128::from_le_bytes(wide)
        }
        Order::Host => {
            wide[16 - len..].copy_from_slice(&bytes[..len]);
            u128::from_be_bytes(wide)
        }
    }
}

/// Writes the low bits of a number into at most 16 bytes.
pub fn put_number(bytes: &mut [u8], order: Order, value: u128) {
    let len = bytes.len().min(16);
    match order {
        Order::Host if cfg!(target_endian = "little") => {
            bytes[..len].copy_from_slice(&value.to_le_bytes()[..len]);
        }
        Order::Host | Order::Network => bytes[..len].copy_from_slice(&value.to_be_bytes()[16 - len..]),
    }
}

/// The page `docs/fields.md`.
pub fn docs_page() -> String {
    use std::fmt::Write as _;

    let mut page = String::from(
        "# Match fields\n\n\
         Made from the table in `crates/flow/src/field/table.rs` by its test; after a change there:\n\
         `PORTWAY_BLESS=1 cargo test -p portway-flow docs_page`.\n\n\
         A field is written `group(name=value/mask)`; without a mask every bit must match. Numbers may be decimal or hexadecimal.\n\
         *Can be set*: the `set(...)` action can write it.\n",
    );
    for group in GROUPS {
        let _ = write!(page, "\n## `{}`\n\n{}\n\n", group.name, group.doc);
        let _ = writeln!(page, "Attribute {}; {}.\n", group.attr, group.prerequisite.sentence());
        page.push_str("| name | bits | written as | can be set | meaning |\n|---|---|---|---|---|\n");
        for field in group.fields {
            let name = if field.name.is_empty() { "(alone)" } else { field.name };
            let (form, set) = (field.format.sentence(), if field.settable { "yes" } else { "" });
            let _ = writeln!(page, "| {name} | {} | {form} | {set} | {} |", field.bits, field.doc);
        }
    }
    page
}

impl Format {
    /// How to write a value.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Dec => "a decimal number",
            Self::Hex => "a hexadecimal number",
            Self::Hex4 => "four hexadecimal digits",
            Self::Mac => "an Ethernet address",
            Self::Ipv4 => "an IPv4 address",
            Self::Ipv6 => "an IPv6 address",
            Self::Frag => "`no`, `first` or `later`",
            Self::Port => "a port's number or name",
            Self::CtState => "flags like `+trk-new`",
            Self::TcpFlags => "flags like `+syn-ack`",
            Self::TunnelFlags => "flags like `+df-csum`",
            Self::VlanTci => "`vid=`, `pcp=` and `cfi=`",
            Self::MplsLse => "`label=`, `tc=`, `ttl=` and `bos=`",
            Self::Part => "part of the group's form",
        }
    }
}
