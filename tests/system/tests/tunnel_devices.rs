// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Tunnel devices that programs ask for by rtnetlink, as Open vSwitch from 4.0 on does it: made, told of, used and deleted.
#![forbid(unsafe_code)]

use portway_system::tunnel::{add_tunnels, cabled_switches, pings, transfer};
use portway_system::{Lab, Ovs, Said, said, within};

const VXLAN: &str = "vxlan_sys_4789";

/// A laboratory with the tunnel port types, whose second host is the far end of a tunnel, over 172.16.0.0/24.
fn lab() -> Lab {
    let lab = Lab::new(2);
    lab.install_tunnels();
    lab.switch.sh("ip addr add 172.16.0.1/24 dev p2");
    lab.hosts[1].sh("ip addr add 172.16.0.2/24 dev e0");
    lab.hosts[0].sh("ip link set e0 mtu 1430; ip addr add 10.9.0.1/24 dev e0");
    lab
}

/// The kernel's vxlan device on the second host.
fn kernel_end(lab: &Lab) {
    lab.hosts[1].sh("ip link add vx type vxlan id 5 dstport 4789 local 172.16.0.2 remote 172.16.0.1; \
         ip link set vx mtu 1430 up; ip addr add 10.9.0.2/24 dev vx");
}

fn try_python(lab: &Lab, arguments: &[&str]) -> Said {
    let mut command = lab.wrapped("python3");
    said(command.args(["-c", include_str!("python/links.py")]).args(arguments))
}

fn python(lab: &Lab, arguments: &[&str]) {
    let said = try_python(lab, arguments);
    assert!(said.ok && said.out == "all well\n" && said.err.is_empty(), "{said:?}\n{}", lab.daemon_log());
}

/// Flows between port 1 and the tunnel device, which is port 5.
fn flows(lab: &Lab, local: &str, peer: &str) {
    let (src, dst) = if peer.contains(':') { ("ipv6_src", "ipv6_dst") } else { ("src", "dst") };
    for frame in ["eth(),eth_type(0x0806),arp()", "eth(),eth_type(0x0800),ipv4()"] {
        lab.dpctl(&format!(
            "add-flow dp0 in_port(1),{frame} set(tunnel(tun_id=5,{dst}={peer},ttl=64,flags(df|key))),5"
        ));
        lab.dpctl(&format!(
            "add-flow dp0 tunnel(tun_id=5,{src}={peer},{dst}={local},ttl=0/0,flags(+key)),in_port(5),{frame} 1"
        ));
    }
}

/// A datapath with the first host's port as 1 and that device as 5.
fn connect(lab: &Lab, device: &str, local: &str, peer: &str) {
    lab.dpctl("add-dp dp0");
    lab.dpctl("add-if dp0 p1");
    lab.dpctl(&format!("add-if dp0 {device},port_no=5"));
    flows(lab, local, peer);
}

/// The alias of the VXLAN device; nothing if it is not there.
fn alias(lab: &Lab) -> String {
    lab.switch.sh(&format!("ip -d link show {VXLAN} 2>/dev/null | grep -o 'alias.*' || true"))
}

#[test]
fn devices_are_made_told_of_and_deleted() {
    python(&lab(), &["good"]);
}

#[test]
fn bad_requests_leave_nothing() {
    let lab = lab();
    lab.open_to_everybody();
    python(&lab, &["bad"]);
}

#[test]
fn a_device_is_a_port_and_stays_when_that_goes() {
    let lab = lab();
    kernel_end(&lab);
    python(&lab, &["make", VXLAN]);
    connect(&lab, VXLAN, "172.16.0.1", "172.16.0.2");
    pings(&lab.hosts[0], "10.9.0.2", 56);
    pings(&lab.hosts[0], "10.9.0.2", 1402);
    transfer(&lab.hosts[0], &lab.hosts[1], "10.9.0.2", 7001, 8 << 20);
    transfer(&lab.hosts[1], &lab.hosts[0], "10.9.0.1", 7002, 8 << 20);
    python(&lab, &["port", VXLAN]);
    let show = lab.dpctl("show dp0");
    assert!(show.contains("port 5: vxlan_sys_4789 (vxlan"), "by its name: {show}");
    let again = lab.try_dpctl(&format!("add-if dp0 {VXLAN}"));
    assert!(!again.ok && again.err.contains("File exists"), "{again:?}");
    lab.dpctl("add-dp dp1");
    let other = lab.try_dpctl(&format!("add-if dp1 {VXLAN}"));
    assert!(!other.ok && other.err.contains("Device or resource busy"), "{other:?}");
    // A port goes with its datapath, its device stays, and is taken up again; what a program deletes with the port is gone.
    lab.dpctl("del-dp dp0");
    assert_eq!(alias(&lab), "alias portway tunnel device: vxlan port 4789 zero-checksum6\n");
    connect(&lab, VXLAN, "172.16.0.1", "172.16.0.2");
    pings(&lab.hosts[0], "10.9.0.2", 56);
    lab.dpctl(&format!("del-if dp0 {VXLAN}"));
    assert!(!lab.dpctl("show dp0").contains(VXLAN));
    assert_eq!(alias(&lab), "");
    // One that is deleted while it is a port takes that with it, and can be made anew at once.
    for _ in 0..5 {
        python(&lab, &["make", VXLAN]);
        lab.dpctl(&format!("add-if dp0 {VXLAN},port_no=5"));
        lab.switch.sh(&format!("ip link del {VXLAN}"));
    }
    within("the port has gone", || !lab.dpctl("show dp0").contains(VXLAN));
    python(&lab, &["make", VXLAN]);
    lab.dpctl(&format!("add-if dp0 {VXLAN},port_no=5"));
    pings(&lab.hosts[0], "10.9.0.2", 56);
}

/// Two switches with a host each, and a cable between the switches.
fn between_two_switches(device: &str, net: &str) {
    let labs = cabled_switches();
    for (number, lab) in (1..).zip(&labs) {
        lab.hosts[0].sh(&format!("ip link set e0 mtu 1400; ip addr add 10.9.0.{number}/24 dev e0"));
        python(lab, &["make", device]);
        connect(lab, device, &format!("{net}{number}"), &format!("{net}{}", 3 - number));
    }
    pings(&labs[0].hosts[0], "10.9.0.2", 1372);
    transfer(&labs[0].hosts[0], &labs[1].hosts[0], "10.9.0.2", 7001, 4 << 20);
}

#[test]
fn geneve_devices_reach_each_other() {
    between_two_switches("genev_sys_6081", "172.16.0.");
}

/// Over IPv6 without checksums, which a device has to be asked for, and which ports that the datapath makes do not take.
#[test]
fn geneve_devices_take_what_has_no_checksum() {
    between_two_switches("genev_sys_6081", "fd16::");
}

#[test]
fn gre_devices_reach_each_other() {
    between_two_switches("gre_sys", "172.16.0.");
}

#[test]
fn devices_outlive_the_daemon() {
    let mut lab = lab();
    kernel_end(&lab);
    python(&lab, &["make", VXLAN, "gre_sys"]);
    connect(&lab, VXLAN, "172.16.0.1", "172.16.0.2");
    pings(&lab.hosts[0], "10.9.0.2", 56);
    let index =
        || lab.switch.sh(&format!("cat /sys/class/net/{VXLAN}/ifindex /sys/class/net/gre_sys/ifindex"));
    let before = index();
    for killed in [false, true] {
        if killed {
            // What is killed has written down what was there some time ago.
            within("it is written down", || {
                std::fs::read_to_string(lab.path("state/netlink.json")).is_ok_and(|text| text.contains(VXLAN))
            });
            lab.kill_daemon();
        } else {
            lab.stop_daemon();
        }
        lab.start_daemon();
        within("the port is there again", || {
            lab.try_dpctl("show dp0").out.contains("port 5: vxlan_sys_4789")
        });
        flows(&lab, "172.16.0.1", "172.16.0.2");
        pings(&lab.hosts[0], "10.9.0.2", 56);
    }
    assert_eq!(
        lab.switch.sh(&format!("cat /sys/class/net/{VXLAN}/ifindex /sys/class/net/gre_sys/ifindex")),
        before
    );
    // The other, which was no port, can still become one; and neither can be made twice.
    lab.dpctl("add-if dp0 gre_sys,port_no=6");
    python(&lab, &["port", VXLAN]);
    python(&lab, &["port", "gre_sys"]);
    let twice = try_python(&lab, &["make", "gre_sys"]);
    assert!(!twice.ok && twice.err.contains("File exists"), "{twice:?}");
    // Without the daemon a device is deleted like any other, and nothing comes back with it.
    lab.stop_daemon();
    lab.switch.sh(&format!("ip link del {VXLAN}; ip link del gre_sys"));
    lab.start_daemon();
    let show = lab.dpctl("show dp0");
    assert!(!show.contains("sys_4789") && !show.contains("gre_sys") && show.contains("port 1: p1"), "{show}");
}

/// Stock `ovs-vswitchd`, which asks for a device first, as later ones only do. (That of Debian's sid, 4.0.0, was seen to do all this, too.)
#[test]
fn vswitchd_makes_devices() {
    let lab = lab();
    kernel_end(&lab);
    let mut ovs = Ovs::with(&lab, &[("PORTWAY_TUNNELS", "devices")]);
    add_tunnels(&ovs);
    let devices = || lab.switch.sh("ip -d link | grep -o 'portway tunnel .*' | sort || true");
    let made = devices();
    for device in ["vxlan port 4789 zero-checksum6", "geneve port 6081 zero-checksum6", "gretap"] {
        assert!(made.contains(&format!("portway tunnel device: {device}\n")), "{device}: {made}");
    }
    pings(&lab.hosts[0], "10.9.0.2", 1402);
    transfer(&lab.hosts[0], &lab.hosts[1], "10.9.0.2", 7001, 1 << 20);
    // One that starts finds the ports that the other has left, or at least their devices.
    ovs.kill();
    ovs.start(&lab);
    pings(&lab.hosts[0], "10.9.0.2", 1402);
    // It makes them anew, each when its turn comes; a program that has a device is not to be killed between making it and adding it.
    let settled = || {
        let show = lab.try_dpctl("show").out;
        devices() == made
            && ["vxlan_sys_4789", "genev_sys_6081", "gre_sys"].iter().all(|name| show.contains(name))
    };
    within("all are there", settled);
    ovs.kill();
    lab.dpctl("del-dp ovs-system");
    assert_eq!(devices(), made);
    ovs.start(&lab);
    pings(&lab.hosts[0], "10.9.0.2", 1402);
    within("all are there", settled);
    // Of packets that came out of a tunnel while it was not looking it complains itself.
    let mut complaints = ovs.complaints();
    complaints.retain(|line| !line.contains("receive tunnel port not found"));
    assert_eq!(complaints, [""; 0]);
    for port in ["vx", "gn", "gr"] {
        ovs.vsctl(&format!("del-port {port}"));
    }
    within("the devices go", || devices().is_empty());
}

/// A device of the kernel's own that Open vSwitch has left, from before Portway: nobody could give it metadata.
#[test]
fn the_kernels_own_devices_are_no_ports() {
    let lab = lab();
    kernel_end(&lab);
    lab.switch.sh(&format!("ip link add {VXLAN} type vxlan external dstport 4789 nolearning udp6zerocsumrx; ip link set {VXLAN} up"));
    lab.dpctl("add-dp dp0");
    let refused = lab.try_dpctl(&format!("add-if dp0 {VXLAN}"));
    assert!(!refused.ok && refused.err.contains("Operation not supported"), "{refused:?}");
    assert!(lab.daemon_log().contains("delete it"), "{}", lab.daemon_log());
    lab.dpctl("del-dp dp0");
    // One that does not get metadata, or that is not Open vSwitch's, is a device like others.
    for kind in ["id 7 dstport 4797", "external dstport 4798"] {
        lab.switch.sh(&format!("ip link add vx7 type vxlan {kind}; ip link set vx7 up"));
        lab.dpctl("add-dp dp0");
        lab.dpctl("add-if dp0 vx7");
        lab.dpctl("del-dp dp0");
        lab.switch.sh("ip link del vx7");
    }
    lab.switch.sh(&format!("ip link del {VXLAN}"));
    // ovs-vswitchd deletes what it cannot use, and this one then takes its other way (one of 4.0 makes it anew when it tries again).
    lab.switch.sh(&format!("ip link add {VXLAN} type vxlan external dstport 4789 nolearning udp6zerocsumrx; ip link set {VXLAN} up"));
    let ovs = Ovs::with(&lab, &[("PORTWAY_TUNNELS", "devices")]);
    ovs.vsctl("add-br br0");
    ovs.vsctl("add-port br0 p1");
    ovs.vsctl("add-port br0 vx -- set interface vx type=vxlan options:remote_ip=172.16.0.2 options:key=5");
    assert_eq!(alias(&lab), "alias portway tunnel port\n");
    pings(&lab.hosts[0], "10.9.0.2", 1402);
}

#[test]
fn what_is_forgotten_is_deleted() {
    let mut lab = lab();
    python(&lab, &["make", VXLAN, "gre_sys"]);
    connect(&lab, VXLAN, "172.16.0.1", "172.16.0.2");
    within("it is written down", || {
        std::fs::read_to_string(lab.path("state/netlink.json")).is_ok_and(|text| text.contains(VXLAN))
    });
    lab.stop_daemon();
    assert!(lab.switch.sh("ip -br link").contains(VXLAN));
    let said = said(lab.daemon_command().arg("--forget"));
    assert!(said.ok, "{said:?}");
    let left = lab.switch.sh("ip -br link");
    assert!(!left.contains("_sys") && !left.contains("dp0"), "{left}");
}
