// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Netdev ports on real veths between real hosts, each in a network namespace of its own. Root.

#[path = "lab/forward.rs"]
mod forward;
mod lab;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use forward::{Forwarder, wait};
use lab::{Space, soon};
use portway_buf::{Batch, Gso, Offload, Packet, PacketKind, Pool, virtio};
use portway_vport::abi::{PortInfo, TxReport, info_flags};
use portway_vport::ops::{CreateParams, Errno, PortType};
use vport_netdev::NetdevPort;

fn attach(space: &Space, device: &str) -> Result<NetdevPort, Errno> {
    let name = std::ffi::CString::new(device).unwrap();
    NetdevPort::create(&CreateParams {
        name: &name,
        netns: Some(space.netns.as_fd()),
        tx_queues: 2,
        options: &[],
        mac: [0; 6],
        is_local: false,
    })
}

/// Two hosts (10.1.0.1, 10.1.0.2) on `eth0`, whose other ends are `p1` and `p2` of a switch.
struct Hosts {
    switch: Space,
    one: Space,
    two: Space,
}

impl Hosts {
    fn new() -> Self {
        let hosts = Self { switch: Space::new("sw"), one: Space::new("h1"), two: Space::new("h2") };
        for (number, host) in [(1, &hosts.one), (2, &hosts.two)] {
            hosts.switch.veth(&format!("p{number}"), host, "eth0");
            host.ip(&format!("addr add 10.1.0.{number}/24 dev eth0"));
        }
        hosts
    }

    fn ports(&self) -> (Arc<NetdevPort>, Arc<NetdevPort>) {
        let [one, two] = ["p1", "p2"].map(|device| Arc::new(attach(&self.switch, device).unwrap()));
        (one, two)
    }
}

/// What a port receives, `count` frames; fewer only after a long time.
fn receive(port: &NetdevPort, pool: &mut Pool, count: usize) -> Vec<Packet> {
    let (mut packets, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(120));
    while packets.len() < count && Instant::now() < deadline {
        wait(port, port, 20);
        let mut batch = Batch::new();
        port.rx(0, &mut pool.as_ref(), &mut batch).unwrap();
        packets.extend(batch);
    }
    packets
}

fn send(port: &NetdevPort, pool: &mut Pool, packets: impl IntoIterator<Item = Packet>) -> TxReport {
    let (mut batch, mut report): (Batch, _) = (packets.into_iter().collect(), TxReport::default());
    port.tx(0, &mut pool.as_ref(), &mut batch, &mut report);
    assert!(batch.is_empty());
    report
}

fn frame(len: usize, fill: u8) -> Vec<u8> {
    let mut frame = vec![fill; len];
    frame[..14].copy_from_slice(&[2, 0, 0, 0, 0, 0xaa, 2, 0, 0, 0, 0, 0xbb, 0x88, 0xb5]);
    frame
}

#[test]
fn hosts_ping_each_other_and_the_switch_s_own_stack_sees_nothing() {
    let hosts = Hosts::new();
    hosts.switch.ip("addr add 10.1.0.77/24 dev p1");
    assert_eq!(hosts.one.ping("10.1.0.77", 1), 1, "an ordinary device before it becomes a port");
    let (one, two) = hosts.ports();
    let forwarder = Forwarder::new(one, two);
    assert_eq!(hosts.one.ping("10.1.0.2", 5), 5);
    assert_eq!(hosts.two.ping("10.1.0.1", 5), 5);
    assert_eq!(hosts.one.ping("10.1.0.77", 2), 0, "the device's frames are the port's, not the host's");
    let received = hosts.two.statistic("eth0", "rx_packets");
    let forwarded = forwarder.counts.frames.load(Ordering::Relaxed);
    assert!(received <= forwarded, "{received} frames reached the host, {forwarded} were forwarded: doubled");
    assert_eq!(forwarder.counts.tx_errors.load(Ordering::Relaxed), 0);
    drop(forwarder);
    assert!(soon(|| hosts.one.ping("10.1.0.77", 1) == 1), "the host's again when the port has gone");
}

/// Sends `len` bytes of a pattern from host to host over TCP and checks every one.
fn transfer(from: &Space, to: &Space, address: &str, len: usize) {
    let pattern = |at: usize| (at / 7 % 253) as u8;
    let listener = to.inside(|| TcpListener::bind((address, 0))).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = from.inside(|| TcpStream::connect((address, port))).unwrap();
            let data: Vec<u8> = (0..len).map(pattern).collect();
            stream.write_all(&data).unwrap();
        });
        let (mut stream, mut got) = (listener.accept().unwrap().0, Vec::new());
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        stream.read_to_end(&mut got).unwrap();
        assert_eq!(got.len(), len);
        assert!(got.iter().enumerate().all(|(at, &byte)| byte == pattern(at)), "the bytes that were sent");
    });
}

#[test]
fn segments_of_64_kib_and_partial_checksums_cross_untouched() {
    let hosts = Hosts::new();
    let (one, two) = hosts.ports();
    let forwarder = Forwarder::new(one, two);
    let before = hosts.two.statistic("eth0", "rx_packets");
    transfer(&hosts.one, &hosts.two, "10.1.0.2", 40 << 20);
    let counts = &forwarder.counts;
    let (frames, supers) =
        (counts.frames.load(Ordering::Relaxed), counts.super_packets.load(Ordering::Relaxed));
    assert!(supers > 300, "only {supers} of {frames} frames were super-packets");
    assert!(counts.partial_checksums.load(Ordering::Relaxed) >= supers);
    assert_eq!(counts.tx_errors.load(Ordering::Relaxed), 0);
    assert_eq!(counts.rx_errors.load(Ordering::Relaxed), 0);
    let received = hosts.two.statistic("eth0", "rx_packets") - before;
    assert!(received < (40 << 20) / 3000, "{received} frames arrived: the segments were cut on the way");
    // And back, where the first super-packet meets small buffers again.
    transfer(&hosts.two, &hosts.one, "10.1.0.1", 10 << 20);
}

#[test]
fn udp_segmentation_crosses_untouched() {
    let hosts = Hosts::new();
    let (inject, capture) = (attach(&hosts.one, "eth0").unwrap(), attach(&hosts.two, "eth0").unwrap());
    let (one, two) = hosts.ports();
    let forwarder = Forwarder::new(one, two);
    let mut pool = Pool::new();
    // An IPv4/UDP datagram of 20 segments of 1,000 bytes.
    let mut bytes = frame(42 + 20_000, 0x5a);
    bytes[12..14].copy_from_slice(&[8, 0]);
    bytes[14..34].copy_from_slice(&[0x45, 0, 0x4e, 0x3c, 0, 1, 0, 0, 64, 17, 0, 0, 10, 1, 0, 1, 10, 1, 0, 2]);
    bytes[34..42].copy_from_slice(&[0x10, 0, 0x20, 0, 0x4e, 0x28, 0, 0]);
    let mut packet = pool.copy(&bytes).unwrap();
    let gso = Gso { gso_type: virtio::gso::UDP_L4, size: 1000 };
    let offload = Offload { partial_csum: Some((34, 6)), gso: Some(gso) };
    packet.set_offload(offload);
    assert_eq!(send(&inject, &mut pool, [packet]).sent, 1);
    let got = receive(&capture, &mut pool, 1);
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].offload(), offload);
    assert_eq!(got[0].frame(), bytes);
    assert_eq!(forwarder.counts.super_packets.load(Ordering::Relaxed), 1);
}

#[test]
fn vlan_tags_stay_where_they_were() {
    let hosts = Hosts::new();
    let (inject, capture) = (attach(&hosts.one, "eth0").unwrap(), attach(&hosts.two, "eth0").unwrap());
    let (one, two) = hosts.ports();
    let _forwarder = Forwarder::new(one, two);
    let mut pool = Pool::new();
    let tags: [&[u8]; 4] = [
        &[0x81, 0, 0x60, 10],
        &[0x88, 0xa8, 0, 20, 0x81, 0, 0, 30],
        &[0x88, 0xa8, 0, 0],
        &[0x81, 0, 0xbf, 0xff, 0x81, 0, 0, 1, 0x81, 0, 0, 2],
    ];
    let frames = tags.map(|tags| {
        let mut bytes = frame(100, 7);
        bytes.splice(12..12, tags.iter().copied());
        bytes
    });
    let packets: Vec<_> = frames.iter().map(|bytes| pool.copy(bytes).unwrap()).collect();
    assert_eq!(send(&inject, &mut pool, packets).sent, 4);
    let got = receive(&capture, &mut pool, 4);
    let got: Vec<_> = got.iter().map(Packet::frame).collect();
    assert_eq!(got, frames.iter().map(Vec::as_slice).collect::<Vec<_>>());
}

#[test]
fn frames_that_end_with_their_tag_arrive() {
    let hosts = Hosts::new();
    let (from, to) = (attach(&hosts.switch, "p1").unwrap(), attach(&hosts.one, "eth0").unwrap());
    let mut pool = Pool::new();
    let frames = [(18, [0x81, 0, 0x60, 10]), (19, [0x88, 0xa8, 0, 20]), (18, [0x81, 0, 0xef, 0xff])];
    for (len, tag) in frames {
        let mut bytes = frame(len, 7);
        bytes[12..16].copy_from_slice(&tag);
        bytes[16..18].copy_from_slice(&[0x88, 0xb5]);
        // Others in front and behind are not touched, and stay in order.
        let around = [frame(18, 1), frame(14, 2)];
        let sent = [&around[0], &bytes, &around[1]].map(|bytes| pool.copy(bytes).unwrap());
        assert_eq!(send(&from, &mut pool, sent).sent, 3);
        let got = receive(&to, &mut pool, 3);
        let got: Vec<_> = got.iter().map(Packet::frame).collect();
        assert_eq!(got, [&around[0][..], &bytes, &around[1]]);
    }
}

#[test]
fn tagged_super_packets_keep_their_offload() {
    let hosts = Hosts::new();
    let (inject, capture) = (attach(&hosts.one, "eth0").unwrap(), attach(&hosts.two, "eth0").unwrap());
    let (one, two) = hosts.ports();
    let _forwarder = Forwarder::new(one, two);
    let mut pool = Pool::new();
    let mut bytes = frame(18 + 40 + 10_000, 1);
    bytes[12..18].copy_from_slice(&[0x81, 0, 0, 5, 8, 0]);
    bytes[18..38].copy_from_slice(&[0x45, 0, 0x27, 0x38, 0, 1, 0, 0, 64, 6, 0, 0, 10, 1, 0, 1, 10, 1, 0, 2]);
    bytes[38..58].copy_from_slice(&[0x10, 0, 0x20, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 1, 0, 0, 0, 0, 0]);
    let mut packet = pool.copy(&bytes).unwrap();
    let gso = Gso { gso_type: virtio::gso::TCPV4, size: 1000 };
    let offload = Offload { partial_csum: Some((38, 16)), gso: Some(gso) };
    packet.set_offload(offload);
    assert_eq!(send(&inject, &mut pool, [packet]).sent, 1);
    let got = receive(&capture, &mut pool, 1);
    assert_eq!(got.len(), 1);
    assert_eq!((got[0].offload(), got[0].frame()), (offload, &bytes[..]));
}

#[test]
fn order_and_length_survive_a_mixed_burst() {
    let hosts = Hosts::new();
    for space in [&hosts.one, &hosts.two, &hosts.switch] {
        for device in ["eth0", "p1", "p2"] {
            space.attempt("ip", &["link", "set", device, "mtu", "65535"]);
        }
    }
    let (inject, capture) = (attach(&hosts.one, "eth0").unwrap(), attach(&hosts.two, "eth0").unwrap());
    let (one, two) = hosts.ports();
    let _forwarder = Forwarder::new(one, two);
    let mut pool = Pool::new();
    let lengths = [60, 1514, 1728, 1729, 9014, 65_549, 60, 40_000, 15];
    let mut expected = Vec::new();
    for round in 0..8 {
        let packets: Vec<_> = (0..lengths.len())
            .map(|at| {
                let bytes = frame(lengths[(at + round) % lengths.len()], (round * 16 + at) as u8);
                expected.push(bytes.clone());
                pool.copy(&bytes).unwrap()
            })
            .collect();
        assert_eq!(send(&inject, &mut pool, packets).sent as usize, lengths.len());
    }
    let got = receive(&capture, &mut pool, expected.len());
    assert_eq!(got.len(), expected.len());
    for (index, (got, expected)) in got.iter().zip(&expected).enumerate() {
        assert!(got.frame() == expected, "frame {index}: {} bytes, not {}", got.len(), expected.len());
    }
}

#[test]
fn a_frame_that_the_device_refuses_does_not_stop_those_behind_it() {
    let hosts = Hosts::new();
    let (inject, capture) = (attach(&hosts.one, "eth0").unwrap(), attach(&hosts.switch, "p1").unwrap());
    let mut pool = Pool::new();
    let lengths = [60, 2000, 61, 9, 62, 1600, 1700, 63];
    let packets: Vec<_> =
        lengths.iter().map(|&len| pool.copy(&frame(len.max(14), 1)[..len]).unwrap()).collect();
    let report = send(&inject, &mut pool, packets);
    assert_eq!((report.sent, report.errors, report.dropped), (4, 4, 0));
    assert_eq!(report.sent_bytes, 60 + 61 + 62 + 63);
    let got: Vec<_> = receive(&capture, &mut pool, 4).iter().map(Packet::len).collect();
    assert_eq!(got, [60, 61, 62, 63]);
}

#[test]
fn a_frame_longer_than_the_switch_carries_is_dropped_and_counted() {
    let hosts = Hosts::new();
    let capture = attach(&hosts.switch, "p1").unwrap();
    let mut pool = Pool::new();
    // 100,000 bytes as one TCP super-packet: a host with BIG TCP makes such ones (over IPv6, without a length).
    hosts.one.ip("link set eth0 gso_max_size 200000");
    let mut bytes = vec![0_u8; virtio::HEADER_LEN];
    bytes[..8].copy_from_slice(&[1, 4, 74, 0, 0xe8, 3, 54, 0]);
    bytes[8] = 16;
    bytes.extend(frame(100_000, 0));
    bytes[22..24].copy_from_slice(&[0x86, 0xdd]);
    bytes[24..32].copy_from_slice(&[0x60, 0, 0, 0, 0, 0, 6, 64]);
    bytes[76] = 0x50;
    hosts.one.inside(|| inject_raw("eth0", &bytes));
    let short = frame(77, 3);
    hosts.one.inside(|| inject_raw("eth0", &[&[0; virtio::HEADER_LEN], &short[..]].concat()));
    let (mut batch, deadline) = (Batch::new(), Instant::now() + Duration::from_secs(120));
    let mut errors = Vec::new();
    while batch.is_empty() && Instant::now() < deadline {
        wait(&capture, &capture, 20);
        errors.extend(capture.rx(0, &mut pool.as_ref(), &mut batch).err());
    }
    assert_eq!(errors, [Errno(libc::EMSGSIZE)]);
    assert_eq!(batch.len(), 1);
    assert_eq!(batch[0].frame(), short);
}

#[test]
fn what_the_host_could_not_keep_for_the_port_is_counted() {
    let hosts = Hosts::new();
    let capture = attach(&hosts.switch, "p1").unwrap();
    let mut pool = Pool::new();
    assert_eq!(capture.rx_missed(), 0);
    // Nobody receives: the socket's queue fills up, and what comes after that is lost.
    let raw = [&[0; virtio::HEADER_LEN], &frame(9000, 7)[..]].concat();
    hosts.one.ip("link set eth0 mtu 9500");
    hosts.switch.ip("link set p1 mtu 9500");
    let mut sent = 0;
    let deadline = Instant::now() + Duration::from_secs(120);
    while capture.rx_missed() == 0 && Instant::now() < deadline {
        hosts.one.inside(|| (0..500).for_each(|_| inject_raw("eth0", &raw)));
        sent += 500;
    }
    let missed = capture.rx_missed();
    assert!(missed > 0 && missed <= sent, "{missed} of {sent}");
    assert_eq!(capture.rx_missed(), missed, "it does not go back");
    let (mut received, mut batch) = (0, Batch::new());
    while capture.rx(0, &mut pool.as_ref(), &mut batch).is_ok() && !batch.is_empty() {
        received += batch.len() as u64;
        pool.as_ref().give_all(&mut batch);
    }
    assert_eq!(received + missed, sent, "every frame was received or counted");
}

/// Sends bytes with a virtio-net header in front through a device of the calling thread's namespace.
fn inject_raw(device: &str, bytes: &[u8]) {
    let device = std::ffi::CString::new(device).unwrap();
    // SAFETY: plain system calls on values that live through them; results are checked.
    unsafe {
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0);
        let one = 1_i32;
        let set = |option| libc::setsockopt(fd, libc::SOL_PACKET, option, (&raw const one).cast(), 4);
        assert!(fd >= 0 && set(libc::PACKET_VNET_HDR) == 0);
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = libc::if_nametoindex(device.as_ptr()) as i32;
        let length = size_of_val(&address) as u32;
        let sent =
            libc::sendto(fd, bytes.as_ptr().cast(), bytes.len(), 0, (&raw const address).cast(), length);
        assert_eq!(sent, bytes.len() as isize, "{}", std::io::Error::last_os_error());
        libc::close(fd);
    }
}

#[test]
fn devices_that_cannot_be_ports_are_refused_as_the_kernel_does() {
    let (space, other) = (Space::new("refuse"), Space::new("peer"));
    let refusal = |device: &str| attach(&space, device).err().map(|errno| errno.0);
    assert_eq!(refusal("lo"), Some(libc::EINVAL));
    assert_eq!(refusal("nosuch"), Some(libc::ENODEV));
    for number in 1..=3 {
        space.veth(&format!("v{number}"), &other, &format!("w{number}"));
    }
    space.ip("link add bridge0 type bridge");
    space.ip("link set v1 master bridge0");
    assert_eq!(refusal("v1"), Some(libc::EBUSY), "a bridge's port");
    assert_eq!(refusal("bridge0"), None, "a bridge itself is fine");
    space.ip("link add link v2 name mv0 type macvlan mode bridge");
    assert_eq!(refusal("v2"), Some(libc::EBUSY), "a macvlan takes its frames");
    assert_eq!(refusal("mv0"), None, "a macvlan itself is fine");
    space.ip("link set v3 alias portway_is_fine");
    assert_eq!(refusal("v3"), None);
    // A child that another test's thread is starting may hold the claim's descriptor for a moment longer.
    let mut first = None;
    let mut attached = || {
        first = attach(&space, "v3").ok();
        first.is_some()
    };
    assert!(soon(&mut attached));
    assert_eq!(refusal("v3"), Some(libc::EBUSY), "a port already");
    drop(first);
    assert!(soon(|| refusal("v3").is_none()), "free again");
    assert_eq!(attach(&other, "w3").err(), None, "the other end is a device of its own");
}

#[test]
fn the_device_is_promiscuous_for_as_long_as_it_is_a_port() {
    let hosts = Hosts::new();
    let promiscuity = || {
        let json: serde_json::Value = serde_json::from_str(&hosts.switch.ip("-j -d link show p1")).unwrap();
        json[0]["promiscuity"].as_u64().unwrap()
    };
    assert_eq!(promiscuity(), 0);
    let port = attach(&hosts.switch, "p1").unwrap();
    assert_eq!(promiscuity(), 1);
    drop(port);
    assert!(soon(|| promiscuity() == 0));
}

#[test]
fn a_device_without_link_layer_carries_bare_packets() {
    let space = Space::new("tun");
    space.ip("tuntap add tun0 mode tun");
    space.ip("addr add 10.9.0.1/24 dev tun0");
    let port = attach(&space, "tun0").unwrap();
    assert_eq!(port.info().flags, info_flags::OFFLOAD | info_flags::LAYER3);
    let tun = space.inside(|| open_tun("tun0"));
    space.ip("link set tun0 up");
    let mut pool = Pool::new();
    let ping = [
        0x45, 0, 0, 28, 0, 1, 0, 0, 64, 1, 0x66, 0xdc, 10, 9, 0, 2, 10, 9, 0, 3, 8, 0, 0xf7, 0xff, 0, 0, 0, 0,
    ];
    (&tun).write_all(&ping).unwrap();
    let got = loop {
        wait(&port, &port, 100);
        let mut batch = Batch::new();
        // The device was down when it became a port: the socket says so once.
        let _ = port.rx(0, &mut pool.as_ref(), &mut batch);
        if let Some(packet) = batch.pop() {
            break packet;
        }
    };
    assert_eq!((got.kind(), got.frame()), (PacketKind::Layer3(0x0800), &ping[..]));
    assert_eq!(send(&port, &mut pool, [got]).sent, 1);
    let mut back = [0; 100];
    let length = (&tun).read(&mut back).unwrap();
    assert_eq!(back[..length], ping);
}

fn open_tun(name: &str) -> std::fs::File {
    let file = std::fs::File::options().read(true).write(true).open("/dev/net/tun").unwrap();
    // SAFETY: one ifreq that lives through the call.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as _;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as i16;
        let number = libc::TUNSETIFF as libc::Ioctl;
        assert_eq!(libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&file), number, &raw mut request), 0);
    }
    file
}

/// `rx` until it has nothing more; the errors on the way.
fn drain(port: &NetdevPort, pool: &mut Pool) -> Vec<Errno> {
    let mut errors = Vec::new();
    loop {
        let mut batch = Batch::new();
        match port.rx(0, &mut pool.as_ref(), &mut batch) {
            Err(errno) => errors.push(errno),
            Ok(()) if batch.is_empty() => return errors,
            Ok(()) => {}
        }
        assert!(errors.len() < 10, "the same error without end: {errors:?}");
    }
}

#[test]
fn a_device_that_goes_away_says_so_once_and_lets_the_worker_sleep() {
    let hosts = Hosts::new();
    let port = attach(&hosts.switch, "p1").unwrap();
    let mut pool = Pool::new();
    drain(&port, &mut pool);
    assert!(soon(|| port.info().link_up == 1));
    hosts.switch.ip("link del p1");
    assert!(wait(&port, &port, 500), "the descriptor wakes the worker");
    assert_eq!(drain(&port, &mut pool), [Errno(libc::ENETDOWN)]);
    assert!(!wait(&port, &port, 50), "and then is quiet");
    assert_eq!(port.info().link_up, 0);
    let report = send(&port, &mut pool, [Packet::copied_from(&frame(60, 1)).unwrap()]);
    assert_eq!(report, TxReport { errors: 1, ..TxReport::default() });
    hosts.switch.veth("p1", &hosts.one, "eth0");
    let again = attach(&hosts.switch, "p1").unwrap();
    assert_ne!(again.info().ifindex, port.info().ifindex);
}

#[test]
fn a_device_that_is_down_for_a_while_works_again_when_it_is_up() {
    let hosts = Hosts::new();
    hosts.switch.ip("link set p1 down");
    let port = attach(&hosts.switch, "p1").unwrap();
    let mut pool = Pool::new();
    assert_eq!((drain(&port, &mut pool), port.info().link_up), (vec![], 0));
    let report = send(&port, &mut pool, [Packet::copied_from(&frame(60, 1)).unwrap()]);
    assert_eq!(report.errors, 1);
    hosts.switch.ip("link set p1 up");
    hosts.one.attempt("ping", &["-c", "1", "-W", "1", "10.1.0.2"]);
    assert!(!receive(&port, &mut pool, 1).is_empty(), "the ARP request");
    hosts.switch.ip("link set p1 down");
    assert_eq!(drain(&port, &mut pool), [Errno(libc::ENETDOWN)]);
    assert!(!wait(&port, &port, 50));
    hosts.switch.ip("link set p1 up");
    hosts.one.attempt("ping", &["-c", "1", "-W", "1", "10.1.0.2"]);
    assert!(!receive(&port, &mut pool, 1).is_empty());
}

#[test]
fn a_renamed_device_stays_the_port_and_one_that_moves_away_is_lost() {
    let hosts = Hosts::new();
    let (one, two) = hosts.ports();
    hosts.switch.ip("link set p1 down");
    hosts.switch.ip("link set p1 name other");
    hosts.switch.ip("link set other up mtu 1400");
    assert_eq!(one.info().mtu, 1400);
    let forwarder = Forwarder::new(Arc::clone(&one), two);
    assert_eq!(hosts.one.ping("10.1.0.2", 2), 2);
    drop(forwarder);
    let elsewhere = Space::new("elsewhere");
    hosts.switch.ip(&format!("link set other netns {}", elsewhere.name));
    let mut pool = Pool::new();
    assert!(drain(&one, &mut pool).contains(&Errno(libc::ENETDOWN)));
    assert_eq!(one.info().link_up, 0);
    drop(one);
    assert!(soon(|| attach(&elsewhere, "other").is_ok()), "nothing of the port is left on it");
}

#[test]
fn the_port_describes_its_device() {
    let hosts = Hosts::new();
    hosts.switch.ip("link set p1 address 02:00:00:00:00:42 mtu 9000");
    let port = attach(&hosts.switch, "p1").unwrap();
    let PortInfo { ifindex, mtu, flags, rx_queues, mac, link_up: _, pad: _ } = port.info();
    let json: serde_json::Value = serde_json::from_str(&hosts.switch.ip("-j link show p1")).unwrap();
    assert_eq!(json[0]["ifindex"], ifindex);
    assert_eq!((mtu, rx_queues), (9000, 1));
    assert_eq!((mac, flags), ([2, 0, 0, 0, 0, 0x42], info_flags::OFFLOAD));
}

#[test]
fn devices_that_vanish_while_being_added_leave_nothing_behind() {
    let (space, other) = (Space::new("vanish"), Space::new("peer"));
    let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    space.veth("v0", &other, "w0");
    drop(attach(&space, "v0").unwrap());
    space.ip("link del v0");
    let (before, mut made, mut refused) = (files(), 0, 0);
    std::thread::scope(|scope| {
        let churn = scope.spawn(|| {
            for _ in 0..40 {
                space.veth("v0", &other, "w0");
                space.ip("link del v0");
            }
        });
        while !churn.is_finished() {
            match attach(&space, "v0") {
                Ok(_) => made += 1,
                Err(Errno(libc::ENODEV | libc::ENXIO | libc::EBUSY)) => refused += 1,
                Err(errno) => panic!("{errno:?}"),
            }
        }
    });
    assert!(made > 0 && refused > 0, "{made} made, {refused} refused: the race was not run");
    // Other tests of this process open files too: what would be left of hundreds of tries shows above that.
    assert!(files() < before + 100, "{} descriptors, {before} before", files());
}
