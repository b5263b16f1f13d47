// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Tunnels in a laboratory: how they are made, what is on their other end, and traffic through them.

use std::net::IpAddr;

use crate::{Lab, Netns, Ovs, background, said, within};

/// What a tunnel is made with, and how its packets look.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// For `ovs-dpctl add-if`, after the name.
    pub options: &'static str,
    /// More of the tunnel key than id and addresses.
    pub flags: &'static str,
}

impl Kind {
    /// VXLAN at its port.
    pub const VXLAN: Self =
        Self { options: "type=vxlan,remote_ip=flow,key=flow,dst_port=4789", flags: "flags(df|key)" };
    /// The same with UDP checksums, which IPv6 asks for.
    pub const VXLAN_CSUM: Self = Self { flags: "flags(df|csum|key)", ..Self::VXLAN };
    /// Geneve at its port.
    pub const GENEVE: Self =
        Self { options: "type=geneve,remote_ip=flow,key=flow,dst_port=6081", flags: "flags(df|key)" };
    /// The same with UDP checksums, which IPv6 asks for.
    pub const GENEVE_CSUM: Self = Self { flags: "flags(df|csum|key)", ..Self::GENEVE };
    /// GRE.
    pub const GRE: Self = Self { options: "type=gre,remote_ip=flow,key=flow", flags: "flags(df|key)" };

    /// The action that hands a packet to the peer: id or key 5.
    pub fn set(&self, peer: &str) -> String {
        let dst = if peer.contains(':') { "ipv6_dst" } else { "dst" };
        format!("set(tunnel(tun_id=5,{dst}={peer},ttl=64,{}))", self.flags)
    }

    /// The match of what the peer sends to `local`.
    pub fn from(&self, peer: &str, local: &str) -> String {
        let (src, dst) = if peer.contains(':') { ("ipv6_src", "ipv6_dst") } else { ("src", "dst") };
        format!("tunnel(tun_id=5,{src}={peer},{dst}={local},ttl=0/0,flags(+key))")
    }
}

/// Frames that a host sends and gets: ARP, IPv4 and IPv6.
pub const FRAMES: [&str; 3] =
    ["eth(),eth_type(0x0806),arp()", "eth(),eth_type(0x0800),ipv4()", "eth(),eth_type(0x86dd),ipv6()"];

/// A datapath with the first host's port as 1 and a tunnel as 5, and flows between the two: tunnel 5 to `peer`.
pub fn connect(lab: &Lab, kind: Kind, local: &str, peer: &str) {
    lab.dpctl("add-dp dp0");
    lab.dpctl("add-if dp0 p1");
    lab.dpctl(&format!("add-if dp0 tun,{},port_no=5", kind.options));
    for frame in FRAMES {
        lab.dpctl(&format!("add-flow dp0 in_port(1),{frame} {},5", kind.set(peer)));
        lab.dpctl(&format!("add-flow dp0 {},in_port(5),{frame} 1", kind.from(peer, local)));
    }
}

/// Sends so many bytes by TCP and compares what arrives.
pub fn transfer(from: &Netns, to: &Netns, address: &str, port: u16, bytes: usize) {
    let server = format!(
        "import socket,hashlib\ns=socket.create_server(('{address}',{port}),family=socket.AF_INET6 if ':' in '{address}' else socket.AF_INET)\n\
         c,_=s.accept()\nh=hashlib.sha256()\nn=0\n\
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
pub fn pings(from: &Netns, address: &str, bytes: usize) {
    let size = bytes.to_string();
    within(&format!("{address} answers {bytes} bytes"), || {
        said(from.command("ping").args(["-c", "1", "-W", "5", "-M", "do", "-s", &size, address])).ok
    });
}

/// iperf3 from one host to the other, or back: one stream.
pub fn iperf3(from: &Netns, to: &Netns, address: &str, back: bool) {
    let _server =
        background(to.command("iperf3").args(["-s", "-B", address]).stdout(std::process::Stdio::null()));
    let mut last = None;
    within(&format!("iperf3 to {address}"), || {
        let mut client = from.command("iperf3");
        client.args(["-c", address, "-n", "8M", "--connect-timeout", "5000", "-f", "m"]);
        let said = said(client.args(back.then_some("-R")));
        let ok = said.ok;
        last = Some(said);
        ok
    });
    let out = last.map(|said| said.out).unwrap_or_default();
    assert!(out.contains("receiver"), "{out}");
}

/// The hosts' addresses inside a tunnel: near and far, of both families.
pub const NEAR: [&str; 2] = ["10.9.0.1", "fd09::1"];
/// See [`NEAR`].
pub const FAR: [&str; 2] = ["10.9.0.2", "fd09::2"];

/// Packets of up to the tunnel's 1,450 bytes, and streams with segments of up to 64 KiB, in both directions and of both families.
pub fn traffic(near: &Netns, far: &Netns) {
    pings(near, FAR[0], 56);
    pings(near, FAR[0], 1422);
    pings(far, NEAR[0], 1422);
    pings(near, FAR[1], 1402);
    transfer(near, far, FAR[0], 7001, 2 << 20);
    transfer(far, near, NEAR[0], 7002, 2 << 20);
    transfer(near, far, FAR[1], 7003, 1 << 20);
    transfer(far, near, NEAR[1], 7004, 1 << 20);
    iperf3(near, far, FAR[0], false);
    iperf3(near, far, FAR[1], true);
}

/// Gives a host's device the addresses of an end inside a tunnel: 1 is the near one. 1,450 bytes fit the tunnels over IPv4 exactly.
pub fn address_inside(host: &Netns, device: &str, number: u32) {
    host.sh(&format!(
        "ip link set {device} mtu 1450 up; sysctl -qw net.ipv6.conf.{device}.disable_ipv6=0; \
         ip addr add 10.9.0.{number}/24 dev {device}; ip addr add fd09::{number}/64 dev {device} nodad"
    ));
}

/// A laboratory whose second host is the far end of a tunnel, over 172.16.0.0/24 and fd16::/64.
pub fn with_remote() -> Lab {
    let lab = Lab::new(2);
    lab.install_tunnels();
    lab.switch.sh(
        "sysctl -qw net.ipv6.conf.p2.disable_ipv6=0; ip addr add 172.16.0.1/24 dev p2; ip addr add fd16::1/64 dev p2 nodad",
    );
    lab.hosts[1].sh(
        "sysctl -qw net.ipv6.conf.e0.disable_ipv6=0; ip addr add 172.16.0.2/24 dev e0; ip addr add fd16::2/64 dev e0 nodad",
    );
    address_inside(&lab.hosts[0], "e0", 1);
    lab
}

/// A bridge of `ovs-vswitchd` with the first host's port, a VXLAN tunnel to the second host, and a Geneve and a GRE tunnel to nobody.
pub fn add_tunnels(ovs: &Ovs) {
    ovs.vsctl("add-br br0");
    ovs.vsctl("add-port br0 p1");
    ovs.vsctl("add-port br0 vx -- set interface vx type=vxlan options:remote_ip=172.16.0.2 options:key=5");
    ovs.vsctl(
        "add-port br0 gn -- set interface gn type=geneve options:remote_ip=172.16.0.9 options:key=flow",
    );
    ovs.vsctl("add-port br0 gr -- set interface gr type=gre options:remote_ip=172.16.0.9");
}

/// Lets the cable between a switch and its peer carry the longer headers of IPv6.
pub fn widen(one: (&Netns, &str), two: (&Netns, &str)) {
    for (netns, device) in [one, two] {
        netns.sh(&format!("ip link set {device} mtu 1520"));
    }
}

/// The kernel's vxlan device on the second host, as the other end of tunnel 5.
pub fn kernel_end(lab: &Lab, options: &str) {
    lab.hosts[1].sh(&format!("ip link add vx type vxlan id 5 dstport 4789 {options}"));
    address_inside(&lab.hosts[1], "vx", 2);
}

/// Two switches with a host each, and a cable `u0` between the switches: 172.16.0.0/24 and fd16::/64. The hosts have no addresses yet.
pub fn cabled_switches() -> [Lab; 2] {
    let labs = [Lab::new(1), Lab::new(1)];
    labs[0].switch.sh(&format!("ip link add u0 type veth peer name u0 netns {}", labs[1].switch.name()));
    for (number, lab) in (1..).zip(&labs) {
        lab.install_tunnels();
        lab.switch.sh(&format!(
            "sysctl -qw net.ipv6.conf.u0.disable_ipv6=0; ip link set u0 up; \
             ip addr add 172.16.0.{number}/24 dev u0; ip addr add fd16::{number}/64 dev u0 nodad"
        ));
        lab.hosts[0].sh(&format!("ip link set e0 address 02:00:00:00:09:0{number}"));
    }
    labs
}

/// The same, with the hosts' addresses inside a tunnel.
pub fn two_switches() -> [Lab; 2] {
    let labs = cabled_switches();
    for (number, lab) in (1..).zip(&labs) {
        address_inside(&lab.hosts[0], "e0", number);
    }
    labs
}

/// Two switches that a tunnel over this family joins.
pub fn joined_switches(kind: Kind, over: &str) -> [Lab; 2] {
    let labs = two_switches();
    let address = |number| match over.parse::<IpAddr>() {
        Ok(IpAddr::V6(_)) => format!("fd16::{number}"),
        _ => format!("172.16.0.{number}"),
    };
    widen((&labs[0].switch, "u0"), (&labs[1].switch, "u0"));
    connect(&labs[0], kind, &address(1), &address(2));
    connect(&labs[1], kind, &address(2), &address(1));
    labs
}
