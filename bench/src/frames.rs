// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Frames to forward: distinct UDP flows, 60 bytes each (64 on the wire), as the peers get them.

use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Result;

/// Addresses and ports of one flow.
#[derive(Clone, Copy)]
pub(crate) struct FlowFrame {
    pub(crate) src: u32,
    pub(crate) dst: u32,
    pub(crate) src_port: u16,
    pub(crate) dst_port: u16,
}

impl FlowFrame {
    /// Flow `index` of the standard set: all to 11.0.0.1 port 80.
    pub(crate) fn standard(index: u32) -> Self {
        Self {
            src: 0x0a00_0000 | (index & 0x00ff_ffff),
            dst: 0x0b00_0001,
            src_port: (1024 + (u64::from(index) * 7919) % 60_000) as u16,
            dst_port: 80,
        }
    }

    fn bytes(&self, id: u16) -> [u8; 60] {
        let mut frame = [0; 60];
        frame[..12].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
        frame[12..24].copy_from_slice(&[8, 0, 0x45, 0, 0, 46, (id >> 8) as u8, id as u8, 0, 0, 64, 17]);
        frame[26..30].copy_from_slice(&self.src.to_be_bytes());
        frame[30..34].copy_from_slice(&self.dst.to_be_bytes());
        let sum: u32 =
            frame[14..34].chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        frame[24..26].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
        frame[34..36].copy_from_slice(&self.src_port.to_be_bytes());
        frame[36..38].copy_from_slice(&self.dst_port.to_be_bytes());
        frame[38..40].copy_from_slice(&26u16.to_be_bytes());
        frame
    }
}

/// Writes a capture file with these frames.
pub(crate) fn write(path: &Path, flows: impl Iterator<Item = FlowFrame>) -> Result<()> {
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    for word in [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 65_535, 1] {
        file.write_all(&word.to_ne_bytes())?;
    }
    for (index, flow) in flows.enumerate() {
        for word in [0, index as u32, 60, 60] {
            file.write_all(&word.to_ne_bytes())?;
        }
        file.write_all(&flow.bytes(index as u16))?;
    }
    file.flush()?;
    Ok(())
}
