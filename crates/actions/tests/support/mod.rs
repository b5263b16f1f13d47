// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Frames to act on, a place to run programs, and a checker that knows nothing of the crate: it sums bytes one pair at a time.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use portway_actions::{Effect, Environment, Limits, Program, Verdict, execute};
use portway_buf::{DropCounts, DropReason, Offload, Packet, Pool};
use portway_flow::{Action, FlowMask};

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMPV6: u8 = 58;
pub const SCTP: u8 = 132;

/// A frame to build.
#[derive(Clone, Debug)]
pub struct Frame {
    pub tags: Vec<(u16, u16)>,
    pub ipv6: bool,
    pub src: [u8; 16],
    pub dst: [u8; 16],
    pub tos: u8,
    pub ttl: u8,
    pub id: u16,
    /// Bits of IPv4's fragment field.
    pub fragment: u16,
    /// Words of IPv4 options.
    pub options: usize,
    /// Extension headers: (type, units of eight bytes behind the first eight).
    pub extensions: Vec<(u8, u8)>,
    pub protocol: u8,
    pub ports: (u16, u16),
    pub tcp_flags: u8,
    pub no_udp_checksum: bool,
    pub payload: Vec<u8>,
}

impl Default for Frame {
    fn default() -> Self {
        let mut dst = [1; 16];
        dst[..4].copy_from_slice(&[10, 0, 0, 2]);
        let mut src = [2; 16];
        src[..4].copy_from_slice(&[10, 0, 0, 1]);
        Self {
            tags: vec![],
            ipv6: false,
            src,
            dst,
            tos: 0,
            ttl: 64,
            id: 0x1234,
            fragment: 0,
            options: 0,
            extensions: vec![],
            protocol: UDP,
            ports: (1000, 2000),
            tcp_flags: 0x18,
            no_udp_checksum: false,
            payload: b"payload!".to_vec(),
        }
    }
}

/// Ones' complement sum, folded, one pair of bytes at a time.
pub fn sum(parts: &[&[u8]]) -> u16 {
    let mut total = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            total += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            total = (total & 0xffff) + (total >> 16);
        }
    }
    total as u16
}

/// CRC32c, one bit at a time, of an SCTP packet with its checksum taken as zero.
pub fn crc32c(packet: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for (at, byte) in packet.iter().enumerate() {
        crc ^= u32::from(if (8..12).contains(&at) { 0 } else { *byte });
        for _ in 0..8 {
            crc = if crc & 1 != 0 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

impl Frame {
    fn transport(&self) -> Vec<u8> {
        let (src, dst) = (self.ports.0.to_be_bytes(), self.ports.1.to_be_bytes());
        let mut bytes = match self.protocol {
            TCP => [&src[..], &dst, &[0, 0, 3, 0xe8, 0, 0, 0, 0, 0x50, self.tcp_flags, 0x20, 0, 0, 0, 0, 0]]
                .concat(),
            UDP => [&src[..], &dst, &((8 + self.payload.len()) as u16).to_be_bytes(), &[0, 0]].concat(),
            SCTP => [&src[..], &dst, &[0, 0, 0, 9, 0, 0, 0, 0]].concat(),
            _ => vec![128, 0, 0, 0, 0x12, 0x34, 0, 1],
        };
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// Offset of the network and of the layer-4 header.
    pub fn offsets(&self) -> (usize, usize) {
        let l3 = 14 + 4 * self.tags.len();
        let extensions: usize = self.extensions.iter().map(|(_, more)| 8 + 8 * usize::from(*more)).sum();
        let l4 = if self.ipv6 { l3 + 40 + extensions } else { l3 + 20 + 4 * self.options };
        (l3, l4)
    }

    fn network(&self, payload_len: usize) -> Vec<u8> {
        if self.ipv6 {
            let (_, l4) = self.offsets();
            let extensions_len = l4 - self.offsets().0 - 40;
            let first = self.extensions.first().map_or(self.protocol, |(kind, _)| *kind);
            let len = ((extensions_len + payload_len) as u16).to_be_bytes();
            let mut bytes = vec![0x60 | self.tos >> 4, self.tos << 4, 0, 0, len[0], len[1], first, self.ttl];
            bytes.extend_from_slice(&self.src);
            bytes.extend_from_slice(&self.dst);
            for (at, (kind, more)) in self.extensions.iter().enumerate() {
                let next = self.extensions.get(at + 1).map_or(self.protocol, |(kind, _)| *kind);
                let mut header = vec![0; 8 + 8 * usize::from(*more)];
                (header[0], header[1]) = (next, *more);
                if *kind == 44 {
                    header[3] = 1; // the first fragment of more
                }
                bytes.extend(header);
            }
            return bytes;
        }
        let header = 20 + 4 * self.options;
        let len = ((header + payload_len) as u16).to_be_bytes();
        let (id, fragment) = (self.id.to_be_bytes(), self.fragment.to_be_bytes());
        let mut bytes = vec![0x40 | (header / 4) as u8, self.tos, len[0], len[1], id[0], id[1]];
        bytes.extend_from_slice(&[fragment[0], fragment[1], self.ttl, self.protocol, 0, 0]);
        bytes.extend_from_slice(&self.src[..4]);
        bytes.extend_from_slice(&self.dst[..4]);
        bytes.resize(header, 1);
        let checksum = (!sum(&[&bytes])).to_be_bytes();
        bytes[10..12].copy_from_slice(&checksum);
        bytes
    }

    fn pseudo(&self, len: usize) -> u16 {
        let addresses = if self.ipv6 { 16 } else { 4 };
        let rest = [0, 0, (len >> 8) as u8, len as u8, 0, self.protocol];
        sum(&[&self.src[..addresses], &self.dst[..addresses], &rest])
    }

    /// Where the checksum is in the layer-4 header.
    pub fn checksum_at(&self) -> usize {
        match self.protocol {
            TCP => 16,
            UDP => 6,
            SCTP => 8,
            _ => 2,
        }
    }

    /// The bytes, every checksum right.
    pub fn bytes(&self) -> Vec<u8> {
        let mut transport = self.transport();
        let at = self.checksum_at();
        if self.protocol == SCTP {
            let crc = crc32c(&transport).to_le_bytes();
            transport[at..at + 4].copy_from_slice(&crc);
        } else if !(self.protocol == UDP && self.no_udp_checksum) {
            let total = sum(&[&self.pseudo(transport.len()).to_be_bytes(), &transport]);
            let checksum = if total == 0xffff { 0xffff } else { !total };
            transport[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
        }
        self.assemble(&transport)
    }

    fn assemble(&self, transport: &[u8]) -> Vec<u8> {
        let mut bytes = vec![2, 0, 0, 0, 0xaa, 2, 2, 0, 0, 0, 0xaa, 1];
        for (tpid, tci) in &self.tags {
            bytes.extend_from_slice(&tpid.to_be_bytes());
            bytes.extend_from_slice(&tci.to_be_bytes());
        }
        bytes.extend_from_slice(if self.ipv6 { &[0x86, 0xdd] } else { &[8, 0] });
        bytes.extend(self.network(transport.len()));
        bytes.extend_from_slice(transport);
        bytes
    }

    /// The packet as a guest hands it over: only the pseudo header is summed.
    pub fn partial(&self) -> Packet {
        let mut transport = self.transport();
        let pseudo = self.pseudo(transport.len()).to_be_bytes();
        let at = self.checksum_at();
        transport[at..at + 2].copy_from_slice(&pseudo);
        let mut packet = Packet::copied_from(&self.assemble(&transport)).unwrap();
        let l4 = self.offsets().1 as u16;
        packet.set_offload(Offload { partial_csum: Some((l4, at as u16)), gso: None });
        packet
    }
}

/// Checks every checksum of a frame; says what is wrong. Fragments' layer-4 checksums cannot be checked.
pub fn verify(frame: &[u8]) -> Result<(), String> {
    let mut l3 = 12;
    while matches!(frame[l3..l3 + 2], [0x81, 0] | [0x88, 0xa8]) {
        l3 += 4;
    }
    let ipv6 = frame[l3..l3 + 2] == [0x86, 0xdd];
    l3 += 2;
    let (protocol, l4, addresses, fragment) = if ipv6 {
        let (mut next, mut at, mut fragment) = (frame[l3 + 6], l3 + 40, false);
        while matches!(next, 0 | 43 | 44 | 60) {
            fragment |= next == 44;
            let len = if next == 44 { 8 } else { 8 + 8 * usize::from(frame[at + 1]) };
            next = frame[at];
            at += len;
        }
        (next, at, &frame[l3 + 8..l3 + 40], fragment)
    } else {
        let l4 = l3 + usize::from(frame[l3] & 15) * 4;
        if sum(&[&frame[l3..l4]]) != 0xffff {
            return Err("IPv4 header checksum".to_owned());
        }
        let fragment = (u16::from(frame[l3 + 6]) << 8 | u16::from(frame[l3 + 7])) & 0x3fff != 0;
        (frame[l3 + 9], l4, &frame[l3 + 12..l3 + 20], fragment)
    };
    let data = &frame[l4..];
    if fragment {
        return Ok(());
    }
    if protocol == SCTP {
        let right = crc32c(data).to_le_bytes() == data[8..12];
        return if right { Ok(()) } else { Err("SCTP checksum".to_owned()) };
    }
    if protocol == UDP && data[6..8] == [0, 0] {
        return Ok(());
    }
    let len = (data.len() as u32).to_be_bytes();
    let total = sum(&[addresses, &len, &[0, protocol], data]);
    if total == 0xffff {
        Ok(())
    } else {
        Err(format!("layer-4 checksum of protocol {protocol}: {total:04x}"))
    }
}

/// What a test sets.
pub struct Scripted {
    pub random: u32,
    pub metered: Vec<(u32, usize)>,
    pub verdict: Verdict,
}

/// A place to run programs.
pub struct Rig {
    pub pool: Pool,
    pub drops: DropCounts,
    pub services: Scripted,
}

impl Default for Rig {
    fn default() -> Self {
        let services = Scripted { random: 0, metered: vec![], verdict: Verdict::Pass };
        Self { pool: Pool::new(), drops: DropCounts::default(), services }
    }
}

pub const RECIRCULATIONS_MAX: u16 = 4;

struct Running<'r> {
    rig: &'r mut Rig,
    effects: Vec<Effect>,
}

impl Environment for Running<'_> {
    fn pool(&mut self) -> &mut Pool {
        &mut self.rig.pool
    }

    fn carry_out(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    fn count_drop(&mut self, reason: DropReason) {
        self.rig.drops.add(reason, 1);
    }

    fn random(&mut self) -> u32 {
        self.rig.services.random
    }

    fn fragment_id(&mut self) -> u32 {
        7
    }

    fn meter(&mut self, id: u32, packet_len: usize) -> Verdict {
        self.rig.services.metered.push((id, packet_len));
        self.rig.services.verdict
    }

    fn recirculation_limit(&self) -> u16 {
        RECIRCULATIONS_MAX
    }
}

impl Rig {
    /// Compiles the list for exactly this packet.
    pub fn compile(actions: &[Action], packet: &mut Packet) -> Result<Program, portway_actions::Error> {
        let key = portway_flow::extract(packet).expect("the packet has a key");
        Program::compile(actions, &key, &FlowMask::exact(), &Limits::default())
    }

    /// Runs the list on the packet.
    pub fn run(&mut self, actions: &[Action], mut packet: Packet) -> Vec<Effect> {
        let program = Self::compile(actions, &mut packet).expect("the list compiles");
        self.execute(&program, packet)
    }

    pub fn execute(&mut self, program: &Program, packet: Packet) -> Vec<Effect> {
        let mut running = Running { rig: self, effects: Vec::new() };
        let _ = execute(program, packet, &mut running);
        running.effects
    }

    /// Runs the list on a frame, and gives the frames that go out, with their ports.
    pub fn frames(&mut self, actions: &[Action], frame: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let effects = self.run(actions, Packet::copied_from(frame).unwrap());
        outputs(effects).into_iter().map(|(port, packet)| (port, packet.frame().to_vec())).collect()
    }

    /// The drops counted, by reason, since the last call.
    pub fn take_drops(&mut self) -> Vec<(DropReason, u64)> {
        self.drops.take().iter().filter(|(_, count)| *count != 0).collect()
    }
}

/// The outputs among `effects`.
pub fn outputs(effects: Vec<Effect>) -> Vec<(u32, Packet)> {
    effects
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Output { port, packet } => Some((port, packet)),
            Effect::Recirculate { .. } | Effect::Upcall { .. } | Effect::Psample { .. } => None,
        })
        .collect()
}
