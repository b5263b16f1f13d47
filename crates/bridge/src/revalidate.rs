// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Keeps flows true to the tables: what a change of the forwarding database or of the ports means for the flows that depend on
//! it, and what the flows' statistics mean for the forwarding database.
//!
//! Two rules hold at all times, and the property tests check what follows from them: a flow's actions are what [`Bridge::decide`] would say
//! now; and a flow whose frames the bridge would learn from exists only while their source is known at its input port.

use portway_flow::Action;

use crate::bridge::{Bridge, FlowChange, FlowStats};
use crate::decide::Reason;
use crate::fdb::Station;
use crate::flows::{Flow, FlowId};
use crate::matching::{Match, Shape};
use crate::settings::{IDLE_NS, IDLE_SHORT_NS, SECOND_NS, STORM_NS};

impl Bridge {
    /// To be called about once a second. `stats` gives a flow's statistics, or `None` if the datapath does not have it.
    pub fn handle_tick(
        &mut self,
        now_ns: u64,
        mut stats: impl FnMut(FlowId) -> Option<FlowStats>,
        changes: &mut Vec<FlowChange>,
    ) {
        for id in self.flows.ids() {
            match stats(id) {
                Some(stats) => self.note_use(id, stats),
                None => self.flow_gone(id),
            }
        }
        for station in self.fdb.expire(now_ns, self.settings.aging_ns) {
            self.counters.aged += 1;
            self.forgotten(station, changes);
        }
        for (station, _) in self.fdb.release(now_ns) {
            self.placed(station, changes);
        }
        self.delete_idle(now_ns, changes);
        self.watch_floods(now_ns, changes);
    }

    fn note_use(&mut self, id: FlowId, stats: FlowStats) {
        let Some(flow) = self.flows.get_mut(id) else { return };
        let packets = stats.packets.saturating_sub(flow.packets);
        flow.packets = stats.packets;
        if flow.reason == Reason::Flood
            && let Some(port) = self.ports.get_mut(&flow.matching.frame.in_port)
        {
            port.storm.packets += packets;
        }
        if stats.used_ns <= flow.used_ns {
            return;
        }
        flow.used_ns = stats.used_ns;
        let (source, in_port) = (flow.source(), flow.matching.frame.in_port);
        if let Some(station) = source {
            self.fdb.refresh(station, in_port, stats.used_ns);
        }
    }

    fn delete_idle(&mut self, now_ns: u64, changes: &mut Vec<FlowChange>) {
        let is_crowded = self.flows.len() > self.settings.flow_limit / 2;
        let limit = |reason| if reason == Reason::Unicast && !is_crowded { IDLE_NS } else { IDLE_SHORT_NS };
        let flows = self.flows.iter();
        let idle = flows.filter(|(_, flow)| now_ns.saturating_sub(flow.used_ns) >= limit(flow.reason));
        let idle: Vec<_> = idle.map(|(id, _)| id).collect();
        idle.into_iter().for_each(|id| self.delete(id, changes));
    }

    /// Counts a flooded miss; false: it is one too many, and the port's floods are dropped from now on.
    pub(crate) fn flood_is_allowed(
        &mut self,
        port_no: u32,
        now_ns: u64,
        changes: &mut Vec<FlowChange>,
    ) -> bool {
        let limit = self.settings.flood_limit_pps;
        let Some(port) = self.ports.get_mut(&port_no) else { return true };
        port.storm.packets += 1;
        if limit == 0 || !port.may_loop || port.storm.packets <= limit {
            return true;
        }
        port.storm.until_ns = Some(now_ns + STORM_NS);
        self.counters.storms += 1;
        self.redecide_all(changes);
        false
    }

    fn watch_floods(&mut self, now_ns: u64, changes: &mut Vec<FlowChange>) {
        let elapsed_ns = now_ns.saturating_sub(std::mem::replace(&mut self.last_tick_ns, now_ns)).max(1);
        let limit = u128::from(self.settings.flood_limit_pps) * u128::from(elapsed_ns);
        let mut has_changed = false;
        for port in self.ports.values_mut() {
            let packets = u128::from(std::mem::take(&mut port.storm.packets));
            if port.storm.until_ns.is_some_and(|until| until <= now_ns) {
                port.storm.until_ns = None;
                has_changed = true;
            }
            let is_over = limit != 0 && port.may_loop && packets * u128::from(SECOND_NS) > limit;
            if is_over && port.storm.until_ns.is_none() {
                port.storm.until_ns = Some(now_ns + STORM_NS);
                self.counters.storms += 1;
                has_changed = true;
            }
        }
        if has_changed {
            self.redecide_all(changes);
        }
    }

    /// A station is no longer in the table: frames to it are flooded, frames from it must miss.
    pub(crate) fn forgotten(&mut self, station: Station, changes: &mut Vec<FlowChange>) {
        for id in self.flows.with_source(station) {
            self.delete(id, changes);
        }
        for id in self.flows.with_destination(station) {
            self.redecide(id, changes);
        }
    }

    /// A station is at a (new) port: frames to it go there, frames from it at other ports must miss.
    pub(crate) fn placed(&mut self, station: Station, changes: &mut Vec<FlowChange>) {
        let port_no = self.fdb.port_of(station);
        for id in self.flows.with_source(station) {
            if self.flows.get(id).map(|flow| flow.matching.frame.in_port) != port_no {
                self.delete(id, changes);
            }
        }
        for id in self.flows.with_destination(station) {
            self.redecide(id, changes);
        }
    }

    /// The ports have changed: every flow is looked at.
    pub(crate) fn redecide_all(&mut self, changes: &mut Vec<FlowChange>) {
        for id in self.flows.ids() {
            let unknown_source = |flow: &Flow| {
                let port_no = flow.source().and_then(|station| self.fdb.port_of(station));
                flow.vlan.is_some()
                    && flow.reason != Reason::Held
                    && port_no != Some(flow.matching.frame.in_port)
            };
            if self.flows.get(id).is_some_and(unknown_source) {
                self.delete(id, changes);
            } else {
                self.redecide(id, changes);
            }
        }
    }

    /// Gives a flow the actions it should have now; deletes it if what it matches no longer suffices to decide.
    fn redecide(&mut self, id: FlowId, changes: &mut Vec<FlowChange>) {
        let Some(flow) = self.flows.get(id) else { return };
        let frame = &flow.matching.frame;
        let port = self.ports.get(&frame.in_port);
        let stays_refused = match flow.matching.shape() {
            Shape::Destination | Shape::Source | Shape::Port => port.is_some(),
            Shape::Vlan => port.is_some_and(|port| port.vlan.ingress(frame.tag()).is_none()),
            Shape::Addresses => {
                let decision = self.decide(frame);
                if decision.shape == Shape::Addresses && decision.vlan == flow.vlan {
                    self.replace(id, decision.reason, decision.actions, changes);
                    return;
                }
                false
            }
        };
        if !stays_refused {
            self.delete(id, changes);
        }
    }

    /// Gives a flow these actions, if it has others.
    pub(crate) fn replace(
        &mut self,
        id: FlowId,
        reason: Reason,
        actions: Vec<Action>,
        changes: &mut Vec<FlowChange>,
    ) {
        let Some(flow) = self.flows.get_mut(id) else { return };
        flow.reason = reason;
        if flow.actions != actions {
            flow.actions.clone_from(&actions);
            let (key, mask) = Match::key_and_mask(&flow.matching);
            changes.push(FlowChange::Put { id, key: Box::new(key), mask: Box::new(mask), actions });
        }
    }

    pub(crate) fn delete(&mut self, id: FlowId, changes: &mut Vec<FlowChange>) {
        if self.flows.remove(id).is_some() {
            changes.push(FlowChange::Delete { id });
        }
    }
}
