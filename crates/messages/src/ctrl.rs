// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `nlctrl`: which families there are, what they accept.

use portway_netlink::{AttrBuilder, Error, ExtAck, GenlMessage, Rejected};
use portway_uapi::genetlink::*;

use crate::family::{CTRL_RULES, Family, Op};
use crate::parse::parse;

/// A request to the controller.
#[derive(Clone, Debug, PartialEq)]
pub struct CtrlRequest<'a> {
    /// By number.
    pub family_id: Option<u16>,
    /// By name.
    pub family_name: Option<&'a [u8]>,
    /// Only this command's policies.
    pub op: Option<u32>,
    /// What the kernel warns of.
    pub warning: Option<ExtAck>,
}

impl<'a> CtrlRequest<'a> {
    /// Reads a request.
    pub fn decode(message: &GenlMessage<'a>) -> Result<Self, Rejected> {
        let attrs = parse(&CTRL_RULES, message.attrs())?;
        Ok(Self {
            family_id: attrs.get(CTRL_ATTR_FAMILY_ID).and_then(|attr| attr.u16().ok()),
            family_name: attrs.name(CTRL_ATTR_FAMILY_NAME),
            op: attrs.u32(CTRL_ATTR_OP),
            warning: attrs.warning(),
        })
    }
}

/// Writes a family's description, as CTRL_CMD_NEWFAMILY has it.
pub fn encode_family(family: &Family, b: &mut AttrBuilder<'_>) -> Result<(), Error> {
    b.put_str(CTRL_ATTR_FAMILY_NAME, family.name)?;
    b.put_u16(CTRL_ATTR_FAMILY_ID, family.id)?;
    b.put_u32(CTRL_ATTR_VERSION, u32::from(family.version))?;
    b.put_u32(CTRL_ATTR_HDRSIZE, family.header as u32)?;
    b.put_u32(CTRL_ATTR_MAXATTR, family.max_attr())?;
    b.nest_unmarked::<Error>(CTRL_ATTR_OPS, |b| {
        for (place, op) in (1..).zip(family.ops) {
            b.nest_unmarked::<Error>(place, |b| {
                b.put_u32(CTRL_ATTR_OP_ID, u32::from(op.cmd))?;
                b.put_u32(CTRL_ATTR_OP_FLAGS, op.flags)
            })?;
        }
        Ok(())
    })?;
    if family.groups.is_empty() {
        return Ok(());
    }
    b.nest_unmarked::<Error>(CTRL_ATTR_MCAST_GROUPS, |b| {
        for (place, group) in (1..).zip(family.groups) {
            b.nest_unmarked::<Error>(place, |b| {
                b.put_u32(CTRL_ATTR_MCAST_GRP_ID, group.id)?;
                b.put_str(CTRL_ATTR_MCAST_GRP_NAME, group.name)
            })?;
        }
        Ok(())
    })
}

/// One message of a policy dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyPart {
    /// Which policy a command has: all have the family's, which is number 0.
    Op(u8),
    /// The rule of an attribute type.
    Attr(u16),
}

/// The messages of a family's policy dump, in order.
pub fn policy_parts(family: &Family, op: Option<u32>) -> Vec<PolicyPart> {
    let wanted = |candidate: &&Op| op.is_none_or(|op| op == u32::from(candidate.cmd));
    let ops = family.ops.iter().filter(wanted).filter(|op| op.can_do()).map(|op| PolicyPart::Op(op.cmd));
    let described = |kind: &u16| {
        let mut scratch = Vec::new();
        let rule = family.rules[usize::from(*kind)];
        matches!(rule.describe(&mut AttrBuilder::new(&mut scratch), *kind, None), Ok(true))
    };
    let attrs = (1..family.rules.len() as u16).filter(described).map(PolicyPart::Attr);
    ops.chain(attrs).collect()
}

/// Writes one message of a policy dump.
pub fn encode_policy(family: &Family, part: PolicyPart, b: &mut AttrBuilder<'_>) -> Result<(), Error> {
    b.put_u16(CTRL_ATTR_FAMILY_ID, family.id)?;
    match part {
        PolicyPart::Op(cmd) => b.nest::<Error>(CTRL_ATTR_OP_POLICY, |b| {
            b.nest::<Error>(u16::from(cmd), |b| b.put_u32(CTRL_ATTR_POLICY_DO, 0))
        }),
        PolicyPart::Attr(kind) => b.nest::<Error>(CTRL_ATTR_POLICY, |b| {
            b.nest::<Error>(0, |b| family.rules[usize::from(kind)].describe(b, kind, None).map(drop))
        }),
    }
}
