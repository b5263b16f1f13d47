// SPDX-License-Identifier: Apache-2.0 OR MIT
//! set(tcp), set(udp), set(sctp): the ports, with the checksum of the header that holds them.

use portway_buf::Packet;
use portway_flow::{Masked, Ports};
use portway_wire::checksum::{nonzero, sctp, update16};
use portway_wire::ethernet::ethertype;
use portway_wire::{ip_proto, ipv4, ipv6};

use crate::checksum::{Coverage, coverage};
use crate::compile::check_bits;
use crate::error::{Error, Failure};
use crate::headers::{be16, ipv4_transport, ipv6_transport, network, put16};

/// A protocol with ports that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
    Sctp,
}

impl Transport {
    const fn protocol(self) -> u8 {
        match self {
            Self::Tcp => ip_proto::TCP,
            Self::Udp => ip_proto::UDP,
            Self::Sctp => ip_proto::SCTP,
        }
    }

    /// Bytes of the fixed header.
    const fn header_len(self) -> usize {
        match self {
            Self::Tcp => 20,
            Self::Udp => 8,
            Self::Sctp => 12,
        }
    }
}

/// Values and masks, ready to apply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PortsRewrite {
    transport: Transport,
    value: [u16; 2],
    mask: [u16; 2],
}

impl PortsRewrite {
    pub(crate) fn new(transport: Transport, ports: &Masked<Ports>) -> Result<Self, Error> {
        let mask = ports.mask.unwrap_or(Ports { src: u16::MAX, dst: u16::MAX });
        let rewrite =
            Self { transport, value: [ports.value.src, ports.value.dst], mask: [mask.src, mask.dst] };
        for (value, mask) in rewrite.value.iter().zip(rewrite.mask) {
            check_bits(&value.to_be_bytes(), Some(&mask.to_be_bytes()))?;
        }
        Ok(rewrite)
    }

    pub(crate) fn apply(&self, packet: &mut Packet) -> Result<(), Failure> {
        let Some(l4) = self.locate(packet)? else { return Ok(()) };
        match self.transport {
            Transport::Tcp => match coverage(packet, l4) {
                Coverage::Whole => self.write_summed(&mut packet.frame_mut()[l4..], 16),
                Coverage::PseudoHeader => self.write(&mut packet.frame_mut()[l4..]),
            },
            Transport::Udp => {
                let whole = coverage(packet, l4) == Coverage::Whole;
                let header = &mut packet.frame_mut()[l4..];
                if whole && header[6..8] != [0, 0] {
                    self.write_summed(header, 6);
                    let sum = nonzero(u16::from_be_bytes([header[6], header[7]]));
                    put16(header, 6, sum);
                } else {
                    self.write(header);
                }
            }
            Transport::Sctp => self.write_sctp(&mut packet.frame_mut()[l4..]),
        }
        Ok(())
    }

    /// Offset of the layer-4 header. An IPv4 packet's is where its header ends, also in a later fragment, as in the kernel. `None`:
    /// see [`network`].
    fn locate(&self, packet: &Packet) -> Result<Option<usize>, Failure> {
        let frame = packet.frame();
        let (protocol, l4) = if let Some(l3) = network(packet, ethertype::IPV4, ipv4::MIN_LEN)? {
            (frame[l3 + 9], ipv4_transport(frame, l3))
        } else if let Some(l3) = network(packet, ethertype::IPV6, ipv6::LEN)? {
            ipv6_transport(frame, l3)
        } else {
            return Ok(None);
        };
        let whole = l4 + self.transport.header_len() <= frame.len();
        if protocol == self.transport.protocol() && whole { Ok(Some(l4)) } else { Err(Failure::NoHeader) }
    }

    fn ports(&self, header: &[u8]) -> [(u16, u16); 2] {
        [0, 1].map(|index| {
            let old = be16(header, index * 2).unwrap_or(0);
            (old, (old & !self.mask[index]) | self.value[index])
        })
    }

    fn write(&self, header: &mut [u8]) {
        let [(_, src), (_, dst)] = self.ports(header);
        put16(header, 0, src);
        put16(header, 2, dst);
    }

    fn write_summed(&self, header: &mut [u8], checksum_at: usize) {
        let mut checksum = be16(header, checksum_at).unwrap_or(0);
        for (old, new) in self.ports(header) {
            if old != new {
                checksum = update16(checksum, old, new);
            }
        }
        self.write(header);
        put16(header, checksum_at, checksum);
    }

    /// The CRC covers the whole rest of the frame. What was wrong about it stays wrong by the same bits.
    fn write_sctp(&self, packet: &mut [u8]) {
        let before = sctp(packet);
        self.write(packet);
        let change = (before ^ sctp(packet)).to_le_bytes();
        for (byte, change) in packet[8..12].iter_mut().zip(change) {
            *byte ^= change;
        }
    }
}
