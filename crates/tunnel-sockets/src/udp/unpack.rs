// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From datagrams to packets for the switch: decapsulated, with metadata, segments of a train put together.

use portway_buf::{Batch, Class, Gso, HEADROOM, Offload, Packet, PoolRef, virtio};
use portway_tunnel::merge::Train;
use portway_tunnel::{Refusal, ecn, inner};
use portway_vport::abi::TunnelInfo;
use portway_vport::host;

use super::{Codec, UdpPort};
use crate::common::refused;
use crate::receive::{Datagram, Inbox, Layout, Message, Rest};

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
        if let Some(mut rest) = inbox.rest.take() {
            let used = unpack(port, inbox, &mut rest, pool, batch);
            rest.bytes.start += used;
            if rest.bytes.is_empty() {
                pool.give(rest.packet);
            } else {
                inbox.rest = Some(rest);
            }
            continue;
        }
        let Some(message) = inbox.next(pool) else { break };
        let (packet, rest) = take(port, message, pool);
        if packet.is_none() && rest.is_some() {
            // What did not lie as expected will not the next time.
            inbox.layout = None;
        }
        batch.extend(packet);
        inbox.rest = rest;
    }
    inbox.tidy(pool);
}

/// Takes a datagram that need not be copied: one that is alone, or a train of which the segments' payload lies side by side. Returns
/// also what is left of it.
fn take<C: Codec>(
    port: &UdpPort<C>,
    message: Message<'_>,
    pool: &mut PoolRef<'_>,
) -> (Option<Packet>, Option<Rest>) {
    let Datagram { len, piece, .. } = message.datagram;
    match message.layout {
        None if piece >= len => (alone(port, message, pool), None),
        Some(layout) if piece == layout.piece => in_place(port, message, layout, pool),
        None | Some(_) => (None, message.rest(pool)),
    }
}

/// A datagram that is no train: a long one stays in its buffer.
fn alone<C: Codec>(port: &UdpPort<C>, mut message: Message<'_>, pool: &mut PoolRef<'_>) -> Option<Packet> {
    let (datagram, at) = (message.datagram, message.start);
    let bytes = &mut message.packet.area_mut()[at..at + datagram.len];
    let (info, start) = match decapsulate(port, &datagram, bytes) {
        Ok(decapsulated) => decapsulated,
        Err(refusal) => {
            let refused = refused(bytes, refusal, pool);
            pool.give(message.packet);
            return refused;
        }
    };
    let frame = &bytes[start..];
    let offload = left_to_do(&datagram, start, frame);
    let mut packet = if Class::for_frame(frame.len()) == Some(Class::Small) {
        let small = pool.take(Class::Small).map(|mut packet| {
            packet.set_frame(frame);
            packet
        });
        pool.give(message.packet);
        small?
    } else {
        let fits = message.packet.set_bounds(at + start, datagram.len - start);
        debug_assert!(fits, "these bytes were received into the buffer");
        message.packet
    };
    packet.set_offload(offload);
    with_metadata(port, packet, &info)
}

/// A train laid out like this: its first segments, as far as they belong together, become one packet where they lie.
fn in_place<C: Codec>(
    port: &UdpPort<C>,
    mut message: Message<'_>,
    layout: Layout,
    pool: &mut PoolRef<'_>,
) -> (Option<Packet>, Option<Rest>) {
    let (datagram, at) = (message.datagram, message.start);
    let first = &mut message.packet.area_mut()[at..at + layout.piece];
    let Ok((info, start)) = decapsulate(port, &datagram, first) else {
        return (None, message.rest(pool));
    };
    let train = Train::start(&first[start..])
        .filter(|train| (start, train.headers()) == (layout.start, layout.headers));
    let Some(mut train) = train else { return (None, message.rest(pool)) };
    let (mut n, pieces) = (1, message.pieces());
    while n < pieces {
        let (first, lead, payload) = message.piece(layout, n);
        // Equal headers mean equal metadata: they need not be read again.
        let follows = lead.len() == layout.lead()
            && lead[..start] == first[..start]
            && ecn::decapsulate(info.tos, &mut lead[start..]).is_ok()
            && train.add(&first[start..], &lead[start..], payload);
        if !follows {
            break;
        }
        n += 1;
    }
    if !train.is_long() {
        return (None, message.rest(pool));
    }
    let rest = if n < pieces { message.gather(layout, n, pool) } else { None };
    let mut packet = message.packet;
    let fits = packet.set_bounds(at + start, train.frame_len());
    debug_assert!(fits, "these bytes were received into the buffer");
    let offload = train.finish(packet.frame_mut());
    packet.set_offload(offload);
    (with_metadata(port, packet, &info), rest)
}

/// Turns the first packet in `rest` into one for the switch, with those behind it that belong to one train; returns the bytes used.
fn unpack<C: Codec>(
    port: &UdpPort<C>,
    inbox: &mut Inbox,
    rest: &mut Rest,
    pool: &mut PoolRef<'_>,
    batch: &mut Batch,
) -> usize {
    let (datagram, range) = (rest.datagram, rest.bytes.clone());
    let bytes = &mut rest.packet.area_mut()[range];
    let piece = datagram.piece.clamp(1, bytes.len().max(1));
    let (first, rest) = bytes.split_at_mut(piece.min(bytes.len()));
    let (info, start) = match decapsulate(port, &datagram, first) {
        Ok(decapsulated) => decapsulated,
        Err(refusal) => {
            batch.extend(refused(first, refusal, pool));
            return piece;
        }
    };
    let (head, frame) = first.split_at(start);
    let train = if rest.is_empty() { None } else { Train::start(frame) };
    let Some(mut train) = train else {
        batch.extend(single(port, &datagram, &info, start, frame, pool));
        return piece;
    };
    let mut n = 0;
    for next in rest.chunks_mut(piece) {
        let follows = next.len() > start + train.headers()
            && next[..start] == *head
            && ecn::decapsulate(info.tos, &mut next[start..]).is_ok();
        let (headers, payload) =
            next[start.min(next.len())..].split_at_checked(train.headers()).unwrap_or_default();
        if !follows || !train.add(frame, headers, payload) {
            break;
        }
        n += 1;
    }
    if !train.is_long() {
        batch.extend(single(port, &datagram, &info, start, frame, pool));
        return piece;
    }
    inbox.layout = Some(Layout { piece, start, headers: train.headers() });
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
    packet.set_offload(left_to_do(datagram, start, frame));
    with_metadata(port, packet, info)
}

/// The packet with its metadata, if it is to have any.
fn with_metadata<C: Codec>(port: &UdpPort<C>, mut packet: Packet, info: &TunnelInfo) -> Option<Packet> {
    if port.fixed.is_none() {
        host::set_tunnel(&mut packet, info).ok()?;
    }
    Some(packet)
}

/// What the sender, on this host, has left to a device that never came.
fn left_to_do(datagram: &Datagram, start: usize, frame: &[u8]) -> Offload {
    match inner::partial_checksum(frame) {
        Some(partial_csum) => {
            Offload { partial_csum: Some(partial_csum), gso: super_packet(datagram, start, frame) }
        }
        None => Offload::default(),
    }
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
    with_metadata(port, packet, info)
}
