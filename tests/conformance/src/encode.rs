// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Requests as bytes, from what scenarios write.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::bytes_of_hex;
use crate::tables::{Table, Type, entries, is_masked};

/// Says what symbols such as `$pid:u1` stand for.
pub(crate) trait Resolve {
    /// The number of a symbol.
    fn symbol(&mut self, symbol: &str) -> Result<u32>;
}

/// Appends attributes.
pub(crate) fn attributes(
    table: Table,
    value: &Value,
    symbols: &mut dyn Resolve,
    out: &mut Vec<u8>,
) -> Result<()> {
    nest(
        value,
        symbols,
        out,
        &|name| {
            let entry = entries(table).iter().find(|(_, known, _)| *known == name);
            entry.map(|(number, _, kind)| (*number, *kind))
        },
        &|number| entries(table).iter().find(|(known, _, _)| *known == number).map(|(_, _, kind)| *kind),
        is_masked(table),
    )
}

fn nest(
    value: &Value,
    symbols: &mut dyn Resolve,
    out: &mut Vec<u8>,
    by_name: &dyn Fn(&str) -> Option<(u16, Type)>,
    by_number: &dyn Fn(u16) -> Option<Type>,
    masked: bool,
) -> Result<()> {
    for pair in value.as_array().context("attributes are a list")? {
        let name = pair[0].as_str().context("an attribute has a name")?;
        let (flag, name) = name.strip_prefix('!').map_or((0, name), |name| (0x8000, name));
        let (number, kind) = match name.strip_prefix('#') {
            Some(number) => {
                let number = integer(&Value::from(number), symbols)? as u16;
                (number, by_number(number & 0x3fff).unwrap_or(Type::Hex))
            }
            None => by_name(name).with_context(|| format!("no attribute {name}"))?,
        };
        let mut data = Vec::new();
        payload(kind, masked, &pair[1], symbols, &mut data)?;
        let len = (data.len() + 4) as u16;
        out.extend(len.to_ne_bytes());
        out.extend((number | flag).to_ne_bytes());
        out.extend(&data);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    Ok(())
}

fn payload(
    kind: Type,
    masked: bool,
    value: &Value,
    symbols: &mut dyn Resolve,
    out: &mut Vec<u8>,
) -> Result<()> {
    if let Value::Object(fields) = value {
        if let (Some(hex), 1) = (fields.get("hex"), fields.len()) {
            out.extend(hex_bytes(hex)?);
            return Ok(());
        }
        if let (Some(unit), Some(times), 2) = (fields.get("rep"), fields.get("n"), fields.len()) {
            out.extend(hex_bytes(unit)?.repeat(times.as_u64().unwrap_or(0) as usize));
            return Ok(());
        }
        if let (Some(actions), 1) = (fields.get("nested"), fields.len()) {
            return attributes(Table::Actions, actions, symbols, out);
        }
    }
    if masked && !matches!(kind, Type::Nest(_)) {
        encode(kind, &value["value"], symbols, out)?;
        return encode(kind, &value["mask"], symbols, out);
    }
    encode(kind, value, symbols, out)
}

fn hex_bytes(value: &Value) -> Result<Vec<u8>> {
    value.as_str().and_then(bytes_of_hex).with_context(|| format!("{value} is not hex"))
}

fn integer(value: &Value, symbols: &mut dyn Resolve) -> Result<u64> {
    match value {
        Value::Number(number) => {
            let signed = number.as_i64().map(|number| number as u64);
            number.as_u64().or(signed).context("an integer")
        }
        Value::Bool(yes) => Ok(u64::from(*yes)),
        Value::String(text) => match text.strip_prefix('$') {
            Some(symbol) => symbols.symbol(symbol).map(u64::from),
            None => match text.strip_prefix("0x") {
                Some(hex) => u64::from_str_radix(hex, 16).with_context(|| format!("{text} is no number")),
                None => text.parse().with_context(|| format!("{text} is no number")),
            },
        },
        other => bail!("{other} is no number"),
    }
}

fn encode(kind: Type, value: &Value, symbols: &mut dyn Resolve, out: &mut Vec<u8>) -> Result<()> {
    let text = || value.as_str().with_context(|| format!("{value} is not text"));
    match kind {
        Type::Int(len) => out.extend(&integer(value, symbols)?.to_le_bytes()[..len]),
        Type::Be(len) => out.extend(&integer(value, symbols)?.to_be_bytes()[8 - len..]),
        Type::Pid => match value.as_array() {
            Some(pids) => {
                for pid in pids {
                    encode(Type::Int(4), pid, symbols, out)?;
                }
            }
            None => encode(Type::Int(4), value, symbols, out)?,
        },
        Type::Ifindex => encode(Type::Int(4), value, symbols, out)?,
        Type::Flag => {}
        Type::Text => out.extend(text()?.bytes().chain([0])),
        Type::Hex => out.extend(hex_bytes(value)?),
        Type::Fixed(len) => {
            let mut bytes = hex_bytes(value)?;
            bytes.resize(len, 0);
            out.extend(bytes);
        }
        Type::Mac => out.extend(hex_bytes(&Value::from(text()?.replace(':', "")))?),
        Type::Ip4 => out.extend(text()?.parse::<Ipv4Addr>()?.octets()),
        Type::Ip6 => out.extend(text()?.parse::<Ipv6Addr>()?.octets()),
        Type::Ip => match text()?.contains(':') {
            true => encode(Type::Ip6, value, symbols, out)?,
            false => encode(Type::Ip4, value, symbols, out)?,
        },
        Type::Pad(len) => out.resize(out.len() + len, 0),
        Type::Struct(fields) => {
            for (name, kind) in fields {
                match value.get(name) {
                    Some(value) if !matches!(kind, Type::Pad(_)) => encode(*kind, value, symbols, out)?,
                    _ => out.resize(out.len() + size(*kind), 0),
                }
            }
        }
        Type::Array(kind) => {
            for value in value.as_array().context("an array")? {
                encode(*kind, value, symbols, out)?;
            }
        }
        Type::Named(len, names) => match names.iter().find(|(name, _)| Some(*name) == value.as_str()) {
            Some((_, number)) => out.extend(&number.to_le_bytes()[..len]),
            None => encode(Type::Int(len), value, symbols, out)?,
        },
        Type::Nest(table) => attributes(table, value, symbols, out)?,
        Type::NestOf(kind) => nest(value, symbols, out, &|_| None, &|_| Some(*kind), false)?,
    }
    Ok(())
}

/// Bytes of a type whose size is fixed.
fn size(kind: Type) -> usize {
    match kind {
        Type::Int(len) | Type::Be(len) | Type::Fixed(len) | Type::Pad(len) | Type::Named(len, _) => len,
        Type::Pid | Type::Ifindex | Type::Ip4 => 4,
        Type::Mac => 6,
        Type::Ip6 => 16,
        Type::Struct(fields) => fields.iter().map(|(_, kind)| size(*kind)).sum(),
        Type::Flag | Type::Text | Type::Hex | Type::Ip | Type::Array(_) | Type::Nest(_) | Type::NestOf(_) => {
            0
        }
    }
}
