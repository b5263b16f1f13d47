// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Known sums, and properties against a sum done the slow way.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

/// RFC 1071 word by word, in network order.
fn slow(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[test]
fn known() {
    // RFC 1071, section 3: the sum of this is ddf2.
    let rfc1071 = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(checksum(&rfc1071), !0xddf2);
    assert_eq!(checksum(&[]), 0xffff);
    assert_eq!(checksum(&[0xab]), !0xab00);
    assert_eq!(checksum(&[0xff; 2]), 0);
    // RFC 1624, section 4: the case that its older equation gets wrong.
    assert_eq!(update16(0xdd2f, 0x5555, 0x3285), 0x0000);
    assert_eq!((nonzero(0), nonzero(5)), (0xffff, 5));
}

#[test]
fn long_slices_do_not_lose_carries() {
    let ones = vec![0xff; 1 << 20];
    assert_eq!(checksum(&ones), 0);
    assert_eq!(checksum(&ones[..65_535]), slow(&ones[..65_535]));
}

#[test]
fn pseudo_headers() {
    // A UDP datagram of the recordings: fd00::1 port 1000 to fd00::2 port 2000, "payload!".
    let mut udp = [0x03, 0xe8, 0x07, 0xd0, 0, 16, 0x3c, 0xc1, b'p', b'a', b'y', b'l', b'o', b'a', b'd', b'!'];
    let (mut src, mut dst) = ([0u8; 16], [0u8; 16]);
    (src[0], src[15], dst[0], dst[15]) = (0xfd, 1, 0xfd, 2);
    assert_eq!(pseudo_v6(src, dst, 17, 16).bytes(&udp).checksum(), 0);
    udp[6..8].fill(0);
    assert_eq!(pseudo_v6(src, dst, 17, 16).bytes(&udp).checksum(), 0x3cc1);

    let v4 = pseudo_v4([10, 0, 0, 1], [10, 0, 0, 2], 17, 16);
    let mut header = vec![10, 0, 0, 1, 10, 0, 0, 2, 0, 17, 0, 16];
    assert_eq!(v4.folded(), !slow(&header));
    header.extend(udp);
    assert_eq!(v4.bytes(&udp).checksum(), slow(&header));
}

#[test]
fn crc32c_of_sctp() {
    assert_eq!(crc32c_append(0, b"123456789"), 0xe306_9283, "the check value of CRC-32C");
    let packet = [1u8, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 9, 10];
    let mut filled = packet;
    filled[8..12].copy_from_slice(&[0xff; 4]);
    assert_eq!(sctp(&packet), crc32c_append(0, &packet));
    assert_eq!(sctp(&filled), sctp(&packet), "what the field holds does not count");
    assert_eq!(sctp(&packet[..3]), crc32c_append(0, &packet[..3]));
}

proptest! {
    #[test]
    fn fast_is_slow(bytes in vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(checksum(&bytes), slow(&bytes));
    }

    #[test]
    fn pieces(bytes in vec(any::<u8>(), 0..200), cuts in vec(0usize..200, 0..4)) {
        let mut cuts: Vec<_> = cuts.into_iter().map(|c| c.min(bytes.len())).collect();
        cuts.sort_unstable();
        let (mut sum, mut from) = (Sum::new(), 0);
        for to in cuts.into_iter().chain([bytes.len()]) {
            sum = sum.bytes(&bytes[from..to]);
            from = to;
        }
        prop_assert_eq!(sum.checksum(), slow(&bytes));
    }

    // One word that never changes is not zero, as in every real header: only for all-zero bytes have the two ways
    // different names for zero.
    #[test]
    fn incremental_is_full(mut bytes in vec(any::<u8>(), 40..60), at in 0usize..12, new in any::<[u8; 16]>()) {
        bytes[0] = 0x45;
        let old_check = slow(&bytes);
        let at = 2 + at * 2;
        let old = bytes.clone();
        let o = |range: std::ops::Range<usize>| &old[at + range.start..at + range.end];

        bytes[at..at + 2].copy_from_slice(&new[..2]);
        let (a, b) = (o(0..2).try_into().unwrap(), new[..2].try_into().unwrap());
        prop_assert_eq!(update16(old_check, u16::from_be_bytes(a), u16::from_be_bytes(b)), slow(&bytes));
        prop_assert_eq!(
            update16_partial(!old_check, u16::from_be_bytes(a), u16::from_be_bytes(b)), !slow(&bytes));

        bytes[at..at + 4].copy_from_slice(&new[..4]);
        let (a, b) = (o(0..4).try_into().unwrap(), new[..4].try_into().unwrap());
        prop_assert_eq!(update32(old_check, u32::from_be_bytes(a), u32::from_be_bytes(b)), slow(&bytes));
        prop_assert_eq!(
            update32_partial(!old_check, u32::from_be_bytes(a), u32::from_be_bytes(b)), !slow(&bytes));

        bytes[at..at + 6].copy_from_slice(&new[..6]);
        let (a, b) = (o(0..6).try_into().unwrap(), new[..6].try_into().unwrap());
        prop_assert_eq!(update48(old_check, a, b), slow(&bytes));

        bytes[at..at + 16].copy_from_slice(&new);
        let a = o(0..16).try_into().unwrap();
        prop_assert_eq!(update128(old_check, a, new), slow(&bytes));
        prop_assert_eq!(update128_partial(!old_check, a, new), !slow(&bytes));
    }
}
