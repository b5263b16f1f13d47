// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `set(...)`: its fields are those of a key's group, so they are written and read as such.

use super::cursor::Cursor;
use super::format::{Style, write_fields};
use super::parse::{read_fields, read_labels};
use super::tunnel::{read_tunnel, write_tunnel};
use super::value::write_lse;
use super::{Error, NO_NUMBERS};
use crate::action::Set;
use crate::field::{GROUPS, Group, GroupId, Shape, has_critical_option, set_from_parts, set_parts};
use crate::key::{FlowKey, tunnel_flags};

/// Writes what stands in the parentheses of `set(...)`.
pub(super) fn write_set(out: &mut String, set: &Set) {
    let (group, key, mask) = set_parts(set);
    let group = group.group();
    out.push_str(group.name);
    out.push('(');
    match group.shape() {
        Shape::Tunnel => write_tunnel(out, &key, None, false),
        Shape::Labels => write_lse(out, key.mpls_lse[0].get(), mask.map(|mask| mask.mpls_lse[0].get())),
        Shape::Fields | Shape::Nsh | Shape::Tags | Shape::Ethertype => {
            write_fields(out, group, &key, mask.as_ref(), Style::default());
        }
    }
    out.push(')');
}

/// Reads what stands in the parentheses of `set(...)`.
pub(super) fn read_set(at: &mut Cursor<'_>) -> Result<Set, Error> {
    let before = at.clone();
    let name = at.word();
    let Some(group) = Group::by_name(name).filter(|group| is_settable(group)) else {
        let known: Vec<_> =
            GROUPS.iter().filter(|group| is_settable(group)).map(|group| group.name).collect();
        return Err(before.unexpected(format!("one of {}", known.join(", "))));
    };
    at.expect("(")?;
    let (mut key, mut mask) = (FlowKey::default(), FlowKey::default());
    match group.shape() {
        Shape::Tunnel => {
            read_tunnel(at, &mut key, &mut mask)?;
            let options = &key.tun_opts[key.tun_opts.len() - usize::from(key.tun_opts_len)..];
            if key.tun_flags & tunnel_flags::GENEVE_OPT != 0 && has_critical_option(options) == Some(true) {
                key.tun_flags |= tunnel_flags::CRIT_OPT;
            }
            return Ok(Set::Tunnel(Box::new(key)));
        }
        Shape::Labels => {
            read_labels(at, &mut key, &mut mask)?;
            // Only the outermost entry can be set; how many there are is not the action's matter.
            mask.mpls_count = 0;
        }
        Shape::Fields | Shape::Nsh | Shape::Tags | Shape::Ethertype => {
            read_fields(at, group, NO_NUMBERS, &mut key, &mut mask)?;
        }
    }
    let exact = if group.id == GroupId::Mpls {
        mask.mpls_lse[0].get() == u32::MAX
    } else {
        group.fields.iter().all(|field| field.is_exact(&mask))
    };
    if let Some(fixed) = group
        .fields
        .iter()
        .find(|field| !exact && !field.name.is_empty() && !field.settable && field.get(&mask) != 0)
    {
        return Err(before.unexpected(format!(
            "fields that can be set: `{}` of {} cannot, and may be given only together with all the others",
            fixed.name, group.name
        )));
    }
    for (word, bits) in key.words_mut().iter_mut().zip(mask.words()) {
        *word &= bits;
    }
    set_from_parts(group.id, &key, (!exact).then_some(&mask))
        .ok_or_else(|| before.unexpected("a field that can be set"))
}

/// Connection marks and labels: the kernel takes the action, though carrying it out fails.
fn is_settable(group: &Group) -> bool {
    matches!(group.id, GroupId::CtMark | GroupId::CtLabels) || group.fields.iter().any(|field| field.settable)
}
