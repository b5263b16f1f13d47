// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Action lists, written as the kernel shows them in replies.

use portway_flow::field::{GroupId, set_parts};
use portway_flow::{Action, FlowKey, HashAlgorithm, MplsPush, PushNsh, Set, Userspace};
use portway_netlink::{AttrBuilder, Error};
use portway_uapi::openvswitch as ovs;
use zerocopy::network_endian::{U16, U32};

use crate::key::{put_set_tunnel, structure};

/// A list as the payload of its attribute.
///
/// # Errors
/// The list is larger than an attribute can be.
pub fn encode_actions(actions: &[Action]) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    put_list(&mut AttrBuilder::new(&mut bytes), actions)?;
    Ok(bytes)
}

/// Writes a list as a nest of this kind.
///
/// # Errors
/// No room.
pub fn put_actions(out: &mut AttrBuilder<'_>, kind: u16, actions: &[Action]) -> Result<(), Error> {
    out.nest_unmarked(kind, |out| put_list(out, actions))
}

fn put_list(out: &mut AttrBuilder<'_>, actions: &[Action]) -> Result<(), Error> {
    actions.iter().try_for_each(|action| put_action(out, action))
}

fn put_action(out: &mut AttrBuilder<'_>, action: &Action) -> Result<(), Error> {
    match action {
        Action::Output(port) => out.put_u32(ovs::OVS_ACTION_ATTR_OUTPUT, *port),
        Action::Userspace(userspace) => put_userspace(out, userspace),
        Action::Set(set) => put_set(out, set),
        Action::PushVlan(push) => {
            let tag = [U16::new(push.tpid), U16::new(push.tci)];
            out.put_struct(ovs::OVS_ACTION_ATTR_PUSH_VLAN, &tag)
        }
        Action::PopVlan => out.put_flag(ovs::OVS_ACTION_ATTR_POP_VLAN),
        Action::Truncate(len) => out.put_u32(ovs::OVS_ACTION_ATTR_TRUNC, *len),
        Action::Recirculate(id) => out.put_u32(ovs::OVS_ACTION_ATTR_RECIRC, *id),
        Action::Hash(hash) => {
            let algorithm = match hash.algorithm {
                HashAlgorithm::L4 => ovs::OVS_HASH_ALG_L4,
                HashAlgorithm::SymL4 => ovs::OVS_HASH_ALG_SYM_L4,
            };
            out.put_struct(ovs::OVS_ACTION_ATTR_HASH, &[algorithm, hash.basis])
        }
        Action::Clone(list) => put_actions(out, ovs::OVS_ACTION_ATTR_CLONE, list),
        Action::Sample(sample) => out.nest_unmarked(ovs::OVS_ACTION_ATTR_SAMPLE, |out| {
            out.put_u32(ovs::OVS_SAMPLE_ATTR_PROBABILITY, sample.probability)?;
            put_actions(out, ovs::OVS_SAMPLE_ATTR_ACTIONS, &sample.actions)
        }),
        Action::Drop(code) => out.put_u32(ovs::OVS_ACTION_ATTR_DROP, *code),
        Action::PushMpls(push) => put_mpls(out, *push),
        Action::PopMpls(ethertype) => out.put_be16(ovs::OVS_ACTION_ATTR_POP_MPLS, *ethertype),
        Action::PushEth(push) => out.put_parts(ovs::OVS_ACTION_ATTR_PUSH_ETH, &[&push.src.0, &push.dst.0]),
        Action::PopEth => out.put_flag(ovs::OVS_ACTION_ATTR_POP_ETH),
        Action::PushNsh(push) => put_nsh(out, push),
        Action::PopNsh => out.put_flag(ovs::OVS_ACTION_ATTR_POP_NSH),
        Action::Meter(id) => out.put_u32(ovs::OVS_ACTION_ATTR_METER, *id),
        Action::CheckPacketLength(check) => out.nest_unmarked(ovs::OVS_ACTION_ATTR_CHECK_PKT_LEN, |out| {
            out.put_u16(ovs::OVS_CHECK_PKT_LEN_ATTR_PKT_LEN, check.len)?;
            put_actions(out, ovs::OVS_CHECK_PKT_LEN_ATTR_ACTIONS_IF_LESS_EQUAL, &check.less_or_equal)?;
            put_actions(out, ovs::OVS_CHECK_PKT_LEN_ATTR_ACTIONS_IF_GREATER, &check.greater)
        }),
        Action::DecTtl(list) => out.nest_unmarked(ovs::OVS_ACTION_ATTR_DEC_TTL, |out| {
            put_actions(out, ovs::OVS_DEC_TTL_ATTR_ACTION, list)
        }),
        Action::Psample(sample) => out.nest_unmarked(ovs::OVS_ACTION_ATTR_PSAMPLE, |out| {
            out.put_u32(ovs::OVS_PSAMPLE_ATTR_GROUP, sample.group)?;
            sample.cookie.as_ref().map_or(Ok(()), |cookie| out.put(ovs::OVS_PSAMPLE_ATTR_COOKIE, cookie))
        }),
    }
}

fn put_userspace(out: &mut AttrBuilder<'_>, userspace: &Userspace) -> Result<(), Error> {
    out.nest_unmarked(ovs::OVS_ACTION_ATTR_USERSPACE, |out| {
        out.put_u32(ovs::OVS_USERSPACE_ATTR_PID, userspace.pid)?;
        if let Some(data) = &userspace.userdata {
            out.put(ovs::OVS_USERSPACE_ATTR_USERDATA, data)?;
        }
        if let Some(port) = userspace.egress_tun_port {
            out.put_u32(ovs::OVS_USERSPACE_ATTR_EGRESS_TUN_PORT, port)?;
        }
        if userspace.actions {
            out.put_flag(ovs::OVS_USERSPACE_ATTR_ACTIONS)?;
        }
        Ok(())
    })
}

fn put_set(out: &mut AttrBuilder<'_>, set: &Set) -> Result<(), Error> {
    let (id, key, mask) = set_parts(set);
    let group = id.group();
    if id == GroupId::Tunnel {
        return out.nest_unmarked(ovs::OVS_ACTION_ATTR_SET, |out| put_set_tunnel(out, &key));
    }
    // Of a label stack, the outermost entry is what can be set.
    let bytes = |key: &FlowKey| {
        let (mut bytes, len) = structure(group, key);
        if id == GroupId::Mpls {
            bytes[..4].copy_from_slice(&key.mpls_lse[0].to_bytes());
            return (bytes, 4);
        }
        (bytes, len)
    };
    let (value, len) = bytes(&key);
    match mask.as_ref().map(bytes) {
        None => out.nest_unmarked(ovs::OVS_ACTION_ATTR_SET, |out| out.put(group.attr, &value[..len])),
        Some((mask, _)) => out.nest_unmarked(ovs::OVS_ACTION_ATTR_SET_MASKED, |out| {
            out.put_parts(group.attr, &[&value[..len], &mask[..len]])
        }),
    }
}

fn put_mpls(out: &mut AttrBuilder<'_>, push: MplsPush) -> Result<(), Error> {
    let lse = U32::new(push.lse).to_bytes();
    let ethertype = U16::new(push.ethertype).to_bytes();
    match push.add_l3_tunnel {
        None => out.put_parts(ovs::OVS_ACTION_ATTR_PUSH_MPLS, &[&lse, &ethertype, &[0; 2]]),
        Some(layer3) => {
            let flags = if layer3 { ovs::OVS_MPLS_L3_TUNNEL_FLAG_MASK } else { 0 };
            out.put_parts(ovs::OVS_ACTION_ATTR_ADD_MPLS, &[&lse, &ethertype, &flags.to_ne_bytes()])
        }
    }
}

fn put_nsh(out: &mut AttrBuilder<'_>, push: &PushNsh) -> Result<(), Error> {
    let base = ovs::ovs_nsh_key_base {
        flags: push.flags,
        ttl: push.ttl,
        mdtype: push.mdtype,
        np: push.np,
        path_hdr: push.path_hdr.into(),
    };
    let context = if push.mdtype == 1 { ovs::OVS_NSH_KEY_ATTR_MD1 } else { ovs::OVS_NSH_KEY_ATTR_MD2 };
    out.nest_unmarked(ovs::OVS_ACTION_ATTR_PUSH_NSH, |out| {
        out.nest_unmarked(ovs::OVS_KEY_ATTR_NSH, |out| {
            out.put_struct(ovs::OVS_NSH_KEY_ATTR_BASE, &base)?;
            out.put(context, &push.metadata)
        })
    })
}
