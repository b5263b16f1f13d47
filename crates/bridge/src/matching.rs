// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a flow of the bridge matches, in a compact form: a switch may keep tens of thousands of these.

use std::cmp::Ordering;
use std::sync::Arc;

use portway_flow::{FlowKey, FlowMask, MacAddr};

use crate::vlan::Tag;

const TPID_8021Q: u16 = 0x8100;
/// "A tag is present" in a key's TCI.
const TCI_PRESENT: u16 = 0x1000;
const VID_BITS: u16 = 0x0fff;

/// Which fields a flow matches, besides the input port and the recirculation id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shape {
    /// Both addresses and the VLAN tag: the flow of a forwarded frame.
    Addresses,
    /// The destination: it is never forwarded.
    Destination,
    /// The source: it is no valid one.
    Source,
    /// The VLAN tag: the port does not take it.
    Vlan,
    /// Nothing: the port does not carry Ethernet frames.
    Port,
}

/// The layer-2 facts of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Frame {
    pub(crate) in_port: u32,
    pub(crate) dst: MacAddr,
    pub(crate) src: MacAddr,
    tpid: u16,
    /// With the presence bit; without the priority unless there is nothing else.
    tci: u16,
    pub(crate) mac_proto: u8,
}

impl Frame {
    pub(crate) fn of(key: &FlowKey) -> Self {
        let (tpid, tci) = (key.vlan_tpid.get(), key.vlan_tci.get());
        Self {
            in_port: key.in_port,
            dst: key.eth_dst,
            src: key.eth_src,
            tpid,
            tci: tci & tci_bits(tpid, tci),
            mac_proto: key.mac_proto,
        }
    }

    pub(crate) fn tag(&self) -> Tag {
        if self.tpid != TPID_8021Q || self.tci & TCI_PRESENT == 0 {
            Tag::Untagged
        } else if self.tci & VID_BITS == 0 {
            Tag::Priority(self.tci & !TCI_PRESENT)
        } else {
            Tag::Vlan(self.tci & VID_BITS)
        }
    }
}

/// The bits of the TCI that matter: the priority only where nothing else is in the tag, because there it may have to move into another tag.
fn tci_bits(tpid: u16, tci: u16) -> u16 {
    let is_priority = tpid == TPID_8021Q && tci & (TCI_PRESENT | VID_BITS) == TCI_PRESENT;
    if is_priority { u16::MAX } else { TCI_PRESENT | VID_BITS }
}

/// What one flow matches.
#[derive(Clone, Debug)]
pub(crate) struct Match {
    pub(crate) frame: Frame,
    shape: Shape,
    /// Fields that a flow added by hand matches and this one must therefore match too, so that the two do not overlap.
    extra: Option<Arc<(FlowKey, FlowMask)>>,
}

impl Match {
    pub(crate) fn new(frame: Frame, shape: Shape) -> Self {
        let zero = MacAddr::default();
        let (keep_dst, keep_src, keep_tag) = match shape {
            Shape::Addresses => (true, true, true),
            Shape::Destination => (true, false, false),
            Shape::Source => (false, true, false),
            Shape::Vlan => (false, false, true),
            Shape::Port => (false, false, false),
        };
        let frame = Frame {
            dst: if keep_dst { frame.dst } else { zero },
            src: if keep_src { frame.src } else { zero },
            tpid: if keep_tag { frame.tpid } else { 0 },
            tci: if keep_tag { frame.tci } else { 0 },
            ..frame
        };
        Self { frame, shape, extra: None }
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// Narrows the match by the fields of each of `by_hand` that it would overlap. `key` is the packet's, which
    /// missed all of them: it differs from each in a field that the other matches.
    pub(crate) fn narrow(&mut self, key: &FlowKey, by_hand: &[(FlowKey, FlowMask)]) {
        let (own_key, own_mask) = self.key_and_mask();
        let mut mask = own_mask.clone();
        for (other_key, other_mask) in by_hand {
            if own_mask.overlaps(&own_key, other_mask, other_key) {
                mask.unite(other_mask);
            }
        }
        if mask != own_mask {
            self.extra = Some(Arc::new((mask.apply(key), mask)));
        }
    }

    /// The masked key and the mask.
    pub(crate) fn key_and_mask(&self) -> (FlowKey, FlowMask) {
        if let Some(extra) = &self.extra {
            return (extra.0.clone(), extra.1.clone());
        }
        let mut bits =
            FlowKey { in_port: u32::MAX, recirc_id: u32::MAX, mac_proto: 0xff, ..FlowKey::default() };
        let (dst, src, tag) = match self.shape {
            Shape::Addresses => (true, true, true),
            Shape::Destination => (true, false, false),
            Shape::Source => (false, true, false),
            Shape::Vlan => (false, false, true),
            Shape::Port => (false, false, false),
        };
        if dst {
            bits.eth_dst = MacAddr::BROADCAST;
        }
        if src {
            bits.eth_src = MacAddr::BROADCAST;
        }
        if tag {
            bits.vlan_tpid.set(u16::MAX);
            bits.vlan_tci.set(tci_bits(self.frame.tpid, self.frame.tci));
        }
        let frame = &self.frame;
        let mut key = FlowKey {
            in_port: frame.in_port,
            eth_dst: frame.dst,
            eth_src: frame.src,
            mac_proto: frame.mac_proto,
            ..FlowKey::default()
        };
        key.vlan_tpid.set(frame.tpid);
        key.vlan_tci.set(frame.tci);
        (key, FlowMask::new(bits))
    }

    fn extra_words(&self) -> Option<(&[u64], &[u64])> {
        let (key, mask) = &**self.extra.as_ref()?;
        Some((key.words(), mask.bits().words()))
    }
}

impl PartialEq for Match {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Match {}

impl PartialOrd for Match {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Match {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.frame, self.shape)
            .cmp(&(other.frame, other.shape))
            .then_with(|| self.extra_words().cmp(&other.extra_words()))
    }
}
