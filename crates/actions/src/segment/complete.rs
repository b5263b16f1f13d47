// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Completes a partial checksum.

use portway_buf::{DropReason, Offload, Packet};
use portway_wire::checksum::{Sum, nonzero, sctp};
use portway_wire::ip_proto;

use super::locate::network;
use crate::headers::put16;

/// Where SCTP's checksum is in its header: nothing else that leaves a checksum to the device has one there.
const SCTP_CHECKSUM_AT: usize = 8;

/// Fills in a checksum that was left to the device; a packet without one stays as it is.
///
/// # Errors
/// [`DropReason::SegmentFailed`] if the checksum's place is outside the frame.
pub fn complete_checksum(packet: &mut Packet) -> Result<(), DropReason> {
    let Offload { partial_csum: Some((start, offset)), gso } = packet.offload() else { return Ok(()) };
    let (start, at) = (usize::from(start), usize::from(start) + usize::from(offset));
    if at + 2 > packet.len() {
        return Err(DropReason::SegmentFailed);
    }
    if usize::from(offset) == SCTP_CHECKSUM_AT && is_sctp(packet, start) {
        let sum = sctp(&packet.frame()[start..]).to_le_bytes();
        packet.frame_mut()[at..at + 4].copy_from_slice(&sum);
    } else {
        let sum = Sum::new().bytes(&packet.frame()[start..]).checksum();
        put16(packet.frame_mut(), at, nonzero(sum));
    }
    packet.set_offload(Offload { partial_csum: None, gso });
    Ok(())
}

fn is_sctp(packet: &Packet, start: usize) -> bool {
    start + 12 <= packet.len()
        && network(packet).and_then(|network| network.transport(packet.frame()))
            == Some((ip_proto::SCTP, start))
}
