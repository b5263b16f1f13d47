// SPDX-License-Identifier: Apache-2.0 OR MIT
//! VLANs (IEEE 802.1Q): which VLAN a frame belongs to when it comes in at a port, and whether and how it may leave at another.
//!
//! VLAN 0 is the VLAN of untagged frames at ports without any VLAN setting. Only tags with TPID 0x8100 count: a frame
//! with a service tag (0x88a8) in front is untagged to this bridge.

use std::fmt;

/// The highest VLAN id that may be configured; 4095 is reserved by 802.1Q.
pub const VLAN_MAX: u16 = 4094;

/// A set of VLAN ids 1 to [`VLAN_MAX`].
#[derive(Clone, PartialEq, Eq)]
pub struct VlanSet(Box<[u64; 64]>);

impl VlanSet {
    /// A set of these ids; those out of range are left out.
    pub fn new(ids: impl IntoIterator<Item = u16>) -> Self {
        let mut bits = Box::new([0; 64]);
        for id in ids.into_iter().filter(|id| (1..=VLAN_MAX).contains(id)) {
            bits[usize::from(id / 64)] |= 1 << (id % 64);
        }
        Self(bits)
    }

    /// Whether `id` is in the set.
    pub fn contains(&self, id: u16) -> bool {
        id <= VLAN_MAX && self.0[usize::from(id / 64)] >> (id % 64) & 1 == 1
    }

    /// The ids, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (1..=VLAN_MAX).filter(|id| self.contains(*id))
    }
}

impl fmt::Debug for VlanSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// How a port takes part in VLANs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortVlan {
    /// Untagged frames belong to this VLAN and leave untagged; frames tagged for a VLAN are refused (a priority tag, id 0, is not).
    Access(u16),
    /// Frames carry their VLAN's tag.
    Trunk {
        /// The VLANs carried; `None`: all, and without a native VLAN also untagged frames, as VLAN 0.
        allowed: Option<VlanSet>,
        /// The VLAN whose frames are untagged here, carried even if `allowed` does not name it.
        native: Option<u16>,
    },
}

impl Default for PortVlan {
    fn default() -> Self {
        Self::Trunk { allowed: None, native: None }
    }
}

/// The outermost 802.1Q tag of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    /// None.
    Untagged,
    /// VLAN id 0: a priority and nothing else. The TCI without the DEI bit.
    Priority(u16),
    /// A VLAN id, 1 to 4095.
    Vlan(u16),
}

/// How a frame leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Untagged,
    Tagged,
}

impl PortVlan {
    /// The VLAN of a frame that comes in with this tag; `None`: refused.
    pub(crate) fn ingress(&self, tag: Tag) -> Option<u16> {
        match (self, tag) {
            (Self::Access(vlan), Tag::Untagged | Tag::Priority(_)) => Some(*vlan),
            (Self::Access(_), Tag::Vlan(_)) => None,
            (Self::Trunk { native: Some(native), .. }, Tag::Untagged | Tag::Priority(_)) => Some(*native),
            (Self::Trunk { allowed: None, native: None }, Tag::Untagged | Tag::Priority(_)) => Some(0),
            (Self::Trunk { allowed: Some(_), native: None }, Tag::Untagged | Tag::Priority(_)) => None,
            (Self::Trunk { allowed, native }, Tag::Vlan(id)) => {
                (id <= VLAN_MAX && (allows(allowed.as_ref(), id) || *native == Some(id))).then_some(id)
            }
        }
    }

    /// How frames of `vlan` leave here; `None`: they do not.
    pub(crate) fn egress(&self, vlan: u16) -> Option<Form> {
        match self {
            Self::Access(own) => (*own == vlan).then_some(Form::Untagged),
            Self::Trunk { native: Some(native), .. } if *native == vlan => Some(Form::Untagged),
            Self::Trunk { allowed: None, native: None } if vlan == 0 => Some(Form::Untagged),
            Self::Trunk { .. } if vlan == 0 => None,
            Self::Trunk { allowed, .. } => allows(allowed.as_ref(), vlan).then_some(Form::Tagged),
        }
    }
}

fn allows(allowed: Option<&VlanSet>, id: u16) -> bool {
    allowed.is_none_or(|set| set.contains(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_port_takes_and_gives_what_it_should() {
        let access = PortVlan::Access(10);
        let plain = PortVlan::default();
        let trunk = PortVlan::Trunk { allowed: Some(VlanSet::new([10, 20])), native: None };
        let native = PortVlan::Trunk { allowed: Some(VlanSet::new([10, 20])), native: Some(30) };
        let all_native = PortVlan::Trunk { allowed: None, native: Some(30) };
        let priority = Tag::Priority(0xa000);
        let ingress = |tag| [&access, &plain, &trunk, &native, &all_native].map(|port| port.ingress(tag));
        assert_eq!(ingress(Tag::Untagged), [Some(10), Some(0), None, Some(30), Some(30)]);
        assert_eq!(ingress(priority), [Some(10), Some(0), None, Some(30), Some(30)]);
        assert_eq!(ingress(Tag::Vlan(10)), [None, Some(10), Some(10), Some(10), Some(10)]);
        assert_eq!(ingress(Tag::Vlan(30)), [None, Some(30), None, Some(30), Some(30)]);
        assert_eq!(ingress(Tag::Vlan(4095)), [None; 5]);
        let egress = |vlan| [&access, &plain, &trunk, &native, &all_native].map(|port| port.egress(vlan));
        let (tagged, untagged) = (Some(Form::Tagged), Some(Form::Untagged));
        assert_eq!(egress(0), [None, untagged, None, None, None]);
        assert_eq!(egress(10), [untagged, tagged, tagged, tagged, tagged]);
        assert_eq!(egress(30), [None, tagged, None, untagged, untagged]);
        assert_eq!(egress(40), [None, tagged, None, None, tagged]);
    }

    #[test]
    fn a_set_keeps_to_its_range() {
        let set = VlanSet::new([0, 1, 63, 64, 4094, 4095, 65535]);
        assert_eq!(set.iter().collect::<Vec<_>>(), [1, 63, 64, 4094]);
        assert!(!set.contains(65535) && !set.contains(0));
    }
}
