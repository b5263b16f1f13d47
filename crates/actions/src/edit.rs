// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Carries out one change to a packet.

use portway_buf::Packet;

use crate::error::Failure;
use crate::program::{Edit, Move};
use crate::{ethernet, hash, mpls, nsh, tunnel, vlan};

/// Changes the packet.
///
/// # Errors
/// Why the packet must die: the header is not there, or there is no room for another one.
#[inline]
pub(crate) fn apply(edit: &Edit, packet: &mut Packet, push_ethernet_fails: &mut bool) -> Result<(), Failure> {
    if matches!(edit, Edit::SetIpv4(_) | Edit::SetIpv6(_) | Edit::SetPorts(_)) {
        packet.set_rx_hash(0); // the receiver's hash was that of another flow
    }
    match edit {
        Edit::SetEthernet(rewrite) => rewrite.apply(packet),
        Edit::SetIpv4(rewrite) => rewrite.apply(packet),
        Edit::SetIpv6(rewrite) => rewrite.apply(packet),
        Edit::SetPorts(rewrite) => rewrite.apply(packet),
        Edit::SetMpls { value, mask } => mpls::set(packet, *value, *mask),
        Edit::SetPriority { value, mask } => {
            packet.set_priority((packet.priority() & !mask) | value);
            Ok(())
        }
        Edit::SetMark { value, mask } => {
            packet.set_mark((packet.mark() & !mask) | value);
            Ok(())
        }
        Edit::SetTunnel(key) => {
            tunnel::set(packet, key);
            Ok(())
        }
        Edit::SetConntrack => Err(Failure::Impossible),
        Edit::Hash(hash) => {
            hash::apply(packet, *hash);
            Ok(())
        }
        Edit::Move(change) => move_headers(change, packet, push_ethernet_fails),
    }
}

/// Moves headers: what was noted about their places is forgotten.
fn move_headers(change: &Move, packet: &mut Packet, push_ethernet_fails: &mut bool) -> Result<(), Failure> {
    if packet.layers() != (0, 0) {
        packet.set_layers(0, 0);
    }
    if ethernet::forbids_push(change, packet) {
        *push_ethernet_fails = true;
    }
    match change {
        Move::PushVlan(tag) => vlan::push(packet, tag),
        Move::PopVlan => vlan::pop(packet),
        Move::PushMpls { lse, ethertype, before_ethernet } => {
            mpls::push(packet, *lse, *ethertype, *before_ethernet)
        }
        Move::PopMpls(ethertype) => mpls::pop(packet, *ethertype),
        Move::PushEthernet(_) if *push_ethernet_fails => Err(Failure::WrongOrder),
        Move::PushEthernet(header) => ethernet::push(packet, header),
        Move::PopEthernet => ethernet::pop(packet),
        Move::PushNsh(header) => nsh::push(packet, header),
        Move::PopNsh => nsh::pop(packet),
    }
}
