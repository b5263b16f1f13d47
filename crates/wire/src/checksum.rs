// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The Internet checksum (RFC 1071), its incremental update (RFC 1624), pseudo headers, and SCTP's CRC32c.
//!
//! Sums are in ones' complement, where the order of bytes does not matter as long as it is the same throughout: inside,
//! words are added in host order; what comes out is in the header's order.

/// A ones' complement sum that grows. Pieces of odd length may be added: the next piece continues at the odd byte.
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct Sum {
    /// Not folded; 16-bit words in host order.
    sum: u64,
    /// An odd number of bytes has been added.
    odd: bool,
}

/// Folds a sum of 16-bit words (in whichever order) to 16 bits.
#[inline]
const fn fold(mut sum: u64) -> u16 {
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// Adds with end-around carry.
#[inline]
const fn add(a: u64, b: u64) -> u64 {
    let (sum, carry) = a.overflowing_add(b);
    sum + carry as u64
}

/// Sum of the bytes as 16-bit words in host order, the last odd byte padded with zero. Not folded.
///
/// Long slices go through eight 64-bit lanes of 32-bit words, which the compiler turns into vector additions: no carry
/// can get lost in fewer than 2^32 rounds.
#[inline]
fn sum_bytes(bytes: &[u8]) -> u64 {
    const LANES: usize = 8;
    let mut lanes = [0u64; LANES];
    let (blocks, rest) = bytes.as_chunks::<{ LANES * 4 }>();
    for block in blocks {
        for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<4>().0) {
            *lane += u64::from(u32::from_ne_bytes(*word));
        }
    }
    let mut sum = lanes.iter().fold(0, |a, b| add(a, *b));
    let (words, rest) = rest.as_chunks::<4>();
    for word in words {
        sum = add(sum, u64::from(u32::from_ne_bytes(*word)));
    }
    let mut last = [0u8; 4];
    last[..rest.len()].copy_from_slice(rest);
    add(sum, u64::from(u32::from_ne_bytes(last)))
}

impl Sum {
    /// The sum of nothing.
    pub const fn new() -> Self {
        Self { sum: 0, odd: false }
    }

    /// Adds the 16-bit words of `bytes`.
    #[inline]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        let piece = sum_bytes(bytes);
        let piece = if self.odd { u64::from(fold(piece).swap_bytes()) } else { piece };
        self.sum = add(self.sum, piece);
        self.odd ^= !bytes.len().is_multiple_of(2);
        self
    }

    /// Adds one number.
    #[inline]
    pub const fn word16(mut self, value: u16) -> Self {
        self.sum = add(self.sum, value.to_be() as u64);
        self
    }

    /// Adds one number as two 16-bit words.
    #[inline]
    pub const fn word32(mut self, value: u32) -> Self {
        self.sum = add(self.sum, value.to_be() as u64);
        self
    }

    /// The sum itself, not complemented: what the checksum field of a packet holds whose checksum is left to the
    /// device (`VIRTIO_NET_HDR_F_NEEDS_CSUM`, the kernel's `CHECKSUM_PARTIAL`), if this is a pseudo header's.
    #[inline]
    pub const fn folded(self) -> u16 {
        u16::from_be(fold(self.sum))
    }

    /// The checksum: the complement of the sum. Zero if the bytes summed hold a right checksum.
    #[inline]
    pub const fn checksum(self) -> u16 {
        !self.folded()
    }
}

/// The Internet checksum of `bytes`. Zero if they hold a right checksum.
#[inline]
pub fn checksum(bytes: &[u8]) -> u16 {
    Sum::new().bytes(bytes).checksum()
}

/// The pseudo header of TCP, UDP and others over IPv4 (RFC 9293, 3.1). `len` is the upper layer's length in bytes.
#[inline]
pub fn pseudo_v4(src: [u8; 4], dst: [u8; 4], protocol: u8, len: u16) -> Sum {
    Sum::new()
        .word32(u32::from_be_bytes(src))
        .word32(u32::from_be_bytes(dst))
        .word16(u16::from(protocol))
        .word16(len)
}

/// The pseudo header over IPv6 (RFC 8200, 8.1). `len` is the upper layer's length in bytes.
#[inline]
pub fn pseudo_v6(src: [u8; 16], dst: [u8; 16], protocol: u8, len: u32) -> Sum {
    Sum::new().bytes(&src).bytes(&dst).word32(len).word16(u16::from(protocol))
}

/// UDP writes a checksum of 0 as 0xffff, since 0 means "none" (RFC 768). For every other protocol this changes nothing
/// that a receiver could tell.
#[inline]
pub const fn nonzero(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

/// The checksum field after 16 bits under it change from `old` to `new` (RFC 1624, equation 3). What changes must stand
/// at an even offset in the bytes summed.
#[inline]
pub const fn update16(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(!checksum as u64 + !old as u64 + new as u64)
}

/// As [`update16`], for 32 bits at an even offset.
#[inline]
pub const fn update32(checksum: u16, old: u32, new: u32) -> u16 {
    !fold(!checksum as u64 + !old as u64 + new as u64)
}

/// As [`update16`], for 48 bits (an Ethernet address) at an even offset.
#[inline]
pub fn update48(checksum: u16, old: [u8; 6], new: [u8; 6]) -> u16 {
    let [a, b, c, d, e, f] = old;
    let [p, q, r, s, t, u] = new;
    let checksum = update32(checksum, u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([p, q, r, s]));
    update16(checksum, u16::from_be_bytes([e, f]), u16::from_be_bytes([t, u]))
}

/// As [`update16`], for 128 bits (an IPv6 address) at an even offset.
#[inline]
pub fn update128(checksum: u16, old: [u8; 16], new: [u8; 16]) -> u16 {
    let words = |bytes: &[u8; 16], invert: u32| {
        bytes.as_chunks::<4>().0.iter().map(|w| u64::from(u32::from_be_bytes(*w) ^ invert)).sum::<u64>()
    };
    !fold(u64::from(!checksum) + words(&old, u32::MAX) + words(&new, 0))
}

/// A sum that is not complemented, such as the field of a packet whose checksum is left to the device, after 16 bits
/// of what it sums change from `old` to `new`.
#[inline]
pub const fn update16_partial(sum: u16, old: u16, new: u16) -> u16 {
    !update16(!sum, old, new)
}

/// As [`update16_partial`], for 32 bits.
#[inline]
pub const fn update32_partial(sum: u16, old: u32, new: u32) -> u16 {
    !update32(!sum, old, new)
}

/// As [`update16_partial`], for 128 bits.
#[inline]
pub fn update128_partial(sum: u16, old: [u8; 16], new: [u8; 16]) -> u16 {
    !update128(!sum, old, new)
}

/// CRC32c of a whole SCTP packet (RFC 9260, appendix A), its checksum field taken as zero. The header holds it least
/// significant byte first: write `to_le_bytes()`. Bytes less than the common header's 12 give the CRC of what is there.
pub fn sctp(packet: &[u8]) -> u32 {
    match packet {
        [a, b, c, d, e, f, g, h, _, _, _, _, rest @ ..] => {
            let header = [*a, *b, *c, *d, *e, *f, *g, *h, 0, 0, 0, 0];
            crc32c::crc32c_append(crc32c::crc32c(&header), rest)
        }
        short => crc32c::crc32c(short),
    }
}

/// CRC32c of data that follows data of CRC `so_far` (0 at the start).
pub fn crc32c_append(so_far: u32, data: &[u8]) -> u32 {
    crc32c::crc32c_append(so_far, data)
}

#[cfg(test)]
mod tests;
