// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Action lists, read.

use portway_flow::field::{Group, GroupId, Shape, has_critical_option, set_from_parts};
use portway_flow::{
    Action, CheckPacketLength, FlowKey, Hash, HashAlgorithm, MacAddr, MplsPush, Psample, PushEth, PushNsh,
    PushVlan, Sample, Set, Userspace, tunnel_flags,
};
use portway_netlink::{Attr, Attrs};
use portway_uapi::netlink::NLA_HDRLEN;
use portway_uapi::openvswitch as ovs;

use super::{ActionError, DEPTH_MAX};
use crate::key::{KeyError, read_structure, read_tunnel, structure_len};

/// Reads a list from the payload of its attribute.
///
/// # Errors
/// The reason for the kernel's error number.
pub fn decode_actions(list: &[u8]) -> Result<Vec<Action>, ActionError> {
    read_list(list, 0)
}

fn read_list(list: &[u8], depth: usize) -> Result<Vec<Action>, ActionError> {
    if depth > DEPTH_MAX {
        return Err(ActionError::TooDeep);
    }
    let mut attrs = Attrs::new(list);
    let actions = attrs.by_ref().map(|attr| read_action(attr, depth)).collect::<Result<_, _>>()?;
    if attrs.leftover().is_empty() { Ok(actions) } else { Err(ActionError::Leftover("a list of actions")) }
}

/// An action's payload of a fixed length.
fn exact<const N: usize>(attr: Attr<'_>) -> Result<[u8; N], ActionError> {
    attr.payload().try_into().map_err(|_| ActionError::Length { kind: attr.kind(), len: attr.len() })
}

fn number(attr: Attr<'_>) -> Result<u32, ActionError> {
    exact(attr).map(u32::from_ne_bytes)
}

fn read_action(attr: Attr<'_>, depth: usize) -> Result<Action, ActionError> {
    Ok(match attr.kind() {
        ovs::OVS_ACTION_ATTR_OUTPUT => Action::Output(number(attr)?),
        ovs::OVS_ACTION_ATTR_USERSPACE => Action::Userspace(read_userspace(attr)?),
        ovs::OVS_ACTION_ATTR_SET => Action::Set(read_set(attr, false)?),
        ovs::OVS_ACTION_ATTR_SET_MASKED => Action::Set(read_set(attr, true)?),
        ovs::OVS_ACTION_ATTR_PUSH_VLAN => {
            let [t0, t1, c0, c1] = exact(attr)?;
            Action::PushVlan(PushVlan {
                tpid: u16::from_be_bytes([t0, t1]),
                tci: u16::from_be_bytes([c0, c1]),
            })
        }
        ovs::OVS_ACTION_ATTR_POP_VLAN => exact::<0>(attr).map(|_| Action::PopVlan)?,
        ovs::OVS_ACTION_ATTR_SAMPLE => read_sample(attr, depth)?,
        ovs::OVS_ACTION_ATTR_RECIRC => Action::Recirculate(number(attr)?),
        ovs::OVS_ACTION_ATTR_HASH => Action::Hash(read_hash(exact(attr)?)?),
        ovs::OVS_ACTION_ATTR_PUSH_MPLS => Action::PushMpls(read_mpls(exact(attr)?, false)),
        ovs::OVS_ACTION_ATTR_ADD_MPLS => Action::PushMpls(read_mpls(exact(attr)?, true)),
        ovs::OVS_ACTION_ATTR_POP_MPLS => Action::PopMpls(u16::from_be_bytes(exact(attr)?)),
        ovs::OVS_ACTION_ATTR_TRUNC => Action::Truncate(number(attr)?),
        ovs::OVS_ACTION_ATTR_PUSH_ETH => {
            let [s0, s1, s2, s3, s4, s5, dst @ ..] = exact::<12>(attr)?;
            Action::PushEth(PushEth { src: MacAddr([s0, s1, s2, s3, s4, s5]), dst: MacAddr(dst) })
        }
        ovs::OVS_ACTION_ATTR_POP_ETH => exact::<0>(attr).map(|_| Action::PopEth)?,
        ovs::OVS_ACTION_ATTR_PUSH_NSH => Action::PushNsh(read_nsh(attr)?),
        ovs::OVS_ACTION_ATTR_POP_NSH => exact::<0>(attr).map(|_| Action::PopNsh)?,
        ovs::OVS_ACTION_ATTR_METER => Action::Meter(number(attr)?),
        ovs::OVS_ACTION_ATTR_CLONE => Action::Clone(read_list(attr.payload(), depth + 1)?),
        ovs::OVS_ACTION_ATTR_CHECK_PKT_LEN => Action::CheckPacketLength(read_check(attr, depth)?),
        ovs::OVS_ACTION_ATTR_DEC_TTL => {
            let [list] = parts(attr, "dec_ttl", [ovs::OVS_DEC_TTL_ATTR_ACTION])?;
            Action::DecTtl(read_list(list.payload(), depth + 1)?)
        }
        ovs::OVS_ACTION_ATTR_DROP => Action::Drop(number(attr)?),
        ovs::OVS_ACTION_ATTR_PSAMPLE => Action::Psample(read_psample(attr)?),
        ovs::OVS_ACTION_ATTR_CT => return Err(ActionError::NotSupported("ct")),
        ovs::OVS_ACTION_ATTR_CT_CLEAR => return Err(ActionError::NotSupported("ct_clear")),
        kind => return Err(ActionError::Unknown(kind)),
    })
}

/// The parts of an action, each of which must be there once, and nothing else.
fn parts<'a, const N: usize>(
    attr: Attr<'a>,
    name: &'static str,
    kinds: [u16; N],
) -> Result<[Attr<'a>; N], ActionError> {
    let mut found = [None; N];
    let mut attrs = attr.nested();
    for part in attrs.by_ref() {
        let slot = kinds.iter().position(|kind| *kind == part.kind()).ok_or(ActionError::Parts(name))?;
        if found[slot].replace(part).is_some() {
            return Err(ActionError::Parts(name));
        }
    }
    if !attrs.leftover().is_empty() {
        return Err(ActionError::Leftover(name));
    }
    let mut whole = [attr; N];
    for (to, from) in whole.iter_mut().zip(found) {
        *to = from.ok_or(ActionError::Parts(name))?;
    }
    Ok(whole)
}

fn read_sample(attr: Attr<'_>, depth: usize) -> Result<Action, ActionError> {
    let kinds = [ovs::OVS_SAMPLE_ATTR_PROBABILITY, ovs::OVS_SAMPLE_ATTR_ACTIONS];
    let [probability, list] = parts(attr, "sample", kinds)?;
    Ok(Action::Sample(Sample {
        probability: number(probability)?,
        actions: read_list(list.payload(), depth + 1)?,
    }))
}

/// The start of a value that may be longer than it needs to be.
fn at_least<const N: usize>(attr: Attr<'_>, name: &'static str) -> Result<[u8; N], ActionError> {
    attr.payload().first_chunk().copied().ok_or(ActionError::Short(name))
}

/// Unlike the other parts, those of this action may be repeated: the last counts.
fn read_check(attr: Attr<'_>, depth: usize) -> Result<CheckPacketLength, ActionError> {
    const NAME: &str = "check_pkt_len";
    let (mut len, mut greater, mut less_or_equal) = (None, None, None);
    let mut attrs = attr.nested();
    for part in attrs.by_ref() {
        let list = part.kind() != ovs::OVS_CHECK_PKT_LEN_ATTR_PKT_LEN;
        if list && (1..NLA_HDRLEN).contains(&part.len()) {
            return Err(ActionError::Short(NAME));
        }
        match part.kind() {
            ovs::OVS_CHECK_PKT_LEN_ATTR_PKT_LEN => len = Some(u16::from_ne_bytes(at_least(part, NAME)?)),
            ovs::OVS_CHECK_PKT_LEN_ATTR_ACTIONS_IF_GREATER => greater = Some(part),
            ovs::OVS_CHECK_PKT_LEN_ATTR_ACTIONS_IF_LESS_EQUAL => less_or_equal = Some(part),
            _ => return Err(ActionError::Parts(NAME)),
        }
    }
    if !attrs.leftover().is_empty() {
        return Err(ActionError::Leftover(NAME));
    }
    let (Some(len), Some(greater), Some(less_or_equal)) = (len, greater, less_or_equal) else {
        return Err(ActionError::Parts(NAME));
    };
    // The kernel reads the list for the shorter packets first.
    let less_or_equal = read_list(less_or_equal.payload(), depth + 1)?;
    Ok(CheckPacketLength { len, greater: read_list(greater.payload(), depth + 1)?, less_or_equal })
}

/// Of the liberal kind: unknown parts are passed over, and of repeated ones the last counts.
fn read_userspace(attr: Attr<'_>) -> Result<Userspace, ActionError> {
    const NAME: &str = "userspace";
    let mut userspace = Userspace::default();
    let mut receiver = None;
    for part in attr.nested() {
        match part.kind() {
            ovs::OVS_USERSPACE_ATTR_PID => receiver = Some(u32::from_ne_bytes(at_least(part, NAME)?)),
            ovs::OVS_USERSPACE_ATTR_USERDATA => userspace.userdata = Some(part.payload().to_vec()),
            ovs::OVS_USERSPACE_ATTR_EGRESS_TUN_PORT => {
                userspace.egress_tun_port = Some(u32::from_ne_bytes(at_least(part, NAME)?));
            }
            ovs::OVS_USERSPACE_ATTR_ACTIONS => userspace.actions = true,
            _ => {}
        }
    }
    userspace.pid = receiver.ok_or(ActionError::Parts(NAME))?;
    Ok(userspace)
}

fn read_hash(value: [u8; 8]) -> Result<Hash, ActionError> {
    let [a0, a1, a2, a3, basis @ ..] = value;
    let algorithm = match u32::from_ne_bytes([a0, a1, a2, a3]) {
        ovs::OVS_HASH_ALG_L4 => HashAlgorithm::L4,
        ovs::OVS_HASH_ALG_SYM_L4 => HashAlgorithm::SymL4,
        other => return Err(ActionError::HashAlgorithm(other)),
    };
    Ok(Hash { algorithm, basis: u32::from_ne_bytes(basis) })
}

fn read_mpls(value: [u8; 8], add: bool) -> MplsPush {
    let [l0, l1, l2, l3, e0, e1, flags @ ..] = value;
    let layer3 = u16::from_ne_bytes(flags) & ovs::OVS_MPLS_L3_TUNNEL_FLAG_MASK != 0;
    MplsPush {
        lse: u32::from_be_bytes([l0, l1, l2, l3]),
        ethertype: u16::from_be_bytes([e0, e1]),
        add_l3_tunnel: add.then_some(layer3),
    }
}

fn read_psample(attr: Attr<'_>) -> Result<Psample, ActionError> {
    const NAME: &str = "psample";
    let mut attrs = attr.nested();
    let (mut group, mut cookie) = (None, None);
    for part in attrs.by_ref() {
        match part.kind() {
            ovs::OVS_PSAMPLE_ATTR_GROUP => group = Some(u32::from_ne_bytes(at_least(part, NAME)?)),
            ovs::OVS_PSAMPLE_ATTR_COOKIE => cookie = Some(part.payload().to_vec()),
            _ => return Err(ActionError::Parts(NAME)),
        }
    }
    if !attrs.leftover().is_empty() {
        return Err(ActionError::Leftover(NAME));
    }
    Ok(Psample { group: group.ok_or(ActionError::Parts(NAME))?, cookie })
}

/// Reads the header to push. The kernel does not look at what kind of attribute it stands in.
fn read_nsh(attr: Attr<'_>) -> Result<PushNsh, ActionError> {
    let nest = attr.nested().next().ok_or(ActionError::Parts("push_nsh"))?;
    let mut attrs = nest.nested();
    let (mut base, mut context) = (None, None);
    for part in attrs.by_ref() {
        let wrong = KeyError::Nested { nest: "NSH", kind: part.kind(), len: part.len() };
        let len_fits = match part.kind() {
            ovs::OVS_NSH_KEY_ATTR_BASE => part.len() == 8,
            ovs::OVS_NSH_KEY_ATTR_MD1 => part.len() == 16,
            ovs::OVS_NSH_KEY_ATTR_MD2 => (1..=NSH_CONTEXT_MAX).contains(&part.len()),
            _ => false,
        };
        if !len_fits {
            return Err(wrong.into());
        }
        if part.kind() == ovs::OVS_NSH_KEY_ATTR_BASE {
            base = part.payload().first_chunk::<8>().copied();
        } else if context.replace(part).is_some_and(|other: Attr<'_>| other.kind() != part.kind()) {
            return Err(KeyError::Nsh.into());
        }
    }
    if !attrs.leftover().is_empty() {
        return Err(KeyError::Leftover.into());
    }
    let (Some([flags, ttl, mdtype, np, path @ ..]), Some(context)) = (base, context) else {
        return Err(KeyError::Nsh.into());
    };
    let named = if context.kind() == ovs::OVS_NSH_KEY_ATTR_MD1 { 1 } else { 2 };
    if mdtype != named {
        return Err(KeyError::Nsh.into());
    }
    let metadata = context.payload().to_vec();
    Ok(PushNsh { flags, ttl, mdtype, np, path_hdr: u32::from_be_bytes(path), metadata })
}

/// The most bytes of context headers (NSH_CTX_HDRS_MAX_LEN, include/net/nsh.h).
const NSH_CONTEXT_MAX: usize = 248;

/// Reads the one field that is to be set.
fn read_set(attr: Attr<'_>, masked: bool) -> Result<Set, ActionError> {
    let mut attrs = attr.nested();
    let field = attrs.next().ok_or(ActionError::Parts("set"))?;
    let whole = (NLA_HDRLEN + field.len()).next_multiple_of(4);
    if whole != attr.len() {
        return Err(ActionError::Leftover("set"));
    }
    let group = Group::by_attr(field.kind()).ok_or(ActionError::NotSettable(field.kind()))?;
    if group.id == GroupId::Tunnel && !masked {
        return read_set_tunnel(field);
    }
    let payload = field.payload();
    let (value, bits) = payload.split_at(if masked { payload.len() / 2 } else { payload.len() });
    let bits = masked.then_some(bits);
    let fits = match group.shape() {
        Shape::Fields | Shape::Ethertype => value.len() == structure_len(group),
        Shape::Labels => value.len() == 4,
        Shape::Tunnel | Shape::Tags | Shape::Nsh => false,
    };
    if !fits || bits.is_some_and(|bits| bits.len() != value.len()) {
        return Err(ActionError::Length { kind: field.kind(), len: field.len() });
    }
    if bits.is_some_and(|bits| value.iter().zip(bits).any(|(value, mask)| value & !mask != 0)) {
        return Err(ActionError::OutsideMask(field.kind()));
    }
    let fields = |payload: &[u8]| {
        let mut key = FlowKey::default();
        match payload.first_chunk::<4>() {
            Some(entry) if group.id == GroupId::Mpls => key.mpls_lse[0] = (*entry).into(),
            _ => read_structure(payload, group, &mut key),
        }
        key
    };
    let mask = bits.map(fields);
    set_from_parts(group.id, &fields(value), mask.as_ref()).ok_or(ActionError::NotSettable(field.kind()))
}

fn read_set_tunnel(nest: Attr<'_>) -> Result<Set, ActionError> {
    let mut key = FlowKey::default();
    read_tunnel(nest, &mut key, None)?;
    if key.tun_flags & tunnel_flags::GENEVE_OPT != 0 {
        let options = &key.tun_opts[key.tun_opts.len() - usize::from(key.tun_opts_len)..];
        if has_critical_option(options).ok_or(ActionError::GeneveOptions)? {
            key.tun_flags |= tunnel_flags::CRIT_OPT;
        }
    }
    Ok(Set::Tunnel(Box::new(key)))
}
