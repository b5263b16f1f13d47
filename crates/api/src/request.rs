// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Requests, and the descriptions of bridges and ports that the config file, the control socket and the state file share.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A bridge as its owner wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BridgeSpec {
    /// The bridge's name, which is also its own port's.
    pub name: String,
    /// Seconds after which a silent address is forgotten.
    #[serde(default = "default_aging_s")]
    pub aging_s: u64,
    /// The most addresses that are kept.
    #[serde(default = "default_mac_limit")]
    pub mac_limit: u64,
    /// The most packets a second that are flooded from one port; 0: no limit.
    #[serde(default = "default_flood_limit_pps")]
    pub flood_limit_pps: u64,
}

impl BridgeSpec {
    /// A bridge of this name with the default settings.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            aging_s: default_aging_s(),
            mac_limit: default_mac_limit(),
            flood_limit_pps: default_flood_limit_pps(),
        }
    }
}

fn default_aging_s() -> u64 {
    300
}

fn default_mac_limit() -> u64 {
    8192
}

fn default_flood_limit_pps() -> u64 {
    100_000
}

/// How a port takes part in VLANs. All absent: every VLAN tagged, and untagged frames as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vlans {
    /// The one VLAN of an access port; excludes the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<u16>,
    /// The VLANs of a trunk port; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trunk: Vec<u16>,
    /// The VLAN whose frames are untagged on a trunk port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<u16>,
}

/// A port as its owner wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortSpec {
    /// The port's name; for a device, the device's.
    pub name: String,
    /// The port type's name or number.
    #[serde(rename = "type", default = "default_type")]
    pub port_type: String,
    /// VLANs.
    #[serde(default)]
    pub vlans: Vlans,
    /// The device's namespace: a name in /run/netns or a path; absent: the daemon's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<String>,
    /// Options of the port type, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

impl PortSpec {
    /// A device of this name.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            port_type: default_type(),
            vlans: Vlans::default(),
            netns: None,
            options: BTreeMap::new(),
        }
    }
}

fn default_type() -> String {
    "netdev".to_owned()
}

/// What a client may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", content = "with", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// The daemon and everything in it, in short: [`crate::Show`].
    Show,
    /// Adds a bridge.
    BridgeAdd(BridgeSpec),
    /// Deletes a bridge and its ports.
    BridgeDel {
        /// Its name.
        name: String,
    },
    /// All bridges.
    BridgeList,
    /// A bridge's learned addresses.
    BridgeFdb {
        /// Its name.
        name: String,
    },
    /// Adds a port to a bridge.
    PortAdd {
        /// The bridge's name.
        bridge: String,
        /// The port.
        port: PortSpec,
    },
    /// Deletes a port.
    PortDel {
        /// Its name.
        name: String,
        /// Its namespace, as in [`PortSpec::netns`].
        netns: Option<String>,
    },
    /// Ports.
    PortList {
        /// Only this bridge's, or this datapath's.
        bridge: Option<String>,
        /// Only those in this namespace.
        netns: Option<String>,
    },
    /// Counters of ports.
    PortStats {
        /// Only this port's.
        name: Option<String>,
        /// Only those in this namespace.
        netns: Option<String>,
    },
    /// Flows.
    FlowList {
        /// Only this bridge's, or this datapath's; absent: all.
        #[serde(default)]
        bridge: Option<String>,
        /// Ports by name rather than by number.
        names: bool,
    },
    /// Adds a flow by hand, or changes its actions.
    FlowAdd {
        /// The name of the bridge, or of a datapath that a netlink client made.
        bridge: String,
        /// Key and mask, as `ovs-dpctl` writes them.
        flow: String,
        /// Actions, as `ovs-dpctl` writes them.
        actions: String,
    },
    /// Deletes flows.
    FlowDel {
        /// The name of the bridge, or of a datapath that a netlink client made.
        bridge: String,
        /// Key and mask; absent: all flows.
        flow: Option<String>,
    },
    /// Modules.
    ModuleList,
    /// Loads a module.
    ModuleLoad {
        /// A port type's number, or a module's name.
        module: String,
    },
    /// Unloads a module.
    ModuleUnload {
        /// A port type's number or name.
        module: String,
    },
    /// From now on, what a port receives and sends, as pcapng.
    Capture {
        /// The port's name.
        port: String,
        /// Its namespace, as in [`PortSpec::netns`].
        netns: Option<String>,
        /// The most bytes of a packet; 0: all.
        snap_len: u32,
    },
    /// Why packets died.
    Drops,
    /// Reads the config file again.
    Reload,
}
