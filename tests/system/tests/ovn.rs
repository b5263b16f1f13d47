// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A stock OVN, with stock `ovs-vswitchd` on Portway: a logical switch, port security, access lists that keep no state.
#![forbid(unsafe_code)]

use portway_system::tunnel::transfer;
use portway_system::{Lab, Netns, Ovn, Ovs, said, within};

/// A logical switch with the laboratory's two hosts, whose ports have no other addresses than theirs.
fn logical_switch(lab: &Lab) -> (Ovs, Ovn) {
    let ovs = Ovs::new(lab);
    let ovn = Ovn::new(lab, &ovs);
    ovn.nbctl(&["ls-add", "net"]);
    for number in 1..=lab.hosts.len() {
        let (port, address) = (format!("l{number}"), format!("02:00:00:00:00:0{number} 10.1.0.{number}"));
        ovn.nbctl(&["lsp-add", "net", &port]);
        ovn.nbctl(&["lsp-set-addresses", &port, &address]);
        ovn.nbctl(&["lsp-set-port-security", &port, &address]);
        ovs.vsctl(&format!(
            "add-port br-int p{number} -- set interface p{number} external-ids:iface-id={port}"
        ));
        ovn.nbctl(&["wait-until", "Logical_Switch_Port", &port, "up=true"]);
    }
    ovn.sync();
    (ovs, ovn)
}

/// Whether the other host answers from this address of the host.
fn reaches_from(host: &Netns, own: &str, other: &str) -> bool {
    said(host.command("ping").args(["-q", "-c", "3", "-i", "0.2", "-W", "1", "-I", own, other])).ok
}

#[test]
fn a_logical_switch_with_port_security_and_access_lists() {
    let mut lab = Lab::new(2);
    let (ovs, ovn) = logical_switch(&lab);
    let [one, two] = [&lab.hosts[0], &lab.hosts[1]];
    one.awaits("10.1.0.2");
    transfer(one, two, "10.1.0.2", 7001, 2 << 20);

    // The switch drops what comes from an address that is not the port's: it would be answered without port security.
    one.sh("ip addr add 10.1.0.9/24 dev e0");
    two.sh("ip neigh replace 10.1.0.9 lladdr 02:00:00:00:00:01 dev e0");
    assert!(!reaches_from(one, "10.1.0.9", "10.1.0.2"), "a foreign address");
    ovn.nbctl(&["lsp-set-port-security", "l1"]);
    ovn.nbctl(&["lsp-set-addresses", "l1", "02:00:00:00:00:01 10.1.0.1 10.1.0.9"]);
    ovn.sync();
    within("the address is no longer foreign", || reaches_from(one, "10.1.0.9", "10.1.0.2"));

    // An access list drops what it names, and no more.
    ovn.nbctl(&["acl-add", "net", "to-lport", "1000", "icmp4 && outport == \"l2\"", "drop"]);
    ovn.sync();
    within("the list drops pings", || !one.reaches("10.1.0.2"));
    transfer(one, two, "10.1.0.2", 7002, 1 << 20);
    assert!(!one.reaches("10.1.0.2"), "still dropped");
    ovn.nbctl(&["acl-del", "net"]);
    ovn.sync();
    one.awaits("10.1.0.2");
    assert_eq!(ovs.complaints(), Vec::<String>::new());

    // What OVN has set up is there again when portwayd has died.
    lab.kill_daemon();
    lab.start_daemon();
    lab.hosts[0].awaits("10.1.0.2");
    transfer(&lab.hosts[1], &lab.hosts[0], "10.1.0.1", 7003, 1 << 20);
}
