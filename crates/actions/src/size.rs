// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether an action list fits where the kernel keeps it.
//!
//! The kernel keeps lists in a form of its own: a SET becomes a SET_MASKED, and each list within a list is led by an argument. It builds
//! that form in a buffer of at most [`BYTES_MAX`], which starts at the length of the request's list and doubles. But what counts is the
//! memory block that the buffer really got, which is up to twice as large: so the longest list depends on the way there, and the way is
//! followed here.

use portway_flow::{Action, Set};

/// Bytes of actions for which the kernel makes room (MAX_ACTIONS_BUFSIZE).
pub(crate) const BYTES_MAX: usize = 32 * 1024;

/// What stands before the actions in the kernel's buffer, and that as the allocation counts it.
const LEAD: usize = 28;
const LEAD_ALLOCATED: usize = 32;
/// Length of an attribute's header.
const HEADER: usize = 4;

const fn attribute(payload: usize) -> usize {
    HEADER + payload.next_multiple_of(4)
}

/// The block that the kernel's allocator gives for `bytes` (its slab sizes, then powers of two).
const fn block(bytes: usize) -> usize {
    match bytes {
        65..=96 => 96,
        129..=192 => 192,
        _ => bytes.next_power_of_two(),
    }
}

/// The kernel's buffer, as far as its size goes.
struct Buffer {
    used: usize,
    block: usize,
    bytes_max: usize,
}

impl Buffer {
    fn new(bytes: usize, bytes_max: usize) -> Self {
        Self { used: LEAD, block: block(LEAD_ALLOCATED + bytes.min(bytes_max)), bytes_max }
    }

    /// Takes room for one attribute; the bytes that it would all take, if that is too much.
    fn reserve(&mut self, bytes: usize) -> Result<(), usize> {
        let end = self.used + bytes;
        if end > self.block {
            if end > self.bytes_max {
                return Err(end - LEAD);
            }
            self.block = block(LEAD_ALLOCATED + end.max(2 * self.block).min(self.bytes_max));
        }
        self.used = end;
        Ok(())
    }

    fn list(&mut self, actions: &[Action]) -> Result<(), usize> {
        actions.iter().try_for_each(|action| self.action(action))
    }

    fn action(&mut self, action: &Action) -> Result<(), usize> {
        match action {
            Action::Clone(list) => {
                self.reserve(HEADER)?;
                self.reserve(attribute(4))?;
                self.list(list)
            }
            Action::Sample(sample) => {
                self.reserve(HEADER)?;
                self.reserve(attribute(8))?;
                self.list(&sample.actions)
            }
            Action::CheckPacketLength(check) => {
                self.reserve(HEADER)?;
                self.reserve(attribute(4))?;
                self.reserve(HEADER)?;
                self.list(&check.less_or_equal)?;
                self.reserve(HEADER)?;
                self.list(&check.greater)
            }
            Action::DecTtl(list) => {
                self.reserve(HEADER)?;
                self.reserve(HEADER)?;
                self.list(list)
            }
            Action::Set(set) => {
                let masked = requested_set(set).1;
                if !masked {
                    self.reserve(HEADER)?;
                }
                self.reserve(kept_set(set) + if masked { HEADER } else { 0 })
            }
            Action::Output(_)
            | Action::Truncate(_)
            | Action::Recirculate(_)
            | Action::PushVlan(_)
            | Action::Drop(_)
            | Action::Meter(_)
            | Action::Userspace(_)
            | Action::PopVlan
            | Action::PopEth
            | Action::PopNsh
            | Action::Hash(_)
            | Action::PushMpls(_)
            | Action::PopMpls(_)
            | Action::PushEth(_)
            | Action::PushNsh(_)
            | Action::Psample(_) => self.reserve(requested(std::slice::from_ref(action))),
        }
    }
}

/// Bytes of the value that a SET carries, and whether a mask follows it.
fn requested_set(set: &Set) -> (usize, bool) {
    match set {
        Set::Priority(masked) | Set::SkbMark(masked) | Set::Mpls(masked) | Set::CtMark(masked) => {
            (4, masked.mask.is_some())
        }
        Set::Ethernet { src, .. } => (12, src.mask.is_some()),
        Set::Ipv4(masked) => (12, masked.mask.is_some()),
        Set::Ipv6(masked) => (40, masked.mask.is_some()),
        Set::Tcp(masked) | Set::Udp(masked) | Set::Sctp(masked) => (4, masked.mask.is_some()),
        Set::CtLabels(masked) => (16, masked.mask.is_some()),
        Set::Tunnel(_) => (8, false),
    }
}

/// Bytes of the attribute in a SET as the kernel keeps it: with a mask, unless it is a tunnel's, of which it keeps a pointer.
fn kept_set(set: &Set) -> usize {
    match set {
        Set::Tunnel(_) => attribute(8),
        Set::Priority(_)
        | Set::SkbMark(_)
        | Set::Mpls(_)
        | Set::CtMark(_)
        | Set::Ethernet { .. }
        | Set::Ipv4(_)
        | Set::Ipv6(_)
        | Set::Tcp(_)
        | Set::Udp(_)
        | Set::Sctp(_)
        | Set::CtLabels(_) => attribute(2 * requested_set(set).0),
    }
}

/// Bytes of a list in a request.
fn requested(actions: &[Action]) -> usize {
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
            Action::Set(set) => {
                let (value, masked) = requested_set(set);
                HEADER + attribute(if masked { 2 * value } else { value })
            }
            Action::PopVlan | Action::PopEth | Action::PopNsh => attribute(0),
            Action::Hash(_) => attribute(8),
            Action::Clone(list) => HEADER + requested(list),
            Action::Sample(sample) => 2 * HEADER + attribute(4) + requested(&sample.actions),
            Action::PushMpls(_) => attribute(8),
            Action::PopMpls(_) => attribute(2),
            Action::PushEth(_) => attribute(12),
            Action::PushNsh(nsh) => HEADER + HEADER + attribute(8) + attribute(nsh.metadata.len()),
            Action::CheckPacketLength(check) => {
                3 * HEADER + attribute(2) + requested(&check.greater) + requested(&check.less_or_equal)
            }
            Action::DecTtl(list) => 2 * HEADER + requested(list),
            Action::Psample(psample) => {
                HEADER + attribute(4) + psample.cookie.as_ref().map_or(0, |cookie| attribute(cookie.len()))
            }
        })
        .sum()
}

/// Checks that the list fits.
///
/// # Errors
/// The bytes up to and including the action that does not fit any more.
pub(crate) fn check(actions: &[Action], bytes_max: usize) -> Result<(), usize> {
    Buffer::new(requested(actions), bytes_max).list(actions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(n: usize) -> Vec<Action> {
        vec![Action::Output(1); n]
    }

    #[test]
    fn what_fits_depends_on_the_block_that_the_request_got() {
        // A request of more than 32736 bytes gets a block of 64 KiB, which then is filled.
        assert_eq!(check(&outputs(8188), BYTES_MAX), Ok(()));
        assert_eq!(check(&outputs(8189), BYTES_MAX), Err(8 * 8189));
        // Sets double in size. From a block of 16 KiB the buffer grows to one of 64 KiB, from one of 32 KiB it does not.
        let sets = |n| vec![Action::Set(Set::SkbMark(portway_flow::Masked { value: 1, mask: None })); n];
        assert_eq!(check(&sets(1300), BYTES_MAX), Ok(()));
        assert!(check(&sets(2100), BYTES_MAX).is_err());
    }

    #[test]
    fn small_lists_fit() {
        assert_eq!(check(&[], BYTES_MAX), Ok(()));
        assert_eq!(check(&[Action::Clone(outputs(3)), Action::DecTtl(outputs(1))], BYTES_MAX), Ok(()));
        assert!(check(&outputs(20), 64).is_err());
    }
}
