// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How often memory is allocated per packet on the fast path.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use serde_json::{Value, json};

use crate::forward::Forward;

/// The system's allocator, counted.
pub(crate) struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory but the counter.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above; the memory came from the same allocator.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }
}

/// Allocations so far.
pub(crate) fn count() -> u64 {
    ALLOCATIONS.load(Ordering::Relaxed)
}

/// Forwards 10,000 flows for a second and counts allocations meanwhile, on all threads.
pub(crate) fn measure() -> Result<Value> {
    let figures = Forward::ten_thousand_exact_flows().run()?;
    let packets = figures["packets"].as_f64().unwrap_or(0.0);
    let allocations = figures["allocations"].as_f64().unwrap_or(f64::NAN);
    Ok(json!({ "per_packet": allocations / packets, "allocations": allocations, "packets": packets }))
}
