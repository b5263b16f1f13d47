// SPDX-License-Identifier: Apache-2.0 OR MIT
//! OpenFlow meters through a stock `ovs-vswitchd`, and samples to a listener, with real traffic.
#![forbid(unsafe_code)]

use std::io::{BufRead, Read};
use std::process::Stdio;
use std::time::Instant;

use portway_system::{Lab, Ovs, background, said, within};

/// The number behind `name` in a text such as `packet_in_count:17`.
fn number(text: &str, name: &str) -> u64 {
    let (_, rest) = text.split_once(name).unwrap_or_else(|| panic!("{name} in {text}"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("{name} in {text}"))
}

/// What a meter has counted: packets, bytes, packets dropped, bytes dropped.
fn counted(ovs: &Ovs, meter: u32) -> [u64; 4] {
    let stats = ovs.ofctl("meter-stats", "br0", &["-O", "OpenFlow13", &format!("meter={meter}")]);
    let (all, bands) = stats.split_once("bands:").unwrap_or_else(|| panic!("{stats}"));
    [
        number(all, "packet_in_count:"),
        number(all, "byte_in_count:"),
        number(bands, "packet_count:"),
        number(bands, "byte_count:"),
    ]
}

fn bridge(lab: &Lab) -> Ovs {
    let ovs = Ovs::new(lab);
    ovs.vsctl("add-br br0 -- set bridge br0 protocols=OpenFlow10,OpenFlow13");
    (1..=lab.hosts.len()).for_each(|number| drop(ovs.vsctl(&format!("add-port br0 p{number}"))));
    ovs
}

#[test]
fn a_meter_in_packets_per_second() {
    let lab = Lab::new(2);
    let ovs = bridge(&lab);
    let features = ovs.ofctl("meter-features", "br0", &["-O", "OpenFlow13"]);
    assert!(features.contains("max_meter:200000 max_bands:1"), "{features}");
    ovs.ofctl(
        "add-meter",
        "br0",
        &["-O", "OpenFlow13", "meter=1 pktps burst stats bands=type=drop rate=1 burst_size=5"],
    );
    ovs.ofctl(
        "add-flow",
        "br0",
        &["-O", "OpenFlow13", "priority=100,icmp,in_port=p1 actions=meter:1,normal"],
    );
    let start = Instant::now();
    let ping =
        said(lab.hosts[0].command("ping").args(["-q", "-c", "60", "-i", "0.01", "-W", "5", "10.1.0.2"]));
    let seconds = start.elapsed().as_secs() + 1;
    let answered = number(&ping.out.replace("transmitted, ", "transmitted, answered:"), "answered:");
    assert!((5..=5 + seconds).contains(&answered), "{answered} in {seconds} s: {ping:?}");
    let [packets, bytes, dropped, dropped_bytes] = counted(&ovs, 1);
    // Replies of the other host come by another port. The first packet may have gone by user space, which has no meter to ask
    // but sends it through the datapath's.
    assert_eq!((packets, packets - dropped), (60, answered), "{ping:?}");
    assert_eq!((bytes, dropped_bytes), (60 * 98, dropped * 98));

    ovs.ofctl(
        "mod-meter",
        "br0",
        &["-O", "OpenFlow13", "meter=1 pktps burst stats bands=type=drop rate=100000 burst_size=1000"],
    );
    let ping =
        said(lab.hosts[0].command("ping").args(["-q", "-c", "60", "-i", "0.01", "-W", "5", "10.1.0.2"]));
    assert!(ping.out.contains(" 60 received"), "{ping:?}");
    ovs.ofctl("del-meters", "br0", &["-O", "OpenFlow13"]);
    assert_eq!(ovs.complaints(), Vec::<String>::new());
}

#[test]
fn a_meter_in_kilobits_per_second() {
    let lab = Lab::new(2);
    let ovs = bridge(&lab);
    ovs.ofctl(
        "add-meter",
        "br0",
        &["-O", "OpenFlow13", "meter=7 kbps burst stats bands=type=drop rate=1000 burst_size=2000"],
    );
    ovs.ofctl("add-flow", "br0", &["-O", "OpenFlow13", "priority=100,udp,in_port=p1 actions=meter:7,normal"]);
    // The flow is in place before the frames come, so that none of them is lost on the way to user space.
    within("the datapath has the flow", || {
        lab.hosts[0].sh("python3 -c \"import socket; socket.socket(2, 2).sendto(b'x', ('10.1.0.2', 98))\"");
        lab.dpctl("dump-flows ovs-system").contains("meter(")
    });
    let sink = "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
                s.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)\ns.bind(('10.1.0.2', 99))\nprint('ready', flush=True)\n\
                n = 0\nwhile True:\n    data = s.recv(2000)\n    if data == b'end': break\n    n += 1\nprint(n)\n";
    let mut command = lab.hosts[1].command("python3");
    let mut sink = background(command.args(["-c", sink]).stdout(Stdio::piped()));
    let mut out = sink.take_output();
    let mut line = String::new();
    out.read_line(&mut line).expect("a line");
    assert_eq!(line, "ready\n");
    let source = "import socket, time\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
                  for i in range(4000):\n    s.sendto(bytes(958), ('10.1.0.2', 99))\n    if i % 40 == 0: time.sleep(0.01)\n\
                  for i in range(50):\n    time.sleep(0.05); s.sendto(b'end', ('10.1.0.2', 99))\n";
    let start = Instant::now();
    let sent = said(lab.hosts[0].command("python3").args(["-c", source]));
    let elapsed = start.elapsed();
    assert!(sent.ok, "{sent:?}");
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("the count");
    assert!(sink.wait(), "it ends");
    let received: u64 = rest.trim().parse().expect("a number");
    let [packets, bytes, dropped, dropped_bytes] = counted(&ovs, 7);
    assert!(packets >= 4000 && dropped > 0, "{packets} {dropped}");
    // 4,000 frames of 1,000 bytes, and ends.
    assert!(bytes - dropped_bytes >= received * 1000, "{bytes} {dropped_bytes} {received}");
    let allowed = 2_000_000 + 1000 * elapsed.as_millis() as u64;
    assert!((bytes - dropped_bytes) * 8 <= allowed, "{bytes} {dropped_bytes} in {elapsed:?}");
    assert!(received >= 250, "the burst at least: {received}");
    assert_eq!(ovs.complaints(), Vec::<String>::new());
}

#[test]
fn samples_for_a_listener() {
    let lab = Lab::new(2);
    lab.dpctl("add-dp dp0");
    lab.dpctl("add-if dp0 p1 p2");
    for flow in [
        "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4() psample(group=12,cookie=0102),2",
        "recirc_id(0),in_port(1),eth(),eth_type(0x0806),arp() 2",
        "recirc_id(0),in_port(2),eth(),eth_type(0x0800),ipv4() 1",
        "recirc_id(0),in_port(2),eth(),eth_type(0x0806),arp() 1",
    ] {
        let (key, actions) = flow.split_once(' ').expect("two parts");
        let said = lab.portway(&format!("flow add dp0 {key} {actions}"));
        assert!(said.ok, "{flow}: {said:?}");
    }
    let mut command = lab.wrapped("python3");
    command.args(["-c", include_str!("python/psample.py")]).stdout(Stdio::piped());
    let mut listener = background(&mut command);
    let mut out = listener.take_output();
    let mut line = String::new();
    out.read_line(&mut line).expect("a line");
    assert_eq!(line, "ready\n");
    lab.hosts[0].awaits("10.1.0.2");
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("what it says");
    assert!(listener.wait(), "{rest}");
    let ifindex = lab.switch.sh("cat /sys/class/net/p1/ifindex");
    assert_eq!(
        rest,
        format!(
            "in {} group 12 rate 4294967295 size 98 proto 0800 cookie 0102 data 98 020000000002\n",
            ifindex.trim()
        )
    );
}
