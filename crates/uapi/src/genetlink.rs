// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `linux/genetlink.h`: generic netlink's header and its controller family, which tells clients the families' numbers.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct genlmsghdr`: follows [`crate::netlink::nlmsghdr`] in every generic-netlink message.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct genlmsghdr {
    /// The family's command.
    pub cmd: u8,
    /// The family's version as the sender knows it.
    pub version: u8,
    /// Zero.
    pub reserved: u16,
}

/// Size of [`genlmsghdr`] in bytes.
pub const GENL_HDRLEN: usize = 4;
/// Bytes of a family or group name with its NUL.
pub const GENL_NAMSIZ: usize = 16;
/// The lowest family number.
pub const GENL_MIN_ID: u16 = 0x10;
/// The highest family number.
pub const GENL_MAX_ID: u16 = 1023;
/// The controller's family number.
pub const GENL_ID_CTRL: u16 = 0x10;
/// The first number that families are given as they register.
pub const GENL_START_ALLOC: u16 = 0x13;
/// The controller's family name.
pub const CTRL_FAMILY: &str = "nlctrl";
/// The controller's multicast group.
pub const CTRL_MCGROUP: &str = "notify";
/// The controller's version.
pub const CTRL_VERSION: u8 = 2;

c_enum! {
    /// Flags of an operation (`CTRL_ATTR_OP_FLAGS`).
    GENL_OP_FLAG_NAMES: u32 {
        /// Needs `CAP_NET_ADMIN` in the initial user namespace.
        GENL_ADMIN_PERM = 0x01,
        /// Can be asked directly.
        GENL_CMD_CAP_DO = 0x02,
        /// Can be dumped.
        GENL_CMD_CAP_DUMP = 0x04,
        /// Has a policy.
        GENL_CMD_CAP_HASPOL = 0x08,
        /// Needs `CAP_NET_ADMIN` in the namespace's user namespace.
        GENL_UNS_ADMIN_PERM = 0x10,
    }
}

c_enum! {
    /// Commands of the controller.
    CTRL_CMD_NAMES: u8 {
        /// Not used.
        CTRL_CMD_UNSPEC = 0,
        /// A family is there (reply and notification).
        CTRL_CMD_NEWFAMILY = 1,
        /// A family has gone.
        CTRL_CMD_DELFAMILY = 2,
        /// Find a family by name or number, or dump all.
        CTRL_CMD_GETFAMILY = 3,
        /// Operations are there.
        CTRL_CMD_NEWOPS = 4,
        /// Operations have gone.
        CTRL_CMD_DELOPS = 5,
        /// Ask for operations.
        CTRL_CMD_GETOPS = 6,
        /// A multicast group is there.
        CTRL_CMD_NEWMCAST_GRP = 7,
        /// A multicast group has gone.
        CTRL_CMD_DELMCAST_GRP = 8,
        /// Not used.
        CTRL_CMD_GETMCAST_GRP = 9,
        /// Dump a family's policies.
        CTRL_CMD_GETPOLICY = 10,
    }
}

c_enum! {
    /// Attributes of the controller's messages.
    CTRL_ATTR_NAMES: u16 {
        /// Not used.
        CTRL_ATTR_UNSPEC = 0,
        /// `u16`: the family's number (`nlmsg_type`).
        CTRL_ATTR_FAMILY_ID = 1,
        /// String: the family's name.
        CTRL_ATTR_FAMILY_NAME = 2,
        /// `u32`: the family's version.
        CTRL_ATTR_VERSION = 3,
        /// `u32`: bytes of the family's own header.
        CTRL_ATTR_HDRSIZE = 4,
        /// `u32`: greatest attribute type.
        CTRL_ATTR_MAXATTR = 5,
        /// Nest of numbered `CTRL_ATTR_OP_*` nests.
        CTRL_ATTR_OPS = 6,
        /// Nest of numbered `CTRL_ATTR_MCAST_GRP_*` nests.
        CTRL_ATTR_MCAST_GROUPS = 7,
        /// Nest: policies by index.
        CTRL_ATTR_POLICY = 8,
        /// Nest: which policy an operation uses.
        CTRL_ATTR_OP_POLICY = 9,
        /// `u32`: an operation.
        CTRL_ATTR_OP = 10,
    }
}

c_enum! {
    /// Attributes of an operation.
    CTRL_ATTR_OP_NAMES: u16 {
        /// Not used.
        CTRL_ATTR_OP_UNSPEC = 0,
        /// `u32`: the command.
        CTRL_ATTR_OP_ID = 1,
        /// `u32`: `GENL_*` flags.
        CTRL_ATTR_OP_FLAGS = 2,
    }
}

c_enum! {
    /// Attributes of a multicast group.
    CTRL_ATTR_MCAST_GRP_NAMES: u16 {
        /// Not used.
        CTRL_ATTR_MCAST_GRP_UNSPEC = 0,
        /// String: the group's name.
        CTRL_ATTR_MCAST_GRP_NAME = 1,
        /// `u32`: the number for `NETLINK_ADD_MEMBERSHIP`.
        CTRL_ATTR_MCAST_GRP_ID = 2,
    }
}

c_enum! {
    /// Attributes of an operation's policies.
    CTRL_ATTR_POLICY_NAMES: u16 {
        /// Not used.
        CTRL_ATTR_POLICY_UNSPEC = 0,
        /// `u32`: index of the policy for direct requests.
        CTRL_ATTR_POLICY_DO = 1,
        /// `u32`: index of the policy for dumps.
        CTRL_ATTR_POLICY_DUMP = 2,
    }
}
