// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Frames for tests, with right lengths and checksums.

use std::net::Ipv4Addr;

use portway_flow::MacAddr;

/// An Ethernet frame with an IPv4 UDP datagram in it, field by field.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Source.
    pub src: MacAddr,
    /// Destination.
    pub dst: MacAddr,
    /// TCI of an 802.1Q tag.
    pub vlan: Option<u16>,
    /// IPv4 source.
    pub ip_src: Ipv4Addr,
    /// IPv4 destination.
    pub ip_dst: Ipv4Addr,
    /// UDP source and destination.
    pub ports: (u16, u16),
    /// Payload.
    pub payload: Vec<u8>,
}

impl Default for Frame {
    fn default() -> Self {
        Self {
            src: MacAddr([2, 0, 0, 0, 0, 1]),
            dst: MacAddr([2, 0, 0, 0, 0, 2]),
            vlan: None,
            ip_src: Ipv4Addr::new(10, 0, 0, 1),
            ip_dst: Ipv4Addr::new(10, 0, 0, 2),
            ports: (1000, 2000),
            payload: vec![0; 18],
        }
    }
}

impl Frame {
    /// From one host to another: the last byte of their Ethernet addresses.
    pub fn between(src: u8, dst: u8) -> Self {
        Self {
            src: MacAddr([2, 0, 0, 0, 0, src]),
            dst: MacAddr([2, 0, 0, 0, 0, dst]),
            ip_src: Ipv4Addr::new(10, 0, 0, src),
            ip_dst: Ipv4Addr::new(10, 0, 0, dst),
            ..Self::default()
        }
    }

    /// To everybody.
    pub fn broadcast(src: u8) -> Self {
        Self { dst: MacAddr::BROADCAST, ..Self::between(src, 255) }
    }

    /// Behind an 802.1Q tag.
    pub fn tagged(mut self, tci: u16) -> Self {
        self.vlan = Some(tci);
        self
    }

    /// With these UDP ports.
    pub fn with_ports(mut self, src: u16, dst: u16) -> Self {
        self.ports = (src, dst);
        self
    }

    /// With a payload of `len` bytes.
    pub fn with_payload(mut self, len: usize) -> Self {
        self.payload = vec![0xa5; len];
        self
    }

    /// The bytes. The UDP checksum is 0, which says that there is none (RFC 768).
    pub fn bytes(&self) -> Vec<u8> {
        let mut frame = [self.dst.0, self.src.0].concat();
        if let Some(tci) = self.vlan {
            frame.extend([0x81, 0x00]);
            frame.extend(tci.to_be_bytes());
        }
        frame.extend([8, 0]);
        let udp_len = 8 + self.payload.len() as u16;
        let mut ip = vec![0x45, 0];
        ip.extend((20 + udp_len).to_be_bytes());
        ip.extend([0, 1, 0, 0, 64, 17, 0, 0]);
        ip.extend(self.ip_src.octets());
        ip.extend(self.ip_dst.octets());
        let sum =
            ip.chunks(2).fold(0u32, |sum, pair| sum + u32::from(u16::from_be_bytes([pair[0], pair[1]])));
        let sum = (sum & 0xffff) + (sum >> 16);
        let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
        ip[10..12].copy_from_slice(&checksum.to_be_bytes());
        frame.extend(ip);
        frame.extend(self.ports.0.to_be_bytes());
        frame.extend(self.ports.1.to_be_bytes());
        frame.extend(udp_len.to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(&self.payload);
        frame
    }
}

impl From<Frame> for Vec<u8> {
    fn from(frame: Frame) -> Self {
        frame.bytes()
    }
}
