// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How many bytes an action list takes in the kernel, which limits it.
//!
//! The kernel keeps lists in a form of its own: a SET becomes a SET_MASKED, and each list within a list is led by an argument.
//! The limit applies to that form, so it is counted here.

use portway_flow::{Action, Set};

/// Bytes of actions that the kernel takes: 32 KiB less the header of the structure that it keeps them in.
pub(crate) const BYTES_MAX: usize = 32 * 1024 - 28;

const HEADER: usize = 4;

const fn attribute(payload: usize) -> usize {
    HEADER + payload.next_multiple_of(4)
}

fn set(set: &Set) -> usize {
    let key = match set {
        Set::Priority(_) | Set::SkbMark(_) | Set::Mpls(_) | Set::CtMark(_) => 4,
        Set::Ethernet { .. } | Set::Ipv4(_) => 12,
        Set::Ipv6(_) => 40,
        Set::Tcp(_) | Set::Udp(_) | Set::Sctp(_) => 4,
        Set::CtLabels(_) => 16,
        Set::Tunnel(_) => return HEADER + attribute(8),
    };
    HEADER + attribute(2 * key)
}

/// Bytes of one list.
pub(crate) fn bytes(actions: &[Action]) -> usize {
    actions
        .iter()
        .map(|action| match action {
            Action::Output(_)
            | Action::Truncate(_)
            | Action::Recirculate(_)
            | Action::PushVlan(_)
            | Action::Drop(_)
            | Action::Meter(_) => attribute(4),
            Action::Userspace(userspace) => {
                HEADER
                    + attribute(4)
                    + userspace.userdata.as_ref().map_or(0, |data| attribute(data.len()))
                    + userspace.egress_tun_port.map_or(0, |_| attribute(4))
                    + if userspace.actions { attribute(0) } else { 0 }
            }
            Action::Set(what) => set(what),
            Action::PopVlan | Action::PopEth | Action::PopNsh => attribute(0),
            Action::Hash(_) => attribute(8),
            Action::Clone(list) => HEADER + attribute(4) + bytes(list),
            Action::Sample(sample) => HEADER + attribute(8) + bytes(&sample.actions),
            Action::PushMpls(push) => attribute(if push.add_l3_tunnel.is_some() { 8 } else { 6 }),
            Action::PopMpls(_) => attribute(2),
            Action::PushEth(_) => attribute(12),
            Action::PushNsh(nsh) => HEADER + HEADER + attribute(8) + attribute(nsh.metadata.len()),
            Action::CheckPacketLength(check) => {
                HEADER + attribute(4) + 2 * HEADER + bytes(&check.greater) + bytes(&check.less_or_equal)
            }
            Action::DecTtl(list) => 2 * HEADER + bytes(list),
            Action::Psample(psample) => {
                HEADER + attribute(4) + psample.cookie.as_ref().map_or(0, |cookie| attribute(cookie.len()))
            }
        })
        .sum()
}
