// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Replies, for people.

use portway_api::{
    BridgeInfo, Done, DropLine, FdbLine, FlowLine, ModuleInfo, Origin, PortInfo, PortState, PortStats, Reply,
    Show, Vlans,
};

use crate::table::Table;

/// A reply as text that ends with a newline.
pub(crate) fn text(reply: &Reply) -> String {
    match reply {
        Reply::Done(done) => self::done(done),
        Reply::Show(show) => self::show(show),
        Reply::Bridges(bridges) => self::bridges(bridges),
        Reply::Fdb(lines) => fdb(lines),
        Reply::Ports(ports) => self::ports(ports),
        Reply::PortStats(stats) => port_stats(stats),
        Reply::Flows(flows) => self::flows(flows),
        Reply::Modules(modules) => self::modules(modules),
        Reply::Drops(lines) => drops(lines),
        Reply::CaptureStarted => String::new(),
    }
}

fn done(done: &Done) -> String {
    let warnings: String = done.warnings.iter().map(|warning| format!("note: {warning}\n")).collect();
    format!("{}\n{warnings}", done.message)
}

fn show(show: &Show) -> String {
    let config = show.config.as_deref().unwrap_or("no config file");
    let workers = count(show.workers as u64, "worker");
    let up = duration(show.uptime_s);
    let mut text = format!("portwayd {}, pid {}, up {up}, {workers}, {config}\n", show.version, show.pid);
    for bridge in &show.bridges {
        let (macs, flows) = (count(bridge.macs, "address"), count(bridge.flows, "flow"));
        text.push_str(&format!("\nbridge {}: {macs}, {flows}\n", bridge.name));
        let ports = self::ports(&bridge.ports);
        text.extend(ports.lines().map(|line| format!("  {line}\n")));
    }
    for datapath in &show.datapaths {
        let netns = datapath.netns.as_deref().map(|netns| format!(" in {netns}")).unwrap_or_default();
        let flows = count(datapath.flows, "flow");
        text.push_str(&format!(
            "\ndatapath {}{netns}, of a netlink client: {flows}, {} hit, {} missed, {} lost\n",
            datapath.name, datapath.hit, datapath.missed, datapath.lost
        ));
        let ports = self::ports(&datapath.ports);
        text.extend(ports.lines().map(|line| format!("  {line}\n")));
    }
    if show.bridges.is_empty() && show.datapaths.is_empty() {
        text.push_str("\nno bridges; make one: portway bridge add br0\n");
    }
    text
}

fn bridges(bridges: &[BridgeInfo]) -> String {
    let mut table = Table::new(&[
        "bridge",
        ">ports",
        ">addresses",
        ">flows",
        ">aging",
        ">limit",
        ">flood/s",
        "wanted by",
    ]);
    for bridge in bridges {
        let flood =
            if bridge.flood_limit_pps == 0 { "-".to_owned() } else { bridge.flood_limit_pps.to_string() };
        table.row([
            bridge.name.clone(),
            bridge.ports.len().to_string(),
            bridge.macs.to_string(),
            bridge.flows.to_string(),
            duration(bridge.aging_s),
            bridge.mac_limit.to_string(),
            flood,
            origin(bridge.origin).to_owned(),
        ]);
    }
    table.render("no bridges; make one: portway bridge add br0")
}

fn fdb(lines: &[FdbLine]) -> String {
    let mut table = Table::new(&["address", ">vlan", "port", ">age", "note"]);
    for line in lines {
        let vlan = if line.vlan == 0 { "-".to_owned() } else { line.vlan.to_string() };
        let note = if line.held { "held: moves too often" } else { "" };
        table.row([line.mac.clone(), vlan, line.port.clone(), duration(line.age_s), note.to_owned()]);
    }
    table.render("no addresses learned")
}

fn ports(ports: &[PortInfo]) -> String {
    let mut table = Table::new(&[
        "port",
        "bridge",
        ">no",
        "type",
        "vlan",
        "netns",
        "address",
        ">mtu",
        "state",
        "wanted by",
    ]);
    for port in ports {
        let dash = || "-".to_owned();
        table.row([
            port.name.clone(),
            port.bridge.clone(),
            port.port_no.map_or_else(dash, |number| number.to_string()),
            port.port_type.clone(),
            vlans(&port.vlans),
            port.netns.clone().unwrap_or_else(dash),
            port.mac.clone().unwrap_or_else(dash),
            port.mtu.map_or_else(dash, |mtu| mtu.to_string()),
            state(port),
            origin(port.origin).to_owned(),
        ]);
    }
    table.render("no ports; connect one: portway port add br0 veth1")
}

fn vlans(vlans: &Vlans) -> String {
    let list = |ids: &[u16]| ids.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
    match (vlans.access, &vlans.trunk[..], vlans.native) {
        (Some(vlan), ..) => format!("access {vlan}"),
        (None, [], None) => "all".to_owned(),
        (None, [], Some(native)) => format!("all, native {native}"),
        (None, trunk, None) => format!("trunk {}", list(trunk)),
        (None, trunk, Some(native)) => format!("trunk {}, native {native}", list(trunk)),
    }
}

fn state(port: &PortInfo) -> String {
    match (port.state, &port.problem) {
        (PortState::Attached, _) if port.link_up == Some(false) => "link down".to_owned(),
        (PortState::Attached, _) => "up".to_owned(),
        (PortState::Pending, Some(problem)) => format!("waiting: {problem}"),
        (PortState::Pending, None) => "waiting".to_owned(),
    }
}

fn port_stats(stats: &[PortStats]) -> String {
    let mut table = Table::new(&[
        "port",
        "bridge",
        ">rx packets",
        ">bytes",
        ">dropped",
        ">errors",
        ">tx packets",
        ">bytes",
        ">dropped",
        ">errors",
    ]);
    for port in stats {
        let numbers = [
            port.rx_packets,
            port.rx_bytes,
            port.rx_dropped,
            port.rx_errors,
            port.tx_packets,
            port.tx_bytes,
            port.tx_dropped,
            port.tx_errors,
        ];
        let names = [port.name.clone(), port.bridge.clone()];
        table.row(names.into_iter().chain(numbers.map(|number| number.to_string())));
    }
    table.render("no ports")
}

fn flows(flows: &[FlowLine]) -> String {
    let first = flows.first().map(|flow| &flow.bridge);
    let of_several = flows.iter().any(|flow| Some(&flow.bridge) != first);
    let line = |flow: &FlowLine| {
        let used =
            flow.used_ms.map_or_else(|| "never".to_owned(), |ms| format!("{}.{:03}s", ms / 1000, ms % 1000));
        let flags =
            if flow.tcp_flags == 0 { String::new() } else { format!(", tcp_flags:{:#05x}", flow.tcp_flags) };
        let shortcut = if flow.has_shortcut { ", shortcut" } else { "" };
        let by_hand = if flow.by_hand { ", by hand" } else { "" };
        let actions = if flow.actions.is_empty() { "drop" } else { &flow.actions };
        let FlowLine { packets, bytes, .. } = flow;
        let place = if of_several { format!("{}: ", flow.bridge) } else { String::new() };
        let flow = &flow.flow;
        format!(
            "{place}{flow}, packets:{packets}, bytes:{bytes}, used:{used}{flags}{shortcut}{by_hand}, actions:{actions}\n"
        )
    };
    if flows.is_empty() { "no flows\n".to_owned() } else { flows.iter().map(line).collect() }
}

fn modules(modules: &[ModuleInfo]) -> String {
    let mut table = Table::new(&["type", ">number", ">ports", ">faults", "file"]);
    for module in modules {
        table.row([
            module.name.clone(),
            module.port_type.to_string(),
            module.ports.to_string(),
            module.faults.to_string(),
            module.path.clone().unwrap_or_else(|| "built in".to_owned()),
        ]);
    }
    table.render("no port types")
}

fn drops(lines: &[DropLine]) -> String {
    let mut table = Table::new(&["reason", ">packets", "meaning"]);
    for line in lines {
        table.row([line.reason.clone(), line.packets.to_string(), line.explanation.clone()]);
    }
    table.render("no packet was dropped")
}

fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Config => "config file",
        Origin::Runtime => "command line",
        Origin::Bridge => "bridge",
        Origin::Netlink => "netlink client",
    }
}

fn count(number: u64, what: &str) -> String {
    let plural = if what.ends_with('s') { "es" } else { "s" };
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}{plural}") }
}

/// Seconds, in at most two units.
fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |large: u64, unit: char, small: u64, small_unit: char| {
        if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit}{small}{small_unit}") }
    };
    if days > 0 {
        two(days, 'd', hours % 24, 'h')
    } else if hours > 0 {
        two(hours, 'h', minutes % 60, 'm')
    } else if minutes > 0 {
        two(minutes, 'm', seconds % 60, 's')
    } else {
        format!("{seconds}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units() {
        let texts = [0, 59, 60, 61, 300, 3600, 7260, 86_400, 90_000].map(duration);
        assert_eq!(texts, ["0s", "59s", "1m", "1m1s", "5m", "1h", "2h1m", "1d", "1d1h"]);
    }

    #[test]
    fn flows_read_as_ovs_dpctl_writes_them() {
        let flow = FlowLine {
            bridge: "br0".to_owned(),
            flow: "in_port(1),eth_type(0x0800)".to_owned(),
            actions: "2".to_owned(),
            packets: 3,
            bytes: 180,
            used_ms: Some(1234),
            tcp_flags: 0x10,
            has_shortcut: true,
            by_hand: true,
        };
        let dropping = FlowLine {
            actions: String::new(),
            used_ms: None,
            tcp_flags: 0,
            has_shortcut: false,
            by_hand: false,
            ..flow.clone()
        };
        assert_eq!(
            text(&Reply::Flows(vec![flow.clone(), dropping])),
            "in_port(1),eth_type(0x0800), packets:3, bytes:180, used:1.234s, tcp_flags:0x010, shortcut, by hand, actions:2\n\
             in_port(1),eth_type(0x0800), packets:3, bytes:180, used:never, actions:drop\n"
        );
        let elsewhere = FlowLine { bridge: "br1".to_owned(), ..flow.clone() };
        let all = text(&Reply::Flows(vec![flow, elsewhere]));
        assert!(all.starts_with("br0: in_port(1)") && all.contains("\nbr1: in_port(1)"), "{all}");
    }

    #[test]
    fn vlans_are_named() {
        let cases = [
            (Some(1), vec![], None, "access 1"),
            (None, vec![], None, "all"),
            (None, vec![], Some(3), "all, native 3"),
            (None, vec![1, 2], None, "trunk 1,2"),
            (None, vec![1], Some(3), "trunk 1, native 3"),
        ];
        for (access, trunk, native, said) in cases {
            assert_eq!(vlans(&Vlans { access, trunk, native }), said);
        }
    }
}
