// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the switch does with packets, between real hosts: VLANs, namespaces, loops, flows by hand, captures.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::lab::{Daemon, Lab, Netns, port_add, within};
use portway_api::{Client, PortSpec, PortState, Reply, Request, Vlans};

fn access(name: &str, vlan: u16) -> PortSpec {
    PortSpec { vlans: Vlans { access: Some(vlan), ..Vlans::default() }, ..PortSpec::new(name) }
}

#[test]
fn vlans_are_kept_apart_and_tagged_on_trunks() {
    // Two bridges joined by a trunk: VLAN 10 tagged, VLAN 20 native. Hosts 1 and 3 are in 10, hosts 2 and 4 in 20.
    let lab = Lab::new(5);
    lab.switch.sh("ip link add t0 type veth peer name t1; ip link set t0 up; ip link set t1 up");
    let daemon = lab.start("[[bridge]]\nname = \"br0\"\n[[bridge]]\nname = \"br1\"\n");
    for (bridge, name, vlan) in [("br0", "p1", 10), ("br0", "p2", 20), ("br1", "p3", 10), ("br1", "p4", 20)] {
        daemon.done(&port_add(bridge, access(name, vlan)));
    }
    for (bridge, name) in [("br0", "t0"), ("br1", "t1")] {
        let vlans = Vlans { trunk: vec![10], native: Some(20), ..Vlans::default() };
        daemon.done(&port_add(bridge, PortSpec { vlans, ..PortSpec::new(name) }));
    }
    daemon.done(&port_add("br0", PortSpec::new("p5")));
    let seen = capture(&daemon, "t0", "arp or icmp", 12, || {
        assert!(lab.reaches(1, 3) && lab.reaches(2, 4), "{}", daemon.log());
    });
    for (from, to) in [(1, 2), (1, 4), (2, 3), (5, 1), (5, 2)] {
        assert!(lab.is_cut_off(from, to), "{from} reaches {to}");
    }
    let line = |what: &str| {
        seen.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}: {seen}"))
    };
    assert!(line("10.1.0.1 > 10.1.0.3: ICMP echo request").contains("vlan 10"), "{seen}");
    assert!(line("10.1.0.3 > 10.1.0.1: ICMP echo reply").contains("vlan 10"), "{seen}");
    assert!(!line("10.1.0.2 > 10.1.0.4: ICMP echo request").contains("vlan"), "{seen}");
    let vlans_of = |bridge: &str, port: &str| {
        let Reply::Fdb(fdb) = daemon.ask(&Request::BridgeFdb { name: bridge.to_owned() }) else { panic!() };
        let mut vlans: Vec<_> = fdb.iter().filter(|line| line.port == port).map(|line| line.vlan).collect();
        vlans.sort_unstable();
        vlans
    };
    assert_eq!((vlans_of("br0", "p1"), vlans_of("br0", "t0")), (vec![10], vec![10, 20]));
}

/// What tcpdump says of the first `count` packets of a port that match `filter`, while something happens.
fn capture(daemon: &Daemon, port: &str, filter: &str, count: u32, happens: impl FnOnce()) -> String {
    let request = Request::Capture { port: port.to_owned(), netns: None, snap_len: 0 };
    let mut stream = Client::connect(daemon.socket()).unwrap().capture(&request).unwrap();
    let mut tcpdump = Command::new("tcpdump")
        .args([
            "-nn",
            "-e",
            "-l",
            "-c",
            &count.to_string(),
            "-r",
            "-",
            &format!("{filter} or (vlan and ({filter}))"),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut pipe = tcpdump.stdin.take().unwrap();
    let copying = std::thread::spawn(move || {
        // Ends when tcpdump has its packets and goes; a packet more than it wants may be needed to notice.
        let _ = std::io::copy(&mut stream, &mut pipe);
    });
    happens();
    let said = String::from_utf8(tcpdump.wait_with_output().unwrap().stdout).unwrap();
    drop(copying);
    said
}

#[test]
fn ports_come_from_other_namespaces_with_the_same_names() {
    let lab = Lab::new(3);
    let daemon = lab.start(&lab.config(1));
    // Two devices of one name, each in its own namespace, wired to the hosts 2 and 3.
    let spaces = [Netns::new("a"), Netns::new("b")];
    for (number, space) in [2, 3].into_iter().zip(&spaces) {
        lab.switch.sh(&format!("ip link set p{number} netns {} name port", space.0));
        space.sh("ip link set port up");
        daemon.done(&port_add("br0", PortSpec { netns: Some(space.0.clone()), ..PortSpec::new("port") }));
    }
    assert!(lab.reaches(1, 2) && lab.reaches(1, 3) && lab.reaches(2, 3), "{}", daemon.log());
    let Reply::Ports(ports) =
        daemon.ask(&Request::PortList { bridge: None, netns: Some(spaces[1].0.clone()) })
    else {
        panic!()
    };
    assert_eq!(ports.len(), 1);
    daemon.done(&Request::PortDel { name: "port".to_owned(), netns: Some(spaces[0].0.clone()) });
    assert!(lab.is_cut_off(1, 2) && lab.reaches(1, 3));
    let failure = daemon.refused(&Request::PortDel { name: "port".to_owned(), netns: None });
    assert!(failure.remedy.unwrap().contains(&format!("--netns {}", spaces[1].0)));
}

#[test]
fn a_loop_ends() {
    let lab = Lab::new(2);
    lab.switch.sh("ip link add l1 type veth peer name l2; ip link set l1 up; ip link set l2 up");
    let config = lab.config(2).replace("\"br0\"\n", "\"br0\"\nflood_limit_pps = 1000\n");
    let daemon = lab.start(&(config + "[[bridge.port]]\nname = \"l1\"\n[[bridge.port]]\nname = \"l2\"\n"));
    lab.hosts[0].sh("ping -c 3 -i 0.2 -W 1 -b 10.1.0.255 || true");
    let received = || {
        let Reply::PortStats(stats) =
            daemon.ask(&Request::PortStats { name: Some("l1".to_owned()), netns: None })
        else {
            panic!()
        };
        stats[0].rx_packets
    };
    // The storm is cut within a tick or two, and then nothing goes round any more.
    within(Duration::from_secs(120), "the storm ends", || {
        let before = received();
        std::thread::sleep(Duration::from_millis(1500));
        received() - before < 100
    });
    let Reply::Bridges(bridges) = daemon.ask(&Request::BridgeList) else { panic!() };
    let count = |name: &str| bridges[0].counters[name];
    assert!(count("storms") + count("held") > 0, "{:?}", bridges[0].counters);
}

#[test]
fn flows_by_hand_go_before_the_bridge() {
    let lab = Lab::new(2);
    let daemon = lab.start(&lab.config(2));
    assert!(lab.reaches(1, 2));
    let number = daemon.port("p1").port_no.unwrap();
    let flow = format!("in_port({number}),eth(),eth_type(0x0800),ipv4(proto=1)");
    let add = |actions: &str| Request::FlowAdd {
        bridge: "br0".to_owned(),
        flow: flow.clone(),
        actions: actions.to_owned(),
    };
    daemon.done(&add("drop"));
    assert!(lab.is_cut_off(1, 2), "ICMP from p1 is dropped");
    assert!(
        lab.hosts[0].try_sh("arping -c 3 -w 15 -I e0 10.1.0.2 || ip neigh show 10.1.0.2 | grep -q lladdr")
    );
    let flows = || {
        let reply = daemon.ask(&Request::FlowList { bridge: Some("br0".to_owned()), names: false });
        let Reply::Flows(flows) = reply else { panic!("{reply:?}") };
        flows
    };
    let by_hand: Vec<_> = flows().into_iter().filter(|flow| flow.by_hand).collect();
    assert_eq!(by_hand.len(), 1);
    assert!(by_hand[0].packets > 0 && by_hand[0].actions == "drop", "{by_hand:?}");
    let out = daemon.port("p2").port_no.unwrap();
    assert!(daemon.done(&add(&out.to_string())).message.contains("other actions"));
    assert!(lab.reaches(1, 2));
    // What the list shows can be deleted by copying it.
    daemon.done(&Request::FlowDel { bridge: "br0".to_owned(), flow: Some(by_hand[0].flow.clone()) });
    assert!(flows().iter().all(|flow| !flow.by_hand));
    let own = flows().into_iter().find(|flow| flow.packets > 0).unwrap();
    daemon.done(&Request::FlowDel { bridge: "br0".to_owned(), flow: Some(own.flow) });
    daemon.done(&Request::FlowDel { bridge: "br0".to_owned(), flow: None });
    assert!(lab.reaches(1, 2), "the bridge makes its flows again");
}

#[test]
fn a_capture_shows_what_passes() {
    let lab = Lab::new(2);
    let daemon = lab.start(&lab.config(2));
    let said = capture(&daemon, "p1", "icmp", 4, || {
        assert!(lab.reaches(1, 2) && lab.reaches(1, 2));
    });
    assert!(said.contains("10.1.0.1 > 10.1.0.2: ICMP echo request"), "{said}");
    assert!(said.contains("10.1.0.2 > 10.1.0.1: ICMP echo reply"), "{said}");
    // A capture does not keep its port alive.
    let request = Request::Capture { port: "p1".to_owned(), netns: None, snap_len: 0 };
    let capture = Client::connect(daemon.socket()).unwrap().capture(&request).unwrap();
    daemon.done(&Request::PortDel { name: "p1".to_owned(), netns: None });
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut { capture }, &mut rest).unwrap();
    assert!(daemon.refused(&request).message.contains("there is no port"));
}

#[test]
fn a_module_in_c_is_loaded_when_a_port_needs_it() {
    let lab = Lab::new(1);
    lab.compile_module(4242);
    let daemon = lab.start(&(lab.config(1) + "[[bridge.port]]\nname = \"loop0\"\ntype = \"4242\"\n"));
    assert_eq!(daemon.port("loop0").state, PortState::Attached, "{}", daemon.log());
    let Reply::Modules(list) = daemon.ask(&Request::ModuleList) else { panic!() };
    let module = list.iter().find(|module| module.port_type == 4242).unwrap();
    assert!(module.ports == 1 && module.path.as_deref().unwrap().ends_with("vport-type-4242.so"));
    let unload = Request::ModuleUnload { module: module.name.clone() };
    assert!(daemon.refused(&unload).message.contains("in use by 1 ports"));
    daemon.done(&Request::PortDel { name: "loop0".to_owned(), netns: None });
    daemon.done(&unload);
    daemon.done(&Request::Reload);
    assert_eq!(daemon.port("loop0").state, PortState::Attached, "loaded again for the reload");
}
