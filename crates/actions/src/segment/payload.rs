// SPDX-License-Identifier: Apache-2.0 OR MIT
//! TSO and USO: the payload is dealt out, each piece behind a copy of the headers.

use portway_buf::{DropReason, Packet, Pool};
use portway_wire::checksum::{Sum, nonzero, pseudo_v4, pseudo_v6, update16_partial};
use portway_wire::ip_proto;

use super::locate::{Network, network};
use super::{SEGMENTS_MAX, assemble, field, set_ip_len};
use crate::headers::put16;

const TCP_MIN_LEN: usize = 20;
const TCP_SEQ_AT: usize = 4;
const TCP_FLAGS_AT: usize = 13;
const TCP_CHECKSUM_AT: usize = 16;
const TCP_FIN_PSH: u8 = 0x09;
const TCP_CWR: u8 = 0x80;
const UDP_LEN: usize = 8;
const UDP_CHECKSUM_AT: usize = 6;

/// How a super-packet is cut.
struct Cut {
    network: Network,
    l4: usize,
    /// Where the payload starts.
    payload: usize,
    /// Sum of the pseudo header for a layer-4 length of 0.
    pseudo: u16,
}

impl Cut {
    fn plan(packet: &Packet, protocol: u8) -> Option<Self> {
        let frame = packet.frame();
        let network = network(packet)?;
        let (found, l4) = network.transport(frame)?;
        let header = match protocol {
            ip_proto::TCP if l4 + TCP_MIN_LEN <= frame.len() => usize::from(frame[l4 + 12] >> 4) * 4,
            ip_proto::TCP => return None,
            _ => UDP_LEN,
        };
        let minimum = if protocol == ip_proto::TCP { TCP_MIN_LEN } else { UDP_LEN };
        if found != protocol || header < minimum || l4 + header > frame.len() {
            return None;
        }
        let pseudo = pseudo_sum(packet, network, protocol, l4);
        Some(Self { network, l4, payload: l4 + header, pseudo })
    }

    fn pieces<'a>(&self, packet: &'a Packet, size: usize) -> Result<std::slice::Chunks<'a, u8>, DropReason> {
        let payload = &packet.frame()[self.payload..];
        if size == 0 || payload.is_empty() || payload.len().div_ceil(size) > SEGMENTS_MAX {
            return Err(DropReason::SegmentFailed);
        }
        Ok(payload.chunks(size))
    }

    /// Finishes a segment: lengths, id, checksums.
    fn finish(&self, segment: &mut Packet, index: usize, checksum_at: usize) -> Result<(), DropReason> {
        let (l4, network) = (self.l4, self.network);
        let frame = segment.frame_mut();
        if let Network::V4 { l3 } = network {
            let id = field(frame, l3 + 4).wrapping_add(index as u16);
            put16(frame, l3 + 4, id);
        }
        set_ip_len(frame, network)?;
        let len = (frame.len() - l4) as u16;
        if checksum_at == UDP_CHECKSUM_AT {
            put16(frame, l4 + 4, len);
        }
        put16(frame, l4 + checksum_at, 0);
        let sum = Sum::new().word16(self.pseudo).word16(len).bytes(&frame[l4..]).checksum();
        put16(frame, l4 + checksum_at, if checksum_at == UDP_CHECKSUM_AT { nonzero(sum) } else { sum });
        Ok(())
    }
}

/// The pseudo header's sum without the length. A partial checksum's field holds it (with the length): that is right also where the
/// final destination stands in a routing header.
fn pseudo_sum(packet: &Packet, network: Network, protocol: u8, l4: usize) -> u16 {
    let frame = packet.frame();
    match packet.offload().partial_csum {
        Some((start, offset)) if usize::from(start) == l4 => {
            let len = (frame.len() - l4) as u16;
            update16_partial(field(frame, l4 + usize::from(offset)), len, 0)
        }
        Some(_) | None => match network {
            Network::V4 { l3 } => {
                let address = |at: usize| [frame[at], frame[at + 1], frame[at + 2], frame[at + 3]];
                pseudo_v4(address(l3 + 12), address(l3 + 16), protocol, 0).folded()
            }
            Network::V6 { l3 } => {
                let address = |at: usize| frame[at..].first_chunk::<16>().copied().unwrap_or_default();
                pseudo_v6(address(l3 + 8), address(l3 + 24), protocol, 0).folded()
            }
        },
    }
}

/// TSO.
pub(super) fn tcp(
    packet: &Packet,
    size: usize,
    pool: &mut Pool,
    out: &mut dyn FnMut(Packet),
) -> Result<(), DropReason> {
    let cut = Cut::plan(packet, ip_proto::TCP).ok_or(DropReason::SegmentFailed)?;
    let (headers, l4) = (&packet.frame()[..cut.payload], cut.l4);
    let flags = headers[l4 + TCP_FLAGS_AT];
    let seq =
        u32::from(field(headers, l4 + TCP_SEQ_AT)) << 16 | u32::from(field(headers, l4 + TCP_SEQ_AT + 2));
    let pieces = cut.pieces(packet, size)?;
    let last = pieces.len() - 1;
    for (index, piece) in pieces.enumerate() {
        let mut segment = assemble(packet, &[headers, piece], pool).ok_or(DropReason::NoBuffer)?;
        let header = &mut segment.frame_mut()[l4..];
        let seq = seq.wrapping_add((index * size) as u32).to_be_bytes();
        header[TCP_SEQ_AT..TCP_SEQ_AT + 4].copy_from_slice(&seq);
        let not_here = if index == 0 { 0 } else { TCP_CWR } | if index == last { 0 } else { TCP_FIN_PSH };
        header[TCP_FLAGS_AT] = flags & !not_here;
        cut.finish(&mut segment, index, TCP_CHECKSUM_AT)?;
        out(segment);
    }
    Ok(())
}

/// USO.
pub(super) fn udp(
    packet: &Packet,
    size: usize,
    pool: &mut Pool,
    out: &mut dyn FnMut(Packet),
) -> Result<(), DropReason> {
    let cut = Cut::plan(packet, ip_proto::UDP).ok_or(DropReason::SegmentFailed)?;
    let headers = &packet.frame()[..cut.payload];
    for (index, piece) in cut.pieces(packet, size)?.enumerate() {
        let mut segment = assemble(packet, &[headers, piece], pool).ok_or(DropReason::NoBuffer)?;
        cut.finish(&mut segment, index, UDP_CHECKSUM_AT)?;
        out(segment);
    }
    Ok(())
}
