// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `ovs-dpctl`, unmodified, programs the datapath by hand.
#![forbid(unsafe_code)]

use portway_system::{Lab, said};

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn datapaths_and_ports() {
    let lab = Lab::new(2);
    assert_eq!(lab.dpctl("dump-dps"), "");
    lab.dpctl("add-dp dp0");
    lab.dpctl("add-if dp0 p1 p2,port_no=7");
    lab.dpctl("add-if dp0 int1,type=internal");
    assert_eq!(lab.dpctl("dump-dps"), "system@dp0\n");
    let show = lab.dpctl("show");
    for line in [
        "port 0: dp0 (internal)",
        "port 1: p1",
        "port 2: int1 (internal)",
        "port 7: p2",
        "masks-cache: size:256",
    ] {
        assert!(show.lines().any(|shown| shown.trim() == line), "{line}: {show}");
    }
    assert!(lab.switch.sh("ip -d link show int1").contains("tun"), "an internal port is a device");
    lab.dpctl("set-if dp0 p2,port_no=7");
    let said = lab.try_dpctl("add-if dp0 p1");
    assert!(!said.ok && said.err.contains("File exists"), "{said:?}");
    let said = lab.try_dpctl("add-if dp0 nonesuch");
    assert!(!said.ok && said.err.contains("No such device"), "{said:?}");
    let said = lab.try_dpctl("add-dp dp0");
    assert!(!said.ok && said.err.contains("File exists"), "{said:?}");
    lab.dpctl("del-if dp0 p1 int1");
    let show = lab.dpctl("show dp0");
    assert!(!show.contains("p1") && !show.contains("int1") && show.contains("port 7: p2"), "{show}");
    lab.dpctl("del-dp dp0");
    assert_eq!(lab.dpctl("dump-dps"), "");
    assert!(!lab.switch.sh("ip link").contains("dp0"), "its device has gone, too");
}

#[test]
fn flows_carry_traffic() {
    let lab = Lab::new(2);
    lab.dpctl("add-dp dp0");
    lab.dpctl("add-if dp0 p1 p2");
    for (from, to) in [(1, 2), (2, 1)] {
        lab.dpctl(&format!("add-flow dp0 in_port({from}),eth(),eth_type(0x0806),arp() {to}"));
        lab.dpctl(&format!("add-flow dp0 in_port({from}),eth(),eth_type(0x0800),ipv4() {to}"));
    }
    lab.hosts[0].awaits("10.1.0.2");
    let dump = lab.dpctl("dump-flows dp0");
    let expected = |line: &str| {
        let (flow, actions) = line.split_once(" packets:").expect("a flow's statistics");
        (flow.trim_end_matches(',').to_owned(), actions.rsplit(':').next().unwrap_or_default().to_owned())
    };
    let flows: Vec<_> = sorted(&dump).into_iter().map(expected).collect();
    let flow =
        |port: u32, kind: &str, to: &str| (format!("in_port({port}),eth(),eth_type({kind})"), to.to_owned());
    let all =
        [flow(1, "0x0800", "2"), flow(1, "0x0806", "2"), flow(2, "0x0800", "1"), flow(2, "0x0806", "1")];
    assert_eq!(flows, all, "{dump}");
    assert!(
        dump.lines().filter(|line| line.contains("0x0800")).all(|line| line.contains("packets:3, bytes:294")),
        "{dump}"
    );
    let filtered = lab.dpctl("--names dump-flows dp0 filter=arp");
    assert!(
        filtered.lines().count() == 2 && filtered.lines().all(|line| line.contains("0x0806")),
        "{filtered}"
    );
    let names = lab.dpctl("--names -m dump-flows dp0");
    assert!(
        names.contains("in_port(p1)") && names.contains("actions:p2") && names.contains("dp:ovs"),
        "{names}"
    );

    lab.dpctl("mod-flow dp0 in_port(1),eth(),eth_type(0x0800),ipv4() 1");
    let dump = lab.dpctl("dump-flows dp0");
    assert!(
        dump.lines()
            .any(|line| line.starts_with("in_port(1),eth(),eth_type(0x0800)") && line.ends_with("actions:1")),
        "{dump}"
    );
    lab.dpctl("del-flow dp0 in_port(1),eth(),eth_type(0x0800),ipv4()");
    assert_eq!(lab.dpctl("dump-flows dp0").lines().count(), 3);
    let said = lab.try_dpctl("del-flow dp0 in_port(1),eth(),eth_type(0x0800),ipv4()");
    assert!(!said.ok && said.err.contains("No such file or directory"), "{said:?}");
    assert!(!lab.hosts[0].reaches("10.1.0.2"));
    lab.dpctl("del-flows dp0");
    assert_eq!(lab.dpctl("dump-flows dp0"), "");
}

#[test]
fn a_flow_by_its_ufid() {
    let lab = Lab::new(1);
    lab.dpctl("add-dp dp0");
    lab.dpctl("add-if dp0 p1");
    let ufid = "ufid:00112233-4455-6677-8899-aabbccddeeff";
    lab.dpctl(&format!("add-flow dp0 {ufid},in_port(1),eth(),eth_type(0x0806),arp() 1"));
    let flow = lab.dpctl(&format!("get-flow dp0 {ufid}"));
    assert!(flow.contains("eth_type(0x0806)") && flow.contains("actions:1"), "{flow}");
    assert!(lab.dpctl("-m dump-flows dp0").contains(ufid));
    lab.dpctl(&format!("del-flow dp0 {ufid}"));
    assert!(!lab.try_dpctl(&format!("get-flow dp0 {ufid}")).ok);
}

#[test]
fn without_the_daemon_there_is_no_module() {
    let mut lab = Lab::new(0);
    lab.stop_daemon();
    let said = lab.try_dpctl("show");
    let lines: Vec<&str> = said.err.lines().filter(|line| line.starts_with("portway: ")).collect();
    assert!(matches!(lines[..], [line] if line.contains("run/netlink.sock")), "{said:?}");
    assert!(said.err.contains("'ovs_datapath' does not exist"), "{said:?}");
}

#[test]
fn the_command_line_shows_what_netlink_clients_made() {
    let lab = Lab::new(2);
    lab.dpctl("add-dp dp0");
    lab.dpctl("add-if dp0 p1");
    lab.dpctl("add-flow dp0 in_port(1),eth(),eth_type(0x0806),arp() 2");
    assert!(lab.portway("bridge add br0").ok);
    lab.dpctl("add-if br0 p2");
    let shown = |arguments: &str| {
        let said = lab.portway(arguments);
        assert!(said.ok, "portway {arguments}: {said:?}\n{}", lab.daemon_log());
        said.out
    };
    let show = shown("show");
    assert!(show.contains("\ndatapath dp0, of a netlink client: 1 flow, 0 hit, "), "{show}");
    let is_shown = |list: &str, port: &str, bridge: &str| {
        let mut lines = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines.any(|words| words.starts_with(&[port, bridge]))
    };
    for list in [&show, &shown("port list"), &shown("port stats")] {
        for (port, bridge) in [("dp0", "dp0"), ("p1", "dp0"), ("br0", "br0"), ("p2", "br0")] {
            assert!(is_shown(list, port, bridge), "{port} of {bridge}: {list}");
        }
    }
    assert!(shown("port list").contains("netlink client"));
    let list = shown("port list dp0");
    assert!(is_shown(&list, "p1", "dp0") && !is_shown(&list, "p2", "br0"), "{list}");
    let json: serde_json::Value = serde_json::from_str(&shown("--json show")).unwrap();
    assert_eq!(json["datapaths"][0]["ports"][1]["name"], "p1");

    // Its flows: listed, added, deleted.
    let flow = "in_port(1),eth(),eth_type(0x0806)";
    let listed = shown("flow list dp0");
    assert!(listed.starts_with(flow) && listed.ends_with("used:never, actions:2\n"), "{listed}");
    shown("flow add br0 in_port(1),eth() drop");
    let all = shown("flow list");
    assert!(all.contains(&format!("dp0: {flow}")) && all.contains("br0: in_port(1)"), "{all}");
    shown("flow add dp0 in_port(p1),eth(),eth_type(0x0800) drop");
    assert!(lab.dpctl("dump-flows dp0").contains("actions:drop"));
    shown("flow del dp0 --all");
    assert_eq!(lab.dpctl("dump-flows dp0"), "");

    let said = lab.portway("port del p1");
    assert!(!said.ok && said.err.contains("\"p1\" was added by a netlink client"), "{said:?}");
    let said = lab.portway("flow list dp1");
    assert!(!said.ok && said.err.contains("there is no bridge \"dp1\""), "{said:?}");
}

#[test]
fn who_may_do_what() {
    let lab = Lab::new(1);
    lab.dpctl("add-dp dp0");
    lab.dpctl("add-if dp0 p1");
    // The programs and the socket are in folders that are the test's own.
    let run_as = |who: &[&str], arguments: &str| {
        let mut command = lab.switch.command(who[0]);
        command.args(&who[1..]).args(arguments.split(' '));
        command.env("LD_PRELOAD", lab.preload()).env("PORTWAY_SOCKET", lab.path("run/netlink.sock"));
        said(&mut command)
    };
    lab.open_to_everybody();
    // `ovs-dpctl` sets a datapath's features whenever it opens one, so it may not even look, as with the kernel.
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "ovs-dpctl"];
    let powerless = ["setpriv", "--bounding-set=-all", "ovs-dpctl"];
    for who in [&nobody[..], &powerless] {
        for asked in
            ["show dp0", "add-dp dp1", "del-dp dp0", "add-if dp0 lo", "del-if dp0 p1", "del-flows dp0"]
        {
            let said = run_as(who, asked);
            assert!(!said.ok && said.err.contains("Operation not permitted"), "{who:?} {asked}: {said:?}");
        }
    }
    // Root of another user namespace is not root here.
    let other = ["unshare", "--user", "--map-root-user", "ovs-dpctl"];
    let said = run_as(&other, "del-dp dp0");
    assert!(!said.ok, "{said:?}");
    assert!(lab.dpctl("show").contains("port 1: p1"));
}

/// The daemon with no more than its unit gives it: capabilities, and a /proc that hides what it may not look at.
#[test]
fn the_units_capabilities_are_enough() {
    let unit = include_str!("../../../dist/portwayd.service");
    let line = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
    let names: Vec<String> =
        line.split(' ').map(|name| format!("+{}", name.trim_start_matches("CAP_").to_lowercase())).collect();
    let mut lab = Lab::new(2);
    lab.kill_daemon();
    let hide = "mount -t proc -o hidepid=invisible proc /proc; exec \"$@\"";
    let bounds = format!("-all,{}", names.join(","));
    lab.start_daemon_as(&[
        "unshare",
        "--mount",
        "sh",
        "-ec",
        hide,
        "sh",
        "setpriv",
        "--bounding-set",
        &bounds,
        "--inh-caps=-all",
        "--no-new-privs",
    ]);
    lab.dpctl("add-dp dp0");
    lab.dpctl("add-if dp0 p1 p2 int1,type=internal");
    lab.dpctl("add-flow dp0 in_port(1),eth(),eth_type(0x0806),arp() 2");
    lab.dpctl("add-flow dp0 in_port(2),eth(),eth_type(0x0806),arp() 1");
    lab.dpctl("add-flow dp0 in_port(1),eth(),eth_type(0x0800),ipv4() 2");
    lab.dpctl("add-flow dp0 in_port(2),eth(),eth_type(0x0800),ipv4() 1");
    lab.hosts[0].awaits("10.1.0.2");
}

/// All that `golden/dpctl.sh` asks is answered as the kernel's module answered it.
#[test]
fn the_same_as_on_the_kernel() {
    let lab = Lab::new(3);
    let mut command = lab.switch.command("sh");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/dpctl.sh"));
    let socket = lab.path("run/netlink.sock");
    let preload = lab.preload();
    let program =
        format!("env LD_PRELOAD={} PORTWAY_SOCKET={} ovs-dpctl", preload.display(), socket.display());
    let ours = said(command.env("DPCTL", program));
    let (mut ours, mut kernels) = (ours.out.lines(), include_str!("golden/dpctl.txt").lines());
    let mut asked = "";
    loop {
        let (our, kernel) = (ours.next(), kernels.next());
        assert_eq!(our, kernel, "{asked}");
        match our {
            Some(line) if line.starts_with("$ ") => asked = line,
            Some(_) => {}
            None => break,
        }
    }
}
