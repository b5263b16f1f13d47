// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The classifier against a naive one: a list of flows in order of their masks' arrival.

use proptest::prelude::*;
use zerocopy::network_endian::U16;

use super::*;

#[derive(Debug)]
struct TestFlow {
    mask: FlowMask,
    key: FlowKey,
    order: u64,
}

impl Classified for TestFlow {
    fn mask(&self) -> &FlowMask {
        &self.mask
    }
    fn covers(&self, key: &FlowKey) -> bool {
        self.mask.matches(key, &self.key)
    }
    fn key(&self) -> FlowKey {
        self.key.clone()
    }
    fn order(&self) -> u64 {
        self.order
    }
}

fn key(src: u32, dst: u32, port: u16) -> FlowKey {
    let mut key = FlowKey { in_port: 1, tp_dst: U16::new(port), ..FlowKey::default() };
    key.ip_src[..4].copy_from_slice(&src.to_be_bytes());
    key.ip_dst[..4].copy_from_slice(&dst.to_be_bytes());
    key
}

fn prefix(len: u32) -> u32 {
    u32::MAX.checked_shl(32 - len).unwrap_or(0)
}

fn mask(src_len: u32, dst_len: u32, port: bool) -> FlowMask {
    let mut bits = key(prefix(src_len), prefix(dst_len), if port { u16::MAX } else { 0 });
    bits.in_port = u32::MAX;
    FlowMask::new(bits)
}

fn insert(
    classifier: &Classifier<TestFlow>,
    mask: &FlowMask,
    at: &FlowKey,
) -> Result<Arc<TestFlow>, ClassifierError> {
    classifier.insert(mask, |order, _| Arc::new(TestFlow { mask: mask.clone(), key: mask.apply(at), order }))
}

#[test]
fn many_masks_share_few_subtables() {
    let domain = Domain::new();
    let classifier = Classifier::new(&domain, 7, 100_000, 1000);
    for n in 0..500u32 {
        let mask = mask(8 + n % 25, 8 + (n / 25) % 25, n % 2 == 0);
        insert(&classifier, &mask, &key(n << 20, n << 12, 80)).unwrap();
    }
    assert!(classifier.mask_count() > 400, "{}", classifier.mask_count());
    assert!(classifier.subtable_count() < 60, "{}", classifier.subtable_count());
}

#[test]
fn limits_are_named() {
    let domain = Domain::new();
    let classifier = Classifier::new(&domain, 7, 3, 2);
    insert(&classifier, &mask(8, 8, true), &key(0, 0, 1)).unwrap();
    insert(&classifier, &mask(8, 9, true), &key(0, 0, 1)).unwrap();
    assert_eq!(
        insert(&classifier, &mask(8, 10, true), &key(0, 0, 1)).unwrap_err(),
        ClassifierError::MasksFull { limit: 2 }
    );
    insert(&classifier, &mask(8, 8, true), &key(0, 0, 2)).unwrap();
    assert_eq!(
        insert(&classifier, &mask(8, 8, true), &key(0, 0, 3)).unwrap_err(),
        ClassifierError::FlowsFull { limit: 3 }
    );
    assert_eq!((classifier.len(), classifier.mask_count()), (3, 2));
}

#[test]
fn flows_that_leave_take_their_tables_along() {
    let domain = Domain::new();
    let classifier = Classifier::new(&domain, 7, 100, 100);
    let flows: Vec<_> = (0..20)
        .map(|n| insert(&classifier, &mask(8 + n, 32 - n, n % 2 == 0), &key(n << 24, n, 80)).unwrap())
        .collect();
    for flow in &flows {
        assert!(classifier.remove(flow));
        assert!(!classifier.remove(flow));
    }
    assert_eq!((classifier.len(), classifier.mask_count(), classifier.subtable_count()), (0, 0, 0));
}

fn small_address() -> impl Strategy<Value = u32> {
    // Few distinct values, spread over all bytes, so that flows overlap and collide often.
    (0u32..4, 0u32..4, 0u32..3).prop_map(|(a, b, c)| (a << 24) | (b << 14) | c)
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u32, u32, bool, FlowKey),
    Remove(usize),
    Lookup(FlowKey),
}

fn step() -> impl Strategy<Value = Step> {
    let any_key =
        || (small_address(), small_address(), 0u16..3).prop_map(|(src, dst, port)| key(src, dst, port));
    prop_oneof![
        (0u32..=32, 0u32..=32, any::<bool>(), any_key()).prop_map(|(s, d, p, k)| Step::Insert(s, d, p, k)),
        any::<usize>().prop_map(Step::Remove),
        any_key().prop_map(Step::Lookup),
    ]
}

proptest! {
    #[test]
    fn it_finds_what_a_list_finds(steps in proptest::collection::vec(step(), 1..200)) {
        let domain = Domain::new();
        let classifier = Classifier::new(&domain, 99, 1000, 1000);
        let mut list: Vec<Arc<TestFlow>> = Vec::new();
        for step in steps {
            match step {
                Step::Insert(src_len, dst_len, port, at) => {
                    let mask = mask(src_len, dst_len, port);
                    let twin = |flow: &Arc<TestFlow>| flow.mask == mask && flow.key == mask.apply(&at);
                    if !list.iter().any(twin) {
                        list.push(insert(&classifier, &mask, &at).unwrap());
                    }
                }
                Step::Remove(index) if !list.is_empty() => {
                    let flow = list.swap_remove(index % list.len());
                    prop_assert!(classifier.remove(&flow));
                }
                Step::Remove(_) => {}
                Step::Lookup(at) => {
                    let guard = domain.pin();
                    let found = classifier.lookup(&at, &guard).map(|flow| flow.order);
                    let expected = list
                        .iter()
                        .filter(|flow| flow.mask.matches(&at, &flow.key))
                        .map(|flow| flow.order)
                        .min();
                    prop_assert_eq!(found, expected);
                }
            }
            prop_assert_eq!(classifier.len(), list.len());
        }
    }
}
