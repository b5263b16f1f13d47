// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What there is, as replies say it.

use std::collections::BTreeMap;
use std::sync::Arc;

use portway_api::{
    BridgeInfo, DropLine, Failure, FdbLine, ModuleInfo, Origin, PortInfo, PortSpec, PortState, PortStats,
    Show,
};
use portway_buf::DropReason;
use portway_datapath::Datapath;
use portway_flow::MacAddr;
use portway_vport::Vport;

use super::datapaths::{other_port_info, others};
use super::ports::no_port;
use super::{Control, Entry, Tables};

/// Which ports.
#[derive(Default)]
pub(super) struct Filter<'a> {
    pub(super) bridge: Option<&'a str>,
    pub(super) name: Option<&'a str>,
    pub(super) netns: Option<&'a str>,
}

impl Filter<'_> {
    pub(super) fn takes(&self, name: &str, netns: Option<&str>) -> bool {
        self.name.is_none_or(|wanted| wanted == name) && (self.netns.is_none() || self.netns == netns)
    }
}

impl Control {
    pub(super) fn show(&self, tables: &Tables) -> Show {
        Show {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: self.facts.started.elapsed().as_secs(),
            workers: self.facts.workers,
            config: self.facts.config_path.as_ref().map(|path| path.display().to_string()),
            bridges: self.bridges(tables),
            datapaths: self.other_datapaths(tables).iter().map(|other| self.datapath_info(other)).collect(),
        }
    }

    pub(super) fn bridges(&self, tables: &Tables) -> Vec<BridgeInfo> {
        tables.bridges.values().map(|entry| self.bridge_info(entry)).collect()
    }

    fn bridge_info(&self, entry: &Entry) -> BridgeInfo {
        let (macs, counters) = self.switching.summary(&entry.datapath);
        BridgeInfo {
            name: entry.spec.name.clone(),
            origin: entry.origin,
            aging_s: entry.spec.aging_s,
            mac_limit: entry.spec.mac_limit,
            flood_limit_pps: entry.spec.flood_limit_pps,
            macs: macs as u64,
            flows: entry.datapath.stats().flows as u64,
            counters: counters.iter().map(|(name, count)| (name.to_owned(), count)).collect(),
            ports: port_infos(entry, &Filter::default()),
        }
    }

    pub(super) fn fdb(&self, tables: &Tables, name: &str) -> Result<Vec<FdbLine>, Failure> {
        let entry = tables.bridge(name)?;
        let names: BTreeMap<u32, String> =
            entry.datapath.ports().iter().map(|port| (port.port_no(), port.name().to_string())).collect();
        let lines = self.switching.fdb(&entry.datapath).into_iter().map(|line| FdbLine {
            vlan: line.vlan,
            mac: line.mac.to_string(),
            port: names.get(&line.port_no).cloned().unwrap_or_else(|| line.port_no.to_string()),
            port_no: line.port_no,
            age_s: line.age_ns / 1_000_000_000,
            held: line.held,
        });
        Ok(lines.collect())
    }

    pub(super) fn ports(&self, tables: &Tables, filter: &Filter<'_>) -> Result<Vec<PortInfo>, Failure> {
        let mut infos = Vec::new();
        for place in self.places(tables, filter.bridge)? {
            infos.extend(match place {
                Place::Bridge(entry) => port_infos(entry, filter),
                Place::Other(datapath) => self.ports_of_other(&datapath, filter),
            });
        }
        Ok(infos)
    }

    pub(super) fn port_stats(&self, tables: &Tables, filter: &Filter<'_>) -> Result<Vec<PortStats>, Failure> {
        let mut lines = Vec::new();
        for place in self.places(tables, filter.bridge)? {
            match place {
                Place::Bridge(entry) => lines.extend(stats_of_bridge(entry, filter)),
                Place::Other(datapath) => {
                    let bridge = datapath.name().to_string();
                    for info in self.ports_of_other(&datapath, filter) {
                        let port = info.port_no.and_then(|number| datapath.port(number));
                        lines.extend(port.map(|port| stats_of(&bridge, &info.name, &port)));
                    }
                }
            }
        }
        if let (true, Some(name)) = (lines.is_empty(), filter.name) {
            return Err(no_port(tables, &(filter.netns.map(str::to_owned), name.to_owned())));
        }
        Ok(lines)
    }

    /// Bridges and other datapaths; with a name, the one that has it.
    pub(super) fn places<'t>(
        &self,
        tables: &'t Tables,
        name: Option<&str>,
    ) -> Result<Vec<Place<'t>>, Failure> {
        let Some(name) = name else {
            let others = self.other_datapaths(tables).into_iter().map(Place::Other);
            return Ok(tables.bridges.values().map(Place::Bridge).chain(others).collect());
        };
        Ok(vec![match tables.bridges.get(name) {
            Some(entry) => Place::Bridge(entry),
            None => Place::Other(self.datapath_named(tables, name)?),
        }])
    }

    pub(super) fn modules(&self) -> Vec<ModuleInfo> {
        let list = self.switch.registry().list();
        let info = |kind: portway_vport::TypeInfo| ModuleInfo {
            port_type: kind.port_type,
            name: kind.name,
            ports: kind.references as u64,
            path: kind.file.map(|file| file.display().to_string()),
            faults: kind.faults,
        };
        list.into_iter().map(info).collect()
    }

    pub(super) fn drops(&self) -> Vec<DropLine> {
        let mut totals: BTreeMap<DropReason, u64> = BTreeMap::new();
        for datapath in self.switch.datapaths() {
            for (reason, count) in datapath.drops().iter() {
                *totals.entry(reason).or_default() += count;
            }
        }
        let line = |(reason, packets): (DropReason, u64)| DropLine {
            reason: reason.name().to_owned(),
            packets,
            explanation: reason.explanation().trim().to_owned(),
        };
        totals.into_iter().map(line).collect()
    }
}

/// Where ports and flows are.
pub(super) enum Place<'t> {
    /// In a bridge.
    Bridge(&'t Entry),
    /// In a datapath that a netlink client made.
    Other(Arc<Datapath>),
}

fn stats_of_bridge(entry: &Entry, filter: &Filter<'_>) -> Vec<PortStats> {
    let bridge = &entry.spec.name;
    let mut lines = Vec::new();
    let own = entry.datapath.port(0).filter(|_| filter.takes(bridge, None));
    lines.extend(own.map(|port| stats_of(bridge, bridge, &port)));
    for ((netns, name), port) in &entry.ports {
        let live = port.live().filter(|_| filter.takes(name, netns.as_deref()));
        lines.extend(live.map(|live| stats_of(bridge, name, &live)));
    }
    for port in others(entry) {
        let name = port.name().to_string();
        lines.extend(filter.takes(&name, None).then(|| stats_of(bridge, &name, &port)));
    }
    lines
}

fn port_infos(entry: &Entry, filter: &Filter<'_>) -> Vec<PortInfo> {
    let mut infos = Vec::new();
    if filter.takes(&entry.spec.name, None) {
        let spec = PortSpec {
            port_type: entry.own_type.clone(),
            vlans: entry.own_vlans.clone(),
            ..PortSpec::new(&entry.spec.name)
        };
        let own = entry.datapath.port(0);
        infos.push(port_info(&entry.spec.name, &spec, Origin::Bridge, own.as_deref(), None));
    }
    for ((netns, name), port) in &entry.ports {
        if filter.takes(name, netns.as_deref()) {
            infos.push(port_info(
                &entry.spec.name,
                &port.spec,
                port.origin,
                port.live().as_deref(),
                port.problem.as_ref(),
            ));
        }
    }
    let others = others(entry).into_iter().map(|port| other_port_info(&entry.spec.name, None, &port));
    infos.extend(others.filter(|info| filter.takes(&info.name, None)));
    infos
}

pub(super) fn port_info(
    bridge: &str,
    spec: &PortSpec,
    origin: Origin,
    live: Option<&Vport>,
    problem: Option<&Failure>,
) -> PortInfo {
    let info = live.map(Vport::info);
    let mac = info.map(|info| MacAddr(info.mac)).filter(|mac| !mac.is_zero());
    PortInfo {
        name: live.map_or_else(|| spec.name.clone(), |live| live.name().to_string()),
        bridge: bridge.to_owned(),
        port_type: live.map_or_else(|| spec.port_type.clone(), |live| live.kind().name().to_owned()),
        port_no: live.map(Vport::port_no),
        state: if live.is_some() { PortState::Attached } else { PortState::Pending },
        problem: problem.map(|problem| problem.message.clone()),
        origin,
        vlans: spec.vlans.clone(),
        netns: spec.netns.clone(),
        mac: mac.map(|mac| mac.to_string()),
        mtu: live.and_then(Vport::mtu),
        link_up: info.map(|info| info.link_up != 0),
        options: spec.options.clone(),
    }
}

fn stats_of(bridge: &str, name: &str, port: &Vport) -> PortStats {
    let stats = port.stats();
    PortStats {
        name: name.to_owned(),
        bridge: bridge.to_owned(),
        port_no: port.port_no(),
        rx_packets: stats.rx_packets,
        rx_bytes: stats.rx_bytes,
        rx_dropped: stats.rx_dropped,
        rx_errors: stats.rx_errors,
        tx_packets: stats.tx_packets,
        tx_bytes: stats.tx_bytes,
        tx_dropped: stats.tx_dropped,
        tx_errors: stats.tx_errors,
    }
}
