// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `ovs_flow`: requests and replies. What is inside KEY, MASK and ACTIONS is read and written in `key` and `actions`.

use portway_netlink::{Attr, AttrBuilder, Error, ExtAck, GenlMessage, Rejected};
use portway_uapi::openvswitch::*;

use crate::family::FLOW_RULES;
use crate::parse::{Parsed, dp_ifindex, parse};

/// A request of any command.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowRequest<'a> {
    /// `dp_ifindex` of the header.
    pub dp_ifindex: i32,
    /// KEY.
    pub key: Option<Attr<'a>>,
    /// MASK.
    pub mask: Option<Attr<'a>>,
    /// ACTIONS.
    pub actions: Option<Attr<'a>>,
    /// CLEAR.
    pub clear: bool,
    /// PROBE: nothing is to be logged.
    pub probe: bool,
    /// UFID, if it has 1 to 16 bytes; a longer one counts as absent.
    pub ufid: Option<&'a [u8]>,
    /// UFID_FLAGS.
    pub ufid_flags: u32,
    /// What the kernel warns of.
    pub warning: Option<ExtAck>,
}

impl<'a> FlowRequest<'a> {
    /// Reads a request.
    pub fn decode(message: &GenlMessage<'a>) -> Result<Self, Rejected> {
        let attrs: Parsed<'a, 12> = parse(&FLOW_RULES, message.attrs())?;
        Ok(Self {
            dp_ifindex: dp_ifindex(message),
            key: attrs.get(OVS_FLOW_ATTR_KEY),
            mask: attrs.get(OVS_FLOW_ATTR_MASK),
            actions: attrs.get(OVS_FLOW_ATTR_ACTIONS),
            clear: attrs.has(OVS_FLOW_ATTR_CLEAR),
            probe: attrs.has(OVS_FLOW_ATTR_PROBE),
            ufid: attrs.bytes(OVS_FLOW_ATTR_UFID).filter(|ufid| (1..=MAX_UFID_LENGTH).contains(&ufid.len())),
            ufid_flags: attrs.u32(OVS_FLOW_ATTR_UFID_FLAGS).unwrap_or(0),
            warning: attrs.warning(),
        })
    }
}

/// What a reply says of a flow's traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCounts {
    /// Packets and bytes.
    pub stats: ovs_flow_stats,
    /// TCP flags seen.
    pub tcp_flags: u8,
    /// When it was used last, monotonic ms; `None`: never.
    pub used_ms: Option<u64>,
}

impl FlowCounts {
    /// Writes USED, STATS and TCP_FLAGS, as far as there is something to tell.
    pub fn encode(&self, b: &mut AttrBuilder<'_>) -> Result<(), Error> {
        if let Some(used_ms) = self.used_ms {
            b.put_u64(OVS_FLOW_ATTR_USED, used_ms)?;
        }
        if self.stats.n_packets != 0 {
            b.put_struct(OVS_FLOW_ATTR_STATS, &self.stats)?;
        }
        if self.tcp_flags != 0 {
            b.put_u8(OVS_FLOW_ATTR_TCP_FLAGS, self.tcp_flags)?;
        }
        Ok(())
    }
}
