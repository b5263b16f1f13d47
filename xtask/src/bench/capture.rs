// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The input of the in-memory rows: a capture file of UDP flows, one smallest frame each.

use anyhow::{Context, Result};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Where every frame goes: one station, so that a learning switch knows it from one address.
const DESTINATION: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The station that sends them.
const SOURCE: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// 64 bytes on the wire: the frame check sequence is not in a capture.
const FRAME_BYTES: usize = 60;
const ETHERNET_BYTES: usize = 14;
const IPV4_BYTES: usize = 20;

/// Writes a pcap file with `flows` distinct UDP flows to 11.0.0.1 port 80; source address and port differ per flow.
pub(super) fn write(path: &Path, flows: u32) -> Result<()> {
    let file = File::create(path).with_context(|| path.display().to_string())?;
    let mut file = BufWriter::new(file);
    // Magic for microseconds, version 2.4, no zone, no accuracy, longest frame, Ethernet.
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 1] {
        file.write_all(&word.to_le_bytes())?;
    }
    for flow in 0..flows {
        let frame = frame(flow);
        for word in [0, flow % 1_000_000, FRAME_BYTES as u32, FRAME_BYTES as u32] {
            file.write_all(&word.to_le_bytes())?;
        }
        file.write_all(&frame)?;
    }
    file.flush().with_context(|| path.display().to_string())
}

fn frame(flow: u32) -> [u8; FRAME_BYTES] {
    let mut frame = [0; FRAME_BYTES];
    let (ethernet, packet) = frame.split_at_mut(ETHERNET_BYTES);
    ethernet[..6].copy_from_slice(&DESTINATION);
    ethernet[6..12].copy_from_slice(&SOURCE);
    ethernet[12..].copy_from_slice(&0x0800_u16.to_be_bytes());

    let length = packet.len() as u16;
    let (ip, udp) = packet.split_at_mut(IPV4_BYTES);
    ip[0] = 0x45; // version 4, five words
    ip[2..4].copy_from_slice(&length.to_be_bytes());
    ip[4..6].copy_from_slice(&(flow as u16).to_be_bytes()); // identification
    ip[8] = 64; // time to live
    ip[9] = 17; // UDP
    ip[12..16].copy_from_slice(&(0x0a00_0000 | (flow & 0x00ff_ffff)).to_be_bytes());
    ip[16..20].copy_from_slice(&[11, 0, 0, 1]);
    let sum = checksum(ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());

    let source_port = 1024 + (u64::from(flow) * 7919 % 60_000) as u16;
    udp[0..2].copy_from_slice(&source_port.to_be_bytes());
    udp[2..4].copy_from_slice(&80_u16.to_be_bytes());
    udp[4..6].copy_from_slice(&(length - IPV4_BYTES as u16).to_be_bytes());
    frame
}

/// The Internet checksum (RFC 1071).
fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded + (folded >> 16)) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_frame_byte_by_byte() {
        let expected = [
            0x02, 0, 0, 0, 0, 0x01, 0x02, 0, 0, 0, 0, 0x02, 0x08, 0x00, // Ethernet
            0x45, 0, 0, 46, 0, 1, 0, 0, 64, 17, 0x65, 0xbd, 10, 0, 0, 1, 11, 0, 0, 1, // IPv4
            0x22, 0xef, 0, 80, 0, 26, 0, 0, // UDP
        ];
        let frame = frame(1);
        assert_eq!(frame[..42], expected);
        assert_eq!(frame[42..], [0; 18]);
        assert_eq!(checksum(&frame[14..34]), 0, "a header with its checksum sums up to nothing");
    }

    #[test]
    fn flows_differ() {
        let flows: BTreeSet<_> = (0..70_000).map(|flow| frame(flow)[26..36].to_vec()).collect();
        assert_eq!(flows.len(), 70_000);
    }

    #[test]
    fn the_file_has_a_record_per_flow() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in.pcap");
        write(&path, 3).unwrap();
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(bytes.len(), 24 + 3 * (16 + 60));
        assert_eq!(bytes[..8], [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0]);
    }
}
