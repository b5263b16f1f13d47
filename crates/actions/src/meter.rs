// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The token bucket of a meter band.
//!
//! Any number of workers take from one bucket without a lock, and together they get exactly what it holds. That takes one atomic
//! word: not the level, which changes with time, but the point on the bucket's own clock at which it was last empty. That clock
//! counts the tokens that have flowed in since the beginning of time, so
//!
//! ```text
//!   level = min(clock - empty_at, capacity)        taking c tokens: empty_at += c
//! ```
//!
//! which is the generic cell rate algorithm (ITU-T I.371, annex A) with tokens in the place of time. Because nothing is rounded when
//! tokens are taken, no rate is too high or too low to be kept: the one rounding, of the clock, is less than one token in all.
//!
//! The kernel counts time in whole milliseconds, and a bucket that holds less than a millisecond's inflow never fills again there.
//! Here it does.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

/// Tokens that a packet of a meter in packets per second costs: a token is a thousandth of a packet, as in the kernel.
pub const TOKENS_PER_PACKET: u64 = 1000;

/// Tokens per unit of burst: thousandths of a packet, or the bits of a kilobit.
const TOKENS_PER_BURST: u64 = 1000;

/// Nanoseconds per millisecond; the rate is in tokens per millisecond.
const NS_PER_MS: u64 = 1_000_000;

/// How far one worker's time may be behind that of another, in tokens: a minute at the highest rate. What is further behind is
/// so long ago that the clock has gone once around.
const BEHIND_MAX: u64 = 1 << 48;

/// Tokens that flow in at a constant rate and of which only so many are kept.
#[derive(Debug)]
pub struct Bucket {
    /// Tokens per millisecond: packets per second, or kilobits per second.
    rate: u64,
    /// Tokens that it holds when full.
    capacity: u64,
    empty_at: AtomicU64,
}

impl Bucket {
    /// A full bucket. `rate`: packets per second, or kilobits per second; `burst`: packets, or kilobits; `now_ns`: monotonic time.
    pub fn new(rate: NonZeroU32, burst: u32, now_ns: u64) -> Self {
        let rate = u64::from(rate.get());
        let capacity = u64::from(burst) * TOKENS_PER_BURST;
        let full = clock(rate, now_ns).wrapping_sub(capacity);
        Self { rate, capacity, empty_at: AtomicU64::new(full) }
    }

    /// Takes `tokens`: thousandths of a packet, or bits. False if there are too few, and then it takes none.
    #[inline]
    pub fn take(&self, tokens: u64, now_ns: u64) -> bool {
        let clock = clock(self.rate, now_ns);
        let mut empty_at = self.empty_at.load(Ordering::Relaxed);
        loop {
            let level = self.level_at(clock, empty_at);
            if level < tokens {
                return false;
            }
            let next = clock.wrapping_sub(level - tokens);
            // The word guards nothing but itself, so no other memory needs to be ordered with it.
            let swap =
                self.empty_at.compare_exchange_weak(empty_at, next, Ordering::Relaxed, Ordering::Relaxed);
            match swap {
                Ok(_) => return true,
                Err(now) => empty_at = now,
            }
        }
    }

    /// Tokens in the bucket: thousandths of a packet, or bits.
    pub fn level(&self, now_ns: u64) -> u64 {
        self.level_at(clock(self.rate, now_ns), self.empty_at.load(Ordering::Relaxed))
    }

    #[inline]
    fn level_at(&self, clock: u64, empty_at: u64) -> u64 {
        let since = clock.wrapping_sub(empty_at);
        // Another worker, whose time is a little later, has emptied it.
        if since > u64::MAX - BEHIND_MAX { 0 } else { since.min(self.capacity) }
    }
}

/// The tokens that have flowed in since time 0, modulo 2^64: weeks at the highest rate, millennia at common ones.
#[inline]
fn clock(rate: u64, now_ns: u64) -> u64 {
    let (ms, ns) = (now_ns / NS_PER_MS, now_ns % NS_PER_MS);
    ms.wrapping_mul(rate).wrapping_add(ns * rate / NS_PER_MS)
}

#[cfg(test)]
mod tests;
