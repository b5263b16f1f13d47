// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `ovs_ct_limit`: requests.

use portway_netlink::{Attr, ExtAck, GenlMessage, Rejected};
use portway_uapi::openvswitch::*;

use crate::family::CT_LIMIT_RULES;
use crate::parse::{dp_ifindex, parse};

/// A request of any command.
#[derive(Clone, Debug, PartialEq)]
pub struct CtLimitRequest<'a> {
    /// `dp_ifindex` of the header; the limits belong to the namespace whatever it is.
    pub dp_ifindex: i32,
    /// ZONE_LIMIT.
    pub zone_limits: Option<Attr<'a>>,
    /// What the kernel warns of.
    pub warning: Option<ExtAck>,
}

impl<'a> CtLimitRequest<'a> {
    /// Reads a request.
    pub fn decode(message: &GenlMessage<'a>) -> Result<Self, Rejected> {
        let attrs = parse(&CT_LIMIT_RULES, message.attrs())?;
        Ok(Self {
            dp_ifindex: dp_ifindex(message),
            zone_limits: attrs.get(OVS_CT_LIMIT_ATTR_ZONE_LIMIT),
            warning: attrs.warning(),
        })
    }
}
