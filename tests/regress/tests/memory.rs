// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory returns to where it was: after requests at random, and after as many flows as there may be. One test, alone in its
//! program, since it counts what the whole program has allocated.
#![deny(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering};

use portway_regress::netlink::{World, fuzz_one, new_flow};
use portway_regress::random;

struct Counting;

static BYTES: AtomicIsize = AtomicIsize::new(0);

#[allow(unsafe_code)]
// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size() as isize, Ordering::Relaxed);
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

#[test]
fn memory_returns_to_where_it_was() {
    let mut world = World::new();
    let round = |world: &mut World| {
        for seed in 0..3000 {
            fuzz_one(&random(seed, 400), world);
        }
        for number in 0..2000 {
            let mut data = vec![0x41];
            data.extend(new_flow(world, number));
            fuzz_one(&data, world);
        }
        assert!(world.flows() >= 512, "as many as there may be");
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
