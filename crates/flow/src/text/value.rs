// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One field's value and mask, written and read.

use core::net::{Ipv4Addr, Ipv6Addr};
use std::fmt::Write;

use super::cursor::Cursor;
use super::names::{self, Names};
use super::{Error, PortName, PortNumber};
use crate::MacAddr;
use crate::field::{Field, Format};

/// Bits of a VLAN TCI.
pub(super) mod tci {
    pub(in crate::text) const VID: u16 = 0x0fff;
    pub(in crate::text) const CFI: u16 = 0x1000;
    pub(in crate::text) const PCP_SHIFT: u16 = 13;
}

/// The parts of an MPLS label stack entry: name, shift, largest value.
pub(super) const LSE_PARTS: [(&str, u32, u32); 4] =
    [("label", 12, 0xf_ffff), ("tc", 9, 7), ("ttl", 0, 0xff), ("bos", 8, 1)];

/// Appends `value`, and `/mask` unless the mask is exact.
pub(super) fn write_field(
    out: &mut String,
    field: &Field,
    value: u128,
    mask: Option<u128>,
    port: PortName<'_>,
) {
    let partial = mask.filter(|mask| mask & field.full() != field.full());
    match field.format {
        Format::CtState => return write_flags(out, names::CT_STATE, value, mask, u32::MAX),
        Format::TcpFlags => {
            return write_flags(out, names::TCP_FLAGS, value, mask, names::all(names::TCP_FLAGS));
        }
        Format::TunnelFlags => {
            return write_flags(out, names::TUNNEL_FLAGS, value, mask, names::all(names::TUNNEL_FLAGS));
        }
        Format::Frag => {
            match value {
                0 => out.push_str("no"),
                1 => out.push_str("first"),
                2 => out.push_str("later"),
                other => write_value(out, Format::Dec, other),
            }
            if let Some(mask) = partial {
                write_mask(out, Format::Hex, mask);
            }
            return;
        }
        Format::Port => match port(value as u32).filter(|_| partial.is_none()) {
            Some(name) => out.push_str(&name),
            None => write_value(out, Format::Dec, value),
        },
        form @ (Format::Dec
        | Format::Hex
        | Format::Hex4
        | Format::Mac
        | Format::Ipv4
        | Format::Ipv6
        | Format::VlanTci
        | Format::MplsLse
        | Format::Part) => write_value(out, form, value),
    }
    if let Some(mask) = partial {
        write_mask(out, field.format, mask);
    }
}

fn write_value(out: &mut String, form: Format, value: u128) {
    // Writing to a String cannot fail.
    let _ = match form {
        Format::Hex if value == 0 => write!(out, "0"),
        Format::Hex => write!(out, "{value:#x}"),
        Format::Hex4 => write!(out, "{value:#06x}"),
        Format::Mac => write!(out, "{}", mac(value)),
        Format::Ipv4 => write!(out, "{}", Ipv4Addr::from_bits(value as u32)),
        Format::Ipv6 => write!(out, "{}", Ipv6Addr::from_bits(value)),
        Format::Dec
        | Format::Frag
        | Format::Port
        | Format::CtState
        | Format::TcpFlags
        | Format::TunnelFlags
        | Format::VlanTci
        | Format::MplsLse
        | Format::Part => write!(out, "{value}"),
    };
}

fn write_mask(out: &mut String, form: Format, mask: u128) {
    out.push('/');
    match form {
        Format::Hex4 | Format::Mac | Format::Ipv4 | Format::Ipv6 => write_value(out, form, mask),
        Format::Dec
        | Format::Hex
        | Format::Frag
        | Format::Port
        | Format::CtState
        | Format::TcpFlags
        | Format::TunnelFlags
        | Format::VlanTci
        | Format::MplsLse
        | Format::Part => write_value(out, Format::Hex, mask),
    }
}

/// Flags: `+a-b` for those in the mask; `a|b` where the mask has all that are known (`known`).
fn write_flags(out: &mut String, names: Names, value: u128, mask: Option<u128>, known: u32) {
    let value = value as u32;
    match mask.map(|mask| mask as u32) {
        Some(0) => out.push_str("0/0"),
        Some(mask) if mask & known != known && mask & names::all(names) != 0 => {
            out.push_str(&names::signed(names, value, mask));
        }
        Some(_) | None => out.push_str(&names::joined(names, value)),
    }
}

/// An Ethernet address from its number.
pub(super) fn mac(value: u128) -> MacAddr {
    let [_, _, _, _, _, _, _, _, _, _, address @ ..] = value.to_be_bytes();
    MacAddr(address)
}

/// A value and its mask.
pub(super) type Pair = (u128, u128);

/// Reads `value` or `value/mask`.
pub(super) fn read_field(at: &mut Cursor<'_>, field: &Field, port: PortNumber<'_>) -> Result<Pair, Error> {
    let name = if field.name.is_empty() { "the field" } else { field.name };
    match field.format {
        Format::CtState => read_flags(at, names::CT_STATE, field),
        Format::TcpFlags => read_flags(at, names::TCP_FLAGS, field),
        Format::TunnelFlags => read_flags(at, names::TUNNEL_FLAGS, field),
        Format::Frag => {
            let value = read_fragment(at)?;
            Ok((value, read_mask(at, Format::Hex, field.full(), name)?))
        }
        Format::Port => {
            let value = read_port(at, port)?;
            Ok((value.into(), read_mask(at, Format::Hex, field.full(), name)?))
        }
        form @ (Format::Dec
        | Format::Hex
        | Format::Hex4
        | Format::Mac
        | Format::Ipv4
        | Format::Ipv6
        | Format::VlanTci
        | Format::MplsLse
        | Format::Part) => {
            let value = read_value(at, form, field.full(), name)?;
            Ok((value, read_mask(at, form, field.full(), name)?))
        }
    }
}

/// Reads a mask, if there is one; else it is exact.
fn read_mask(at: &mut Cursor<'_>, form: Format, full: u128, name: &str) -> Result<u128, Error> {
    if !at.eat("/") {
        return Ok(full);
    }
    let width = match form {
        Format::Ipv4 => 32,
        Format::Ipv6 => 128,
        Format::Mac
        | Format::Dec
        | Format::Hex
        | Format::Hex4
        | Format::Frag
        | Format::Port
        | Format::CtState
        | Format::TcpFlags
        | Format::TunnelFlags
        | Format::VlanTci
        | Format::MplsLse
        | Format::Part => return read_value(at, form, full, name),
    };
    // An address's mask can be the length of a prefix.
    let before = at.clone();
    match at.token().parse::<u32>() {
        Ok(0) => Ok(0),
        Ok(length) if length <= width => Ok(full & (u128::MAX << (width - length))),
        _ => {
            *at = before;
            read_value(at, form, full, name)
        }
    }
}

/// Reads one value of a form.
pub(super) fn read_value(at: &mut Cursor<'_>, form: Format, max: u128, name: &str) -> Result<u128, Error> {
    let before = at.clone();
    let (value, expected) = match form {
        Format::Mac => {
            let token = at.token();
            let value = token.parse::<MacAddr>().map(|MacAddr(address)| super::value::from_be(&address));
            (value.ok(), "an Ethernet address like 02:00:00:00:00:01")
        }
        Format::Ipv4 => {
            (at.token().parse::<Ipv4Addr>().ok().map(|a| a.to_bits().into()), "an IPv4 address like 10.0.0.1")
        }
        Format::Ipv6 => {
            (at.token().parse::<Ipv6Addr>().ok().map(Ipv6Addr::to_bits), "an IPv6 address like fd00::1")
        }
        Format::Dec
        | Format::Hex
        | Format::Hex4
        | Format::Frag
        | Format::Port
        | Format::CtState
        | Format::TcpFlags
        | Format::TunnelFlags
        | Format::VlanTci
        | Format::MplsLse
        | Format::Part => return read_number(at, max, name),
    };
    value.ok_or_else(|| before.unexpected(expected))
}

/// Reads a decimal number, or a hexadecimal one with `0x`.
pub(super) fn read_number(at: &mut Cursor<'_>, max: u128, name: &str) -> Result<u128, Error> {
    let before = at.clone();
    let token = at.token();
    let value = match token.strip_prefix("0x").or_else(|| token.strip_prefix("0X")) {
        // More digits than fit are a number that is too large, not a text that is no number.
        Some(digits) if !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
            u128::from_str_radix(digits, 16).unwrap_or(u128::MAX)
        }
        None if !token.is_empty() && token.bytes().all(|digit| digit.is_ascii_digit()) => {
            token.parse().unwrap_or(u128::MAX)
        }
        _ => return Err(before.unexpected(format!("a number for {name}, like 10 or 0xa"))),
    };
    if value > max || (value == u128::MAX && token.len() > 39) {
        let (value, max) =
            (token.to_owned(), if max > 0xffff_ffff { format!("{max:#x}") } else { max.to_string() });
        return Err(Error::TooLarge { column: before.column(), value, name: name.to_owned(), max });
    }
    Ok(value)
}

fn read_fragment(at: &mut Cursor<'_>) -> Result<u128, Error> {
    let before = at.clone();
    match at.token() {
        "no" => Ok(0),
        "first" => Ok(1),
        "later" => Ok(2),
        token => match token.parse::<u8>() {
            Ok(value) => Ok(value.into()),
            Err(_) => Err(before.unexpected("`no`, `first` or `later`")),
        },
    }
}

/// Reads a port: its number, or a name that can be found.
pub(super) fn read_port(at: &mut Cursor<'_>, port: PortNumber<'_>) -> Result<u32, Error> {
    let before = at.clone();
    let name = at.take_while(|c| !matches!(c, ',' | '(' | ')' | '/') && !c.is_whitespace());
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        let mut number = before.clone();
        if let Ok(value) = read_number(&mut number, u32::MAX.into(), "a port number") {
            if number.column() == at.column() {
                return Ok(value as u32);
            }
        } else if name.bytes().all(|digit| digit.is_ascii_digit()) {
            return read_number(&mut before.clone(), u32::MAX.into(), "a port number")
                .map(|value| value as u32);
        }
    }
    if name.is_empty() {
        return Err(before.unexpected("a port's number or name"));
    }
    port(name).ok_or_else(|| Error::NoSuchPort { column: before.column(), name: name.to_owned() })
}

/// Reads flags: `+a-b`, `a|b`, or a number with an optional mask.
pub(super) fn read_flags(at: &mut Cursor<'_>, names: Names, field: &Field) -> Result<Pair, Error> {
    let full = field.full();
    if at.rest().starts_with(|c: char| c.is_ascii_digit()) {
        let value = read_number(at, full, field.name)?;
        return Ok((value, read_mask(at, Format::Hex, full, field.name)?));
    }
    let exact = !at.sees("+") && !at.sees("-");
    let (mut value, mut mask) = (0, if exact { u32::MAX } else { 0 });
    loop {
        let on = exact || at.sees("+");
        if !exact && !at.eat("+") && !at.eat("-") {
            break;
        }
        let before = at.clone();
        let name = at.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '[' | ']'));
        let Some((bit, _)) = names.iter().find(|(_, known)| *known == name) else {
            let known: Vec<_> = names.iter().map(|(_, name)| *name).collect();
            return Err(before.unexpected(format!("one of {}", known.join(", "))));
        };
        mask |= bit;
        value |= if on { *bit } else { 0 };
        if exact && !at.eat("|") {
            break;
        }
    }
    Ok((value.into(), u128::from(mask) & full))
}

/// A number from big-endian bytes.
pub(super) fn from_be(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0, |value, &byte| value << 8 | u128::from(byte))
}

/// Writes a VLAN tag; `mask` of `None` is exact. `all`: also what the mask leaves open.
pub(super) fn write_tci(out: &mut String, value: u16, mask: Option<u16>, all: bool) {
    let parts = [("vid", tci::VID, 0), ("pcp", 7 << tci::PCP_SHIFT, tci::PCP_SHIFT)];
    for (name, bits, shift) in parts {
        let (part, open) = ((value & bits) >> shift, mask.map(|mask| (mask & bits) >> shift));
        if !all && part == 0 && open == Some(0) {
            continue;
        }
        let _ = write!(out, "{name}={part}");
        if let Some(open) = open.filter(|open| *open != bits >> shift) {
            let _ = write!(out, "/{open:#x}");
        }
        out.push(',');
    }
    if value & tci::CFI == 0 {
        out.push_str("cfi=0,");
    }
    if out.ends_with(',') {
        out.pop();
    }
}

/// Reads a VLAN tag up to and with its `)`. A tag is present unless `cfi=0` says otherwise.
pub(super) fn read_tci(at: &mut Cursor<'_>) -> Result<(u16, u16), Error> {
    let (mut value, mut mask) = (tci::CFI, tci::CFI);
    let mut first = true;
    while at.next_in_parentheses(first)? {
        first = false;
        let before = at.clone();
        let (name, bits, shift) = match at.word() {
            "vid" => ("vid", tci::VID, 0),
            "pcp" => ("pcp", 7, tci::PCP_SHIFT),
            "cfi" => ("cfi", 1, 12),
            "tci" => ("tci", u16::MAX, 0),
            _ => return Err(before.unexpected("`vid=`, `pcp=`, `cfi=` or `tci=`")),
        };
        at.expect("=")?;
        let part = read_value(at, Format::Dec, bits.into(), name)? as u16;
        let part_mask = read_mask(at, Format::Dec, bits.into(), name)? as u16;
        value = value & !(bits << shift) | part << shift;
        mask = mask & !(bits << shift) | part_mask << shift;
    }
    Ok((value, mask))
}

/// Writes an MPLS label stack entry in its parts; with masks on all of them unless every bit matters.
pub(super) fn write_lse(out: &mut String, value: u32, mask: Option<u32>) {
    for (name, shift, max) in LSE_PARTS {
        let _ = write!(out, "{name}={}", value >> shift & max);
        if let Some(mask) = mask.filter(|mask| *mask != u32::MAX) {
            // One digit needs no prefix.
            if max < 10 {
                let _ = write!(out, "/{}", mask >> shift & max);
            } else {
                write_mask(out, Format::Hex, (mask >> shift & max).into());
            }
        }
        out.push(',');
    }
    out.pop();
}

/// Reads one part of an MPLS label stack entry, `name` already read, into value and mask.
pub(super) fn read_lse_part(at: &mut Cursor<'_>, name: &str, lse: &mut (u32, u32)) -> Result<bool, Error> {
    let Some((name, shift, max)) = LSE_PARTS.into_iter().find(|(part, _, _)| *part == name) else {
        return Ok(false);
    };
    at.expect("=")?;
    let part = read_value(at, Format::Dec, max.into(), name)? as u32;
    let part_mask = read_mask(at, Format::Dec, max.into(), name)? as u32;
    lse.0 = lse.0 & !(max << shift) | part << shift;
    lse.1 = lse.1 & !(max << shift) | part_mask << shift;
    Ok(true)
}
