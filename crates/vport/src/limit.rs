// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Log lines that traffic can provoke are limited in number.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Lets a burst of lines through, then so many per second. Approximate when several threads ask at once.
///
/// It reads the clock, but only when there is a line to write, and only to decide whether to write it.
#[derive(Debug)]
pub(crate) struct RateLimit {
    burst: u32,
    per_second: u32,
    /// Tokens left (low 32 bits) and the second in which they were counted (high 32 bits).
    state: AtomicU64,
    suppressed: AtomicU64,
}

impl Clone for RateLimit {
    fn clone(&self) -> Self {
        Self::new(self.burst, self.per_second)
    }
}

impl RateLimit {
    pub(crate) const fn new(burst: u32, per_second: u32) -> Self {
        Self { burst, per_second, state: AtomicU64::new(0), suppressed: AtomicU64::new(0) }
    }

    /// Whether a line may be written now: `Some` of how many were suppressed since the last one.
    pub(crate) fn allow(&self) -> Option<u64> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs() as u32);
        self.allow_at(now)
    }

    fn allow_at(&self, now: u32) -> Option<u64> {
        let taken = self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| {
            let (tokens, then) = (state as u32, (state >> 32) as u32);
            let refill = now.saturating_sub(then).saturating_mul(self.per_second);
            let tokens = if then == 0 { self.burst } else { tokens.saturating_add(refill).min(self.burst) };
            tokens.checked_sub(1).map(|left| u64::from(now) << 32 | u64::from(left))
        });
        if taken.is_ok() {
            return Some(self.suppressed.swap(0, Ordering::Relaxed));
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_a_trickle() {
        let limit = RateLimit::new(3, 1);
        assert_eq!((0..5).filter(|_| limit.allow_at(100).is_some()).count(), 3);
        assert_eq!(limit.allow_at(101), Some(2));
        assert_eq!(limit.allow_at(101), None);
        assert_eq!((0..5).filter(|_| limit.allow_at(200).is_some()).count(), 3);
    }
}
