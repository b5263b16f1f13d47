// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The token bucket of a meter band.
//!
//! As the kernel's, it counts time in whole milliseconds, and of the time since the last packet it looks at no more whole milliseconds
//! than fill it from empty. Both can be seen from outside: a bucket that holds less than a millisecond's inflow never fills again, and
//! one that holds three and a half of them gets three at most between two packets (recording `meter-millisecond`).
//!
//! Any number of workers take from one bucket, and together they get exactly what it holds: taking is one compare-and-swap. The first
//! one that comes in a new millisecond fills it up, under a lock, so that those of the same millisecond that come a little later find
//! it filled; that is the only lock, and it is taken once per millisecond at most.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Tokens that a packet of a meter in packets per second costs: a token is a thousandth of a packet, as in the kernel.
pub const TOKENS_PER_PACKET: u64 = 1000;

/// Tokens per unit of burst: thousandths of a packet, or the bits of a kilobit.
const TOKENS_PER_BURST: u64 = 1000;

/// Nanoseconds per millisecond; the rate is in tokens per millisecond.
const NS_PER_MS: u64 = 1_000_000;

/// Tokens that flow in at a constant rate and of which only so many are kept.
#[derive(Debug)]
pub struct Bucket {
    /// Tokens per millisecond: packets per second, or kilobits per second.
    rate: u64,
    /// Tokens that it holds when full.
    capacity: u64,
    /// Milliseconds between two packets that count, at most; their inflow is not more than the capacity.
    gap_max: u64,
    level: AtomicU64,
    /// The last packet's time, whether it passed or not. Changed under `filling` only.
    used_ms: AtomicU64,
    filling: Mutex<()>,
}

impl Bucket {
    /// A full bucket. `rate`: packets per second, or kilobits per second; `burst`: packets, or kilobits; `now_ns`: monotonic time.
    pub fn new(rate: NonZeroU32, burst: u32, now_ns: u64) -> Self {
        let rate = u64::from(rate.get());
        let capacity = u64::from(burst) * TOKENS_PER_BURST;
        Self {
            rate,
            capacity,
            gap_max: capacity / rate,
            level: AtomicU64::new(capacity),
            used_ms: AtomicU64::new(now_ns / NS_PER_MS),
            filling: Mutex::new(()),
        }
    }

    /// Takes `tokens`: thousandths of a packet, or bits. False if there are too few, and then it takes none.
    #[inline]
    pub fn take(&self, tokens: u64, now_ns: u64) -> bool {
        let now_ms = now_ns / NS_PER_MS;
        // Acquire: who sees the new time sees what has flowed in until then.
        if now_ms > self.used_ms.load(Ordering::Acquire) {
            self.fill(now_ms);
        }
        let left = |level: u64| level.checked_sub(tokens);
        self.level.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok()
    }

    /// Tokens in the bucket: thousandths of a packet, or bits.
    pub fn level(&self, now_ns: u64) -> u64 {
        let gap = (now_ns / NS_PER_MS).saturating_sub(self.used_ms.load(Ordering::Acquire));
        self.filled(self.level.load(Ordering::Relaxed), gap)
    }

    /// Lets flow in what is due, unless another worker has done it.
    #[cold]
    fn fill(&self, now_ms: u64) {
        let _filling = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        let used_ms = self.used_ms.load(Ordering::Relaxed);
        if now_ms <= used_ms {
            return;
        }
        let filled = |level| Some(self.filled(level, now_ms - used_ms));
        // It never fails; others may take meanwhile.
        let _ = self.level.fetch_update(Ordering::Relaxed, Ordering::Relaxed, filled);
        self.used_ms.store(now_ms, Ordering::Release);
    }

    /// The level that follows `level` after so many milliseconds without a packet.
    fn filled(&self, level: u64, gap: u64) -> u64 {
        self.capacity.min(level + gap.min(self.gap_max) * self.rate)
    }
}

#[cfg(test)]
mod tests;
