// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Extraction on frames made by hand and at random. What the kernel makes of hundreds of frames is compared in `tests/conformance`.

use portway_buf::{DropReason, Gso, Offload, Packet, PacketKind, TunnelKey};
use proptest::prelude::*;

use super::*;
use crate::key::{Frag, MacAddr};

fn key_of(frame: &[u8]) -> Result<FlowKey, DropReason> {
    extract(&mut Packet::copied_from(frame).unwrap())
}

fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    frame.extend(kind.to_be_bytes());
    frame.extend(payload);
    frame
}

fn ipv4(protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 7, 0, 0, 0, 0];
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    packet.extend(payload);
    packet
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x6a, 0xb1, 0x23, 0x45, 0, 0, next, 63];
    packet.extend([0xfd; 32]);
    packet.extend(payload);
    packet
}

/// Ports 1000 and 80, SYN.
const TCP: [u8; 20] = [3, 232, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0];

fn samples() -> Vec<Vec<u8>> {
    let nd = [
        &[135, 0, 0, 0, 0, 0, 0, 0][..],
        &[0xfd; 16],
        &[1, 1, 2, 0, 0, 0, 0, 9],
        &[2, 1, 2, 0, 0, 0, 0, 8],
        &[1, 3],
        &[0; 22],
    ]
    .concat();
    let arp =
        [&[0, 1, 8, 0, 6, 4, 0, 2][..], &[2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2]]
            .concat();
    let nsh = [&[0x0f, 0xc6, 1, 3, 0, 1, 2, 255][..], &[5; 16]].concat();
    let fragment = [&[6, 0, 0, 1, 0, 0, 0, 1][..], &TCP].concat();
    let extended =
        [&[43, 0, 0, 0, 0, 0, 0, 0][..], &[51, 0, 0, 0, 0, 0, 0, 0], &[6, 4], &[0; 22], &TCP].concat();
    let tagged =
        [&[0x20, 100, 0x81, 0, 0x30, 7, 8, 0][..], &ipv4(17, 0x2000, &[1, 2, 3, 4, 0, 8, 0, 0])].concat();
    let snap = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &ipv4(6, 0, &TCP)].concat();
    vec![
        ethernet(0x0800, &ipv4(6, 0, &TCP)),
        ethernet(0x0800, &ipv4(1, 0, &[8, 0, 0, 0, 0, 0, 0, 0])),
        ethernet(0x0800, &ipv4(132, 0, &[0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0])),
        ethernet(0x0800, &ipv4(6, 7, &TCP)),
        ethernet(0x88a8, &tagged),
        ethernet(48, &snap),
        ethernet(0x86dd, &ipv6(58, &nd)),
        ethernet(0x86dd, &ipv6(44, &fragment)),
        ethernet(0x86dd, &ipv6(0, &extended)),
        ethernet(0x0806, &arp),
        ethernet(0x8847, &[0, 1, 0, 1, 0, 2, 0, 1, 0, 3, 0, 1, 0, 4, 1, 1]),
        ethernet(0x894f, &nsh),
    ]
}

#[test]
fn tcp_over_ipv4() {
    let mut packet = Packet::copied_from(&samples()[0]).unwrap();
    packet.set_in_port(7);
    packet.set_recirc_id(9);
    let key = extract(&mut packet).unwrap();
    assert_eq!((key.in_port, key.recirc_id, key.eth_type.get()), (7, 9, 0x0800));
    assert_eq!((key.eth_src, key.eth_dst), (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])));
    assert_eq!((key.ip_proto, key.ip_tos, key.ip_ttl, key.ip_frag), (6, 7, 64, 0));
    assert_eq!((key.tp_src.get(), key.tp_dst.get(), key.tcp_flags.get()), (1000, 80, 2));
    assert_eq!(packet.layers(), (14, 34));
}

#[test]
fn two_tags_a_first_fragment_and_udp() {
    let key = key_of(&samples()[4]).unwrap();
    assert_eq!((key.vlan_tpid.get(), key.vlan_tci.get()), (0x88a8, 0x3064));
    assert_eq!((key.cvlan_tpid.get(), key.cvlan_tci.get()), (0x8100, 0x3007));
    assert_eq!((key.ip_frag, key.tp_src.get(), key.tp_dst.get()), (1, 0x0102, 0x0304));
}

#[test]
fn extension_headers_are_named_and_passed() {
    let key = key_of(&samples()[8]).unwrap();
    assert_eq!((key.ip_proto, key.tp_dst.get(), key.ipv6_label.get()), (6, 80, 0x0001_2345));
    assert_eq!((key.ip_tos, key.ip_ttl), (0xab, 63));
    let (hop, router, auth) = (1 << 6, 1 << 5, 1 << 2);
    assert_eq!(key.ipv6_exthdrs & (hop | router | auth), hop | router | auth);
}

#[test]
fn neighbour_solicitation_with_both_options() {
    let key = key_of(&samples()[6]).unwrap();
    assert_eq!((key.nd_target, key.tp_src.get()), ([0xfd; 16], 135));
    assert_eq!((key.nd_sll, key.nd_tll), (MacAddr([2, 0, 0, 0, 0, 9]), MacAddr([2, 0, 0, 0, 0, 8])));
}

#[test]
fn a_packet_without_ethernet() {
    let mut packet = Packet::copied_from(&ipv4(6, 0, &TCP)).unwrap();
    packet.set_kind(PacketKind::Layer3(0x0800));
    let key = extract(&mut packet).unwrap();
    assert_eq!((key.mac_proto, key.eth_type.get(), key.tp_dst.get()), (mac_proto::NONE, 0x0800, 80));
    assert_eq!(packet.layers(), (0, 20));
    packet.set_kind(PacketKind::Layer3(0x8100));
    assert_eq!(extract(&mut packet), Err(DropReason::BadFrame));
}

#[test]
fn a_datagram_to_be_fragmented_is_a_first_fragment() {
    let mut packet = Packet::copied_from(&ethernet(0x0800, &ipv4(17, 0, &[0; 8]))).unwrap();
    assert_eq!(extract(&mut packet).unwrap().ip_frag, Frag::No as u8);
    packet.set_offload(Offload { partial_csum: None, gso: Some(Gso { gso_type: 3, size: 1480 }) });
    assert_eq!(extract(&mut packet).unwrap().ip_frag, Frag::First as u8);
    packet.set_offload(Offload { partial_csum: None, gso: Some(Gso { gso_type: 5, size: 1480 }) });
    assert_eq!(extract(&mut packet).unwrap().ip_frag, Frag::No as u8);
}

#[test]
fn metadata_is_in_the_key() {
    let mut packet = Packet::copied_from(&samples()[0]).unwrap();
    packet.set_mark(1);
    packet.set_priority(2);
    packet.set_dp_hash(3);
    let extension = packet.extension_mut();
    extension.ct_state = 0x22;
    extension.ct_zone = 5;
    extension.ct_orig_tp_dst = 80;
    let options = vec![1, 2, 3, 4];
    extension.tunnel = Some(Box::new(TunnelKey { id: 42, tp_dst: 4789, options, ..TunnelKey::default() }));
    let key = extract(&mut packet).unwrap();
    assert_eq!((key.skb_mark, key.priority, key.dp_hash), (1, 2, 3));
    assert_eq!((key.ct_state, key.ct_zone, key.ct_orig_tp_dst.get()), (0x22, 5, 80));
    assert_eq!((key.tun_proto, key.tun_id.get(), key.tun_tp_dst.get()), (4, 42, 4789));
    assert_eq!((key.tun_opts_len, &key.tun_opts[252..]), (4, &[1, 2, 3, 4][..]));
}

#[test]
fn oversize_tunnel_options_do_not_fit_and_do_not_panic() {
    let mut packet = Packet::copied_from(&samples()[0]).unwrap();
    let tunnel = TunnelKey { options: vec![1; 1000], ..TunnelKey::default() };
    packet.extension_mut().tunnel = Some(Box::new(tunnel));
    assert_eq!(extract(&mut packet).unwrap().tun_opts_len, 255);
}

/// Each sample, cut at every byte: only a frame without an Ethernet header or with a damaged NSH header is refused.
#[test]
fn frames_cut_at_every_byte() {
    for whole in samples() {
        for len in 0..whole.len() {
            let refused = len < 14 || (whole[12..14] == [0x89, 0x4f] && len < 14 + 24);
            assert_eq!(key_of(&whole[..len]).is_err(), refused, "{len} bytes of {whole:02x?}");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_have_a_key_or_a_reason(frame in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut packet = Packet::copied_from(&frame).unwrap();
        let result = extract(&mut packet);
        prop_assert!(result.is_ok() || frame.len() < 14 || frame.contains(&0x4f));
        let (l3, l4) = packet.layers();
        prop_assert!(result.is_err() || (l3 <= frame.len() && l3 <= l4));
    }

    #[test]
    fn damaged_frames_have_a_key_or_a_reason(
        which in 0..12_usize,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        len in any::<prop::sample::Index>(),
        gso_type in any::<u8>(),
    ) {
        let mut frame = samples().swap_remove(which);
        for (place, value) in damage {
            let place = place.index(frame.len());
            frame[place] = value;
        }
        frame.truncate(len.index(frame.len() + 1));
        let mut packet = Packet::copied_from(&frame).unwrap();
        packet.set_offload(Offload { partial_csum: None, gso: Some(Gso { gso_type, size: 100 }) });
        let first = extract(&mut packet);
        // Extraction has no memory: the same packet has the same key, also in a key that was used before.
        let mut again = FlowKey::default();
        again.words_mut().fill(u64::MAX);
        let second = extract_into(&mut packet, &mut again).map(|()| again);
        prop_assert_eq!(first, second);
    }
}
