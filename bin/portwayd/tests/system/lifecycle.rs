// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The daemon's life, on real devices: start, a second one, reload, kill, restart, the end.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use crate::lab::{Lab, bridge_add, finish, port_add, within};
use portway_api::{FailureKind, Origin, PortSpec, PortState, Reply, Request, Vlans};

#[test]
fn starts_switches_and_leaves_nothing() {
    let lab = Lab::new(2);
    let mut daemon = lab.start(&lab.config(2));
    assert!(lab.reaches(1, 2) && lab.reaches(2, 1), "{}", daemon.log());
    assert!(lab.switch.has_device("br0"));
    let Reply::Fdb(fdb) = daemon.ask(&Request::BridgeFdb { name: "br0".to_owned() }) else { panic!() };
    let at = |mac: &str| fdb.iter().find(|line| line.mac == mac).map(|line| line.port.as_str());
    assert_eq!((at("02:00:00:00:00:01"), at("02:00:00:00:00:02")), (Some("p1"), Some("p2")));

    let mode = std::fs::metadata(daemon.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (succeeded, said) = finish(&mut lab.command());
    assert!(
        !succeeded && said.contains("already running") && said.contains(&daemon.pid().to_string()),
        "{said}"
    );
    assert!(lab.reaches(1, 2), "the second start disturbed the first");

    daemon.signal("TERM");
    assert!(daemon.ended().success());
    assert!(!lab.switch.has_device("br0"), "the bridge's device is left");
    assert!(!daemon.socket().exists(), "the socket is left");
    assert!(lab.switch.try_sh("ip -d link show p1 | grep -q 'promiscuity 0'"), "p1 is still promiscuous");
}

#[test]
fn kill_and_restart_brings_everything_back() {
    let lab = Lab::new(3);
    let mut daemon = lab.start(&lab.config(1));
    daemon.done(&port_add("br0", PortSpec::new("p2")));
    daemon.done(&bridge_add("br1"));
    let vlans = Vlans { access: Some(7), ..Vlans::default() };
    daemon.done(&port_add("br1", PortSpec { vlans: vlans.clone(), ..PortSpec::new("p3") }));
    daemon.done(&port_add("br1", PortSpec { port_type: "internal".to_owned(), ..PortSpec::new("int1") }));
    assert!(lab.reaches(1, 2));
    daemon.signal("KILL");
    daemon.ended();
    assert!(!lab.switch.has_device("br0") && !lab.switch.has_device("int1"), "devices are left");

    let daemon = lab.start(&lab.config(1));
    assert!(lab.reaches(1, 2), "{}", daemon.log());
    let port = daemon.port("p3");
    assert_eq!((port.bridge.as_str(), port.vlans, port.origin), ("br1", vlans, Origin::Runtime));
    assert!(daemon.ports().iter().all(|port| port.state == PortState::Attached), "{:?}", daemon.ports());
    assert!(lab.switch.has_device("int1"));
    // What is deleted stays deleted.
    daemon.done(&Request::BridgeDel { name: "br1".to_owned() });
    drop(daemon);
    let daemon = lab.start(&lab.config(1));
    let names: Vec<_> = daemon.ports().into_iter().map(|port| port.name).collect();
    assert_eq!(names, ["br0", "p1", "p2"]);
}

#[test]
fn reload_does_not_disturb_unchanged_ports() {
    let lab = Lab::new(3);
    let daemon = lab.start(&lab.config(2));
    assert!(lab.reaches(1, 2));
    let ping = std::thread::scope(|scope| {
        let ping = scope.spawn(|| lab.hosts[0].sh("ping -c 200 -i 0.01 -W 15 -q 10.1.0.2"));
        for round in 0..6 {
            let count = if round % 2 == 0 { 3 } else { 2 };
            lab.write_config(
                &lab.config(count).replace("\"br0\"\n", &format!("\"br0\"\naging_s = {}\n", 100 + round)),
            );
            daemon.signal("HUP");
            within(Duration::from_secs(120), "the reload", || daemon.ports().len() == count + 1);
            let follows = if count == 3 { lab.reaches(1, 3) } else { lab.is_cut_off(1, 3) };
            assert!(follows, "p3 follows the config");
        }
        ping.join().unwrap()
    });
    assert!(ping.contains(" 0% packet loss"), "{ping}");
    // A file with mistakes changes nothing.
    lab.write_config("[[bridge]]\nname = \"br0\"\nagin_s = 3\n");
    let failure = daemon.refused(&Request::Reload);
    assert!(failure.message.contains("portway.toml:3:1: unknown key `agin_s`"), "{}", failure.message);
    assert!(lab.reaches(1, 2));
    // A new VLAN moves a port without taking it away.
    lab.write_config(&(lab.config(2) + "access = 10\n"));
    daemon.done(&Request::Reload);
    assert!(lab.is_cut_off(1, 2));
    lab.write_config(&lab.config(2));
    daemon.done(&Request::Reload);
    assert!(lab.reaches(1, 2));
}

#[test]
fn a_reload_changes_the_daemons_own_settings_or_says_when() {
    let lab = Lab::new(0);
    let daemon = lab.start(&lab.config(0));
    assert!(!daemon.log().contains("DEBUG"), "{}", daemon.log());
    lab.write_config(&("[daemon]\nlog = \"debug\"\nspin_us = 20\nworkers = 7\n".to_owned() + &lab.config(0)));
    let done = daemon.done(&Request::Reload);
    // The lab's command line says how many workers, whatever the file says.
    assert_eq!(done.warnings, [""; 0]);
    daemon.ask(&Request::Show);
    within(Duration::from_secs(120), "it logs more", || daemon.log().contains("DEBUG request"));
    lab.write_config(&("[daemon]\nlog = \"a=b=info\"\n".to_owned() + &lab.config(0)));
    let failure = daemon.refused(&Request::Reload);
    assert!(failure.message.contains("\"a=b=info\" is not a log filter"), "{}", failure.message);
    drop(daemon);
    let daemon = lab.start_with("", &[]);
    lab.write_config("[daemon]\nworkers = 250\n");
    let warnings = daemon.done(&Request::Reload).warnings;
    assert!(warnings[0].starts_with("`workers = 250` takes effect with the next start"), "{warnings:?}");
}

#[test]
fn what_the_config_file_takes_over_is_its_to_delete() {
    let lab = Lab::new(2);
    let daemon = lab.start(&lab.config(1));
    daemon.done(&bridge_add("br1"));
    daemon.done(&port_add("br0", PortSpec::new("p2")));
    let names = |daemon: &crate::lab::Daemon| -> Vec<_> {
        daemon.ports().into_iter().map(|port| port.name).collect()
    };
    // A bridge that is made anew has the port that was added at the command line again.
    lab.write_config(&(lab.config(1) + "[[bridge.port]]\nname = \"br0\"\ntype = \"null\"\n"));
    let warnings = daemon.done(&Request::Reload).warnings;
    assert!(warnings[0].starts_with("bridge br0 stays as it is: "), "no module for it: {warnings:?}");
    assert!(lab.reaches(1, 2));
    lab.compile_module(1000);
    assert_eq!(daemon.done(&Request::Reload).warnings, [""; 0]);
    assert_eq!(names(&daemon), ["br0", "p1", "p2", "br1"]);
    assert!(!lab.switch.has_device("br0") && daemon.port("p2").state == PortState::Attached);
    assert!(
        !daemon.log().contains("still looks at it"),
        "a bridge's end waits for its own hands: {}",
        daemon.log()
    );
    // Now the file names both.
    lab.write_config(&(lab.config(2) + "[[bridge]]\nname = \"br1\"\n"));
    daemon.done(&Request::Reload);
    assert_eq!(daemon.port("p2").origin, Origin::Config);
    lab.write_config(&lab.config(1));
    daemon.done(&Request::Reload);
    assert_eq!(names(&daemon), ["br0", "p1"]);
    drop(daemon);
    let daemon = lab.start(&lab.config(1));
    assert_eq!(names(&daemon), ["br0", "p1"], "what the file let go is not brought back");
}

#[test]
fn ports_wait_for_their_devices() {
    let lab = Lab::new(2);
    lab.switch.sh("ip link del p2");
    let daemon = lab.start(&(lab.config(2) + "[[bridge.port]]\nname = \"x1\"\nnetns = \"pw-never\"\n"));
    assert_eq!(daemon.port("p2").state, PortState::Pending);
    assert!(daemon.port("p2").problem.unwrap().contains("there is no device \"p2\""));
    assert!(daemon.port("x1").problem.unwrap().contains("there is no network namespace \"pw-never\""));
    let limit = Duration::from_secs(120);
    let mut fastest = limit;
    for _ in 0..5 {
        lab.wire(2);
        let took = within(limit, "the port is attached", || daemon.port("p2").state == PortState::Attached);
        within(limit, "it works", || lab.reaches(1, 2));
        lab.switch.sh("ip link del p2");
        let noticed = within(limit, "its end is noticed", || daemon.port("p2").state == PortState::Pending);
        fastest = fastest.min(took.max(noticed));
    }
    // A loaded machine may take longer now and then, a switch that looks for devices in a slow rhythm always does.
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");
    assert!(lab.switch.has_device("br0"));
}

#[test]
fn a_full_disk_refuses_the_change_and_keeps_the_old_state() {
    let lab = Lab::new(2);
    let daemon = lab.start(&lab.config(1));
    daemon.done(&bridge_add("br1"));
    symlink("/dev/full", lab.path("state/state.json.new")).unwrap();
    let failure = daemon.refused(&bridge_add("br2"));
    assert!(
        failure.message.contains("No space left on device")
            && failure.message.contains("nothing was changed")
    );
    assert_eq!(failure.kind, FailureKind::System);
    assert!(!lab.switch.has_device("br2"));
    symlink("/dev/full", lab.path("state/state.json.new")).unwrap();
    daemon.refused(&port_add("br0", PortSpec::new("p2")));
    symlink("/dev/full", lab.path("state/state.json.new")).unwrap();
    daemon.refused(&Request::BridgeDel { name: "br1".to_owned() });
    assert!(lab.switch.has_device("br1"));
    let names =
        |daemon: &crate::lab::Daemon| daemon.ports().into_iter().map(|port| port.name).collect::<Vec<_>>();
    assert_eq!(names(&daemon), ["br0", "p1", "br1"]);
    daemon.done(&port_add("br0", PortSpec::new("p2")));
    drop(daemon);
    let daemon = lab.start(&lab.config(1));
    assert_eq!(names(&daemon), ["br0", "p1", "p2", "br1"]);
}

#[test]
fn the_check_says_what_is_wrong() {
    let lab = Lab::new(0);
    lab.write_config(&lab.config(2));
    let (succeeded, said) = finish(lab.command().arg("--check"));
    assert!(succeeded && said.contains("1 bridges, 2 ports, no mistakes"), "{said}");
    lab.write_config("[[bridge]]\nname = 3\n");
    for arguments in [&["--check"][..], &[]] {
        let (succeeded, said) = finish(lab.command().args(arguments));
        assert!(!succeeded && said.contains("portway.toml:2:8: `name` is a number"), "{said}");
    }
    let (succeeded, said) = finish(lab.command().args(["--check", "--log", "a=b=c"]));
    assert!(!succeeded && said.contains("remedy") | said.contains("is not a log filter"), "{said}");
}

#[test]
fn a_bridges_own_device_is_made_anew() {
    let lab = Lab::new(1);
    let daemon = lab.start(&lab.config(1));
    let address = |lab: &Lab| lab.switch.sh("cat /sys/class/net/br0/address");
    let before = address(&lab);
    for _ in 0..2 {
        lab.switch.sh("ip addr add 10.1.0.100/24 dev br0");
        assert!(lab.switch.try_sh("ping -c 3 -i 0.2 -W 5 -q 10.1.0.1"), "{}", daemon.log());
        let flows = |daemon: &crate::lab::Daemon| {
            let Reply::Bridges(bridges) = daemon.ask(&Request::BridgeList) else { panic!() };
            bridges[0].macs
        };
        assert!(flows(&daemon) > 0);
        lab.switch.sh("ip link del br0");
        within(Duration::from_secs(120), "it is there again", || lab.switch.has_device("br0"));
        within(Duration::from_secs(120), "it is up", || daemon.port("br0").link_up == Some(true));
        assert!(flows(&daemon) > 0, "the bridge forgot what it had learned");
        assert_eq!(address(&lab), before);
    }
    assert!(daemon.log().contains("it was made anew"));
}

#[test]
fn an_internal_ports_device_is_followed_into_another_namespace() {
    let lab = Lab::new(1);
    let daemon = lab.start(&lab.config(1));
    daemon.done(&port_add("br0", PortSpec { port_type: "internal".to_owned(), ..PortSpec::new("int1") }));
    let elsewhere = crate::lab::Netns::new("else");
    lab.switch.sh(&format!("ip link set int1 netns {}", elsewhere.0));
    elsewhere.sh("ip link set int1 mtu 4000 address 02:00:00:00:00:77 up; ip addr add 10.1.0.77/24 dev int1");
    let is_known = || {
        let port = daemon.port("int1");
        (port.mtu, port.mac.as_deref(), port.link_up) == (Some(4000), Some("02:00:00:00:00:77"), Some(true))
    };
    within(Duration::from_secs(120), "its MTU, address and state are known", is_known);
    assert!(lab.reaches(1, 77), "{}", daemon.log());
    // What happens to a device here that has the same index as that one has there does not concern it.
    let index = elsewhere.sh("cat /sys/class/net/int1/ifindex");
    lab.switch.sh(&format!(
        "ip link add other index {} type dummy || true; ip link del other || true",
        index.trim()
    ));
    elsewhere.sh(&format!("ip link set int1 netns {}", lab.switch.0));
    lab.switch.sh("ip link set int1 mtu 3000 up");
    within(Duration::from_secs(120), "it is followed home", || daemon.port("int1").mtu == Some(3000));
    lab.switch.sh("ip link del int1");
    let is_new = || daemon.port("int1").mtu == Some(1500) && lab.switch.has_device("int1");
    within(Duration::from_secs(120), "it is made anew", is_new);
}
