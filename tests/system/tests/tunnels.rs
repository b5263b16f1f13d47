// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Tunnels that carry real traffic: to the kernel's own vxlan device, to another Portway, and as tshark reads them.
#![forbid(unsafe_code)]

use portway_system::{Lab, Netns, Ovs, background, said, within};

/// What a tunnel is made with, and how its packets look.
#[derive(Clone, Copy)]
struct Kind {
    /// For `ovs-dpctl add-if`, after the name.
    options: &'static str,
    /// More of the tunnel key than id and addresses.
    flags: &'static str,
}

const VXLAN: Kind =
    Kind { options: "type=vxlan,remote_ip=flow,key=flow,dst_port=4789", flags: "flags(df|key)" };
const VXLAN_CSUM: Kind = Kind { flags: "flags(df|csum|key)", ..VXLAN };
const GENEVE: Kind =
    Kind { options: "type=geneve,remote_ip=flow,key=flow,dst_port=6081", flags: "flags(df|key)" };
const GRE: Kind = Kind { options: "type=gre,remote_ip=flow,key=flow", flags: "flags(df|key)" };

/// Frames that a host sends and gets: ARP, IPv4 and IPv6, in a VLAN and without.
const FRAMES: [&str; 5] = [
    "eth(),eth_type(0x0806),arp()",
    "eth(),eth_type(0x0800),ipv4()",
    "eth(),eth_type(0x86dd),ipv6()",
    "eth(),eth_type(0x8100),vlan(vid=9,pcp=0),encap(eth_type(0x0806),arp())",
    "eth(),eth_type(0x8100),vlan(vid=9,pcp=0),encap(eth_type(0x0800),ipv4())",
];

/// A datapath with the first host's port as 1 and a tunnel as 5, and flows between the two: tunnel 5 to `peer`.
fn connect(lab: &Lab, kind: Kind, local: &str, peer: &str) {
    lab.dpctl("add-dp dp0");
    lab.dpctl("add-if dp0 p1");
    lab.dpctl(&format!("add-if dp0 tun,{},port_no=5", kind.options));
    let (src, dst) = if peer.contains(':') { ("ipv6_src", "ipv6_dst") } else { ("src", "dst") };
    for frame in FRAMES {
        lab.dpctl(&format!(
            "add-flow dp0 in_port(1),{frame} set(tunnel(tun_id=5,{dst}={peer},ttl=64,{})),5",
            kind.flags
        ));
        lab.dpctl(&format!(
            "add-flow dp0 tunnel(tun_id=5,{src}={peer},{dst}={local},ttl=0/0,flags(+key)),in_port(5),{frame} 1"
        ));
    }
}

/// Sends so many bytes by TCP and compares what arrives.
fn transfer(from: &Netns, to: &Netns, address: &str, port: u16, bytes: usize) {
    let server = format!(
        "import socket,hashlib\ns=socket.create_server(('{address}',{port}),family=socket.AF_INET6 if ':' in '{address}' else socket.AF_INET)\n\
         print('ready',flush=True)\nc,_=s.accept()\nh=hashlib.sha256()\nn=0\n\
         while True:\n d=c.recv(1<<20)\n if not d: break\n h.update(d)\n n+=len(d)\nc.sendall(h.hexdigest().encode())\nc.close()"
    );
    let client = format!(
        "import socket,hashlib,random,time\nd=random.Random(5).randbytes({bytes})\n\
         for _ in range(600):\n try:\n  c=socket.create_connection(('{address}',{port}),60)\n  break\n except OSError: time.sleep(.1)\n\
         c.sendall(d)\nc.shutdown(socket.SHUT_WR)\nr=b''\n\
         while len(r)<64:\n  p=c.recv(64)\n  assert p\n  r+=p\nassert r.decode()==hashlib.sha256(d).hexdigest()"
    );
    let _server = background(to.command("python3").args(["-c", &server]));
    let said = said(from.command("python3").args(["-c", &client]));
    assert!(said.ok, "{} bytes to {address}: {said:?}", bytes);
}

/// Pings with so many bytes that must not be cut.
fn pings(from: &Netns, address: &str, bytes: usize) {
    let size = bytes.to_string();
    let mut last = None;
    within(&format!("{address} answers {bytes} bytes"), || {
        let one = said(from.command("ping").args(["-c", "1", "-W", "5", "-M", "do", "-s", &size, address]));
        let ok = one.ok;
        last = Some(one);
        ok
    });
}

/// A laboratory whose second host is the far end of a tunnel, over 172.16.0.0/24 and fd16::/64.
fn with_remote() -> Lab {
    let lab = Lab::new(2);
    lab.install_tunnels();
    lab.switch.sh(
        "sysctl -qw net.ipv6.conf.p2.disable_ipv6=0; ip addr add 172.16.0.1/24 dev p2; ip addr add fd16::1/64 dev p2 nodad",
    );
    lab.hosts[1].sh(
        "sysctl -qw net.ipv6.conf.e0.disable_ipv6=0; ip addr add 172.16.0.2/24 dev e0; ip addr add fd16::2/64 dev e0 nodad",
    );
    lab.hosts[0].sh("ip link set e0 mtu 1430; ip addr add 10.9.0.1/24 dev e0");
    lab.hosts[0].sh("sysctl -qw net.ipv6.conf.e0.disable_ipv6=0; ip addr add fd09::1/64 dev e0 nodad; \
         ip link add link e0 name e0v type dummy 2>/dev/null || true");
    lab
}

/// The kernel's vxlan device on the second host, as the other end.
fn kernel_end(lab: &Lab, options: &str) {
    lab.hosts[1].sh(&format!(
        "ip link add vx type vxlan id 5 dstport 4789 {options}; ip link set vx mtu 1430 up; \
         sysctl -qw net.ipv6.conf.vx.disable_ipv6=0; ip addr add 10.9.0.2/24 dev vx; ip addr add fd09::2/64 dev vx nodad"
    ));
}

/// Small packets, large ones, and streams with segments of up to 64 KiB, in both directions.
fn traffic(near: &Netns, far: &Netns) {
    pings(near, "10.9.0.2", 56);
    pings(near, "10.9.0.2", 1402);
    pings(far, "10.9.0.1", 1402);
    pings(near, "fd09::2", 1382);
    transfer(near, far, "10.9.0.2", 7001, 8 << 20);
    transfer(far, near, "10.9.0.1", 7002, 8 << 20);
    transfer(near, far, "fd09::2", 7003, 1 << 20);
    transfer(far, near, "fd09::1", 7004, 1 << 20);
}

#[test]
fn vxlan_reaches_the_kernels_own() {
    let lab = with_remote();
    kernel_end(&lab, "local 172.16.0.2 remote 172.16.0.1");
    connect(&lab, VXLAN, "172.16.0.1", "172.16.0.2");
    traffic(&lab.hosts[0], &lab.hosts[1]);
    let modules = lab.portway("module list").out;
    assert!(modules.contains("vport-type-4.so"), "{modules}");
}

#[test]
fn vxlan_with_checksums_over_ipv6_reaches_the_kernels_own() {
    let lab = with_remote();
    kernel_end(&lab, "local fd16::2 remote fd16::1");
    connect(&lab, VXLAN_CSUM, "fd16::1", "fd16::2");
    traffic(&lab.hosts[0], &lab.hosts[1]);
}

/// Two switches with a host each, and a cable between the switches.
fn two_switches() -> [Lab; 2] {
    let labs = [Lab::new(1), Lab::new(1)];
    labs[0].switch.sh(&format!("ip link add u0 type veth peer name u0 netns {}", labs[1].switch.name()));
    for (number, lab) in (1..).zip(&labs) {
        lab.install_tunnels();
        lab.switch.sh(&format!("ip addr add 172.16.0.{number}/24 dev u0; ip link set u0 up"));
        lab.hosts[0].sh(&format!(
            "ip link set e0 mtu 1430 address 02:00:00:00:09:0{number}; sysctl -qw net.ipv6.conf.e0.disable_ipv6=0; \
             ip addr add 10.9.0.{number}/24 dev e0; ip addr add fd09::{number}/64 dev e0 nodad"
        ));
    }
    labs
}

fn between_two_switches(kind: Kind) {
    let [one, two] = two_switches();
    connect(&one, kind, "172.16.0.1", "172.16.0.2");
    connect(&two, kind, "172.16.0.2", "172.16.0.1");
    traffic(&one.hosts[0], &two.hosts[0]);
}

#[test]
fn vxlan_joins_two_switches() {
    between_two_switches(VXLAN);
}

#[test]
fn geneve_joins_two_switches() {
    between_two_switches(GENEVE);
}

#[test]
fn gre_joins_two_switches() {
    between_two_switches(GRE);
}

/// What tshark reads of the packets that the second host gets while `send` is at work, until there are some; a line of fields for each.
fn decoded(lab: &Lab, filter: &str, fields: &[&str]) -> Vec<String> {
    // Else the checksums are left to a device that never comes.
    lab.switch.sh("ethtool -K p2 tx off");
    let file = lab.path("capture.pcap");
    let mut command = lab.hosts[1].command("tcpdump");
    command.args(["-U", "-i", "e0", "-w"]).arg(&file).arg("ip or ip6");
    let _capture = background(command.stderr(std::process::Stdio::null()));
    let mut lines = Vec::new();
    within("tshark reads packets of the tunnel", || {
        let _ = said(lab.hosts[0].command("ping").args(["-c", "1", "-W", "0.1", "10.9.0.2"]));
        let mut tshark = lab.hosts[1].command("tshark");
        tshark.args(["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]);
        tshark.arg("-r").arg(&file).args(["-Y", filter, "-T", "fields", "-E", "occurrence=f"]);
        for field in fields {
            tshark.args(["-e", field]);
        }
        let said = said(&mut tshark);
        assert!(!said.err.contains("valid"), "{said:?}");
        lines = said.out.lines().map(str::to_owned).collect();
        !lines.is_empty()
    });
    lines
}

#[test]
fn tshark_reads_geneve() {
    let lab = with_remote();
    lab.hosts[0].sh("ip neigh add 10.9.0.2 lladdr 02:00:00:00:09:02 dev e0");
    lab.dpctl("add-dp dp0");
    lab.dpctl("add-if dp0 p1");
    lab.dpctl(&format!("add-if dp0 tun,{},port_no=5", GENEVE.options));
    // (ovs-dpctl itself does not read these options back as one action.)
    let said = lab.portway(
        "flow add dp0 in_port(1),eth(),eth_type(0x0800),ipv4() \
         set(tunnel(tun_id=0x123456,dst=172.16.0.2,tos=0x20,ttl=33,\
         geneve({class=0x102,type=0x80,len=8,0x1122334455667788}{class=0xffff,type=1,len=0}),flags(df|csum|key|oam))),5",
    );
    assert!(said.ok, "{said:?}");
    let fields = [
        "ip.dst",
        "ip.ttl",
        "ip.dsfield.dscp",
        "ip.flags.df",
        "udp.dstport",
        "udp.checksum.status",
        "geneve.vni",
        "geneve.flags.oam",
        "geneve.flags.critical",
        "geneve.option.class",
        "geneve.option.type",
        "geneve.option.length",
    ];
    let lines = decoded(&lab, "geneve && icmp.type == 8 && !(icmp.type == 3)", &fields);
    let right = "172.16.0.2\t33\t8\t1\t6081\t1\t0x123456\t1\t1\t0x0102\t0x80\t16";
    let plain = |line: &String| line.replace("True", "1");
    assert!(lines.iter().map(plain).all(|line| line == right), "{lines:?}");
}

#[test]
fn tshark_reads_gre_and_vxlan_with_policy() {
    let lab = with_remote();
    lab.hosts[0].sh("ip neigh add 10.9.0.2 lladdr 02:00:00:00:09:02 dev e0");
    lab.dpctl("add-dp dp0");
    lab.dpctl("add-if dp0 p1");
    lab.dpctl(&format!("add-if dp0 g,{},port_no=5", GRE.options));
    lab.dpctl(&format!("add-if dp0 v,{},exts=gbp,port_no=6", VXLAN.options));
    lab.dpctl(
        "add-flow dp0 in_port(1),eth(),eth_type(0x0800),ipv4() \
         set(tunnel(tun_id=0xdeadbeef,dst=172.16.0.2,ttl=9,flags(csum|key))),5,\
         set(tunnel(tun_id=7,dst=172.16.0.2,ttl=64,vxlan(gbp(id=77,flags=0x8)),flags(key))),6",
    );
    let fields = [
        "ip.dst",
        "ip.ttl",
        "gre.flags.checksum",
        "gre.checksum.status",
        "gre.key",
        "gre.proto",
        "icmp.type",
    ];
    let lines = decoded(&lab, "gre && icmp.type == 8 && !(icmp.type == 3)", &fields);
    let right = "172.16.0.2\t9\t1\t1\t0xdeadbeef\t0x6558\t8";
    let plain = |line: &String| line.replace("True", "1");
    assert!(lines.iter().map(plain).all(|line| line == right), "{lines:?}");
    std::fs::remove_file(lab.path("capture.pcap")).unwrap();
    let fields =
        ["ip.dst", "udp.dstport", "vxlan.flag_g", "vxlan.flag_a", "vxlan.gbp", "vxlan.vni", "icmp.type"];
    let lines = decoded(&lab, "vxlan && icmp.type == 8 && !(icmp.type == 3)", &fields);
    let right = "172.16.0.2\t4789\t1\t1\t77\t7\t8";
    assert!(lines.iter().map(plain).all(|line| line == right), "{lines:?}");
}

/// Learning bridges know no tunnel keys: a port with one peer does not need them.
#[test]
fn a_bridge_joins_two_tunnels() {
    let lab = with_remote();
    let far = &lab.hosts[1];
    kernel_end(&lab, "local 172.16.0.2 remote 172.16.0.1");
    // The first host becomes the far end of another tunnel, over its cable.
    lab.switch.sh("ip addr add 172.17.0.1/24 dev p1");
    lab.hosts[0].sh("ip addr flush dev e0; ip link set e0 mtu 1500; ip addr add 172.17.0.2/24 dev e0; \
         ip link add vx type vxlan id 9 dstport 4790 local 172.17.0.2 remote 172.17.0.1; \
         ip link set vx mtu 1430 up; sysctl -qw net.ipv6.conf.vx.disable_ipv6=0; \
         ip addr add 10.9.0.1/24 dev vx; ip addr add fd09::1/64 dev vx nodad");
    for command in [
        "bridge add br0",
        "port add br0 vx0 --type vxlan -o dst_port=4789 -o remote=172.16.0.2 -o key=5",
        "port add br0 vx1 --type vxlan -o dst_port=4790 -o remote=172.17.0.2 -o key=9",
    ] {
        let said = lab.portway(command);
        assert!(said.ok, "{command}: {said:?}");
    }
    traffic(&lab.hosts[0], far);
    // Another network id is none of the port's.
    far.sh("ip link del vx");
    kernel_end_with(&lab, 6);
    assert!(!far.reaches("10.9.0.1"));
    within("they are counted", || lab.portway("drops").out.contains("tunnel_bad_header"));
}

fn kernel_end_with(lab: &Lab, id: u32) {
    lab.hosts[1].sh(&format!(
        "ip link add vx type vxlan id {id} dstport 4789 local 172.16.0.2 remote 172.16.0.1; ip link set vx up; \
         ip addr add 10.9.0.2/24 dev vx"
    ));
}

/// The daemon goes on, whatever the outside does to a tunnel.
#[test]
fn routes_and_mtus_come_and_go() {
    let lab = with_remote();
    kernel_end(&lab, "local 172.16.0.2 remote 172.16.0.1");
    connect(&lab, VXLAN, "172.16.0.1", "172.16.0.2");
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
    lab.dpctl(&format!("add-if dp0 tun,{},port_no=5", VXLAN.options));
    pings(near, "10.9.0.2", 56);
}

/// Sends VXLAN packets to 172.16.0.1, from so many addresses of 10.200.0.0/16, for ever or once each.
fn flood(sources: u32, once: bool) -> String {
    format!(
        "import socket,struct,itertools\n\
         frame=bytes.fromhex('0800000000000500')+bytes.fromhex('02000000aa0202000000aa0108004500001c0000000040116acf0a0000010a000002000100020008f5ef')\n\
         s=[]\nfor n in range({sources}):\n k=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n\
         \x20k.setsockopt(0,15,1)\n k.bind((socket.inet_ntoa(struct.pack('>I',0x0ac80001+n)),0))\n k.sendto(frame,('172.16.0.1',4789))\n\
         \x20if {once}: k.close()\n else: s.append(k)\n\
         for k in itertools.cycle(s):\n for m in range(50): k.sendto(frame[:m],('172.16.0.1',4789))\n k.sendto(frame,('172.16.0.1',4789))",
        once = if once { "True" } else { "False" },
    )
}

#[test]
fn ten_thousand_peers_are_heard() {
    let lab = with_remote();
    connect(&lab, VXLAN, "172.16.0.1", "172.16.0.2");
    lab.switch.sh("ip route add 10.200.0.0/16 via 172.16.0.2; sysctl -qw net.ipv4.conf.all.rp_filter=0");
    lab.hosts[1].sh("ip route add local 10.200.0.0/16 dev lo");
    lab.dpctl(
        "add-flow dp0 tunnel(tun_id=5,src=10.200.0.0/255.255.0.0,dst=172.16.0.1,ttl=0/0,flags(+key)),in_port(5),\
         eth(),eth_type(0x0800),ipv4() 1",
    );
    let heard = |line: &str| {
        let count = line.split("packets:").nth(1)?.split(',').next()?;
        line.contains("10.200.0.0").then(|| count.parse::<u32>().ok())?
    };
    // On a loaded machine a cable may lose some.
    within("all are heard", || {
        let said = said(lab.hosts[1].command("python3").args(["-c", &flood(10_000, true)]));
        assert!(said.ok, "{said:?}");
        lab.dpctl("dump-flows dp0").lines().filter_map(heard).any(|count| count >= 10_000)
    });
}

#[test]
fn a_port_goes_while_packets_come() {
    let lab = with_remote();
    kernel_end(&lab, "local 172.16.0.2 remote 172.16.0.1");
    connect(&lab, VXLAN, "172.16.0.1", "172.16.0.2");
    lab.hosts[1].sh("ip route add local 10.200.0.0/16 dev lo");
    lab.switch.sh("ip route add 10.200.0.0/16 via 172.16.0.2; sysctl -qw net.ipv4.conf.all.rp_filter=0");
    let mut flooding = lab.hosts[1].command("python3");
    let flooding = background(flooding.args(["-c", &flood(4, false)]));
    let pid = lab.daemon_pid();
    for _ in 0..10 {
        lab.dpctl("del-if dp0 vxlan_sys_4789");
        lab.dpctl(&format!("add-if dp0 tun,{},port_no=5", VXLAN.options));
    }
    within("bad ones are counted", || lab.portway("drops").out.contains("tunnel_bad_header"));
    drop(flooding);
    pings(&lab.hosts[0], "10.9.0.2", 56);
    assert_eq!(lab.daemon_pid(), pid);
    assert!(!lab.daemon_log().contains("ERROR"), "{}", lab.daemon_log());
}

/// The way to the peer leads into the switch itself, which sends everything to the peer.
#[test]
fn a_tunnel_into_itself_comes_to_rest() {
    let lab = with_remote();
    lab.dpctl("add-dp dp0");
    lab.dpctl("add-if dp0 p1");
    lab.dpctl(&format!("add-if dp0 tun,{},port_no=5", VXLAN.options));
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
    let hits = || {
        let show = lab.dpctl("show -s dp0");
        show.split("hit:").nth(1).and_then(|text| text.split(' ').next()?.parse::<u64>().ok()).expect("hits")
    };
    let mut last = 0;
    within("it rests", || std::mem::replace(&mut last, hits()) == last);
    assert!(last < 1000, "{last} packets of three");
}

#[test]
fn vswitchd_makes_tunnels() {
    let lab = with_remote();
    kernel_end(&lab, "local 172.16.0.2 remote 172.16.0.1");
    let mut ovs = Ovs::new(&lab);
    ovs.vsctl("add-br br0");
    ovs.vsctl("add-port br0 p1");
    ovs.vsctl("add-port br0 vx -- set interface vx type=vxlan options:remote_ip=172.16.0.2 options:key=5");
    ovs.vsctl(
        "add-port br0 gn -- set interface gn type=geneve options:remote_ip=172.16.0.9 options:key=flow",
    );
    ovs.vsctl("add-port br0 gr -- set interface gr type=gre options:remote_ip=172.16.0.9");
    let show = lab.dpctl("show");
    for port in ["vxlan_sys_4789 (vxlan", "genev_sys_6081 (geneve", "gre_sys (gre"] {
        assert!(show.contains(port), "{port}: {show}");
    }
    pings(&lab.hosts[0], "10.9.0.2", 1402);
    transfer(&lab.hosts[0], &lab.hosts[1], "10.9.0.2", 7001, 1 << 20);
    // One that starts finds the ports that the other has left.
    ovs.kill();
    ovs.start(&lab);
    pings(&lab.hosts[0], "10.9.0.2", 1402);
    ovs.vsctl("del-port vx");
    within("the port goes", || !lab.try_dpctl("show").out.contains("vxlan_sys"));
}

#[test]
fn tunnels_are_there_again_after_a_restart() {
    let mut lab = with_remote();
    kernel_end(&lab, "local 172.16.0.2 remote 172.16.0.1");
    connect(&lab, VXLAN, "172.16.0.1", "172.16.0.2");
    pings(&lab.hosts[0], "10.9.0.2", 56);
    lab.stop_daemon();
    lab.start_daemon();
    let mut show = String::new();
    within("the port is there again", || {
        show = lab.try_dpctl("show dp0").out;
        show.contains("port 5: vxlan_sys_4789 (vxlan")
    });
    for frame in &FRAMES[..2] {
        lab.dpctl(&format!(
            "add-flow dp0 in_port(1),{frame} set(tunnel(tun_id=5,dst=172.16.0.2,ttl=64,flags(key))),5"
        ));
        lab.dpctl(&format!("add-flow dp0 tunnel(tun_id=5,src=172.16.0.2,dst=172.16.0.1,ttl=0/0,flags(+key)),in_port(5),{frame} 1"));
    }
    pings(&lab.hosts[0], "10.9.0.2", 56);
}
