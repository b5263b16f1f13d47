// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The array against a naive model, at its limits, and under threads.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[test]
fn out_of_range_and_taken_are_refused() {
    let domain = Domain::new();
    let slots = Slots::new(&domain, 3);
    let out_of_range = Error::IndexOutOfRange { index: 3, capacity: 3 };
    assert_eq!(slots.set(3, 'x'), Err(out_of_range));
    assert_eq!(slots.replace(3, 'x'), Err(out_of_range));
    assert_eq!(slots.set(usize::MAX, 'x').map_err(|e| e.to_string()).map(|()| String::new()), {
        Err(format!("index {} is out of range: the capacity is 3", usize::MAX))
    });
    assert_eq!(slots.set(2, 'a'), Ok(()));
    assert_eq!(slots.set(2, 'b'), Err(Error::IndexTaken { index: 2 }));
    assert_eq!(slots.get(2, &domain.pin()), Some(&'a'), "the refused value changed nothing");
    assert_eq!((slots.get(3, &domain.pin()), slots.get(usize::MAX, &domain.pin())), (None, None));
    assert_eq!((slots.take(usize::MAX), slots.take(0), slots.take(2)), (None, None, Some('a')));
    assert!(slots.is_empty());
}

#[test]
fn no_capacity_is_a_capacity() {
    let domain = Domain::new();
    let slots = Slots::<u8>::new(&domain, 0);
    assert_eq!(slots.lowest_free(0), None);
    assert_eq!(slots.insert_lowest(0, |_| 1), Err(Error::Full { limit: 0 }));
    assert_eq!(slots.iter(&domain.pin()).count(), 0);
}

#[test]
fn the_last_free_index_of_65536_is_found_fast() {
    const CAPACITY: usize = 65_536;
    let domain = Domain::new();
    let slots = Slots::new(&domain, CAPACITY);
    for expected in 0..CAPACITY {
        assert_eq!(slots.insert_lowest(0, |index| index), Ok(expected));
    }
    assert_eq!((slots.len(), slots.lowest_free(0)), (CAPACITY, None));
    for free in [0, 1, 63, 64, 4095, 4096, 40_000, CAPACITY - 1] {
        assert_eq!(slots.take(free), Some(free));
        let looks = (0..1000).map(|_| {
            let start = std::time::Instant::now();
            assert_eq!(slots.lowest_free(0), Some(free));
            start.elapsed()
        });
        let each = looks.min().expect("some");
        assert!(each.as_micros() < 5, "{each:?} for the fastest look: that walks the taken ones");
        assert_eq!(slots.lowest_free(free + 1), None);
        slots.set(free, free).expect("free");
    }
    let guard = domain.pin();
    assert!(slots.iter(&guard).map(|(index, &value)| (index, value)).eq((0..CAPACITY).map(|i| (i, i))));
}

#[derive(Clone, Debug)]
enum Step {
    Set(usize, u32),
    Replace(usize, u32),
    Take(usize),
    InsertLowest(usize, u32),
    LowestFree(usize),
}

fn step(capacity: usize) -> impl Strategy<Value = Step> {
    // A few indexes past the end, and a dense region so that words fill up.
    let index = prop_oneof![0..capacity + 3, 0..130usize];
    prop_oneof![
        1 => (index.clone(), any::<u32>()).prop_map(|(i, v)| Step::Set(i, v)),
        1 => (index.clone(), any::<u32>()).prop_map(|(i, v)| Step::Replace(i, v)),
        1 => index.clone().prop_map(Step::Take),
        3 => (index.clone(), any::<u32>()).prop_map(|(i, v)| Step::InsertLowest(i, v)),
        1 => index.prop_map(Step::LowestFree),
    ]
}

/// What a [`Step`] gives, in one shape for both sides.
type Outcome = (Option<usize>, Option<u32>, Option<Error>);

fn apply(slots: &Slots<u32>, step: &Step) -> Outcome {
    match *step {
        Step::Set(index, value) => (None, None, slots.set(index, value).err()),
        Step::Replace(index, value) => match slots.replace(index, value) {
            Ok(replaced) => (Some(usize::from(replaced)), None, None),
            Err(error) => (None, None, Some(error)),
        },
        Step::Take(index) => (None, slots.take(index), None),
        Step::InsertLowest(from, value) => match slots.insert_lowest(from, |_| value) {
            Ok(index) => (Some(index), None, None),
            Err(error) => (None, None, Some(error)),
        },
        Step::LowestFree(from) => (slots.lowest_free(from), None, None),
    }
}

fn apply_naively(model: &mut BTreeMap<usize, u32>, capacity: usize, step: &Step) -> Outcome {
    let lowest =
        |model: &BTreeMap<usize, u32>, from: usize| (from..capacity).find(|i| !model.contains_key(i));
    let out_of_range = |index| (None, None, Some(Error::IndexOutOfRange { index, capacity }));
    match *step {
        Step::Set(index, _) | Step::Replace(index, _) if index >= capacity => out_of_range(index),
        Step::Set(index, _) if model.contains_key(&index) => (None, None, Some(Error::IndexTaken { index })),
        Step::Set(index, value) => (None, model.insert(index, value), None),
        Step::Replace(index, value) => (Some(usize::from(model.insert(index, value).is_some())), None, None),
        Step::Take(index) => (None, model.remove(&index), None),
        Step::InsertLowest(from, value) => match lowest(model, from) {
            Some(index) => {
                model.insert(index, value);
                (Some(index), None, None)
            }
            None => (None, None, Some(Error::Full { limit: capacity })),
        },
        Step::LowestFree(from) => (lowest(model, from), None, None),
    }
}

fn steps() -> impl Strategy<Value = (usize, Vec<Step>)> {
    let capacity = prop_oneof![0..4usize, 60..70usize, 250..260usize, 4090..4200usize];
    capacity.prop_flat_map(|capacity| (Just(capacity), prop::collection::vec(step(capacity), 0..300)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn behaves_as_a_map((capacity, steps) in steps()) {
        let domain = Domain::new();
        let slots = Slots::new(&domain, capacity);
        let mut model = BTreeMap::new();
        for step in &steps {
            prop_assert_eq!(apply(&slots, step), apply_naively(&mut model, capacity, step), "{:?}", step);
            prop_assert_eq!(slots.len(), model.len());
        }
        let guard = domain.pin();
        let entries: Vec<_> = slots.iter(&guard).map(|(index, &value)| (index, value)).collect();
        prop_assert_eq!(entries, model.iter().map(|(&index, &value)| (index, value)).collect::<Vec<_>>());
        for index in 0..capacity + 2 {
            prop_assert_eq!(slots.get(index, &guard), model.get(&index));
        }
    }
}

#[test]
fn readers_see_whole_values_while_writers_churn() {
    const ROUNDS: usize = if cfg!(debug_assertions) { 5_000 } else { 100_000 };
    let domain = Domain::new();
    let slots = Slots::new(&domain, 1000);
    slots.set(500, Box::new(500)).expect("free");
    let read = |go_on: &dyn Fn() -> bool| {
        let mut reader = domain.register();
        while go_on() {
            let guard = reader.enter();
            assert_eq!(slots.get(500, &guard).map(|value| **value), Some(500), "it never leaves");
            for (index, value) in slots.iter(&guard) {
                assert_eq!(index, **value);
            }
        }
    };
    let churn = |from: usize| {
        for round in 0..ROUNDS {
            let index = slots.insert_lowest(from, Box::new).expect("room");
            assert!(slots.remove(index));
            if round % 64 == 0 {
                domain.reclaim();
            }
        }
    };
    crate::stress::read_while(2, read, || {
        std::thread::scope(|scope| {
            scope.spawn(|| churn(0));
            scope.spawn(|| churn(300));
        });
    });
    assert_eq!(slots.len(), 1);
}
