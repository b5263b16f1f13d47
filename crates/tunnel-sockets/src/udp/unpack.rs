// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From datagrams to packets for the switch: decapsulated, with metadata, segments of a train put together.

use portway_buf::{Batch, Class, Gso, HEADROOM, Offload, Packet, PoolRef, virtio};
use portway_tunnel::merge::Train;
use portway_tunnel::{Refusal, ecn, inner};
use portway_vport::abi::TunnelInfo;
use portway_vport::host;

use super::{Codec, UdpPort};
use crate::common::refused;
use crate::receive::{Datagram, Inbox};

/// TCP's smallest segment that is worth assuming.
const MSS_MIN: usize = 536;

/// Appends what the sockets have, as far as `batch` has room.
pub(super) fn receive<C: Codec>(
    port: &UdpPort<C>,
    inbox: &mut Inbox,
    pool: &mut PoolRef<'_>,
    batch: &mut Batch,
) {
    inbox.look();
    while !batch.is_full() {
        let Some((datagram, at, bytes)) = inbox.current() else { break };
        let used = unpack(port, &datagram, &mut bytes[at..], pool, batch);
        inbox.consumed(at + used);
    }
}

/// Turns the first packet in `bytes`, the rest of a datagram, into one for the switch, with those behind it that belong to one train;
/// returns the bytes used.
fn unpack<C: Codec>(
    port: &UdpPort<C>,
    datagram: &Datagram,
    bytes: &mut [u8],
    pool: &mut PoolRef<'_>,
    batch: &mut Batch,
) -> usize {
    let piece = datagram.piece.clamp(1, bytes.len().max(1));
    let (first, rest) = bytes.split_at_mut(piece.min(bytes.len()));
    let (info, start) = match decapsulate(port, datagram, first) {
        Ok(decapsulated) => decapsulated,
        Err(refusal) => {
            batch.extend(refused(first, refusal, pool));
            return piece;
        }
    };
    let (head, frame) = first.split_at(start);
    let train = if rest.is_empty() { None } else { Train::start(frame) };
    let Some(mut train) = train else {
        batch.extend(single(port, datagram, &info, start, frame, pool));
        return piece;
    };
    let mut n = 0;
    for next in rest.chunks_mut(piece) {
        // Equal headers mean equal metadata: they need not be read again.
        let follows = next.len() > start
            && next[..start] == *head
            && ecn::decapsulate(info.tos, &mut next[start..]).is_ok()
            && train.add(frame, &next[start..]);
        if !follows {
            break;
        }
        n += 1;
    }
    if !train.is_long() {
        batch.extend(single(port, datagram, &info, start, frame, pool));
        return piece;
    }
    let others = rest.chunks(piece).take(n);
    let used = piece + others.clone().map(<[u8]>::len).sum::<usize>();
    let payload = others.map(|next| &next[start + train.headers()..]);
    batch.extend(joined(port, &train, &info, frame, payload, pool));
    used
}

/// What the headers say, and where the frame starts; congestion marks are carried over to it.
fn decapsulate<C: Codec>(
    port: &UdpPort<C>,
    datagram: &Datagram,
    bytes: &mut [u8],
) -> Result<(TunnelInfo, usize), Refusal> {
    let mut info = datagram.info;
    info.tp_dst = port.port;
    let start = port.codec.decode(bytes, &mut info)?;
    let frame = bytes.get_mut(start..).unwrap_or_default();
    if frame.len() < inner::ETH_HLEN {
        return Err(Refusal::BadHeader);
    }
    if let Some(fixed) = &port.fixed
        && (info.src, info.id) != (fixed.dst, fixed.id)
    {
        return Err(Refusal::BadHeader);
    }
    ecn::decapsulate(info.tos, frame)?;
    Ok((info, start))
}

fn single<C: Codec>(
    port: &UdpPort<C>,
    datagram: &Datagram,
    info: &TunnelInfo,
    start: usize,
    frame: &[u8],
    pool: &mut PoolRef<'_>,
) -> Option<Packet> {
    let mut packet = pool.take(Class::for_frame(frame.len())?)?;
    packet.set_frame(frame);
    if let Some(partial_csum) = inner::partial_checksum(frame) {
        let gso = super_packet(datagram, start, frame);
        packet.set_offload(Offload { partial_csum: Some(partial_csum), gso });
    }
    if port.fixed.is_none() {
        host::set_tunnel(&mut packet, info).ok()?;
    }
    Some(packet)
}

/// A TCP segment that is longer than any packet on the way can have been: the sender is on this host and left it to a device to cut it. How
/// long its pieces should be is not told, so they are as long as fits the device that it came by.
fn super_packet(datagram: &Datagram, start: usize, frame: &[u8]) -> Option<Gso> {
    if datagram.piece != datagram.len || datagram.len + datagram.overhead <= datagram.mtu {
        return None;
    }
    let headers = inner::tcp_headers(frame)?;
    let mss = datagram.mtu.saturating_sub(datagram.overhead + start + headers).max(MSS_MIN);
    let gso_type = if inner::layers(frame)?.ipv6 { virtio::gso::TCPV6 } else { virtio::gso::TCPV4 };
    (frame.len() > headers + mss).then_some(Gso { gso_type, size: mss as u16 })
}

/// A train as one super-packet: its first frame and the others' payload.
fn joined<'d, C: Codec>(
    port: &UdpPort<C>,
    train: &Train,
    info: &TunnelInfo,
    frame: &'d [u8],
    others: impl Iterator<Item = &'d [u8]>,
    pool: &mut PoolRef<'_>,
) -> Option<Packet> {
    let len = train.frame_len();
    let mut packet = pool.take(Class::for_frame(len)?)?;
    if !packet.set_bounds(HEADROOM, len) {
        return None;
    }
    let all = packet.frame_mut();
    let mut at = 0;
    for part in std::iter::once(frame).chain(others) {
        all[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    let offload = train.finish(all);
    packet.set_offload(offload);
    if port.fixed.is_none() {
        host::set_tunnel(&mut packet, info).ok()?;
    }
    Some(packet)
}
