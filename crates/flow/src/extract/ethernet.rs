// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Layer 2: addresses, up to two VLAN tags (IEEE 802.1Q, 802.1ad), the ethertype, 802.2 LLC and SNAP.

use portway_buf::DropReason;
use zerocopy::network_endian::U16;

use super::{bytes, ethertype};
use crate::key::{FlowKey, MacAddr};

/// Bit of a TCI that, in the key, says that there is a tag.
const TAG_PRESENT: u16 = 0x1000;
/// LLC header of SNAP frames with the Ethernet OUI: DSAP, SSAP, control (of any value), OUI.
const SNAP_SAP: u8 = 0xaa;
/// LLC and SNAP headers together.
const SNAP_LEN: usize = 8;

/// Fills in layer 2 and returns the offset of what follows it.
pub(super) fn parse(frame: &[u8], key: &mut FlowKey) -> Result<usize, DropReason> {
    let header: &[u8; 14] = bytes(frame, 0).ok_or(DropReason::BadFrame)?;
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *header;
    key.eth_dst = MacAddr([d0, d1, d2, d3, d4, d5]);
    key.eth_src = MacAddr([s0, s1, s2, s3, s4, s5]);
    let mut protocol = u16::from_be_bytes([t0, t1]);
    let mut end = header.len();
    if let Some((tci, inner)) = tag(frame, end, protocol) {
        (key.vlan_tci, key.vlan_tpid) = (tci, U16::new(protocol));
        (protocol, end) = (inner, end + 4);
        if let Some((tci, inner)) = tag(frame, end, protocol) {
            (key.cvlan_tci, key.cvlan_tpid) = (tci, U16::new(protocol));
            (protocol, end) = (inner, end + 4);
        }
    }
    if protocol < ethertype::MIN {
        (protocol, end) = llc(frame, end);
    }
    key.eth_type = U16::new(protocol);
    Ok(end)
}

/// The TCI of a tag at `offset`, and the ethertype behind it; a tag that the frame cuts short is none.
fn tag(frame: &[u8], offset: usize, tpid: u16) -> Option<(U16, u16)> {
    if !ethertype::is_vlan(tpid) {
        return None;
    }
    let [t0, t1, p0, p1] = *bytes(frame, offset)?;
    Some((U16::new(u16::from_be_bytes([t0, t1]) | TAG_PRESENT), u16::from_be_bytes([p0, p1])))
}

/// The ethertype of an 802.3 frame whose LLC header is at `offset`, and the offset behind what was understood.
fn llc(frame: &[u8], offset: usize) -> (u16, usize) {
    match bytes::<SNAP_LEN>(frame, offset) {
        Some(&[SNAP_SAP, SNAP_SAP, _, 0, 0, 0, p0, p1]) => {
            let protocol = u16::from_be_bytes([p0, p1]);
            let known = if protocol < ethertype::MIN { ethertype::LLC } else { protocol };
            (known, offset + SNAP_LEN)
        }
        _ => (ethertype::LLC, offset),
    }
}
