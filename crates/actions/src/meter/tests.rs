// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The bucket against its definition, against the kernel's arithmetic, and under several workers.

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
        // From the smallest that fills at all, one millisecond's inflow, to a second's.
        for burst in [rate / 1000, rate / 1000 + 1, rate / 100, rate] {
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

/// In bits, with frames of several lengths: what passes is the rate within the largest frame's length in a thousand.
#[test]
fn the_rate_in_bits_is_kept_too() {
    for rate in [1_000u32, 100_000, 10_000_000] {
        let bucket = bucket(rate, rate / 10 + 12, 0);
        while bucket.take(8, 0) {}
        let mut passed = 0;
        for tick in 1..=100_000u64 {
            for bits in [64 * 8, 1500 * 8, 590 * 8] {
                while bucket.take(bits, tick * MS / 10) {
                    passed += bits;
                }
            }
        }
        let wanted = 10_000 * u64::from(rate);
        assert!(passed <= wanted && (wanted - passed) * 100 < wanted, "{passed} of {wanted}");
    }
}

#[test]
fn a_bucket_of_less_than_a_milliseconds_inflow_never_fills_again() {
    for (rate, burst) in [(1_000_000, 1), (1_000_000, 999), (2001, 2), (u32::MAX, 5)] {
        let bucket = bucket(rate, burst, S);
        let passed =
            (0..u64::from(burst) + 5).filter(|n| bucket.take(TOKENS_PER_PACKET, (1 + n) * S)).count();
        assert_eq!(passed, burst as usize, "{rate} {burst}");
    }
    let bucket = bucket(1_000_000, 1000, S);
    let passed = (0..3000).filter(|n| bucket.take(TOKENS_PER_PACKET, S + n / 1000 * MS)).count();
    assert_eq!(passed, 3000, "with all of it, it does each millisecond");
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
    let bucket = bucket(1_000_000, 1000, 10 * S);
    let all = 1000 * TOKENS_PER_PACKET;
    assert!(bucket.take(all, 10 * S + MS));
    assert_eq!(bucket.level(10 * S), 0);
    assert!(!bucket.take(all, 10 * S));
    assert!(bucket.take(all, 10 * S + 2 * MS), "and takes nothing from the others");
}

#[test]
fn the_highest_rate_and_burst_and_the_longest_time_do_not_overflow() {
    let bucket = bucket(u32::MAX, u32::MAX, 0);
    assert!(bucket.take(u64::from(u32::MAX) * 1000, 0));
    assert!(!bucket.take(1, 0));
    assert_eq!(bucket.level(u64::MAX), u64::from(u32::MAX) * 1000);
    assert!(bucket.take(u64::from(u32::MAX) * 1000, u64::MAX));
    let slow = super::tests::bucket(1, u32::MAX, 0);
    assert!(slow.take(u64::from(u32::MAX) * 1000, 0));
    assert_eq!(slow.level(u64::MAX), u64::from(u32::MAX) * 1000, "584 years are enough");
}

#[test]
fn a_bucket_without_a_burst_passes_nothing() {
    let bucket = bucket(1_000_000, 0, 0);
    assert!((1..100).all(|s| !bucket.take(TOKENS_PER_PACKET, s * S)));
}

/// As the kernel counts: its own variables, one thread.
struct Kernel {
    rate: u128,
    max_bucket_size: u128,
    max_delta_t: u128,
    bucket: u128,
    used: u128,
}

impl Kernel {
    fn new(rate: u32, burst: u32, now_ns: u64) -> Self {
        let (rate, bucket) = (u128::from(rate), u128::from(burst) * 1000);
        let used = u128::from(now_ns) / 1_000_000;
        Self { rate, max_bucket_size: bucket, max_delta_t: bucket / rate, bucket, used }
    }

    fn take(&mut self, tokens: u64, now_ns: u64) -> bool {
        let now = u128::from(now_ns) / 1_000_000;
        let delta = (now - self.used).min(self.max_delta_t);
        self.used = now;
        self.bucket = (self.bucket + delta * self.rate).min(self.max_bucket_size);
        let passes = self.bucket >= u128::from(tokens);
        if passes {
            self.bucket -= u128::from(tokens);
        }
        passes
    }
}

proptest! {
    #[test]
    fn agrees_with_the_kernel(
        rate in prop_oneof![1u32..50, 1u32..2_000_000, Just(u32::MAX)],
        burst in prop_oneof![0u32..20, 0u32..100_000, Just(u32::MAX)],
        start in 0u64..(1 << 50),
        steps in prop::collection::vec((prop_oneof![Just(0u64), 0..3 * MS, 0..20 * S], 0u64..70_000 * 8), 1..200),
    ) {
        let bucket = bucket(rate, burst, start);
        let mut kernel = Kernel::new(rate, burst, start);
        let mut now = start;
        for (delta, tokens) in steps {
            now += delta;
            prop_assert_eq!(bucket.take(tokens, now), kernel.take(tokens, now));
            prop_assert_eq!(u128::from(bucket.level(now)), kernel.bucket);
        }
    }
}
