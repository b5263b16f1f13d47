// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory returns to where it was: after requests at random, and after as many flows as there may be. One test, alone in its
//! program, since it counts what the whole program has allocated.
#![deny(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering};

use portway_regress::netlink::{FLOWS, World, fuzz_one, new_flow, outputs};
use portway_regress::random;

struct Counting;

static BYTES: AtomicIsize = AtomicIsize::new(0);
/// The most since it was last set.
static PEAK: AtomicIsize = AtomicIsize::new(0);

#[allow(unsafe_code)]
// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let size = layout.size() as isize;
        PEAK.fetch_max(BYTES.fetch_add(size, Ordering::Relaxed) + size, Ordering::Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What may be left: buffers that keep the size that they once needed.
const SLACK: isize = 256 << 10;

/// Requests for flows that differ, as many as asked for.
fn add_flows(world: &mut World, count: u32) {
    for number in 0..count {
        let mut data = vec![0x41];
        data.extend(new_flow(world, number));
        fuzz_one(&data, world);
    }
}

#[test]
fn memory_returns_to_where_it_was() {
    requests_at_random();
    hundreds_of_thousands_of_flows();
    thousands_of_outputs();
}

/// The longest list that an attribute holds, done to a long frame: its copies are not all there at once.
fn thousands_of_outputs() {
    const COUNT: usize = 8190;
    let mut world = World::new();
    fuzz_one(&[0x41], &mut world);
    // Longer ones than the ports take are dropped, and counted.
    for (len, is_sent, most) in [(1500, true, 4 << 20), (60_000, false, 32 << 20)] {
        let mut data = vec![0x41];
        data.extend(outputs(&world, len, COUNT));
        let (sent, dropped) = world.sent_and_dropped();
        let before = BYTES.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        fuzz_one(&data, &mut world);
        let (sent, dropped) = (world.sent_and_dropped().0 - sent, world.sent_and_dropped().1 - dropped);
        let all = COUNT as u64;
        assert_eq!((sent, dropped), if is_sent { (all, 0) } else { (0, all) }, "{len}");
        let peak = PEAK.load(Ordering::Relaxed) - before;
        assert!(peak < most, "{peak} bytes more, with frames of {len}");
    }
}

fn hundreds_of_thousands_of_flows() {
    const LIMIT: usize = 300_000;
    let mut world = World::with_flows(LIMIT);
    add_flows(&mut world, 1000);
    world.clear();
    let before = BYTES.load(Ordering::Relaxed);
    fuzz_one(&[0x40], &mut world);
    add_flows(&mut world, LIMIT as u32 + 1000);
    assert_eq!(world.flows(), LIMIT, "those beyond the limit are refused");
    let full = BYTES.load(Ordering::Relaxed);
    world.clear();
    let after = BYTES.load(Ordering::Relaxed);
    assert!(after - before < 4 * SLACK, "{before} bytes, {full} with all flows, {after} after them");
}

fn requests_at_random() {
    let mut world = World::new();
    let round = |world: &mut World| {
        for seed in 0..3000 {
            fuzz_one(&random(seed, 400), world);
        }
        add_flows(world, 2000);
        assert!(world.flows() >= FLOWS, "as many as there may be");
        world.clear();
        BYTES.load(Ordering::Relaxed)
    };
    let before = round(&mut world);
    for _ in 0..3 {
        let after = round(&mut world);
        assert!(after - before < SLACK, "{before} bytes, then {after}");
    }
    // What a round holds while it lasts is far more than the slack, or this would show nothing.
    drop(world);
    assert!(BYTES.load(Ordering::Relaxed) < before);
}
