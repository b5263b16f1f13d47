// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The attributes of the families as scenarios write them: names, numbers, types.

/// The type of a value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Type {
    /// An integer of so many bytes, in host order.
    Int(usize),
    /// An integer of so many bytes, in network order.
    Be(usize),
    /// Port ids: one, or a list.
    Pid,
    /// An interface index.
    Ifindex,
    /// No value.
    Flag,
    /// Text with a NUL.
    Text,
    /// Bytes in hex.
    Hex,
    /// Bytes in hex, filled up or cut to this length.
    Fixed(usize),
    /// An Ethernet address.
    Mac,
    /// An IPv4 address.
    Ip4,
    /// An IPv6 address.
    Ip6,
    /// Either.
    Ip,
    /// Padding of a structure.
    Pad(usize),
    /// A structure.
    Struct(&'static [(&'static str, Type)]),
    /// An array.
    Array(&'static Type),
    /// An integer of so many bytes in host order, some values of which have names.
    Named(usize, &'static [(&'static str, u64)]),
    /// Attributes.
    Nest(Table),
    /// Attributes whose types do not count, all of this type.
    NestOf(&'static Type),
}

/// A table of attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// nlctrl.
    Ctrl,
    /// ovs_datapath.
    Datapath,
    /// ovs_vport.
    Vport,
    /// OVS_VPORT_ATTR_OPTIONS.
    VportOptions,
    /// Extensions in it.
    VportExtension,
    /// Upcall statistics.
    UpcallStats,
    /// ovs_flow.
    Flow,
    /// ovs_packet.
    Packet,
    /// ovs_meter.
    Meter,
    /// A meter's band.
    Band,
    /// ovs_ct_limit.
    CtLimit,
    /// OVS_KEY_ATTR_*.
    Key,
    /// The same, each value followed by a mask.
    KeyMasked,
    /// OVS_TUNNEL_KEY_ATTR_*.
    Tunnel,
    /// VXLAN extensions in it.
    VxlanExtension,
    /// OVS_NSH_KEY_ATTR_*.
    Nsh,
    /// The same with masks.
    NshMasked,
    /// OVS_ACTION_ATTR_*.
    Actions,
    /// OVS_USERSPACE_ATTR_*.
    Userspace,
    /// OVS_SAMPLE_ATTR_*.
    Sample,
    /// OVS_NAT_ATTR_*.
    Nat,
    /// OVS_CT_ATTR_*.
    Ct,
    /// OVS_CHECK_PKT_LEN_ATTR_*.
    CheckLength,
    /// OVS_DEC_TTL_ATTR_*.
    DecTtl,
    /// OVS_PSAMPLE_ATTR_*.
    Psample,
}

/// An attribute: number, name, type.
pub(crate) type Entry = (u16, &'static str, Type);

const U8: Type = Type::Int(1);
const U16: Type = Type::Int(2);
const U32: Type = Type::Int(4);
const U64: Type = Type::Int(8);
const BE16: Type = Type::Be(2);
const BE32: Type = Type::Be(4);

const ETHERNET: Type = Type::Struct(&[("src", Type::Mac), ("dst", Type::Mac)]);
const IPV4: Type = Type::Struct(&[
    ("src", Type::Ip4),
    ("dst", Type::Ip4),
    ("proto", U8),
    ("tos", U8),
    ("ttl", U8),
    ("frag", U8),
]);
const IPV6: Type = Type::Struct(&[
    ("src", Type::Ip6),
    ("dst", Type::Ip6),
    ("label", BE32),
    ("proto", U8),
    ("tclass", U8),
    ("hlimit", U8),
    ("frag", U8),
]);
const PORTS: Type = Type::Struct(&[("src", BE16), ("dst", BE16)]);
const ICMP: Type = Type::Struct(&[("type", U8), ("code", U8)]);
const ARP: Type = Type::Struct(&[
    ("sip", Type::Ip4),
    ("tip", Type::Ip4),
    ("op", BE16),
    ("sha", Type::Mac),
    ("tha", Type::Mac),
    ("pad", Type::Pad(2)),
]);
const ND: Type = Type::Struct(&[("target", Type::Ip6), ("sll", Type::Mac), ("tll", Type::Mac)]);
const CT4: Type = Type::Struct(&[
    ("src", Type::Ip4),
    ("dst", Type::Ip4),
    ("sport", BE16),
    ("dport", BE16),
    ("proto", U8),
    ("pad", Type::Pad(3)),
]);
const CT6: Type = Type::Struct(&[
    ("src", Type::Ip6),
    ("dst", Type::Ip6),
    ("sport", BE16),
    ("dport", BE16),
    ("proto", U8),
    ("pad", Type::Pad(3)),
]);
const NSH_BASE: Type =
    Type::Struct(&[("flags", U8), ("ttl", U8), ("mdtype", U8), ("np", U8), ("path_hdr", BE32)]);
const FLOW_STATS: Type = Type::Struct(&[("n_packets", U64), ("n_bytes", U64)]);
const DP_STATS: Type = Type::Struct(&[("n_hit", U64), ("n_missed", U64), ("n_lost", U64), ("n_flows", U64)]);
const MEGAFLOW_STATS: Type = Type::Struct(&[
    ("n_mask_hit", U64),
    ("n_masks", U32),
    ("pad0", Type::Pad(4)),
    ("n_cache_hit", U64),
    ("pad1", Type::Pad(8)),
]);
const VPORT_STATS: Type = Type::Struct(&[
    ("rx_packets", U64),
    ("tx_packets", U64),
    ("rx_bytes", U64),
    ("tx_bytes", U64),
    ("rx_errors", U64),
    ("tx_errors", U64),
    ("rx_dropped", U64),
    ("tx_dropped", U64),
]);
const VPORT_TYPE: Type =
    Type::Named(4, &[("netdev", 1), ("internal", 2), ("gre", 3), ("vxlan", 4), ("geneve", 5)]);
const ZONE_LIMIT: Type = Type::Struct(&[("zone_id", U32), ("limit", U32), ("count", U32)]);

/// Whether each value of the table is followed by a mask.
pub(crate) fn is_masked(table: Table) -> bool {
    matches!(table, Table::KeyMasked | Table::NshMasked)
}

/// The attributes of a table.
pub(crate) fn entries(table: Table) -> &'static [Entry] {
    match table {
        Table::Ctrl => &[
            (1, "FAMILY_ID", U16),
            (2, "FAMILY_NAME", Type::Text),
            (3, "VERSION", U32),
            (4, "HDRSIZE", U32),
            (5, "MAXATTR", U32),
            (6, "OPS", Type::Hex),
            (7, "MCAST_GROUPS", Type::Hex),
            (8, "POLICY", Type::Hex),
            (9, "OP_POLICY", Type::Hex),
            (10, "OP", U32),
        ],
        Table::Datapath => &[
            (1, "NAME", Type::Text),
            (2, "UPCALL_PID", Type::Pid),
            (3, "STATS", DP_STATS),
            (4, "MEGAFLOW_STATS", MEGAFLOW_STATS),
            (5, "USER_FEATURES", U32),
            (6, "PAD", Type::Hex),
            (7, "MASKS_CACHE_SIZE", U32),
            (8, "PER_CPU_PIDS", Type::Pid),
            (9, "IFINDEX", Type::Ifindex),
        ],
        Table::Vport => &[
            (1, "PORT_NO", U32),
            (2, "TYPE", VPORT_TYPE),
            (3, "NAME", Type::Text),
            (4, "OPTIONS", Type::Nest(Table::VportOptions)),
            (5, "UPCALL_PID", Type::Pid),
            (6, "STATS", VPORT_STATS),
            (7, "PAD", Type::Hex),
            (8, "IFINDEX", Type::Ifindex),
            (9, "NETNSID", U32),
            (10, "UPCALL_STATS", Type::Nest(Table::UpcallStats)),
        ],
        Table::VportOptions => &[(1, "DST_PORT", U16), (2, "EXTENSION", Type::Nest(Table::VportExtension))],
        Table::VportExtension => &[(1, "GBP", Type::Flag)],
        Table::UpcallStats => &[(0, "SUCCESS", U64), (1, "FAIL", U64)],
        Table::Flow => &[
            (1, "KEY", Type::Nest(Table::Key)),
            (2, "ACTIONS", Type::Nest(Table::Actions)),
            (3, "STATS", FLOW_STATS),
            (4, "TCP_FLAGS", U8),
            (5, "USED", U64),
            (6, "CLEAR", Type::Flag),
            (7, "MASK", Type::Nest(Table::Key)),
            (8, "PROBE", Type::Flag),
            (9, "UFID", Type::Hex),
            (10, "UFID_FLAGS", U32),
            (11, "PAD", Type::Hex),
        ],
        Table::Packet => &[
            (1, "PACKET", Type::Hex),
            (2, "KEY", Type::Nest(Table::Key)),
            (3, "ACTIONS", Type::Nest(Table::Actions)),
            (4, "USERDATA", Type::Hex),
            (5, "EGRESS_TUN_KEY", Type::Nest(Table::Tunnel)),
            (6, "UNUSED1", Type::Hex),
            (7, "UNUSED2", Type::Hex),
            (8, "PROBE", Type::Flag),
            (9, "MRU", U16),
            (10, "LEN", U32),
            (11, "HASH", U64),
            (12, "UPCALL_PID", Type::Pid),
        ],
        Table::Meter => &[
            (1, "ID", U32),
            (2, "KBPS", Type::Flag),
            (3, "STATS", FLOW_STATS),
            (4, "BANDS", Type::NestOf(&Type::Nest(Table::Band))),
            (5, "USED", U64),
            (6, "CLEAR", Type::Flag),
            (7, "MAX_METERS", U32),
            (8, "MAX_BANDS", U32),
            (9, "PAD", Type::Hex),
        ],
        Table::Band => &[
            (1, "TYPE", Type::Named(4, &[("DROP", 1)])),
            (2, "RATE", U32),
            (3, "BURST", U32),
            (4, "STATS", FLOW_STATS),
        ],
        Table::CtLimit => &[(1, "ZONE_LIMIT", Type::Array(&ZONE_LIMIT))],
        Table::Key => key_entries(Table::Key),
        Table::KeyMasked => key_entries(Table::KeyMasked),
        Table::Tunnel => &[
            (0, "ID", Type::Be(8)),
            (1, "IPV4_SRC", Type::Ip4),
            (2, "IPV4_DST", Type::Ip4),
            (3, "TOS", U8),
            (4, "TTL", U8),
            (5, "DONT_FRAGMENT", Type::Flag),
            (6, "CSUM", Type::Flag),
            (7, "OAM", Type::Flag),
            (8, "GENEVE_OPTS", Type::Hex),
            (9, "TP_SRC", BE16),
            (10, "TP_DST", BE16),
            (11, "VXLAN_OPTS", Type::Nest(Table::VxlanExtension)),
            (12, "IPV6_SRC", Type::Ip6),
            (13, "IPV6_DST", Type::Ip6),
            (14, "PAD", Type::Hex),
            (15, "ERSPAN_OPTS", Type::Hex),
            (16, "IPV4_INFO_BRIDGE", Type::Flag),
        ],
        Table::VxlanExtension => &[(1, "GBP", U32)],
        Table::Nsh | Table::NshMasked => {
            &[(1, "BASE", NSH_BASE), (2, "MD1", Type::Fixed(16)), (3, "MD2", Type::Hex)]
        }
        Table::Actions
        | Table::Userspace
        | Table::Sample
        | Table::Nat
        | Table::Ct
        | Table::CheckLength
        | Table::DecTtl
        | Table::Psample => action_entries(table),
    }
}

macro_rules! key_table {
    ($nsh:expr) => {
        &[
            (1, "ENCAP", Type::Nest(Table::Key)),
            (2, "PRIORITY", U32),
            (3, "IN_PORT", U32),
            (4, "ETHERNET", ETHERNET),
            (5, "VLAN", BE16),
            (6, "ETHERTYPE", BE16),
            (7, "IPV4", IPV4),
            (8, "IPV6", IPV6),
            (9, "TCP", PORTS),
            (10, "UDP", PORTS),
            (11, "ICMP", ICMP),
            (12, "ICMPV6", ICMP),
            (13, "ARP", ARP),
            (14, "ND", ND),
            (15, "SKB_MARK", U32),
            (16, "TUNNEL", Type::Nest(Table::Tunnel)),
            (17, "SCTP", PORTS),
            (18, "TCP_FLAGS", BE16),
            (19, "DP_HASH", U32),
            (20, "RECIRC_ID", U32),
            (21, "MPLS", Type::Array(&BE32)),
            (22, "CT_STATE", U32),
            (23, "CT_ZONE", U16),
            (24, "CT_MARK", U32),
            (25, "CT_LABELS", Type::Fixed(16)),
            (26, "CT_ORIG_TUPLE_IPV4", CT4),
            (27, "CT_ORIG_TUPLE_IPV6", CT6),
            (28, "NSH", Type::Nest($nsh)),
            (29, "PACKET_TYPE", BE32),
            (30, "ND_EXTENSIONS", Type::Hex),
            (31, "TUNNEL_INFO", Type::Hex),
            (32, "IPV6_EXTHDRS", U16),
        ]
    };
}

fn key_entries(table: Table) -> &'static [Entry] {
    if table == Table::KeyMasked { key_table!(Table::NshMasked) } else { key_table!(Table::Nsh) }
}

fn action_entries(table: Table) -> &'static [Entry] {
    match table {
        Table::Userspace => &[
            (1, "PID", Type::Pid),
            (2, "USERDATA", Type::Hex),
            (3, "EGRESS_TUN_PORT", U32),
            (4, "ACTIONS", Type::Flag),
        ],
        Table::Sample => &[(1, "PROBABILITY", U32), (2, "ACTIONS", Type::Nest(Table::Actions))],
        Table::Nat => &[
            (1, "SRC", Type::Flag),
            (2, "DST", Type::Flag),
            (3, "IP_MIN", Type::Ip),
            (4, "IP_MAX", Type::Ip),
            (5, "PROTO_MIN", U16),
            (6, "PROTO_MAX", U16),
            (7, "PERSISTENT", Type::Flag),
            (8, "PROTO_HASH", Type::Flag),
            (9, "PROTO_RANDOM", Type::Flag),
        ],
        Table::Ct => &[
            (1, "COMMIT", Type::Flag),
            (2, "ZONE", U16),
            (3, "MARK", Type::Struct(&[("value", U32), ("mask", U32)])),
            (4, "LABELS", Type::Struct(&[("value", Type::Fixed(16)), ("mask", Type::Fixed(16))])),
            (5, "HELPER", Type::Text),
            (6, "NAT", Type::Nest(Table::Nat)),
            (7, "FORCE_COMMIT", Type::Flag),
            (8, "EVENTMASK", U32),
            (9, "TIMEOUT", Type::Text),
        ],
        Table::CheckLength => &[
            (1, "PKT_LEN", U16),
            (2, "IF_GREATER", Type::Nest(Table::Actions)),
            (3, "IF_LESS_EQUAL", Type::Nest(Table::Actions)),
        ],
        Table::DecTtl => &[(1, "ACTION", Type::Nest(Table::Actions))],
        Table::Psample => &[(1, "GROUP", U32), (2, "COOKIE", Type::Hex)],
        _ => &[
            (1, "OUTPUT", U32),
            (2, "USERSPACE", Type::Nest(Table::Userspace)),
            (3, "SET", Type::Nest(Table::Key)),
            (4, "PUSH_VLAN", Type::Struct(&[("tpid", BE16), ("tci", BE16)])),
            (5, "POP_VLAN", Type::Flag),
            (6, "SAMPLE", Type::Nest(Table::Sample)),
            (7, "RECIRC", U32),
            (8, "HASH", Type::Struct(&[("alg", U32), ("basis", U32)])),
            (9, "PUSH_MPLS", Type::Struct(&[("lse", BE32), ("ethertype", BE16), ("pad", Type::Pad(2))])),
            (10, "POP_MPLS", BE16),
            (11, "SET_MASKED", Type::Nest(Table::KeyMasked)),
            (12, "CT", Type::Nest(Table::Ct)),
            (13, "TRUNC", U32),
            (14, "PUSH_ETH", ETHERNET),
            (15, "POP_ETH", Type::Flag),
            (16, "CT_CLEAR", Type::Flag),
            (17, "PUSH_NSH", Type::Nest(Table::Key)),
            (18, "POP_NSH", Type::Flag),
            (19, "METER", U32),
            (20, "CLONE", Type::Nest(Table::Actions)),
            (21, "CHECK_PKT_LEN", Type::Nest(Table::CheckLength)),
            (22, "ADD_MPLS", Type::Struct(&[("lse", BE32), ("ethertype", BE16), ("tun_flags", U16)])),
            (23, "DEC_TTL", Type::Nest(Table::DecTtl)),
            (24, "DROP", U32),
            (25, "PSAMPLE", Type::Nest(Table::Psample)),
        ],
    }
}

/// A family as scenarios name it: its version, bytes of its header, attributes and commands.
#[derive(Debug)]
pub(crate) struct FamilyTable {
    /// Name.
    pub(crate) name: &'static str,
    /// Version that requests have.
    pub(crate) version: u8,
    /// Bytes of the family's header.
    pub(crate) header: usize,
    /// Attributes.
    pub(crate) table: Table,
    /// Commands.
    pub(crate) commands: &'static [(&'static str, u8)],
}

const CRUD: &[(&str, u8)] = &[("NEW", 1), ("DEL", 2), ("GET", 3), ("SET", 4)];

/// Every family.
pub(crate) const FAMILIES: &[FamilyTable] = &[
    FamilyTable {
        name: "nlctrl",
        version: 2,
        header: 0,
        table: Table::Ctrl,
        commands: &[("NEWFAMILY", 1), ("DELFAMILY", 2), ("GETFAMILY", 3), ("GETPOLICY", 10)],
    },
    FamilyTable { name: "ovs_datapath", version: 2, header: 4, table: Table::Datapath, commands: CRUD },
    FamilyTable { name: "ovs_vport", version: 1, header: 4, table: Table::Vport, commands: CRUD },
    FamilyTable { name: "ovs_flow", version: 1, header: 4, table: Table::Flow, commands: CRUD },
    FamilyTable {
        name: "ovs_packet",
        version: 1,
        header: 4,
        table: Table::Packet,
        commands: &[("MISS", 1), ("ACTION", 2), ("EXECUTE", 3)],
    },
    FamilyTable {
        name: "ovs_meter",
        version: 1,
        header: 4,
        table: Table::Meter,
        commands: &[("FEATURES", 1), ("SET", 2), ("DEL", 3), ("GET", 4)],
    },
    FamilyTable {
        name: "ovs_ct_limit",
        version: 1,
        header: 4,
        table: Table::CtLimit,
        commands: &[("SET", 1), ("DEL", 2), ("GET", 3)],
    },
];
