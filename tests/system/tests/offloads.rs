// SPDX-License-Identifier: Apache-2.0 OR MIT
//! TCP's super-packets, IPv4 and IPv6, through flows that change their headers: every byte arrives, and nothing was cut into pieces before
//! it had to be.
#![forbid(unsafe_code)]

use std::io::BufRead;
use std::process::Stdio;

use portway_system::{Background, Lab, background, said};

/// Takes one connection, reads to the end of its stream, answers with its hash.
const SINK: &str = r#"
import hashlib, socket, sys
s = socket.create_server(("::", 5001), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
while True:
    c, _ = s.accept()
    h = hashlib.sha256()
    while data := c.recv(1 << 20): h.update(data)
    c.sendall(h.digest())
    c.close()
"#;

/// Sends what looks random, and checks the answer.
const SOURCE: &str = r#"
import hashlib, random, socket, sys
data = random.Random(7).randbytes(8 << 20)
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=30)
s.sendall(data)
s.shutdown(socket.SHUT_WR)
digest = b""
while part := s.recv(100): digest += part
assert digest == hashlib.sha256(data).digest(), (len(digest), digest)
"#;

/// What is done to packets at the first port, under which key they come out of the cable, and what is done then.
struct Way {
    name: &'static str,
    there: &'static str,
    key: &'static str,
    back: &'static str,
    /// Whether the super-packets survive the cable.
    whole: bool,
}

/// Ways for both families.
const WAYS: &[Way] = &[
    Way { name: "nothing", there: "", key: "eth()", back: "", whole: true },
    Way {
        name: "a tag",
        there: "push_vlan(vid=5,pcp=0),",
        key: "eth(),eth_type(0x8100),vlan(vid=5,pcp=0),encap()",
        back: "pop_vlan,",
        whole: true,
    },
    Way {
        name: "two tags",
        there: "push_vlan(vid=5,pcp=0),push_vlan(tpid=0x88a8,vid=6,pcp=1),",
        key: "eth(),eth_type(0x88a8),vlan(vid=6,pcp=1),encap(eth_type(0x8100),vlan(vid=5,pcp=0),encap())",
        back: "pop_vlan,pop_vlan,",
        whole: false,
    },
    Way {
        name: "hop by hop",
        there: "dec_ttl(le_1()),set(eth(src=02:00:00:00:00:aa)),",
        key: "eth()",
        back: "dec_ttl(le_1()),set(eth(src=02:00:00:00:00:01)),",
        whole: true,
    },
    Way {
        name: "by length",
        there: "check_pkt_len(size=1514,gt(drop),le(set(skb_priority(3)),3)),trunc(9999999),",
        key: "eth()",
        back: "",
        whole: true,
    },
];

fn average_packet(lab: &Lab, key: &str) -> u64 {
    let dump = lab.dpctl("dump-flows dp0");
    let line = dump.lines().find(|line| line.contains(key)).unwrap_or_else(|| panic!("{key} in {dump}"));
    let number = |name: &str| -> u64 {
        let rest = line.split_once(name).unwrap_or_else(|| panic!("{name} in {line}")).1;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().expect("a number")
    };
    number("bytes:") / number("packets:").max(1)
}

fn add(lab: &Lab, key: &str, actions: &str) {
    let said = lab.portway(&format!("flow add dp0 {key} {actions}"));
    assert!(said.ok, "{key} {actions}: {said:?}");
}

/// Two hosts, whose ports are 1 and 2; ports 3 and 4 are the ends of one cable. A server runs on the second host.
fn laboratory() -> (Lab, Background) {
    let lab = Lab::new(2);
    for (number, host) in (1..).zip(&lab.hosts) {
        host.sh("sysctl -qw net.ipv6.conf.e0.disable_ipv6=0");
        host.sh(&format!("ip addr add fd00::{number}/64 dev e0 nodad"));
        let other = 3 - number;
        host.sh(&format!("ip neigh add 10.1.0.{other} lladdr 02:00:00:00:00:0{other} dev e0"));
        host.sh(&format!("ip neigh add fd00::{other} lladdr 02:00:00:00:00:0{other} dev e0"));
    }
    lab.switch
        .sh("ip link add c3 mtu 1600 type veth peer name c4 mtu 1600; ip link set c3 up; ip link set c4 up");
    lab.dpctl("add-dp dp0");
    lab.dpctl("add-if dp0 p1 p2 c3 c4");
    let mut command = lab.hosts[1].command("python3");
    let mut sink = background(command.args(["-c", SINK]).stdout(Stdio::piped()));
    let mut line = String::new();
    sink.take_output().read_line(&mut line).expect("a line");
    assert_eq!(line, "ready\n");
    (lab, sink)
}

fn transfer(lab: &Lab, what: &str, address: &str, port: u16) {
    let mut command = lab.hosts[0].command("python3");
    let said = said(command.args(["-c", SOURCE, address, &port.to_string()]));
    let flows = || lab.dpctl("dump-flows dp0");
    assert!(said.ok, "{what} to {address}: {said:?}\n{}\n{}", flows(), lab.portway("drops").out);
}

#[test]
fn headers_come_and_go() {
    let (lab, _sink) = laboratory();
    for way in WAYS {
        add(&lab, "recirc_id(0),in_port(1),eth()", &format!("{}3", way.there));
        add(&lab, &format!("recirc_id(0),in_port(4),{}", way.key), &format!("{}2", way.back));
        add(&lab, "recirc_id(0),in_port(2),eth()", "1");
        for address in ["10.1.0.2", "fd00::2"] {
            transfer(&lab, way.name, address, 5001);
        }
        assert!(average_packet(&lab, "in_port(1)") > 3000, "{}: super-packets came", way.name);
        if way.whole {
            assert!(average_packet(&lab, "in_port(4)") > 3000, "{}: and crossed the cable", way.name);
        }
        lab.dpctl("del-flows dp0");
    }
}

/// An Ethernet type, the flow key's part that goes with it, and the server's address there.
const FAMILIES: &[(&str, &str, &str)] = &[("0x0800", "ipv4", "10.1.0.2"), ("0x86dd", "ipv6", "fd00::2")];

#[test]
fn labels_and_service_headers_need_segments() {
    let (lab, _sink) = laboratory();
    for (ethertype, family, address) in FAMILIES {
        let ways = [
            (
                "push_mpls(label=7,tc=0,ttl=64,bos=1,eth_type=0x8847),",
                "eth_type(0x8847),mpls(label=7,tc=0,ttl=64,bos=1)",
                &*format!("pop_mpls(eth_type={ethertype}),"),
            ),
            (
                "push_nsh(flags=0,ttl=63,mdtype=1,np=3,spi=0x1,si=255,c1=0x1,c2=0x2,c3=0x3,c4=0x4),\
                 push_eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),",
                "eth_type(0x894f),nsh(np=3)",
                "pop_eth,pop_nsh(),",
            ),
        ];
        for (there, key, back) in ways {
            add(
                &lab,
                &format!("recirc_id(0),in_port(1),eth(),eth_type({ethertype}),{family}()"),
                &format!("{there}3"),
            );
            add(&lab, &format!("recirc_id(0),in_port(4),eth(),{key}"), &format!("{back}2"));
            add(&lab, "recirc_id(0),in_port(2),eth()", "1");
            transfer(&lab, key, address, 5001);
            assert!(average_packet(&lab, "in_port(1)") > 3000, "{key}: super-packets came");
            assert!(average_packet(&lab, "in_port(4)") < 1600, "{key}: segments left");
            lab.dpctl("del-flows dp0");
        }
    }
}

#[test]
fn addresses_and_ports_are_rewritten() {
    let (lab, _sink) = laboratory();
    lab.hosts[0].sh("ip neigh add 10.1.0.77 lladdr 02:00:00:00:00:77 dev e0");
    lab.hosts[0].sh("ip neigh add fd00::77 lladdr 02:00:00:00:00:77 dev e0");
    for ((ethertype, family, address), outside) in FAMILIES.iter().zip(["10.1.0.77", "fd00::77"]) {
        add(
            &lab,
            &format!(
                "recirc_id(0),in_port(1),eth(),eth_type({ethertype}),{family}(dst={outside},proto=6),tcp(dst=80)"
            ),
            &format!("set(eth(dst=02:00:00:00:00:02)),set({family}(dst={address})),set(tcp(dst=5001)),2"),
        );
        add(
            &lab,
            &format!(
                "recirc_id(0),in_port(2),eth(),eth_type({ethertype}),{family}(src={address},proto=6),tcp(src=5001)"
            ),
            &format!("set({family}(src={outside})),set(tcp(src=80)),set(eth(src=02:00:00:00:00:77)),1"),
        );
        transfer(&lab, family, outside, 80);
        assert!(average_packet(&lab, "in_port(1)") > 3000, "{family}: super-packets came");
        lab.dpctl("del-flows dp0");
    }
}
