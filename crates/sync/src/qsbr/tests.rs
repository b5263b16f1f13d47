// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Grace periods as writers and readers see them, and under threads.

use super::*;
use std::sync::atomic::{AtomicBool, AtomicUsize};

/// Counts its drops.
struct Counted(std::sync::Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn counter() -> (std::sync::Arc<AtomicUsize>, impl Fn() -> usize) {
    let count = std::sync::Arc::new(AtomicUsize::new(0));
    let read = count.clone();
    (count, move || read.load(Ordering::SeqCst))
}

#[test]
fn retired_values_wait_for_the_guards_that_existed_and_no_others() {
    let (count, dropped) = counter();
    let domain = Domain::new();
    let (mut first, mut second) = (domain.register(), domain.register());
    let before = first.enter();
    domain.retire(Counted(count.clone()));
    assert_eq!((domain.reclaim(), dropped(), domain.pending()), (0, 0, 1));
    let _after = second.enter();
    assert_eq!(domain.reclaim(), 0, "the first guard is still there");
    drop(before);
    assert_eq!((domain.reclaim(), dropped(), domain.pending()), (1, 1, 0), "the second came later");
}

#[test]
fn a_reader_that_is_outside_delays_nothing() {
    let (count, dropped) = counter();
    let domain = Domain::new();
    let mut reader = domain.register();
    drop(reader.enter());
    domain.retire(Counted(count));
    assert_eq!((domain.reclaim(), dropped()), (1, 1));
}

#[test]
fn pinned_guards_count_and_may_change_threads() {
    let (count, dropped) = counter();
    let domain = Domain::new();
    let pinned = domain.pin();
    domain.retire(Counted(count));
    assert_eq!(domain.reclaim(), 0);
    std::thread::scope(|scope| scope.spawn(move || drop(pinned)).join()).expect("a thread");
    domain.reclaim();
    assert_eq!(dropped(), 1);
}

#[test]
fn deferred_actions_run_in_order_and_may_retire_more() {
    let (count, dropped) = counter();
    let order = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let domain = Domain::new();
    for i in 0..3 {
        let (order, domain_again, count) = (order.clone(), domain.clone(), count.clone());
        domain.defer(Box::new(move || {
            lock(&order).push(i);
            domain_again.retire(Counted(count));
            assert_eq!(domain_again.reclaim(), 0, "it is being done already");
        }));
    }
    assert_eq!(domain.reclaim(), 6);
    assert_eq!((&*lock(&order), dropped()), (&vec![0, 1, 2], 3));
}

#[test]
fn a_destructor_that_panics_is_contained_and_counted() {
    let (count, dropped) = counter();
    let domain = Domain::new();
    domain.defer(Box::new(|| panic!("on purpose: a destructor panics")));
    domain.retire(Counted(count));
    // The payload of a panic may be anything, with a destructor that panics in turn.
    struct Payload;
    impl Drop for Payload {
        fn drop(&mut self) {
            panic!("on purpose: a panic's payload panics");
        }
    }
    domain.defer(Box::new(|| std::panic::panic_any(Payload)));
    assert_eq!((domain.reclaim(), dropped(), domain.destructor_panics()), (3, 1, 2));
}

#[test]
fn an_action_that_defers_itself_does_not_hold_reclaim() {
    fn again(domain: Domain, runs: std::sync::Arc<AtomicUsize>) -> Box<dyn FnOnce() + Send> {
        Box::new(move || {
            // Not for ever: at the domain's end nothing may be left.
            if runs.fetch_add(1, Ordering::SeqCst) < 3 * PASSES_MAX {
                domain.clone().defer(again(domain, runs));
            }
        })
    }
    let (runs, count) = counter();
    let domain = Domain::new();
    domain.defer(again(domain.clone(), runs));
    assert_eq!((domain.reclaim(), count(), domain.pending()), (PASSES_MAX, PASSES_MAX, 1));
    while domain.reclaim() > 0 {}
    assert_eq!((count(), domain.pending()), (3 * PASSES_MAX + 1, 0));
}

#[test]
fn the_last_handle_frees_what_is_left() {
    let (count, dropped) = counter();
    let domain = Domain::new();
    let reader = domain.register();
    domain.retire(Counted(count.clone()));
    drop(domain);
    assert_eq!(dropped(), 0, "the reader is a handle too");
    drop(reader);
    assert_eq!(dropped(), 1);

    let domain = Domain::new();
    let snapshot = crate::Snapshot::new(&domain, Counted(count));
    drop(domain);
    assert_eq!(dropped(), 1);
    drop(snapshot);
    assert_eq!(dropped(), 2, "nobody else will come to clean up");
}

#[test]
fn seats_are_used_again_and_given_back() {
    let domain = Domain::new();
    let seats = || lock(&domain.shared.seats).all.len();
    for _ in 0..100 {
        drop(domain.pin());
    }
    assert_eq!(seats(), 1);
    let many: Vec<_> = (0..100).map(|_| domain.register()).collect();
    assert_eq!(seats(), 101);
    drop(many);
    assert_eq!(seats(), 1 + IDLE_SEATS_MAX);
}

#[test]
fn a_thread_keeps_a_few_seats_and_gives_them_back_when_it_ends() {
    let (domain, other) = (Domain::new(), Domain::new());
    let of = |domain: &Domain| {
        let seats = lock(&domain.shared.seats);
        (seats.all.len(), seats.idle.len())
    };
    let pins = || {
        for _ in 0..100 {
            drop((domain.pin(), domain.pin(), other.pin()));
        }
        assert_eq!((of(&domain), of(&other)), ((2, 0), (1, 0)));
        drop((0..10).map(|_| domain.pin()).collect::<Vec<_>>());
        assert_eq!(of(&domain), (10, 7), "three are kept, beside the other domain's");
        for _ in 0..100 {
            let gone = Domain::new();
            drop((gone.pin(), domain.pin()));
        }
        assert_eq!((of(&domain), of(&other)), ((10, 8), (1, 0)), "those of domains that have gone make room");
    };
    // Joined, not only waited for: the thread's own things go after its closure.
    std::thread::scope(|scope| scope.spawn(pins).join()).expect("a thread");
    assert_eq!((of(&domain), of(&other)), ((10, 10), (1, 1)), "given back");
}

#[test]
fn a_kept_seat_protects_what_it_is_used_for() {
    let (count, dropped) = counter();
    let domain = Domain::new();
    for round in 0..10 {
        let outer = domain.pin();
        let inner = domain.pin();
        domain.retire(Counted(count.clone()));
        drop(outer);
        assert_eq!((domain.reclaim(), dropped()), (0, round), "the inner guard is still there");
        drop(inner);
        assert_eq!((domain.reclaim(), dropped()), (1, round + 1));
    }
}

#[test]
fn synchronize_waits_for_the_reader_that_is_inside() {
    let domain = Domain::new();
    let (inside, left) = (std::sync::Barrier::new(2), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (domain, inside, left) = (&domain, &inside, &left);
        scope.spawn(move || {
            let guard = domain.pin();
            inside.wait();
            std::thread::sleep(std::time::Duration::from_millis(20));
            left.store(true, Ordering::SeqCst);
            drop(guard);
        });
        inside.wait();
        let (count, dropped) = counter();
        domain.retire(Counted(count));
        domain.synchronize();
        assert!(left.load(Ordering::SeqCst), "it was inside when synchronize was called");
        assert_eq!(dropped(), 1);
    });
}

/// A value that destroys itself visibly, for the stress tests.
struct Fragile {
    state: AtomicU64,
}

const WHOLE: u64 = 0x5afe_5afe_5afe_5afe;

impl Drop for Fragile {
    fn drop(&mut self) {
        self.state.store(0xdead, Ordering::SeqCst);
    }
}

#[test]
fn readers_never_see_a_dead_value_under_stress() {
    const PUBLICATIONS: usize = if cfg!(debug_assertions) { 20_000 } else { 200_000 };
    let fragile = || Fragile { state: AtomicU64::new(WHOLE) };
    let domain = Domain::new();
    let snapshot = crate::Snapshot::new(&domain, fragile());
    let read = |go_on: &dyn Fn() -> bool| {
        let mut reader = domain.register();
        for round in 0.. {
            if !go_on() {
                return;
            }
            let guard = if round % 4 == 0 { domain.pin() } else { reader.enter() };
            let values: Vec<_> = (0..8).map(|_| snapshot.load(&guard)).collect();
            assert!(values.iter().all(|v| v.state.load(Ordering::SeqCst) == WHOLE));
        }
    };
    crate::stress::read_while(3, read, || {
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..PUBLICATIONS / 2 {
                        snapshot.publish(fragile());
                        domain.reclaim();
                    }
                });
            }
        });
        domain.synchronize();
    });
    assert_eq!(domain.pending(), 0);
}
