// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The families: numbers, commands, who may use them, policies, multicast groups. `nlctrl` describes them from this list, and
//! requests are admitted by it.

use portway_netlink::{Kind, Rule};
use portway_uapi::genetlink::{
    CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME, CTRL_ATTR_OP, CTRL_CMD_GETFAMILY, CTRL_CMD_GETPOLICY,
    CTRL_FAMILY, CTRL_MCGROUP, CTRL_VERSION, GENL_CMD_CAP_DO, GENL_CMD_CAP_DUMP, GENL_CMD_CAP_HASPOL,
    GENL_ID_CTRL, GENL_NAMSIZ, GENL_UNS_ADMIN_PERM,
};
use portway_uapi::openvswitch::*;
use portway_uapi::psample::{
    PSAMPLE_ATTR_NAMES, PSAMPLE_CMD_GET_GROUP, PSAMPLE_GENL_NAME, PSAMPLE_GENL_VERSION,
    PSAMPLE_NL_MCGRP_CONFIG_NAME, PSAMPLE_NL_MCGRP_SAMPLE_NAME,
};

/// Greatest size of the masks cache that a client may ask for: the kernel's, which comes from its per-CPU allocator.
pub const MASKS_CACHE_SIZE_MAX: u64 = 4096;

/// A command of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// Its number.
    pub cmd: u8,
    /// `GENL_*` flags, as `nlctrl` tells them.
    pub flags: u32,
}

impl Op {
    const fn new(cmd: u8, flags: u32) -> Self {
        Self { cmd, flags: flags | GENL_CMD_CAP_HASPOL }
    }

    /// A change: needs CAP_NET_ADMIN.
    const fn change(cmd: u8) -> Self {
        Self::new(cmd, GENL_CMD_CAP_DO | GENL_UNS_ADMIN_PERM)
    }

    /// A question, also as a dump.
    const fn question(cmd: u8) -> Self {
        Self::new(cmd, GENL_CMD_CAP_DO | GENL_CMD_CAP_DUMP)
    }

    /// A question that cannot be a dump.
    const fn one(cmd: u8) -> Self {
        Self::new(cmd, GENL_CMD_CAP_DO)
    }

    /// Whether the requester needs CAP_NET_ADMIN in the namespace.
    pub fn needs_admin(&self) -> bool {
        self.flags & GENL_UNS_ADMIN_PERM != 0
    }

    /// Whether it can be asked directly.
    pub fn can_do(&self) -> bool {
        self.flags & GENL_CMD_CAP_DO != 0
    }

    /// Whether it can be a dump.
    pub fn can_dump(&self) -> bool {
        self.flags & GENL_CMD_CAP_DUMP != 0
    }
}

/// A multicast group. Numbers are unique over all families; they are those that a kernel usually gives, below 33, so that addresses can
/// name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// The number for `NETLINK_ADD_MEMBERSHIP`.
    pub id: u32,
    /// Its name.
    pub name: &'static str,
    /// Whether members need CAP_NET_ADMIN in their namespace.
    pub needs_admin: bool,
}

impl Group {
    /// A group that anybody may join.
    const fn open(id: u32, name: &'static str) -> Self {
        Self { id, name, needs_admin: false }
    }
}

/// A generic-netlink family.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// `nlmsg_type` of its messages.
    pub id: u16,
    /// Name.
    pub name: &'static str,
    /// Version.
    pub version: u8,
    /// Bytes of its own header.
    pub header: usize,
    /// Policy of its requests; the greatest attribute type is one less than there are rules.
    pub rules: &'static [Rule],
    /// Commands, in the order that `nlctrl` tells them.
    pub ops: &'static [Op],
    /// From this command on, requests are looked at strictly (the kernel's `resv_start_op`).
    pub strict_from: u8,
    /// Its multicast groups.
    pub groups: &'static [Group],
}

impl Family {
    /// The command of that number.
    pub fn op(&self, cmd: u8) -> Option<&'static Op> {
        self.ops.iter().find(|op| op.cmd == cmd)
    }

    /// Greatest attribute type.
    pub fn max_attr(&self) -> u32 {
        self.rules.len() as u32 - 1
    }
}

const NON_NEGATIVE: Rule = Rule::S32.signed_range(0, i32::MAX as i64);
const NAME: Rule = Rule::nul_string(IFNAMSIZ as u16 - 1);
const CT_ZONE_LIMITS: Rule = Rule::NESTED;

pub(crate) const CTRL_RULES: [Rule; 11] = {
    let mut rules = [Rule::UNSPEC; 11];
    rules[CTRL_ATTR_FAMILY_ID as usize] = Rule::U16;
    rules[CTRL_ATTR_FAMILY_NAME as usize] = Rule::nul_string(GENL_NAMSIZ as u16 - 1);
    rules[CTRL_ATTR_OP as usize] = Rule::U32;
    rules
};

pub(crate) const DATAPATH_RULES: [Rule; 10] = {
    let mut rules = [Rule::UNSPEC; 10];
    rules[OVS_DP_ATTR_NAME as usize] = NAME;
    rules[OVS_DP_ATTR_UPCALL_PID as usize] = Rule::U32;
    rules[OVS_DP_ATTR_USER_FEATURES as usize] = Rule::U32;
    rules[OVS_DP_ATTR_MASKS_CACHE_SIZE as usize] = Rule::U32.max(MASKS_CACHE_SIZE_MAX);
    rules[OVS_DP_ATTR_IFINDEX as usize] = NON_NEGATIVE;
    rules
};

pub(crate) const VPORT_RULES: [Rule; 10] = {
    let mut rules = [Rule::UNSPEC; 10];
    rules[OVS_VPORT_ATTR_NAME as usize] = NAME;
    rules[OVS_VPORT_ATTR_STATS as usize] = Rule::at_least(size_of::<ovs_vport_stats>() as u16);
    rules[OVS_VPORT_ATTR_PORT_NO as usize] = Rule::U32;
    rules[OVS_VPORT_ATTR_TYPE as usize] = Rule::U32;
    rules[OVS_VPORT_ATTR_OPTIONS as usize] = Rule::NESTED;
    rules[OVS_VPORT_ATTR_IFINDEX as usize] = NON_NEGATIVE;
    rules[OVS_VPORT_ATTR_NETNSID as usize] = Rule::S32;
    rules
};

pub(crate) const FLOW_RULES: [Rule; 12] = {
    let mut rules = [Rule::UNSPEC; 12];
    rules[OVS_FLOW_ATTR_KEY as usize] = Rule::NESTED;
    rules[OVS_FLOW_ATTR_MASK as usize] = Rule::NESTED;
    rules[OVS_FLOW_ATTR_ACTIONS as usize] = Rule::NESTED;
    rules[OVS_FLOW_ATTR_CLEAR as usize] = Rule::FLAG;
    rules[OVS_FLOW_ATTR_PROBE as usize] = Rule::FLAG;
    rules[OVS_FLOW_ATTR_UFID as usize] = Rule::at_least(1);
    rules[OVS_FLOW_ATTR_UFID_FLAGS as usize] = Rule::U32;
    rules
};

pub(crate) const PACKET_RULES: [Rule; 12] = {
    let mut rules = [Rule::UNSPEC; 12];
    rules[OVS_PACKET_ATTR_PACKET as usize] = Rule::at_least(14);
    rules[OVS_PACKET_ATTR_KEY as usize] = Rule::NESTED;
    rules[OVS_PACKET_ATTR_ACTIONS as usize] = Rule::NESTED;
    rules[OVS_PACKET_ATTR_PROBE as usize] = Rule::FLAG;
    rules[OVS_PACKET_ATTR_MRU as usize] = Rule::U16;
    rules[OVS_PACKET_ATTR_HASH as usize] = Rule::U64;
    rules
};

/// What EXECUTE is read by: `nlctrl` describes the family as Linux 6.1 does, which does not have the last one.
pub(crate) const EXECUTE_RULES: [Rule; 13] = {
    let mut rules = [Rule::UNSPEC; 13];
    let mut kind = 0;
    while kind < PACKET_RULES.len() {
        rules[kind] = PACKET_RULES[kind];
        kind += 1;
    }
    rules[OVS_PACKET_ATTR_UPCALL_PID as usize] = Rule::U32;
    rules
};

pub(crate) const METER_RULES: [Rule; 10] = {
    let mut rules = [Rule::UNSPEC; 10];
    rules[OVS_METER_ATTR_ID as usize] = Rule::U32;
    rules[OVS_METER_ATTR_KBPS as usize] = Rule::FLAG;
    rules[OVS_METER_ATTR_STATS as usize] = Rule::at_least(16);
    rules[OVS_METER_ATTR_BANDS as usize] = Rule::NESTED;
    rules[OVS_METER_ATTR_USED as usize] = Rule::U64;
    rules[OVS_METER_ATTR_CLEAR as usize] = Rule::FLAG;
    rules[OVS_METER_ATTR_MAX_METERS as usize] = Rule::U32;
    rules[OVS_METER_ATTR_MAX_BANDS as usize] = Rule::U32;
    rules
};

pub(crate) const CT_LIMIT_RULES: [Rule; 2] = [Rule::of(Kind::Unspec), CT_ZONE_LIMITS];

/// Header of every OVS family.
const OVS_HDRLEN: usize = size_of::<ovs_header>();

/// The controller.
pub const NLCTRL: Family = Family {
    id: GENL_ID_CTRL,
    name: CTRL_FAMILY,
    version: CTRL_VERSION,
    header: 0,
    rules: &CTRL_RULES,
    ops: &[
        Op::question(CTRL_CMD_GETFAMILY),
        Op { cmd: CTRL_CMD_GETPOLICY, flags: GENL_CMD_CAP_DUMP | GENL_CMD_CAP_HASPOL },
    ],
    strict_from: CTRL_CMD_GETPOLICY + 1,
    groups: &[Group::open(GENL_ID_CTRL as u32, CTRL_MCGROUP)],
};

/// `ovs_datapath`.
pub const DATAPATH: Family = Family {
    id: 0x20,
    name: OVS_DATAPATH_FAMILY,
    version: OVS_DATAPATH_VERSION,
    header: OVS_HDRLEN,
    rules: &DATAPATH_RULES,
    ops: &[
        Op::change(OVS_DP_CMD_NEW),
        Op::change(OVS_DP_CMD_DEL),
        Op::question(OVS_DP_CMD_GET),
        Op::change(OVS_DP_CMD_SET),
    ],
    strict_from: OVS_DP_CMD_SET + 1,
    groups: &[Group::open(9, OVS_DATAPATH_MCGROUP)],
};

/// `ovs_vport`.
pub const VPORT: Family = Family {
    id: 0x21,
    name: OVS_VPORT_FAMILY,
    version: OVS_VPORT_VERSION,
    header: OVS_HDRLEN,
    rules: &VPORT_RULES,
    ops: &[
        Op::change(OVS_VPORT_CMD_NEW),
        Op::change(OVS_VPORT_CMD_DEL),
        Op::question(OVS_VPORT_CMD_GET),
        Op::change(OVS_VPORT_CMD_SET),
    ],
    strict_from: OVS_VPORT_CMD_SET + 1,
    groups: &[Group::open(10, OVS_VPORT_MCGROUP)],
};

/// `ovs_flow`.
pub const FLOW: Family = Family {
    id: 0x22,
    name: OVS_FLOW_FAMILY,
    version: OVS_FLOW_VERSION,
    header: OVS_HDRLEN,
    rules: &FLOW_RULES,
    ops: &[
        Op::change(OVS_FLOW_CMD_NEW),
        Op::change(OVS_FLOW_CMD_DEL),
        Op::question(OVS_FLOW_CMD_GET),
        Op::change(OVS_FLOW_CMD_SET),
    ],
    strict_from: OVS_FLOW_CMD_SET + 1,
    groups: &[Group::open(11, OVS_FLOW_MCGROUP)],
};

/// `ovs_packet`.
pub const PACKET: Family = Family {
    id: 0x23,
    name: OVS_PACKET_FAMILY,
    version: OVS_PACKET_VERSION,
    header: OVS_HDRLEN,
    rules: &PACKET_RULES,
    ops: &[Op::change(OVS_PACKET_CMD_EXECUTE)],
    strict_from: OVS_PACKET_CMD_EXECUTE + 1,
    groups: &[],
};

/// `ovs_meter`.
pub const METER: Family = Family {
    id: 0x24,
    name: OVS_METER_FAMILY,
    version: OVS_METER_VERSION,
    header: OVS_HDRLEN,
    rules: &METER_RULES,
    ops: &[
        Op::one(OVS_METER_CMD_FEATURES),
        Op::change(OVS_METER_CMD_SET),
        Op::one(OVS_METER_CMD_GET),
        Op::change(OVS_METER_CMD_DEL),
    ],
    strict_from: OVS_METER_CMD_GET + 1,
    groups: &[Group::open(12, OVS_METER_MCGROUP)],
};

/// `ovs_ct_limit`.
pub const CT_LIMIT: Family = Family {
    id: 0x25,
    name: OVS_CT_LIMIT_FAMILY,
    version: OVS_CT_LIMIT_VERSION,
    header: OVS_HDRLEN,
    rules: &CT_LIMIT_RULES,
    ops: &[Op::change(OVS_CT_LIMIT_CMD_SET), Op::change(OVS_CT_LIMIT_CMD_DEL), Op::one(OVS_CT_LIMIT_CMD_GET)],
    strict_from: OVS_CT_LIMIT_CMD_GET + 1,
    groups: &[Group::open(13, OVS_CT_LIMIT_MCGROUP)],
};

/// The group of `psample` to which samples are given.
pub const SAMPLES: Group = Group { id: 15, name: PSAMPLE_NL_MCGRP_SAMPLE_NAME, needs_admin: true };

/// `psample`: not one of Open vSwitch's, but its action of that name speaks it.
pub const PSAMPLE: Family = Family {
    id: 0x26,
    name: PSAMPLE_GENL_NAME,
    version: PSAMPLE_GENL_VERSION,
    header: 0,
    rules: &[Rule::UNSPEC; PSAMPLE_ATTR_NAMES.len()],
    ops: &[Op { cmd: PSAMPLE_CMD_GET_GROUP, flags: GENL_CMD_CAP_DUMP }],
    strict_from: PSAMPLE_CMD_GET_GROUP + 1,
    groups: &[Group::open(14, PSAMPLE_NL_MCGRP_CONFIG_NAME), SAMPLES],
};

/// Every family.
pub const FAMILIES: &[&Family] = &[&NLCTRL, &DATAPATH, &VPORT, &FLOW, &PACKET, &METER, &CT_LIMIT, &PSAMPLE];

/// The family of that number.
pub fn family_by_id(id: u16) -> Option<&'static Family> {
    FAMILIES.iter().copied().find(|family| family.id == id)
}

/// The family of that name.
pub fn family_by_name(name: &[u8]) -> Option<&'static Family> {
    FAMILIES.iter().copied().find(|family| family.name.as_bytes() == name)
}

/// The multicast group of that number.
pub fn group_by_id(id: u32) -> Option<Group> {
    FAMILIES.iter().flat_map(|family| family.groups).copied().find(|group| group.id == id)
}
