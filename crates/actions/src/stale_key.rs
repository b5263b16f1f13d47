// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The key that an upcall reports after headers have moved.
//!
//! The kernel's key is not extracted again when an action moves headers: until the packet is recirculated, what an upcall reports is the
//! key from before the move, with what later set actions wrote. A client sees the packet with its new headers and the key without them
//! (recording act-userspace, push_mpls). Only programs that move headers and have a userspace action pay for this.

use portway_buf::{Packet, PacketKind};
use portway_flow::{FlowKey, extract, mac_proto};

use crate::program::{Edit, Move, Op};
use crate::vlan;

/// The key from before the first move; `None`: the key is the packet's.
pub(crate) type StaleKey = Option<Box<FlowKey>>;

/// Whether a program needs this at all.
pub(crate) fn possible(ops: &[Op]) -> bool {
    ops.iter().any(|op| matches!(op, Op::Upcall { .. }))
        && ops.iter().any(|op| matches!(op, Op::Edit(Edit::Move(_))))
}

/// Before a change: keeps the key if the change is one after which the kernel's is not the packet's any more. A first VLAN tag is put
/// into the key and a last one taken out of it, so those are not.
pub(crate) fn before(key: &mut StaleKey, edit: &Edit, packet: &mut Packet) {
    let Edit::Move(change) = edit else { return };
    let tag = match change {
        Move::PushVlan(tag) => (!vlan::is_tagged(packet)).then_some((tag.tpid, tag.tci)),
        Move::PopVlan => (!vlan::is_tagged_twice(packet)).then_some((0, 0)),
        Move::PushMpls { .. }
        | Move::PopMpls(_)
        | Move::PushEthernet(_)
        | Move::PopEthernet
        | Move::PushNsh(_)
        | Move::PopNsh => None,
    };
    match (tag, key) {
        (Some((tpid, tci)), Some(key)) => {
            key.vlan_tpid.set(tpid);
            key.vlan_tci.set(tci);
        }
        (None, key @ None) => *key = extract(packet).ok().map(Box::new),
        (Some(_), None) | (None, Some(_)) => {}
    }
}

/// After a change: what was set is set in the key too.
pub(crate) fn after(key: &mut FlowKey, edit: &Edit, packet: &mut Packet) {
    let Ok(now) = extract(packet) else { return };
    match edit {
        Edit::SetEthernet(_) => (key.eth_src, key.eth_dst) = (now.eth_src, now.eth_dst),
        Edit::SetIpv4(_) | Edit::SetIpv6(_) => {
            (key.ip_src, key.ip_dst) = (now.ip_src, now.ip_dst);
            (key.ip_tos, key.ip_ttl, key.ipv6_label) = (now.ip_tos, now.ip_ttl, now.ipv6_label);
        }
        Edit::SetPorts(_) => (key.tp_src, key.tp_dst) = (now.tp_src, now.tp_dst),
        Edit::SetMpls { .. } => key.mpls_lse[0] = now.mpls_lse[0],
        Edit::Move(_)
        | Edit::SetPriority { .. }
        | Edit::SetMark { .. }
        | Edit::SetTunnel(_)
        | Edit::SetConntrack
        | Edit::Hash(_) => {}
    }
}

/// The key for an upcall: what is not in headers is the packet's.
pub(crate) fn report(key: &StaleKey, packet: &Packet) -> StaleKey {
    let mut key = key.clone()?;
    key.priority = packet.priority();
    key.skb_mark = packet.mark();
    key.dp_hash = packet.dp_hash();
    key.mac_proto = match packet.kind() {
        PacketKind::Ethernet => mac_proto::ETHERNET,
        PacketKind::Layer3(_) => mac_proto::NONE,
    };
    Some(key)
}
