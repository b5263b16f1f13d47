// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What only the operating system knows of the devices behind ports. The server asks through this, and opens nothing itself.

use portway_datapath::{Datapath, Netns};
use portway_uapi::Errno;
use portway_uapi::openvswitch::{
    OVS_VPORT_TYPE_GENEVE, OVS_VPORT_TYPE_GRE, OVS_VPORT_TYPE_INTERNAL, OVS_VPORT_TYPE_VXLAN, ovs_vport_stats,
};
use portway_vport::{NetnsId, PortName, PortStats, Vport};

/// Bytes of an Ethernet header.
const ETH_HLEN: u64 = 14;
/// Bytes of a VLAN tag, which the kernel keeps beside a frame.
const VLAN_HLEN: u64 = 4;

/// The tunnel that a device stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelPort {
    /// The type of port that carries it.
    pub port_type: u32,
    /// Options of such a port: attributes.
    pub options: Vec<u8>,
}

/// Asks for devices.
pub trait Devices: Send {
    /// A device's own counters; `None`: there is no such device, or nobody can tell.
    fn counters(&mut self, netns: &Netns, ifindex: u32) -> Option<ovs_vport_stats>;

    /// Where a device is that has left `netns`: the number by which that namespace is known there, and its counters. `mac` tells it from
    /// others with that index. `None`: it is in none of the namespaces known there.
    fn elsewhere(&mut self, _netns: &Netns, _ifindex: u32, _mac: [u8; 6]) -> Option<(u32, ovs_vport_stats)> {
        None
    }

    /// The tunnel that a device stands for, which was made by rtnetlink; `None`: it stands for none, or is not there.
    ///
    /// # Errors
    /// EBUSY: it stands for one, but belongs to something else. EOPNOTSUPP: it is the kernel's, which nobody here can use.
    fn tunnel(&mut self, _netns: &Netns, _name: &PortName) -> Result<Option<TunnelPort>, Errno> {
        Ok(None)
    }

    /// A namespace is not needed any more: nothing may keep it alive.
    fn forget(&mut self, _netns: NetnsId) {}
}

/// What of a port only its device tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// Its statistics.
    pub(crate) stats: ovs_vport_stats,
    /// The namespace that the device has moved to, by its number in the datapath's.
    pub(crate) netnsid: Option<u32>,
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
pub(crate) fn look(devices: &mut dyn Devices, datapath: &Datapath, port: &Vport) -> Seen {
    let own = port.stats();
    let kind = port.kind().number();
    if matches!(kind, OVS_VPORT_TYPE_VXLAN | OVS_VPORT_TYPE_GENEVE | OVS_VPORT_TYPE_GRE) {
        return Seen { stats: tunnel_stats(kind, &own), netnsid: None };
    }
    let counted = (port.ifindex() != 0).then(|| devices.counters(datapath.netns(), port.ifindex())).flatten();
    let (netnsid, counted) = match counted {
        Some(stats) => (None, Some(stats)),
        None => {
            elsewhere(devices, datapath, port).map_or((None, None), |(id, stats)| (Some(id), Some(stats)))
        }
    };
    let Some(mut stats) = counted else { return Seen { stats: crate::describe::vport_stats(&own), netnsid } };
    if port.port_type() == OVS_VPORT_TYPE_INTERNAL {
        // What the switch sends to the device is received there, without its Ethernet header.
        stats.rx_packets += own.tx_apart;
        stats.rx_bytes += own.tx_apart_bytes;
        stats.rx_bytes =
            stats.rx_bytes.saturating_sub(ETH_HLEN * stats.rx_packets + VLAN_HLEN * own.tx_tagged);
        // Frames that are too long; other devices count what they refuse themselves.
        stats.tx_errors += own.tx_errors;
    } else {
        stats.tx_bytes = stats.tx_bytes.saturating_sub(VLAN_HLEN * own.tx_tagged);
    }
    Seen { stats, netnsid }
}

/// Where the device of an internal port is that is not where it was made.
fn elsewhere(devices: &mut dyn Devices, datapath: &Datapath, port: &Vport) -> Option<(u32, ovs_vport_stats)> {
    if port.port_type() != OVS_VPORT_TYPE_INTERNAL || port.ifindex() == 0 {
        return None;
    }
    // It may have got another index with the move.
    let info = port.refresh_info().ok()?;
    devices.elsewhere(datapath.netns(), info.ifindex, info.mac)
}

/// Whether the device of an internal port has left the datapath's namespace, so that its name is free there.
pub(crate) fn has_left(devices: &mut dyn Devices, datapath: &Datapath, port: &Vport) -> bool {
    devices.counters(datapath.netns(), port.ifindex()).is_none()
        && elsewhere(devices, datapath, port).is_some()
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
