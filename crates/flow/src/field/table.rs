// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The rows. Groups are in the kernel's order of attributes, fields in the order of the attribute's structure (linux/openvswitch.h).

use std::mem::offset_of;

use portway_uapi::openvswitch as ovs;

use super::{Field, Format, Group, Order, Prerequisite};
use crate::key::FlowKey;

/// Declares the groups once; the enums and the table derive from it. A field's row:
/// `Id = "name": key member [+ bytes into it], bytes in the key => bytes in the attribute, bits, order, format, settable;`
macro_rules! groups {
    ($(
        $(#[doc = $group_doc:literal])+
        $group:ident = $group_name:literal: $attr:ident, $prerequisite:ident {
            $(
                $(#[doc = $doc:literal])+
                $id:ident = $name:literal: $member:ident + $skip:literal, $width:literal => $wire:literal,
                    $bits:literal, $order:ident, $format:ident, $settable:literal;
            )+
        }
    )+) => {
        /// A group of fields: one attribute.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum GroupId { $($(#[doc = $group_doc])+ $group,)+ }

        /// A match field.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum FieldId { $($($(#[doc = $doc])+ $id,)+)+ }

        /// How many fields there are.
        pub const FIELD_COUNT: usize = [$($(FieldId::$id,)+)+].len();

        /// The table.
        pub const GROUPS: &[Group] = &[$(
            Group {
                id: GroupId::$group,
                name: $group_name,
                attr: ovs::$attr,
                prerequisite: Prerequisite::$prerequisite,
                fields: &[$(
                    Field {
                        id: FieldId::$id,
                        name: $name,
                        offset: offset_of!(FlowKey, $member) + $skip,
                        width: $width,
                        wire: $wire,
                        bits: $bits,
                        order: Order::$order,
                        format: Format::$format,
                        settable: $settable,
                        doc: concat!($($doc,)+).trim_ascii(),
                    },
                )+],
                wire_len: 0 $(+ $wire)+,
                doc: concat!($($group_doc,)+).trim_ascii(),
            },
        )+];
    };
}

groups! {
    /// Recirculation id: 0 for a packet fresh from a port, else the number that the `recirc` action gave.
    RecircId = "recirc_id": OVS_KEY_ATTR_RECIRC_ID, Always {
        /// Recirculation id.
        RecircId = "": recirc_id + 0, 4 => 4, 32, Host, Hex, false;
    }
    /// Hash left by the `hash` action; 0: none.
    DpHash = "dp_hash": OVS_KEY_ATTR_DP_HASH, Always {
        /// Hash.
        DpHash = "": dp_hash + 0, 4 => 4, 32, Host, Hex, false;
    }
    /// Priority of the packet in the host (skb priority).
    Priority = "skb_priority": OVS_KEY_ATTR_PRIORITY, Always {
        /// Priority.
        Priority = "": priority + 0, 4 => 4, 32, Host, Hex, true;
    }
    /// Outer headers of a packet that came out of a tunnel.
    Tunnel = "tunnel": OVS_KEY_ATTR_TUNNEL, Tunnel {
        /// Tunnel id: the VNI or key.
        TunId = "tun_id": tun_id + 0, 8 => 0, 64, Network, Hex, true;
        /// Outer source; `src` of IPv4, `ipv6_src` of IPv6.
        TunSrc = "src": tun_src + 0, 16 => 0, 128, Network, Part, true;
        /// Outer destination; `dst` of IPv4, `ipv6_dst` of IPv6.
        TunDst = "dst": tun_dst + 0, 16 => 0, 128, Network, Part, true;
        /// Outer flow label of IPv6; not part of the text form.
        TunLabel = "label": tun_label + 0, 4 => 0, 20, Network, Part, false;
        /// Outer type of service.
        TunTos = "tos": tun_tos + 0, 1 => 0, 8, Network, Hex, true;
        /// Outer time to live.
        TunTtl = "ttl": tun_ttl + 0, 1 => 0, 8, Network, Dec, true;
        /// Outer UDP source port.
        TunTpSrc = "tp_src": tun_tp_src + 0, 2 => 0, 16, Network, Dec, true;
        /// Outer UDP destination port.
        TunTpDst = "tp_dst": tun_tp_dst + 0, 2 => 0, 16, Network, Dec, true;
        /// Outer flags: `df`, `csum`, `key`, `oam`.
        TunFlags = "flags": tun_flags + 0, 2 => 0, 16, Host, TunnelFlags, true;
        /// Outer address family: 4 or 6, from the addresses that are given.
        TunProto = "proto": tun_proto + 0, 1 => 0, 8, Network, Part, false;
        /// Bytes of the options.
        TunOptsLen = "opts_len": tun_opts_len + 0, 1 => 0, 8, Network, Part, false;
        /// `geneve({...})` options, `vxlan(gbp(...))` or `erspan(...)` metadata.
        TunOpts = "opts": tun_opts + 0, 256 => 0, 2040, Network, Part, true;
    }
    /// Input port.
    InPort = "in_port": OVS_KEY_ATTR_IN_PORT, Always {
        /// Port number.
        InPort = "": in_port + 0, 4 => 4, 32, Host, Port, false;
    }
    /// Mark of the packet in the host (skb mark).
    SkbMark = "skb_mark": OVS_KEY_ATTR_SKB_MARK, Always {
        /// Mark.
        SkbMark = "": skb_mark + 0, 4 => 4, 32, Host, Hex, true;
    }
    /// Connection tracking state: `new`, `est`, `rel`, `rpl`, `inv`, `trk`, `snat`, `dnat`.
    CtState = "ct_state": OVS_KEY_ATTR_CT_STATE, Always {
        /// State bits (OVS_CS_F_*).
        CtState = "": ct_state + 0, 1 => 4, 8, Host, CtState, false;
    }
    /// Connection tracking zone.
    CtZone = "ct_zone": OVS_KEY_ATTR_CT_ZONE, Always {
        /// Zone.
        CtZone = "": ct_zone + 0, 2 => 2, 16, Host, Hex, false;
    }
    /// Mark of the connection.
    CtMark = "ct_mark": OVS_KEY_ATTR_CT_MARK, Always {
        /// Mark.
        CtMark = "": ct_mark + 0, 4 => 4, 32, Host, Hex, false;
    }
    /// Labels of the connection.
    CtLabels = "ct_label": OVS_KEY_ATTR_CT_LABELS, Always {
        /// 128 bits.
        CtLabels = "": ct_labels + 0, 16 => 16, 128, Host, Hex, false;
    }
    /// The connection's first packet, as it was before any address translation, over IPv4.
    CtTuple4 = "ct_tuple4": OVS_KEY_ATTR_CT_ORIG_TUPLE_IPV4, TrackedIpv4 {
        /// Source address.
        CtTuple4Src = "src": ct_orig_src + 0, 4 => 4, 32, Network, Ipv4, false;
        /// Destination address.
        CtTuple4Dst = "dst": ct_orig_dst + 0, 4 => 4, 32, Network, Ipv4, false;
        /// Source port.
        CtTuple4TpSrc = "tp_src": ct_orig_tp_src + 0, 2 => 2, 16, Network, Dec, false;
        /// Destination port.
        CtTuple4TpDst = "tp_dst": ct_orig_tp_dst + 0, 2 => 2, 16, Network, Dec, false;
        /// IP protocol.
        CtTuple4Proto = "proto": ct_orig_proto + 0, 1 => 1, 8, Network, Dec, false;
    }
    /// The connection's first packet, as it was before any address translation, over IPv6.
    CtTuple6 = "ct_tuple6": OVS_KEY_ATTR_CT_ORIG_TUPLE_IPV6, TrackedIpv6 {
        /// Source address.
        CtTuple6Src = "src": ct_orig_src + 0, 16 => 16, 128, Network, Ipv6, false;
        /// Destination address.
        CtTuple6Dst = "dst": ct_orig_dst + 0, 16 => 16, 128, Network, Ipv6, false;
        /// Source port.
        CtTuple6TpSrc = "tp_src": ct_orig_tp_src + 0, 2 => 2, 16, Network, Dec, false;
        /// Destination port.
        CtTuple6TpDst = "tp_dst": ct_orig_tp_dst + 0, 2 => 2, 16, Network, Dec, false;
        /// IP protocol.
        CtTuple6Proto = "proto": ct_orig_proto + 0, 1 => 1, 8, Network, Dec, false;
    }
    /// Ethernet header. Without it in a key, the packet starts with a layer-3 header.
    Ethernet = "eth": OVS_KEY_ATTR_ETHERNET, Ethernet {
        /// Source address.
        EthSrc = "src": eth_src + 0, 6 => 6, 48, Network, Mac, true;
        /// Destination address.
        EthDst = "dst": eth_dst + 0, 6 => 6, 48, Network, Mac, true;
    }
    /// VLAN tags (IEEE 802.1Q). What follows a tag stands in `encap(...)`; an inner tag is `eth_type` and `vlan` in there.
    /// A flow without it matches untagged frames only.
    Vlan = "vlan": OVS_KEY_ATTR_VLAN, Vlan {
        /// Outer tag; bit 0x1000 says that there is one.
        VlanTci = "tci": vlan_tci + 0, 2 => 0, 16, Network, VlanTci, false;
        /// Outer tag's ethertype: 0x8100 or 0x88a8.
        VlanTpid = "tpid": vlan_tpid + 0, 2 => 0, 16, Network, Part, false;
        /// Inner tag.
        CvlanTci = "inner_tci": cvlan_tci + 0, 2 => 0, 16, Network, VlanTci, false;
        /// Inner tag's ethertype.
        CvlanTpid = "inner_tpid": cvlan_tpid + 0, 2 => 0, 16, Network, Part, false;
    }
    /// Ethertype behind the tags, 0x0600 or more. Without it in a key: an 802.2 frame, which has none.
    EthType = "eth_type": OVS_KEY_ATTR_ETHERTYPE, Always {
        /// Ethertype.
        EthType = "": eth_type + 0, 2 => 2, 16, Network, Hex4, false;
    }
    /// IPv4 header (RFC 791).
    Ipv4 = "ipv4": OVS_KEY_ATTR_IPV4, Ipv4 {
        /// Source address.
        Ipv4Src = "src": ip_src + 0, 4 => 4, 32, Network, Ipv4, true;
        /// Destination address.
        Ipv4Dst = "dst": ip_dst + 0, 4 => 4, 32, Network, Ipv4, true;
        /// Protocol.
        Ipv4Proto = "proto": ip_proto + 0, 1 => 1, 8, Network, Dec, false;
        /// Type of service: DSCP and ECN.
        Ipv4Tos = "tos": ip_tos + 0, 1 => 1, 8, Network, Hex, true;
        /// Time to live.
        Ipv4Ttl = "ttl": ip_ttl + 0, 1 => 1, 8, Network, Dec, true;
        /// Fragment.
        Ipv4Frag = "frag": ip_frag + 0, 1 => 1, 8, Network, Frag, false;
    }
    /// IPv6 header (RFC 8200).
    Ipv6 = "ipv6": OVS_KEY_ATTR_IPV6, Ipv6 {
        /// Source address.
        Ipv6Src = "src": ip_src + 0, 16 => 16, 128, Network, Ipv6, true;
        /// Destination address.
        Ipv6Dst = "dst": ip_dst + 0, 16 => 16, 128, Network, Ipv6, true;
        /// Flow label.
        Ipv6Label = "label": ipv6_label + 0, 4 => 4, 20, Network, Hex, true;
        /// Protocol after the extension headers.
        Ipv6Proto = "proto": ip_proto + 0, 1 => 1, 8, Network, Dec, false;
        /// Traffic class: DSCP and ECN.
        Ipv6Tclass = "tclass": ip_tos + 0, 1 => 1, 8, Network, Hex, true;
        /// Hop limit.
        Ipv6Hlimit = "hlimit": ip_ttl + 0, 1 => 1, 8, Network, Dec, true;
        /// Fragment.
        Ipv6Frag = "frag": ip_frag + 0, 1 => 1, 8, Network, Frag, false;
    }
    /// IPv6 extension headers that were seen, as OpenFlow 1.2 numbers them.
    Ipv6Exthdrs = "ipv6_exthdrs": OVS_KEY_ATTR_IPV6_EXTHDRS, Ipv6 {
        /// Bits: 1 none, 2 ESP, 4 authentication, 8 destination, 0x10 fragment, 0x20 routing, 0x40 hop-by-hop, 0x80 repeated,
        /// 0x100 out of order.
        Ipv6Exthdrs = "hdrs": ipv6_exthdrs + 0, 2 => 2, 16, Host, Hex, false;
    }
    /// Network service header (RFC 8300).
    Nsh = "nsh": OVS_KEY_ATTR_NSH, Nsh {
        /// OAM and critical bits.
        NshFlags = "flags": nsh_flags + 0, 1 => 1, 8, Network, Dec, false;
        /// Time to live.
        NshTtl = "ttl": nsh_ttl + 0, 1 => 1, 8, Network, Dec, false;
        /// Metadata type.
        NshMdtype = "mdtype": nsh_mdtype + 0, 1 => 1, 8, Network, Dec, false;
        /// Next protocol.
        NshNp = "np": nsh_np + 0, 1 => 1, 8, Network, Dec, false;
        /// Service path id.
        NshSpi = "spi": nsh_path + 0, 3 => 3, 24, Network, Hex, false;
        /// Service index.
        NshSi = "si": nsh_path + 3, 1 => 1, 8, Network, Dec, false;
        /// First context header of metadata type 1.
        NshC1 = "c1": nsh_context + 0, 4 => 4, 32, Network, Hex, false;
        /// Second context header.
        NshC2 = "c2": nsh_context + 4, 4 => 4, 32, Network, Hex, false;
        /// Third context header.
        NshC3 = "c3": nsh_context + 8, 4 => 4, 32, Network, Hex, false;
        /// Fourth context header.
        NshC4 = "c4": nsh_context + 12, 4 => 4, 32, Network, Hex, false;
    }
    /// ARP and RARP (RFC 826) for IPv4 over Ethernet.
    Arp = "arp": OVS_KEY_ATTR_ARP, Arp {
        /// Sender's protocol address.
        ArpSip = "sip": ip_src + 0, 4 => 4, 32, Network, Ipv4, false;
        /// Target's protocol address.
        ArpTip = "tip": ip_dst + 0, 4 => 4, 32, Network, Ipv4, false;
        /// Operation, 0 to 255.
        ArpOp = "op": ip_proto + 0, 1 => 2, 8, Network, Dec, false;
        /// Sender's hardware address.
        ArpSha = "sha": arp_sha + 0, 6 => 6, 48, Network, Mac, false;
        /// Target's hardware address.
        ArpTha = "tha": arp_tha + 0, 6 => 6, 48, Network, Mac, false;
    }
    /// MPLS label stack (RFC 3032): `label`, `tc`, `ttl` and `bos` for one entry, `lse0` to `lse2` for several.
    Mpls = "mpls": OVS_KEY_ATTR_MPLS, Mpls {
        /// Outermost entry.
        MplsLse0 = "lse0": mpls_lse + 0, 4 => 0, 32, Network, MplsLse, true;
        /// Second entry.
        MplsLse1 = "lse1": mpls_lse + 4, 4 => 0, 32, Network, MplsLse, false;
        /// Third entry.
        MplsLse2 = "lse2": mpls_lse + 8, 4 => 0, 32, Network, MplsLse, false;
        /// Entries that are present, a bit each: at most three.
        MplsCount = "count": mpls_count + 0, 1 => 0, 8, Network, Part, false;
    }
    /// TCP ports (RFC 9293).
    Tcp = "tcp": OVS_KEY_ATTR_TCP, Tcp {
        /// Source port.
        TcpSrc = "src": tp_src + 0, 2 => 2, 16, Network, Dec, true;
        /// Destination port.
        TcpDst = "dst": tp_dst + 0, 2 => 2, 16, Network, Dec, true;
    }
    /// TCP flags: `fin`, `syn`, `rst`, `psh`, `ack`, `urg`, `ece`, `cwr`, `ns`, `[200]`, `[400]`, `[800]`.
    TcpFlags = "tcp_flags": OVS_KEY_ATTR_TCP_FLAGS, Tcp {
        /// Flags.
        TcpFlags = "": tcp_flags + 0, 2 => 2, 12, Network, TcpFlags, false;
    }
    /// UDP ports (RFC 768).
    Udp = "udp": OVS_KEY_ATTR_UDP, Udp {
        /// Source port.
        UdpSrc = "src": tp_src + 0, 2 => 2, 16, Network, Dec, true;
        /// Destination port.
        UdpDst = "dst": tp_dst + 0, 2 => 2, 16, Network, Dec, true;
    }
    /// SCTP ports (RFC 9260).
    Sctp = "sctp": OVS_KEY_ATTR_SCTP, Sctp {
        /// Source port.
        SctpSrc = "src": tp_src + 0, 2 => 2, 16, Network, Dec, true;
        /// Destination port.
        SctpDst = "dst": tp_dst + 0, 2 => 2, 16, Network, Dec, true;
    }
    /// ICMP (RFC 792).
    Icmp = "icmp": OVS_KEY_ATTR_ICMP, Icmp {
        /// Type.
        IcmpType = "type": tp_src + 1, 1 => 1, 8, Network, Dec, false;
        /// Code.
        IcmpCode = "code": tp_dst + 1, 1 => 1, 8, Network, Dec, false;
    }
    /// ICMPv6 (RFC 4443).
    Icmpv6 = "icmpv6": OVS_KEY_ATTR_ICMPV6, Icmpv6 {
        /// Type.
        Icmpv6Type = "type": tp_src + 1, 1 => 1, 8, Network, Dec, false;
        /// Code.
        Icmpv6Code = "code": tp_dst + 1, 1 => 1, 8, Network, Dec, false;
    }
    /// Neighbour discovery (RFC 4861).
    Nd = "nd": OVS_KEY_ATTR_ND, NeighbourDiscovery {
        /// Target address.
        NdTarget = "target": nd_target + 0, 16 => 16, 128, Network, Ipv6, false;
        /// Source link-layer address option.
        NdSll = "sll": nd_sll + 0, 6 => 6, 48, Network, Mac, false;
        /// Target link-layer address option.
        NdTll = "tll": nd_tll + 0, 6 => 6, 48, Network, Mac, false;
    }
}
