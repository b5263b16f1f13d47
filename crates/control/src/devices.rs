// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What only the operating system knows of the devices behind ports. The server asks through this, and opens nothing itself.

use portway_datapath::{Datapath, Netns};
use portway_uapi::openvswitch::{
    OVS_VPORT_TYPE_GENEVE, OVS_VPORT_TYPE_GRE, OVS_VPORT_TYPE_INTERNAL, OVS_VPORT_TYPE_VXLAN, ovs_vport_stats,
};
use portway_vport::{PortStats, Vport};

/// Bytes of an Ethernet header.
const ETH_HLEN: u64 = 14;

/// Asks for devices.
pub trait Devices: Send {
    /// A device's own counters; `None`: there is no such device, or nobody can tell.
    fn counters(&mut self, netns: &Netns, ifindex: u32) -> Option<ovs_vport_stats>;
}

/// Knows of no device: for tests.
#[derive(Debug, Default)]
pub struct NoDevices;

impl Devices for NoDevices {
    fn counters(&mut self, _netns: &Netns, _ifindex: u32) -> Option<ovs_vport_stats> {
        None
    }
}

/// A port's statistics as the kernel tells them: those of its device, and what the switch itself did not send.
pub(crate) fn port_stats(devices: &mut dyn Devices, datapath: &Datapath, port: &Vport) -> ovs_vport_stats {
    let own = port.stats();
    if matches!(port.port_type(), OVS_VPORT_TYPE_VXLAN | OVS_VPORT_TYPE_GENEVE | OVS_VPORT_TYPE_GRE) {
        return tunnel_stats(port.port_type(), &own);
    }
    let counted = (port.ifindex() != 0).then(|| devices.counters(datapath.netns(), port.ifindex())).flatten();
    let Some(mut stats) = counted else { return crate::describe::vport_stats(&own) };
    if port.port_type() == OVS_VPORT_TYPE_INTERNAL {
        // What the switch sends to the device is received there, without its Ethernet header.
        stats.rx_bytes = stats.rx_bytes.saturating_sub(ETH_HLEN * stats.rx_packets);
    }
    stats.tx_errors += own.tx_errors;
    stats
}

/// A tunnel port's statistics: the switch's own, since the device only stands for the port.
fn tunnel_stats(port_type: u32, own: &PortStats) -> ovs_vport_stats {
    let mut stats = crate::describe::vport_stats(own);
    if port_type != OVS_VPORT_TYPE_GRE {
        // The kernel's count what they receive without its Ethernet header.
        stats.rx_bytes = stats.rx_bytes.saturating_sub(ETH_HLEN * stats.rx_packets);
    }
    // A bad outer header comes before the kernel knows which device it is for.
    (stats.rx_errors, stats.rx_dropped) = (own.rx_errors, 0);
    stats
}
