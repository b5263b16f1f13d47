// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The bucket against its definition, against plain oracles, and under several workers.

use super::*;
use proptest::prelude::*;
use std::sync::atomic::AtomicBool;

const MS: u64 = NS_PER_MS;
const S: u64 = 1000 * MS;

fn bucket(rate: u32, burst: u32, now_ns: u64) -> Bucket {
    Bucket::new(NonZeroU32::new(rate).expect("a rate"), burst, now_ns)
}

#[test]
fn a_full_bucket_passes_its_burst_and_then_the_rate() {
    let bucket = bucket(1, 3, 77 * S);
    let passed = (0..10).filter(|_| bucket.take(TOKENS_PER_PACKET, 77 * S)).count();
    assert_eq!(passed, 3);
    assert!(!bucket.take(TOKENS_PER_PACKET, 78 * S - MS), "a millisecond too early");
    assert!(bucket.take(TOKENS_PER_PACKET, 78 * S));
    assert!(!bucket.take(TOKENS_PER_PACKET, 78 * S));
    assert_eq!(bucket.level(1000 * S), 3000, "never more than the burst");
}

#[test]
fn bits_are_counted_by_the_kilobit() {
    let bucket = bucket(1, 4, 0);
    let frame = 200 * 8;
    assert_eq!((0..6).filter(|_| bucket.take(frame, 0)).count(), 2);
    assert_eq!(bucket.level(0), 4000 - 2 * frame);
    assert!(bucket.take(60 * 8, 0), "a smaller one still fits");
    assert_eq!(bucket.level(100 * MS), 4000 - 2 * frame - 480 + 100);
}

#[test]
fn the_rate_is_kept_within_a_percent_over_ten_seconds() {
    for rate in [1_000u32, 100_000, 1_000_000] {
        for burst in [1, 10, rate / 1000, rate] {
            let bucket = bucket(rate, burst, 5 * S);
            while bucket.take(TOKENS_PER_PACKET, 5 * S) {}
            // Twice as many packets as may pass, evenly spaced.
            let offered = 10 * 2 * u64::from(rate);
            let passed = (1..=offered)
                .filter(|packet| bucket.take(TOKENS_PER_PACKET, 5 * S + packet * 10 * S / offered))
                .count() as u64;
            let wanted = 10 * u64::from(rate);
            assert!(passed.abs_diff(wanted) * 100 < wanted, "{passed} of {wanted}, burst {burst}");
            assert!(passed <= wanted, "never more: {passed} of {wanted}, burst {burst}");
        }
    }
}

#[test]
fn batches_that_come_by_the_millisecond_get_the_rate_too() {
    for rate in [1_000u32, 100_000, 1_000_000] {
        let bucket = bucket(rate, rate / 100, 0);
        while bucket.take(TOKENS_PER_PACKET, 0) {}
        let per_batch = 2 * rate / 1000;
        let batch = |ms: u64| (0..per_batch).filter(|_| bucket.take(TOKENS_PER_PACKET, ms * MS)).count();
        let passed: usize = (1..=10_000).map(batch).sum();
        assert_eq!(passed, 10 * rate as usize);
    }
}

#[test]
fn several_workers_together_get_exactly_what_there_is() {
    const WORKERS: u64 = 4;
    const ROUNDS: u64 = 200;
    let rate = 100_000u32;
    let bucket = bucket(rate, 5_000, 0);
    let clock = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    // Every worker keeps on asking while the clock goes on; at the end they take what is left.
    let passed: u64 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|_| {
                scope.spawn(|| {
                    let mut passed = 0;
                    loop {
                        let last = stop.load(Ordering::Acquire);
                        let now_ns = clock.load(Ordering::Acquire);
                        let mut taken = 0;
                        while bucket.take(TOKENS_PER_PACKET, now_ns) {
                            taken += 1;
                        }
                        passed += taken;
                        if last {
                            return passed;
                        }
                        std::thread::yield_now();
                    }
                })
            })
            .collect();
        for round in 1..=ROUNDS {
            clock.store(round * 10 * MS, Ordering::Release);
            std::thread::yield_now();
        }
        stop.store(true, Ordering::Release);
        workers.into_iter().map(|worker| worker.join().expect("a worker")).sum()
    });
    // The bucket may have been full for a while when nobody was quick enough: then tokens are lost, but never made.
    let flowed_in = u64::from(rate) * ROUNDS * 10 / 1000;
    assert!(passed <= 5_000 + flowed_in, "{passed}");
    assert_eq!(bucket.level(ROUNDS * 10 * MS), 0);

    // At a standing clock nothing is lost: exactly the burst, whoever gets it.
    let bucket = super::tests::bucket(rate, 100_000, 0);
    let passed: u64 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|_| scope.spawn(|| (0..50_000).filter(|_| bucket.take(TOKENS_PER_PACKET, 0)).count() as u64))
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker")).sum()
    });
    assert_eq!(passed, 100_000);
}

#[test]
fn a_worker_whose_time_is_behind_gets_nothing_that_has_been_given() {
    let bucket = bucket(1_000_000, 1, 10 * S);
    assert!(bucket.take(TOKENS_PER_PACKET, 10 * S + MS));
    assert_eq!(bucket.level(10 * S), 0);
    assert!(!bucket.take(TOKENS_PER_PACKET, 10 * S));
    assert!(bucket.take(TOKENS_PER_PACKET, 10 * S + 2 * MS), "and takes nothing from the others");
}

#[test]
fn the_highest_rate_outlives_its_clock() {
    let start = 3 * S;
    let bucket = bucket(u32::MAX, 10, start);
    // A packet a day for a year: the clock of tokens goes around several times.
    for day in 0..365 {
        let now = start + day * 86_400 * S;
        assert!(bucket.take(TOKENS_PER_PACKET, now), "day {day}");
        assert_eq!(bucket.level(now), 10_000 - TOKENS_PER_PACKET);
    }
}

#[test]
fn a_bucket_without_a_burst_passes_nothing() {
    let bucket = bucket(1_000_000, 0, 0);
    assert!((1..100).all(|s| !bucket.take(TOKENS_PER_PACKET, s * S)));
}

/// The plainest bucket there is: one thread, numbers without bounds, nothing kept but the level and the time.
struct Naive {
    rate: u128,
    capacity: u128,
    level: u128,
    at: u128,
}

impl Naive {
    fn new(rate: u32, burst: u32, now_ns: u64) -> Self {
        let (rate, capacity) = (u128::from(rate), u128::from(burst) * 1000);
        let at = u128::from(now_ns) * rate / 1_000_000;
        Self { rate, capacity, level: capacity, at }
    }

    fn take(&mut self, tokens: u64, now_ns: u64) -> bool {
        let at = u128::from(now_ns) * self.rate / 1_000_000;
        self.level = (self.level + (at - self.at)).min(self.capacity);
        self.at = at;
        let passes = self.level >= u128::from(tokens);
        if passes {
            self.level -= u128::from(tokens);
        }
        passes
    }
}

/// As the kernel counts, in whole milliseconds.
struct Kernel {
    rate: u64,
    capacity: u64,
    level: u64,
    ms: u64,
}

impl Kernel {
    fn take(&mut self, tokens: u64, ms: u64) -> bool {
        self.level = (self.level + (ms - self.ms) * self.rate).min(self.capacity);
        self.ms = ms;
        let passes = self.level >= tokens;
        if passes {
            self.level -= tokens;
        }
        passes
    }
}

proptest! {
    #[test]
    fn agrees_with_the_plainest_bucket(
        rate in prop_oneof![1u32..50, 1u32..2_000_000, Just(u32::MAX)],
        burst in prop_oneof![0u32..20, 0u32..100_000, Just(u32::MAX)],
        start in 0u64..(1 << 50),
        steps in prop::collection::vec((prop_oneof![Just(0u64), 0..3 * MS, 0..20 * S], 0u64..70_000 * 8), 1..200),
    ) {
        let bucket = bucket(rate, burst, start);
        let mut naive = Naive::new(rate, burst, start);
        let mut now = start;
        for (delta, tokens) in steps {
            now += delta;
            prop_assert_eq!(bucket.take(tokens, now), naive.take(tokens, now));
            prop_assert_eq!(u128::from(bucket.level(now)), naive.level);
        }
    }

    #[test]
    fn agrees_with_the_kernel_where_time_is_in_milliseconds(
        rate in 1u32..100_000,
        burst in 0u32..200_000,
        steps in prop::collection::vec((0u64..200, 64u64..1500), 1..200),
    ) {
        let bucket = bucket(rate, burst, S);
        let capacity = u64::from(burst) * 1000;
        let mut kernel = Kernel { rate: u64::from(rate), capacity, level: capacity, ms: 1000 };
        let mut ms = 1000;
        for (delta, len) in steps {
            ms += delta;
            prop_assert_eq!(bucket.take(len * 8, ms * MS), kernel.take(len * 8, ms));
        }
    }
}
