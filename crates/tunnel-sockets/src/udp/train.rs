// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From packets to datagrams: what goes to one peer with equal outer headers and equal length goes with one system call, and the segments
//! of TCP super-packets are made on the way, their payload sent from where it lies.

use arrayvec::ArrayVec;
use portway_buf::Packet;
use portway_tunnel::cut::{Cut, HEADERS_MAX};
use portway_tunnel::{HEADER_MAX, Header, ecn, inner};
use portway_vport::abi::{TunnelInfo, TxReport};
use portway_vport::ops::Errno;

use super::{Codec, UdpPort, slot};
use crate::send::{Outbox, Outer, Piece, Ports, SLOTS, TRAIN_BYTES, TRAIN_MAX, count};

/// Datagrams that go as a train though it has checksums that were not asked for: shorter ones gain little.
const TRAIN_WITHOUT_CHECKSUM: usize = 4;

/// So many datagrams behind such a train have checksums, too. A receiver may have a queue for each kind, as ours has, and what goes to
/// both in turn arrives out of order.
const STAYS_WITH_CHECKSUM: u32 = 1024;

/// What a worker sends with.
pub(super) struct Sender {
    outlet: Outlet,
    /// Headers of the segments of one train.
    heads: Box<[u8; TRAIN_MAX * (HEADER_MAX + HEADERS_MAX)]>,
}

struct Outlet {
    outbox: Outbox,
    /// How many datagrams of a source port still have checksums that were not asked for.
    with_checksum: [u32; SLOTS],
}

type Pieces<'p> = ArrayVec<Piece<'p>, TRAIN_MAX>;

/// How far a batch has been sent.
#[derive(Clone, Copy, Default)]
struct Place {
    packet: usize,
    /// The packet's next segment.
    segment: usize,
}

/// What the datagrams of a train have in common.
struct Common {
    info: TunnelInfo,
    outer: Outer,
    header: Header,
}

impl Sender {
    pub(super) fn open(ports: &mut Ports) -> Result<Self, Errno> {
        Ok(Self {
            outlet: Outlet { outbox: Outbox::open(ports)?, with_checksum: [0; SLOTS] },
            heads: Box::new([0; TRAIN_MAX * (HEADER_MAX + HEADERS_MAX)]),
        })
    }

    /// Sends all packets. One of which a segment could not be sent counts as not sent.
    pub(super) fn send<C: Codec>(&mut self, port: &UdpPort<C>, packets: &[Packet], report: &mut TxReport) {
        let (mut place, mut failed) = (Place::default(), None);
        while let Some(packet) = packets.get(place.packet) {
            let Some(common) = port.common(packet, report) else {
                place = Place { packet: place.packet + 1, segment: 0 };
                continue;
            };
            let mut pieces = Pieces::new();
            let next = port.gather(&common, packets, place, &mut self.heads[..], &mut pieces);
            let is_sent = self.outlet.send_train::<C>(&common.outer, &pieces);
            for piece in &pieces {
                let result = if is_sent { Ok(()) } else { self.outlet.send_alone(port, &common, piece) };
                failed = failed.or(result.err());
                if piece.is_last {
                    count(failed.take().map_or(Ok(()), Err), &packets[place.packet], report);
                    place.packet += 1;
                }
            }
            place = next;
        }
    }
}

impl Outlet {
    /// False: one by one, then.
    fn send_train<C: Codec>(&mut self, outer: &Outer, pieces: &[Piece<'_>]) -> bool {
        let stays = &mut self.with_checksum[outer.slot];
        let least = if outer.checksum || *stays != 0 { 2 } else { TRAIN_WITHOUT_CHECKSUM };
        let is_sent =
            pieces.len() >= least && !needs_raw::<C>(outer) && self.outbox.send(outer, pieces, true).is_ok();
        if is_sent && !outer.checksum {
            *stays = STAYS_WITH_CHECKSUM;
        }
        is_sent
    }

    fn send_alone<C: Codec>(
        &mut self,
        port: &UdpPort<C>,
        common: &Common,
        piece: &Piece<'_>,
    ) -> Result<(), Errno> {
        let outer = &common.outer;
        let stays = &mut self.with_checksum[outer.slot];
        if !outer.checksum && *stays != 0 && !needs_raw::<C>(outer) {
            *stays -= 1;
            self.outbox.send(outer, std::slice::from_ref(piece), true)
        } else if outer.is_for_raw(C::SENDS_TTL_ZERO) {
            self.outbox.send_raw(outer, Some(port.destination_port(&common.info)), piece)
        } else {
            self.outbox.send(outer, std::slice::from_ref(piece), outer.checksum)
        }
    }
}

impl<C: Codec> UdpPort<C> {
    /// What goes for all datagrams of the train that starts with `packet`. `None`: it is not sent, and has been counted.
    fn common(&self, packet: &Packet, report: &mut TxReport) -> Option<Common> {
        let mut info = TunnelInfo::default();
        if !self.metadata(packet, &mut info) {
            if C::COUNTS_NO_TUNNEL {
                report.dropped += 1;
                report.no_tunnel += 1;
            } else {
                report.ignored += 1;
            }
            return None;
        }
        if self.is_refused(packet) {
            report.errors += 1;
            return None;
        }
        let (outer, header) = (self.outer(&info, packet), self.codec.encode(&info));
        Some(Common { info, outer, header })
    }

    /// Whether no tunnel takes the frame: its headers are cut, it is too deep in tunnels already, or it is not a super-packet of the
    /// kind that the switch leaves to the port.
    fn is_refused(&self, packet: &Packet) -> bool {
        let (frame, offload) = (packet.frame(), packet.offload());
        C::REFUSES_CUT_FRAMES && ecn::is_cut(frame)
            || inner::depth(frame, self.port) == inner::DEPTH_MAX
            || offload.gso.is_some() && Cut::plan(frame, offload).is_none()
    }

    /// Whether a packet may go in one train with others.
    fn may_follow(&self, common: &Common, packet: &Packet) -> bool {
        let mut info = TunnelInfo::default();
        slot(packet) == common.outer.slot
            && packet.mark() == common.outer.mark
            && self.metadata(packet, &mut info)
            && info == common.info
            && ecn::encapsulate(info.tos, packet.frame()) == common.outer.tos
            && !self.is_refused(packet)
    }

    /// Collects the train that starts at `place`, and returns the place behind it. At most the last datagram is shorter than the others.
    fn gather<'p>(
        &self,
        common: &'p Common,
        packets: &'p [Packet],
        mut place: Place,
        mut room: &'p mut [u8],
        pieces: &mut Pieces<'p>,
    ) -> Place {
        let header = common.header.bytes();
        let (mut all, mut full) = (0, 0);
        let mut ended = false;
        for packet in &packets[place.packet..] {
            if ended || !pieces.is_empty() && !self.may_follow(common, packet) {
                break;
            }
            let frame = packet.frame();
            let cut = Cut::plan(frame, packet.offload());
            let (segments, headers) = cut.map_or((1, 0), |cut| (cut.segments(), cut.headers()));
            while place.segment < segments {
                let body = cut.map_or(frame, |cut| &frame[cut.payload(place.segment)]);
                let len = header.len() + headers + body.len();
                full = if pieces.is_empty() { len } else { full };
                let fits = pieces.is_empty() || len <= full && all + len <= TRAIN_BYTES && !pieces.is_full();
                if ended || !fits {
                    return place;
                }
                let head = cut.map_or(header, |cut| {
                    let (head, rest) = std::mem::take(&mut room).split_at_mut(header.len() + headers);
                    room = rest;
                    head[..header.len()].copy_from_slice(header);
                    cut.write_headers(frame, place.segment, &mut head[header.len()..]);
                    head
                });
                place.segment += 1;
                pieces.push(Piece { head, body, is_last: place.segment == segments });
                (all, ended) = (all + len, len < full);
            }
            place = Place { packet: place.packet + 1, segment: 0 };
        }
        place
    }
}

/// Whether only a header of our own can say what is asked for: a time to live of 0.
fn needs_raw<C: Codec>(outer: &Outer) -> bool {
    outer.ttl == 0 && outer.is_for_raw(C::SENDS_TTL_ZERO)
}
