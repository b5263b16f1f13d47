// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Segmentation and checksums in software: what a network card would have done to a super-packet or a partial checksum, for exits that
//! have no such card (and for upcalls).
//!
//! * TSO: TCP over IPv4 and IPv6. IPv4 ids count up, CWR stays on the first segment only, FIN and PSH on the last.
//! * USO: one UDP datagram per segment.
//! * UFO: one UDP datagram, as IP fragments.
//! * What was reassembled: fragments again.
//!
//! Whatever stands before the IP header (VLAN tags, MPLS labels, NSH) is repeated in each segment.

mod complete;
mod fragment;
mod locate;
mod payload;
mod reassembled;

use portway_buf::{Class, DropReason, Offload, Packet, Pool};
use portway_wire::ipv4;

pub use complete::complete_checksum;
pub(crate) use locate::passes_through;
pub use reassembled::{fits_largest_fragment, fragment as fragment_reassembled};

use crate::headers::{be16, put16};
use locate::Network;

/// A super-packet may become so many packets: 64 KiB in segments of TCP's smallest.
const SEGMENTS_MAX: usize = 2048;

/// linux/virtio_net.h: VIRTIO_NET_HDR_GSO_*.
pub(crate) mod gso {
    pub(crate) const TCPV4: u8 = 1;
    /// A datagram that becomes IP fragments.
    pub(crate) const UDP: u8 = 3;
    pub(crate) const TCPV6: u8 = 4;
    /// A datagram that becomes datagrams.
    pub(crate) const UDP_L4: u8 = 5;
    /// A flag beside the type: the first segment carries CWR.
    pub(crate) const ECN: u8 = 0x80;
}

/// Does in software all that is left to be done to `packet` and hands the result, one packet or several in order, to `out`. If these are
/// IPv6 fragments, `fragment_id` is their id, which nobody must be able to guess (RFC 7739).
///
/// # Errors
/// [`DropReason::SegmentFailed`] if the headers are not those that the offload state says, or the segments would be too many;
/// [`DropReason::NoBuffer`] if a segment would be too long. Nothing has been handed out then.
pub fn segment(
    mut packet: Packet,
    fragment_id: u32,
    pool: &mut Pool,
    out: &mut dyn FnMut(Packet),
) -> Result<(), DropReason> {
    let Some(gso) = packet.offload().gso else {
        let done = complete_checksum(&mut packet);
        if done.is_ok() {
            out(packet);
        } else {
            pool.give(packet);
        }
        return done;
    };
    let done = match gso.gso_type & !gso::ECN {
        gso::TCPV4 | gso::TCPV6 => payload::tcp(&packet, usize::from(gso.size), pool, out),
        gso::UDP_L4 => payload::udp(&packet, usize::from(gso.size), pool, out),
        gso::UDP => fragment::udp(&mut packet, usize::from(gso.size), fragment_id, pool, out),
        _ => Err(DropReason::SegmentFailed),
    };
    pool.give(packet);
    done
}

/// Whether [`segment`] makes IP fragments of the packet: the key of all but the first then says "later fragment".
pub fn leaves_as_fragments(packet: &Packet) -> bool {
    packet.offload().gso.is_some_and(|gso| gso.gso_type & !gso::ECN == gso::UDP)
}

/// A packet made of `parts`, with the metadata of `like` and nothing left to be done.
fn assemble(like: &Packet, parts: &[&[u8]], pool: &mut Pool) -> Option<Packet> {
    let len = parts.iter().map(|part| part.len()).sum();
    let mut packet = pool.take(Class::for_frame(len)?);
    if !packet.set_bounds(portway_buf::HEADROOM, len) {
        return None;
    }
    let mut at = 0;
    for part in parts {
        packet.frame_mut()[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    packet.copy_metadata(like);
    packet.set_offload(Offload::default());
    Some(packet)
}

/// Writes the length of the IP packet at `network`, which ends with the frame, and IPv4's checksum.
fn set_ip_len(frame: &mut [u8], network: Network) -> Result<(), DropReason> {
    let len = |bytes: usize| u16::try_from(bytes).map_err(|_| DropReason::SegmentFailed);
    match network {
        Network::V4 { l3 } => {
            let total = len(frame.len() - l3)?;
            put16(frame, l3 + 2, total);
            ipv4_checksum(frame, l3);
        }
        Network::V6 { l3 } => {
            let payload = len(frame.len() - l3 - portway_wire::ipv6::LEN)?;
            put16(frame, l3 + 4, payload);
        }
    }
    Ok(())
}

fn ipv4_checksum(frame: &mut [u8], l3: usize) {
    let end = (l3 + usize::from(frame[l3] & 0xf) * 4).clamp(l3 + ipv4::MIN_LEN, frame.len());
    put16(frame, l3 + 10, 0);
    let checksum = portway_wire::checksum::checksum(&frame[l3..end]);
    put16(frame, l3 + 10, checksum);
}

/// The 16 bits at `at`, which the caller has checked to be there.
fn field(frame: &[u8], at: usize) -> u16 {
    be16(frame, at).unwrap_or(0)
}
