// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Tunnels under bad conditions: routes and ports that go, packets that are too long or cut short, thousands of peers.
#![forbid(unsafe_code)]

use std::fs;

use portway_system::tunnel::{
    FRAMES, Kind, connect, joined_switches, kernel_end, pings, transfer, two_switches, with_remote,
};
use portway_system::{Background, Lab, Netns, background, said, within};

/// The daemon goes on, whatever the outside does to a tunnel.
#[test]
fn routes_and_mtus_come_and_go() {
    let lab = with_remote();
    kernel_end(&lab, "local 172.16.0.2 remote 172.16.0.1");
    connect(&lab, Kind::VXLAN, "172.16.0.1", "172.16.0.2");
    let near = &lab.hosts[0];
    pings(near, "10.9.0.2", 56);
    let counted = |reason: &str| lab.portway("drops").out.contains(reason);

    lab.switch.sh("ip addr del 172.16.0.1/24 dev p2");
    within("there is no route", || {
        near.reaches("10.9.0.2");
        counted("tunnel_no_route")
    });
    lab.switch.sh("ip addr add 172.16.0.1/24 dev p2");
    pings(near, "10.9.0.2", 56);

    // An outer packet of 134 bytes that must not be cut.
    lab.switch.sh("ip link set p2 mtu 100");
    within("it is too long", || {
        near.reaches("10.9.0.2");
        counted("over_mtu")
    });
    lab.switch.sh("ip link set p2 mtu 1500");
    pings(near, "10.9.0.2", 1402);

    lab.switch.sh("ip link del vxlan_sys_4789");
    within("the port goes with its device", || !lab.try_dpctl("show dp0").out.contains("vxlan"));
    lab.dpctl(&format!("add-if dp0 tun,{},port_no=5", Kind::VXLAN.options));
    pings(near, "10.9.0.2", 56);
}

/// A stream that goes on until it is told to stop, however long nothing gets through meanwhile.
struct Stream {
    server: Background,
    client: Background,
}

impl Stream {
    /// From one host to the other; it has begun.
    fn start(lab: &Lab, from: &Netns, to: &Netns, address: &str) -> Self {
        let file = |what: &str| lab.path(&format!("stream-{what}")).display().to_string();
        let (begun, stop) = (file("begun"), file("stop"));
        let server = format!(
            "import socket\ns=socket.create_server(('{address}',7100))\nc,_=s.accept()\nn=0\n\
             while True:\n d=c.recv(65536)\n if not d: break\n\
             \x20assert d==bytes((n+i)%251 for i in range(len(d)))\n n+=len(d)\n open('{begun}','w').close()"
        );
        let client = format!(
            "import os,socket,time\nn=0\n\
             for _ in range(600):\n try:\n  c=socket.create_connection(('{address}',7100),60)\n  break\n except OSError: time.sleep(.1)\n\
             while not os.path.exists('{stop}'):\n c.sendall(bytes((n+i)%251 for i in range(1000)))\n n+=1000\n time.sleep(.005)\n\
             c.shutdown(socket.SHUT_WR)\nc.recv(1)"
        );
        let server = background(to.command("python3").args(["-c", &server]));
        let client = background(from.command("python3").args(["-c", &client]));
        within("the stream has begun", || lab.path("stream-begun").exists());
        Self { server, client }
    }

    /// Ends it; all that was sent must have arrived.
    fn finish(mut self, lab: &Lab) {
        fs::write(lab.path("stream-stop"), "").expect("a file");
        assert!(self.client.wait() && self.server.wait(), "the stream ends in good order");
    }
}

#[test]
fn a_stream_outlives_a_route_that_vanishes() {
    let lab = with_remote();
    kernel_end(&lab, "local 172.16.0.2 remote 172.16.0.1");
    connect(&lab, Kind::VXLAN, "172.16.0.1", "172.16.0.2");
    pings(&lab.hosts[0], "10.9.0.2", 56);
    let stream = Stream::start(&lab, &lab.hosts[0], &lab.hosts[1], "10.9.0.2");
    let mut before = 0;
    for _ in 0..3 {
        lab.switch.sh("ip route del 172.16.0.0/24 dev p2");
        within("its packets are dropped for the reason", || dropped(&lab, "tunnel_no_route") > before);
        lab.switch.sh("ip route add 172.16.0.0/24 dev p2 src 172.16.0.1");
        before = dropped(&lab, "tunnel_no_route");
    }
    stream.finish(&lab);
    let explained = lab.portway("drops").out;
    assert!(
        explained.lines().any(|line| line.contains("tunnel_no_route") && line.contains("route")),
        "{explained}"
    );
}

/// Packets that were dropped for a reason.
fn dropped(lab: &Lab, reason: &str) -> u64 {
    let table = lab.portway("drops").out;
    let line = table.lines().find(|line| line.starts_with(reason));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

/// Packets that were dropped for any reason.
fn all_dropped(lab: &Lab) -> u64 {
    let table = lab.portway("drops").out;
    table.lines().filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
}

/// Packets that met a flow of `dp0`.
fn hits(lab: &Lab) -> u64 {
    let show = lab.dpctl("show -s dp0");
    show.split("hit:").nth(1).and_then(|text| text.split(' ').next()?.parse().ok()).expect("hits")
}

/// Options of 252 bytes, which is as many as there may be: the outer headers have 302.
const OPTIONS: &str = "geneve({class=0x102,type=1,len=124,0x@}{class=0x102,type=2,len=120,0x#})";

/// No packet of the tunnel fits the cable, not even without anything inside.
#[test]
fn headers_that_are_longer_than_the_mtu() {
    let labs = two_switches();
    let options = OPTIONS.replace('@', &"ab".repeat(124)).replace('#', &"cd".repeat(120));
    for (lab, local, peer) in [(&labs[0], "172.16.0.1", "172.16.0.2"), (&labs[1], "172.16.0.2", "172.16.0.1")]
    {
        lab.switch.sh("sysctl -qw net.ipv6.conf.u0.disable_ipv6=1; ip link set u0 mtu 200");
        lab.dpctl("add-dp dp0");
        lab.dpctl("add-if dp0 p1");
        lab.dpctl(&format!("add-if dp0 tun,{},port_no=5", Kind::GENEVE.options));
        for frame in FRAMES {
            let to = format!("set(tunnel(tun_id=5,dst={peer},ttl=64,{options},flags(key)))");
            let said = lab.portway(&format!("flow add dp0 in_port(1),{frame} {to},5"));
            assert!(said.ok, "{said:?}");
            lab.dpctl(&format!("add-flow dp0 {},in_port(5),{frame} 1", Kind::GENEVE.from(peer, local)));
        }
    }
    let [near, far] = [&labs[0].hosts[0], &labs[1].hosts[0]];
    pings(near, "10.9.0.2", 1400);
    transfer(near, far, "10.9.0.2", 7001, 100_000);
    // The same, but not to be cut.
    for frame in FRAMES {
        lab_flow_del(&labs[0], frame);
        let to = format!("set(tunnel(tun_id=5,dst=172.16.0.2,ttl=64,{options},flags(df|key)))");
        let said = labs[0].portway(&format!("flow add dp0 in_port(1),{frame} {to},5"));
        assert!(said.ok, "{said:?}");
    }
    assert!(!near.reaches("10.9.0.2"));
    assert!(dropped(&labs[0], "over_mtu") > 0, "{}", labs[0].portway("drops").out);
}

fn lab_flow_del(lab: &Lab, frame: &str) {
    lab.dpctl(&format!("del-flow dp0 in_port(1),{frame}"));
}

/// What a tunnel's packets have before the frame inside, and how python sends them to 172.16.0.1.
fn raw(kind: &str) -> (&'static str, &'static str) {
    match kind {
        "vxlan" => ("0800000000000500", "socket.socket(socket.AF_INET,socket.SOCK_DGRAM),4789"),
        "geneve" => ("0000655800000500", "socket.socket(socket.AF_INET,socket.SOCK_DGRAM),6081"),
        _ => ("2000655800000005", "socket.socket(socket.AF_INET,socket.SOCK_RAW,47),0"),
    }
}

/// A frame with a UDP packet.
const FRAME: &str = "02000000aa0202000000aa0108004500001c0000000040116acf0a0000010a000002000100020008f5ef";

/// Sends packets of a tunnel to 172.16.0.1 from four addresses of 10.200.0.0/16, whole and cut short, for ever.
fn flood(kind: &str) -> String {
    let (header, socket) = raw(kind);
    format!(
        "import socket,itertools\nframe=bytes.fromhex('{header}{FRAME}')\ns=[]\n\
         for n in range(4):\n k,p={socket}\n k.bind(('10.200.0.%d'%n,0))\n s.append(k)\n\
         for k in itertools.cycle(s):\n for m in range(50): k.sendto(frame[:m],('172.16.0.1',p))\n k.sendto(frame,('172.16.0.1',p))"
    )
}

/// Sends 10,000 VXLAN packets to 172.16.0.1 from so many addresses of 10.200.0.0/16.
fn from_peers(peers: u32) -> String {
    let (header, socket) = raw("vxlan");
    format!(
        "import socket,struct\nframe=bytes.fromhex('{header}{FRAME}')\n\
         for n in range(10000):\n k,p={socket}\n\
         \x20k.bind((socket.inet_ntoa(struct.pack('>I',0x0ac80001+n%{peers})),0))\n k.sendto(frame,('172.16.0.1',p))\n k.close()"
    )
}

/// Resident memory of the daemon, in KiB, and its descriptors.
fn held(lab: &Lab) -> (u64, usize) {
    let folder = format!("/proc/{}", lab.daemon_pid());
    let status = fs::read_to_string(format!("{folder}/status")).expect("the daemon's");
    let rss =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
    (rss.expect("memory"), fs::read_dir(format!("{folder}/fd")).expect("the daemon's").count())
}

/// Whether the daemon holds no more than before, but for what buffers and its allocator take once.
fn assert_holds(lab: &Lab, before: (u64, usize)) {
    let after = held(lab);
    assert!(after.0 < before.0 + (16 << 10), "{before:?} KiB and descriptors, then {after:?}");
    // Connections of clients that have just gone.
    assert!(after.1 < before.1 + 16, "{before:?} KiB and descriptors, then {after:?}");
}

#[test]
fn ten_thousand_peers_are_heard() {
    let lab = with_remote();
    connect(&lab, Kind::VXLAN, "172.16.0.1", "172.16.0.2");
    lab.switch.sh("ip route add 10.200.0.0/16 via 172.16.0.2; sysctl -qw net.ipv4.conf.all.rp_filter=0");
    lab.hosts[1].sh("ip route add local 10.200.0.0/16 dev lo");
    lab.dpctl(
        "add-flow dp0 tunnel(tun_id=5,src=10.200.0.0/255.255.0.0,dst=172.16.0.1,ttl=0/0,flags(+key)),in_port(5),\
         eth(),eth_type(0x0800),ipv4() 1",
    );
    let heard = || {
        let flows = lab.dpctl("dump-flows dp0");
        let line = flows.lines().find(|line| line.contains("10.200.0.0")).expect("the flow");
        line.split("packets:")
            .nth(1)
            .and_then(|text| text.split(',').next()?.parse::<u32>().ok())
            .expect("packets")
    };
    // On a loaded machine a cable may lose some.
    let round = |peers| {
        let before = heard();
        within("all are heard", || {
            let said = said(lab.hosts[1].command("python3").args(["-c", &from_peers(peers)]));
            assert!(said.ok, "{said:?}");
            heard() >= before + 10_000
        });
    };
    round(1);
    let before = held(&lab);
    round(10_000);
    assert_holds(&lab, before);
}

/// Each of 10,000 flows has a peer of its own.
#[test]
fn ten_thousand_peers_are_sent_to() {
    let lab = with_remote();
    let (near, far) = (&lab.hosts[0], &lab.hosts[1]);
    lab.dpctl("add-dp dp0");
    lab.dpctl("add-if dp0 p1");
    lab.dpctl(&format!("add-if dp0 tun,{},port_no=5", Kind::VXLAN.options));
    let flow = |n: u32| {
        let host = format!("{}.{}", n >> 8, n & 0xff);
        format!(
            "in_port(1),eth(),eth_type(0x0800),ipv4(dst=10.201.{host}) set(tunnel(tun_id=5,dst=10.200.{host},ttl=64,flags(key))),5\n"
        )
    };
    fs::write(lab.path("flows"), (1..=10_000).map(flow).collect::<String>()).expect("a file");
    lab.dpctl(&format!("add-flows dp0 {}", lab.path("flows").display()));
    lab.switch.sh("ip route add 10.200.0.0/16 via 172.16.0.2");
    far.sh("ip route add local 10.200.0.0/16 dev lo");
    near.sh("ip neigh add 10.9.0.2 lladdr 02:00:00:00:09:02 dev e0; ip route add 10.201.0.0/16 via 10.9.0.2");
    // The far end writes down, whenever nothing comes for a moment, at which of its addresses no packet has arrived yet.
    let (missing, draft) = (lab.path("missing"), lab.path("draft"));
    let listener = format!(
        "import os,socket\nk=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\nk.setsockopt(1,33,64<<20)\nk.setsockopt(0,8,1)\n\
         k.bind(('',4789))\nk.settimeout(.1)\ns=set(range(1,10001))\n\
         def note():\n open('{0}','w').write(' '.join(map(str,s)))\n os.rename('{0}','{1}')\n\
         note()\nwhile s:\n try: d,c,_,_=k.recvmsg(2048,64)\n except TimeoutError: note()\n\
         \x20else: s.discard(int.from_bytes(c[0][2][8:12],'big')&0xffff)\nnote()",
        draft.display(),
        missing.display()
    );
    let _listener = background(far.command("python3").args(["-c", &listener]));
    within("the far end listens", || missing.exists());
    let round = |numbers: &str| {
        let sender = format!(
            "import socket,time\nk=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n\
             for i,n in enumerate({numbers}):\n k.sendto(b'x',('10.201.%d.%d'%(n>>8,n&255),9))\n if i%100==0: time.sleep(.005)"
        );
        let said = said(near.command("python3").args(["-c", &sender]));
        assert!(said.ok, "{said:?}");
    };
    round("[1]*10000");
    let before = held(&lab);
    // On a loaded machine a cable may lose some.
    within("all are reached", || {
        round(&format!("map(int,open('{}').read().split())", missing.display()));
        fs::read_to_string(&missing).is_ok_and(|missing| missing.is_empty())
    });
    assert_holds(&lab, before);
    // What met a flow was sent, or its loss is counted.
    let sent = || -> u64 {
        let table = lab.portway("port stats vxlan_sys_4789").out;
        let line = table.lines().find(|line| line.starts_with("vxlan_sys_4789")).expect("the port");
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [_, _, _, _, sent, _, dropped, errors] = numbers[..] else { panic!("{table}") };
        sent + dropped + errors
    };
    within("all are accounted for", || sent() == hits(&lab));
}

/// Frames that are cut short anywhere, and headers that are: each packet is taken for a frame, or counted as bad.
#[test]
fn frames_cut_at_every_byte_are_taken_or_counted() {
    let lab = with_remote();
    lab.dpctl("add-dp dp0");
    for (kind, options) in [("vxlan", Kind::VXLAN), ("geneve", Kind::GENEVE), ("gre", Kind::GRE)] {
        lab.dpctl(&format!("add-if dp0 t,{},port_no=5", options.options));
        let (header, socket) = raw(kind);
        let script = format!(
            "import socket\nk,p={socket}\nframe=bytes.fromhex('{header}{FRAME}')\n\
             for n in range(len(frame)+1): k.sendto(frame[:n],('172.16.0.1',p))"
        );
        let len = (header.len() + FRAME.len()) as u64 / 2;
        let (seen, bad) = (taken(&lab), all_dropped(&lab));
        let mut rounds = 0;
        // On a loaded machine a cable may lose some.
        within("each is taken or counted", || {
            let said = said(lab.hosts[1].command("python3").args(["-c", &script]));
            assert!(said.ok, "{said:?}");
            rounds += 1;
            let (seen, bad) = (taken(&lab) - seen, all_dropped(&lab) - bad);
            assert!(seen <= rounds * (FRAME.len() as u64 / 2 - 13), "{kind}: {seen} are frames");
            seen + bad > len
        });
        let device = lab
            .dpctl("show dp0")
            .lines()
            .find_map(|line| Some(line.split("port 5: ").nth(1)?.split(' ').next()?.to_owned()));
        lab.dpctl(&format!("del-if dp0 {}", device.expect("port 5")));
    }
}

/// Packets that were looked up in `dp0`, with or without a flow for them.
fn taken(lab: &Lab) -> u64 {
    let show = lab.dpctl("show -s dp0");
    let number = |what: &str| {
        show.split(what).nth(1).and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok())
    };
    number("hit:").expect("hits") + number("missed:").expect("misses")
}

fn a_port_goes_while_packets_come(kind: &str, options: Kind, device: &str) {
    let [one, two] = joined_switches(options, "172.16.0.0");
    let lab = &one;
    two.switch.sh("ip route add local 10.200.0.0/16 dev lo");
    lab.switch.sh("ip route add 10.200.0.0/16 via 172.16.0.2; sysctl -qw net.ipv4.conf.all.rp_filter=0");
    let flooding = background(two.switch.command("python3").args(["-c", &flood(kind)]));
    let pid = lab.daemon_pid();
    for _ in 0..10 {
        lab.dpctl(&format!("del-if dp0 {device}"));
        lab.dpctl(&format!("add-if dp0 tun,{},port_no=5", options.options));
    }
    within("bad ones are counted", || dropped(lab, "tunnel_bad_header") > 0);
    drop(flooding);
    pings(&lab.hosts[0], "10.9.0.2", 56);
    assert_eq!(lab.daemon_pid(), pid);
    assert!(!lab.daemon_log().contains("ERROR"), "{}", lab.daemon_log());
}

#[test]
fn a_vxlan_port_goes_while_packets_come() {
    a_port_goes_while_packets_come("vxlan", Kind::VXLAN, "vxlan_sys_4789");
}

#[test]
fn a_geneve_port_goes_while_packets_come() {
    a_port_goes_while_packets_come("geneve", Kind::GENEVE, "genev_sys_6081");
}

#[test]
fn a_gre_port_goes_while_packets_come() {
    a_port_goes_while_packets_come("gre", Kind::GRE, "gre_sys");
}

/// The way to the peer leads into the switch itself, which sends everything to the peer.
#[test]
fn a_tunnel_into_itself_comes_to_rest() {
    let lab = with_remote();
    lab.dpctl("add-dp dp0");
    lab.dpctl("add-if dp0 p1");
    lab.dpctl(&format!("add-if dp0 tun,{},port_no=5", Kind::VXLAN.options));
    lab.switch.sh("ip addr add 172.20.0.1/24 dev dp0; ip link set dp0 up; \
         ip neigh add 172.20.0.2 lladdr 02:00:00:00:20:02 dev dp0");
    for port in [0, 1] {
        lab.dpctl(&format!(
            "add-flow dp0 in_port({port}),eth(),eth_type(0x0800),ipv4() set(tunnel(tun_id=5,dst=172.20.0.2,ttl=64,flags(key))),5"
        ));
    }
    let near = &lab.hosts[0];
    near.sh("ip neigh add 10.9.0.2 lladdr 02:00:00:00:09:02 dev e0");
    let _ = said(near.command("ping").args(["-c", "3", "-i", "0.2", "-W", "1", "-s", "1400", "10.9.0.2"]));
    within("the last ones are dropped", || lab.portway("drops").out.contains("tx_error"));
    let mut last = 0;
    within("it rests", || std::mem::replace(&mut last, hits(&lab)) == last);
    assert!(last < 1000, "{last} packets of three");
}
