// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Flow keys and masks as attributes (OVS_FLOW_ATTR_KEY, OVS_FLOW_ATTR_MASK, OVS_PACKET_ATTR_KEY).
//!
//! Encoding writes what the kernel writes for a packet or a flow, in its order. Decoding is as strict as the kernel: each attribute once,
//! of its exact length, only those that the key's other fields allow. Where the kernel's rules have corners (an attribute of a mask that is
//! all zeros counts as absent; a mask's VLAN tag is looked up among the key's when the mask has none), they are kept, because programs
//! have come to send what passes.

use portway_uapi::openvswitch::DP_MAX_PORTS;

mod attrs;
mod decode;
mod encode;
mod error;
mod tunnel;
mod vlan;

#[cfg(test)]
mod tests;

pub use decode::{Match, decode_key, decode_match, decode_metadata};
pub use encode::{encode_key, encode_mask, put_key, put_mask};
pub use error::KeyError;
pub use tunnel::put_tunnel_info;

pub(crate) use attrs::structure_len;
pub(crate) use decode::read_structure;
pub(crate) use encode::structure;
pub(crate) use tunnel::{put_set_tunnel, read_tunnel};

/// The port number that stands for "none" in a key: what a key without OVS_KEY_ATTR_IN_PORT has.
pub const NO_PORT: u32 = DP_MAX_PORTS;

/// Bit of a VLAN TCI that says that there is a tag.
const TAG_PRESENT: u16 = 0x1000;

/// Ethertypes that the rules speak of.
mod ethertype {
    /// Smallest ethertype; below it the field is an 802.3 length.
    pub(super) const MIN: u16 = 0x0600;
    /// The key's ethertype for 802.2 frames (see `FlowKey::eth_type`).
    pub(super) const LLC: u16 = 0x0001;

    pub(super) const fn is_vlan(ethertype: u16) -> bool {
        matches!(ethertype, 0x8100 | 0x88a8)
    }
}
