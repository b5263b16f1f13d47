// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command line: every command, with an example.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  portway show                               the switch at a glance
  portway bridge add br0                     make a bridge
  portway port add br0 veth1 --access 10     connect a device, untagged in VLAN 10
  portway bridge fdb br0                     which address was seen where
  portway flow list br0                      what the datapath does with packets
  portway capture veth1 -w - | tcpdump -r -  watch a port
  portway drops                              why packets died";

/// Looks at a running Portway switch and changes it.
#[derive(Debug, Parser)]
#[command(name = "portway", version, after_help = EXAMPLES, propagate_version = true, max_term_width = 100)]
pub(crate) struct Args {
    /// Print JSON, for programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The daemon's control socket.
    #[arg(long, global = true, value_name = "PATH", env = "PORTWAY_CONTROL", default_value = portway_api::DEFAULT_SOCKET)]
    pub(crate) socket: PathBuf,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the switch at a glance: bridges, ports, their state.
    ///
    /// Datapaths that Open vSwitch programs made through `portway wrap` are shown after the bridges.
    Show,
    /// Make, delete and look at bridges.
    #[command(subcommand)]
    Bridge(Bridge),
    /// Connect, disconnect and look at ports.
    #[command(subcommand)]
    Port(Port),
    /// Look at the datapath's flows, and program it by hand.
    #[command(subcommand)]
    Flow(Flow),
    /// Look at, load and unload port types.
    #[command(subcommand)]
    Module(Module),
    /// Record what a port receives and sends, as pcapng.
    Capture(Capture),
    /// Show why packets died, by reason.
    Drops {
        /// Show reasons that have not occurred, too.
        #[arg(long)]
        all: bool,
    },
    /// Run an Open vSwitch program on Portway: its netlink sockets go to the daemon instead of the kernel.
    ///
    /// The daemon's netlink socket is the one that PORTWAY_SOCKET names, else netlink.sock beside the control socket. How the program gets
    /// tunnels is found out; PORTWAY_TUNNELS=ports (as up to Open vSwitch 3.7) or =devices (as from 4.0 on) says it.
    /// Requests wait five seconds for a daemon that has gone away; PORTWAY_PATIENCE says another number.
    #[command(
        after_help = "Examples:\n  portway wrap -- ovs-dpctl show\n  portway wrap -- ovs-vswitchd --pidfile --detach"
    )]
    Wrap {
        /// The command and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
    /// Make the daemon read its config file again. Traffic of unchanged ports is not disturbed.
    Reload,
    /// Print a completion script, for example: portway completion bash > /etc/bash_completion.d/portway
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the man page, or write all pages into a folder.
    Man {
        /// Write portway.8 and a page for each command here.
        folder: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Bridge {
    /// Make a bridge. It has a port of its own, a network device of the same name.
    ///
    /// The bridge is kept until it is deleted, over restarts of the daemon, too.
    #[command(after_help = "Example:\n  portway bridge add br0 --aging 60")]
    Add {
        /// Name of the bridge: at most 15 bytes.
        name: String,
        /// Forget an address that was silent for so long.
        #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
        aging: u64,
        /// Keep at most so many addresses.
        #[arg(long, value_name = "NUMBER", default_value_t = 8192, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
        mac_limit: u64,
        /// Flood at most so many packets a second from one port; 0: no limit.
        #[arg(long, value_name = "PACKETS", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(0..=u64::from(u32::MAX) - 1))]
        flood_limit: u64,
    },
    /// Delete a bridge. Devices that were its ports are given back to the host.
    Del {
        /// Name of the bridge.
        name: String,
    },
    /// List bridges.
    List,
    /// Show a bridge's learned addresses.
    Fdb {
        /// Name of the bridge.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Port {
    /// Connect a device to a bridge, or make a port of another type.
    ///
    /// Without VLAN options the port carries every VLAN tagged and other frames untagged. The port is kept until it is deleted, over
    /// restarts of the daemon, too.
    #[command(
        after_help = "Examples:\n  portway port add br0 veth1\n  portway port add br0 veth1 --netns blue --access 10\n  \
        portway port add br0 uplink --trunk 10,20 --native 1\n  portway port add br0 tap7 --type internal\n  \
        portway port add br0 play --type pcap --option rx=in.pcap\n  \
        portway port add br0 t0 --type geneve -o dst_port=6081 -o remote=192.0.2.7 -o key=5\n  \
        portway port add br0 t1 --type gre -o remote=192.0.2.8"
    )]
    Add(PortAdd),
    /// Disconnect a port from its bridge. A device is given back to the host; an internal one is deleted.
    Del {
        /// Name of the port.
        name: String,
        #[command(flatten)]
        netns: Netns,
    },
    /// List ports.
    List {
        /// Only this bridge's, or this datapath's.
        bridge: Option<String>,
        #[command(flatten)]
        netns: Netns,
    },
    /// Show ports' counters.
    Stats {
        /// Only this port's.
        name: Option<String>,
        #[command(flatten)]
        netns: Netns,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Netns {
    /// The network namespace of the device: a name that `ip netns` knows, or a path.
    #[arg(long, value_name = "NAME|PATH")]
    pub(crate) netns: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PortAdd {
    /// Name of the bridge.
    pub(crate) bridge: String,
    /// Name of the device, or of the new port.
    pub(crate) name: String,
    /// Port type: a module's name or number.
    #[arg(long = "type", value_name = "TYPE", default_value = "netdev")]
    pub(crate) port_type: String,
    /// Untagged in this VLAN, and in no other.
    #[arg(long, value_name = "VLAN", value_parser = vlan, conflicts_with_all = ["trunk", "native"])]
    pub(crate) access: Option<u16>,
    /// Tagged in these VLANs, and in no others.
    #[arg(long, value_name = "VLAN,...", value_delimiter = ',', value_parser = vlan)]
    pub(crate) trunk: Vec<u16>,
    /// Untagged frames belong to this VLAN.
    #[arg(long, value_name = "VLAN", value_parser = vlan)]
    pub(crate) native: Option<u16>,
    #[command(flatten)]
    pub(crate) netns: Netns,
    /// An option of the port type; may be repeated.
    #[arg(long = "option", short = 'o', value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) options: Vec<(String, String)>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Flow {
    /// List flows, with their statistics.
    #[command(after_help = "Examples:\n  portway flow list\n  portway flow list br0 --names")]
    List {
        /// Only this bridge's, or this datapath's.
        bridge: Option<String>,
        /// Show ports by name rather than by number.
        #[arg(long)]
        names: bool,
    },
    /// Add a flow by hand, or give it other actions. The bridge's own flows keep clear of it.
    ///
    /// The flow names ports by their number in the datapath, or by name. It lasts until it, its bridge or the daemon ends: unlike
    /// bridges and ports it is not kept over a restart.
    #[command(after_help = "The syntax is that of ovs-dpctl. Examples:\n  \
        portway flow add br0 'in_port(1),eth(),eth_type(0x0806)' 2\n  \
        portway flow add br0 'in_port(1),eth(),eth_type(0x0800),ipv4(proto=17),udp(dst=53)' drop")]
    Add {
        /// Name of the bridge, or of a datapath that an Open vSwitch program made.
        bridge: String,
        /// What to match.
        flow: String,
        /// What to do; `drop` or an empty string: nothing.
        #[arg(allow_hyphen_values = true)]
        actions: String,
    },
    /// Delete a flow, or all flows.
    Del {
        /// Name of the bridge, or of a datapath that an Open vSwitch program made.
        bridge: String,
        /// What it matches, as `flow list` shows it.
        #[arg(required_unless_present = "all")]
        flow: Option<String>,
        /// Delete all flows; the learning switch makes its own again.
        #[arg(long, conflicts_with = "flow")]
        all: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Module {
    /// List port types.
    List,
    /// Load a port type. Types that a port needs are loaded by themselves.
    Load {
        /// Number of the port type: `vport-type-<number>.so` is looked for on the daemon's module path.
        module: String,
    },
    /// Unload a port type that no port uses.
    Unload {
        /// Name or number of the port type.
        module: String,
    },
}

#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  portway capture veth1 -w file.pcapng\n  portway capture veth1 -w - | tcpdump -r -\n  \
    portway capture veth1 -w - | wireshark -k -i -\n  portway capture veth1        (shows packets through tcpdump)"
)]
pub(crate) struct Capture {
    /// Name of the port.
    pub(crate) port: String,
    /// Write to this file; `-`: to the standard output. Without it, tcpdump shows the packets.
    #[arg(short = 'w', long = "write", value_name = "FILE|-")]
    pub(crate) write: Option<PathBuf>,
    /// Keep so many bytes of each packet; 0: all.
    #[arg(short = 's', long, value_name = "BYTES", default_value_t = 0)]
    pub(crate) snap_len: u32,
    /// Stop after so many packets.
    #[arg(short = 'c', long, value_name = "PACKETS")]
    pub(crate) count: Option<u64>,
    #[command(flatten)]
    pub(crate) netns: Netns,
}

fn vlan(text: &str) -> Result<u16, String> {
    let id = text.parse().ok().filter(|id| (1..=4094).contains(id));
    id.ok_or_else(|| "a VLAN id is a number from 1 to 4094".to_owned())
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("an option is NAME=VALUE")?;
    if name.is_empty() {
        Err("an option is NAME=VALUE".to_owned())
    } else {
        Ok((name.to_owned(), value.to_owned()))
    }
}
