// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `linux/netlink.h`: the envelope of every netlink message, attributes, extended acknowledgements and policy dumps.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct nlmsghdr`: in front of every netlink message. All fields in host byte order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct nlmsghdr {
    /// Bytes of the message, this header included, padding after the message not included.
    pub nlmsg_len: u32,
    /// One of the `NLMSG_*` control types, or a family's type (from [`NLMSG_MIN_TYPE`]).
    pub nlmsg_type: u16,
    /// `NLM_F_*`.
    pub nlmsg_flags: u16,
    /// Chosen by the requester; a reply repeats it, a device event has 0.
    pub nlmsg_seq: u32,
    /// Port id: of the requester in replies, 0 in device events.
    pub nlmsg_pid: u32,
}

/// `struct nlmsgerr`, the payload of [`NLMSG_ERROR`]; the request's payload follows when `error` is not 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct nlmsgerr {
    /// 0, or a negative errno.
    pub error: i32,
    /// Header of the request.
    pub msg: nlmsghdr,
}

/// `struct nlattr`: in front of every attribute.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct nlattr {
    /// Bytes of the attribute, this header included, padding not included.
    pub nla_len: u16,
    /// Type in the low 14 bits, `NLA_F_*` above.
    pub nla_type: u16,
}

/// `struct sockaddr_nl`: the address of a netlink socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct sockaddr_nl {
    /// `AF_NETLINK`.
    pub nl_family: u16,
    /// Zero.
    pub nl_pad: u16,
    /// Port id; 0 is the kernel.
    pub nl_pid: u32,
    /// Multicast groups 1..=32 as a mask.
    pub nl_groups: u32,
}

/// Size of [`nlmsghdr`] in bytes (`NLMSG_HDRLEN`).
pub const NLMSG_HDRLEN: usize = 16;
/// Messages start at multiples of this many bytes.
pub const NLMSG_ALIGNTO: usize = 4;
/// Size of [`nlattr`] in bytes (`NLA_HDRLEN`).
pub const NLA_HDRLEN: usize = 4;
/// Attributes start at multiples of this many bytes.
pub const NLA_ALIGNTO: usize = 4;
/// Attribute type bit: the payload is a list of attributes.
pub const NLA_F_NESTED: u16 = 1 << 15;
/// Attribute type bit: the payload is in network byte order.
pub const NLA_F_NET_BYTEORDER: u16 = 1 << 14;
/// The bits of `nla_type` that are the type.
pub const NLA_TYPE_MASK: u16 = !(NLA_F_NESTED | NLA_F_NET_BYTEORDER);

c_enum! {
    /// Socket protocols of `AF_NETLINK`.
    NETLINK_PROTO_NAMES: i32 {
        /// Links, addresses, routes, traffic control.
        NETLINK_ROUTE = 0,
        /// Netfilter: conntrack among others.
        NETLINK_NETFILTER = 12,
        /// Generic netlink: the datapath families.
        NETLINK_GENERIC = 16,
    }
}

c_enum! {
    /// Control message types.
    NLMSG_NAMES: u16 {
        /// Ignore.
        NLMSG_NOOP = 1,
        /// Error or acknowledgement: [`nlmsgerr`].
        NLMSG_ERROR = 2,
        /// End of a dump; carries an `i32` result.
        NLMSG_DONE = 3,
        /// Data was lost.
        NLMSG_OVERRUN = 4,
        /// The first type that is not a control message.
        NLMSG_MIN_TYPE = 0x10,
    }
}

c_enum! {
    /// `nlmsg_flags`. The meaning of bits 8 and up depends on the message.
    NLM_F_NAMES: u16 {
        /// It is a request.
        NLM_F_REQUEST = 0x01,
        /// Part of a sequence that [`NLMSG_DONE`] ends.
        NLM_F_MULTI = 0x02,
        /// Answer with an acknowledgement, also on success.
        NLM_F_ACK = 0x04,
        /// Send the resulting notification to the requester too.
        NLM_F_ECHO = 0x08,
        /// The dump may be inconsistent: something changed while it ran.
        NLM_F_DUMP_INTR = 0x10,
        /// The dump was filtered as asked.
        NLM_F_DUMP_FILTERED = 0x20,
        /// GET: the whole table.
        NLM_F_ROOT = 0x100,
        /// GET: all that match.
        NLM_F_MATCH = 0x200,
        /// GET: atomically.
        NLM_F_ATOMIC = 0x400,
        /// GET: a dump (both bits must be set).
        NLM_F_DUMP = NLM_F_ROOT | NLM_F_MATCH,
        /// NEW: replace what exists.
        NLM_F_REPLACE = 0x100,
        /// NEW: fail if it exists.
        NLM_F_EXCL = 0x200,
        /// NEW: create if it does not exist.
        NLM_F_CREATE = 0x400,
        /// NEW: add at the end.
        NLM_F_APPEND = 0x800,
        /// DELETE: not recursively.
        NLM_F_NONREC = 0x100,
        /// DELETE: several objects.
        NLM_F_BULK = 0x200,
        /// ACK: the request's payload was left out.
        NLM_F_CAPPED = 0x100,
        /// ACK: attributes (`NLMSGERR_ATTR_*`) follow.
        NLM_F_ACK_TLVS = 0x200,
    }
}

c_enum! {
    /// `enum nlmsgerr_attrs`: attributes of an acknowledgement with `NLM_F_ACK_TLVS`.
    NLMSGERR_ATTR_NAMES: u16 {
        /// Not used.
        NLMSGERR_ATTR_UNUSED = 0,
        /// String: the message for people.
        NLMSGERR_ATTR_MSG = 1,
        /// `u32`: offset of the offending attribute from the request's header.
        NLMSGERR_ATTR_OFFS = 2,
        /// Bytes: family specific, on success.
        NLMSGERR_ATTR_COOKIE = 3,
        /// Nest of `NL_POLICY_TYPE_ATTR_*`: what would have been valid.
        NLMSGERR_ATTR_POLICY = 4,
        /// `u32`: type of the required attribute that is missing.
        NLMSGERR_ATTR_MISS_TYPE = 5,
        /// `u32`: offset of the nest in which it is missing.
        NLMSGERR_ATTR_MISS_NEST = 6,
    }
}

c_enum! {
    /// Socket options at level `SOL_NETLINK`.
    NETLINK_SOCKOPT_NAMES: i32 {
        /// Join a multicast group.
        NETLINK_ADD_MEMBERSHIP = 1,
        /// Leave a multicast group.
        NETLINK_DROP_MEMBERSHIP = 2,
        /// Tell the group of each message.
        NETLINK_PKTINFO = 3,
        /// Report failures of broadcasts.
        NETLINK_BROADCAST_ERROR = 4,
        /// Do not report overruns.
        NETLINK_NO_ENOBUFS = 5,
        /// Hear groups in all namespaces that have an id.
        NETLINK_LISTEN_ALL_NSID = 8,
        /// Read the groups joined.
        NETLINK_LIST_MEMBERSHIPS = 9,
        /// Leave the request's payload out of errors.
        NETLINK_CAP_ACK = 10,
        /// Send `NLMSGERR_ATTR_*`.
        NETLINK_EXT_ACK = 11,
        /// Check dump requests strictly.
        NETLINK_GET_STRICT_CHK = 12,
    }
}

c_enum! {
    /// `enum netlink_attribute_type`: the kinds that a policy dump names.
    NL_ATTR_TYPE_NAMES: u32 {
        /// Not used.
        NL_ATTR_TYPE_INVALID = 0,
        /// Present or not.
        NL_ATTR_TYPE_FLAG = 1,
        /// `u8`.
        NL_ATTR_TYPE_U8 = 2,
        /// `u16`.
        NL_ATTR_TYPE_U16 = 3,
        /// `u32`.
        NL_ATTR_TYPE_U32 = 4,
        /// `u64`.
        NL_ATTR_TYPE_U64 = 5,
        /// `i8`.
        NL_ATTR_TYPE_S8 = 6,
        /// `i16`.
        NL_ATTR_TYPE_S16 = 7,
        /// `i32`.
        NL_ATTR_TYPE_S32 = 8,
        /// `i64`.
        NL_ATTR_TYPE_S64 = 9,
        /// Bytes.
        NL_ATTR_TYPE_BINARY = 10,
        /// Text, NUL optional.
        NL_ATTR_TYPE_STRING = 11,
        /// Text, NUL required.
        NL_ATTR_TYPE_NUL_STRING = 12,
        /// A list of attributes.
        NL_ATTR_TYPE_NESTED = 13,
        /// A list of lists of attributes.
        NL_ATTR_TYPE_NESTED_ARRAY = 14,
        /// Value and selector, 32 bits each.
        NL_ATTR_TYPE_BITFIELD32 = 15,
    }
}

c_enum! {
    /// `enum netlink_policy_type_attr`: attributes of one entry of a policy dump.
    NL_POLICY_TYPE_ATTR_NAMES: u16 {
        /// Not used.
        NL_POLICY_TYPE_ATTR_UNSPEC = 0,
        /// `u32`: one of `NL_ATTR_TYPE_*`.
        NL_POLICY_TYPE_ATTR_TYPE = 1,
        /// `i64`: least value.
        NL_POLICY_TYPE_ATTR_MIN_VALUE_S = 2,
        /// `i64`: greatest value.
        NL_POLICY_TYPE_ATTR_MAX_VALUE_S = 3,
        /// `u64`: least value.
        NL_POLICY_TYPE_ATTR_MIN_VALUE_U = 4,
        /// `u64`: greatest value.
        NL_POLICY_TYPE_ATTR_MAX_VALUE_U = 5,
        /// `u32`: least length in bytes.
        NL_POLICY_TYPE_ATTR_MIN_LENGTH = 6,
        /// `u32`: greatest length in bytes.
        NL_POLICY_TYPE_ATTR_MAX_LENGTH = 7,
        /// `u32`: index of the policy inside a nest.
        NL_POLICY_TYPE_ATTR_POLICY_IDX = 8,
        /// `u32`: greatest attribute type inside a nest.
        NL_POLICY_TYPE_ATTR_POLICY_MAXTYPE = 9,
        /// `u32`: bits that a bitfield32 may have.
        NL_POLICY_TYPE_ATTR_BITFIELD32_MASK = 10,
        /// Padding that aligns 64-bit values.
        NL_POLICY_TYPE_ATTR_PAD = 11,
        /// `u64`: bits that an unsigned integer may have.
        NL_POLICY_TYPE_ATTR_MASK = 12,
    }
}
