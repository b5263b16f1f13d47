// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What actions need from outside: random numbers, meters, and somebody who carries out what they decide.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use portway_actions::{Effect, Environment, Program, Verdict};
use portway_buf::{DropReason, Pool};

use crate::io::{Io, RECIRCULATIONS_MAX, Site};

/// A worker's random numbers.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // Never zero: xorshift would stay there.
        Self(seed | 1)
    }

    pub(crate) fn next(&mut self) -> u32 {
        // xorshift64* (Vigna 2016): for sampling, not for secrets.
        let mut x = self.0;
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0 = x;
        (x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }
}

/// A worker's ids for the fragments of IPv6 packets. Who could guess them could put fragments of his own among them (RFC 7739).
pub(crate) struct FragmentIds {
    secret: u64,
    count: u64,
}

impl FragmentIds {
    pub(crate) fn new(secret: u64) -> Self {
        Self { secret, count: 0 }
    }

    /// Never zero, as in the kernel.
    pub(crate) fn next(&mut self) -> u32 {
        loop {
            self.count = self.count.wrapping_add(1);
            // SipHash, a pseudo-random function.
            let mut hash = DefaultHasher::new();
            hash.write_u64(self.secret);
            hash.write_u64(self.count);
            match hash.finish() as u32 {
                0 => {}
                id => return id,
            }
        }
    }
}

/// A worker that runs a program on a packet of one datapath.
pub(crate) struct Running<'a> {
    pub(crate) io: &'a mut Io,
    pub(crate) site: &'a Site<'a>,
    pub(crate) program: &'a Arc<Program>,
    /// A packet has been recirculated: what it leads to comes before what its list has behind that, which waits.
    pub(crate) waits: bool,
}

impl Environment for Running<'_> {
    #[inline]
    fn pool(&mut self) -> &mut Pool {
        &mut self.io.pool
    }

    #[inline]
    fn carry_out(&mut self, effect: Effect) {
        if self.waits {
            self.io.wait(self.program, effect);
        } else {
            self.waits = self.io.carry_out(self.site, self.program, effect);
        }
    }

    fn count_drop(&mut self, reason: DropReason) {
        self.io.drops.add(reason, 1);
    }

    fn random(&mut self) -> u32 {
        self.io.random.next()
    }

    fn fragment_id(&mut self) -> u32 {
        self.io.fragment_ids.next()
    }

    fn meter(&mut self, id: u32, packet_len: usize) -> Verdict {
        let Site { datapath, guard, now_ns, .. } = self.site;
        match datapath.meters.get(id, guard) {
            Some(meter) => meter.charge(self.io.worker(), packet_len, *now_ns),
            None => Verdict::Pass,
        }
    }

    fn recirculation_limit(&self) -> u16 {
        RECIRCULATIONS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragment_ids_differ_and_are_no_series() {
        let mut ids = FragmentIds::new(7);
        let all: Vec<u32> = (0..1000).map(|_| ids.next()).collect();
        let mut sorted = all.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert!(sorted.len() > 990 && sorted[0] != 0, "{}", sorted.len());
        let mut steps: Vec<u32> = all.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
        steps.sort_unstable();
        steps.dedup();
        assert!(steps.len() > 990, "the next one cannot be told from those before");
        let other = FragmentIds::new(8).next();
        assert_ne!(all[0], other, "another secret, other ids");
    }
}
