// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Meters: what a datapath has of them, and what a packet that meets one does to it.
//!
//! A worker finds a meter as it finds a port, in an array that it reads without a lock, and takes from the buckets of its bands
//! with one atomic operation each; what it counts, it counts in a block of its own.
//!
//! The array behaves as the kernel's, whose traces clients can see: a meter's place is its id modulo the array's present size, so
//! two ids may exclude each other; and when the array grows or shrinks, what is in it stays where it is, so a meter whose id is at home
//! elsewhere in the new size is there but not found. Clients that number their meters from 0, as Open vSwitch does, notice nothing.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use portway_actions::{Bucket, TOKENS_PER_PACKET, Verdict};
use portway_sync::{Counters, Domain, Guard, Slots};

use crate::error::Error;

/// A datapath has fewer meters than this (the kernel's DP_METER_NUM_MAX; FEATURES reports it).
pub const METERS_MAX: u32 = 200_000;

/// Places in the array at first, and at least.
const SIZE_MIN: usize = 1024;

/// Places in the array at most: SIZE_MIN doubled until METERS_MAX fit.
const SIZE_MAX: usize = SIZE_MIN << 8;

const _: () = assert!(SIZE_MAX >= METERS_MAX as usize && SIZE_MAX / 2 < METERS_MAX as usize);

const PACKETS: usize = 0;
const BYTES: usize = 1;
const USED_MS: usize = 2;

/// A band to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BandConfig {
    /// Whether what exceeds it is dropped; else it is only counted.
    pub drops: bool,
    /// Packets or kilobits per second.
    pub rate: NonZeroU32,
    /// Packets or kilobits that may come at once.
    pub burst: u32,
}

/// A meter to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterConfig {
    /// Its id.
    pub id: u32,
    /// Rates and bursts are in kilobits, not packets.
    pub kilobits: bool,
    /// Whether a request that replaces it is answered with its statistics.
    pub keeps_stats: bool,
    /// What its statistics start with.
    pub initial: MeterStats,
    /// Bands.
    pub bands: Vec<BandConfig>,
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeterStats {
    /// Packets.
    pub packets: u64,
    /// Bytes, VLAN tags that the kernel keeps beside a frame left out.
    pub bytes: u64,
}

/// A band: its bucket, and what exceeded it.
struct Band {
    drops: bool,
    rate: u32,
    bucket: Bucket,
    exceeded: Counters<2>,
}

/// A meter.
pub struct Meter {
    id: u32,
    kilobits: bool,
    keeps_stats: bool,
    initial: MeterStats,
    made_ms: u64,
    bands: Box<[Band]>,
    counters: Counters<3>,
}

fn ms(now_ns: u64) -> u64 {
    now_ns / 1_000_000
}

impl Meter {
    /// A meter with full buckets, for workers `0..workers`.
    pub(crate) fn new(config: &MeterConfig, workers: usize, now_ns: u64) -> Self {
        let band = |band: &BandConfig| Band {
            drops: band.drops,
            rate: band.rate.get(),
            bucket: Bucket::new(band.rate, band.burst, now_ns),
            exceeded: Counters::new(workers),
        };
        Self {
            id: config.id,
            kilobits: config.kilobits,
            keeps_stats: config.keeps_stats,
            initial: config.initial,
            made_ms: ms(now_ns),
            bands: config.bands.iter().map(band).collect(),
            counters: Counters::new(workers),
        }
    }

    /// Charges a packet of `len` bytes. Of the bands that it exceeds, that with the highest rate counts and decides.
    #[inline]
    pub(crate) fn charge(&self, worker: usize, len: usize, now_ns: u64) -> Verdict {
        let counters = self.counters.worker(worker);
        counters.add(PACKETS, 1);
        counters.add(BYTES, len as u64);
        counters.set(USED_MS, ms(now_ns));
        let tokens = if self.kilobits { len as u64 * 8 } else { TOKENS_PER_PACKET };
        let mut exceeded: Option<&Band> = None;
        for band in &self.bands {
            if !band.bucket.take(tokens, now_ns) && exceeded.is_none_or(|other| band.rate > other.rate) {
                exceeded = Some(band);
            }
        }
        let Some(band) = exceeded else { return Verdict::Pass };
        let counters = band.exceeded.worker(worker);
        counters.add(PACKETS, 1);
        counters.add(BYTES, len as u64);
        if band.drops { Verdict::Drop } else { Verdict::Pass }
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Whether a request that replaces it is answered with its statistics.
    pub fn keeps_stats(&self) -> bool {
        self.keeps_stats
    }

    /// What has come through, dropped or not; exact once traffic stops.
    pub fn stats(&self) -> MeterStats {
        let [packets, bytes, _] = self.counters.sum();
        MeterStats {
            packets: packets.wrapping_add(self.initial.packets),
            bytes: bytes.wrapping_add(self.initial.bytes),
        }
    }

    /// What exceeded each band.
    pub fn band_stats(&self) -> impl Iterator<Item = MeterStats> + '_ {
        self.bands.iter().map(|band| {
            let [packets, bytes] = band.exceeded.sum();
            MeterStats { packets, bytes }
        })
    }

    /// When the last packet came, or the meter was made: monotonic time in milliseconds.
    pub fn used_ms(&self) -> u64 {
        let used = self.counters.locals().map(|local| local.get(USED_MS)).max();
        used.unwrap_or(0).max(self.made_ms)
    }
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meter").field("id", &self.id).field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// A datapath's meters. Changed under the switch's writer lock only.
pub(crate) struct Meters {
    slots: Slots<Arc<Meter>>,
    /// Places in use: a power of two.
    size: AtomicUsize,
}

impl Meters {
    pub(crate) fn new(domain: &Domain) -> Self {
        Self { slots: Slots::new(domain, SIZE_MAX), size: AtomicUsize::new(SIZE_MIN) }
    }

    #[inline]
    fn place(&self, id: u32) -> usize {
        id as usize & (self.size.load(Ordering::Relaxed) - 1)
    }

    /// The meter of that id.
    #[inline]
    pub(crate) fn get<'g>(&self, id: u32, guard: &'g Guard<'_>) -> Option<&'g Arc<Meter>> {
        self.slots.get(self.place(id), guard).filter(|meter| meter.id == id)
    }

    /// Puts a meter at its place. The caller has taken out the one that had its id.
    pub(crate) fn add(&self, meter: Meter) -> Result<(), Error> {
        let id = meter.id;
        // Too many are refused only after the place has been looked at, as in the kernel.
        self.slots.set(self.place(id), Arc::new(meter)).map_err(|_| Error::MeterPlaceTaken { id })?;
        if self.slots.len() >= METERS_MAX as usize {
            self.slots.remove(self.place(id));
            return Err(Error::MetersFull { limit: METERS_MAX as usize - 1 });
        }
        let size = self.size.load(Ordering::Relaxed);
        if self.slots.len() >= size {
            self.size.store(size * 2, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Takes out the meter of that id, if it is there.
    pub(crate) fn remove(&self, id: u32, guard: &Guard<'_>) -> Option<Arc<Meter>> {
        self.get(id, guard)?;
        let meter = self.slots.take(self.place(id))?;
        let size = self.size.load(Ordering::Relaxed);
        let upper_half_empty = || (size / 2..size).all(|place| self.slots.get(place, guard).is_none());
        if size > SIZE_MIN && self.slots.len() <= size / 4 && upper_half_empty() {
            self.size.store(size / 2, Ordering::Relaxed);
        }
        Some(meter)
    }
}

#[cfg(test)]
mod tests;
