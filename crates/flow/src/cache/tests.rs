// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The caches against a map: what they find must be what was remembered last, and nothing else.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use zerocopy::network_endian::U16;

use super::*;
use crate::mask::FlowMask;

struct TestFlow {
    number: usize,
    live: AtomicBool,
}

impl Cached for TestFlow {
    fn is_live(&self) -> bool {
        self.live.load(Ordering::Relaxed)
    }
}

fn flow(number: usize) -> Arc<TestFlow> {
    Arc::new(TestFlow { number, live: AtomicBool::new(true) })
}

fn lens(generation: u64, deep: bool) -> Lens {
    let bits =
        FlowKey { tp_dst: U16::new(if deep { 0xffff } else { 0 }), ip_dst: [0xff; 16], ..FlowKey::default() };
    Lens::new(FlowMask::new(bits), generation)
}

#[derive(Clone, Debug)]
enum Step {
    Insert { content: u64, recirc_id: u32, lens: usize },
    Find { content: u64, recirc_id: u32, lens: usize },
    Kill { nth: usize },
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    let contents = 0u64..400;
    prop_oneof![
        4 => (contents.clone(), 0u32..2, 0usize..2)
            .prop_map(|(content, recirc_id, lens)| Step::Insert { content, recirc_id, lens }),
        4 => (contents, 0u32..2, 0usize..2)
            .prop_map(|(content, recirc_id, lens)| Step::Find { content, recirc_id, lens }),
        1 => (0usize..1000).prop_map(|nth| Step::Kill { nth }),
        1 => Just(Step::Sweep),
    ]
}

/// A window with its content in a word that every window has, or only a long one.
fn window(content: u64, long: bool) -> Window {
    let mut window = [0; WINDOW_WORDS];
    window[if long { 7 } else { 3 }] = content + 1;
    window
}

proptest! {
    #[test]
    fn windows_are_found_as_they_were_put(steps in proptest::collection::vec(step(), 1..600), long: bool) {
        // IPv6 windows are long; IPv4 ones without a tag are short.
        let shape = if long { Shape::Udp6 } else { Shape::Udp4 };
        let lenses = [lens(1, true), lens(2, true)];
        let mut cache = WindowCache::new(1024, 5);
        let mut model: HashMap<(u64, u32, usize), Arc<TestFlow>> = HashMap::new();
        let mut flows = Vec::new();
        for step in steps {
            match step {
                Step::Insert { content, recirc_id, lens } => {
                    let flow = flow(flows.len());
                    let key = cache.key(&lenses[lens], window(content, long), recirc_id, shape);
                    cache.insert(&lenses[lens], &key, Arc::clone(&flow));
                    model.insert((content, recirc_id, lens), Arc::clone(&flow));
                    flows.push(flow);
                }
                Step::Find { content, recirc_id, lens } => {
                    let key = cache.key(&lenses[lens], window(content, long), recirc_id, shape);
                    let found = cache.locate(&lenses[lens], &key).and_then(|place| cache.at(place));
                    if let Some(found) = found {
                        // It may have forgotten, but it must not be wrong.
                        let known = model.get(&(content, recirc_id, lens));
                        prop_assert_eq!(known.map(|flow| flow.number), Some(found.number));
                        prop_assert!(found.is_live());
                    }
                }
                Step::Kill { nth } if !flows.is_empty() => {
                    flows[nth % flows.len()].live.store(false, Ordering::Relaxed);
                }
                Step::Kill { .. } => {}
                Step::Sweep => cache.sweep(),
            }
        }
        // A sweep leaves no reference to a dead flow.
        cache.sweep();
        drop(model);
        for flow in flows.iter().filter(|flow| !flow.is_live()) {
            prop_assert_eq!(Arc::strong_count(flow), 1);
        }
    }

    #[test]
    fn keys_are_found_as_they_were_put(steps in proptest::collection::vec(step(), 1..600)) {
        let lenses = [lens(1, true), lens(2, false)];
        let mut cache = KeyCache::new(1024, 5);
        let mut model: HashMap<(u64, usize), usize> = HashMap::new();
        let mut flows = Vec::new();
        let key_of = |content: u64| {
            let mut key = FlowKey::default();
            key.ip_dst[..8].copy_from_slice(&content.to_ne_bytes());
            key
        };
        for step in steps {
            match step {
                Step::Insert { content, lens, .. } => {
                    let flow = flow(flows.len());
                    let key = key_of(content);
                    let hash = cache.hash(&lenses[lens], &key);
                    cache.insert(&lenses[lens], &key, hash, Arc::clone(&flow));
                    model.insert((content, lens), flow.number);
                    flows.push(flow);
                }
                Step::Find { content, lens, .. } => {
                    let key = key_of(content);
                    let hash = cache.hash(&lenses[lens], &key);
                    if let Some(found) = cache.find(&lenses[lens], &key, hash) {
                        prop_assert_eq!(model.get(&(content, lens)), Some(&found.number));
                        prop_assert!(found.is_live());
                    }
                }
                Step::Kill { nth } if !flows.is_empty() => {
                    flows[nth % flows.len()].live.store(false, Ordering::Relaxed);
                }
                Step::Kill { .. } => {}
                Step::Sweep => cache.sweep(),
            }
        }
    }
}

#[test]
fn a_cache_grows_until_it_holds_what_is_in_use() {
    let lens = lens(1, true);
    let mut cache = WindowCache::new(8192, 3);
    assert_eq!(cache.capacity(), ENTRIES_START);
    let held = |cache: &WindowCache<TestFlow>, content: u64| {
        let key = cache.key(&lens, window(content, false), 0, Shape::Udp4);
        cache.locate(&lens, &key).and_then(|place| cache.at(place)).is_some()
    };
    for _round in 0..10 {
        for content in 0..2000 {
            if !held(&cache, content) {
                let key = cache.key(&lens, window(content, false), 0, Shape::Udp4);
                cache.insert(&lens, &key, flow(content as usize));
            }
        }
    }
    let kept = (0..2000).filter(|&content| held(&cache, content)).count();
    assert!(kept > 1900, "{kept} of 2000 in {} entries", cache.capacity());
    assert!(cache.capacity() <= 8192);
    for content in 0..100_000 {
        let key = cache.key(&lens, window(content, false), 0, Shape::Udp4);
        cache.insert(&lens, &key, flow(content as usize));
    }
    assert_eq!(cache.capacity(), 8192, "the limit holds");
}
