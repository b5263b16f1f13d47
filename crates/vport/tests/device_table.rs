// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device table under load: cheap at 100,000 ports, and readers that never wait and never see a half-made entry.

mod common;

use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{TYPE_LOOP, params, registry};
use portway_vport::{DeviceTable, NetnsId, PortName, Registry, Vport, VportConfig};

fn name(index: usize) -> PortName {
    PortName::new(format!("p{index}").as_bytes()).unwrap()
}

fn make(registry: &Registry, index: usize, netns: NetnsId) -> Arc<Vport> {
    let c_name = CString::new(format!("p{index}")).unwrap();
    let (handle, info) = registry.try_get(TYPE_LOOP).unwrap().create(&params(&c_name, &[])).unwrap();
    let config = VportConfig {
        name: name(index),
        netns,
        datapath: 7,
        workers: 2,
        upcall_pids: vec![index as u32],
        shown_type: None,
    };
    let vport = Vport::new(handle, info, config);
    vport.set_port_no(index as u32);
    vport
}

#[test]
fn a_hundred_thousand_ports_are_ordinary() {
    let count = if cfg!(debug_assertions) { 10_000 } else { 100_000 };
    let registry = registry();
    let table = DeviceTable::new(count);
    let start = Instant::now();
    let ports: Vec<_> = (0..count).map(|index| make(&registry, index, NetnsId(index as u64 % 3))).collect();
    let made = start.elapsed();
    ports.iter().for_each(|port| table.insert(port).unwrap());
    let added = start.elapsed();
    for index in 0..count {
        let port = table.find(NetnsId(index as u64 % 3), &name(index)).unwrap();
        assert_eq!(port.port_no() as usize, index);
    }
    let found = start.elapsed();
    assert_eq!((table.len(), registry.list()[0].references), (count, count));
    assert!(table.find(NetnsId(1), &name(0)).is_none());
    for port in &ports {
        assert!(table.remove(port));
        port.detach();
    }
    let removed = start.elapsed();
    drop(ports);
    let dropped = start.elapsed();
    assert_eq!((table.len(), registry.list()[0].references), (0, 0));
    eprintln!(
        "{count} ports: make {made:?}, add {:?}, find {:?}, remove {:?}, destroy {:?}",
        added - made,
        found - added,
        removed - found,
        dropped - removed
    );
    assert!(dropped < Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 3 }), "{dropped:?}");
}

#[test]
fn readers_see_whole_ports_while_another_thread_adds_and_deletes() {
    const PORTS: usize = 500;
    let registry = registry();
    let table = DeviceTable::new(2 * PORTS);
    // Every second port stays; the others come and go.
    let stay: Vec<_> = (0..PORTS).step_by(2).map(|index| make(&registry, index, NetnsId(1))).collect();
    stay.iter().for_each(|port| table.insert(port).unwrap());
    let (stop, lookups, changes) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let longest = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let (mut longest, mut n) = (Duration::ZERO, 0_u64);
                    while !stop.load(Ordering::Relaxed) {
                        for index in 0..PORTS {
                            let start = (n % 64 == 0).then(Instant::now);
                            check(table.find(NetnsId(1), &name(index)), index);
                            longest = longest.max(start.map_or(Duration::ZERO, |start| start.elapsed()));
                            n += 1;
                        }
                        lookups.fetch_add(PORTS as u64, Ordering::Relaxed);
                    }
                    longest
                })
            })
            .collect();
        let start = Instant::now();
        let enough = |count: &AtomicU64| count.load(Ordering::Relaxed) > 1000;
        while start.elapsed() < Duration::from_millis(500) || !enough(&lookups) || !enough(&changes) {
            for index in (1..PORTS).step_by(2) {
                let port = make(&registry, index, NetnsId(1));
                table.insert(&port).unwrap();
                assert!(table.remove(&port));
                port.detach();
                changes.fetch_add(1, Ordering::Relaxed);
            }
        }
        stop.store(true, Ordering::Relaxed);
        readers.into_iter().map(|reader| reader.join().unwrap()).max().unwrap()
    });
    let (lookups, changes) = (lookups.load(Ordering::Relaxed), changes.load(Ordering::Relaxed));
    eprintln!("{lookups} look-ups beside {changes} ports added and deleted; the longest took {longest:?}");
    assert_eq!((table.len(), registry.list()[0].references), (stay.len(), stay.len()));
}

/// A port is there or not; if it is, all of it is.
fn check(found: Option<Arc<Vport>>, index: usize) {
    let Some(port) = found else {
        assert!(index % 2 == 1, "port {index} always exists");
        return;
    };
    assert_eq!((port.name(), port.port_no()), (name(index), index as u32));
    assert_eq!((*port.upcall_pids()).as_slice(), [index as u32]);
    assert_eq!((port.datapath(), port.ifindex(), port.rx_queues()), (7, 7, 1));
    assert!(port.handle().info().is_ok(), "not destroyed under us");
}

#[test]
fn a_port_that_is_renamed_moves_at_once() {
    let registry = registry();
    let table = DeviceTable::new(10);
    let port = make(&registry, 0, NetnsId(1));
    table.insert(&port).unwrap();
    let (stop, seen) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // Between two look-ups the port may change its name, so one that finds nothing proves nothing; but what is
                // found is the port, under a name that it has or just had.
                for index in [0, 1] {
                    if let Some(found) = table.find(NetnsId(1), &name(index)) {
                        assert!([name(0), name(1)].contains(&found.name()));
                        seen.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        let mut round = 0;
        while round < 10_000 || seen.load(Ordering::Relaxed) < 1000 {
            let (old, new) = (name(round % 2), name(1 - round % 2));
            table.rename(&port, new).unwrap();
            assert!(table.find(NetnsId(1), &new).is_some() && table.find(NetnsId(1), &old).is_none());
            round += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(table.list(None).len(), 1);
    assert_eq!(table.len(), 1);
}
