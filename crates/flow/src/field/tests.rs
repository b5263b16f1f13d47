// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The table agrees with itself, with the key, and with its page in `docs/`.

use super::*;

#[test]
fn groups_are_in_the_order_of_their_ids_and_numbered_once() {
    let mut attrs = Vec::new();
    for (index, group) in GROUPS.iter().enumerate() {
        assert_eq!(group.id as usize, index);
        assert!(!attrs.contains(&group.attr), "{}", group.name);
        attrs.push(group.attr);
        assert_eq!(Group::by_name(group.name).map(|found| found.id), Some(group.id));
        assert_eq!(group.id.group().name, group.name);
    }
}

#[test]
fn fields_lie_in_the_key_and_read_back_what_was_set() {
    let mut count = 0;
    for group in GROUPS {
        for field in group.fields {
            assert!(field.offset + field.width <= size_of::<FlowKey>(), "{field:?}");
            assert!(field.bits as usize <= field.width * 8 && field.bits > 0, "{field:?}");
            assert_eq!(field.id.field(), field);
            let mut key = FlowKey::default();
            field.set(&mut key, field.full());
            assert!(field.is_exact(&key), "{field:?}");
            assert_eq!(field.get(&key), field.full(), "{field:?}");
            count += 1;
        }
    }
    assert_eq!(count, FIELD_COUNT);
}

/// Every byte of the key is a byte of some field, or padding that is named so.
#[test]
fn no_byte_of_the_key_is_forgotten() {
    let mut covered = FlowKey::default();
    for field in GROUPS.iter().flat_map(|group| group.fields) {
        field.bytes_mut(&mut covered).fill(0xff);
    }
    covered.tun_pad = [0xff; 2];
    covered.eth_pad = 0xff;
    covered.mpls_pad = [0xff; 3];
    // Set by what the key has or lacks, not by a field: see `Group::Ethernet`.
    covered.mac_proto = 0xff;
    let bytes = zerocopy::IntoBytes::as_bytes(&covered);
    let forgotten: Vec<_> = (0..bytes.len()).filter(|&offset| bytes[offset] != 0xff).collect();
    assert_eq!(forgotten, Vec::<usize>::new());
}

#[test]
fn prerequisites_follow_the_packet() {
    let key =
        crate::FlowKey { eth_type: 0x86dd.into(), ip_proto: 58, tp_src: 135.into(), ..FlowKey::default() };
    let held: Vec<_> =
        GROUPS.iter().filter(|group| group.prerequisite.holds(&key)).map(|group| group.name).collect();
    assert_eq!(&held[held.len() - 5..], ["eth_type", "ipv6", "ipv6_exthdrs", "icmpv6", "nd"]);
    let mut mask = FlowKey::default();
    assert!(!Prerequisite::NeighbourDiscovery.is_fixed_by(&mask));
    (mask.eth_type, mask.ip_proto, mask.tp_src) = (0xffff.into(), 0xff, 0xff.into());
    assert!(Prerequisite::NeighbourDiscovery.is_fixed_by(&mask));
}

#[test]
fn docs_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/fields.md");
    let page = docs_page();
    if std::env::var_os("PORTWAY_BLESS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == page,
        "docs/fields.md is out of date: PORTWAY_BLESS=1 cargo test -p portway-flow docs_page"
    );
}
