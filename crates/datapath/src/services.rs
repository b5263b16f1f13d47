// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What actions need from outside: random numbers and meters.

use portway_actions::{Services as ActionServices, Verdict};

use crate::io::Site;

/// A worker's random numbers.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // Never zero: xorshift would stay there.
        Self(seed | 1)
    }

    fn next(&mut self) -> u32 {
        // xorshift64* (Vigna 2016): for sampling, not for secrets.
        let mut x = self.0;
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0 = x;
        (x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }
}

/// A worker's services for the packets of one datapath.
pub(crate) struct Services<'a> {
    pub(crate) random: &'a mut Random,
    pub(crate) site: &'a Site<'a>,
    pub(crate) worker: usize,
}

impl ActionServices for Services<'_> {
    fn random(&mut self) -> u32 {
        self.random.next()
    }

    fn meter(&mut self, id: u32, packet_len: usize) -> Verdict {
        let Site { datapath, guard, now_ns, .. } = self.site;
        match datapath.meters.get(id, guard) {
            Some(meter) => meter.charge(self.worker, packet_len, *now_ns),
            None => Verdict::Pass,
        }
    }
}
