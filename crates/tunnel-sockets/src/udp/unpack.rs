// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From datagrams to packets for the switch: decapsulated, with metadata, segments of a train put together.

use portway_buf::{Batch, Class, Gso, HEADROOM, Offload, Packet, PoolRef, virtio};
use portway_tunnel::merge::Train;
use portway_tunnel::{Refusal, ecn, inner};
use portway_vport::abi::TunnelInfo;
use portway_vport::host;

use super::{Codec, UdpPort};
use crate::common::refused;
use crate::receive::{Datagram, Inbox, Layout, Message};

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
        let Some(mut message) = inbox.rest.take().or_else(|| inbox.next(pool)) else { break };
        let Datagram { len, piece, .. } = message.datagram;
        match message.layout {
            None if piece >= len => batch.extend(alone(port, message, pool)),
            None => {
                let (used, layout) = unpack(port, &mut message, pool, batch);
                inbox.layout = layout.or(inbox.layout);
                inbox.rest = go_on(message, used, pool);
            }
            Some(layout) if piece == layout.piece => {
                let (packet, rest, as_expected) = in_place(port, message, layout, pool);
                if !as_expected {
                    inbox.layout = None;
                }
                batch.extend(packet);
                inbox.rest = rest;
            }
            Some(layout) => {
                inbox.layout = None;
                message.gather(layout, pool);
                inbox.rest = go_on(message, 0, pool);
            }
        }
    }
    inbox.tidy(pool);
}

/// What is left of a message of which so many bytes have been dealt with.
fn go_on(mut message: Message, used: usize, pool: &mut PoolRef<'_>) -> Option<Message> {
    message.advance(used);
    if message.datagram.len == 0 {
        pool.give(message.packet);
        return None;
    }
    Some(message)
}

/// A datagram that is no train: a long one stays in its buffer.
fn alone<C: Codec>(port: &UdpPort<C>, mut message: Message, pool: &mut PoolRef<'_>) -> Option<Packet> {
    let (datagram, at) = (message.datagram, message.start);
    let bytes = message.bytes();
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

/// A train laid out like this: its first segments, as far as they belong together, become one packet where they lie. Returns also what is
/// left of it, and whether the first of them have the headers that were expected.
fn in_place<C: Codec>(
    port: &UdpPort<C>,
    mut message: Message,
    layout: Layout,
    pool: &mut PoolRef<'_>,
) -> (Option<Packet>, Option<Message>, bool) {
    let (datagram, at, pieces) = (message.datagram, message.start, message.pieces());
    let first = message.bytes();
    let (info, start) = match decapsulate(port, &datagram, first) {
        Ok(decapsulated) => decapsulated,
        Err(refusal) => {
            let refused = refused(first, refusal, pool);
            return (refused, go_on(message, layout.piece, pool), false);
        }
    };
    let mut train = Train::start(&first[start..])
        .filter(|train| (start, train.headers()) == (layout.start, layout.headers));
    let mut n = 1;
    while let Some(train) = &mut train
        && n < pieces
    {
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
    let Some(train) = train.filter(Train::is_long) else {
        let packet = single(port, &datagram, &info, start, &message.bytes()[start..], pool);
        return (packet, go_on(message, layout.piece, pool), train.is_some());
    };
    let (at, len) = (at + start, train.frame_len());
    // What is copied is the smaller part.
    let is_start = 2 * n < pieces;
    let (mut packet, rest) = if is_start {
        let frame = &message.packet.area_mut()[at..at + len];
        let packet = Class::for_frame(len).and_then(|class| pool.take(class)).map(|mut packet| {
            packet.set_frame(frame);
            packet
        });
        (0..n).for_each(|_| message.advance(layout.piece));
        let Some(packet) = packet else { return (None, Some(message), true) };
        (packet, Some(message))
    } else {
        let rest = if n < pieces { message.split(layout, n, pool) } else { None };
        let fits = message.packet.set_bounds(at, len);
        debug_assert!(fits, "these bytes were received into the buffer");
        (message.packet, rest)
    };
    let offload = train.finish(packet.frame_mut());
    packet.set_offload(offload);
    (with_metadata(port, packet, &info), rest, true)
}

/// Turns the first packet in a message into one for the switch, with those behind it that belong to one train; returns the bytes used, and
/// what such a train looks like.
fn unpack<C: Codec>(
    port: &UdpPort<C>,
    message: &mut Message,
    pool: &mut PoolRef<'_>,
    batch: &mut Batch,
) -> (usize, Option<Layout>) {
    let datagram = message.datagram;
    let bytes = message.bytes();
    let piece = datagram.piece.clamp(1, bytes.len().max(1));
    let (first, rest) = bytes.split_at_mut(piece.min(bytes.len()));
    let (info, start) = match decapsulate(port, &datagram, first) {
        Ok(decapsulated) => decapsulated,
        Err(refusal) => {
            batch.extend(refused(first, refusal, pool));
            return (piece, None);
        }
    };
    let (head, frame) = first.split_at(start);
    let train = if rest.is_empty() { None } else { Train::start(frame) };
    let Some(mut train) = train else {
        batch.extend(single(port, &datagram, &info, start, frame, pool));
        return (piece, None);
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
        return (piece, None);
    }
    let layout = Layout { piece, start, headers: train.headers() };
    let others = rest.chunks(piece).take(n);
    let used = piece + others.clone().map(<[u8]>::len).sum::<usize>();
    let payload = others.map(|next| &next[start + train.headers()..]);
    batch.extend(joined(port, &train, &info, frame, payload, pool));
    (used, Some(layout))
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
    let is_one = datagram.mtu != 0 && datagram.piece == datagram.len;
    if !is_one || datagram.len + datagram.overhead <= datagram.mtu {
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
