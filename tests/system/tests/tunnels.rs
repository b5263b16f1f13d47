// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Tunnels that carry real traffic: to the kernel's own vxlan device, to another Portway, and as tshark reads them.
#![forbid(unsafe_code)]

use portway_system::tunnel::{
    FRAMES, Kind, add_tunnels, address_inside, connect, joined_switches, kernel_end, pings, traffic,
    transfer, two_switches, widen, with_remote,
};
use portway_system::{Lab, Ovs, background, said, within};

#[test]
fn vxlan_reaches_the_kernels_own() {
    let lab = with_remote();
    kernel_end(&lab, "local 172.16.0.2 remote 172.16.0.1");
    connect(&lab, Kind::VXLAN, "172.16.0.1", "172.16.0.2");
    traffic(&lab.hosts[0], &lab.hosts[1]);
    let modules = lab.portway("module list").out;
    assert!(modules.contains("vport-type-4.so"), "{modules}");
}

#[test]
fn vxlan_with_checksums_over_ipv6_reaches_the_kernels_own() {
    let lab = with_remote();
    widen((&lab.switch, "p2"), (&lab.hosts[1], "e0"));
    kernel_end(&lab, "local fd16::2 remote fd16::1");
    connect(&lab, Kind::VXLAN_CSUM, "fd16::1", "fd16::2");
    traffic(&lab.hosts[0], &lab.hosts[1]);
}

#[test]
fn vxlan_joins_two_switches() {
    let [one, two] = joined_switches(Kind::VXLAN, "172.16.0.0");
    traffic(&one.hosts[0], &two.hosts[0]);
}

#[test]
fn geneve_joins_two_switches() {
    let [one, two] = joined_switches(Kind::GENEVE, "172.16.0.0");
    traffic(&one.hosts[0], &two.hosts[0]);
}

#[test]
fn geneve_joins_two_switches_over_ipv6() {
    let [one, two] = joined_switches(Kind::GENEVE_CSUM, "fd16::");
    traffic(&one.hosts[0], &two.hosts[0]);
}

#[test]
fn gre_joins_two_switches() {
    let [one, two] = joined_switches(Kind::GRE, "172.16.0.0");
    traffic(&one.hosts[0], &two.hosts[0]);
}

/// A stream's segments cross the near switch as they came from the host, of up to 64 KiB, not cut to what fits the tunnel.
#[test]
fn segments_of_64_kib_enter_the_tunnel_whole() {
    let [one, two] = joined_switches(Kind::VXLAN, "172.16.0.0");
    let (near, far) = (&one.hosts[0], &two.hosts[0]);
    pings(near, "10.9.0.2", 56);
    transfer(near, far, "10.9.0.2", 7001, 32 << 20);
    let number =
        |line: &str, what: &str| -> Option<u64> { line.split(what).nth(1)?.split(',').next()?.parse().ok() };
    let flows = one.dpctl("dump-flows dp0");
    let stream = flows.lines().filter(|line| line.starts_with("in_port(1),") && line.contains("0x0800"));
    let average =
        stream.filter_map(|line| Some(number(line, "bytes:")? / number(line, "packets:")?.max(1))).max();
    assert!(average.is_some_and(|bytes| bytes > 4 * 1450), "{average:?}: {flows}");
}

/// Tags inside a tunnel: the hosts know nothing of them, the switches push and pop them.
fn tags_cross(kind: Kind) {
    let labs = two_switches();
    // A tag makes packets longer.
    widen((&labs[0].switch, "u0"), (&labs[1].switch, "u0"));
    for (number, lab) in labs.iter().enumerate() {
        let (local, peer) = (["172.16.0.1", "172.16.0.2"][number], ["172.16.0.2", "172.16.0.1"][number]);
        lab.dpctl("add-dp dp0");
        lab.dpctl("add-if dp0 p1");
        lab.dpctl(&format!("add-if dp0 tun,{},port_no=5", kind.options));
        for frame in ["eth_type(0x0806),arp()", "eth_type(0x0800),ipv4()", "eth_type(0x86dd),ipv6()"] {
            lab.dpctl(&format!(
                "add-flow dp0 in_port(1),eth(),{frame} push_vlan(vid=9,pcp=3),{},5",
                kind.set(peer)
            ));
            lab.dpctl(&format!(
                    "add-flow dp0 {},in_port(5),eth(),eth_type(0x8100),vlan(vid=9,pcp=3),encap({frame}) pop_vlan,1",
                    kind.from(peer, local)
                ));
        }
    }
    let [near, far] = [&labs[0].hosts[0], &labs[1].hosts[0]];
    pings(near, "10.9.0.2", 1422);
    transfer(near, far, "10.9.0.2", 7001, 1 << 20);
    transfer(far, near, "fd09::1", 7002, 1 << 20);
}

#[test]
fn vlans_cross_a_vxlan() {
    tags_cross(Kind::VXLAN);
}

#[test]
fn vlans_cross_a_geneve_tunnel() {
    tags_cross(Kind::GENEVE);
}

#[test]
fn vlans_cross_a_gre_tunnel() {
    tags_cross(Kind::GRE);
}

/// OVS's own datapath in user space on the second host: another program that writes and reads these headers. The far end of the tunnels
/// is a device of the second host, in VLAN 9 for the third tunnel.
fn userspace_ovs_end(lab: &Lab) -> Ovs {
    let far = &lab.hosts[1];
    far.sh("ethtool -K e0 tx off >/dev/null; ip addr flush dev e0");
    let ovs = Ovs::elsewhere(lab, far);
    ovs.vsctl(
        "add-br outer -- set bridge outer datapath_type=netdev fail_mode=standalone -- add-port outer e0",
    );
    far.sh("ip addr add 172.16.0.2/24 dev outer; ip link set outer up");
    ovs.vsctl("add-br inner -- set bridge inner datapath_type=netdev fail_mode=standalone");
    address_inside(far, "inner", 2);
    // It takes no segments to cut into a tunnel.
    far.sh("ethtool -K inner tx off tso off gso off >/dev/null");
    ovs
}

#[test]
fn geneve_and_gre_reach_ovs_in_user_space() {
    let lab = with_remote();
    lab.switch.sh("ethtool -K p2 tx off >/dev/null");
    let ovs = userspace_ovs_end(&lab);
    let (near, far) = (&lab.hosts[0], &lab.hosts[1]);
    lab.dpctl("add-dp dp0");
    lab.dpctl("add-if dp0 p1");
    for (kind, name, tag) in [
        (Kind::GENEVE, "geneve", ""),
        (Kind::GRE, "gre", ""),
        (Kind::VXLAN, "vxlan", ""),
        (Kind::GENEVE, "geneve", "tag=9"),
    ] {
        lab.dpctl(&format!("add-if dp0 tun,{},port_no=5", kind.options));
        ovs.vsctl(&format!("set port inner {}", if tag.is_empty() { "tag=[]" } else { tag }));
        ovs.vsctl(&format!(
            "add-port inner tun -- set interface tun type={name} options:remote_ip=172.16.0.1 options:key=5"
        ));
        let (push, pop) = if tag.is_empty() { ("", "") } else { ("push_vlan(vid=9,pcp=0),", "pop_vlan,") };
        for frame in ["eth_type(0x0806),arp()", "eth_type(0x0800),ipv4()", "eth_type(0x86dd),ipv6()"] {
            let inside = if tag.is_empty() {
                frame.to_owned()
            } else {
                format!("eth_type(0x8100),vlan(vid=9,pcp=0),encap({frame})")
            };
            lab.dpctl(&format!("add-flow dp0 in_port(1),eth(),{frame} {push}{},5", kind.set("172.16.0.2")));
            lab.dpctl(&format!(
                "add-flow dp0 {},in_port(5),eth(),{inside} {pop}1",
                kind.from("172.16.0.2", "172.16.0.1")
            ));
        }
        // A tag makes packets longer.
        pings(near, "10.9.0.2", 1400);
        pings(near, "fd09::2", 1380);
        near.sh("ip link set e0 mtu 1440");
        far.sh("ip link set inner mtu 1440");
        transfer(near, far, "10.9.0.2", 7001, 1 << 20);
        transfer(far, near, "10.9.0.1", 7002, 1 << 20);
        lab.dpctl("del-flows dp0");
        ovs.vsctl("del-port tun");
        let device = lab
            .dpctl("show dp0")
            .lines()
            .find_map(|line| Some(line.split("port 5: ").nth(1)?.split(' ').next()?.to_owned()));
        lab.dpctl(&format!("del-if dp0 {}", device.expect("port 5")));
    }
}

/// One datapath that takes from a tunnel of this kind what it puts into the kernel's VXLAN, and the other way.
fn joined_to_vxlan(kind: Kind, over: &str) {
    let [one, middle] = two_switches();
    widen((&one.switch, "u0"), (&middle.switch, "u0"));
    let (near, far) = (&one.hosts[0], &middle.hosts[0]);
    // The second switch's host becomes the far end, by the kernel's own vxlan, over its cable.
    middle.switch.sh("ip addr add 172.17.0.1/24 dev p1");
    far.sh("ip addr flush dev e0; ip link set e0 mtu 1500; ip addr add 172.17.0.2/24 dev e0; \
         ip link add vx type vxlan id 5 dstport 4789 local 172.17.0.2 remote 172.17.0.1");
    address_inside(far, "vx", 2);
    let [a, b] = [1, 2].map(|number| format!("{over}{number}"));
    connect(&one, kind, &a, &b);
    middle.dpctl("add-dp dp0");
    middle.dpctl(&format!("add-if dp0 out,{},port_no=6", Kind::VXLAN.options));
    middle.dpctl(&format!("add-if dp0 tun,{},port_no=5", kind.options));
    for frame in FRAMES {
        let (to_vxlan, from_vxlan) =
            (Kind::VXLAN.set("172.17.0.2"), Kind::VXLAN.from("172.17.0.2", "172.17.0.1"));
        middle.dpctl(&format!("add-flow dp0 {},in_port(5),{frame} {to_vxlan},6", kind.from(&a, &b)));
        middle.dpctl(&format!("add-flow dp0 {from_vxlan},in_port(6),{frame} {},5", kind.set(&a)));
    }
    traffic(near, far);
}

#[test]
fn a_datapath_joins_geneve_over_ipv6_and_vxlan() {
    joined_to_vxlan(Kind::GENEVE_CSUM, "fd16::");
}

#[test]
fn a_datapath_joins_gre_and_vxlan() {
    joined_to_vxlan(Kind::GRE, "172.16.0.");
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
        // Of fields that the packet inside has, too, the outer ones.
        tshark.arg("-r").arg(&file).args(["-Y", filter, "-T", "fields", "-E", "occurrence=a"]);
        for field in fields {
            tshark.args(["-e", field]);
        }
        let said = said(&mut tshark);
        assert!(!said.err.contains("valid"), "{said:?}");
        lines = said.out.lines().map(plain).collect();
        !lines.is_empty()
    });
    lines
}

/// A line of tshark's without what differs from version to version: how it writes a bit. Of ports and addresses it has the inner ones, too:
/// of what stands more than once in `ip.` and `udp.` fields only the first is kept.
fn plain(line: &str) -> String {
    line.replace("True", "1").replace("False", "0")
}

/// The first of each field's values.
fn outer(line: &str) -> String {
    line.split('\t').map(|values| values.split(',').next().unwrap_or_default()).collect::<Vec<_>>().join("\t")
}

/// A laboratory whose first host sends pings that nobody answers into tunnel 5, which has no flow yet.
fn with_tunnel(kind: Kind) -> Lab {
    let lab = with_remote();
    lab.hosts[0].sh("ip neigh add 10.9.0.2 lladdr 02:00:00:00:09:02 dev e0");
    lab.dpctl("add-dp dp0");
    lab.dpctl("add-if dp0 p1");
    lab.dpctl(&format!("add-if dp0 tun,{},port_no=5", kind.options));
    lab
}

/// What the second host gets of tunnels: a ping inside, no ICMP error about one.
fn pings_in(tunnel: &str) -> String {
    format!("{tunnel} && icmp.type == 8 && !(icmp.type == 3)")
}

#[test]
fn tshark_reads_geneve() {
    let lab = with_tunnel(Kind::GENEVE);
    // (ovs-dpctl itself does not read these options back as one action.)
    let said = lab.portway(
        "flow add dp0 in_port(1),eth(),eth_type(0x0800),ipv4() \
         set(tunnel(tun_id=0x123456,dst=172.16.0.2,tos=0x20,ttl=33,\
         geneve({class=0x102,type=0x80,len=8,0x1122334455667788}{class=0xffff,type=1,len=4,0x99aabbcc}),flags(df|csum|key|oam))),5",
    );
    assert!(said.ok, "{said:?}");
    let fields = [
        "ip.src",
        "ip.dst",
        "ip.ttl",
        "ip.dsfield.dscp",
        "ip.flags.df",
        "udp.dstport",
        "udp.checksum.status",
    ];
    let lines = decoded(&lab, &pings_in("geneve"), &fields);
    let right = "172.16.0.1\t172.16.0.2\t33\t8\t1\t6081\t1";
    assert!(lines.iter().all(|line| outer(line) == right), "{lines:?}");
    std::fs::remove_file(lab.path("capture.pcap")).expect("the capture");
    // All that the header has: two options, each with class, type, its critical bit, length and data. Before their lengths, that of both.
    let fields = [
        "geneve.version",
        "geneve.flags.oam",
        "geneve.flags.critical",
        "geneve.flags.reserved",
        "geneve.proto_type",
        "geneve.vni",
        "geneve.reserved",
        "geneve.option.class",
        "geneve.option.type",
        "geneve.option.type.critical",
        "geneve.option.flags.reserved",
        "geneve.option.length",
        "geneve.option.length.invalid",
        "geneve.option.unknown.data",
        "icmp.type",
    ];
    let lines = decoded(&lab, &pings_in("geneve"), &fields);
    let right = "0\t1\t1\t0\t0x6558\t0x123456\t0x00\t0x0102,0xffff\t0x80,0x01\t1,0\t0,0\t20,12,8\t\t1122334455667788,99aabbcc\t8";
    assert!(lines.iter().all(|line| line == right), "{lines:?}");
}

#[test]
fn tshark_reads_gre() {
    let lab = with_tunnel(Kind::GRE);
    // With all that the header may have, with the key alone, and with nothing.
    let set = |ttl: u32, tun_id: &str, flags: &str| {
        format!("set(tunnel({tun_id}dst=172.16.0.2,tos=0x40,ttl={ttl},flags({flags}))),5")
    };
    let actions =
        [set(9, "tun_id=0xdeadbeef,", "df|csum|key"), set(10, "tun_id=0xffffffff,", "key"), set(11, "", "")];
    lab.dpctl(&format!("add-flow dp0 in_port(1),eth(),eth_type(0x0800),ipv4() {}", actions.join(",")));
    let fields = [
        "ip.src",
        "ip.dst",
        "ip.dsfield.dscp",
        "ip.flags.df",
        "ip.ttl",
        "gre.flags_and_version",
        "gre.flags.checksum",
        "gre.flags.routing",
        "gre.flags.key",
        "gre.flags.sequence_number",
        "gre.flags.strict_source_route",
        "gre.flags.recursion_control",
        "gre.flags.reserved",
        "gre.flags.version",
        "gre.proto",
        "gre.checksum.status",
        "gre.key",
        "icmp.type",
    ];
    let same = "172.16.0.1\t172.16.0.2\t16\t1";
    let right = [
        format!("{same}\t9\t0xa000\t1\t0\t1\t0\t0\t0\t0\t0\t0x6558\t1\t0xdeadbeef\t8"),
        format!("{same}\t10\t0x2000\t0\t0\t1\t0\t0\t0\t0\t0\t0x6558\t\t0xffffffff\t8"),
        format!("{same}\t11\t0x0000\t0\t0\t0\t0\t0\t0\t0\t0\t0x6558\t\t\t8"),
    ];
    let mut lines = Vec::new();
    within("tshark has read all three", || {
        lines = decoded(&lab, &pings_in("gre"), &fields);
        right.iter().all(|right| lines.iter().any(|line| outer(line) == *right))
    });
    assert!(lines.iter().all(|line| right.contains(&outer(line))), "{lines:?}");
}

#[test]
fn tshark_reads_vxlan_with_policy() {
    let lab = with_tunnel(Kind {
        options: "type=vxlan,remote_ip=flow,key=flow,dst_port=4789,exts=gbp",
        ..Kind::VXLAN
    });
    lab.dpctl(
        "add-flow dp0 in_port(1),eth(),eth_type(0x0800),ipv4() \
         set(tunnel(tun_id=7,dst=172.16.0.2,ttl=64,vxlan(gbp(id=77,flags=0x8)),flags(key))),5",
    );
    let fields = [
        "ip.dst",
        "udp.dstport",
        "vxlan.flag_i",
        "vxlan.flag_g",
        "vxlan.flag_d",
        "vxlan.flag_a",
        "vxlan.gbp",
        "vxlan.vni",
        "vxlan.reserved8",
        "icmp.type",
    ];
    let lines = decoded(&lab, &pings_in("vxlan"), &fields);
    let right = "172.16.0.2\t4789\t1\t1\t0\t1\t77\t7\t0\t8";
    assert!(lines.iter().all(|line| outer(line) == right), "{lines:?}");
}

/// An id is 64 bits in a flow: the header takes the lowest, 24 for a network id and 32 for a key, as the kernel's tunnels do.
fn ids(kind: Kind, filter: &str, field: &str, ids: &[(u64, &str)]) {
    let lab = with_tunnel(kind);
    // Each with a time to live of its own, to tell them apart.
    let set = |(n, (id, _)): (usize, &(u64, &str))| {
        format!("set(tunnel(tun_id={id:#x},dst=172.16.0.2,ttl={},flags(key))),5", 10 + n)
    };
    let actions: Vec<_> = ids.iter().enumerate().map(set).collect();
    lab.dpctl(&format!("add-flow dp0 in_port(1),eth(),eth_type(0x0800),ipv4() {}", actions.join(",")));
    let right: Vec<_> = ids.iter().enumerate().map(|(n, (_, read))| format!("{}\t{read}", 10 + n)).collect();
    within("tshark has read all", || {
        let lines: Vec<_> =
            decoded(&lab, &pings_in(filter), &["ip.ttl", field]).iter().map(|line| outer(line)).collect();
        assert!(lines.iter().all(|line| right.contains(line)), "{lines:?}");
        right.iter().all(|right| lines.contains(right))
    });
}

#[test]
fn network_ids_have_24_bits() {
    let all = [
        (0, "0"),
        (1, "1"),
        (0xff_ffff, "16777215"),
        (0x100_0000, "0"),
        (0x123_4567, "2311527"),
        (u64::MAX, "16777215"),
    ];
    ids(Kind::VXLAN, "vxlan", "vxlan.vni", &all);
    let all = [(0, "0x000000"), (0xff_ffff, "0xffffff"), (0x100_0000, "0x000000"), (0x123_4567, "0x234567")];
    ids(Kind::GENEVE, "geneve", "geneve.vni", &all);
}

#[test]
fn keys_have_32_bits() {
    let all = [
        (0, "0x00000000"),
        (0xffff_ffff, "0xffffffff"),
        (0x1_0000_0000, "0x00000000"),
        (u64::MAX, "0xffffffff"),
    ];
    ids(Kind::GRE, "gre", "gre.key", &all);
}

/// Runs `portway` commands that must succeed.
fn portway(lab: &Lab, commands: &[&str]) {
    for command in commands {
        let said = lab.portway(command);
        assert!(said.ok, "{command}: {said:?}");
    }
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
         ip link add vx type vxlan id 9 dstport 4790 local 172.17.0.2 remote 172.17.0.1");
    address_inside(&lab.hosts[0], "vx", 1);
    portway(
        &lab,
        &[
            "bridge add br0",
            "port add br0 vx0 --type vxlan -o dst_port=4789 -o remote=172.16.0.2 -o key=5",
            "port add br0 vx1 --type vxlan -o dst_port=4790 -o remote=172.17.0.2 -o key=9",
        ],
    );
    traffic(&lab.hosts[0], far);
    // Another network id is none of the port's.
    far.sh("ip link del vx");
    kernel_end_with(&lab, 6);
    assert!(!far.reaches("10.9.0.1"));
    within("they are counted", || lab.portway("drops").out.contains("tunnel_bad_header"));
}

/// Two learning bridges with ports of all kinds, which have one peer each: the first is joined to the second by Geneve over IPv6, then by
/// GRE; the second to the kernel by VXLAN.
#[test]
fn bridges_are_joined_by_geneve_and_by_gre() {
    let [one, two] = two_switches();
    widen((&one.switch, "u0"), (&two.switch, "u0"));
    let (near, far) = (&one.hosts[0], &two.hosts[0]);
    two.switch.sh("ip addr add 172.17.0.1/24 dev p1");
    far.sh("ip addr flush dev e0; ip link set e0 mtu 1500; ip addr add 172.17.0.2/24 dev e0; \
         ip link add vx type vxlan id 9 dstport 4789 local 172.17.0.2 remote 172.17.0.1");
    address_inside(far, "vx", 2);
    portway(
        &one,
        &[
            "bridge add br0",
            "port add br0 p1",
            "port add br0 t0 --type geneve -o dst_port=6081 -o remote=fd16::2 -o key=16777215",
        ],
    );
    portway(
        &two,
        &[
            "bridge add br0",
            "port add br0 v0 --type vxlan -o dst_port=4789 -o remote=172.17.0.2 -o key=9",
            "port add br0 t0 --type geneve -o dst_port=6081 -o remote=fd16::1 -o key=16777215",
        ],
    );
    traffic(near, far);
    for (lab, peer) in [(&one, "172.16.0.2"), (&two, "172.16.0.1")] {
        portway(
            lab,
            &["port del t0", &format!("port add br0 t0 --type gre -o remote={peer} -o key=4294967295")],
        );
    }
    traffic(near, far);
    // Another key is none of the port's, and neither is none.
    portway(&one, &["port del t0", "port add br0 t0 --type gre -o remote=172.16.0.2"]);
    assert!(!near.reaches("10.9.0.2"));
    within("they are counted", || two.portway("drops").out.contains("tunnel_bad_header"));
    portway(&two, &["port del t0", "port add br0 t0 --type gre -o remote=172.16.0.1"]);
    pings(near, "10.9.0.2", 1400);
    for (wrong, why) in [
        ("--type gre -o remote=fd16::2", ""),
        ("--type geneve -o dst_port=6082 -o remote=nowhere", ""),
        ("--type geneve -o dst_port=6082 -o remote=10.0.0.1 -o key=16777216", ""),
        ("--type vxlan -o dst_port=4790 -o remote=10.0.0.1 -o key=16777216", ""),
        ("--type gre -o remote=10.0.0.1 -o key=4294967296", ""),
    ] {
        let said = one.portway(&format!("port add br0 t1 {wrong}"));
        assert!(!said.ok && said.err.contains(why), "{wrong}: {said:?}");
    }
}

fn kernel_end_with(lab: &Lab, id: u32) {
    lab.hosts[1].sh(&format!(
        "ip link add vx type vxlan id {id} dstport 4789 local 172.16.0.2 remote 172.16.0.1; ip link set vx up; \
         ip addr add 10.9.0.2/24 dev vx"
    ));
}

#[test]
fn vswitchd_makes_tunnels() {
    let lab = with_remote();
    kernel_end(&lab, "local 172.16.0.2 remote 172.16.0.1");
    let mut ovs = Ovs::new(&lab);
    add_tunnels(&ovs);
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
    connect(&lab, Kind::VXLAN, "172.16.0.1", "172.16.0.2");
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
