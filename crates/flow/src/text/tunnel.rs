// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Tunnel metadata: `tunnel(tun_id=0x1,src=...,dst=...,ttl=64,geneve({class=0x102,type=0x80,len=4,0xa0b0c0d}),flags(df|key))`.

use std::fmt::Write;

use super::cursor::Cursor;
use super::names::{self, TUNNEL_FLAGS};
use super::value::{read_field, read_number, write_field};
use super::{Error, NO_NAMES, NO_NUMBERS};
use crate::field::{Field, FieldId, Format};
use crate::key::{FlowKey, tunnel_flags};

/// The tunnel's address fields: names in the text for IPv4 and IPv6.
const ADDRESSES: [(FieldId, &str, &str); 2] =
    [(FieldId::TunSrc, "src", "ipv6_src"), (FieldId::TunDst, "dst", "ipv6_dst")];

/// The plain fields, in the order of the text.
const PLAIN: [FieldId; 4] = [FieldId::TunTos, FieldId::TunTtl, FieldId::TunTpSrc, FieldId::TunTpDst];

/// Bytes of a VXLAN group policy word and of `struct erspan_metadata`.
const GBP_LEN: usize = 4;
const ERSPAN_LEN: usize = 12;
/// The most bytes of options that a key can hold.
const OPTIONS_MAX: usize = 255;

/// An address field as a field of four bytes or of sixteen, so that it is written like any other address.
fn address(id: FieldId, ipv6: bool) -> Field {
    let (width, bits, format) = if ipv6 { (16, 128, Format::Ipv6) } else { (4, 32, Format::Ipv4) };
    Field { width, bits, format, ..*id.field() }
}

/// Writes what stands in the parentheses of `tunnel(...)`.
pub(super) fn write_tunnel(out: &mut String, key: &FlowKey, mask: Option<&FlowKey>, verbose: bool) {
    let mut plain = |name: &str, field: &Field, wanted: bool| {
        let open = mask.map(|mask| field.get(mask));
        if verbose || open.map_or(wanted, |open| open != 0) {
            let _ = write!(out, "{name}=");
            write_field(out, field, field.get(key), open, NO_NAMES);
            out.push(',');
        }
    };
    plain("tun_id", FieldId::TunId.field(), key.tun_flags & tunnel_flags::KEY != 0);
    let ipv6 = key.tun_proto == 6;
    for (id, ipv4_name, ipv6_name) in ADDRESSES {
        let field = address(id, ipv6);
        plain(if ipv6 { ipv6_name } else { ipv4_name }, &field, field.get(key) != 0);
    }
    for id in PLAIN {
        let field = id.field();
        plain(field.name, field, id == FieldId::TunTtl || field.get(key) != 0);
    }
    write_options(out, key, mask);
    let flags = key.tun_flags.into();
    match mask.map(|mask| u32::from(mask.tun_flags) & names::all(TUNNEL_FLAGS)) {
        Some(mask) if mask != names::all(TUNNEL_FLAGS) => {
            let _ = write!(out, "flags({})", names::signed(TUNNEL_FLAGS, flags, mask));
        }
        Some(_) | None => {
            let _ = write!(out, "flags({})", names::joined(TUNNEL_FLAGS, flags));
        }
    }
}

/// The options of a key (or of a mask, with the key's length).
fn options(key: &FlowKey, len: u8) -> &[u8] {
    &key.tun_opts[key.tun_opts.len() - usize::from(len)..]
}

fn write_options(out: &mut String, key: &FlowKey, mask: Option<&FlowKey>) {
    const KINDS: u16 = tunnel_flags::GENEVE_OPT | tunnel_flags::VXLAN_OPT | tunnel_flags::ERSPAN_OPT;
    if key.tun_flags & KINDS == 0 || mask.is_some_and(|mask| mask.tun_flags & KINDS == 0) {
        return;
    }
    let value = options(key, key.tun_opts_len);
    let mask = mask.map(|mask| options(mask, key.tun_opts_len));
    if key.tun_flags & tunnel_flags::GENEVE_OPT != 0 {
        write_geneve(out, value, mask);
    } else if key.tun_flags & tunnel_flags::VXLAN_OPT != 0 {
        write_gbp(out, value, mask);
    } else {
        out.push_str("erspan(");
        write_hex(out, value, mask);
        out.push_str("),");
    }
}

/// Hexadecimal digits and the mask, unless that is exact; leading zeros are left out, for the length is known.
fn write_hex(out: &mut String, value: &[u8], mask: Option<&[u8]>) {
    let put = |out: &mut String, bytes: &[u8]| {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match digits.trim_start_matches('0') {
            "" => out.push('0'),
            digits => {
                let _ = write!(out, "0x{digits}");
            }
        }
    };
    put(out, value);
    if let Some(mask) = mask.filter(|mask| mask.iter().any(|&byte| byte != 0xff)) {
        out.push('/');
        put(out, mask);
    }
}

/// Geneve options (RFC 8926, section 3.5): class, type, length, data. Options that do not add up are written as far as they do.
fn write_geneve(out: &mut String, mut value: &[u8], mut mask: Option<&[u8]>) {
    out.push_str("geneve(");
    while let Some((header, rest)) = value.split_first_chunk::<4>() {
        let len = (usize::from(header[3] & 0x1f) * 4).min(rest.len());
        let (head_mask, data_mask) = match mask {
            Some(mask) => (Some(&mask[..4]), Some(&mask[4..4 + len])),
            None => (None, None),
        };
        let _ = write!(out, "{{class={:#x}", u16::from_be_bytes([header[0], header[1]]));
        if let Some([high, low, ..]) = head_mask.filter(|mask| mask[..2] != [0xff; 2]) {
            let _ = write!(out, "/{:#x}", u16::from_be_bytes([*high, *low]));
        }
        let _ = write!(out, ",type={:#x}", header[2]);
        if let Some(kind) = head_mask.map(|mask| mask[2]).filter(|kind| *kind != 0xff) {
            let _ = write!(out, "/{kind:#x}");
        }
        let _ = write!(out, ",len={len}");
        if len > 0 {
            out.push(',');
            write_hex(out, &rest[..len], data_mask);
        }
        out.push('}');
        mask = mask.map(|mask| &mask[4 + len..]);
        value = &rest[len..];
    }
    out.push_str("),");
}

/// The group policy word: group in the low half, flags in bits 16 to 23.
fn write_gbp(out: &mut String, value: &[u8], mask: Option<&[u8]>) {
    let Some(&word) = value.first_chunk::<GBP_LEN>() else {
        return;
    };
    let word = u32::from_ne_bytes(word);
    let mask = mask.and_then(|mask| mask.first_chunk()).map(|&mask| u32::from_ne_bytes(mask));
    let _ = write!(out, "vxlan(gbp(id={}", word & 0xffff);
    if let Some(mask) = mask.map(|mask| mask & 0xffff).filter(|mask| *mask != 0xffff) {
        let _ = write!(out, "/{mask:#x}");
    }
    let _ = write!(out, ",flags={:#x}", word >> 16);
    if let Some(mask) = mask.map(|mask| mask >> 16).filter(|mask| *mask & 0xff != 0xff) {
        let _ = write!(out, "/{mask:#x}");
    }
    out.push_str(")),");
}

/// Reads what stands in the parentheses of `tunnel(...)`, and the closing one.
pub(super) fn read_tunnel(at: &mut Cursor<'_>, key: &mut FlowKey, mask: &mut FlowKey) -> Result<(), Error> {
    (key.tun_proto, mask.tun_proto) = (4, 0xff);
    let mut flags = None;
    let mut first = true;
    while at.next_in_parentheses(first)? {
        first = false;
        let before = at.clone();
        match at.word() {
            "flags" => flags = Some(read_tunnel_flags(at)?),
            kind @ ("geneve" | "vxlan" | "erspan") => {
                at.expect("(")?;
                let (flag, value, open) = match kind {
                    "geneve" => {
                        read_geneve(at).map(|(value, open)| (tunnel_flags::GENEVE_OPT, value, open))?
                    }
                    "vxlan" => read_gbp(at).map(|(value, open)| (tunnel_flags::VXLAN_OPT, value, open))?,
                    _ => {
                        read_hex_pair(at, ERSPAN_LEN).map(|(v, open)| (tunnel_flags::ERSPAN_OPT, v, open))?
                    }
                };
                at.expect(")")?;
                put_options(key, mask, flag, &value, &open);
            }
            name => read_plain(at, &before, name, key, mask)?,
        }
    }
    if let Some((value, open)) = flags {
        let named = names::all(TUNNEL_FLAGS) as u16;
        key.tun_flags = key.tun_flags & !named | value & named;
        mask.tun_flags = mask.tun_flags & !named | open & named;
    }
    Ok(())
}

/// Reads `name=value/mask` of a tunnel field, the name already read.
fn read_plain(
    at: &mut Cursor<'_>,
    before: &Cursor<'_>,
    name: &str,
    key: &mut FlowKey,
    mask: &mut FlowKey,
) -> Result<(), Error> {
    let addresses = ADDRESSES
        .iter()
        .flat_map(|&(id, ipv4, ipv6)| [(ipv4, address(id, false)), (ipv6, address(id, true))]);
    let plain = PLAIN.iter().map(|id| (id.field().name, *id.field()));
    let mut known = addresses.chain(plain).chain([("tun_id", *FieldId::TunId.field())]);
    let Some((_, field)) = known.find(|(known, _)| *known == name) else {
        return Err(before.unexpected(
            "one of tun_id, src, dst, ipv6_src, ipv6_dst, tos, ttl, tp_src, tp_dst, geneve, vxlan, erspan, flags",
        ));
    };
    at.expect("=")?;
    let (value, open) = read_field(at, &field, NO_NUMBERS)?;
    field.set(key, value);
    field.set(mask, open);
    if name.starts_with("ipv6") {
        key.tun_proto = 6;
    } else if name == "tun_id" {
        key.tun_flags |= tunnel_flags::KEY;
        mask.tun_flags |= tunnel_flags::KEY;
    }
    Ok(())
}

/// Reads `(df|key)` or `(+df-key)`; empty parentheses say nothing about the flags.
fn read_tunnel_flags(at: &mut Cursor<'_>) -> Result<(u16, u16), Error> {
    at.expect("(")?;
    if at.eat(")") {
        return Ok((0, 0));
    }
    let (value, mask) = read_field(at, FieldId::TunFlags.field(), NO_NUMBERS)?;
    at.expect(")")?;
    Ok((value as u16, mask as u16))
}

fn put_options(key: &mut FlowKey, mask: &mut FlowKey, flag: u16, value: &[u8], open: &[u8]) {
    key.tun_flags |= flag;
    mask.tun_flags |= flag;
    (key.tun_opts_len, mask.tun_opts_len) = (value.len() as u8, 0xff);
    for (options, bytes) in [(&mut key.tun_opts, value), (&mut mask.tun_opts, open)] {
        let start = options.len() - bytes.len();
        options.fill(0);
        options[start..].copy_from_slice(bytes);
    }
}

/// Option bytes and their mask.
type Bytes = (Vec<u8>, Vec<u8>);

/// Reads `0x.../0x...` as so many bytes.
fn read_hex_pair(at: &mut Cursor<'_>, len: usize) -> Result<Bytes, Error> {
    let value = read_hex(at, len)?;
    let mask = if at.eat("/") { read_hex(at, len)? } else { vec![0xff; len] };
    Ok((value, mask))
}

fn read_hex(at: &mut Cursor<'_>, len: usize) -> Result<Vec<u8>, Error> {
    let before = at.clone();
    let token = at.token();
    let digits = token.strip_prefix("0x").unwrap_or(token).trim_start_matches('0');
    let valid =
        !token.is_empty() && digits.len() <= len * 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !valid {
        return Err(before.unexpected(format!("at most {} hexadecimal digits, like 0xa0b0c0d", len * 2)));
    }
    let padded = format!("{digits:0>width$}", width = len * 2);
    let byte = |at: usize| u8::from_str_radix(&padded[at..at + 2], 16).unwrap_or(0);
    Ok((0..len).map(|index| byte(index * 2)).collect())
}

/// Reads `{class=..,type=..,len=..,0x..}` as often as it stands there.
fn read_geneve(at: &mut Cursor<'_>) -> Result<Bytes, Error> {
    let (mut value, mut mask) = (Vec::new(), Vec::new());
    while at.eat("{") {
        let before = at.clone();
        let (class, class_mask) = read_named(at, "class", u16::MAX.into())?;
        at.expect(",")?;
        let (kind, kind_mask) = read_named(at, "type", u8::MAX.into())?;
        at.expect(",")?;
        let length_at = at.clone();
        let (len, _) = read_named(at, "len", 124)?;
        if len % 4 != 0 {
            return Err(length_at.unexpected("a length that is a multiple of 4, at most 124"));
        }
        let len = len as usize;
        let (data, data_mask) =
            if at.eat(",") { read_hex_pair(at, len)? } else { (vec![0; len], vec![0; len]) };
        at.expect("}")?;
        value.extend((class as u16).to_be_bytes());
        value.extend([kind as u8, (len / 4) as u8]);
        value.extend(data);
        mask.extend((class_mask as u16).to_be_bytes());
        mask.extend([kind_mask as u8, 0x1f]);
        mask.extend(data_mask);
        if value.len() > OPTIONS_MAX {
            return Err(before.unexpected(format!("options of at most {OPTIONS_MAX} bytes together")));
        }
    }
    Ok((value, mask))
}

/// Reads `name=value/mask` where both are numbers.
fn read_named(at: &mut Cursor<'_>, name: &str, max: u128) -> Result<(u128, u128), Error> {
    at.expect(name)?;
    at.expect("=")?;
    let value = read_number(at, max, name)?;
    let mask = if at.eat("/") { read_number(at, u128::MAX, name)? } else { u128::MAX };
    Ok((value, mask))
}

/// Reads `gbp(id=..,flags=..)`.
fn read_gbp(at: &mut Cursor<'_>) -> Result<Bytes, Error> {
    at.expect("gbp(")?;
    let (mut word, mut mask) = (0, 0);
    let mut first = true;
    while at.next_in_parentheses(first)? {
        first = false;
        let flags = at.sees("flags");
        let (name, max, shift) = if flags { ("flags", 0xff, 16) } else { ("id", 0xffff, 0) };
        let (value, open) = read_named(at, name, max)?;
        word |= (value as u32) << shift;
        mask |= (open as u32 & 0xffff) << shift;
    }
    Ok((word.to_ne_bytes().to_vec(), mask.to_ne_bytes().to_vec()))
}
