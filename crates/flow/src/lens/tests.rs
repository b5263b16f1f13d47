// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The lens against extraction: what the lens calls one flow must be one flow under every live mask.

use portway_buf::Packet;
use proptest::prelude::*;

use super::*;
use crate::extract::extract;
use crate::key::KEY_WORDS;

/// An IPv4 or IPv6 packet with TCP or UDP, perhaps tagged: the shapes that lenses know.
fn frame(v6: bool, tcp: bool, tag: Option<u16>) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    if let Some(tci) = tag {
        frame.extend([0x81, 0x00]);
        frame.extend(tci.to_be_bytes());
    }
    let proto = if tcp { 6 } else { 17 };
    let l4: &[u8] = if tcp {
        &[3, 232, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x12, 1, 0, 0, 0, 0, 0]
    } else {
        &[3, 232, 0, 80, 0, 8, 0, 0]
    };
    if v6 {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, l4.len() as u8, proto, 64]);
        frame.extend([0xfd; 16]);
        frame.extend([0xfe; 16]);
    } else {
        frame.extend([
            8,
            0,
            0x45,
            0,
            0,
            20 + l4.len() as u8,
            1,
            2,
            0,
            0,
            64,
            proto,
            0,
            0,
            10,
            0,
            0,
            1,
            10,
            0,
            0,
            2,
        ]);
    }
    frame.extend(l4);
    frame.extend([0xab; 12]);
    frame
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let edits = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    (any::<bool>(), any::<bool>(), proptest::option::of(any::<u16>()), edits, 0usize..40).prop_map(
        |(v6, tcp, tag, edits, cut)| {
            let mut frame = frame(v6, tcp, tag);
            for (index, value) in edits {
                let at = index.index(frame.len());
                frame[at] = value;
            }
            // Most frames stay whole; some end anywhere in their headers.
            if cut < 20 {
                frame.truncate(frame.len().saturating_sub(cut * 3));
            }
            frame
        },
    )
}

/// Masks over some whole words of the key, with some bits.
fn any_union() -> impl Strategy<Value = FlowMask> {
    let word = (0..KEY_WORDS, prop_oneof![Just(u64::MAX), any::<u64>(), Just(0xffff)]);
    let ethernet_only = Just(FlowMask::new(FlowKey {
        eth_dst: crate::MacAddr([0xff; 6]),
        vlan_tci: U16::new(0xffff),
        vlan_tpid: U16::new(0xffff),
        eth_type: U16::new(0xffff),
        ..FlowKey::default()
    }));
    let words = proptest::collection::vec(word, 0..8).prop_map(|words| {
        let mut bits = FlowKey::default();
        for (index, value) in words {
            bits.words_mut()[index] = value;
        }
        FlowMask::new(bits)
    });
    prop_oneof![words, ethernet_only]
}

struct Seen {
    shape: Shape,
    window: Window,
    key: FlowKey,
    tcp_flags: u16,
}

/// Whether the second frame follows the first in a run.
fn follows(lens: &Lens, first: &[u8], second: &[u8]) -> bool {
    let (first, second) = (Packet::copied_from(first).unwrap(), Packet::copied_from(second).unwrap());
    let head = lens.head(first.window().unwrap(), first.len()).unwrap();
    head.is_followed_by(second.window().unwrap(), second.len())
}

/// What the lens and what extraction make of a frame.
fn look(lens: &Lens, bytes: &[u8]) -> Option<Seen> {
    let mut packet = Packet::copied_from(bytes).unwrap();
    let header = packet.window::<WINDOW>().unwrap();
    let shape = lens.shape(header, packet.len())?;
    let window = lens.window(header, shape);
    let head = lens.head(header, packet.len()).unwrap();
    assert!(head.shape() == shape && head.is_followed_by(header, packet.len()));
    let tcp_flags = head.tcp_flags(header);
    // A frame that the lens accepts is one that extraction accepts.
    let key = extract(&mut packet).unwrap();
    Some(Seen { shape, window, key, tcp_flags })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn one_window_is_one_flow(union in any_union(), a in any_frame(), b in any_frame(), at: prop::sample::Index, value: u8) {
        let lens = Lens::new(union.clone(), 1);
        // Two unrelated frames, and one that differs from the first in a single byte.
        let mut c = a.clone();
        let at = at.index(c.len().max(1));
        if let Some(byte) = c.get_mut(at) {
            *byte = value;
        }
        let seen = [look(&lens, &a), look(&lens, &b), look(&lens, &c)];
        let frames = [&a, &b, &c];
        for (first, second) in [(0, 1), (0, 2), (1, 2)] {
            let Some(one) = &seen[first] else { continue };
            let follows = follows(&lens, frames[first], frames[second]);
            let Some(other) = &seen[second] else {
                prop_assert!(!follows);
                continue;
            };
            prop_assert!(!follows || (one.shape == other.shape && one.window == other.window));
            if one.shape == other.shape && one.window == other.window {
                prop_assert_eq!(union.apply(&one.key), union.apply(&other.key));
            }
        }
    }

    #[test]
    fn flags_are_those_of_the_key(bytes in any_frame(), deep: bool) {
        let lens = Lens::new(if deep { FlowMask::exact() } else { FlowMask::default() }, 1);
        if let Some(seen) = look(&lens, &bytes) {
            let flags = seen.tcp_flags;
            prop_assert!(flags == seen.key.tcp_flags.get(), "{flags:#x} {:?}", seen.key);
        }
    }
}

#[test]
fn common_packets_have_a_shape() {
    for v6 in [false, true] {
        for tcp in [false, true] {
            for tag in [None, Some(0x100a)] {
                let bytes = frame(v6, tcp, tag);
                let transport = FlowMask::new(FlowKey { tp_dst: U16::new(0xffff), ..FlowKey::default() });
                assert!(look(&Lens::new(transport, 1), &bytes).is_some());
                assert_eq!(Lens::new(FlowMask::default(), 1).depth(), Depth::Link);
                assert!(look(&Lens::new(FlowMask::default(), 1), &bytes).is_some());
            }
        }
    }
}

#[test]
fn depth_follows_the_masks() {
    let depth = |change: fn(&mut FlowKey)| {
        let mut bits = FlowKey::default();
        change(&mut bits);
        Lens::new(FlowMask::new(bits), 1).depth()
    };
    assert_eq!(depth(|bits| bits.in_port = 1), Depth::Link);
    assert_eq!(depth(|bits| bits.tun_opts[3] = 1), Depth::Link);
    assert_eq!(depth(|bits| bits.eth_type = U16::new(1)), Depth::Link);
    assert_eq!(depth(|bits| bits.cvlan_tci = U16::new(1)), Depth::Link);
    assert_eq!(depth(|bits| bits.mpls_count = 1), Depth::Network);
    assert_eq!(depth(|bits| bits.ip_frag = 1), Depth::Network);
    assert_eq!(depth(|bits| bits.nsh_context[3] = 1.into()), Depth::Network);
    assert_eq!(depth(|bits| bits.tcp_flags = U16::new(1)), Depth::Transport);
}

/// Every bit of every header, under masks that look at one word of the key each, at every depth.
#[test]
fn every_bit_that_changes_a_key_changes_the_window() {
    let transport = FlowMask::new(FlowKey { tcp_flags: U16::new(1), ..FlowKey::default() });
    let lenses: Vec<_> = (0..KEY_WORDS - 32)
        .flat_map(|word| {
            let mut bits = FlowKey::default();
            bits.words_mut()[word] = u64::MAX;
            let narrow = FlowMask::new(bits);
            let mut deep = narrow.clone();
            deep.unite(&transport);
            [Lens::new(narrow, 1), Lens::new(deep, 2)]
        })
        .collect();
    for layout in 0..8u8 {
        let original = frame(layout & 1 == 1, layout & 2 == 2, (layout & 4 == 4).then_some(0x2005));
        for bit in 0..(original.len() - 12) * 8 {
            let mut changed = original.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            for lens in &lenses {
                let Some(one) = look(lens, &original) else { continue };
                let follows = follows(lens, &original, &changed);
                let Some(other) = look(lens, &changed) else {
                    assert!(!follows, "layout {layout}, bit {bit}");
                    continue;
                };
                let same_window = one.shape == other.shape && one.window == other.window;
                assert!(!follows || same_window, "layout {layout}, bit {bit}");
                let tcp_flags_known = other.tcp_flags == other.key.tcp_flags.get() || other.tcp_flags == 0;
                assert!(tcp_flags_known, "layout {layout}, bit {bit}");
                let (one, other) = (lens.union().apply(&one.key), lens.union().apply(&other.key));
                assert!(!same_window || one == other, "layout {layout}, bit {bit}: {one:?} {other:?}");
            }
        }
    }
}
