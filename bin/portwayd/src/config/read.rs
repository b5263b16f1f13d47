// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From TOML to [`Config`].

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use portway_api::{BridgeSpec, PortSpec, Vlans};
use toml::de::{DeTable, DeValue};

use super::names::{meant, name_fault};
use super::problem::{ConfigError, Mistakes, Problem, place};
use super::section::{At, Section};
use super::{BridgeConfig, Config};

/// The most threads that anybody may ask for.
pub(crate) const WORKERS_MAX: u64 = 256;
/// A millisecond: a worker that looks longer may as well poll for ever.
const SPIN_US_MAX: u64 = 1000;
/// A year: long enough to mean "never".
pub(crate) const AGING_S_MAX: u64 = 31_536_000;
/// Some hundred megabytes.
pub(crate) const MAC_LIMIT_MAX: u64 = 1 << 20;
const VLAN_END: u64 = portway_bridge::VLAN_MAX as u64 + 1;
const LOG_LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace", "off"];

/// Reads the text of a config file; `path` is for messages.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let mistakes = |problems| ConfigError::Mistakes(Mistakes::new(path, text, problems));
    let root = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let message = error.message().replace('\n', "; ");
        let remedy = "the file is TOML: key = value, strings in quotes, [[bridge]] begins a bridge; see portway.toml(5)";
        mistakes(vec![Problem::new(at, message, remedy)])
    })?;
    let mut reader = Reader { text, problems: Vec::new(), bridges: HashMap::new(), ports: HashMap::new() };
    let config = reader.config(root.get_ref());
    if reader.problems.is_empty() { Ok(config) } else { Err(mistakes(reader.problems)) }
}

struct Reader<'s> {
    text: &'s str,
    problems: Vec<Problem>,
    /// Where each bridge's name is.
    bridges: HashMap<String, usize>,
    /// (namespace, name) of each port: its bridge, and where its name is.
    ports: HashMap<(Option<String>, String), (String, usize)>,
}

impl Reader<'_> {
    fn config(&mut self, root: &DeTable<'_>) -> Config {
        let mut section = Section::new(root, "the file", 0);
        let mut config = Config::default();
        if let Some((table, at)) = section.table("daemon", "[daemon]\\nworkers = 2", &mut self.problems) {
            self.daemon(Section::new(table, "[daemon]", at), &mut config);
        }
        let bridges = section.tables("bridge", "[[bridge]] (two brackets)", &mut self.problems);
        section.finish(&mut self.problems);
        for (table, at) in bridges {
            config.bridges.extend(self.bridge(Section::new(table, "[[bridge]]", at)));
        }
        self.check_names_of_bridges_as_ports(&config);
        config
    }

    fn daemon(&mut self, mut section: Section<'_, '_>, config: &mut Config) {
        config.workers = section
            .number("workers", 1..WORKERS_MAX + 1, &mut self.problems)
            .map(|(workers, _)| workers as usize);
        config.spin_us = section.number("spin_us", 0..SPIN_US_MAX + 1, &mut self.problems).map(|(us, _)| us);
        config.shortcuts = section.flag("shortcuts", &mut self.problems);
        if let Some((log, at)) = section.string("log", &mut self.problems) {
            // A filter may also name targets: `info,portwayd=debug`.
            let levels = log.split(',').map(|part| part.rsplit('=').next().unwrap_or(part).trim());
            for level in levels.filter(|level| !LOG_LEVELS.contains(level)) {
                let remedy = match meant(level, LOG_LEVELS.iter().copied()) {
                    Some(level) => format!("did you mean {level:?}?"),
                    None => format!("one of: {}", LOG_LEVELS.join(", ")),
                };
                self.problems.push(Problem::new(at, format!("{level:?} is not a log level"), remedy));
            }
            config.log = Some(log);
        }
        section.finish(&mut self.problems);
    }

    fn bridge(&mut self, mut section: Section<'_, '_>) -> Option<BridgeConfig> {
        let name = self.name(&mut section, "name = \"br0\"");
        let problems = &mut self.problems;
        let default = BridgeSpec::new("");
        let mut number =
            |key, range, default| section.number(key, range, problems).map_or(default, |(value, _)| value);
        let aging_s = number("aging_s", 1..AGING_S_MAX + 1, default.aging_s);
        let mac_limit = number("mac_limit", 1..MAC_LIMIT_MAX + 1, default.mac_limit);
        let flood_limit_pps = number("flood_limit_pps", 0..u64::from(u32::MAX), default.flood_limit_pps);
        let ports = section.tables("port", "[[bridge.port]] (two brackets)", problems);
        section.finish(problems);
        let (name, at) = name?;
        if let Some(first) = self.bridges.get(&name) {
            let message = format!("bridge {name:?} is there twice: first at line {}", self.line(*first));
            let remedy = "give one of them another name, or put all ports under the first";
            self.problems.push(Problem::new(at, message, remedy));
        }
        self.bridges.entry(name.clone()).or_insert(at);
        let spec = BridgeSpec { name, aging_s, mac_limit, flood_limit_pps };
        let mut bridge = BridgeConfig::new(spec);
        for (table, at) in ports {
            self.port(Section::new(table, "[[bridge.port]]", at), &mut bridge);
        }
        Some(bridge)
    }

    fn port(&mut self, mut section: Section<'_, '_>, bridge: &mut BridgeConfig) {
        let name = self.name(&mut section, "name = \"veth1\"");
        let port_type = section.string("type", &mut self.problems);
        let vlans = self.vlans(&mut section);
        let netns = section.string("netns", &mut self.problems);
        let options = self.options(&mut section);
        section.finish(&mut self.problems);
        let Some((name, at)) = name else { return };
        let netns = netns.and_then(|(netns, at)| self.netns(netns, at));
        let is_own = name == bridge.spec.name && netns.is_none();
        self.claim(&name, netns.clone(), &bridge.spec.name, at);
        if is_own {
            match port_type {
                None => {}
                Some((own, _)) if own == "internal" || own == "null" => bridge.own_type = own,
                Some((other, at)) => {
                    let message = format!(
                        "{name:?} is the bridge's own port: its type is internal or null, not {other:?}"
                    );
                    self.problems.push(Problem::new(
                        at,
                        message,
                        "remove the type, or give the port another name",
                    ));
                }
            }
            bridge.own_vlans = vlans;
            return;
        }
        let port_type = port_type.map_or_else(|| PortSpec::new("").port_type, |(name, _)| name);
        bridge.ports.push(PortSpec { name, port_type, vlans, netns, options });
    }

    /// Notes a port; complains if it is there already.
    fn claim(&mut self, name: &str, netns: Option<String>, bridge: &str, at: usize) {
        let key = (netns, name.to_owned());
        if let Some((other, first)) = self.ports.get(&key) {
            let line = self.line(*first);
            let (message, remedy) = if other == bridge {
                let message = format!("port {name:?} is in bridge {bridge:?} twice: first at line {line}");
                (message, "remove one of them".to_owned())
            } else {
                let message =
                    format!("port {name:?} is in bridge {bridge:?} and in bridge {other:?} (line {line})");
                (message, "a port belongs to one bridge: remove it from the other".to_owned())
            };
            self.problems.push(Problem::new(at, message, remedy));
            return;
        }
        self.ports.insert(key, (bridge.to_owned(), at));
    }

    fn check_names_of_bridges_as_ports(&mut self, config: &Config) {
        for bridge in &config.bridges {
            for port in bridge.ports.iter().filter(|port| port.netns.is_none()) {
                let Some(other) = self.bridges.get(&port.name) else { continue };
                let line = self.line(*other);
                let at = self.ports.get(&(None, port.name.clone())).map_or(0, |(_, at)| *at);
                let message = format!("port {:?} has the name of a bridge (line {line})", port.name);
                let remedy =
                    "a bridge's own port comes with it; to connect two bridges, use a pair of veth devices";
                self.problems.push(Problem::new(at, message, remedy));
            }
        }
    }

    fn name(&mut self, section: &mut Section<'_, '_>, example: &str) -> Option<At<String>> {
        let before = self.problems.len();
        let at = section.at;
        let Some((name, at)) = section.string("name", &mut self.problems) else {
            if self.problems.len() == before {
                self.problems.push(Problem::new(
                    at,
                    "the name is missing",
                    format!("add, for example: {example}"),
                ));
            }
            return None;
        };
        if let Some(fault) = name_fault(&name) {
            let remedy = "1 to 15 bytes, no space, no `/`, no `:`";
            self.problems.push(Problem::new(at, fault, remedy));
            return None;
        }
        Some((name, at))
    }

    fn vlans(&mut self, section: &mut Section<'_, '_>) -> Vlans {
        let access = section.number("access", 1..VLAN_END, &mut self.problems);
        let trunk = section.numbers("trunk", 1..VLAN_END, &mut self.problems);
        let native = section.number("native", 1..VLAN_END, &mut self.problems);
        if let Some((vlan, at)) = access {
            for (key, is_there) in [("trunk", trunk.is_some()), ("native", native.is_some())] {
                if is_there {
                    let message =
                        format!("a port is `access = {vlan}` or a trunk, but this one also has `{key}`");
                    let remedy = format!("remove `access` or `{key}`");
                    self.problems.push(Problem::new(at, message, remedy));
                }
            }
        }
        let vlan = |(id, _): At<u64>| id as u16;
        let mut trunk: Vec<u16> =
            trunk.map(|(ids, _)| ids.into_iter().map(|id| id as u16).collect()).unwrap_or_default();
        trunk.sort_unstable();
        trunk.dedup();
        Vlans { access: access.map(vlan), trunk, native: native.map(vlan) }
    }

    fn netns(&mut self, netns: String, at: usize) -> Option<String> {
        let is_name = !netns.contains('/') && netns != "." && netns != "..";
        if netns.is_empty() || netns.contains('\0') || (!is_name && !netns.starts_with('/')) {
            let message = format!("{netns:?} is not a network namespace");
            let remedy = "a name that `ip netns list` shows, or an absolute path like \"/proc/123/ns/net\"";
            self.problems.push(Problem::new(at, message, remedy));
            return None;
        }
        Some(netns)
    }

    fn options(&mut self, section: &mut Section<'_, '_>) -> BTreeMap<String, String> {
        let example = "options = { rx = \"in.pcap\" }";
        let Some((table, _)) = section.table("options", example, &mut self.problems) else {
            return BTreeMap::new();
        };
        let mut options = BTreeMap::new();
        for (key, value) in table {
            let text = match value.get_ref() {
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(number) => number.to_string(),
                DeValue::Boolean(is) => is.to_string(),
                DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                    let message =
                        format!("option `{}` must be a string, a number, true or false", key.get_ref());
                    self.problems.push(Problem::new(
                        value.span().start,
                        message,
                        format!("write, for example: {example}"),
                    ));
                    continue;
                }
            };
            options.insert(key.get_ref().to_string(), text);
        }
        options
    }

    fn line(&self, at: usize) -> usize {
        place(self.text, at).0
    }
}
