// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Replies. Their JSON is what `portway --json` prints: names stay, meanings stay, new members may appear.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::request::Vlans;

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// It was done.
    Ok(Reply),
    /// It was not, and nothing has changed.
    Error(Failure),
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// Done; there is nothing to tell but this.
    Done(Done),
    /// The daemon.
    Show(Show),
    /// Bridges.
    Bridges(Vec<BridgeInfo>),
    /// Learned addresses.
    Fdb(Vec<FdbLine>),
    /// Ports.
    Ports(Vec<PortInfo>),
    /// Counters of ports.
    PortStats(Vec<PortStats>),
    /// Flows.
    Flows(Vec<FlowLine>),
    /// Modules.
    Modules(Vec<ModuleInfo>),
    /// Why packets died.
    Drops(Vec<DropLine>),
    /// pcapng follows.
    CaptureStarted,
}

/// Something was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// In a sentence.
    pub message: String,
    /// What the user should know besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What kind of failure: for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The request is not understood or contradicts itself.
    BadRequest,
    /// What it names does not exist.
    NotFound,
    /// What it would make exists.
    Exists,
    /// What it would remove or take is in use.
    Busy,
    /// A limit is reached.
    Limit,
    /// The caller may not do this.
    Denied,
    /// It is not supported.
    Unsupported,
    /// The operating system refused.
    System,
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// For programs.
    pub kind: FailureKind,
    /// What is wrong, naming the thing.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Failure {
    /// A failure without a remedy.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), remedy: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// Who wants a bridge or a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The config file.
    Config,
    /// Somebody at the command line; kept in the state folder.
    Runtime,
    /// It comes with the bridge.
    Bridge,
    /// A program that speaks netlink with the datapath, like `ovs-dpctl`.
    Netlink,
}

/// The daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Show {
    /// Its version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Threads that forward packets.
    pub workers: usize,
    /// The config file.
    pub config: Option<String>,
    /// Its bridges.
    pub bridges: Vec<BridgeInfo>,
    /// Datapaths that netlink clients made: no bridge switches them.
    #[serde(default)]
    pub datapaths: Vec<DatapathInfo>,
}

/// A datapath that a netlink client, like `ovs-vswitchd`, made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatapathInfo {
    /// Its name.
    pub name: String,
    /// Its network namespace; absent: the daemon's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<String>,
    /// Its flows.
    pub flows: u64,
    /// Packets that matched a flow.
    pub hit: u64,
    /// Packets that matched none.
    pub missed: u64,
    /// Packets that should have gone to the client and did not reach it.
    pub lost: u64,
    /// Its ports.
    pub ports: Vec<PortInfo>,
}

/// A bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeInfo {
    /// Its name.
    pub name: String,
    /// Who wants it.
    pub origin: Origin,
    /// Seconds after which a silent address is forgotten.
    pub aging_s: u64,
    /// The most addresses kept.
    pub mac_limit: u64,
    /// The most packets a second flooded from one port; 0: no limit.
    pub flood_limit_pps: u64,
    /// Addresses known.
    pub macs: u64,
    /// Flows in the datapath, those added by hand included.
    pub flows: u64,
    /// What the learning switch counted, by name.
    pub counters: BTreeMap<String, u64>,
    /// Its ports.
    pub ports: Vec<PortInfo>,
}

/// Whether a port carries traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PortState {
    /// It does.
    Attached,
    /// It waits for its device.
    Pending,
}

/// A port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortInfo {
    /// Its name.
    pub name: String,
    /// Its bridge, or the datapath that a netlink client made.
    pub bridge: String,
    /// Its type's name.
    #[serde(rename = "type")]
    pub port_type: String,
    /// Its number in the datapath; absent while it waits for its device.
    pub port_no: Option<u32>,
    /// Whether it carries traffic.
    pub state: PortState,
    /// Why it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Who wants it.
    pub origin: Origin,
    /// VLANs.
    pub vlans: Vlans,
    /// Its device's namespace; absent: the daemon's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<String>,
    /// Its device's Ethernet address.
    pub mac: Option<String>,
    /// Its device's MTU in bytes.
    pub mtu: Option<u32>,
    /// Whether its device's link is up.
    pub link_up: Option<bool>,
    /// Options of its type.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// A port's counters since it was attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStats {
    /// The port's name.
    pub name: String,
    /// Its bridge.
    pub bridge: String,
    /// Its number in the datapath.
    pub port_no: u32,
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Received packets that could not be taken.
    pub rx_dropped: u64,
    /// Receive errors.
    pub rx_errors: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets for which there was no room.
    pub tx_dropped: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
}

/// A learned address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FdbLine {
    /// VLAN id; 0: untagged.
    pub vlan: u16,
    /// The address.
    pub mac: String,
    /// The port's name.
    pub port: String,
    /// The port's number.
    pub port_no: u32,
    /// Seconds since it was last seen.
    pub age_s: u64,
    /// Whether it moved too often and is held at this port.
    pub held: bool,
}

/// A flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowLine {
    /// Its bridge, or the datapath that a netlink client made.
    pub bridge: String,
    /// Key and mask, as `ovs-dpctl` writes them.
    pub flow: String,
    /// Actions, as `ovs-dpctl` writes them.
    pub actions: String,
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// Milliseconds since the last packet; absent: there was none.
    pub used_ms: Option<u64>,
    /// TCP flags seen.
    pub tcp_flags: u16,
    /// Whether its packets go from port to port without passing through the daemon.
    #[serde(default)]
    pub has_shortcut: bool,
    /// Whether somebody added it to a bridge by hand: it is not the learning switch's own.
    pub by_hand: bool,
}

/// A port type's module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleInfo {
    /// The port type's number.
    pub port_type: u32,
    /// The port type's name.
    pub name: String,
    /// Ports of this type.
    pub ports: u64,
    /// The file; absent: it is part of the daemon.
    pub path: Option<String>,
    /// Calls that failed because the module did (a panic that was contained).
    pub faults: u64,
}

/// How many packets died for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropLine {
    /// The reason's name.
    pub reason: String,
    /// Packets.
    pub packets: u64,
    /// What it means.
    pub explanation: String,
}
