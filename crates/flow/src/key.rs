// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The flow key: every match field of the kernel's datapath, at a fixed place.
//!
//! The key is plain bytes (no padding, fields that stand in a header keep the header's byte order), so that a mask is another
//! key and matching is AND and compare over 64-bit words. Fields that share bytes in the kernel's key (ARP and IP addresses,
//! ARP opcode and IP protocol, ICMP type and the source port) share a field here too, because masks on them share meaning.

use std::fmt;

pub use portway_buf::tunnel_flags;
use zerocopy::network_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// An Ethernet address.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// ff:ff:ff:ff:ff:ff
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether the group bit is set (multicast and broadcast).
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether the address is all zeros.
    pub const fn is_zero(self) -> bool {
        matches!(self.0, [0, 0, 0, 0, 0, 0])
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::str::FromStr for MacAddr {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "an Ethernet address is six pairs of hex digits, like 02:00:00:00:00:01";
        let mut address = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut address {
            let part = parts.next().filter(|part| (1..=2).contains(&part.len())).ok_or(FORM)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| FORM)?;
        }
        if parts.next().is_some() { Err(FORM) } else { Ok(Self(address)) }
    }
}

/// Fragment state of an IP packet (enum ovs_frag_type, linux/openvswitch.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Frag {
    /// Not a fragment.
    No = 0,
    /// The first fragment: offset 0, more to come.
    First = 1,
    /// A later fragment: no layer-4 header in it.
    Later = 2,
}

/// Values of [`FlowKey::mac_proto`].
pub mod mac_proto {
    /// The frame starts with an Ethernet header.
    pub const ETHERNET: u8 = 0;
    /// The frame starts with a layer-3 header.
    pub const NONE: u8 = 1;
}

/// Every field a flow can match. All zero is the key of "nothing known".
#[derive(Clone, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct FlowKey {
    // ---- tunnel (outer headers of a decapsulated packet): 56 bytes ----
    /// Tunnel id.
    pub tun_id: U64,
    /// Outer source; IPv4 in the first four bytes.
    pub tun_src: [u8; 16],
    /// Outer destination; IPv4 in the first four bytes.
    pub tun_dst: [u8; 16],
    /// Outer IPv6 flow label.
    pub tun_label: U32,
    /// [`tunnel_flags`], host order.
    pub tun_flags: u16,
    /// Outer type of service.
    pub tun_tos: u8,
    /// Outer time to live.
    pub tun_ttl: u8,
    /// Outer UDP source port.
    pub tun_tp_src: U16,
    /// Outer UDP destination port.
    pub tun_tp_dst: U16,
    /// 0: not from a tunnel; 4: outer IPv4; 6: outer IPv6.
    pub tun_proto: u8,
    /// Bytes of `tun_opts` in use.
    pub tun_opts_len: u8,
    /// Zero.
    pub tun_pad: [u8; 2],

    // ---- metadata: 24 + 16 + 8 + 32 bytes ----
    /// skb priority.
    pub priority: u32,
    /// Input port's number.
    pub in_port: u32,
    /// skb mark.
    pub skb_mark: u32,
    /// Recirculation id.
    pub recirc_id: u32,
    /// Hash left by the hash action.
    pub dp_hash: u32,
    /// Conntrack mark.
    pub ct_mark: u32,
    /// Conntrack labels.
    pub ct_labels: [u8; 16],
    /// Conntrack zone, host order.
    pub ct_zone: u16,
    /// OVS_CS_F_* bits.
    pub ct_state: u8,
    /// Protocol of the connection's original tuple; 0: none.
    pub ct_orig_proto: u8,
    /// Original tuple's source port.
    pub ct_orig_tp_src: U16,
    /// Original tuple's destination port.
    pub ct_orig_tp_dst: U16,
    /// Original tuple's source; IPv4 in the first four bytes.
    pub ct_orig_src: [u8; 16],
    /// Original tuple's destination; IPv4 in the first four bytes.
    pub ct_orig_dst: [u8; 16],

    // ---- layer 2: 24 + 16 bytes ----
    /// Ethernet destination.
    pub eth_dst: MacAddr,
    /// Ethernet source.
    pub eth_src: MacAddr,
    /// Outer VLAN tag's TCI; the CFI bit (0x1000) says that there is a tag.
    pub vlan_tci: U16,
    /// Outer VLAN tag's TPID; 0: no tag.
    pub vlan_tpid: U16,
    /// Inner VLAN tag's TCI, CFI bit as above.
    pub cvlan_tci: U16,
    /// Inner VLAN tag's TPID; 0: no tag.
    pub cvlan_tpid: U16,
    /// Ethertype behind the tags; 0x0001 (ETH_P_802_3) stands for an 802.2 LLC frame without one.
    pub eth_type: U16,
    /// [`mac_proto`].
    pub mac_proto: u8,
    /// Zero.
    pub eth_pad: u8,
    /// MPLS label stack entries, the outermost first.
    pub mpls_lse: [U32; 3],
    /// Which of `mpls_lse` are present, a bit each from the lowest: 0, 1, 3 or 7. A mask of fewer entries then matches every stack
    /// of at least as many, as in the kernel.
    pub mpls_count: u8,
    /// Zero.
    pub mpls_pad: [u8; 3],

    // ---- layers 3 and 4: 8 + 32 + 8 bytes ----
    /// IP protocol (the last next-header of IPv6); for ARP the opcode's low byte.
    pub ip_proto: u8,
    /// Type of service or traffic class.
    pub ip_tos: u8,
    /// Time to live or hop limit.
    pub ip_ttl: u8,
    /// [`Frag`].
    pub ip_frag: u8,
    /// IPv6 flow label (20 bits).
    pub ipv6_label: U32,
    /// Source; IPv4 and ARP addresses in the first four bytes.
    pub ip_src: [u8; 16],
    /// Destination; IPv4 and ARP addresses in the first four bytes.
    pub ip_dst: [u8; 16],
    /// Extension headers seen (enum ofp12_ipv6exthdr_flags as OVS_KEY_ATTR_IPV6_EXTHDRS), host order.
    pub ipv6_exthdrs: u16,
    /// TCP, UDP or SCTP source port; ICMP type.
    pub tp_src: U16,
    /// TCP, UDP or SCTP destination port; ICMP code.
    pub tp_dst: U16,
    /// TCP flags (12 bits).
    pub tcp_flags: U16,

    // ---- ARP and neighbour discovery: 12 + 28 bytes ----
    /// ARP sender hardware address.
    pub arp_sha: MacAddr,
    /// ARP target hardware address.
    pub arp_tha: MacAddr,
    /// ND target address.
    pub nd_target: [u8; 16],
    /// ND source link-layer address option.
    pub nd_sll: MacAddr,
    /// ND target link-layer address option.
    pub nd_tll: MacAddr,

    // ---- NSH (RFC 8300): 24 bytes ----
    /// OAM and critical bits.
    pub nsh_flags: u8,
    /// Time to live.
    pub nsh_ttl: u8,
    /// Metadata type.
    pub nsh_mdtype: u8,
    /// Next protocol.
    pub nsh_np: u8,
    /// Service path header.
    pub nsh_path: U32,
    /// Context headers of metadata type 1.
    pub nsh_context: [U32; 4],

    /// Tunnel options or metadata, `tun_opts_len` bytes at the *end* of the array, zeros before, as the kernel keeps
    /// them: a key with fewer option bytes then has the same layout under any mask.
    pub tun_opts: [u8; 256],
}

/// 64-bit words in a [`FlowKey`].
pub const KEY_WORDS: usize = size_of::<FlowKey>() / 8;

impl Default for FlowKey {
    fn default() -> Self {
        Self::new_zeroed()
    }
}

impl FlowKey {
    /// The key as 64-bit words.
    #[inline]
    pub fn words(&self) -> &[u64; KEY_WORDS] {
        zerocopy::transmute_ref!(self)
    }

    /// The key as 64-bit words, for writing.
    #[inline]
    pub fn words_mut(&mut self) -> &mut [u64; KEY_WORDS] {
        zerocopy::transmute_mut!(self)
    }
}

impl fmt::Debug for FlowKey {
    /// Names the bytes that are not zero: enough to read a failed assertion. People see `flow::text`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (index, word) in self.words().iter().enumerate().filter(|(_, word)| **word != 0) {
            map.entry(&(index * 8), &format_args!("{:016x}", u64::from_be(*word)));
        }
        map.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_plain_words() {
        assert_eq!(size_of::<FlowKey>(), 288 + 256);
        assert_eq!(KEY_WORDS * 8, size_of::<FlowKey>());
        assert_eq!(std::mem::offset_of!(FlowKey, eth_dst) % 8, 0);
        let key = FlowKey { eth_type: U16::new(0x0800), ..FlowKey::default() };
        assert_eq!(key.words().iter().filter(|word| **word != 0).count(), 1);
    }

    #[test]
    fn addresses_read_and_print() {
        let mac: MacAddr = "02:00:00:00:aa:1".parse().unwrap();
        assert_eq!(mac.to_string(), "02:00:00:00:aa:01");
        for bad in
            ["", "02:00", "02:00:00:00:00:00:00", "02:00:00:00:00:0g", "002:0:0:0:0:0", "02-00-00-00-00-00"]
        {
            assert!(bad.parse::<MacAddr>().is_err(), "{bad}");
        }
        assert!(MacAddr::BROADCAST.is_multicast() && !mac.is_multicast() && MacAddr::default().is_zero());
    }
}
