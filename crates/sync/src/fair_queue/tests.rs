// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Fairness, bounds, wake-ups and memory of the queue.

use super::*;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex as StdMutex};

fn counting_waker() -> (Waker, impl Fn() -> usize) {
    let calls = Arc::new(AtomicUsize::new(0));
    let read = calls.clone();
    let waker = move || {
        calls.fetch_add(1, Ordering::SeqCst);
    };
    (Box::new(waker), move || read.load(Ordering::SeqCst))
}

fn queue(per_source: usize, total: usize) -> FairQueue<u64> {
    FairQueue::new(Limits { per_source, total }, Box::new(|| ()))
}

fn round(queue: &FairQueue<u64>, max: usize) -> (Vec<(u32, u64)>, bool) {
    let mut out = Vec::new();
    let more = queue.pop_round(max, &mut out);
    (out, more)
}

#[test]
fn sources_take_turns_and_keep_their_order() {
    let queue = queue(10, 100);
    (0..5).for_each(|item| queue.push(7, item).expect("room"));
    queue.push(8, 100).expect("room");
    assert_eq!(round(&queue, 2), (vec![(7, 0), (7, 1), (8, 100)], true));
    queue.push(8, 101).expect("room");
    assert_eq!(round(&queue, 2), (vec![(7, 2), (7, 3), (8, 101)], true));
    assert_eq!((round(&queue, 0), queue.len()), ((vec![(7, 4)], false), 0), "at least one");
    assert_eq!(round(&queue, 2), (vec![], false));
}

#[test]
fn a_source_is_bounded_and_its_refusals_counted() {
    let queue = queue(3, 100);
    let accepted = (0..10).filter(|&item| queue.push(1, item).is_ok()).count();
    assert_eq!((accepted, queue.push(1, 77), queue.push(2, 0)), (3, Err(77), Ok(())));
    assert_eq!((queue.refused(1), queue.refused(2), queue.refused(3), queue.refused_total()), (8, 0, 0, 8));
    assert_eq!(queue.remove(1), [0, 1, 2]);
    assert_eq!((queue.refused(1), queue.refused_total(), queue.len()), (0, 8, 1), "the sum does not go back");
    assert_eq!(queue.remove(1), []);
    queue.push(1, 5).expect("made anew");
    assert_eq!(round(&queue, 9).0.len(), 2);
}

#[test]
fn floods_leave_room_for_the_quiet() {
    const TOTAL: usize = 1000;
    let queue = queue(TOTAL, TOTAL);
    for _ in 0..TOTAL {
        let _accepted = (0..9).filter(|&flooding| queue.push(flooding, 0).is_ok()).count();
    }
    assert!((850..=900).contains(&queue.len()), "nine floods leave a tenth: {}", queue.len());
    (100..150).for_each(|quiet| queue.push(quiet, 1).expect("room for the quiet"));
    let (out, _) = round(&queue, 1);
    assert_eq!(out.iter().filter(|(source, _)| *source >= 100).count(), 50, "all served in one round");
}

#[test]
fn the_total_is_a_bound() {
    for total in [0, 1, 5] {
        let queue = queue(10, total);
        let accepted = (0..20).filter(|&source| queue.push(source, 0).is_ok()).count();
        assert_eq!((accepted, queue.len(), queue.refused_total()), (total, total, 20 - total as u64));
    }
    assert_eq!(queue(0, 10).push(1, 9), Err(9));
}

#[test]
fn the_waker_is_called_when_the_queue_becomes_non_empty() {
    let (waker, calls) = counting_waker();
    let queue = FairQueue::new(Limits { per_source: 8, total: 100 }, waker);
    queue.push(1, 0).expect("room");
    queue.push(1, 1).expect("room");
    queue.push(2, 2).expect("room");
    assert_eq!(calls(), 1);
    assert_eq!(round(&queue, 1), (vec![(1, 0), (2, 2)], true));
    queue.push(3, 3).expect("room");
    assert_eq!(calls(), 1, "the reader was told that there is more");
    assert!(!round(&queue, 8).1);
    queue.push(1, 4).expect("room");
    assert_eq!(calls(), 2);
}

#[test]
fn memory_of_drained_sources_is_given_back() {
    let queue = queue(64, 1000);
    let capacity = |source| {
        let source = queue.sources.get(source).expect("it exists");
        lock(&source.state).fifo.capacity()
    };
    (0..50).for_each(|item| queue.push(1, item).expect("room"));
    let _ = round(&queue, 64);
    assert!(capacity(1) >= 50, "kept for the next burst");
    for item in 0..2 * REST_ROUNDS {
        queue.push(2, item).expect("room");
        let _ = round(&queue, 64);
    }
    assert_eq!(capacity(1), 0, "drained long ago");
    assert!(capacity(2) > 0, "still busy");
    queue.trim();
    assert_eq!(capacity(2), 0);
    queue.push(2, 5).expect("room");
    assert_eq!(round(&queue, 64), (vec![(2, 5)], false), "and it works as before");
    queue.trim();
    assert!(lock(&queue.resting).is_empty());
}

/// A bell that a sleeping reader waits for, with a limit that turns a lost wake-up into a failure.
#[derive(Default)]
struct Bell(StdMutex<bool>, Condvar);

impl Bell {
    fn ring(&self) {
        *lock(&self.0) = true;
        self.1.notify_one();
    }

    fn wait(&self) {
        let limit = std::time::Duration::from_secs(120);
        let (mut rung, timeout) =
            self.1.wait_timeout_while(lock(&self.0), limit, |rung| !*rung).expect("the bell");
        assert!(!timeout.timed_out(), "a wake-up was lost");
        *rung = false;
    }
}

#[test]
fn nothing_is_lost_or_reordered_under_stress() {
    const PUSHERS: u64 = 4;
    const EACH: u64 = if cfg!(debug_assertions) { 20_000 } else { 200_000 };
    let bell = Arc::new(Bell::default());
    let ring = bell.clone();
    let queue = FairQueue::new(Limits { per_source: 32, total: 128 }, Box::new(move || ring.ring()));
    let mut last: HashMap<u32, u64> = HashMap::new();
    let mut count = 0;
    std::thread::scope(|scope| {
        for pusher in 0..PUSHERS {
            let queue = &queue;
            // Two pushers to a source: what each pushes keeps its order.
            scope.spawn(move || {
                for i in 0..EACH {
                    let mut item = pusher << 32 | i;
                    while let Err(back) = queue.push(pusher as u32 / 2, item) {
                        item = back;
                        std::thread::yield_now();
                    }
                }
            });
        }
        let mut out = Vec::new();
        while count < PUSHERS * EACH {
            bell.wait();
            while queue.pop_round(8, &mut out) {}
            for (source, item) in out.drain(..) {
                let (pusher, i) = ((item >> 32) as u32, item & 0xffff_ffff);
                assert_eq!(source, pusher / 2);
                let before = last.insert(pusher, i);
                assert_eq!(i, before.map_or(0, |before| before + 1), "pusher {pusher}");
                count += 1;
            }
        }
    });
    assert_eq!((queue.len(), count), (0, PUSHERS * EACH));
}

#[test]
fn removal_under_stress_gives_every_item_to_somebody() {
    const ITEMS: usize = if cfg!(debug_assertions) { 20_000 } else { 200_000 };
    let queue = queue(16, 64);
    let (mut popped, mut removed) = (0, 0);
    let refused = std::thread::scope(|scope| {
        let pusher = scope.spawn(|| (0..ITEMS).filter(|&i| queue.push(1, i as u64).is_err()).count());
        let mut out = Vec::new();
        while !pusher.is_finished() || !queue.is_empty() {
            removed += queue.remove(1).len();
            while queue.pop_round(4, &mut out) {}
            popped += out.len();
            out.clear();
        }
        pusher.join().expect("the pusher")
    });
    assert_eq!((popped + removed + refused, queue.len()), (ITEMS, 0));
    assert_eq!(queue.refused_total(), refused as u64);
}
