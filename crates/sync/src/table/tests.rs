// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The table against a naive model, at its limits, and under threads.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

impl<T: Send + Sync + 'static> Table<T> {
    /// Walks everything; for use when no writer runs.
    fn assert_sound(&self) {
        let index = self.index();
        let mut firsts = BTreeMap::new();
        let (mut prev, mut link, mut count) = (null_mut(), self.head.load(Ordering::Acquire), 0);
        let mut last_hash = 0;
        let mut filters = vec![0; index.filters.len()];
        // SAFETY: no writer runs, so nothing is freed.
        while let Some(node) = unsafe { node_at::<T>(link) } {
            assert!(node.hash >= last_hash, "the list is sorted");
            assert_eq!(node.prev.load(Ordering::Relaxed), prev, "links back lead back");
            firsts.entry(index.home(node.hash)).or_insert(link);
            filters[index.home(node.hash)] |= index.filter_bit(node.hash);
            (last_hash, prev, count) = (node.hash, link, count + 1);
            link = node.next.load(Ordering::Acquire);
        }
        assert_eq!(self.tail.load(Ordering::Relaxed), prev);
        assert_eq!(self.len(), count);
        for (home, bucket) in index.buckets.iter().enumerate() {
            let first = firsts.get(&home).copied().unwrap_or(null_mut());
            assert_eq!(bucket.load(Ordering::Acquire), first, "bucket {home} leads to its first entry");
        }
        let kept: Vec<u16> = index.filters.iter().map(|filter| filter.load(Ordering::Relaxed)).collect();
        assert_eq!(kept, filters, "filters have the bits of what is there, and no others");
        let buckets = index.buckets.len();
        assert!(
            count <= buckets && (buckets == BUCKETS_MIN || count >= buckets / SPARSE),
            "{count}/{buckets}"
        );
    }
}

#[test]
fn a_million_inserts_are_found_and_removed() {
    const COUNT: u64 = if cfg!(debug_assertions) { 50_000 } else { 1_000_000 };
    // Not in the order of the list.
    let hash = |key: u64| key.wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29);
    let domain = Domain::new();
    let table = Table::new(&domain, usize::MAX);
    let start = Instant::now();
    for key in 0..COUNT {
        table.insert(hash(key), key).expect("no limit");
    }
    let inserted = start.elapsed();
    table.assert_sound();
    let start = Instant::now();
    let guard = domain.pin();
    for key in 0..COUNT {
        assert_eq!(table.find(hash(key), &guard, |&value| value == key), Some(&key));
    }
    let found = start.elapsed();
    drop(guard);
    let start = Instant::now();
    for key in 0..COUNT {
        assert!(table.remove(hash(key), |&value| value == key));
    }
    let removed = start.elapsed();
    let start = Instant::now();
    domain.reclaim();
    eprintln!("{COUNT}: {inserted:?} in, {found:?} found, {removed:?} out, {:?} reclaimed", start.elapsed());
    table.assert_sound();
    assert_eq!((table.len(), domain.pending()), (0, 0));
    assert!(inserted.as_secs() < 2, "a million inserts in {inserted:?}");
}

#[test]
fn the_limit_is_kept() {
    let domain = Domain::new();
    let table = Table::new(&domain, 2);
    assert_eq!(table.insert(1, 'a'), Ok(()));
    assert_eq!(table.insert_unless(1, 'b', |_| true), Err(Error::Exists));
    assert_eq!(table.insert_unless(1, 'b', |_| false), Ok(()));
    assert_eq!(table.insert(2, 'c'), Err(Error::Full { limit: 2 }));
    assert_eq!(table.replace(2, 'c', |_| true), Err(Error::Full { limit: 2 }));
    assert_eq!(table.replace(1, 'c', |&v| v == 'a'), Ok(true), "a replacement needs no room");
    assert_eq!(
        table.insert_unless(1, 'c', |&v| v == 'c'),
        Err(Error::Exists),
        "not `Full`: the caller may update"
    );
    assert_eq!((table.len(), table.limit()), (2, 2));
    assert_eq!(table.clear(), 2);
    assert_eq!(table.insert(2, 'c'), Ok(()));
    table.assert_sound();
}

#[test]
fn hashes_that_differ_in_few_bits_are_spread() {
    let domain = Domain::new();
    for shift in [0, 16, 32, 48] {
        let table = Table::new(&domain, usize::MAX);
        (0..4096u64).for_each(|key| table.insert(key << shift, key).expect("no limit"));
        let index = table.index();
        let used = index.buckets.iter().filter(|b| !b.load(Ordering::Acquire).is_null()).count();
        assert!(used > index.buckets.len() / 4, "shift {shift}: {used} of {}", index.buckets.len());
    }
}

#[test]
fn a_predicate_that_panics_leaves_the_table_whole() {
    let domain = Domain::new();
    let table = Table::new(&domain, usize::MAX);
    table.insert(1, 1).expect("no limit");
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        table.remove(1, |_| panic!("on purpose: a predicate panics"))
    }));
    assert!(panicked.is_err());
    table.insert(2, 2).expect("the lock is free and the table whole");
    table.assert_sound();
    assert_eq!(table.len(), 2);
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u64, u8),
    InsertUnless(u64, u8),
    Replace(u64, u8),
    Remove(u64, u8),
    Take(u64),
    Retain(u8),
}

fn step() -> impl Strategy<Value = Step> {
    // Few hashes, so that equal ones meet; few values, so that equal entries do.
    let hash = prop_oneof![0..4u64, 0..400u64, Just(u64::MAX)];
    let entry = (hash.clone(), 0..4u8);
    prop_oneof![
        6 => entry.clone().prop_map(|(h, v)| Step::Insert(h, v)),
        6 => entry.clone().prop_map(|(h, v)| Step::InsertUnless(h, v)),
        3 => entry.clone().prop_map(|(h, v)| Step::Replace(h, v)),
        6 => entry.prop_map(|(h, v)| Step::Remove(h, v)),
        3 => hash.prop_map(Step::Take),
        1 => (0..8u8).prop_map(Step::Retain),
    ]
}

type Entry = (u64, u8);

const LIMIT: usize = 120;

fn apply(table: &Table<Entry>, step: &Step) -> Result<u64, Error> {
    match *step {
        Step::Insert(h, v) => table.insert(h, (h, v)).map(|()| 0),
        Step::InsertUnless(h, v) => table.insert_unless(h, (h, v), |e| *e == (h, v)).map(|()| 0),
        Step::Replace(h, v) => table.replace(h, (h, v), |e| e.0 == h).map(u64::from),
        Step::Remove(h, v) => Ok(table.remove(h, |e| *e == (h, v)).into()),
        Step::Take(h) => Ok(table.take(h, |e| e.0 == h).map_or(u64::MAX, |e| e.1.into())),
        Step::Retain(v) => Ok(table.retain(|e| e.1 != v) as u64),
    }
}

fn apply_naively(model: &mut Vec<Entry>, step: &Step) -> Result<u64, Error> {
    let full =
        |model: &Vec<Entry>| if model.len() >= LIMIT { Err(Error::Full { limit: LIMIT }) } else { Ok(()) };
    match *step {
        Step::InsertUnless(h, v) if model.contains(&(h, v)) => Err(Error::Exists),
        Step::Insert(h, v) | Step::InsertUnless(h, v) => {
            full(model)?;
            model.push((h, v));
            Ok(0)
        }
        Step::Replace(h, v) => {
            let old = model.iter().position(|e| e.0 == h);
            match old {
                Some(old) => drop(model.remove(old)),
                None => full(model)?,
            }
            model.push((h, v));
            Ok(old.is_some().into())
        }
        Step::Remove(h, v) => {
            let old = model.iter().position(|e| *e == (h, v));
            Ok(old.map(|old| model.remove(old)).is_some().into())
        }
        Step::Take(h) => {
            let old = model.iter().position(|e| e.0 == h);
            Ok(old.map_or(u64::MAX, |old| model.remove(old).1.into()))
        }
        Step::Retain(v) => {
            let before = model.len();
            model.retain(|e| e.1 != v);
            Ok((before - model.len()) as u64)
        }
    }
}

/// One page of a dump.
fn page(table: &Table<Entry>, cursor: &mut Cursor, domain: &Domain, size: usize, out: &mut Vec<Entry>) {
    let mut room = size;
    table.resume(cursor, &domain.pin(), |entry| {
        if room == 0 {
            return ControlFlow::Break(());
        }
        room -= 1;
        out.push(*entry);
        ControlFlow::Continue(())
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn behaves_as_a_multimap(steps in prop::collection::vec(step(), 0..400), page_size in 1..20usize) {
        let domain = Domain::new();
        let table = Table::new(&domain, LIMIT);
        let mut model = Vec::new();
        for step in &steps {
            prop_assert_eq!(apply(&table, step), apply_naively(&mut model, step), "{:?}", step);
            table.assert_sound();
            domain.reclaim();
        }
        let guard = domain.pin();
        for hash in (0..400).chain([u64::MAX]) {
            let first = model.iter().find(|e| e.0 == hash);
            prop_assert_eq!(table.find(hash, &guard, |e| e.0 == hash), first, "the first inserted");
        }
        let (mut cursor, mut dumped) = (Cursor::default(), Vec::new());
        while !cursor.is_done() {
            page(&table, &mut cursor, &domain, page_size, &mut dumped);
        }
        let mut listed: Vec<_> = table.iter(&guard).copied().collect();
        prop_assert_eq!(&dumped, &listed, "a dump is the same walk");
        listed.sort_unstable();
        model.sort_unstable();
        prop_assert_eq!(listed, model);
    }

    #[test]
    fn a_dump_sees_each_entry_that_stays_once(
        keys in prop::collection::btree_set(0..2000u64, 1..300),
        batches in prop::collection::vec(prop::collection::vec(0..2000u64, 0..100), 1..30),
        page_size in 1..20usize,
    ) {
        let domain = Domain::new();
        let table = Table::new(&domain, usize::MAX);
        let insert = |key: u64| table.insert_unless(key, (key, 0), |e| e.0 == key);
        keys.iter().for_each(|&key| insert(key).expect("new"));
        let mut stayed: BTreeSet<u64> = keys.clone();
        let (mut cursor, mut dumped, mut batches) = (Cursor::default(), Vec::new(), batches.iter());
        while !cursor.is_done() {
            page(&table, &mut cursor, &domain, page_size, &mut dumped);
            for &key in batches.next().into_iter().flatten() {
                // Toggle: the table grows and shrinks on the way.
                if insert(key).is_err() {
                    table.remove(key, |e| e.0 == key);
                    stayed.remove(&key);
                }
            }
        }
        let seen: BTreeSet<u64> = dumped.iter().map(|e| e.0).collect();
        prop_assert_eq!(seen.len(), dumped.len(), "nothing twice");
        prop_assert!(stayed.is_subset(&seen), "missed {:?}", stayed.difference(&seen).collect::<Vec<_>>());
    }
}

#[test]
fn a_cursor_that_is_done_stays_done() {
    let domain = Domain::new();
    let table = Table::new(&domain, usize::MAX);
    let (mut cursor, mut out) = (Cursor::default(), Vec::new());
    page(&table, &mut cursor, &domain, 1, &mut out);
    assert!(cursor.is_done());
    table.insert(5, (5, 5)).expect("no limit");
    page(&table, &mut cursor, &domain, 1, &mut out);
    assert_eq!(out, []);
}

#[test]
fn readers_find_what_stays_while_the_table_breathes() {
    const WAVES: u64 = if cfg!(debug_assertions) { 10 } else { 60 };
    const STAYING: u64 = 100;
    const COMING: u64 = 5_000;
    let domain = Domain::new();
    let table = Table::new(&domain, usize::MAX);
    let staying =
        |entries: &mut dyn Iterator<Item = u64>| entries.filter(|&key| key < STAYING).count() as u64;
    (0..STAYING).for_each(|key| table.insert(key, Box::new(key)).expect("no limit"));
    let read = |go_on: &dyn Fn() -> bool| {
        let mut reader = domain.register();
        while go_on() {
            let guard = reader.enter();
            for key in 0..STAYING {
                assert_eq!(table.find(key, &guard, |v| **v == key).map(|v| **v), Some(key));
            }
            assert_eq!(staying(&mut table.iter(&guard).map(|v| **v)), STAYING);
            drop(guard);
            let (mut cursor, mut dumped) = (Cursor::default(), Vec::new());
            while !cursor.is_done() {
                let guard = reader.enter();
                let mut room = 500;
                table.resume(&mut cursor, &guard, |value| {
                    room -= 1;
                    dumped.push(**value);
                    if room > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                });
            }
            dumped.dedup();
            assert_eq!(staying(&mut dumped.into_iter()), STAYING, "each once");
        }
    };
    crate::stress::read_while(2, read, || {
        for wave in 1..=WAVES {
            let keys = wave * COMING..(wave + 1) * COMING;
            keys.clone().for_each(|key| table.insert(key, Box::new(key)).expect("no limit"));
            if wave % 2 == 0 {
                keys.for_each(|key| assert!(table.remove(key, |v| **v == key)));
            } else {
                assert_eq!(table.retain(|v| **v < STAYING) as u64, COMING);
            }
            domain.reclaim();
        }
    });
    table.assert_sound();
    assert_eq!(table.len() as u64, STAYING);
}
