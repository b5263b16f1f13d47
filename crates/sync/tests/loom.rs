// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The concurrent structures under loom: every interleaving (up to three preemptions) of a few threads, with loom's
//! relaxed memory. Run with `RUSTFLAGS="--cfg loom" cargo test -p portway-sync --release --test loom`.
#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::thread;
use portway_sync::{Cursor, Domain, FairQueue, Guard, Limits, Slots, Snapshot, Table};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Values alive: loom runs a model's threads one at a time, so a plain count will do.
#[derive(Clone, Default)]
struct Census(Arc<AtomicUsize>);

impl Census {
    fn canary(&self, number: u64) -> Canary {
        self.0.fetch_add(1, Ordering::Relaxed);
        Canary { number, life: Arc::new(Life(UnsafeCell::new(true))), census: self.clone() }
    }

    fn alive(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// What loom watches: reading it must happen before it is written by the canary's destructor, or not at all.
struct Life(UnsafeCell<bool>);

// SAFETY: loom's cell finds the races that this claims not to exist; that is its purpose here.
unsafe impl Sync for Life {}
// SAFETY: as above.
unsafe impl Send for Life {}

/// A value that knows whether it has been dropped.
struct Canary {
    number: u64,
    life: Arc<Life>,
    census: Census,
}

impl Canary {
    fn sing(&self) -> u64 {
        // SAFETY: loom checks that no write is concurrent.
        let alive = self.life.0.with(|alive| unsafe { *alive });
        assert!(alive, "canary {} was read after its death", self.number);
        self.number
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        // SAFETY: loom checks that no other access is concurrent.
        self.life.0.with_mut(|alive| unsafe { *alive = false });
        self.census.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn model(test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(test);
}

#[test]
fn a_snapshot_is_not_freed_under_a_reader() {
    model(|| {
        let census = Census::default();
        let domain = Domain::new();
        let snapshot = Arc::new(Snapshot::new(&domain, census.canary(0)));
        let reader = {
            let (mut reader, snapshot) = (domain.register(), Arc::clone(&snapshot));
            thread::spawn(move || {
                let mut newest = 0;
                for _ in 0..2 {
                    let guard = reader.enter();
                    let seen = snapshot.load(&guard).sing();
                    assert!(seen >= newest, "versions do not go back");
                    newest = seen;
                    snapshot.load(&guard).sing();
                }
            })
        };
        snapshot.publish(census.canary(1));
        domain.reclaim();
        snapshot.publish(census.canary(2));
        domain.reclaim();
        reader.join().expect("the reader");
        domain.reclaim();
        assert_eq!(census.alive(), 1, "nobody is inside, so only the current version is left");
        drop((snapshot, domain));
        assert_eq!(census.alive(), 0);
    });
}

#[test]
fn readers_may_come_late_and_writers_be_two() {
    model(|| {
        let census = Census::default();
        let domain = Domain::new();
        let snapshot = Arc::new(Snapshot::new(&domain, census.canary(0)));
        let late = {
            let (domain, snapshot) = (domain.clone(), Arc::clone(&snapshot));
            thread::spawn(move || {
                let guard = domain.pin();
                snapshot.load(&guard).sing();
            })
        };
        let writer = {
            let (domain, snapshot, canary) = (domain.clone(), Arc::clone(&snapshot), census.canary(1));
            thread::spawn(move || {
                snapshot.publish(canary);
                domain.reclaim();
            })
        };
        domain.reclaim();
        late.join().expect("the late reader");
        writer.join().expect("the writer");
        domain.reclaim();
        assert_eq!(census.alive(), 1);
    });
}

#[test]
fn synchronize_waits_for_readers_and_then_all_is_gone() {
    model(|| {
        let census = Census::default();
        let domain = Domain::new();
        let snapshot = Arc::new(Snapshot::new(&domain, census.canary(0)));
        let reader = {
            let (mut reader, snapshot) = (domain.register(), Arc::clone(&snapshot));
            thread::spawn(move || {
                let guard = reader.enter();
                snapshot.load(&guard).sing();
            })
        };
        snapshot.publish(census.canary(1));
        domain.synchronize();
        assert_eq!(census.alive(), 1, "retired before synchronize, dropped after it");
        reader.join().expect("the reader");
    });
}

#[test]
fn the_last_handle_frees_what_structures_retire() {
    model(|| {
        let census = Census::default();
        let domain = Domain::new();
        // What is retired holds the domain's memory, and the domain holds what is retired: somebody must cut that.
        let outer = Snapshot::new(&domain, Snapshot::new(&domain, census.canary(0)));
        let structure = thread::spawn(move || drop(outer));
        drop(domain);
        structure.join().expect("the structure's thread");
        assert_eq!(census.alive(), 0);
    });
}

#[test]
fn a_table_goes_under_its_reader() {
    model(|| {
        let census = Census::default();
        let domain = Domain::new();
        let table = table_of(&domain, &census, 2);
        let reader = {
            let (mut reader, table) = (domain.register(), Arc::clone(&table));
            thread::spawn(move || {
                let guard = reader.enter();
                let first = table.find(1, &guard, |_| true);
                let all = table.iter(&guard);
                drop(table);
                assert_eq!(first.map(Canary::sing), Some(1));
                assert_eq!(all.map(Canary::sing).count(), 2);
            })
        };
        drop(table);
        domain.reclaim();
        reader.join().expect("the reader");
        domain.reclaim();
        assert_eq!(census.alive(), 0);
    });
}

#[test]
fn slots_are_set_and_taken_under_a_reader() {
    model(|| {
        let census = Census::default();
        let domain = Domain::new();
        let slots = Arc::new(Slots::new(&domain, 4));
        slots.set(0, census.canary(0)).expect("free");
        let reader = {
            let (mut reader, slots) = (domain.register(), Arc::clone(&slots));
            thread::spawn(move || {
                let guard = reader.enter();
                if let Some(canary) = slots.get(0, &guard) {
                    assert!(matches!(canary.sing(), 0 | 2));
                    canary.sing();
                }
                if let Some(canary) = slots.get(3, &guard) {
                    assert_eq!(canary.sing(), 1);
                }
            })
        };
        assert!(slots.remove(0));
        domain.reclaim();
        slots.set(3, census.canary(1)).expect("free, in a new leaf");
        assert_eq!(slots.insert_lowest(0, |_| census.canary(2)), Ok(0));
        domain.reclaim();
        reader.join().expect("the reader");
        drop((slots, domain));
        assert_eq!(census.alive(), 0);
    });
}

/// A table of the canaries `0..count`; under loom two entries fill the first index.
fn table_of(domain: &Domain, census: &Census, count: u64) -> Arc<Table<Canary>> {
    let table = Table::new(domain, usize::MAX);
    for number in 0..count {
        table.insert(number, census.canary(number)).expect("no limit");
    }
    Arc::new(table)
}

fn find(table: &Table<Canary>, number: u64, guard: &Guard<'_>) -> bool {
    table.find(number, guard, |canary| canary.sing() == number).map(|canary| canary.sing()).is_some()
}

#[test]
fn what_stays_is_found_while_the_table_grows() {
    model(|| {
        let census = Census::default();
        let domain = Domain::new();
        let table = table_of(&domain, &census, 2);
        let reader = {
            let (mut reader, table) = (domain.register(), Arc::clone(&table));
            thread::spawn(move || {
                let guard = reader.enter();
                assert!(find(&table, 0, &guard) && find(&table, 1, &guard));
                let seen: Vec<u64> = table.iter(&guard).map(Canary::sing).collect();
                assert!(seen.contains(&0) && seen.contains(&1) && seen.len() <= 3, "{seen:?}");
            })
        };
        table.insert(2, census.canary(2)).expect("no limit");
        domain.reclaim();
        reader.join().expect("the reader");
        drop((table, domain));
        assert_eq!(census.alive(), 0);
    });
}

#[test]
fn what_stays_is_found_while_the_table_shrinks() {
    model(|| {
        let census = Census::default();
        let domain = Domain::new();
        let table = table_of(&domain, &census, 3);
        let reader = {
            let (mut reader, table) = (domain.register(), Arc::clone(&table));
            thread::spawn(move || {
                for _ in 0..2 {
                    let guard = reader.enter();
                    assert!(find(&table, 1, &guard));
                    find(&table, 2, &guard);
                }
            })
        };
        // Four buckets; with one entry left there are two.
        assert!(table.remove(0, |_| true));
        assert!(table.remove(2, |_| true));
        domain.reclaim();
        reader.join().expect("the reader");
        drop((table, domain));
        assert_eq!(census.alive(), 0);
    });
}

#[test]
fn readers_on_removed_entries_go_on() {
    model(|| {
        let census = Census::default();
        let domain = Domain::new();
        // All with one hash, so in one chain, in this order.
        let table = Arc::new(Table::new(&domain, usize::MAX));
        for number in 0..3 {
            table.insert(7, census.canary(number)).expect("no limit");
        }
        let reader = {
            let (mut reader, table) = (domain.register(), Arc::clone(&table));
            thread::spawn(move || {
                let guard = reader.enter();
                assert!(table.find(7, &guard, |canary| canary.sing() == 2).is_some());
            })
        };
        for number in 0..2 {
            assert!(table.remove(7, |canary| canary.number == number));
            domain.reclaim();
        }
        reader.join().expect("the reader");
        drop((table, domain));
        assert_eq!(census.alive(), 0);
    });
}

#[test]
fn a_replaced_entry_is_always_there() {
    model(|| {
        let census = Census::default();
        let domain = Domain::new();
        let table = table_of(&domain, &census, 1);
        let reader = {
            let (mut reader, table) = (domain.register(), Arc::clone(&table));
            thread::spawn(move || {
                let guard = reader.enter();
                assert!(table.find(0, &guard, |canary| canary.sing() < 2).is_some());
            })
        };
        assert_eq!(table.replace(0, census.canary(1), |_| true), Ok(true));
        domain.reclaim();
        reader.join().expect("the reader");
        assert_eq!(table.len(), 1);
    });
}

#[test]
fn a_dump_sees_what_stays_once() {
    model(|| {
        let census = Census::default();
        let domain = Domain::new();
        let table = table_of(&domain, &census, 2);
        let dump = {
            let (domain, table) = (domain.clone(), Arc::clone(&table));
            thread::spawn(move || {
                let (mut cursor, mut seen) = (Cursor::default(), Vec::new());
                while !cursor.is_done() {
                    let mut room = 1;
                    table.resume(&mut cursor, &domain.pin(), |canary| {
                        if room == 0 {
                            return ControlFlow::Break(());
                        }
                        room -= 1;
                        seen.push(canary.sing());
                        ControlFlow::Continue(())
                    });
                }
                assert_eq!(seen.iter().filter(|&&number| number == 1).count(), 1, "{seen:?}");
                seen.sort_unstable();
                seen.dedup();
                assert!(seen.len() <= 3);
            })
        };
        table.insert(2, census.canary(2)).expect("no limit");
        assert!(table.remove(0, |_| true));
        domain.reclaim();
        dump.join().expect("the dump");
    });
}

/// A waker and what a reader does to sleep on it; loom reports a reader that sleeps for ever as a deadlock.
#[derive(Clone)]
struct Bell(Arc<(loom::sync::Mutex<bool>, loom::sync::Condvar)>);

impl Bell {
    fn new() -> Self {
        Self(Arc::new((loom::sync::Mutex::new(false), loom::sync::Condvar::new())))
    }

    fn waker(&self) -> portway_sync::Waker {
        let bell = self.clone();
        Box::new(move || {
            *bell.0.0.lock().expect("the bell") = true;
            bell.0.1.notify_one();
        })
    }

    fn wait(&self) {
        let mut rung = self.0.0.lock().expect("the bell");
        while !*rung {
            rung = self.0.1.wait(rung).expect("the bell");
        }
        *rung = false;
    }
}

fn read_until(queue: &FairQueue<u32>, bell: &Bell, count: usize, max: usize) -> Vec<(u32, u32)> {
    let mut out = Vec::new();
    while out.len() < count {
        bell.wait();
        while queue.pop_round(max, &mut out) {}
    }
    out
}

#[test]
fn no_wake_up_is_lost_between_two_sources() {
    model(|| {
        let bell = Bell::new();
        let queue = Arc::new(FairQueue::new(Limits { per_source: 4, total: 8 }, bell.waker()));
        let pusher = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.push(1, 10).expect("room"))
        };
        let second = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.push(2, 20).expect("room"))
        };
        let mut out = read_until(&queue, &bell, 2, 4);
        pusher.join().expect("a pusher");
        second.join().expect("a pusher");
        out.sort_unstable();
        assert_eq!((out.as_slice(), queue.len()), (&[(1, 10), (2, 20)][..], 0));
    });
}

#[test]
fn no_wake_up_is_lost_within_one_source() {
    model(|| {
        let bell = Bell::new();
        let queue = Arc::new(FairQueue::new(Limits { per_source: 4, total: 8 }, bell.waker()));
        let pusher = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || (0..3).for_each(|item| queue.push(1, item).expect("room")))
        };
        let out = read_until(&queue, &bell, 3, 1);
        pusher.join().expect("the pusher");
        assert_eq!((out.as_slice(), queue.len()), (&[(1, 0), (1, 1), (1, 2)][..], 0), "in order");
    });
}

#[test]
fn a_refused_push_takes_no_wake_up_with_it() {
    model(|| {
        let bell = Bell::new();
        let queue = Arc::new(FairQueue::new(Limits { per_source: 1, total: 1 }, bell.waker()));
        let pushers: Vec<_> = (1..3)
            .map(|source| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || queue.push(source, source).is_ok())
            })
            .collect();
        let accepted = pushers.into_iter().filter_map(|pusher| pusher.join().ok()).filter(|&ok| ok).count();
        assert_eq!(accepted, 1);
        assert_eq!(read_until(&queue, &bell, 1, 1).len(), 1);
        assert_eq!((queue.refused_total(), queue.len()), (1, 0));
    });
}

#[test]
fn removing_a_source_loses_no_item() {
    model(|| {
        let bell = Bell::new();
        let queue = Arc::new(FairQueue::new(Limits { per_source: 4, total: 8 }, bell.waker()));
        queue.push(1, 0).expect("room");
        let pusher = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.push(1, 1).expect("room"))
        };
        let removed = queue.remove(1);
        pusher.join().expect("the pusher");
        let mut out = Vec::new();
        while queue.pop_round(4, &mut out) {}
        let all: Vec<u32> = removed.into_iter().chain(out.into_iter().map(|(_, item)| item)).collect();
        assert_eq!((all.as_slice(), queue.len()), (&[0, 1][..], 0));
    });
}
