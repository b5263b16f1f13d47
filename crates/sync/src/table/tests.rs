// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The table against a naive model, and under threads.

use super::*;

#[test]
fn a_million_inserts_are_found_and_removed() {
    const COUNT: u64 = if cfg!(debug_assertions) { 50_000 } else { 1_000_000 };
    let domain = Domain::new();
    let table = Table::new(&domain, usize::MAX);
    let start = std::time::Instant::now();
    for key in 0..COUNT {
        table.insert(key, key).expect("no limit");
    }
    let inserted = start.elapsed();
    let guard = domain.pin();
    for key in 0..COUNT {
        assert_eq!(table.find(key, &guard, |&value| value == key), Some(&key));
    }
    let found = start.elapsed();
    drop(guard);
    for key in 0..COUNT {
        assert!(table.remove(key, |&value| value == key));
    }
    let removed = start.elapsed();
    domain.reclaim();
    eprintln!(
        "{COUNT}: insert {inserted:?} find {:?} remove {:?} reclaim {:?}",
        found - inserted,
        removed - found,
        start.elapsed() - removed
    );
    assert_eq!((table.len(), domain.pending()), (0, 0));
}
