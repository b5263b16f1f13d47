// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `ovs_datapath`: requests and replies.

use portway_netlink::{AttrBuilder, Error, ExtAck, GenlMessage, Rejected};
use portway_uapi::openvswitch::*;

use crate::family::DATAPATH_RULES;
use crate::parse::{dp_ifindex, parse};

/// A request of any command.
#[derive(Clone, Debug, PartialEq)]
pub struct DatapathRequest<'a> {
    /// `dp_ifindex` of the header.
    pub dp_ifindex: i32,
    /// NAME.
    pub name: Option<&'a [u8]>,
    /// UPCALL_PID, as it came.
    pub upcall_pid: Option<&'a [u8]>,
    /// USER_FEATURES.
    pub user_features: Option<u32>,
    /// MASKS_CACHE_SIZE.
    pub masks_cache_size: Option<u32>,
    /// PER_CPU_PIDS, as it came.
    pub per_cpu_pids: Option<&'a [u8]>,
    /// IFINDEX.
    pub ifindex: Option<u32>,
    /// What the kernel warns of.
    pub warning: Option<ExtAck>,
}

impl<'a> DatapathRequest<'a> {
    /// Reads a request.
    pub fn decode(message: &GenlMessage<'a>) -> Result<Self, Rejected> {
        let attrs = parse(&DATAPATH_RULES, message.attrs())?;
        Ok(Self {
            dp_ifindex: dp_ifindex(message),
            name: attrs.name(OVS_DP_ATTR_NAME),
            upcall_pid: attrs.bytes(OVS_DP_ATTR_UPCALL_PID),
            user_features: attrs.u32(OVS_DP_ATTR_USER_FEATURES),
            masks_cache_size: attrs.u32(OVS_DP_ATTR_MASKS_CACHE_SIZE),
            per_cpu_pids: attrs.bytes(OVS_DP_ATTR_PER_CPU_PIDS),
            ifindex: attrs.u32(OVS_DP_ATTR_IFINDEX),
            warning: attrs.warning(),
        })
    }
}

/// A datapath, described.
#[derive(Clone, Debug, PartialEq)]
pub struct DatapathReply<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Counts.
    pub stats: ovs_dp_stats,
    /// More counts.
    pub megaflow_stats: ovs_dp_megaflow_stats,
    /// Features.
    pub user_features: u32,
    /// Size of the masks cache.
    pub masks_cache_size: u32,
    /// Upcall port ids by CPU; empty: none set.
    pub per_cpu_pids: &'a [u32],
}

impl DatapathReply<'_> {
    /// Writes the attributes.
    pub fn encode(&self, b: &mut AttrBuilder<'_>) -> Result<(), Error> {
        b.put_parts(OVS_DP_ATTR_NAME, &[self.name, &[0]])?;
        b.put_struct(OVS_DP_ATTR_STATS, &self.stats)?;
        b.put_struct(OVS_DP_ATTR_MEGAFLOW_STATS, &self.megaflow_stats)?;
        b.put_u32(OVS_DP_ATTR_USER_FEATURES, self.user_features)?;
        b.put_u32(OVS_DP_ATTR_MASKS_CACHE_SIZE, self.masks_cache_size)?;
        if !self.per_cpu_pids.is_empty() {
            b.put_struct(OVS_DP_ATTR_PER_CPU_PIDS, self.per_cpu_pids)?;
        }
        Ok(())
    }
}
