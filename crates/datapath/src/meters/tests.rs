// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Meters and the array that they are in.

use super::*;

fn config(id: u32, bands: &[(u32, u32)]) -> MeterConfig {
    let band = |&(rate, burst): &(u32, u32)| BandConfig {
        drops: true,
        rate: NonZeroU32::new(rate).expect("a rate"),
        burst,
    };
    MeterConfig {
        id,
        kilobits: false,
        keeps_stats: true,
        initial: MeterStats::default(),
        bands: bands.iter().map(band).collect(),
    }
}

fn meter(id: u32) -> Meter {
    Meter::new(&config(id, &[]), 1, 0)
}

#[test]
fn of_the_bands_exceeded_the_fastest_counts() {
    let meter = Meter::new(&config(1, &[(10, 1), (30, 1), (20, 2)]), 2, 0);
    assert_eq!(meter.charge(0, 100, 0), Verdict::Pass);
    assert_eq!(meter.charge(1, 60, 5_000_000), Verdict::Drop);
    let bands: Vec<_> = meter.band_stats().map(|stats| (stats.packets, stats.bytes)).collect();
    assert_eq!(bands, [(0, 0), (1, 60), (0, 0)]);
    assert_eq!(meter.stats(), MeterStats { packets: 2, bytes: 160 });
    assert_eq!(meter.used_ms(), 5);
}

#[test]
fn a_band_that_does_not_drop_counts_only() {
    let mut config = config(1, &[(10, 1)]);
    config.bands[0].drops = false;
    let meter = Meter::new(&config, 1, 7_000_000);
    assert!((0..5).all(|_| meter.charge(0, 64, 7_000_000) == Verdict::Pass));
    assert_eq!(meter.band_stats().next(), Some(MeterStats { packets: 4, bytes: 256 }));
}

#[test]
fn kilobits_count_bytes() {
    let mut config = config(1, &[(1, 1)]);
    config.kilobits = true;
    let meter = Meter::new(&config, 1, 0);
    // 1000 bits: two frames of 50 bytes and what is left is too little for a third.
    let verdicts: Vec<_> = (0..3).map(|_| meter.charge(0, 50, 0)).collect();
    assert_eq!(verdicts, [Verdict::Pass, Verdict::Pass, Verdict::Drop]);
    assert_eq!(meter.charge(0, 25, 0), Verdict::Pass);
}

#[test]
fn ids_of_one_place_exclude_each_other() {
    let domain = Domain::new();
    let meters = Meters::new(&domain);
    let guard = domain.pin();
    meters.add(meter(1)).expect("free");
    assert!(matches!(meters.add(meter(1025)), Err(Error::MeterPlaceTaken { id: 1025 })));
    assert!(meters.get(1025, &guard).is_none(), "not the other's meter");
    assert!(meters.remove(1025, &guard).is_none());
    assert_eq!(meters.remove(1, &guard).map(|meter| meter.id()), Some(1));
    meters.add(meter(1025)).expect("free now");
    assert_eq!(meters.get(1025, &guard).map(|meter| meter.id()), Some(1025));
}

#[test]
fn the_array_grows_and_shrinks_and_everything_stays_where_it_is() {
    let domain = Domain::new();
    let meters = Meters::new(&domain);
    let guard = domain.pin();
    meters.add(meter(1500)).expect("free");
    (0..1024).filter(|&id| id != 1500 - 1024).for_each(|id| meters.add(meter(id)).expect("free"));
    // Full at 1024: now there are 2048 places, and 1500 is at home where nobody is.
    assert!(meters.get(1500, &guard).is_none());
    assert!(meters.get(1023, &guard).is_some());
    assert!(matches!(meters.add(meter(476)), Err(Error::MeterPlaceTaken { .. })), "it is still at 476");
    meters.add(meter(1500)).expect("a second one");
    for id in 0..1024 {
        meters.remove(id, &guard);
    }
    assert!(meters.get(1500, &guard).is_some(), "the upper half is not empty");
    assert!(meters.remove(1500, &guard).is_some());
    assert!(meters.get(1500, &guard).is_some(), "found again in the smaller array");
}

#[test]
fn the_limit_is_the_kernels() {
    let domain = Domain::new();
    let meters = Meters::new(&domain);
    let guard = domain.pin();
    (0..METERS_MAX - 1).for_each(|id| meters.add(meter(id)).expect("below the limit"));
    assert!(matches!(meters.add(meter(METERS_MAX - 1)), Err(Error::MetersFull { limit: 199_999 })));
    assert!(meters.get(METERS_MAX - 1, &guard).is_none());
    assert!((0..METERS_MAX - 1).all(|id| meters.get(id, &guard).is_some_and(|meter| meter.id() == id)));
    for id in (0..METERS_MAX).rev() {
        meters.remove(id, &guard);
    }
    assert_eq!((meters.slots.len(), meters.size.load(Ordering::Relaxed)), (0, SIZE_MIN));
}

#[test]
fn workers_together_pass_what_a_meter_holds() {
    let meter = Meter::new(&config(1, &[(1, 1000)]), 4, 0);
    let meter = &meter;
    let passed: usize = std::thread::scope(|scope| {
        let charge =
            |worker| move || (0..1000).filter(|_| meter.charge(worker, 64, 0) == Verdict::Pass).count();
        let workers: Vec<_> = (0..4).map(|worker| scope.spawn(charge(worker))).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker")).sum()
    });
    assert_eq!(passed, 1000);
    assert_eq!(meter.stats().packets, 4000);
    assert_eq!(meter.band_stats().next().map(|stats| stats.packets), Some(3000));
}
