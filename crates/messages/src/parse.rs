// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A request's attributes under its family's policy.

use portway_netlink::{Attr, Attrs, ExtAck, GenlMessage, Policy, Rejected, Strictness, Table};

/// Parsed attributes of a request. Of several of one type, the last counts.
#[derive(Debug)]
pub(crate) struct Parsed<'a, const N: usize>(Table<'a, N>);

/// Parses under rules, liberally, as the kernel does for families as old as these.
pub(crate) fn parse<'a, const N: usize>(
    rules: &[portway_netlink::Rule; N],
    attrs: Attrs<'a>,
) -> Result<Parsed<'a, N>, Rejected> {
    Policy::parse_by(rules, 0, attrs, Strictness::LIBERAL).map(Parsed)
}

impl<'a, const N: usize> Parsed<'a, N> {
    pub(crate) fn get(&self, kind: u16) -> Option<Attr<'a>> {
        self.0.get(kind)
    }

    pub(crate) fn has(&self, kind: u16) -> bool {
        self.0.has(kind)
    }

    pub(crate) fn bytes(&self, kind: u16) -> Option<&'a [u8]> {
        self.get(kind).map(|attr| attr.payload())
    }

    /// The policy has made sure that the value is long enough.
    pub(crate) fn u32(&self, kind: u16) -> Option<u32> {
        self.get(kind).and_then(|attr| attr.u32().ok())
    }

    pub(crate) fn name(&self, kind: u16) -> Option<&'a [u8]> {
        self.get(kind).map(|attr| attr.c_str())
    }

    pub(crate) fn warning(&self) -> Option<ExtAck> {
        self.0.warning()
    }
}

/// `dp_ifindex` of a request's header.
pub(crate) fn dp_ifindex(message: &GenlMessage<'_>) -> i32 {
    let header = message.read_family_header::<portway_uapi::openvswitch::ovs_header>();
    header.map_or(0, |header| header.dp_ifindex)
}
