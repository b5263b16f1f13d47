// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What netlink clients made: datapaths without a bridge, and ports that they added to a bridge's datapath. Shown like the daemon's own;
//! theirs to change and to delete.

use std::collections::HashSet;
use std::sync::Arc;

use portway_api::{DatapathInfo, Failure, Origin, PortInfo, PortSpec};
use portway_datapath::Datapath;
use portway_vport::Vport;

use super::ports::resolve;
use super::report::{Filter, port_info};
use super::{Control, Entry, PortKey, Tables};

impl Control {
    /// Datapaths without a bridge.
    pub(super) fn other_datapaths(&self, tables: &Tables) -> Vec<Arc<Datapath>> {
        let mut datapaths = self.switch.datapaths();
        datapaths
            .retain(|datapath| tables.bridges.values().all(|entry| !Arc::ptr_eq(&entry.datapath, datapath)));
        datapaths
    }

    /// The datapath of a bridge, or the one of that name that a netlink client made: in the daemon's namespace, if there are several.
    pub(super) fn datapath_named(&self, tables: &Tables, name: &str) -> Result<Arc<Datapath>, Failure> {
        let refusal = match tables.bridge(name) {
            Ok(entry) => return Ok(Arc::clone(&entry.datapath)),
            Err(refusal) => refusal,
        };
        let mut others = self.other_datapaths(tables);
        others.retain(|datapath| datapath.name().as_bytes() == name.as_bytes());
        let own = others.iter().position(|datapath| datapath.netns().id() == self.netns.id()).unwrap_or(0);
        others.into_iter().nth(own).ok_or(refusal)
    }

    /// The namespace of a netlink client's datapath, if it is not the daemon's: nobody told its name.
    fn netns_of(&self, datapath: &Datapath) -> Option<String> {
        let netns = datapath.netns().id();
        (netns != self.netns.id()).then(|| netns.to_string())
    }

    pub(super) fn datapath_info(&self, datapath: &Datapath) -> DatapathInfo {
        let stats = datapath.stats();
        DatapathInfo {
            name: datapath.name().to_string(),
            netns: self.netns_of(datapath),
            flows: stats.flows as u64,
            hit: stats.hit,
            missed: stats.missed,
            lost: stats.lost,
            ports: self.ports_of_other(datapath, &Filter::default()),
        }
    }

    /// The ports of a netlink client's datapath.
    pub(super) fn ports_of_other(&self, datapath: &Datapath, filter: &Filter<'_>) -> Vec<PortInfo> {
        let (bridge, netns) = (datapath.name().to_string(), self.netns_of(datapath));
        let ports = datapath.ports();
        let infos = ports.iter().map(|port| other_port_info(&bridge, netns.clone(), port));
        infos.filter(|info| filter.takes(&info.name, info.netns.as_deref())).collect()
    }

    /// The port of that name that a netlink client added, to whichever datapath.
    pub(super) fn other_port(&self, (netns, name): &PortKey) -> Option<Arc<Vport>> {
        let netns = match netns {
            Some(netns) => resolve(netns).ok()?.id(),
            None => self.netns.id(),
        };
        self.switch.port_named(netns, &super::bridges::port_name(name).ok()?)
    }
}

/// A netlink client's port.
pub(super) fn other_port_info(bridge: &str, netns: Option<String>, port: &Vport) -> PortInfo {
    let spec = PortSpec { netns, ..PortSpec::new(&port.name().to_string()) };
    port_info(bridge, &spec, Origin::Netlink, Some(port), None)
}

/// The ports of a bridge that netlink clients added.
pub(super) fn others(entry: &Entry) -> Vec<Arc<Vport>> {
    let known: HashSet<u32> =
        entry.ports.values().filter_map(|port| Some(port.live()?.port_no())).chain([0]).collect();
    entry.datapath.ports().into_iter().filter(|port| !known.contains(&port.port_no())).collect()
}
