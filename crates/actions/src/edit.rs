// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Carries out one change to a packet.

use portway_buf::Packet;

use crate::error::Failure;
use crate::program::Edit;
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
        Edit::PushVlan(_)
        | Edit::PopVlan
        | Edit::PushMpls { .. }
        | Edit::PopMpls(_)
        | Edit::PushEthernet(_)
        | Edit::PopEthernet
        | Edit::PushNsh(_)
        | Edit::PopNsh => move_headers(edit, packet, push_ethernet_fails),
    }
}

/// The changes that move headers: what was noted about their places is forgotten.
fn move_headers(edit: &Edit, packet: &mut Packet, push_ethernet_fails: &mut bool) -> Result<(), Failure> {
    if packet.layers() != (0, 0) {
        packet.set_layers(0, 0);
    }
    if ethernet::forbids_push(edit, packet) {
        *push_ethernet_fails = true;
    }
    match edit {
        Edit::PushVlan(tag) => vlan::push(packet, tag),
        Edit::PopVlan => vlan::pop(packet),
        Edit::PushMpls { lse, ethertype, before_ethernet } => {
            mpls::push(packet, *lse, *ethertype, *before_ethernet)
        }
        Edit::PopMpls(ethertype) => mpls::pop(packet, *ethertype),
        Edit::PushEthernet(_) if *push_ethernet_fails => Err(Failure::WrongOrder),
        Edit::PushEthernet(header) => ethernet::push(packet, header),
        Edit::PopEthernet => ethernet::pop(packet),
        Edit::PushNsh(header) => nsh::push(packet, header),
        Edit::PopNsh => nsh::pop(packet),
        Edit::SetEthernet(_)
        | Edit::SetIpv4(_)
        | Edit::SetIpv6(_)
        | Edit::SetPorts(_)
        | Edit::SetMpls { .. }
        | Edit::SetPriority { .. }
        | Edit::SetMark { .. }
        | Edit::SetTunnel(_)
        | Edit::SetConntrack
        | Edit::Hash(_) => Ok(()),
    }
}
