// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The attributes of a key or mask, taken apart: which there are, each once and of its length.

use portway_flow::field::{GROUPS, Group, Shape};
use portway_netlink::{Attr, Attrs};
use portway_uapi::netlink::NLA_HDRLEN;
use portway_uapi::openvswitch as ovs;

use super::KeyError;

/// One more than the largest attribute number.
const KINDS: usize = ovs::OVS_KEY_ATTR_IPV6_EXTHDRS as usize + 1;

/// Which attributes there are, a bit each.
pub(super) const fn bit(kind: u16) -> u64 {
    1 << kind
}

/// The attributes seen so far. Those of a mask are put over those of its key, whose rest stays visible: see the module `key`.
pub(super) struct Parsed<'a> {
    attrs: [Option<Attr<'a>>; KINDS],
}

/// How long each attribute is: its structure with the padding at its end; `None`: that differs.
const LENGTHS: [Option<usize>; KINDS] = {
    let mut lengths = [Some(0); KINDS];
    lengths[ovs::OVS_KEY_ATTR_ENCAP as usize] = None;
    let mut place = 0;
    while place < GROUPS.len() {
        let group = &GROUPS[place];
        lengths[group.attr as usize] = match group.shape() {
            Shape::Fields | Shape::Ethertype => Some(structure_len(group)),
            Shape::Tags => Some(2),
            Shape::Tunnel | Shape::Nsh | Shape::Labels => None,
        };
        place += 1;
    }
    lengths
};

/// Bytes of a group's structure: those of more than one word end on a word.
#[inline]
pub(crate) const fn structure_len(group: &Group) -> usize {
    if group.wire_len > 4 { group.wire_len.next_multiple_of(4) } else { group.wire_len }
}

impl<'a> Parsed<'a> {
    pub(super) fn new() -> Self {
        Self { attrs: [None; KINDS] }
    }

    /// The attribute of this kind that was seen last.
    pub(super) fn get(&self, kind: u16) -> Option<Attr<'a>> {
        self.attrs[usize::from(kind)]
    }

    /// Payload of an attribute whose length was checked; empty if it was never seen.
    pub(super) fn payload(&self, kind: u16) -> &'a [u8] {
        self.get(kind).map_or(&[], |attr| attr.payload())
    }

    /// The big-endian number in an attribute; 0 if it was never seen.
    pub(super) fn be16(&self, kind: u16) -> u16 {
        self.payload(kind).first_chunk().map_or(0, |&bytes| u16::from_be_bytes(bytes))
    }

    /// Takes in the attributes of a nest, adding to those that are `present`. In a mask (`skip_zeros`) what is all zeros is absent.
    pub(super) fn read(
        &mut self,
        nest: &'a [u8],
        present: &mut u64,
        skip_zeros: bool,
    ) -> Result<(), KeyError> {
        for attr in each(nest)? {
            let kind = attr.kind();
            if usize::from(kind) >= KINDS {
                return Err(KeyError::OutOfRange(kind));
            }
            if matches!(
                kind,
                ovs::OVS_KEY_ATTR_PACKET_TYPE
                    | ovs::OVS_KEY_ATTR_ND_EXTENSIONS
                    | ovs::OVS_KEY_ATTR_TUNNEL_INFO
            ) {
                return Err(KeyError::NotSupported(kind));
            }
            if *present & bit(kind) != 0 {
                return Err(KeyError::Duplicate(kind));
            }
            if let Some(expected) = LENGTHS[usize::from(kind)].filter(|expected| *expected != attr.len()) {
                return Err(KeyError::Length { kind, len: attr.len(), expected });
            }
            if !skip_zeros || attr.payload().iter().any(|&byte| byte != 0) {
                *present |= bit(kind);
                self.attrs[usize::from(kind)] = Some(attr);
            }
        }
        Ok(())
    }
}

/// The attributes of a nest that ends exactly behind the last one's padding.
fn each(nest: &[u8]) -> Result<Attrs<'_>, KeyError> {
    let mut end = 0;
    for attr in Attrs::new(nest) {
        end = (attr.offset() + NLA_HDRLEN + attr.len()).next_multiple_of(4);
    }
    if end == nest.len() { Ok(Attrs::new(nest)) } else { Err(KeyError::Leftover) }
}
