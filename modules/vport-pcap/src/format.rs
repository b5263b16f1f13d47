// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The classic pcap file format (draft-ietf-opsawg-pcap): a 24-byte file header, then a 16-byte header before each frame.

/// Magic numbers of files with time stamps in microseconds and nanoseconds.
const MAGIC_MICROSECONDS: u32 = 0xa1b2_c3d4;
const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
/// The first block type of a pcapng file, the same in both byte orders.
const MAGIC_PCAPNG: u32 = 0x0a0d_0d0a;
/// LINKTYPE_ETHERNET.
const LINK_ETHERNET: u16 = 1;
/// The format's only major version.
const VERSION_MAJOR: u16 = 2;
const VERSION_MINOR: u16 = 4;
/// The snap length that we write: what tcpdump takes at most.
const SNAP_LENGTH: u32 = 262_144;

/// Bytes of the file header.
pub(crate) const FILE_HEADER: usize = 24;
/// Bytes of a frame's header.
pub(crate) const RECORD_HEADER: usize = 16;

/// Why a file header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeaderError {
    #[error("is a pcapng file; convert it with: editcap -F pcap IN OUT")]
    PcapNg,
    #[error("is not a pcap file: it starts with {0:#010x}")]
    Magic(u32),
    #[error("is a pcap file of version {0}.{1}; only version 2 is known")]
    Version(u16, u16),
    #[error("has link type {0}; only Ethernet (1) is replayed")]
    LinkType(u16),
}

/// The byte order of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }
}

/// Reads the file header.
pub(crate) fn read_file_header(header: &[u8; FILE_HEADER]) -> Result<ByteOrder, HeaderError> {
    let word = |at: usize| [header[at], header[at + 1], header[at + 2], header[at + 3]];
    let little = u32::from_le_bytes(word(0));
    let order = match (little, u32::from_be_bytes(word(0))) {
        (MAGIC_MICROSECONDS | MAGIC_NANOSECONDS, _) => ByteOrder::Little,
        (_, MAGIC_MICROSECONDS | MAGIC_NANOSECONDS) => ByteOrder::Big,
        (MAGIC_PCAPNG, _) => return Err(HeaderError::PcapNg),
        _ => return Err(HeaderError::Magic(little)),
    };
    let (major, minor) = (order.u16([header[4], header[5]]), order.u16([header[6], header[7]]));
    if major != VERSION_MAJOR {
        return Err(HeaderError::Version(major, minor));
    }
    // The upper half says whether frames carry a checksum at their end, which changes nothing here.
    let link = order.u32(word(20)) as u16;
    if link == LINK_ETHERNET { Ok(order) } else { Err(HeaderError::LinkType(link)) }
}

/// Reads a frame's header: bytes in the file, and bytes that the frame had on the wire.
pub(crate) fn read_record_header(order: ByteOrder, header: &[u8; RECORD_HEADER]) -> (u32, u32) {
    let word = |at: usize| order.u32([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    (word(8), word(12))
}

/// The header of the files that we write: nanoseconds, little endian.
pub(crate) fn file_header() -> [u8; FILE_HEADER] {
    let mut header = [0; FILE_HEADER];
    header[..4].copy_from_slice(&MAGIC_NANOSECONDS.to_le_bytes());
    header[4..6].copy_from_slice(&VERSION_MAJOR.to_le_bytes());
    header[6..8].copy_from_slice(&VERSION_MINOR.to_le_bytes());
    header[16..20].copy_from_slice(&SNAP_LENGTH.to_le_bytes());
    header[20..].copy_from_slice(&u32::from(LINK_ETHERNET).to_le_bytes());
    header
}

/// The header of a frame that we write; the time is since 1970.
pub(crate) fn record_header(seconds: u32, nanoseconds: u32, len: u32) -> [u8; RECORD_HEADER] {
    let mut header = [0; RECORD_HEADER];
    for (at, word) in [seconds, nanoseconds, len, len].into_iter().enumerate() {
        header[at * 4..at * 4 + 4].copy_from_slice(&word.to_le_bytes());
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(order: ByteOrder, magic: u32, major: u16, link: u32) -> [u8; FILE_HEADER] {
        let big = order == ByteOrder::Big;
        let w = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
        let h = |value: u16| if big { value.to_be_bytes() } else { value.to_le_bytes() };
        let mut header = [0; FILE_HEADER];
        header[..4].copy_from_slice(&w(magic));
        header[4..6].copy_from_slice(&h(major));
        header[20..].copy_from_slice(&w(link));
        header
    }

    #[test]
    fn both_orders_and_both_clocks() {
        for order in [ByteOrder::Little, ByteOrder::Big] {
            for magic in [MAGIC_MICROSECONDS, MAGIC_NANOSECONDS] {
                assert_eq!(read_file_header(&header(order, magic, 2, 1)), Ok(order));
                // With the length of a frame checksum in the upper bits.
                assert_eq!(read_file_header(&header(order, magic, 2, 0x9400_0001)), Ok(order));
            }
            assert_eq!(
                read_file_header(&header(order, MAGIC_NANOSECONDS, 3, 1)),
                Err(HeaderError::Version(3, 0))
            );
            let link = read_file_header(&header(order, MAGIC_NANOSECONDS, 2, 113));
            assert_eq!(link, Err(HeaderError::LinkType(113)));
            assert_eq!(read_file_header(&header(order, MAGIC_PCAPNG, 2, 1)), Err(HeaderError::PcapNg));
        }
        assert_eq!(read_file_header(&[0x50; FILE_HEADER]), Err(HeaderError::Magic(0x5050_5050)));
        assert_eq!(read_file_header(&file_header()), Ok(ByteOrder::Little));
        assert_eq!(read_record_header(ByteOrder::Little, &record_header(1, 2, 77)), (77, 77));
    }
}
