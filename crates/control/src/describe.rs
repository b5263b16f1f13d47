// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Datapaths and ports as messages.

use portway_datapath::{Datapath, RemovedPort};
use portway_messages::datapath::DatapathReply;
use portway_messages::vport::VportReply;
use portway_netlink::{AttrBuilder, Error};
use portway_uapi::openvswitch::*;
use portway_vport::{PortStats, Vport};

use crate::devices::Seen;

/// `dp_ifindex` of a datapath: the interface index of its local port's device.
pub(crate) fn dp_ifindex(datapath: &Datapath) -> i32 {
    datapath.port_ifindex(0) as i32
}

/// Writes a datapath's attributes. `cpus`: how many of the upcall port ids by CPU are told.
pub(crate) fn encode_datapath(
    datapath: &Datapath,
    cpus: usize,
    b: &mut AttrBuilder<'_>,
) -> Result<(), Error> {
    let (name, options, stats) = (datapath.name(), datapath.options(), datapath.stats());
    let per_cpu = options.user_features & OVS_DP_F_DISPATCH_UPCALL_PER_CPU != 0;
    let reply = DatapathReply {
        name: name.as_bytes(),
        stats: ovs_dp_stats {
            n_hit: stats.hit,
            n_missed: stats.missed,
            n_lost: stats.lost,
            n_flows: stats.flows as u64,
        },
        megaflow_stats: ovs_dp_megaflow_stats {
            n_mask_hit: stats.mask_hit,
            n_masks: stats.masks as u32,
            n_cache_hit: stats.cache_hit,
            ..Default::default()
        },
        user_features: options.user_features,
        masks_cache_size: options.masks_cache_size,
        per_cpu_pids: &options.per_cpu_pids[..if per_cpu { options.per_cpu_pids.len().min(cpus) } else { 0 }],
    };
    reply.encode(b)
}

/// Writes a port's attributes.
pub(crate) fn encode_vport(
    datapath: &Datapath,
    port: &Vport,
    seen: Seen,
    b: &mut AttrBuilder<'_>,
) -> Result<(), Error> {
    let (name, pids) = (port.name(), port.upcall_pids());
    let options = port.options();
    let reply = VportReply {
        port_no: port.port_no(),
        port_type: port.port_type(),
        name: name.as_bytes(),
        ifindex: port.ifindex(),
        netnsid: seen.netnsid.map(|id| id as i32),
        stats: seen.stats,
        upcall_pids: shown_pids(datapath, &pids),
        options: options.as_deref(),
    };
    reply.encode(b)
}

pub(crate) fn vport_stats(stats: &PortStats) -> ovs_vport_stats {
    ovs_vport_stats {
        rx_packets: stats.rx_packets,
        tx_packets: stats.tx_packets,
        rx_bytes: stats.rx_bytes,
        tx_bytes: stats.tx_bytes,
        // Ours are receive calls that failed, the kernel's are bad packets.
        rx_errors: 0,
        tx_errors: stats.tx_errors,
        rx_dropped: stats.rx_dropped,
        tx_dropped: stats.tx_dropped,
    }
}

/// Writes the attributes of a port that has gone.
pub(crate) fn encode_removed(
    datapath: &Datapath,
    last: &RemovedPort,
    b: &mut AttrBuilder<'_>,
) -> Result<(), Error> {
    let reply = VportReply {
        port_no: last.port_no,
        port_type: last.port_type,
        name: last.name.as_bytes(),
        ifindex: last.ifindex,
        netnsid: None,
        stats: vport_stats(&last.stats),
        upcall_pids: shown_pids(datapath, &last.upcall_pids),
        options: last.options.as_deref(),
    };
    reply.encode(b)
}

/// The port ids that are told: without OVS_DP_F_VPORT_PIDS one, 0 if there is none.
fn shown_pids<'p>(datapath: &Datapath, pids: &'p [u32]) -> &'p [u32] {
    let several = datapath.options().user_features & OVS_DP_F_VPORT_PIDS != 0;
    match pids {
        [] => &[0],
        [first, ..] if !several => std::slice::from_ref(first),
        pids => pids,
    }
}
