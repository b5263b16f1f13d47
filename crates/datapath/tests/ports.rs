// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The life and death of ports and datapaths: numbers, names, limits, and what is left behind by a failure (nothing).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use portway_buf::DropReason;
use portway_datapath::{
    Datapath, DatapathRequest, Error, Event, FlowParts, FlowRequest, Limits, Netns, PortRequest,
    SwitchConfig, Ufid,
};
use portway_flow::{Action, FlowKey, FlowMask};
use portway_testkit::{Bench, Frame, TYPE_DUMMY};
use portway_vport::{NetnsId, PortName};

fn name(text: &str) -> PortName {
    PortName::new(text.as_bytes()).unwrap()
}

fn references(bench: &Bench) -> usize {
    bench.switch.registry().list().iter().map(|kind| kind.references).sum()
}

#[test]
fn numbers_are_the_lowest_free_and_reused_at_once() {
    let bench = Bench::new();
    let numbers: Vec<_> = (0..5).map(|n| bench.port(&format!("p{n}")).0.port_no()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    bench.switch.port_del(&bench.datapath, 2).unwrap();
    bench.switch.port_del(&bench.datapath, 4).unwrap();
    assert_eq!(bench.port("again").0.port_no(), 2);
    let wanted = |port_no| PortRequest { port_no: Some(port_no), ..PortRequest::new(name("w"), TYPE_DUMMY) };
    let refused = |port_no| bench.switch.port_add(&bench.datapath, &wanted(port_no)).unwrap_err();
    assert!(matches!(refused(3), Error::PortNumberTaken { port_no: 3, .. }));
    assert!(matches!(refused(65_535), Error::PortNumberTooLarge { port_no: 65_535, max: 65_534 }));
    assert!(matches!(refused(u32::MAX), Error::PortNumberTooLarge { .. }));
    assert_eq!(bench.switch.port_add(&bench.datapath, &wanted(65_534)).unwrap().port_no(), 65_534);
    assert_eq!(bench.switch.port_del(&bench.datapath, 65_534).err().map(|error| error.to_string()), None);
    // number 0 means: choose
    assert_eq!(bench.switch.port_add(&bench.datapath, &wanted(0)).unwrap().port_no(), 4);
}

#[test]
fn names_are_unique_in_a_namespace_and_two_namespaces_are_two_worlds() {
    let bench = Bench::new();
    let (port, _) = bench.port("p1");
    let before = references(&bench);
    let again = bench.switch.port_add(&bench.datapath, &PortRequest::new(name("p1"), TYPE_DUMMY));
    assert!(matches!(again, Err(Error::NameTaken { .. })));
    assert_eq!(references(&bench), before, "a refused port holds no reference");
    let elsewhere = Netns::new(NetnsId(77), None);
    let request =
        DatapathRequest { local_type: TYPE_DUMMY, ..DatapathRequest::new(name("bench0"), elsewhere) };
    let other = bench.switch.datapath_add(request).unwrap();
    let (twin, _) = bench.port_to(&other, "p1").unwrap();
    assert!(Arc::ptr_eq(&bench.switch.port_named(NetnsId::default(), &name("p1")).unwrap(), &port));
    assert!(Arc::ptr_eq(&bench.switch.port_named(NetnsId(77), &name("p1")).unwrap(), &twin));
    assert!(bench.switch.port_named(NetnsId(78), &name("p1")).is_none());
    assert_eq!(bench.switch.datapath_named(NetnsId(77), &name("bench0")).unwrap().id(), other.id());
    assert!(bench.switch.datapath_named(NetnsId(77), &name("p1")).is_none());
}

#[test]
fn a_port_that_cannot_be_made_leaves_nothing() {
    let bench = Bench::new();
    let events = bench.switch.subscribe();
    let before = (bench.switch.devices().len(), references(&bench));
    let mut request = PortRequest::new(name("p1"), TYPE_DUMMY);
    request.options = vec![1, 2, 3, 4, 5, 6, 7, 8];
    let error = bench.switch.port_add(&bench.datapath, &request).unwrap_err();
    assert!(matches!(error, Error::Vport(portway_vport::Error::Create { .. })), "{error}");
    let unknown = bench.switch.port_add(&bench.datapath, &PortRequest::new(name("p1"), 6)).unwrap_err();
    assert!(matches!(unknown, Error::Vport(_)), "{unknown}");
    assert_eq!((bench.switch.devices().len(), references(&bench)), before);
    assert_eq!(bench.datapath.port_count(), 1);
    assert!(events.try_recv().is_err(), "a refusal is no event");
}

#[test]
fn the_local_port_lives_and_dies_with_its_datapath() {
    let bench = Bench::new();
    assert!(matches!(bench.switch.port_del(&bench.datapath, 0), Err(Error::LocalPort(_))));
    let events = bench.switch.subscribe();
    let second = bench.datapath("second");
    let (port, _) = bench.port_to(&second, "q1").unwrap();
    bench.switch.datapath_del(&second).unwrap();
    assert!(matches!(bench.switch.datapath_del(&second), Err(Error::NoSuchDatapath(_))));
    assert!(matches!(bench.port_to(&second, "q2"), Err(Error::NoSuchDatapath(_))));
    assert!(bench.switch.port_named(NetnsId::default(), &name("q1")).is_none());
    assert!(!port.is_alive());
    let kinds: Vec<_> = events.try_iter().collect();
    assert!(matches!(
        kinds[..],
        [Event::DatapathAdded(_), Event::PortAdded { .. }, Event::DatapathRemoved(_)]
    ));
    drop((port, second, kinds));
    assert_eq!(references(&bench), 1, "bench0's own port is left");
}

#[test]
fn limits_are_refused_with_their_value() {
    let limits = Limits { ports: 3, datapaths: 2, ..Limits::default() };
    let bench = Bench::with(SwitchConfig { limits, ..SwitchConfig::default() });
    bench.port("p1");
    bench.port("p2");
    let full = bench.port_to(&bench.datapath, "p3").unwrap_err();
    assert!(full.to_string().contains("3 ports"), "{full}");
    assert_eq!(bench.datapath.port_count(), 3);
    bench.switch.port_del(&bench.datapath, 1).unwrap();
    bench.datapath("second");
    let request =
        DatapathRequest { local_type: TYPE_DUMMY, ..DatapathRequest::new(name("third"), Netns::default()) };
    assert!(matches!(bench.switch.datapath_add(request), Err(Error::TooManyDatapaths { limit: 2 })));
}

#[test]
fn a_renamed_device_is_found_by_its_new_name_only() {
    let bench = Bench::new();
    let (port, _) = bench.port("old");
    bench.port("taken");
    assert!(bench.switch.port_rename(&port, name("taken")).is_err());
    let events = bench.switch.subscribe();
    bench.switch.port_rename(&port, name("new")).unwrap();
    assert!(bench.switch.port_named(NetnsId::default(), &name("old")).is_none());
    assert!(bench.switch.port_named(NetnsId::default(), &name("new")).is_some());
    assert!(matches!(events.try_recv(), Ok(Event::PortChanged { .. })));
}

#[test]
fn a_device_event_detaches_once() {
    let bench = Bench::new();
    let (port, _) = bench.port("p1");
    let events = bench.switch.subscribe();
    assert!(bench.switch.port_detach(&port));
    assert!(!bench.switch.port_detach(&port));
    assert!(matches!(events.try_iter().collect::<Vec<_>>()[..], [Event::PortRemoved { port_no: 1, .. }]));
    // its number is free again, and the old port does not take the new one down
    let (second, _) = bench.port("p1");
    assert_eq!(second.port_no(), 1);
    assert!(!bench.switch.port_detach(&port));
    assert!(second.is_alive());
}

#[test]
fn a_failing_port_is_counted_and_the_others_go_on() {
    let mut bench = Bench::new();
    let (p1, w1) = bench.port("p1");
    let (p2, w2) = bench.port("p2");
    bench.port_flow(p1.port_no(), &[Action::Output(p2.port_no())]);
    w2.set_down(true);
    w1.send(Frame::between(1, 2).bytes());
    bench.run();
    assert!(p2.stats().rx_errors > 0);
    assert_eq!(p2.stats().tx_errors, 1);
    w2.set_down(false);
    w1.send(Frame::between(1, 2).bytes());
    bench.run();
    assert_eq!(w2.received().len(), 1);
}

#[test]
fn a_frame_that_is_too_long_is_named_and_counted() {
    let mut bench = Bench::new();
    let (p1, w1) = bench.port("p1");
    (0..3).for_each(|_| w1.send_too_long());
    for _ in 0..5 {
        bench.run();
    }
    assert_eq!(p1.stats().rx_errors, 3);
    assert_eq!(bench.datapath.drops().get(DropReason::FrameTooLong), 3);
}

/// Ports come and go while two workers forward without pause: nothing is forwarded wrongly, and the counters add up.
#[test]
fn ports_are_deleted_while_traffic_flows() {
    let mut bench = Bench::with(SwitchConfig { workers: 2, ..SwitchConfig::default() });
    let (source, wire) = bench.port("source");
    let (sink, out) = bench.port("sink");
    bench.port_flow(source.port_no(), &[Action::Output(sink.port_no()), Action::Output(50)]);
    let stop = AtomicBool::new(false);
    let frame = Frame::between(1, 2).bytes();
    let mut sent = 0u64;
    std::thread::scope(|scope| {
        for worker in &mut bench.workers {
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    worker.poll_all(1);
                }
                while worker.poll_all(2) != 0 {}
            });
        }
        for round in 0..300 {
            let wire50 = portway_testkit::Wire::new();
            let request = PortRequest {
                port_no: Some(50),
                options: wire50.options(),
                ..PortRequest::new(name(&format!("r{round}")), TYPE_DUMMY)
            };
            bench.switch.port_add(&bench.datapath, &request).unwrap();
            for _ in 0..20 {
                wire.send(&frame);
                sent += 1;
            }
            bench.switch.port_del(&bench.datapath, 50).unwrap();
            assert!(wire50.received().iter().all(|received| *received == frame));
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(out.received().len() as u64, sent);
    assert_eq!((source.stats().rx_packets, sink.stats().tx_packets), (sent, sent));
    assert_eq!(bench.datapath.stats().hit, sent);
    bench.switch.reclaim();
    assert_eq!(bench.switch.domain().pending(), 0, "nothing waits to be freed once everybody has left");
}

/// The packets of each flow leave in the order in which they came, whatever the number of workers and ports.
#[test]
fn flows_stay_in_order_over_several_workers() {
    let mut bench = Bench::with(SwitchConfig { workers: 3, ..SwitchConfig::default() });
    let (sink, out) = bench.port("sink");
    let wires: Vec<_> = (0..6)
        .map(|n| {
            let (port, wire) = bench.port(&format!("in{n}"));
            bench.port_flow(port.port_no(), &[Action::Output(sink.port_no())]);
            wire
        })
        .collect();
    let count = 2000u16;
    std::thread::scope(|scope| {
        for worker in &mut bench.workers {
            scope.spawn(move || {
                let mut idle = 0;
                while idle < 1000 {
                    idle = if worker.poll_all(1) == 0 { idle + 1 } else { 0 };
                    std::thread::yield_now();
                }
            });
        }
        for sequence in 0..count {
            for (n, wire) in wires.iter().enumerate() {
                wire.send(Frame::between(n as u8, 99).with_ports(n as u16, sequence).bytes());
            }
        }
    });
    bench.run();
    let mut next = [0u16; 6];
    for frame in out.received() {
        let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let (flow, sequence) = (port(34) as usize, port(36));
        assert_eq!(sequence, next[flow], "flow {flow}");
        next[flow] += 1;
    }
    assert_eq!(next, [count; 6]);
}

#[test]
fn a_deletion_waits_for_who_looks_at_the_port() {
    let bench = Bench::new();
    let (port, wire) = bench.port("p1");
    wire.set_ifindex(7);
    bench.switch.port_refresh(&port);
    let gone = port.gone();
    let looker = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        drop(port);
    });
    bench.switch.port_del(&bench.datapath, 1).unwrap();
    assert!(gone.wait(std::time::Duration::ZERO), "destroyed before the answer");
    looker.join().unwrap();
}

#[test]
fn whoever_deletes_a_datapath_may_destroy_its_ports_in_his_own_way() {
    let bench = Bench::new();
    let (port, wire) = bench.port("p1");
    wire.set_ifindex(7);
    bench.switch.port_refresh(&port);
    let gone = port.gone();
    drop(port);
    let mut destroyed = 0;
    let destroy = |ports: Vec<_>| {
        destroyed = ports.len();
        assert!(!gone.wait(std::time::Duration::ZERO), "these are the last references");
        drop(ports);
        assert!(gone.wait(std::time::Duration::ZERO));
    };
    bench.switch.datapath_del_by(&bench.datapath, destroy).unwrap();
    assert_eq!(destroyed, 2);
}

#[test]
fn a_local_port_is_made_anew_under_a_datapath_that_goes_on() {
    let mut bench = Bench::new();
    let (p1, w1) = bench.port("p1");
    bench.port_flow(p1.port_no(), &[Action::Output(0)]);
    w1.send(Frame::between(1, 2).bytes());
    bench.run();
    let old = bench.datapath.port(0).unwrap();
    assert_eq!(old.stats().tx_packets, 1);
    let gone = old.gone();
    drop(old);
    bench.switch.local_port_renew(&bench.datapath).unwrap();
    assert!(gone.wait(std::time::Duration::ZERO));
    w1.send(Frame::between(1, 2).bytes());
    bench.run();
    let new = bench.datapath.port(0).unwrap();
    assert_eq!((new.name(), new.port_no(), new.stats().tx_packets), (name("bench0"), 0, 1));
    assert_eq!((bench.datapath.stats().hit, bench.datapath.port_count()), (2, 2));
    assert!(Arc::ptr_eq(&bench.switch.port_named(NetnsId::default(), &name("bench0")).unwrap(), &new));
    drop(new);
    bench.switch.datapath_del(&bench.datapath).unwrap();
    assert!(matches!(bench.switch.local_port_renew(&bench.datapath), Err(Error::NoSuchDatapath(_))));
}

#[test]
fn a_datapath_that_has_gone_is_not_taken_for_another_with_its_number() {
    let bench = Bench::new();
    let old = bench.datapath("dp1");
    let request = |datapath: &Arc<Datapath>| {
        let parts = FlowParts { key: FlowKey::default(), mask: FlowMask::default(), ufid: Ufid::new(&[1]) };
        bench.switch.flow_add(datapath, &FlowRequest { parts, actions: vec![] })
    };
    let flow = request(&old).unwrap();
    bench.switch.datapath_del(&old).unwrap();
    let new = bench.datapath("dp2");
    assert_eq!(new.id(), old.id());
    assert!(matches!(request(&old), Err(Error::NoSuchDatapath(_))));
    assert!(matches!(bench.switch.flow_del(&old, &flow), Err(Error::NoSuchDatapath(_))));
    assert!(matches!(bench.switch.datapath_del(&old), Err(Error::NoSuchDatapath(_))));
    assert_eq!(bench.switch.flow_flush(&old), 0);
    assert!(new.is_alive());
    request(&new).unwrap();
}

#[test]
fn a_port_that_has_gone_is_not_renamed() {
    let bench = Bench::new();
    let (port, _) = bench.port("p1");
    bench.switch.port_detach(&port);
    assert!(matches!(bench.switch.port_rename(&port, name("p2")), Err(Error::NoSuchPort { .. })));
    bench.port("p2");
}
