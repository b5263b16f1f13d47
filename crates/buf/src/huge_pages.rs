// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Huge pages where the system offers them by itself: large tables then need fewer entries of the processor's address cache.

use rustix::mm::{Advice, madvise};

/// Bytes of a huge page (x86-64, aarch64 with 4 KiB pages).
const HUGE_PAGE: usize = 2 << 20;

/// Asks the system to back `memory` with huge pages as far as whole ones lie in it. Without effect for less than 2 MiB, or where the
/// system has none to give.
pub fn prefer_huge_pages<T>(memory: &[T]) {
    let start = (memory.as_ptr() as usize).next_multiple_of(HUGE_PAGE);
    let end = (memory.as_ptr() as usize + size_of_val(memory)) & !(HUGE_PAGE - 1);
    if end <= start {
        return;
    }
    // SAFETY: the range lies within `memory`; this advice changes no byte of it and no permission.
    let _ = unsafe { madvise(start as *mut _, end - start, Advice::LinuxHugepage) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_keeps_its_content() {
        let table: Vec<u64> = (0..1 << 20).collect();
        prefer_huge_pages(&table);
        prefer_huge_pages(&table[..10]);
        prefer_huge_pages::<u64>(&[]);
        assert!(table.iter().enumerate().all(|(index, &value)| index as u64 == value));
    }
}
