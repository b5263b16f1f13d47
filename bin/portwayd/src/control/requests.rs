// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One request, one reply.

use portway_api::{Done, Failure, FailureKind, Reply, Request};

use super::Control;
use super::failures::vport_kind;
use super::report::Filter;
use super::types;

impl Control {
    /// Carries out a request; [`Request::Capture`] is the server's.
    pub(crate) fn handle(&self, request: &Request) -> Result<Reply, Failure> {
        let mut tables = match request {
            // Does its own locking: reading the file must not keep others waiting.
            Request::Reload => return self.reload().map(Reply::Done),
            Request::ModuleLoad { module } => return self.module_load(module).map(Reply::Done),
            Request::ModuleUnload { module } => return self.module_unload(module).map(Reply::Done),
            Request::ModuleList => return Ok(Reply::Modules(self.modules())),
            Request::Drops => return Ok(Reply::Drops(self.drops())),
            Request::Capture { .. } => {
                return Err(Failure::new(FailureKind::BadRequest, "a capture needs a connection of its own"));
            }
            Request::Show
            | Request::BridgeAdd(_)
            | Request::BridgeDel { .. }
            | Request::BridgeList
            | Request::BridgeFdb { .. }
            | Request::PortAdd { .. }
            | Request::PortDel { .. }
            | Request::PortList { .. }
            | Request::PortStats { .. }
            | Request::FlowList { .. }
            | Request::FlowAdd { .. }
            | Request::FlowDel { .. } => self.lock(),
        };
        let tables = &mut *tables;
        match request {
            Request::Show => Ok(Reply::Show(self.show(tables))),
            Request::BridgeAdd(spec) => self.bridge_add(tables, spec).map(Reply::Done),
            Request::BridgeDel { name } => self.bridge_del(tables, name).map(Reply::Done),
            Request::BridgeList => Ok(Reply::Bridges(self.bridges(tables))),
            Request::BridgeFdb { name } => self.fdb(tables, name).map(Reply::Fdb),
            Request::PortAdd { bridge, port } => self.port_add(tables, bridge, port).map(Reply::Done),
            Request::PortDel { name, netns } => {
                self.port_del(tables, &(netns.clone(), name.clone())).map(Reply::Done)
            }
            Request::PortList { bridge, netns } => {
                let filter = Filter { bridge: bridge.as_deref(), name: None, netns: netns.as_deref() };
                self.ports(tables, &filter).map(Reply::Ports)
            }
            Request::PortStats { name, netns } => {
                let filter = Filter { bridge: None, name: name.as_deref(), netns: netns.as_deref() };
                self.port_stats(tables, &filter).map(Reply::PortStats)
            }
            Request::FlowList { bridge, names } => {
                self.flow_list(tables, bridge.as_deref(), *names).map(Reply::Flows)
            }
            Request::FlowAdd { bridge, flow, actions } => {
                self.flow_add(tables, bridge, flow, actions).map(Reply::Done)
            }
            Request::FlowDel { bridge, flow } => {
                self.flow_del(tables, bridge, flow.as_deref()).map(Reply::Done)
            }
            Request::ModuleList
            | Request::ModuleLoad { .. }
            | Request::ModuleUnload { .. }
            | Request::Capture { .. }
            | Request::Drops
            | Request::Reload => Err(Failure::new(FailureKind::BadRequest, "answered above")),
        }
    }

    fn module_load(&self, module: &str) -> Result<Done, Failure> {
        let number = types::number(self.switch.registry(), module)?;
        let kind = types::description(self.switch.registry(), number)?;
        Ok(Done { message: format!("port type {} ({number}) is loaded", kind.name), warnings: Vec::new() })
    }

    fn module_unload(&self, module: &str) -> Result<Done, Failure> {
        let number = types::number(self.switch.registry(), module)?;
        self.switch
            .registry()
            .unload(number)
            .map_err(|error| Failure::new(vport_kind(&error), error.to_string()))?;
        Ok(Done { message: format!("port type {number} is unloaded"), warnings: Vec::new() })
    }
}
