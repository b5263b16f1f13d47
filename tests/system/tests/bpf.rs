// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A host that refuses BPF maps: everything works, more slowly.
#![forbid(unsafe_code)]

use portway_system::Lab;

/// More than enough pings for a shortcut.
const MANY: &str = "ping -q -f -c 2000 -W 20 10.1.0.2";

fn flows(lab: &Lab) {
    lab.dpctl("add-dp dp0");
    lab.dpctl("add-if dp0 p1 p2 int1,type=internal");
    for (from, to) in [(1, 2), (2, 1)] {
        lab.dpctl(&format!("add-flow dp0 in_port({from}),eth(),eth_type(0x0806),arp() {to}"));
        lab.dpctl(&format!("add-flow dp0 in_port({from}),eth(),eth_type(0x0800),ipv4() {to}"));
    }
}

#[test]
fn without_maps_there_are_ports_but_no_shortcuts() {
    let mut lab = Lab::new(2);
    lab.kill_daemon();
    lab.start_daemon_as(&["python3", "-c", include_str!("python/refuse_maps.py")]);
    flows(&lab);
    lab.hosts[0].awaits("10.1.0.2");
    let said = lab.hosts[0].sh(MANY);
    assert!(said.contains("2000 received"), "{said}");
    assert!(!lab.portway("flow list").out.contains("shortcut"));
    let log = lab.daemon_log();
    assert_eq!(log.matches("no shortcuts for hot flows: BPF maps are refused").count(), 1, "{log}");
    assert!(lab.dpctl("dump-flows dp0").contains("packets:20"), "all are counted by the flow");
}
