// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A compiled action list: one flat array that is walked once per packet.
//!
//! A list inside an action (clone, sample, ...) lies right behind its action, which knows how many entries to skip:
//!
//! ```text
//!   clone(set(eth), output:2), output:3   =>   [Clone{body: 2}] [Edit(SetEthernet)] [Output 2] [Output 3]
//! ```
//!
//! Each action that hands the packet on knows whether it is the last one in its list that does anything: that one gets the packet
//! itself, those before it get copies.

use std::sync::Arc;

use portway_buf::TunnelKey;
use portway_flow::{Action, Hash, PushEth, PushVlan, Userspace};
use portway_flow::{FlowKey, FlowMask};

use crate::error::Error;
use crate::set_ethernet::EthernetRewrite;
use crate::set_ipv4::Ipv4Rewrite;
use crate::set_ipv6::Ipv6Rewrite;
use crate::set_ports::PortsRewrite;
use crate::{compile, stale_key};

/// The longest netlink attribute, and the shortest one, in bytes.
const ATTRIBUTE_MAX: usize = 65_535;
const ACTION_MIN: usize = 4;

/// What a program may be, at most. The defaults refuse nothing that the kernel takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Levels of lists within lists.
    pub depth_max: u32,
    /// Actions, those in lists within the list too. The kernel's limit is the longest netlink attribute, 65,535 bytes.
    pub actions_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth_max: 16, actions_max: ATTRIBUTE_MAX / ACTION_MIN }
    }
}

/// A change to one packet.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Move(Move),
    SetMpls {
        value: u32,
        mask: u32,
    },
    SetPriority {
        value: u32,
        mask: u32,
    },
    SetMark {
        value: u32,
        mask: u32,
    },
    SetEthernet(EthernetRewrite),
    SetIpv4(Ipv4Rewrite),
    SetIpv6(Box<Ipv6Rewrite>),
    SetPorts(PortsRewrite),
    SetTunnel(Arc<TunnelKey>),
    /// Taken into a flow by the kernel, and fails when executed.
    SetConntrack,
    Hash(Hash),
}

/// A change after which headers are at other places.
#[derive(Clone, Debug)]
pub(crate) enum Move {
    PushVlan(PushVlan),
    PopVlan,
    PushMpls { lse: u32, ethertype: u16, before_ethernet: bool },
    PopMpls(u16),
    PushEthernet(PushEth),
    PopEthernet,
    PushNsh(Box<[u8]>),
    PopNsh,
}

/// One step of a program. `body` counts the steps behind it that are its own list; `last` says that nothing behind it in
/// its list does anything with the packet.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Edit(Edit),
    Output { port: u32, last: bool },
    Upcall { userspace: Arc<Userspace>, last: bool },
    Recirculate { id: u32, last: bool },
    Truncate { len_max: u32 },
    Clone { body: u32, last: bool },
    Sample { probability: u32, body: u32, last: bool },
    CheckLength { len: u16, greater: u32, less_or_equal: u32, last: bool },
    DecTtl { body: u32 },
    Meter { id: u32 },
    Drop { code: u32 },
    Psample { group: u32, cookie: Option<Arc<[u8]>>, last: bool },
}

/// An action list, validated against a flow's key and ready to run.
#[derive(Clone, Debug)]
pub struct Program {
    ops: Vec<Op>,
    actions: Vec<Action>,
    /// The ports, if output is all that the program does.
    outputs: Option<Vec<u32>>,
    /// Whether an upcall may have to report a key that is not the packet's.
    keeps_key: bool,
}

impl Program {
    /// Validates `actions` for packets that match `key` under `mask` and makes a program of them.
    ///
    /// # Errors
    /// What the kernel would refuse is refused, for the same reasons and in the same order.
    pub fn compile(
        actions: &[Action],
        key: &FlowKey,
        mask: &FlowMask,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let ops = compile::compile(actions, key, mask, limits)?;
        let outputs = actions
            .iter()
            .map(|action| if let Action::Output(port) = action { Some(*port) } else { None })
            .collect();
        let keeps_key = stale_key::possible(&ops);
        Ok(Self { ops, actions: actions.to_vec(), outputs, keeps_key })
    }

    /// The list that the program was made of.
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    /// The port, if sending the packet there is all that the program does.
    #[inline]
    pub fn single_output(&self) -> Option<u32> {
        match self.outputs.as_deref() {
            Some([port]) => Some(*port),
            Some(_) | None => None,
        }
    }

    /// The ports in order, if sending the packet to them is all that the program does. Empty: it drops.
    #[inline]
    pub fn outputs(&self) -> Option<&[u32]> {
        self.outputs.as_deref()
    }

    /// Whether the program has no actions, which means drop.
    #[inline]
    pub fn is_drop(&self) -> bool {
        self.actions.is_empty()
    }

    pub(crate) fn keeps_key(&self) -> bool {
        self.keeps_key
    }

    pub(crate) fn ops(&self) -> &[Op] {
        &self.ops
    }
}
