// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The life of a port through the C table: traffic, counters, rules, and every callback failing.

mod common;

use std::sync::Arc;

use common::{Fault, LIVE, faulty, port, registry};
use portway_buf::{BATCH_MAX, Batch, DropCounts, DropReason, Gso, Offload, Packet, PacketKind, Pool};
use portway_vport::{DeviceTable, Direction, Errno, PortCounter, PortName, PortStats, Tap, Vport};

fn frames(pool: &mut Pool, lengths: &[usize]) -> Batch {
    lengths.iter().map(|&len| pool.copy(&vec![0x45; len]).unwrap()).collect()
}

/// Sends frames of these lengths and returns what was dropped for which reason.
fn send(port: &Vport, lengths: &[usize]) -> Vec<(DropReason, u64)> {
    let mut pool = Pool::new();
    let batch = frames(&mut pool, lengths);
    send_batch(port, &mut pool, batch)
}

fn send_batch(port: &Vport, pool: &mut Pool, mut batch: Batch) -> Vec<(DropReason, u64)> {
    let mut drops = DropCounts::default();
    port.tx(1, pool, &mut batch, &mut drops);
    assert!(batch.is_empty(), "tx consumes everything");
    drops.iter().filter(|&(_, count)| count != 0).collect()
}

fn stats_of(port: &Vport) -> Vec<(&'static str, u64)> {
    port.stats().iter().filter(|&(_, count)| count != 0).collect()
}

#[test]
fn packets_go_out_and_come_in_and_are_counted() {
    let registry = registry();
    let port = port(&registry);
    port.set_port_no(9);
    let mut pool = Pool::new();
    let batch = frames(&mut pool, &[60, 1000]);
    let addresses: Vec<_> = batch.iter().map(|packet| packet.frame().as_ptr()).collect();
    assert_eq!(send_batch(&port, &mut pool, batch), []);
    let mut batch = Batch::new();
    assert_eq!(port.rx(0, 0, &mut pool, &mut batch, &mut DropCounts::default()), Ok(2));
    assert!(batch.iter().all(|packet| packet.in_port() == 9));
    let received: Vec<_> = batch.iter().map(|packet| packet.frame().as_ptr()).collect();
    assert_eq!(received, addresses, "the same buffers, in order");
    let expected =
        PortStats { rx_packets: 2, rx_bytes: 1060, tx_packets: 2, tx_bytes: 1060, ..PortStats::default() };
    assert_eq!(port.stats(), expected);
    assert_eq!(
        port.rx(0, 0, &mut pool, &mut batch, &mut DropCounts::default()),
        Ok(0),
        "a batch that is not empty stays as it is"
    );
    assert_eq!((batch.len(), port.stats()), (2, expected));
    port.count(0, PortCounter::UpcallSuccess, 2);
    port.count_shared(PortCounter::UpcallFail, 3);
    assert_eq!((port.stats().upcall_success, port.stats().upcall_fail), (2, 3));
}

#[test]
fn no_room_is_a_drop() {
    let registry = registry();
    let port = port(&registry);
    assert_eq!(send(&port, &[60; BATCH_MAX]), []);
    assert_eq!(send(&port, &[60; 3]), [(DropReason::TxFull, 3)]);
    assert_eq!(stats_of(&port), [("tx_packets", 64), ("tx_bytes", 64 * 60), ("tx_dropped", 3)]);
}

#[test]
fn over_mtu_frames_are_errors_unless_they_are_segments() {
    let registry = registry();
    let port = faulty(&registry, Fault::Mtu).unwrap();
    assert_eq!(port.mtu(), Some(1500));
    assert!(port.needs_software_offload());
    assert_eq!(send(&port, &[1514, 1515, 1518, 60]), [(DropReason::OverMtu, 2)]);
    assert_eq!(stats_of(&port), [("tx_packets", 2), ("tx_bytes", 1574), ("tx_errors", 2)]);

    let mut pool = Pool::new();
    for (tag, len, fits) in [([0x81, 0], 1518, true), ([0x88, 0xa8], 1518, true), ([0x81, 0], 1519, false)] {
        let mut batch = frames(&mut pool, &[len]);
        batch[0].frame_mut()[12..14].copy_from_slice(&tag);
        assert_eq!(send_batch(&port, &mut pool, batch).is_empty(), fits, "{tag:x?} {len}");
        receive_all(&port, &mut pool);
    }
    let mut batch = frames(&mut pool, &[60_000, 60_000]);
    batch[1].set_offload(Offload { partial_csum: None, gso: Some(Gso { gso_type: 1, size: 1448 }) });
    assert_eq!(send_batch(&port, &mut pool, batch), [(DropReason::OverMtu, 1)]);
}

fn receive_all(port: &Vport, pool: &mut Pool) {
    let mut batch = Batch::new();
    port.rx(0, 0, pool, &mut batch, &mut DropCounts::default()).unwrap();
    pool.as_ref().give_all(&mut batch);
}

#[test]
fn frames_and_bare_packets_do_not_mix() {
    let registry = registry();
    let mut pool = Pool::new();
    let bare = |pool: &mut Pool| {
        let mut batch = frames(pool, &[60, 60]);
        batch[1].set_kind(PacketKind::Layer3(0x0800));
        batch
    };
    for fault in [Fault::Mtu, Fault::Layer3] {
        let port = faulty(&registry, fault).unwrap();
        let batch = bare(&mut pool);
        assert_eq!(send_batch(&port, &mut pool, batch), [(DropReason::WrongLayer, 1)]);
        assert_eq!(stats_of(&port), [("tx_packets", 1), ("tx_bytes", 60), ("tx_dropped", 1)]);
    }
    let port = faulty(&registry, Fault::Layer3).unwrap();
    let mut packet = Packet::copied_from(&[0x45; 1501]).unwrap();
    packet.set_kind(PacketKind::Layer3(0x0800));
    assert_eq!(send_batch(&port, &mut pool, [packet].into_iter().collect()), [(DropReason::OverMtu, 1)]);
}

#[test]
fn a_port_that_leaves_neither_gives_nor_takes() {
    let registry = registry();
    let port = port(&registry);
    assert_eq!(send(&port, &[60]), []);
    assert_eq!(registry.list()[0].references, 1);
    port.detach();
    port.detach();
    assert_eq!(registry.list()[0].references, 0, "put back once");
    assert!(!port.is_alive());
    assert_eq!(send(&port, &[60, 60]), [(DropReason::NoSuchPort, 2)]);
    assert_eq!(port.rx(0, 0, &mut Pool::new(), &mut Batch::new(), &mut DropCounts::default()), Ok(0));
    assert_eq!(port.stats().rx_packets, 0);
}

#[test]
fn a_panic_fails_one_call_and_is_counted_and_named() {
    let registry = registry();
    assert_eq!(faulty(&registry, Fault::Create).unwrap_err(), Errno::EIO);
    assert_eq!(faulty(&registry, Fault::Info).unwrap_err(), Errno::EIO);
    assert_eq!(faulty(&registry, Fault::CreateErrno).unwrap_err(), Errno::ENODEV, "no fault: unchanged");
    assert_eq!(LIVE.get(), 0, "nothing is left behind");
    let type_info = &registry.list()[0];
    assert_eq!((type_info.references, type_info.faults), (0, 2));

    let port = faulty(&registry, Fault::SetOptions).unwrap();
    assert_eq!(port.handle().set_options(&[0; 4]), Err(Errno::EIO));
    assert_eq!(port.handle().faults(), 1);

    let port = faulty(&registry, Fault::GetOptions).unwrap();
    let mut out = vec![1];
    assert_eq!(port.handle().get_options(&mut out), Err(Errno::EIO));
    assert_eq!(out, [1], "as it was");

    let port = faulty(&registry, Fault::RxFd).unwrap();
    assert_eq!((port.handle().rx_fd(0), port.handle().faults()), (None, 1));

    let port = faulty(&registry, Fault::Drop).unwrap();
    drop(port);
    assert_eq!(LIVE.get(), 3, "destroyed all the same");
    assert_eq!(registry.list()[0].references, 3, "the three above");
}

#[test]
fn a_panic_on_the_way_of_packets_loses_them_and_nothing_else() {
    let registry = registry();
    let mut pool = Pool::new();
    let port = faulty(&registry, Fault::Tx).unwrap();
    let batch = frames(&mut pool, &[60; 10]);
    let held = pool.held()[0];
    assert_eq!(send_batch(&port, &mut pool, batch), [(DropReason::Contained, 10)]);
    assert_eq!(pool.held()[0], held + 10, "the packets came back");
    assert_eq!(stats_of(&port), [("tx_errors", 10)]);
    assert_eq!(port.handle().faults(), 1);

    let port = faulty(&registry, Fault::Rx).unwrap();
    let held = pool.held()[0];
    let mut batch = Batch::new();
    assert_eq!(port.rx(0, 0, &mut pool, &mut batch, &mut DropCounts::default()), Err(Errno::EIO));
    assert!(batch.is_empty());
    assert!(pool.held()[0] >= held, "what was received came back");
    assert_eq!(stats_of(&port), [("rx_errors", 1)]);

    let port = faulty(&registry, Fault::RxErrno).unwrap();
    assert_eq!(port.rx(0, 0, &mut pool, &mut batch, &mut DropCounts::default()), Err(Errno::ENETDOWN));
    assert_eq!((port.handle().faults(), port.stats().rx_errors), (0, 1));
}

#[test]
fn reports_that_do_not_add_up_are_contained() {
    let registry = registry();
    for (faults, fault) in [(1, Fault::TxShort), (2, Fault::TxMany)] {
        let port = faulty(&registry, fault).unwrap();
        assert_eq!(send(&port, &[60; 3]), [(DropReason::Contained, 3)]);
        assert_eq!(stats_of(&port), [("tx_errors", 3)]);
        assert_eq!((registry.list()[0].faults, port.handle().faults()), (faults, 1));
    }
}

#[test]
fn options_and_info_pass_through() {
    let registry = registry();
    let port = port(&registry);
    assert_eq!(port.handle().set_options(&[0; 4]), Ok(()));
    assert_eq!(port.handle().set_options(&[0; 5]), Err(Errno::EINVAL));
    let mut out = vec![9];
    assert_eq!(port.handle().get_options(&mut out), Ok(false), "none to report");
    assert_eq!(out, [9]);
    let other = faulty(&registry, Fault::Mtu).unwrap();
    assert_eq!(other.handle().get_options(&mut out), Ok(true), "more than the first attempt has room for");
    assert_eq!((out.len(), out[0], out[3000]), (3001, 9, b'u'));
    let info = port.refresh_info().unwrap();
    assert_eq!((info.ifindex, info.mac, info.rx_queues, info.link_up), (7, [2, 0, 0, 0, 0, 9], 1, 1));
    assert_eq!(port.info(), info);
    assert_eq!(port.handle().rx_fd(0), Some(0));
}

struct NoTap;

impl Tap for NoTap {
    fn packet(&self, _: Direction, _: &Packet) {}
}

#[test]
fn an_outlet_is_taken_back_when_all_must_be_seen_and_when_the_port_leaves() {
    let registry = registry();
    let port = port(&registry);
    let taken_back = |port: &Vport| port.stats().tx_packets / 1000;
    assert!(port.outlet().is_ok() && port.outlet().is_ok());
    assert_eq!(taken_back(&port), 0);
    let tap: Arc<dyn Tap> = Arc::new(NoTap);
    port.tap(&tap);
    assert_eq!(taken_back(&port), 1);
    assert_eq!(port.outlet().unwrap_err(), Errno::EBUSY);
    port.untap(&tap);
    assert!(port.outlet().is_ok());
    port.stop();
    assert_eq!(taken_back(&port), 2);
    assert_eq!(port.outlet().unwrap_err(), Errno::ENODEV);
}

#[test]
fn an_outlet_that_fails_harms_nothing_else() {
    let registry = registry();
    let port = faulty(&registry, Fault::Outlet).unwrap();
    assert_eq!(port.outlet().unwrap_err(), Errno::EIO);
    assert_eq!(port.stats(), PortStats::default());
    assert_eq!(send(&port, &[60]), []);
    assert_eq!(port.stats().tx_packets, 1);
    port.stop();
    assert_eq!(port.handle().faults(), 3, "those that could say so");
}

#[test]
fn the_flow_hash_picks_the_upcall_port_id() {
    let registry = registry();
    let port = port(&registry);
    assert_eq!(port.upcall_pid(77), 5);
    port.set_upcall_pids(&[10, 20, 30]).unwrap();
    assert_eq!([0, 1, 2, 3, u32::MAX].map(|hash| port.upcall_pid(hash)), [10, 20, 30, 10, 10]);
    assert_eq!(port.set_upcall_pids(&[]), Err(Errno::EINVAL));
    assert_eq!(*port.upcall_pids(), [10, 20, 30]);
}

#[test]
fn the_device_table_finds_renames_and_limits() {
    let registry = registry();
    let table = DeviceTable::new(2);
    let (a, b) = (port(&registry), faulty(&registry, Fault::Mtu).unwrap());
    let name = |text: &str| PortName::new(text.as_bytes()).unwrap();
    table.insert(&a).unwrap();
    assert_eq!(table.insert(&port(&registry)).unwrap_err().errno(), Errno::EEXIST);
    table.insert(&b).unwrap();
    assert_eq!(table.insert(&port(&registry)).unwrap_err().errno(), Errno::ENFILE);
    assert!(std::ptr::eq(&*table.find(a.netns(), &name("loop0")).unwrap(), &*a));
    assert!(table.find(portway_vport::NetnsId(2), &name("loop0")).is_none(), "another namespace");
    assert_eq!(table.rename(&a, name("faulty0")).unwrap_err().errno(), Errno::EEXIST);
    table.rename(&a, name("eth7")).unwrap();
    table.rename(&a, name("eth7")).unwrap();
    assert_eq!((a.name(), table.find(a.netns(), &name("loop0")).is_none()), (name("eth7"), true));
    assert!(table.find(a.netns(), &name("eth7")).is_some());
    assert_eq!((table.list(None).len(), table.list(Some(portway_vport::NetnsId(2))).len()), (2, 0));
    assert!(!table.remove(&port(&registry)), "not that one");
    assert!(table.remove(&a) && !table.remove(&a));
    drop(b);
    assert!(table.find(a.netns(), &name("faulty0")).is_none(), "the table keeps no port alive");
}
