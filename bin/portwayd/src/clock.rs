// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The one place where the daemon reads the clock for the switch.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Monotonic time in nanoseconds: what the datapath and the bridges are told.
pub(crate) fn now_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// Nanoseconds since 1970: what captures say.
pub(crate) fn wall_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Realtime))
}

fn nanoseconds(time: Timespec) -> u64 {
    // Neither clock goes back behind its zero.
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
