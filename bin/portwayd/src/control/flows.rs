// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Flows, listed and programmed by hand, in the syntax of `ovs-dpctl`.

use std::collections::HashSet;
use std::sync::Arc;

use portway_api::{Done, Failure, FailureKind, FlowLine};
use portway_datapath::{Datapath, Flow, FlowParts, FlowRequest};
use portway_flow::text::{NO_NAMES, PortName, Style, format_actions, format_key, parse_actions, parse_key};
use portway_flow::{Classified, FlowKey, FlowMask};

use super::failures::failure;
use super::report::Place;
use super::{Control, Tables};
use crate::clock;

const SYNTAX: &str = "the syntax is that of ovs-dpctl, for example: in_port(1),eth(),eth_type(0x0806)";

impl Control {
    pub(super) fn flow_list(
        &self,
        tables: &Tables,
        bridge: Option<&str>,
        names: bool,
    ) -> Result<Vec<FlowLine>, Failure> {
        let mut lines = Vec::new();
        for place in self.places(tables, bridge)? {
            lines.extend(match place {
                Place::Bridge(entry) => self.flows_of(&entry.spec.name, &entry.datapath, true, names),
                Place::Other(datapath) => {
                    self.flows_of(&datapath.name().to_string(), &datapath, false, names)
                }
            });
        }
        Ok(lines)
    }

    fn flows_of(&self, name: &str, datapath: &Datapath, is_bridge: bool, names: bool) -> Vec<FlowLine> {
        let own: HashSet<*const Flow> = self.switching.own_flows(datapath).iter().map(Arc::as_ptr).collect();
        let by_number = |number: u32| datapath.port(number).map(|port| port.name().to_string());
        let port: PortName<'_> = if names { &by_number } else { NO_NAMES };
        let (guard, now) = (datapath.pin(), clock::now_ns());
        let line = |flow: &Arc<Flow>| {
            let stats = flow.stats(&guard);
            FlowLine {
                bridge: name.to_owned(),
                flow: format_key(&flow.key(), Some(flow.mask()), Style { verbose: false, port }),
                actions: format_actions(flow.program(&guard).actions(), port),
                packets: stats.packets,
                bytes: stats.bytes,
                used_ms: (stats.used_ns != 0).then(|| now.saturating_sub(stats.used_ns) / 1_000_000),
                tcp_flags: stats.tcp_flags,
                has_shortcut: flow.has_shortcut(),
                by_hand: is_bridge && !own.contains(&Arc::as_ptr(flow)),
            }
        };
        let mut lines: Vec<FlowLine> = datapath.flows().iter().map(line).collect();
        lines.sort_by(|one, other| one.flow.cmp(&other.flow));
        lines
    }

    pub(super) fn flow_add(
        &self,
        tables: &Tables,
        bridge: &str,
        flow: &str,
        actions: &str,
    ) -> Result<Done, Failure> {
        let datapath = &self.datapath_named(tables, bridge)?;
        let (key, mask) = key_of(datapath, flow)?;
        let actions = parse_actions(actions, &port_number(datapath)).map_err(|error| {
            let remedy = "for example: 2  or: push_vlan(vid=10,pcp=0),2,3  or: drop";
            Failure::new(FailureKind::BadRequest, format!("actions: {error}")).remedy(remedy)
        })?;
        if let Some(known) = self.by_hand(datapath, &key, &mask) {
            self.switch.flow_set_actions(datapath, &known, &actions).map_err(|error| failure(&error))?;
            return Ok(done("the flow has other actions now"));
        }
        // The bridge's own flows make room first, and keep clear of this one from now on.
        self.switching.hand_flow_added(datapath, &key, &mask);
        let parts = FlowParts { key: key.clone(), mask: mask.clone(), ufid: None };
        if let Err(error) = self.switch.flow_add(datapath, &FlowRequest { parts, actions }) {
            self.switching.hand_flow_gone(datapath, &key, &mask);
            return Err(failure(&error));
        }
        Ok(done("flow added"))
    }

    pub(super) fn flow_del(
        &self,
        tables: &Tables,
        bridge: &str,
        flow: Option<&str>,
    ) -> Result<Done, Failure> {
        let datapath = &self.datapath_named(tables, bridge)?;
        let Some(text) = flow else {
            let flows = datapath.flows();
            let deleted = flows.iter().filter(|flow| self.delete(datapath, flow).is_ok()).count();
            return Ok(done(&format!("{deleted} flows deleted")));
        };
        let found = match shown_as(datapath, text) {
            Some(flow) => Some(flow),
            None => {
                let (key, mask) = key_of(datapath, text)?;
                datapath.find_flow(&key, &mask)
            }
        };
        let Some(flow) = found else {
            return Err(Failure::new(FailureKind::NotFound, format!("{bridge} has no such flow"))
                .remedy(format!("copy it, up to `, packets`, from: portway flow list {bridge}")));
        };
        self.delete(datapath, &flow)?;
        Ok(done("flow deleted"))
    }

    fn delete(&self, datapath: &Arc<Datapath>, flow: &Arc<Flow>) -> Result<(), Failure> {
        if !self.switching.flow_del(datapath, flow) {
            self.switch.flow_del(datapath, flow).map_err(|error| failure(&error))?;
            self.switching.hand_flow_gone(datapath, &flow.key(), flow.mask());
        }
        Ok(())
    }

    /// The flow of this match that somebody added by hand.
    fn by_hand(&self, datapath: &Datapath, key: &FlowKey, mask: &FlowMask) -> Option<Arc<Flow>> {
        let found = datapath.find_flow(key, mask)?;
        let is_own = self.switching.own_flows(datapath).iter().any(|own| Arc::ptr_eq(own, &found));
        (!is_own).then_some(found)
    }
}

/// The flow that the list shows with this text. The bridge's flows leave the ethertype open, which the syntax cannot say: there a text
/// without one means frames without one.
fn shown_as(datapath: &Datapath, text: &str) -> Option<Arc<Flow>> {
    let by_number = |number: u32| datapath.port(number).map(|port| port.name().to_string());
    let text = text.trim();
    let is_shown = |flow: &&Arc<Flow>| {
        [NO_NAMES, &by_number as PortName<'_>]
            .into_iter()
            .any(|port| format_key(&flow.key(), Some(flow.mask()), Style { verbose: false, port }) == text)
    };
    datapath.flows().iter().find(is_shown).cloned()
}

fn key_of(datapath: &Datapath, text: &str) -> Result<(FlowKey, FlowMask), Failure> {
    let (key, mask) = parse_key(text, &port_number(datapath))
        .map_err(|error| Failure::new(FailureKind::BadRequest, format!("flow: {error}")).remedy(SYNTAX))?;
    Ok((mask.apply(&key), mask))
}

fn port_number(datapath: &Datapath) -> impl Fn(&str) -> Option<u32> + '_ {
    |name| datapath.ports().iter().find(|port| port.name().to_string() == name).map(|port| port.port_no())
}

fn done(message: &str) -> Done {
    Done { message: message.to_owned(), warnings: Vec::new() }
}
