// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where a frame goes, by the tables as they are now. Changes nothing.

use portway_flow::{Action, MacAddr, PushVlan, mac_proto};

use crate::bridge::Bridge;
use crate::matching::{Frame, Shape};
use crate::vlan::{Form, Tag};

/// Why a frame goes where it goes, or nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// To the port where the destination was last seen.
    Unicast,
    /// To every other port of the VLAN.
    Flood,
    /// The destination is at the port the frame came from.
    Hairpin,
    /// The destination's port does not carry the VLAN.
    NotCarried,
    /// The destination is one of 01:80:c2:00:00:00 to 0f, which no bridge forwards (IEEE 802.1Q, table 8-1).
    Reserved,
    /// The source is a group address or all zeros.
    BadSource,
    /// The input port does not take this VLAN or tag.
    VlanRefused,
    /// The source moves too often and is held at another port.
    Held,
    /// The input port is over the flood limit.
    Storm,
    /// The frame has no Ethernet header.
    NotEthernet,
    /// The input port is not (or no longer) of this bridge.
    NoSuchPort,
}

/// A decision.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) reason: Reason,
    pub(crate) shape: Shape,
    pub(crate) vlan: Option<u16>,
    pub(crate) actions: Vec<Action>,
}

impl Decision {
    fn drop(reason: Reason, shape: Shape, vlan: Option<u16>) -> Self {
        Self { reason, shape, vlan, actions: Vec::new() }
    }
}

/// Whether an address is one that no bridge forwards.
fn is_reserved(mac: MacAddr) -> bool {
    mac.0[..5] == [0x01, 0x80, 0xc2, 0, 0] && mac.0[5] < 0x10
}

impl Bridge {
    /// The VLAN of a frame that may come in, or why it may not.
    pub(crate) fn admit(&self, frame: &Frame) -> Result<u16, Decision> {
        let Some(port) = self.ports.get(&frame.in_port) else {
            return Err(Decision::drop(Reason::NoSuchPort, Shape::Port, None));
        };
        if frame.mac_proto != mac_proto::ETHERNET {
            return Err(Decision::drop(Reason::NotEthernet, Shape::Port, None));
        }
        if is_reserved(frame.dst) {
            return Err(Decision::drop(Reason::Reserved, Shape::Destination, None));
        }
        if frame.src.is_multicast() || frame.src.is_zero() {
            return Err(Decision::drop(Reason::BadSource, Shape::Source, None));
        }
        let vlan = port.vlan.ingress(frame.tag());
        vlan.ok_or_else(|| Decision::drop(Reason::VlanRefused, Shape::Vlan, None))
    }

    /// Where a frame goes.
    pub(crate) fn decide(&self, frame: &Frame) -> Decision {
        let vlan = match self.admit(frame) {
            Ok(vlan) => vlan,
            Err(refused) => return refused,
        };
        let drop = |reason| Decision::drop(reason, Shape::Addresses, Some(vlan));
        if self.fdb.is_held_elsewhere((vlan, frame.src), frame.in_port) {
            return drop(Reason::Held);
        }
        let known = if frame.dst.is_multicast() { None } else { self.fdb.port_of((vlan, frame.dst)) };
        let (reason, outputs) = match known {
            Some(port_no) if port_no == frame.in_port => return drop(Reason::Hairpin),
            Some(port_no) => {
                let form = self.ports.get(&port_no).and_then(|port| port.vlan.egress(vlan));
                let Some(form) = form else { return drop(Reason::NotCarried) };
                (Reason::Unicast, vec![(port_no, form)])
            }
            None if self.is_storming(frame.in_port) => return drop(Reason::Storm),
            None => (Reason::Flood, self.flood_ports(vlan, frame.in_port)),
        };
        Decision {
            reason,
            shape: Shape::Addresses,
            vlan: Some(vlan),
            actions: actions(frame.tag(), vlan, &outputs),
        }
    }

    fn is_storming(&self, port_no: u32) -> bool {
        self.ports.get(&port_no).is_some_and(|port| port.storm.until_ns.is_some())
    }

    fn flood_ports(&self, vlan: u16, in_port: u32) -> Vec<(u32, Form)> {
        let others = self.ports.iter().filter(|(port_no, port)| **port_no != in_port && port.is_up);
        others.filter_map(|(port_no, port)| Some((*port_no, port.vlan.egress(vlan)?))).collect()
    }
}

/// The actions that send a frame with this tag out of these ports: first where it may stay as it is, so that the tag changes at most twice.
fn actions(tag: Tag, vlan: u16, outputs: &[(u32, Form)]) -> Vec<Action> {
    let of = |form: Form| {
        outputs.iter().filter(move |(_, want)| *want == form).map(|(port_no, _)| Action::Output(*port_no))
    };
    let (tagged, untagged): (Vec<_>, Vec<_>) = (of(Form::Tagged).collect(), of(Form::Untagged).collect());
    let push = |priority: u16| Action::PushVlan(PushVlan { tpid: 0x8100, tci: 0x1000 | priority | vlan });
    match tag {
        Tag::Untagged => with(untagged, [push(0)], tagged),
        Tag::Vlan(_) => with(tagged, [Action::PopVlan], untagged),
        // A plain bridge is transparent to priorities; there are no tagged ports in VLAN 0.
        Tag::Priority(_) if vlan == 0 => untagged,
        Tag::Priority(priority) if untagged.is_empty() => {
            with(vec![], [Action::PopVlan, push(priority)], tagged)
        }
        Tag::Priority(priority) => {
            let first = std::iter::once(Action::PopVlan).chain(untagged).collect();
            with(first, [push(priority)], tagged)
        }
    }
}

/// `first`, and if there is anything in `then`: `between` and that.
fn with<const N: usize>(mut first: Vec<Action>, between: [Action; N], then: Vec<Action>) -> Vec<Action> {
    if !then.is_empty() {
        first.extend(between);
        first.extend(then);
    }
    first
}
