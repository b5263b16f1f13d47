// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Messages as recordings have them.

use portway_netlink::{Attrs, Message, Messages};
use portway_uapi::Errno;
use portway_uapi::netlink::*;
use serde_json::{Map, Value, json};

use crate::hex_of_bytes;
use crate::space::Spaces;
use crate::tables::FAMILIES;

/// The families' numbers, by their place in the table of families.
pub(crate) type FamilyIds = Vec<(u16, usize)>;

/// A family's message.
pub(crate) fn describe(
    message: &Message<'_>,
    families: &FamilyIds,
    spaces: &mut Spaces,
    space: &str,
) -> Value {
    let header = message.header();
    let known = families.iter().find(|(id, _)| *id == header.nlmsg_type);
    let (Some((_, place)), true) = (known, message.payload().len() >= 4) else {
        return json!({"type": header.nlmsg_type, "raw": hex_of_bytes(message.payload())});
    };
    let family = &FAMILIES[*place];
    let body = message.payload();
    let mut out = Map::new();
    out.insert("family".into(), family.name.into());
    let cmd = family.commands.iter().find(|(_, number)| *number == body[0]);
    out.insert("cmd".into(), cmd.map_or(Value::from(body[0]), |(name, _)| Value::from(*name)));
    if body[1] != family.version {
        out.insert("version".into(), body[1].into());
    }
    out.insert("flags".into(), flags(header.nlmsg_flags));
    let start = 4 + family.header;
    if family.header != 0 {
        let ifindex = body.get(4..8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes);
        let name = match ifindex {
            0 | u32::MAX => Value::from(ifindex),
            index => Value::from(format!("@{}", spaces.ifname(space, index).unwrap_or("?".into()))),
        };
        out.insert("dp".into(), name);
    }
    out.insert("raw".into(), hex_of_bytes(body.get(start..).unwrap_or(&[])).into());
    Value::Object(out)
}

fn flags(flags: u16) -> Value {
    let mut names = Vec::new();
    let mut rest = flags;
    let known = [
        ("REQUEST", NLM_F_REQUEST),
        ("MULTI", NLM_F_MULTI),
        ("ACK", NLM_F_ACK),
        ("ECHO", NLM_F_ECHO),
        ("DUMP_INTR", 0x10),
    ];
    for (name, bit) in known {
        if rest & bit != 0 {
            names.push(name.to_owned());
            rest &= !bit;
        }
    }
    if rest != 0 {
        names.push(format!("{rest:#x}"));
    }
    names.into()
}

/// The number of a flag as scenarios write it.
pub(crate) fn flag_number(flag: &Value) -> Option<u16> {
    let name = match flag {
        Value::Number(number) => return number.as_u64().map(|number| number as u16),
        other => other.as_str()?,
    };
    Some(match name {
        "REQUEST" => NLM_F_REQUEST,
        "MULTI" => NLM_F_MULTI,
        "ACK" => NLM_F_ACK,
        "ECHO" => NLM_F_ECHO,
        "DUMP_INTR" => 0x10,
        "ROOT" | "REPLACE" => 0x100,
        "MATCH" | "EXCL" => 0x200,
        "DUMP" => NLM_F_DUMP,
        "ATOMIC" | "CREATE" => 0x400,
        "APPEND" => 0x800,
        _ => return None,
    })
}

/// An errno as recordings name it.
pub(crate) fn errno_name(errno: i32) -> Value {
    match errno {
        0 => 0.into(),
        95 => "ENOTSUP".into(),
        524 => "ENOTSUPP".into(),
        other => Errno(other).name().map_or(Value::from(other), Value::from),
    }
}

/// Takes errno and the extended part of an NLMSG_ERROR into `out`.
pub(crate) fn acknowledgement(message: &Message<'_>, out: &mut Map<String, Value>) {
    let body = message.payload();
    let errno = body.get(..4).and_then(|bytes| bytes.try_into().ok()).map_or(0, i32::from_ne_bytes);
    out.insert("errno".into(), errno_name(-errno));
    if message.header().nlmsg_flags & NLM_F_ACK_TLVS == 0 {
        return;
    }
    let inner = Messages::new(body.get(4..).unwrap_or(&[])).next();
    let whole = inner.map_or(16, |inner| portway_netlink::align(inner.bytes().len()));
    let capped = message.header().nlmsg_flags & NLM_F_CAPPED != 0;
    extended(body.get(4 + if capped { 16 } else { whole }..).unwrap_or(&[]), out);
}

/// Takes extended attributes into `out`.
pub(crate) fn extended(bytes: &[u8], out: &mut Map<String, Value>) {
    let mut found = Map::new();
    for attr in Attrs::new(bytes) {
        let number = || Value::from(attr.u32().unwrap_or(0));
        match attr.kind() {
            NLMSGERR_ATTR_MSG => {
                found.insert("msg".into(), attr.str().unwrap_or("?").into());
            }
            NLMSGERR_ATTR_OFFS => drop(found.insert("offs".into(), number())),
            NLMSGERR_ATTR_POLICY => drop(found.insert("policy".into(), policy(attr.nested()))),
            NLMSGERR_ATTR_MISS_TYPE => drop(found.insert("miss_type".into(), number())),
            NLMSGERR_ATTR_MISS_NEST => drop(found.insert("miss_nest".into(), number())),
            other => drop(found.insert(format!("#{other}"), hex_of_bytes(attr.payload()).into())),
        }
    }
    if !found.is_empty() {
        out.insert("extack".into(), Value::Object(found));
    }
}

fn policy(attrs: Attrs<'_>) -> Value {
    let one = |attr: portway_netlink::Attr<'_>| {
        let signed = || Value::from(attr.u64().unwrap_or(0) as i64);
        let wide = || Value::from(attr.u64().unwrap_or(0));
        let word = || Value::from(attr.u32().unwrap_or(0));
        match attr.kind() {
            NL_POLICY_TYPE_ATTR_TYPE => json!(["TYPE", word()]),
            NL_POLICY_TYPE_ATTR_MIN_VALUE_S => json!(["MIN_S", signed()]),
            NL_POLICY_TYPE_ATTR_MAX_VALUE_S => json!(["MAX_S", signed()]),
            NL_POLICY_TYPE_ATTR_MIN_VALUE_U => json!(["MIN_U", wide()]),
            NL_POLICY_TYPE_ATTR_MAX_VALUE_U => json!(["MAX_U", wide()]),
            NL_POLICY_TYPE_ATTR_MIN_LENGTH => json!(["MIN_LEN", word()]),
            NL_POLICY_TYPE_ATTR_MAX_LENGTH => json!(["MAX_LEN", word()]),
            NL_POLICY_TYPE_ATTR_MASK => json!(["MASK", wide()]),
            other => json!([format!("#{other}"), hex_of_bytes(attr.payload())]),
        }
    };
    attrs.map(one).collect()
}
