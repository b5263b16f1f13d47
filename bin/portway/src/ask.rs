// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From the command line to a request, and its reply to the screen.

use std::io::{self, Write};

use portway_api::{BridgeSpec, Client, PortSpec, Reply, Request, Vlans};

use crate::args::{Args, Bridge, Command, Flow, Module, Port, PortAdd};
use crate::{Error, print};

/// Asks the daemon and prints what it says.
pub(crate) fn run(args: &Args) -> Result<(), Error> {
    let Some(request) = request(&args.command) else {
        return Err(Error::Local("this command asks the daemon nothing".to_owned(), None));
    };
    let mut reply = Client::connect(&args.socket)?.call(&request)?;
    if let (Command::Drops { all: false }, Reply::Drops(lines)) = (&args.command, &mut reply) {
        lines.retain(|line| line.packets != 0);
    }
    let text = if args.json { json(&reply)? } else { print::text(&reply) };
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| Error::output(&error)),
    }
}

fn request(command: &Command) -> Option<Request> {
    Some(match command {
        Command::Show => Request::Show,
        Command::Bridge(bridge) => bridge_request(bridge),
        Command::Port(port) => port_request(port),
        Command::Flow(flow) => flow_request(flow),
        Command::Module(Module::List) => Request::ModuleList,
        Command::Module(Module::Load { module }) => Request::ModuleLoad { module: module.clone() },
        Command::Module(Module::Unload { module }) => Request::ModuleUnload { module: module.clone() },
        Command::Drops { .. } => Request::Drops,
        Command::Reload => Request::Reload,
        Command::Capture(_) | Command::Completion { .. } | Command::Man { .. } | Command::Wrap { .. } => {
            return None;
        }
    })
}

fn bridge_request(command: &Bridge) -> Request {
    match command {
        Bridge::Add { name, aging, mac_limit, flood_limit } => Request::BridgeAdd(BridgeSpec {
            name: name.clone(),
            aging_s: *aging,
            mac_limit: *mac_limit,
            flood_limit_pps: *flood_limit,
        }),
        Bridge::Del { name } => Request::BridgeDel { name: name.clone() },
        Bridge::List => Request::BridgeList,
        Bridge::Fdb { name } => Request::BridgeFdb { name: name.clone() },
    }
}

fn port_request(command: &Port) -> Request {
    match command {
        Port::Add(add) => port_add(add),
        Port::Del { name, netns } => Request::PortDel { name: name.clone(), netns: netns.netns.clone() },
        Port::List { bridge, netns } => {
            Request::PortList { bridge: bridge.clone(), netns: netns.netns.clone() }
        }
        Port::Stats { name, netns } => Request::PortStats { name: name.clone(), netns: netns.netns.clone() },
    }
}

fn port_add(add: &PortAdd) -> Request {
    let port = PortSpec {
        name: add.name.clone(),
        port_type: add.port_type.clone(),
        vlans: Vlans { access: add.access, trunk: add.trunk.clone(), native: add.native },
        netns: add.netns.netns.clone(),
        options: add.options.iter().cloned().collect(),
    };
    Request::PortAdd { bridge: add.bridge.clone(), port }
}

fn flow_request(command: &Flow) -> Request {
    match command {
        Flow::List { bridge, names } => Request::FlowList { bridge: bridge.clone(), names: *names },
        Flow::Add { bridge, flow, actions } => {
            Request::FlowAdd { bridge: bridge.clone(), flow: flow.clone(), actions: actions.clone() }
        }
        Flow::Del { bridge, flow, all: _ } => Request::FlowDel { bridge: bridge.clone(), flow: flow.clone() },
    }
}

/// What a program gets: the reply without its wrapping.
fn json(reply: &Reply) -> Result<String, Error> {
    let wrapped = serde_json::to_value(reply);
    let body = wrapped.map(|value| {
        let members = value.as_object().filter(|members| members.len() == 1);
        members.and_then(|members| members.values().next()).unwrap_or(&value).clone()
    });
    let text = body.and_then(|body| serde_json::to_string_pretty(&body));
    Ok(text.map_err(|error| Error::Local(format!("cannot write JSON: {error}"), None))? + "\n")
}
