// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Captures in pcapng (draft-ietf-opsawg-pcapng): a section with one Ethernet interface, times in nanoseconds, and each packet's direction.

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const LINKTYPE_ETHERNET: u16 = 1;

const OPTION_END: u16 = 0;
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const EPB_FLAGS: u16 = 2;

/// Which way a packet went, seen from the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Received.
    In,
    /// Sent.
    Out,
}

/// Appends the start of a capture: the section header and the interface's description. `snap_len` 0: packets are whole.
pub fn start(out: &mut Vec<u8>, interface: &str, snap_len: u32) {
    block(out, SECTION_HEADER, |out| {
        out.extend(BYTE_ORDER_MAGIC.to_le_bytes());
        out.extend(1u16.to_le_bytes());
        out.extend(0u16.to_le_bytes());
        out.extend(u64::MAX.to_le_bytes()); // the section's length is not known
        option(out, SHB_USERAPPL, concat!("portway ", env!("CARGO_PKG_VERSION")).as_bytes());
        option(out, OPTION_END, &[]);
    });
    block(out, INTERFACE_DESCRIPTION, |out| {
        out.extend(LINKTYPE_ETHERNET.to_le_bytes());
        out.extend(0u16.to_le_bytes());
        out.extend(snap_len.to_le_bytes());
        option(out, IF_NAME, interface.as_bytes());
        option(out, IF_TSRESOL, &[9]);
        option(out, OPTION_END, &[]);
    });
}

/// Appends a packet: `data` is its beginning, `original_len` its length, `time_ns` nanoseconds since 1970.
pub fn packet(out: &mut Vec<u8>, time_ns: u64, direction: Direction, data: &[u8], original_len: u32) {
    block(out, ENHANCED_PACKET, |out| {
        out.extend(0u32.to_le_bytes());
        out.extend(((time_ns >> 32) as u32).to_le_bytes());
        out.extend((time_ns as u32).to_le_bytes());
        out.extend((data.len() as u32).to_le_bytes());
        out.extend(original_len.to_le_bytes());
        padded(out, data);
        let flags: u32 = match direction {
            Direction::In => 1,
            Direction::Out => 2,
        };
        option(out, EPB_FLAGS, &flags.to_le_bytes());
        option(out, OPTION_END, &[]);
    });
}

fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(kind.to_le_bytes());
    out.extend([0; 4]);
    body(out);
    let len = (out.len() - start + 4) as u32;
    out[start + 4..start + 8].copy_from_slice(&len.to_le_bytes());
    out.extend(len.to_le_bytes());
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    out.extend(code.to_le_bytes());
    out.extend((value.len() as u16).to_le_bytes());
    padded(out, value);
}

fn padded(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(bytes);
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_whole_words_and_say_their_length_twice() {
        let mut out = Vec::new();
        start(&mut out, "veth1", 0);
        for (len, direction) in
            [(0, Direction::In), (1, Direction::Out), (64, Direction::In), (1513, Direction::Out)]
        {
            packet(&mut out, 1_700_000_000_123_456_789, direction, &vec![7; len], 2000);
        }
        let word = |at: usize| u32::from_le_bytes(out[at..at + 4].try_into().unwrap());
        let (mut at, mut kinds) = (0, Vec::new());
        while at < out.len() {
            let len = word(at + 4) as usize;
            assert_eq!((len % 4, word(at + len - 4) as usize), (0, len));
            kinds.push(word(at));
            at += len;
        }
        assert_eq!(kinds, [SECTION_HEADER, INTERFACE_DESCRIPTION, 6, 6, 6, 6]);
    }

    #[test]
    fn tcpdump_reads_it() {
        let mut out = Vec::new();
        start(&mut out, "veth1", 0);
        let mut frame = vec![0xff; 6];
        frame.extend([2, 0, 0, 0, 0, 1, 0x88, 0xb5]);
        frame.resize(60, 0);
        packet(&mut out, 1_700_000_000_123_456_789, Direction::In, &frame, 60);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.pcapng");
        std::fs::write(&file, out).unwrap();
        let run = std::process::Command::new("tcpdump").args(["-e", "-nn", "-ttt", "-r"]).arg(&file).output();
        let Ok(output) = run else { return eprintln!("no tcpdump here: not compared") };
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(
            text.contains("02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff, ethertype Unknown (0x88b5), length 60"),
            "{text}"
        );
        assert!(text.contains("Ethernet"), "{text}");
    }
}
