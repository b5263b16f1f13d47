// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which of a worker's flows are busy: those that shortcuts pay for.

/// Windows that are watched at a time; busy ones push quiet ones out.
const SPOTS: usize = 512;
/// A window is busy that has this many packets or bytes within [`SPAN_NS`].
const PACKETS: u64 = 128;
const BYTES: u64 = 1 << 20;
const SPAN_NS: u64 = 100_000_000;
/// One that was found busy is not looked at again for so long.
const REST_NS: u64 = 1_000_000_000;

#[derive(Clone, Copy, Default)]
struct Spot {
    digest: u64,
    since_ns: u64,
    rests_until_ns: u64,
    packets: u64,
    bytes: u64,
}

/// What a worker has seen lately, by the digest of masked headers.
#[derive(Default)]
pub(crate) struct Heat {
    /// Made when it is first needed.
    spots: Vec<Spot>,
}

impl Heat {
    /// Notes a run; true if it is busy, once a second at most.
    #[inline]
    pub(crate) fn note(&mut self, digest: u64, packets: u64, bytes: u64, now_ns: u64) -> bool {
        if self.spots.is_empty() {
            self.spots = vec![Spot::default(); SPOTS];
        }
        let spot = &mut self.spots[digest as usize % SPOTS];
        if spot.digest != digest {
            // Two busy ones share a spot: the one that is resting makes room.
            *spot = Spot { digest, since_ns: now_ns, packets, bytes, rests_until_ns: 0 };
            return false;
        }
        if now_ns < spot.rests_until_ns {
            return false;
        }
        if now_ns.saturating_sub(spot.since_ns) > SPAN_NS {
            (spot.since_ns, spot.packets, spot.bytes) = (now_ns, 0, 0);
        }
        spot.packets += packets;
        spot.bytes += bytes;
        if spot.packets < PACKETS && spot.bytes < BYTES {
            return false;
        }
        (spot.packets, spot.bytes) = (0, 0);
        spot.rests_until_ns = now_ns + REST_NS;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn busy_is_many_packets_or_bytes_in_a_short_time() {
        let mut heat = Heat::default();
        let busy = |heat: &mut Heat, digest, each_ms: u64, packets, bytes| {
            (0..200).find(|&at| heat.note(digest, packets, bytes, at * each_ms * MS + 1))
        };
        assert_eq!(busy(&mut heat, 1, 1, 4, 400), Some(31), "128 packets in 31 ms");
        assert_eq!(busy(&mut heat, 2, 10, 1, 65_536), None, "six a span: neither many nor long");
        assert_eq!(busy(&mut heat, 3, 2, 1, 65_536), Some(15), "16 times 64 KiB");
        assert_eq!(busy(&mut heat, 4, 1, 1, 64), None, "a hundred a span");
    }

    #[test]
    fn who_was_found_busy_rests() {
        let mut heat = Heat::default();
        let times: Vec<u64> = (0..3000).filter(|&ms| heat.note(7, 64, 64, ms * MS)).collect();
        assert_eq!(times, [1, 1002, 2003]);
    }
}
