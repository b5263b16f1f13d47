// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Full restarts of stock `ovs-vswitchd`, in good order, while packets flow.
#![forbid(unsafe_code)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use portway_system::{Lab, Ovs, within};

/// A stream of pings from one host to another, each answer noted.
struct Stream {
    ping: Child,
    lines: std::sync::mpsc::Receiver<String>,
    seen: Vec<u32>,
}

impl Stream {
    fn start(lab: &Lab) -> Self {
        let mut command = lab.hosts[0].command("ping");
        command.args(["-n", "-i", "0.01", "10.1.0.2"]).stdout(Stdio::piped());
        let mut ping = command.spawn().expect("ping");
        let output = BufReader::new(ping.stdout.take().expect("it is piped"));
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)).ok();
        });
        Self { ping, lines, seen: Vec::new() }
    }

    /// Takes note of what has been answered.
    fn look(&mut self) {
        let number = |line: String| line.split("icmp_seq=").nth(1)?.split(' ').next()?.parse::<u32>().ok();
        self.seen.extend(self.lines.try_iter().filter_map(number));
    }

    /// Waits until `more` further packets have been answered.
    fn goes_on(&mut self, more: usize) {
        self.look();
        let before = self.seen.len();
        within("packets go on", || {
            self.look();
            self.seen.len() >= before + more
        });
    }

    /// How many between the first and the last answer were not answered.
    fn lost(&mut self) -> u32 {
        self.look();
        self.seen.sort_unstable();
        self.seen.dedup();
        let sent = self.seen[self.seen.len() - 1] - self.seen[0] + 1;
        sent - self.seen.len() as u32
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.ping.kill();
        let _ = self.ping.wait();
    }
}

fn bridge(lab: &Lab) -> Ovs {
    let ovs = Ovs::new(lab);
    ovs.vsctl("add-br br0 -- add-port br0 p1 -- add-port br0 p2");
    // Whether a host still knows its neighbour is not the question.
    for (host, other) in [(0, 2), (1, 1)] {
        lab.hosts[host].sh(&format!("ip neigh replace 10.1.0.{other} lladdr 02:00:00:00:00:0{other} dev e0"));
    }
    lab.hosts[0].awaits("10.1.0.2");
    ovs
}

/// `ovs-ctl restart` does it so: the new `ovs-vswitchd` is told to wait until its OpenFlow rules are back, and leaves the datapath
/// alone meanwhile. Then it flushes the flows, and makes them anew from the packets that miss. Nothing may be lost on the whole way.
#[test]
fn a_restart_that_restores_rules_loses_no_packet() {
    let lab = Lab::new(2);
    let mut ovs = bridge(&lab);
    let rules = ["priority=5,icmp,actions=NORMAL", "priority=4,arp,actions=NORMAL"];
    rules.iter().for_each(|rule| drop(ovs.ofctl("add-flow", "br0", &[rule])));
    ovs.ofctl("del-flows", "br0", &["--strict", "priority=0"]);
    let mut stream = Stream::start(&lab);
    stream.goes_on(50);
    for _ in 0..2 {
        ovs.exit();
        // Nobody is there.
        stream.goes_on(50);
        ovs.vsctl("--no-wait set open_vswitch . other_config:flow-restore-wait=true");
        ovs.start(&lab);
        // Nor does anybody care yet.
        stream.goes_on(50);
        ovs.ofctl("del-flows", "br0", &[]);
        rules.iter().for_each(|rule| drop(ovs.ofctl("add-flow", "br0", &[rule])));
        ovs.vsctl("remove open_vswitch . other_config flow-restore-wait");
        stream.goes_on(50);
        let counted = || ovs.ofctl("dump-flows", "br0", &["icmp"]);
        within("the new ovs-vswitchd counts them", || {
            let rules = counted();
            rules.contains("n_packets=") && !rules.contains("n_packets=0,")
        });
    }
    assert_eq!(stream.lost(), 0, "{:?}", stream.seen);
    assert_eq!(ovs.complaints(), Vec::<String>::new());
}

/// Without that the new one flushes the flows as it starts, before it has its bridges; what misses then is lost, on the kernel's
/// module, too. Until it starts nothing is, and it finds the datapath and its ports as they were.
#[test]
fn a_plain_restart_goes_on_with_the_same_ports() {
    let lab = Lab::new(2);
    let mut ovs = bridge(&lab);
    let ports = || {
        let shown = lab.dpctl("show");
        shown.lines().filter(|line| line.contains("port ")).map(str::to_owned).collect::<Vec<_>>()
    };
    let (before, mut stream) = (ports(), Stream::start(&lab));
    stream.goes_on(50);
    ovs.exit();
    stream.goes_on(100);
    assert_eq!(stream.lost(), 0, "{:?}", stream.seen);
    assert_eq!(ports(), before);
    ovs.start(&lab);
    stream.goes_on(100);
    assert_eq!(ports(), before);
    // With --cleanup it takes all with it.
    let folder = lab.path("ovs");
    assert!(
        Command::new("ovs-appctl")
            .arg("-t")
            .arg(folder.join("vs.ctl"))
            .args(["exit", "--cleanup"])
            .status()
            .is_ok()
    );
    within("the datapath is gone", || lab.dpctl("dump-dps").is_empty());
    assert!(!lab.switch.sh("ip link").contains("br0"));
    assert_eq!(ovs.complaints(), Vec::<String>::new());
}
