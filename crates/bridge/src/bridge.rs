// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The switch: ports, the forwarding database, the flows; what a miss does.

use std::collections::BTreeMap;

use portway_flow::{Action, FlowKey, FlowMask};

use crate::decide::{Decision, Reason};
use crate::fdb::{Fdb, FdbEntry, Learned, Station};
use crate::flows::{Flow, FlowId, Flows};
use crate::matching::{Frame, Match};
use crate::settings::Settings;
use crate::vlan::PortVlan;

/// Why a change of the bridge is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The port is already in the bridge.
    #[error("port {0} is already in the bridge")]
    PortExists(u32),
    /// There is no such port in the bridge.
    #[error("port {0} is not in the bridge")]
    NoSuchPort(u32),
}

/// What is to be done to a packet that missed.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Why.
    pub reason: Reason,
    /// What to do; empty: drop.
    pub actions: Vec<Action>,
}

/// A change of the datapath's flow table, to be carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlowChange {
    /// Add the flow, or give the flow of this id other actions. If it cannot be done: [`Bridge::flow_gone`].
    Put {
        /// The flow.
        id: FlowId,
        /// Already masked.
        key: Box<FlowKey>,
        /// What is matched.
        mask: Box<FlowMask>,
        /// Empty: drop.
        actions: Vec<Action>,
    },
    /// Delete the flow.
    Delete {
        /// The flow.
        id: FlowId,
    },
}

/// A flow's statistics, as the datapath counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowStats {
    /// Packets so far.
    pub packets: u64,
    /// When the last one came; 0: never.
    pub used_ns: u64,
}

/// Declares the counters once: the struct and the names derive from it.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $field:ident,)+) => {
        /// What happened in a bridge since it was made. Frames are counted where the bridge sees them: at the first of a flow.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters { $($(#[doc = $doc])+ pub $field: u64,)+ }

        impl Counters {
            /// Every counter with its name.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field),)+].into_iter()
            }
        }
    };
}

counters! {
    /// Misses handled.
    upcalls,
    /// Addresses learned.
    learned,
    /// Addresses that moved to another port.
    moved,
    /// Addresses that moved too often and were held.
    held,
    /// Addresses that were forgotten because they were silent.
    aged,
    /// Addresses that were pushed out of a full table.
    evicted,
    /// Misses that were flooded.
    flooded,
    /// Misses that were dropped, by [`Reason`]: to the port they came from.
    drop_hairpin,
    /// To a port that does not carry the VLAN.
    drop_not_carried,
    /// To a reserved address.
    drop_reserved,
    /// From an address that is none.
    drop_bad_source,
    /// With a VLAN that the port does not take.
    drop_vlan,
    /// From an address that is held at another port.
    drop_held,
    /// From a port over the flood limit.
    drop_storm,
    /// Without an Ethernet header, or from a port that has just gone.
    drop_other,
    /// How often a port was over the flood limit.
    storms,
    /// Flows that were not installed because the bridge's limit was reached.
    flow_limit_hits,
}

/// What the bridge is told about a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSettings {
    /// How it takes part in VLANs.
    pub vlan: PortVlan,
    /// Whether what leaves here can come back at another port. A port that is no device (a replayed file) cannot be part of a loop: the
    /// flood limit is not for it.
    pub may_loop: bool,
}

impl Default for PortSettings {
    fn default() -> Self {
        Self { vlan: PortVlan::default(), may_loop: true }
    }
}

#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) vlan: PortVlan,
    pub(crate) may_loop: bool,
    pub(crate) is_up: bool,
    pub(crate) storm: Storm,
}

/// The flood limit's state at one port.
#[derive(Debug, Default)]
pub(crate) struct Storm {
    /// Floods are dropped until the first tick at or after this time.
    pub(crate) until_ns: Option<u64>,
    /// Packets flooded since the last tick.
    pub(crate) packets: u64,
}

/// One learning switch.
#[derive(Debug)]
pub struct Bridge {
    pub(crate) settings: Settings,
    pub(crate) ports: BTreeMap<u32, Port>,
    pub(crate) fdb: Fdb,
    pub(crate) flows: Flows,
    /// Flows that somebody added by hand: the bridge's own keep clear of them.
    pub(crate) by_hand: Vec<(FlowKey, FlowMask)>,
    pub(crate) last_tick_ns: u64,
    pub(crate) counters: Counters,
}

impl Bridge {
    /// A switch without ports.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            ports: BTreeMap::new(),
            fdb: Fdb::default(),
            flows: Flows::default(),
            by_hand: Vec::new(),
            last_tick_ns: 0,
            counters: Counters::default(),
        }
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The owner's choices.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// Addresses known.
    pub fn fdb_len(&self) -> usize {
        self.fdb.len()
    }

    /// The forwarding database, in the order of VLAN and address.
    pub fn fdb(&self, now_ns: u64) -> impl Iterator<Item = FdbEntry> + '_ {
        self.fdb.dump(now_ns)
    }

    /// Flows in the datapath.
    pub fn flow_len(&self) -> usize {
        self.flows.len()
    }

    /// How a port takes part in VLANs.
    pub fn port_vlan(&self, port_no: u32) -> Option<&PortVlan> {
        self.ports.get(&port_no).map(|port| &port.vlan)
    }

    /// A packet missed: learns from it, says what to do with it, and which flow does that from now on.
    pub fn handle_upcall(&mut self, key: &FlowKey, now_ns: u64, changes: &mut Vec<FlowChange>) -> Verdict {
        let frame = Frame::of(key);
        self.counters.upcalls += 1;
        if let Ok(vlan) = self.admit(&frame) {
            self.learn((vlan, frame.src), frame.in_port, now_ns, changes);
        }
        let mut decision = self.decide(&frame);
        if decision.reason == Reason::Flood && !self.flood_is_allowed(frame.in_port, now_ns, changes) {
            decision = self.decide(&frame);
        }
        self.count(decision.reason);
        let verdict = Verdict { reason: decision.reason, actions: decision.actions.clone() };
        if decision.reason != Reason::NoSuchPort {
            self.install(key, frame, decision, now_ns, changes);
        }
        verdict
    }

    fn install(
        &mut self,
        key: &FlowKey,
        frame: Frame,
        decision: Decision,
        now_ns: u64,
        changes: &mut Vec<FlowChange>,
    ) {
        let Decision { reason, shape, vlan, actions } = decision;
        let mut matching = Match::new(frame, shape);
        if !self.by_hand.is_empty() {
            matching.narrow(key, &self.by_hand);
        }
        if let Some(id) = self.flows.find(&matching) {
            // Several packets missed before the first one's flow was in place.
            self.replace(id, reason, actions, changes);
            return;
        }
        if self.flows.len() >= self.settings.flow_limit {
            self.counters.flow_limit_hits += 1;
            return;
        }
        let (key, mask) = matching.key_and_mask();
        let flow = Flow { matching, vlan, reason, actions: actions.clone(), used_ns: now_ns, packets: 0 };
        let id = self.flows.insert(flow);
        changes.push(FlowChange::Put { id, key: Box::new(key), mask: Box::new(mask), actions });
    }

    fn learn(&mut self, station: Station, port_no: u32, now_ns: u64, changes: &mut Vec<FlowChange>) {
        match self.fdb.learn(station, port_no, now_ns, self.settings.mac_limit) {
            Learned::Same | Learned::Held => return,
            Learned::New { evicted } => {
                self.counters.learned += 1;
                if let Some(evicted) = evicted {
                    self.counters.evicted += 1;
                    self.forgotten(evicted, changes);
                }
            }
            Learned::Moved => self.counters.moved += 1,
            Learned::HeldNow => self.counters.held += 1,
        }
        self.placed(station, changes);
    }

    fn count(&mut self, reason: Reason) {
        let counters = &mut self.counters;
        let counter = match reason {
            Reason::Unicast => return,
            Reason::Flood => &mut counters.flooded,
            Reason::Hairpin => &mut counters.drop_hairpin,
            Reason::NotCarried => &mut counters.drop_not_carried,
            Reason::Reserved => &mut counters.drop_reserved,
            Reason::BadSource => &mut counters.drop_bad_source,
            Reason::VlanRefused => &mut counters.drop_vlan,
            Reason::Held => &mut counters.drop_held,
            Reason::Storm => &mut counters.drop_storm,
            Reason::NotEthernet | Reason::NoSuchPort => &mut counters.drop_other,
        };
        *counter += 1;
    }

    /// Adds a port.
    pub fn port_add(
        &mut self,
        port_no: u32,
        settings: PortSettings,
        changes: &mut Vec<FlowChange>,
    ) -> Result<(), Error> {
        if self.ports.contains_key(&port_no) {
            return Err(Error::PortExists(port_no));
        }
        let PortSettings { vlan, may_loop } = settings;
        self.ports.insert(port_no, Port { vlan, may_loop, is_up: true, storm: Storm::default() });
        self.redecide_all(changes);
        Ok(())
    }

    /// Removes a port: its addresses are forgotten, its flows deleted.
    pub fn port_del(&mut self, port_no: u32, changes: &mut Vec<FlowChange>) -> Result<(), Error> {
        self.ports.remove(&port_no).ok_or(Error::NoSuchPort(port_no))?;
        self.fdb.flush_port(port_no);
        self.redecide_all(changes);
        Ok(())
    }

    /// Changes how a port takes part in VLANs. Its addresses are forgotten if that changes anything.
    pub fn port_set_vlan(
        &mut self,
        port_no: u32,
        vlan: PortVlan,
        changes: &mut Vec<FlowChange>,
    ) -> Result<(), Error> {
        let port = self.ports.get_mut(&port_no).ok_or(Error::NoSuchPort(port_no))?;
        if port.vlan != vlan {
            port.vlan = vlan;
            self.fdb.flush_port(port_no);
            self.redecide_all(changes);
        }
        Ok(())
    }

    /// Says whether a port's link is up: nothing is flooded to one that is down.
    pub fn port_set_link(
        &mut self,
        port_no: u32,
        is_up: bool,
        changes: &mut Vec<FlowChange>,
    ) -> Result<(), Error> {
        let port = self.ports.get_mut(&port_no).ok_or(Error::NoSuchPort(port_no))?;
        if std::mem::replace(&mut port.is_up, is_up) != is_up {
            self.redecide_all(changes);
        }
        Ok(())
    }

    /// Changes the owner's choices; what no longer fits is forgotten at once.
    pub fn reconfigure(&mut self, settings: Settings, changes: &mut Vec<FlowChange>) {
        self.settings = settings;
        for station in self.fdb.shrink(settings.mac_limit) {
            self.counters.evicted += 1;
            self.forgotten(station, changes);
        }
        let excess = self.flows.len().saturating_sub(settings.flow_limit);
        for id in self.flows.ids().into_iter().take(excess) {
            self.delete(id, changes);
        }
    }

    /// Somebody adds a flow by hand: the bridge's flows that could match the same packets are deleted, and later ones keep clear of it.
    pub fn hand_flow_added(&mut self, key: &FlowKey, mask: &FlowMask, changes: &mut Vec<FlowChange>) {
        let overlaps = |flow: &Flow| {
            let (own_key, own_mask) = flow.matching.key_and_mask();
            own_mask.overlaps(&own_key, mask, key)
        };
        let over: Vec<_> = self.flows.iter().filter(|(_, flow)| overlaps(flow)).map(|(id, _)| id).collect();
        over.into_iter().for_each(|id| self.delete(id, changes));
        if !self.by_hand.iter().any(|(known, known_mask)| known == key && known_mask == mask) {
            self.by_hand.push((key.clone(), mask.clone()));
        }
    }

    /// A flow that was added by hand is gone.
    pub fn hand_flow_gone(&mut self, key: &FlowKey, mask: &FlowMask) {
        self.by_hand.retain(|(known, known_mask)| known != key || known_mask != mask);
    }

    /// The datapath does not have this flow (any more): the next packet will miss.
    pub fn flow_gone(&mut self, id: FlowId) {
        self.flows.remove(id);
    }
}
