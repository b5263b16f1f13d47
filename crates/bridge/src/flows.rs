// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The flows that the bridge has in the datapath, and which address each of them depends on.

use std::collections::{BTreeMap, BTreeSet};

use portway_flow::Action;

use crate::decide::Reason;
use crate::fdb::Station;
use crate::matching::Match;

/// Names one flow of one bridge; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId(pub u64);

/// One flow.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) matching: Match,
    /// The frame's VLAN; `None`: refused before it had one.
    pub(crate) vlan: Option<u16>,
    pub(crate) reason: Reason,
    pub(crate) actions: Vec<Action>,
    /// When a packet last used it, or when it was made.
    pub(crate) used_ns: u64,
    /// Packets at the last look at its statistics.
    pub(crate) packets: u64,
}

impl Flow {
    pub(crate) fn source(&self) -> Option<Station> {
        self.vlan.map(|vlan| (vlan, self.matching.frame.src))
    }

    pub(crate) fn destination(&self) -> Option<Station> {
        self.vlan.map(|vlan| (vlan, self.matching.frame.dst))
    }
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    next: u64,
    by_id: BTreeMap<FlowId, Flow>,
    by_match: BTreeMap<Match, FlowId>,
    by_source: BTreeSet<(Station, FlowId)>,
    by_destination: BTreeSet<(Station, FlowId)>,
}

impl Flows {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn find(&self, matching: &Match) -> Option<FlowId> {
        self.by_match.get(matching).copied()
    }

    pub(crate) fn get(&self, id: FlowId) -> Option<&Flow> {
        self.by_id.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: FlowId) -> Option<&mut Flow> {
        self.by_id.get_mut(&id)
    }

    pub(crate) fn insert(&mut self, flow: Flow) -> FlowId {
        self.next += 1;
        let id = FlowId(self.next);
        self.by_source.extend(flow.source().map(|station| (station, id)));
        self.by_destination.extend(flow.destination().map(|station| (station, id)));
        self.by_match.insert(flow.matching.clone(), id);
        self.by_id.insert(id, flow);
        id
    }

    pub(crate) fn remove(&mut self, id: FlowId) -> Option<Flow> {
        let flow = self.by_id.remove(&id)?;
        self.by_match.remove(&flow.matching);
        if let (Some(source), Some(destination)) = (flow.source(), flow.destination()) {
            self.by_source.remove(&(source, id));
            self.by_destination.remove(&(destination, id));
        }
        Some(flow)
    }

    pub(crate) fn ids(&self) -> Vec<FlowId> {
        self.by_id.keys().copied().collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (FlowId, &Flow)> {
        self.by_id.iter().map(|(id, flow)| (*id, flow))
    }

    pub(crate) fn with_source(&self, station: Station) -> Vec<FlowId> {
        range(&self.by_source, station)
    }

    pub(crate) fn with_destination(&self, station: Station) -> Vec<FlowId> {
        range(&self.by_destination, station)
    }
}

fn range(index: &BTreeSet<(Station, FlowId)>, station: Station) -> Vec<FlowId> {
    index.range((station, FlowId(0))..=(station, FlowId(u64::MAX))).map(|(_, id)| *id).collect()
}
