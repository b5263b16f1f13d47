// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Marks and priorities of frames between the host and an internal port. Root.

#[path = "../../vport-netdev/tests/lab/mod.rs"]
mod lab;
mod packet_socket;

use std::ffi::CString;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use lab::{Space, soon};
use packet_socket::{Injector, Listener, receive_datagram, set_mark, set_priority};
use portway_buf::{Batch, Packet, Pool};
use portway_vport::abi::TxReport;
use portway_vport::ops::{CreateParams, PortType};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use vport_internal::InternalPort;

fn internal(space: &Space, device: &str) -> InternalPort {
    let name = CString::new(device).unwrap();
    let port = InternalPort::create(&CreateParams {
        name: &name,
        netns: Some(space.netns.as_fd()),
        tx_queues: 2,
        options: &[],
        mac: [2, 0, 0, 0, 0, 1],
        is_local: false,
    });
    space.ip(&format!("link set {device} up"));
    port.unwrap()
}

/// A frame with its mark and priority in front.
type Sent = (u32, u32, Vec<u8>);

/// The next `count` frames that the host sends through the port: mark, priority, frame.
fn received(port: &InternalPort, pool: &mut Pool, count: usize) -> Vec<Sent> {
    let (mut all, mut batch) = (Vec::new(), Batch::new());
    let came = soon(|| {
        port.rx(0, &mut pool.as_ref(), &mut batch).unwrap();
        all.extend(batch.iter().map(describe));
        pool.as_ref().give_all(&mut batch);
        all.len() >= count
    });
    assert!(came, "{} of {count} frames", all.len());
    all
}

fn describe(packet: &Packet) -> Sent {
    (packet.mark(), packet.priority(), packet.frame().to_vec())
}

/// What is there now.
fn next(port: &InternalPort, pool: &mut Pool) -> Option<Vec<Sent>> {
    let mut batch = Batch::new();
    port.rx(0, &mut pool.as_ref(), &mut batch).unwrap();
    let all: Vec<_> = batch.iter().map(describe).collect();
    pool.as_ref().give_all(&mut batch);
    (!all.is_empty()).then_some(all)
}

fn send(port: &InternalPort, pool: &mut Pool, packets: impl IntoIterator<Item = Packet>) -> TxReport {
    let (mut batch, mut report) = (packets.into_iter().collect::<Batch>(), TxReport::default());
    port.tx(0, &mut pool.as_ref(), &mut batch, &mut report);
    report
}

fn packet(mark: u32, priority: u32, frame: &[u8]) -> Packet {
    let mut packet = Packet::copied_from(frame).unwrap();
    if mark != 0 {
        packet.set_mark(mark);
    }
    if priority != 0 {
        packet.set_priority(priority);
    }
    packet
}

/// An Ethernet frame for the port's device, of an ethertype that nobody listens to.
fn frame(len: usize, last: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x88, 0xb5];
    frame.resize(len, 0x77);
    frame[len - 1] = last;
    frame
}

fn tagged(len: usize) -> Vec<u8> {
    let mut frame = frame(len, 1);
    frame.splice(12..12, [0x81, 0, 0x20, 0x64]);
    frame
}

#[test]
fn what_the_host_sends_comes_with_mark_and_priority_in_order() {
    let space = Space::new("out");
    let (port, mut pool) = (internal(&space, "i1"), Pool::new());
    let sent = [
        (0, 0, frame(60, 1)),
        (5, 0, frame(60, 2)),
        (0, 6, frame(60, 2)),
        (0, 0, frame(60, 3)),
        (u32::MAX, 0x1_0001, frame(1500, 3)),
        (7, 0, tagged(60)),
        (8, 0, tagged(1500)),
        (9, 1, frame(14, 0xb5)),
        (1, 0, frame(79, 1)),
        (2, 0, frame(80, 1)),
        (3, 0, frame(81, 1)),
        (0, 0, frame(81, 2)),
        (0, 0, frame(82, 2)),
    ];
    let host = Injector::new(&space, "i1");
    for (mark, priority, frame) in &sent {
        assert!(host.send(*mark, *priority, frame));
    }
    let came = received(&port, &mut pool, sent.len());
    assert_eq!(came.len(), sent.len());
    for (came, sent) in came.iter().zip(&sent) {
        assert_eq!(came, sent);
    }
}

#[test]
fn notes_of_frames_that_were_lost_do_not_stay() {
    let space = Space::new("lost");
    let (port, mut pool) = (internal(&space, "i1"), Pool::new());
    let host = Injector::new(&space, "i1");
    for _ in 0..3 {
        // Many more than the TAP and the ring have room for.
        for _ in 0..2000 {
            host.send(5, 0, &frame(60, 1));
        }
        let mut came = received(&port, &mut pool, 1);
        while let Some(more) = next(&port, &mut pool) {
            came.extend(more);
        }
        assert!(came.len() < 2000 && came.iter().all(|(mark, ..)| *mark == 5), "{}", came.len());
        // Longer than a note can wait for its frame.
        thread::sleep(Duration::from_millis(150));
        assert!(host.send(0, 0, &frame(60, 1)));
        assert_eq!(received(&port, &mut pool, 1), [(0, 0, frame(60, 1))]);
        assert!(host.send(6, 0, &frame(60, 2)));
        assert_eq!(received(&port, &mut pool, 1), [(6, 0, frame(60, 2))]);
    }
}

#[test]
fn what_the_host_gets_has_mark_and_priority_in_order() {
    let space = Space::new("in");
    let (port, mut pool) = (internal(&space, "i1"), Pool::new());
    let listener = Listener::new(&space, "i1");
    let before = space.statistic("i1", "rx_packets");
    let report = send(&port, &mut pool, [packet(0, 0, &frame(60, 1))]);
    assert_eq!((report.sent, report.apart), (1, 0), "what has no mark goes the ordinary way");
    assert_eq!(listener.next(), (0, frame(60, 1)));
    let sent = [(5, 60), (5, 14), (0, 61), (u32::MAX, 1514), (0, 62), (6, 63)];
    let packets = sent.map(|(mark, len)| packet(mark, 0, &frame(len, 2)));
    let report = send(&port, &mut pool, packets);
    let bytes = sent.iter().map(|(_, len)| *len as u64).sum();
    assert_eq!((report.sent, report.sent_bytes), (6, bytes));
    assert_eq!((report.apart, report.apart_bytes), (6, bytes), "the others stay behind those with a mark");
    for (mark, len) in sent {
        assert_eq!(listener.next(), (mark, frame(len, 2)));
    }
    send(&port, &mut pool, [packet(9, 0, &tagged(60))]);
    assert_eq!(listener.next(), (9, tagged(60)));
    assert_eq!(space.statistic("i1", "rx_packets") - before, 1, "as `apart` says");
    assert!(next(&port, &mut pool).is_none(), "what is turned round does not come back");
    // When nothing can be waiting any more, the ordinary way is taken again.
    let apart = || send(&port, &mut pool, [packet(0, 0, &frame(60, 1))]).apart;
    assert!(soon({
        let mut apart = apart;
        move || apart() == 0
    }));
}

/// A UDP datagram from 10.2.0.2 to 10.2.0.1 port 7777.
fn datagram() -> Vec<u8> {
    let mut frame = frame(14 + 20 + 8 + 1, b'!');
    frame[12..14].copy_from_slice(&[8, 0]);
    let ip = [0x45, 0, 0, 29, 0, 1, 0, 0, 64, 17, 0x66, 0xc9, 10, 2, 0, 2, 10, 2, 0, 1];
    frame[14..34].copy_from_slice(&ip);
    frame[34..42].copy_from_slice(&[0x30, 0x39, 0x1e, 0x61, 0, 9, 0, 0]);
    frame
}

#[test]
fn a_socket_of_the_host_sees_mark_and_priority() {
    let space = Space::new("udp");
    let (port, mut pool) = (internal(&space, "i1"), Pool::new());
    space.ip("addr add 10.2.0.1/24 dev i1");
    let socket = space.inside(|| UdpSocket::bind("10.2.0.1:7777")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    for (mark, priority) in [(0, 0), (5, 0), (0, 3), (7, 0xffff_0001), (0, 0)] {
        send(&port, &mut pool, [packet(mark, priority, &datagram())]);
        assert_eq!(receive_datagram(&socket), (mark, priority));
    }
}

#[test]
fn a_device_that_was_moved_still_takes_and_gives_marks() {
    let (space, elsewhere) = (Space::new("from"), Space::new("to"));
    let (port, mut pool) = (internal(&space, "i1"), Pool::new());
    let listener = Listener::new(&space, "i1");
    send(&port, &mut pool, [packet(5, 0, &frame(60, 1))]);
    assert_eq!(listener.next(), (5, frame(60, 1)));
    drop(listener);
    for place in [&elsewhere, &space] {
        let other = if place.name == space.name { &elsewhere } else { &space };
        other.ip(&format!("link set i1 netns {}", place.name));
        assert_eq!(send(&port, &mut pool, [packet(5, 0, &frame(60, 1))]).dropped, 1, "it is down");
        place.ip("link set i1 up");
        let listener = Listener::new(place, "i1");
        send(&port, &mut pool, [packet(6, 2, &frame(60, 1))]);
        assert_eq!(listener.next(), (6, frame(60, 1)));
        drop(listener);
        assert!(Injector::new(place, "i1").send(9, 4, &frame(60, 8)));
        assert_eq!(received(&port, &mut pool, 1), [(9, 4, frame(60, 8))]);
    }
}

/// Forwards between two ports, gives what goes to the first and to the second these marks, and counts those that came with other
/// ones, and super-packets.
fn relay(ports: [&InternalPort; 2], marks: [u32; 2], stop: &AtomicBool, counts: [&AtomicU64; 2]) {
    let mut pool = Pool::new();
    while !stop.load(Ordering::Relaxed) {
        let mut idle = true;
        for (from, to) in [(0, 1), (1, 0)] {
            let (mut batch, mut report) = (Batch::new(), TxReport::default());
            ports[from].rx(0, &mut pool.as_ref(), &mut batch).unwrap();
            for packet in &mut batch {
                idle = false;
                let is_wrong = packet.mark() != marks[from] && packet.frame()[12..14] == [8, 0];
                counts[0].fetch_add(u64::from(is_wrong), Ordering::Relaxed);
                counts[1].fetch_add(u64::from(packet.offload().gso.is_some()), Ordering::Relaxed);
                packet.set_mark(marks[to]);
                packet.set_priority(marks[to] + 1);
            }
            ports[to].tx(0, &mut pool.as_ref(), &mut batch, &mut report);
        }
        if idle {
            thread::sleep(Duration::from_micros(100));
        }
    }
}

#[test]
fn streams_with_marks_keep_their_offloads() {
    let spaces = [Space::new("a"), Space::new("b")];
    let [a, b] = [0, 1].map(|at: usize| {
        let port = internal(&spaces[at], "i1");
        spaces[at].ip(&format!("link set i1 address 02:00:00:00:01:0{at}"));
        spaces[at].ip(&format!("addr add 10.2.0.{}/24 dev i1", at + 1));
        port
    });
    let (stop, wrong, segments) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| relay([&a, &b], [21, 22], &stop, [&wrong, &segments]));
        let done = std::panic::catch_unwind(|| {
            let listener = spaces[1].inside(|| TcpListener::bind("10.2.0.2:0")).unwrap();
            set_mark(&listener, 22);
            let connect = || {
                let socket = rustix::net::socket(
                    rustix::net::AddressFamily::INET,
                    rustix::net::SocketType::STREAM,
                    None,
                )
                .unwrap();
                set_mark(&socket, 21);
                set_priority(&socket, 4);
                let address = listener.local_addr().unwrap();
                rustix::net::connect(&socket, &address).map(|()| TcpStream::from(socket))
            };
            let mut here = spaces[0].inside(connect).unwrap();
            let (mut there, _) = listener.accept().unwrap();
            for stream in [&here, &there] {
                stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
            }
            transfer(&mut here, &mut there);
            transfer(&mut there, &mut here);
        });
        stop.store(true, Ordering::Relaxed);
        done.unwrap();
    });
    // What the host sends without a socket (the first answer to a connection) has no mark.
    let (wrong, segments) = (wrong.into_inner(), segments.into_inner());
    assert!(wrong <= 4 && segments > 200, "{wrong} with another mark, {segments} super-packets");
}

fn transfer(from: &mut TcpStream, to: &mut TcpStream) {
    const LEN: usize = 10 << 20;
    let pattern = |at: usize| (at / 11 % 251) as u8;
    thread::scope(|scope| {
        scope.spawn(|| from.write_all(&(0..LEN).map(pattern).collect::<Vec<_>>()).unwrap());
        let mut got = vec![0; LEN];
        to.read_exact(&mut got).unwrap();
        assert!(got.iter().enumerate().all(|(at, &byte)| byte == pattern(at)));
    });
}

#[test]
fn without_permission_for_bpf_frames_go_without() {
    let space = Space::new("none");
    let space = &space;
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut sets = capabilities(None).unwrap();
            let refused = CapabilitySet::BPF | CapabilitySet::SYS_ADMIN | CapabilitySet::PERFMON;
            let netns = space.netns.try_clone().unwrap();
            rustix::thread::move_into_link_name_space(netns.as_fd(), None).unwrap();
            sets.effective &= !refused;
            set_capabilities(None, sets).unwrap();
            let (port, mut pool) = (internal(space, "i1"), Pool::new());
            let listener = Listener::new(space, "i1");
            let report = send(&port, &mut pool, [packet(5, 3, &frame(60, 1))]);
            assert_eq!((report.sent, report.apart), (1, 0));
            assert_eq!(listener.next(), (0, frame(60, 1)));
            assert!(Injector::new(space, "i1").send(5, 3, &frame(60, 2)));
            assert_eq!(received(&port, &mut pool, 1), [(0, 0, frame(60, 2))]);
        });
    });
}
