// SPDX-License-Identifier: Apache-2.0 OR MIT
//! VLAN tags: OVS_KEY_ATTR_ETHERTYPE, _VLAN and _ENCAP, one inside the other.

use portway_flow::FlowKey;
use portway_uapi::openvswitch as ovs;

use super::attrs::{Parsed, bit};
use super::{KeyError, TAG_PRESENT, ethertype};

/// Takes up to two tags off the attributes: their fields go to `to`, and what they encapsulate becomes present instead of them.
pub(super) fn read_tags<'a>(
    parsed: &mut Parsed<'a>,
    present: &mut u64,
    to: &mut FlowKey,
    key_of_mask: Option<&FlowKey>,
) -> Result<(), KeyError> {
    read_tag(parsed, present, to, key_of_mask, false)?;
    let outer = key_of_mask.unwrap_or(to).vlan_tci.get();
    if outer & TAG_PRESENT != 0 { read_tag(parsed, present, to, key_of_mask, true) } else { Ok(()) }
}

fn read_tag<'a>(
    parsed: &mut Parsed<'a>,
    present: &mut u64,
    to: &mut FlowKey,
    key_of_mask: Option<&FlowKey>,
    inner: bool,
) -> Result<(), KeyError> {
    let tagged = match key_of_mask {
        None => check_key(parsed, *present)?,
        Some(key) => check_mask(parsed, *present, key, inner)?,
    };
    if !tagged {
        return Ok(());
    }
    let (tci, tpid) = (parsed.be16(ovs::OVS_KEY_ATTR_VLAN), parsed.be16(ovs::OVS_KEY_ATTR_ETHERTYPE));
    let fields =
        if inner { (&mut to.cvlan_tci, &mut to.cvlan_tpid) } else { (&mut to.vlan_tci, &mut to.vlan_tpid) };
    fields.0.set(tci);
    fields.1.set(tpid);
    *present &=
        !(bit(ovs::OVS_KEY_ATTR_ENCAP) | bit(ovs::OVS_KEY_ATTR_VLAN) | bit(ovs::OVS_KEY_ATTR_ETHERTYPE));
    let nest = parsed.payload(ovs::OVS_KEY_ATTR_ENCAP);
    parsed.read(nest, present, key_of_mask.is_some())
}

/// Whether a key has a tag here, and whether it is whole.
fn check_key(parsed: &Parsed<'_>, present: u64) -> Result<bool, KeyError> {
    let has = |kind| present & bit(kind) != 0;
    let protocol = parsed.be16(ovs::OVS_KEY_ATTR_ETHERTYPE);
    if !has(ovs::OVS_KEY_ATTR_ETHERNET) || !has(ovs::OVS_KEY_ATTR_ETHERTYPE) || !ethertype::is_vlan(protocol)
    {
        return Ok(false);
    }
    if !has(ovs::OVS_KEY_ATTR_VLAN) || !has(ovs::OVS_KEY_ATTR_ENCAP) {
        return Err(KeyError::Vlan);
    }
    match parsed.be16(ovs::OVS_KEY_ATTR_VLAN) {
        tci if tci & TAG_PRESENT != 0 => Ok(true),
        // A tag that the packet's end cut off: there is nothing behind it.
        0 if parsed.payload(ovs::OVS_KEY_ATTR_ENCAP).is_empty() => Ok(true),
        0 => Err(KeyError::VlanCut),
        tci => Err(KeyError::VlanBit(tci)),
    }
}

/// Whether a mask has a tag here, and whether it fixes what makes one.
fn check_mask(parsed: &Parsed<'_>, present: u64, key: &FlowKey, inner: bool) -> Result<bool, KeyError> {
    if present & bit(ovs::OVS_KEY_ATTR_ENCAP) == 0 {
        return Ok(false);
    }
    let key_tci = if inner { key.cvlan_tci } else { key.vlan_tci }.get();
    if key_tci & TAG_PRESENT == 0 || parsed.be16(ovs::OVS_KEY_ATTR_ETHERTYPE) != u16::MAX {
        return Err(KeyError::VlanMask);
    }
    match parsed.be16(ovs::OVS_KEY_ATTR_VLAN) {
        tci if tci & TAG_PRESENT != 0 => Ok(true),
        tci => Err(KeyError::VlanBit(tci)),
    }
}
