// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Internal ports: real TAPs in namespaces of their own, real hosts behind veths. Root.

#[path = "../../vport-netdev/tests/lab/forward.rs"]
mod forward;
#[path = "../../vport-netdev/tests/lab/mod.rs"]
mod lab;

use std::ffi::CString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use forward::{Forwarder, wait};
use lab::{Space, soon};
use portway_buf::{Batch, Packet, Pool};
use portway_netwatch::{Links, Netns};
use portway_vport::abi::{TxReport, info_flags};
use portway_vport::ops::{CreateParams, Errno, PortType};
use vport_internal::{InternalPort, OPTION_LASTING};
use vport_netdev::NetdevPort;

fn create<P: PortType>(space: &Space, device: &str, mac: [u8; 6]) -> Result<P, Errno> {
    let name = CString::new(device).unwrap();
    P::create(&CreateParams {
        name: &name,
        netns: Some(space.netns.as_fd()),
        tx_queues: 2,
        options: &[],
        mac,
        is_local: false,
    })
}

fn internal(space: &Space, device: &str) -> InternalPort {
    create(space, device, [0; 6]).unwrap()
}

/// A switch whose own leg `i1` has 10.2.0.1, and a host 10.2.0.2 behind its port `p2`.
struct Site {
    switch: Space,
    host: Space,
    tap: Arc<InternalPort>,
    veth: Arc<NetdevPort>,
}

impl Site {
    fn new() -> Self {
        let (switch, host) = (Space::new("sw"), Space::new("host"));
        switch.veth("p2", &host, "eth0");
        host.ip("addr add 10.2.0.2/24 dev eth0");
        let tap = Arc::new(internal(&switch, "i1"));
        switch.ip("link set i1 up");
        switch.ip("addr add 10.2.0.1/24 dev i1");
        let veth = Arc::new(create(&switch, "p2", [0; 6]).unwrap());
        Self { switch, host, tap, veth }
    }

    fn forward(&self) -> Forwarder {
        Forwarder::new(Arc::clone(&self.tap), Arc::clone(&self.veth))
    }
}

#[test]
fn the_host_pings_through_the_switch() {
    let site = Site::new();
    let _forwarder = site.forward();
    assert_eq!(site.switch.ping("10.2.0.2", 5), 5);
    assert_eq!(site.host.ping("10.2.0.1", 5), 5);
}

fn transfer(from: &Space, to: &Space, address: &str, len: usize) {
    let pattern = |at: usize| (at / 11 % 251) as u8;
    let listener = to.inside(|| TcpListener::bind((address, 0))).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = from.inside(|| TcpStream::connect((address, port))).unwrap();
            stream.write_all(&(0..len).map(pattern).collect::<Vec<_>>()).unwrap();
        });
        let (mut stream, mut got) = (listener.accept().unwrap().0, Vec::new());
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        stream.read_to_end(&mut got).unwrap();
        assert!(got.len() == len && got.iter().enumerate().all(|(at, &byte)| byte == pattern(at)));
    });
}

#[test]
fn segments_and_partial_checksums_cross_in_both_directions() {
    let site = Site::new();
    let forwarder = site.forward();
    let counts = &forwarder.counts;
    transfer(&site.switch, &site.host, "10.2.0.2", 20 << 20);
    let out = counts.super_packets.load(Ordering::Relaxed);
    assert!(out > 150, "{out} super-packets from the TAP");
    transfer(&site.host, &site.switch, "10.2.0.1", 20 << 20);
    let back = counts.super_packets.load(Ordering::Relaxed) - out;
    assert!(back > 150, "{back} super-packets to the TAP");
    assert!(counts.partial_checksums.load(Ordering::Relaxed) >= out + back);
    assert_eq!(counts.tx_errors.load(Ordering::Relaxed), 0);
}

#[test]
fn datagrams_with_partial_checksums_are_accepted_by_the_peer() {
    let site = Site::new();
    let forwarder = site.forward();
    let receiver = site.host.inside(|| UdpSocket::bind("10.2.0.2:0")).unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let sender = site.switch.inside(|| UdpSocket::bind("10.2.0.1:0")).unwrap();
    let mut buffer = [0; 2000];
    for len in [1, 700, 1472] {
        sender.send_to(&vec![len as u8; len], receiver.local_addr().unwrap()).unwrap();
        let (got, from) = receiver.recv_from(&mut buffer).unwrap();
        assert!(got == len && buffer[..len].iter().all(|&byte| byte == len as u8));
        receiver.send_to(&buffer[..len], from).unwrap();
        sender.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        assert_eq!(sender.recv(&mut buffer).unwrap(), len);
    }
    assert!(forwarder.counts.partial_checksums.load(Ordering::Relaxed) >= 6);
}

#[test]
fn the_device_is_made_as_wanted_and_goes_with_the_port() {
    let space = Space::new("make");
    let mut links = Links::open_in(&space.netns).unwrap();
    let mac = [2, 0, 0, 1, 2, 3];
    let port: InternalPort = create(&space, "i1", mac).unwrap();
    let info = port.info();
    assert_eq!((info.mac, info.mtu, info.flags), (mac, 1500, info_flags::OFFLOAD));
    let link = links.by_name("i1").unwrap();
    assert_eq!((link.index, link.mac, link.mtu), (info.ifindex, mac, 1500));
    assert_eq!(link.flags & portway_netwatch::flags::UP, 0, "it starts down, as the kernel's");
    let chosen = internal(&space, "i2").info().mac;
    assert_eq!((chosen[0] & 1, chosen[0] & 2), (0, 2), "unicast and locally administered: {chosen:x?}");
    drop(port);
    assert!(soon(|| links.by_name("i1").is_err_and(|error| error.errno() == libc::ENODEV)));
    assert!(soon(|| links.list().unwrap().iter().all(|link| link.kind != "tun")));
}

#[test]
fn names_that_are_taken_or_patterns_are_answered_as_the_kernel_does() {
    let (space, other) = (Space::new("names"), Space::new("peer"));
    space.veth("v0", &other, "w0");
    let refusal = |name| create::<InternalPort>(&space, name, [0; 6]).err().map(|errno| errno.0);
    let _first = internal(&space, "i1");
    assert_eq!(refusal("i1"), Some(libc::EEXIST), "an internal port");
    assert_eq!(refusal("v0"), Some(libc::EEXIST), "another kind of device");
    space.ip("tuntap add t0 mode tap");
    assert_eq!(refusal("t0"), Some(libc::EEXIST), "a TAP that is not ours");
    let mut links = Links::open_in(&space.netns).unwrap();
    let [one, two] = ["n%d", "n%d"].map(|name| internal(&space, name));
    assert_eq!(links.by_name("n0").unwrap().index, one.info().ifindex);
    assert_eq!(links.by_name("n1").unwrap().index, two.info().ifindex);
    assert!(create::<InternalPort>(&other, "i1", [0; 6]).is_ok(), "another namespace has names of its own");
    let multicast = create::<InternalPort>(&space, "i3", [1, 0, 0x5e, 0, 0, 1]);
    assert_eq!(multicast.err(), Some(Errno(libc::EADDRNOTAVAIL)));
    assert!(soon(|| links.by_name("i3").is_err()), "nothing is left behind");
}

#[test]
fn an_internal_port_is_no_device_for_a_netdev_port() {
    let space = Space::new("twice");
    let _port = internal(&space, "i1");
    let refused = create::<NetdevPort>(&space, "i1", [0; 6]);
    assert_eq!(refused.err(), Some(Errno(libc::EINVAL)));
    space.ip("tuntap add t0 mode tap");
    assert!(create::<NetdevPort>(&space, "t0", [0; 6]).is_ok(), "a TAP that is not ours");
}

#[test]
fn changes_made_by_the_host_are_seen() {
    let site = Site::new();
    let _forwarder = site.forward();
    site.switch.ip("link set i1 mtu 9000");
    site.switch.ip("link set i1 address 02:00:00:00:77:77");
    let info = site.tap.info();
    assert_eq!((info.mtu, info.mac), (9000, [2, 0, 0, 0, 0x77, 0x77]));
    site.switch.ip("link set p2 mtu 9000");
    site.host.ip("link set eth0 mtu 9000");
    let output =
        site.switch.attempt("ping", &["-n", "-c", "2", "-M", "do", "-s", "8900", "-W", "1", "10.2.0.2"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    site.switch.ip("link set i1 down");
    assert_eq!(site.tap.info().link_up, 0);
    let mut pool = Pool::new();
    let (mut batch, mut report) = (Batch::new(), TxReport::default());
    batch.push(Packet::copied_from(&[0; 60]).unwrap());
    site.tap.tx(0, &mut pool.as_ref(), &mut batch, &mut report);
    assert_eq!(report, TxReport { dropped: 1, ..TxReport::default() });
    // Up again: the next frame is taken, whether anybody has told the port or not.
    site.switch.ip("link set i1 up");
    batch.push(Packet::copied_from(&[0; 60]).unwrap());
    site.tap.tx(0, &mut pool.as_ref(), &mut batch, &mut report);
    assert_eq!((report.sent, report.dropped, report.errors), (1, 1, 0));
}

#[test]
fn a_namespace_that_the_device_was_moved_to_can_go() {
    let (space, elsewhere) = (Space::new("stays"), Space::new("goes"));
    let port = internal(&space, "i1");
    space.ip(&format!("link set i1 netns {}", elsewhere.name));
    elsewhere.ip("link set i1 up");
    assert_eq!(port.info().link_up, 1, "seen where it is");
    drop(elsewhere);
    let mut pool = Pool::new();
    let mut rx = || port.rx(0, &mut pool.as_ref(), &mut Batch::new());
    assert!(soon(|| rx() == Err(Errno(libc::ENETDOWN))), "the device goes with its namespace");
    assert_eq!(port.info().link_up, 0);
}

#[test]
fn a_device_that_is_renamed_and_moved_stays_the_port() {
    let site = Site::new();
    let _forwarder = site.forward();
    let elsewhere = Space::new("elsewhere");
    let index = site.tap.info().ifindex;
    site.switch.ip("link set i1 down");
    site.switch.ip("link set i1 name other");
    assert_eq!(site.tap.info().ifindex, index);
    site.switch.ip(&format!("link set other netns {}", elsewhere.name));
    // A namesake in the old place must not be taken for it.
    let namesake = internal(&site.switch, "other");
    elsewhere.ip("link set other mtu 1300 up");
    elsewhere.ip("addr add 10.2.0.9/24 dev other");
    assert_eq!((site.tap.info().mtu, namesake.info().mtu), (1300, 1500));
    assert_eq!(elsewhere.ping("10.2.0.2", 3), 3);
}

#[test]
fn a_device_that_is_deleted_from_outside_lets_the_worker_sleep() {
    let space = Space::new("gone");
    let port = internal(&space, "i1");
    let mut pool = Pool::new();
    let mut rx = || {
        let mut batch = Batch::new();
        port.rx(0, &mut pool.as_ref(), &mut batch)
    };
    while rx().is_ok() && wait(&port, &port, 0) {}
    space.ip("link del i1");
    assert!(wait(&port, &port, 500), "the descriptor wakes the worker");
    assert_eq!(rx(), Err(Errno(libc::ENETDOWN)));
    assert_eq!((rx(), rx()), (Ok(()), Ok(())));
    assert_eq!(port.info().link_up, 0);
    let (mut batch, mut report) = (Batch::new(), TxReport::default());
    batch.push(Packet::copied_from(&[0; 60]).unwrap());
    port.tx(0, &mut pool.as_ref(), &mut batch, &mut report);
    assert_eq!((report.errors, batch.len()), (1, 0));
    drop(port);
    let _again = internal(&space, "i1");
}

/// Not a test by itself: what [`nothing_is_left_after_kill_9`] runs in a process of its own.
#[test]
#[ignore = "run by nothing_is_left_after_kill_9 in a process of its own"]
fn child_that_holds_ports() {
    let Ok(namespace) = std::env::var("PORTWAY_TEST_NETNS") else { return };
    let netns = Netns::by_name(&namespace).unwrap();
    let name = |name| CString::new(name).unwrap();
    let (tap, veth) = (name("i1"), name("p2"));
    let params = |name| CreateParams {
        name,
        netns: Some(netns.as_fd()),
        tx_queues: 1,
        options: &[],
        mac: [0; 6],
        is_local: false,
    };
    let _tap = InternalPort::create(&params(&tap)).unwrap();
    let _veth = NetdevPort::create(&params(&veth)).unwrap();
    let mut output = std::io::stdout();
    writeln!(output, "\nready").unwrap();
    output.flush().unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn nothing_is_left_after_kill_9() {
    let (switch, host) = (Space::new("kill"), Space::new("host"));
    switch.veth("p2", &host, "eth0");
    switch.ip("addr add 10.3.0.1/24 dev p2");
    host.ip("addr add 10.3.0.2/24 dev eth0");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_holds_ports", "--ignored", "--nocapture"])
        .env("PORTWAY_TEST_NETNS", &switch.name)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = lines.map_while(Result::ok).any(|line| line.trim() == "ready");
    let (ports_held, taken) = (
        switch.attempt("ip", &["link", "show", "i1"]).status.success(),
        create::<NetdevPort>(&switch, "p2", [0; 6]).err(),
    );
    let pings = host.ping("10.3.0.1", 1);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(ready && ports_held && pings == 0, "{ready} {ports_held} {pings}");
    assert_eq!(taken, Some(Errno(libc::EBUSY)), "a port of another process");
    let shown = || switch.attempt("ip", &["link", "show", "i1"]).status.success();
    assert!(soon(|| !shown()), "the TAP outlived its process");
    assert!(soon(|| host.ping("10.3.0.1", 1) == 1), "the device is the host's again");
    assert!(soon(|| create::<NetdevPort>(&switch, "p2", [0; 6]).is_ok()));
}

#[test]
fn a_lasting_device_is_taken_over_and_goes_with_its_port() {
    let space = Space::new("last");
    let mut links = Links::open_in(&space.netns).unwrap();
    let mut option = Vec::new();
    portway_vport::options::push(&mut option, OPTION_LASTING, &1_u32.to_ne_bytes()).unwrap();
    let port = internal(&space, "i1");
    assert_eq!(port.set_options(&[]), Err(Errno(libc::EOPNOTSUPP)));
    port.set_options(&option).unwrap();
    space.ip("addr add 10.2.0.1/24 dev i1");
    let before = links.by_name("i1").unwrap();
    assert!(before.carrier);
    assert_eq!(
        create::<InternalPort>(&space, "i1", [0; 6]).err(),
        Some(Errno(libc::EEXIST)),
        "somebody has it"
    );
    // What the end of a process does: its descriptors are closed, nothing is dropped.
    let fd = port.rx_fd(0).unwrap();
    std::mem::forget(port);
    // SAFETY: the number is the forgotten port's, which nobody uses any more.
    drop(unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) });
    assert!(soon(|| links.by_name("i1").is_ok_and(|link| !link.carrier)), "it stays");
    let port = internal(&space, "i1");
    let after = links.by_name("i1").unwrap();
    assert_eq!((after.index, after.mac), (before.index, before.mac));
    assert_eq!(port.info().ifindex, before.index);
    assert!(after.carrier && space.ip("addr show i1").contains("10.2.0.1"));
    drop(port);
    assert!(soon(|| links.by_name("i1").is_err()), "it goes with its port");
    // A stranger's device is not taken.
    space.ip("tuntap add i1 mode tap");
    assert_eq!(create::<InternalPort>(&space, "i1", [0; 6]).err(), Some(Errno(libc::EEXIST)));
}
