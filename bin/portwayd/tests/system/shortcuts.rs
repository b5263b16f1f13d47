// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Busy flows take shortcuts in the kernel, and nobody can tell by anything but the time that it takes: counters are exact, and what
//! ends a flow ends its shortcut.

use std::process::{Child, Stdio};
use std::time::Duration;

use crate::lab::{Daemon, Lab, Netns, port_add, within};
use portway_api::{Client, FlowLine, PortSpec, PortStats, Reply, Request, Vlans};

/// Sends UDP datagrams of so many bytes to port 9: so many at once, or 0: until it is killed, in bursts that make a flow busy and leave
/// others time.
const SEND: &str = "\
import socket, sys, time
to, size, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sent = 0
while not count or sent < count:
    try:
        s.sendto(bytes(size), (to, 9))
        sent += 1
    except OSError:
        pass
    if not count and sent % 200 == 0:
        time.sleep(0.05)
";

/// Takes datagrams and does nothing with them, so that nobody answers that there is no such port.
const SINK: &str = "\
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('', 9))
time.sleep(1e6)
";

/// Sends frames of 118 bytes in VLAN 10 from one host's address to another's, in bursts, until it is killed.
const SEND_TAGGED: &str = "\
import socket, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('e0', 0))
address = lambda number: bytes([2, 0, 0, 0, 0, int(number)])
frame = address(sys.argv[2]) + address(sys.argv[1]) + bytes([0x81, 0, 0, 10, 0x88, 0xb5]) + bytes(100)
while True:
    for _ in range(200):
        s.send(frame)
    time.sleep(0.05)
";

const LIMIT: Duration = Duration::from_secs(120);

/// A program that is killed when the value is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A laboratory whose hosts know each other's addresses and take what they get, so that nothing but what a test sends is on the wires.
fn quiet_lab(hosts: usize) -> (Lab, Vec<Running>) {
    let lab = Lab::new(hosts);
    for (from, host) in lab.hosts.iter().enumerate() {
        for to in (1..=hosts).filter(|&to| to != from + 1) {
            host.sh(&format!("ip neigh add 10.1.0.{to} lladdr 02:00:00:00:00:{to:02x} dev e0 nud permanent"));
        }
    }
    let sink = |host: &Netns| Running(host.command("python3").args(["-c", SINK]).spawn().unwrap());
    let sinks = lab.hosts.iter().map(sink).collect();
    for host in &lab.hosts {
        within(LIMIT, "the host takes datagrams", || host.try_sh("ss -lun | grep -q ':9 '"));
    }
    (lab, sinks)
}

fn send(lab: &Lab, from: usize, to: usize, size: usize, count: usize) -> Running {
    let mut command = lab.hosts[from - 1].command("python3");
    command.args(["-c", SEND, &format!("10.1.0.{to}"), &size.to_string(), &count.to_string()]);
    Running(command.stdin(Stdio::null()).spawn().unwrap())
}

fn send_tagged(lab: &Lab, from: usize, to: usize) -> Running {
    let mut command = lab.hosts[from - 1].command("python3");
    command.args(["-c", SEND_TAGGED, &from.to_string(), &to.to_string()]);
    Running(command.stdin(Stdio::null()).spawn().unwrap())
}

/// The flow from one host to another.
fn flow(daemon: &Daemon, from: usize, to: usize) -> Option<FlowLine> {
    let reply = daemon.ask(&Request::FlowList { bridge: Some("br0".to_owned()), names: false });
    let Reply::Flows(flows) = reply else { panic!("{reply:?}") };
    let wanted = format!("eth(src=02:00:00:00:00:{from:02x},dst=02:00:00:00:00:{to:02x})");
    flows.into_iter().find(|flow| flow.flow.contains(&wanted))
}

fn has_shortcut(daemon: &Daemon, from: usize, to: usize) -> bool {
    flow(daemon, from, to).is_some_and(|flow| flow.has_shortcut)
}

fn stats(daemon: &Daemon, name: &str) -> PortStats {
    let request = Request::PortStats { name: Some(name.to_owned()), netns: None };
    let Reply::PortStats(mut stats) = daemon.ask(&request) else { panic!() };
    stats.remove(0)
}

/// What a device of a namespace has counted.
fn device(netns: &Netns, name: &str, counter: &str) -> u64 {
    let line = format!(
        "ip -s -j link show {name} | python3 -c 'import json,sys; d=json.load(sys.stdin)[0][\"stats64\"]; print(d{counter})'"
    );
    netns.sh(&line).trim().parse().unwrap()
}

fn received(lab: &Lab, host: usize) -> u64 {
    device(&lab.hosts[host - 1], "e0", "[\"rx\"][\"packets\"]")
}

/// The hosts have learned where each other is.
fn meet(lab: &Lab, hosts: usize) {
    for to in 2..=hosts {
        assert!(lab.reaches(1, to));
    }
}

#[test]
fn every_packet_is_counted_and_arrives() {
    let (lab, _sinks) = quiet_lab(2);
    let daemon = lab.start(&lab.config(2));
    meet(&lab, 2);
    let on_wire = |port: &str, counter: &str| device(&lab.switch, port, counter);
    let (p1, p2, arrived) = (stats(&daemon, "p1"), stats(&daemon, "p2"), received(&lab, 2));
    let came = (on_wire("p1", "[\"rx\"][\"packets\"]"), on_wire("p1", "[\"rx\"][\"bytes\"]"));
    let before = flow(&daemon, 1, 2).unwrap();
    let steady = send(&lab, 1, 2, 100, 0);
    within(LIMIT, "the flow takes a shortcut", || has_shortcut(&daemon, 1, 2));
    let mut many = send(&lab, 1, 2, 100, 60_000);
    assert!(many.0.wait().unwrap().success());
    drop(steady);
    let packets = on_wire("p1", "[\"rx\"][\"packets\"]") - came.0;
    let bytes = on_wire("p1", "[\"rx\"][\"bytes\"]") - came.1;
    assert!(packets > 60_000 && bytes == packets * (14 + 20 + 8 + 100), "{packets} {bytes}");
    // Every packet that came is counted, by the flow and by both ports, and leaves once, as far as the kernel has room for it.
    let counted = || flow(&daemon, 1, 2).unwrap().packets - before.packets;
    within(LIMIT, "all are counted", || counted() >= packets);
    let after = flow(&daemon, 1, 2).unwrap();
    assert_eq!((after.packets - before.packets, after.bytes - before.bytes), (packets, bytes));
    let (now1, now2) = (stats(&daemon, "p1"), stats(&daemon, "p2"));
    assert_eq!((now1.rx_packets - p1.rx_packets, now1.rx_bytes - p1.rx_bytes), (packets, bytes));
    assert_eq!((now2.tx_packets - p2.tx_packets, now2.tx_bytes - p2.tx_bytes), (packets, bytes));
    let arrived = received(&lab, 2) - arrived;
    assert_eq!(
        arrived + on_wire("p2", "[\"tx\"][\"dropped\"]"),
        packets,
        "none twice, none lost by the switch"
    );
    // Nothing is asked for a while: the shortcut ends by itself, and its counts stay.
    within(LIMIT, "the shortcut ends", || !has_shortcut(&daemon, 1, 2));
    let sums = |stats: &PortStats| (stats.rx_packets, stats.rx_bytes, stats.tx_packets, stats.tx_bytes);
    assert_eq!(sums(&stats(&daemon, "p1")), sums(&now1));
    // In the end the flow is forgotten too, and what is left of the shortcut before it.
    within(LIMIT, "the flow is idle", || flow(&daemon, 1, 2).is_none());
    assert_eq!((sums(&stats(&daemon, "p1")), sums(&stats(&daemon, "p2"))), (sums(&now1), sums(&now2)));
}

#[test]
fn a_flow_that_is_deleted_or_changed_stops_at_once() {
    let (lab, _sinks) = quiet_lab(3);
    let daemon = lab.start(&lab.config(3));
    meet(&lab, 3);
    let number = |name: &str| daemon.port(name).port_no.unwrap();
    let flow_text = format!("in_port({}),eth(),eth_type(0x0800),ipv4(proto=17)", number("p1"));
    let add =
        |actions: String| Request::FlowAdd { bridge: "br0".to_owned(), flow: flow_text.clone(), actions };
    let sender = send(&lab, 1, 2, 100, 0);
    within(LIMIT, "the bridge's flow takes a shortcut", || has_shortcut(&daemon, 1, 2));
    daemon.done(&add("drop".to_owned()));
    // What was on its way when the request was answered may still arrive.
    let mut arrived = 0;
    within(LIMIT, "nothing arrives any more", || {
        let before = received(&lab, 2);
        std::thread::sleep(Duration::from_millis(300));
        arrived = received(&lab, 2);
        arrived == before
    });
    // The same flow to another port, and by a shortcut again.
    let before = received(&lab, 3);
    daemon.done(&add(number("p3").to_string()));
    let by_hand = || {
        let reply = daemon.ask(&Request::FlowList { bridge: Some("br0".to_owned()), names: false });
        let Reply::Flows(flows) = reply else { panic!("{reply:?}") };
        flows.into_iter().find(|flow| flow.by_hand).unwrap()
    };
    within(LIMIT, "the flow by hand takes a shortcut", || by_hand().has_shortcut);
    within(LIMIT, "packets go where it says", || received(&lab, 3) > before + 1000);
    assert_eq!(received(&lab, 2), arrived);
    daemon.done(&Request::FlowDel { bridge: "br0".to_owned(), flow: Some(by_hand().flow) });
    within(LIMIT, "the bridge decides again", || received(&lab, 2) > arrived + 1000);
    drop(sender);
}

#[test]
fn a_capture_sees_every_packet() {
    let (lab, _sinks) = quiet_lab(2);
    let daemon = lab.start(&lab.config(2));
    meet(&lab, 2);
    let sender = send(&lab, 1, 2, 100, 0);
    within(LIMIT, "the flow takes a shortcut", || has_shortcut(&daemon, 1, 2));
    let request = Request::Capture { port: "p2".to_owned(), netns: None, snap_len: 0 };
    let mut stream = Client::connect(daemon.socket()).unwrap().capture(&request).unwrap();
    // Its first byte comes once it looks.
    std::io::Read::read_exact(&mut stream, &mut [0]).unwrap();
    assert!(!has_shortcut(&daemon, 1, 2));
    std::io::Read::read_exact(&mut stream, &mut [0; 100_000]).unwrap();
    assert!(!has_shortcut(&daemon, 1, 2), "none while somebody looks");
    drop(stream);
    within(LIMIT, "a shortcut again", || has_shortcut(&daemon, 1, 2));
    drop(sender);
}

#[test]
fn tags_are_seen_and_kept() {
    // Trunks to hosts 1 and 4, which tag their frames themselves; hosts 2 and 3 are in VLANs 10 and 20.
    let lab = Lab::new(4);
    let daemon = lab.start("[[bridge]]\nname = \"br0\"\n");
    let trunk = Vlans { trunk: vec![10, 20], ..Vlans::default() };
    for name in ["p1", "p4"] {
        daemon.done(&port_add("br0", PortSpec { vlans: trunk.clone(), ..PortSpec::new(name) }));
    }
    for (name, vlan) in [("p2", 10), ("p3", 20)] {
        let vlans = Vlans { access: Some(vlan), ..Vlans::default() };
        daemon.done(&port_add("br0", PortSpec { vlans, ..PortSpec::new(name) }));
    }
    // Both say where they are.
    let learned = |port: &str| {
        let Reply::Fdb(fdb) = daemon.ask(&Request::BridgeFdb { name: "br0".to_owned() }) else { panic!() };
        fdb.iter().any(|line| line.port == port && line.vlan == 10)
    };
    let other = send_tagged(&lab, 4, 1);
    within(LIMIT, "host 4 is known", || learned("p4"));
    drop(other);
    within(LIMIT, "host 2 is known", || {
        lab.hosts[1].try_sh("ping -c 1 -W 1 10.1.0.9");
        learned("p2")
    });
    // From trunk to trunk nothing changes: that takes a shortcut, with its tag.
    let arrived = received(&lab, 4);
    let sender = send_tagged(&lab, 1, 4);
    within(LIMIT, "the tagged flow takes a shortcut", || has_shortcut(&daemon, 1, 4));
    within(LIMIT, "they arrive", || received(&lab, 4) >= arrived + 10_000);
    let seen = lab.hosts[3].sh("timeout 30 tcpdump -nn -e -c 1 -i e0 vlan 10 2>/dev/null");
    assert!(seen.contains("vlan 10"), "{seen}");
    drop(sender);
    let now = flow(&daemon, 1, 4).unwrap();
    assert!(now.flow.contains("vid=10") && now.packets >= 9000, "{now:?}");
    assert_eq!(now.bytes, now.packets * 118, "the tag counts");
    // To an access port the tag is taken off, which only the switch itself does.
    let arrived = received(&lab, 2);
    let sender = send_tagged(&lab, 1, 2);
    within(LIMIT, "they arrive, untagged", || received(&lab, 2) - arrived >= 5000);
    assert!(!has_shortcut(&daemon, 1, 2));
    drop(sender);
}

#[test]
fn ports_come_and_go_under_traffic() {
    let (lab, _sinks) = quiet_lab(3);
    let daemon = lab.start(&lab.config(3));
    meet(&lab, 3);
    let sender = send(&lab, 1, 2, 100, 0);
    let back = send(&lab, 2, 1, 100, 0);
    for round in 0..3 {
        within(LIMIT, "shortcuts both ways", || has_shortcut(&daemon, 1, 2) && has_shortcut(&daemon, 2, 1));
        let name = ["p1", "p2", "p1"][round];
        daemon.done(&Request::PortDel { name: name.to_owned(), netns: None });
        assert!(!has_shortcut(&daemon, 1, 2) && !has_shortcut(&daemon, 2, 1));
        // The device is the host's again at once: it can be a port of somebody else.
        daemon.done(&port_add("br0", PortSpec::new(name)));
    }
    // A device that is shorter, down, deleted.
    within(LIMIT, "shortcuts both ways", || has_shortcut(&daemon, 1, 2) && has_shortcut(&daemon, 2, 1));
    let arrived = received(&lab, 2);
    lab.switch.sh("ip link set p2 mtu 1000");
    within(LIMIT, "packets that fit go on", || received(&lab, 2) > arrived + 1000);
    lab.switch.sh("ip link set p2 down");
    within(LIMIT, "no shortcut to a port that is down", || !has_shortcut(&daemon, 1, 2));
    lab.switch.sh("ip link set p2 up mtu 1500");
    within(LIMIT, "a shortcut again", || has_shortcut(&daemon, 1, 2));
    lab.switch.sh("ip link del p2");
    within(LIMIT, "no shortcut to a device that is not there", || !has_shortcut(&daemon, 1, 2));
    drop((sender, back));
}

#[test]
fn what_does_not_fit_the_output_does_not_leave() {
    let (lab, _sinks) = quiet_lab(2);
    lab.switch.sh("ip link set p2 mtu 1000");
    let daemon = lab.start(&lab.config(2));
    meet(&lab, 2);
    let small = send(&lab, 1, 2, 100, 0);
    within(LIMIT, "the flow takes a shortcut", || has_shortcut(&daemon, 1, 2));
    let before = stats(&daemon, "p2").tx_errors;
    let mut long = send(&lab, 1, 2, 1200, 500);
    assert!(long.0.wait().unwrap().success());
    within(LIMIT, "they are counted as too long", || stats(&daemon, "p2").tx_errors - before >= 500);
    assert_eq!(stats(&daemon, "p2").tx_errors - before, 500);
    within(LIMIT, "the others still take it", || has_shortcut(&daemon, 1, 2));
    drop(small);
}

#[test]
fn an_address_moves_and_its_shortcuts_with_it() {
    let (lab, _sinks) = quiet_lab(3);
    let daemon = lab.start(&lab.config(3));
    meet(&lab, 3);
    let sender = send(&lab, 1, 2, 100, 0);
    within(LIMIT, "the flow takes a shortcut", || has_shortcut(&daemon, 1, 2));
    // Host 3 takes over the addresses of host 2.
    lab.hosts[1].sh("ip link set e0 down");
    lab.hosts[2].sh("ip link set e0 address 02:00:00:00:00:02; ip addr add 10.1.0.2/24 dev e0");
    let arrived = received(&lab, 3);
    within(LIMIT, "the packets follow", || {
        // Until the bridge has learned it from something that it says.
        lab.hosts[2].try_sh("ping -c 1 -W 1 -I 10.1.0.2 10.1.0.1");
        received(&lab, 3) > arrived + 1000
    });
    within(LIMIT, "by a shortcut", || has_shortcut(&daemon, 1, 2));
    drop(sender);
}

#[test]
fn nothing_stays_when_the_daemon_is_killed_or_does_not_want_shortcuts() {
    let (lab, _sinks) = quiet_lab(2);
    let mut daemon = lab.start(&lab.config(2));
    meet(&lab, 2);
    let sender = send(&lab, 1, 2, 100, 0);
    within(LIMIT, "the flow takes a shortcut", || has_shortcut(&daemon, 1, 2));
    daemon.signal("KILL");
    daemon.ended();
    let sent = device(&lab.switch, "p2", "[\"tx\"][\"packets\"]");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(device(&lab.switch, "p2", "[\"tx\"][\"packets\"]"), sent, "nobody forwards");
    drop(daemon);
    let daemon = lab.start(&("[daemon]\nshortcuts = false\n".to_owned() + &lab.config(2)));
    meet(&lab, 2);
    let arrived = received(&lab, 2);
    within(LIMIT, "packets go through the daemon", || received(&lab, 2) > arrived + 5000);
    assert!(!has_shortcut(&daemon, 1, 2));
    lab.write_config(&lab.config(2));
    daemon.done(&Request::Reload);
    within(LIMIT, "shortcuts are wanted now", || has_shortcut(&daemon, 1, 2));
    lab.write_config(&("[daemon]\nshortcuts = false\n".to_owned() + &lab.config(2)));
    daemon.done(&Request::Reload);
    assert!(!has_shortcut(&daemon, 1, 2));
    drop(sender);
}

#[test]
fn a_stream_of_segments_is_counted_as_the_devices_count_it() {
    let (lab, _sinks) = quiet_lab(2);
    let daemon = lab.start(&lab.config(2));
    meet(&lab, 2);
    let serve = "import socket; s=socket.create_server(('',5000)); c,_=s.accept()\nwhile c.recv(1<<20): pass";
    let server = Running(lab.hosts[1].command("python3").args(["-c", serve]).spawn().unwrap());
    within(LIMIT, "the server listens", || lab.hosts[1].try_sh("ss -ltn | grep -q :5000"));
    let before = (stats(&daemon, "p1"), device(&lab.switch, "p1", "[\"rx\"][\"bytes\"]"));
    // 500 MiB at least, and until its input ends.
    let talk = "import select,socket,sys; s=socket.create_connection(('10.1.0.2',5000)); n=0\n\
                while n<1000 or not select.select([sys.stdin],[],[],0)[0]: s.sendall(bytes(1<<19)); n+=1";
    let mut talk_to = lab.hosts[0].command("python3");
    let mut client = Running(talk_to.args(["-c", talk]).stdin(Stdio::piped()).spawn().unwrap());
    within(LIMIT, "both ways take a shortcut", || has_shortcut(&daemon, 1, 2) && has_shortcut(&daemon, 2, 1));
    within(LIMIT, "SYN and ACK are noted", || {
        let there = flow(&daemon, 1, 2);
        there.is_some_and(|flow| {
            flow.tcp_flags & 0x12 == 0x12 && flow.used_ms.is_some_and(|used| used < 60_000)
        })
    });
    drop(client.0.stdin.take());
    assert!(client.0.wait().unwrap().success());
    within(LIMIT, "the counters agree with the device's", || {
        let bytes = device(&lab.switch, "p1", "[\"rx\"][\"bytes\"]") - before.1;
        stats(&daemon, "p1").rx_bytes - before.0.rx_bytes == bytes && bytes > 500 << 20
    });
    drop(server);
}
