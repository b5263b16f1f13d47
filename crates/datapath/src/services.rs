// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What actions need from outside: random numbers and meters.

use portway_actions::{Services as ActionServices, Verdict};

/// A worker's services.
pub(crate) struct Services {
    random: u64,
}

impl Services {
    pub(crate) fn new(seed: u64) -> Self {
        // Never zero: xorshift would stay there.
        Self { random: seed | 1 }
    }
}

impl ActionServices for Services {
    fn random(&mut self) -> u32 {
        // xorshift64* (Vigna 2016): for sampling, not for secrets.
        let mut x = self.random;
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.random = x;
        (x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    fn meter(&mut self, _id: u32, _packet_len: usize) -> Verdict {
        // No meter can be made yet, and the action on an unknown meter passes the packet.
        Verdict::Pass
    }
}
