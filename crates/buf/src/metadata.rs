// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Metadata that few packets have: kept apart from the packet's header, so that the others do not pay for it.

use std::sync::Arc;

/// Bits of a tunnel's `flags`, in the order of the kernel's TUNNEL_* flags; others are zero. The same in metadata, in the flow key and in
/// the ABI of modules.
pub mod tunnel_flags {
    /// The outer header has a checksum (OVS_TUNNEL_KEY_ATTR_CSUM).
    pub const CSUM: u16 = 1 << 0;
    /// The tunnel id counts (OVS_TUNNEL_KEY_ATTR_ID was given).
    pub const KEY: u16 = 1 << 2;
    /// Do not fragment the outer packet (OVS_TUNNEL_KEY_ATTR_DONT_FRAGMENT).
    pub const DONT_FRAGMENT: u16 = 1 << 8;
    /// Operations and maintenance packet (OVS_TUNNEL_KEY_ATTR_OAM, Geneve).
    pub const OAM: u16 = 1 << 9;
    /// There are options that must be understood (Geneve).
    pub const CRIT_OPT: u16 = 1 << 10;
    /// `options` are Geneve options.
    pub const GENEVE_OPT: u16 = 1 << 11;
    /// `options` is VXLAN's group policy: a u32, host order, laid out as the header's first word.
    pub const VXLAN_OPT: u16 = 1 << 12;
    /// `options` is ERSPAN metadata.
    pub const ERSPAN_OPT: u16 = 1 << 14;
}

/// The tunnel part of a packet's metadata (`struct ovs_tunnel_info`): what the outer headers said, or shall say.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TunnelKey {
    /// Tunnel id (VNI, GRE key), host order.
    pub id: u64,
    /// Outer source; an IPv4 address is in the first four bytes.
    pub src: [u8; 16],
    /// Outer destination; an IPv4 address is in the first four bytes.
    pub dst: [u8; 16],
    /// Whether the outer addresses are IPv6.
    pub ipv6: bool,
    /// Outer type of service.
    pub tos: u8,
    /// Outer time to live.
    pub ttl: u8,
    /// [`tunnel_flags`].
    pub flags: u16,
    /// Outer IPv6 flow label.
    pub label: u32,
    /// Outer UDP source port.
    pub tp_src: u16,
    /// Outer UDP destination port.
    pub tp_dst: u16,
    /// Geneve options, or VXLAN/ERSPAN metadata, as the flow key carries them.
    pub options: Vec<u8>,
}

/// Metadata that few packets have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extension {
    /// Tunnel metadata of a received packet: what its key shows.
    pub tunnel: Option<Box<TunnelKey>>,
    /// What the outer headers shall say at the next output to a tunnel port (`set(tunnel)`); the key does not show it.
    pub egress: Option<Arc<TunnelKey>>,
    /// OVS_CS_F_* bits.
    pub ct_state: u8,
    /// Conntrack zone.
    pub ct_zone: u16,
    /// Conntrack mark.
    pub ct_mark: u32,
    /// Conntrack labels.
    pub ct_labels: [u8; 16],
    /// Conntrack original tuple: protocol (0: none), addresses (IPv4 in the first four bytes), ports.
    pub ct_orig_proto: u8,
    /// Original source address.
    pub ct_orig_src: [u8; 16],
    /// Original destination address.
    pub ct_orig_dst: [u8; 16],
    /// Original source port.
    pub ct_orig_tp_src: u16,
    /// Original destination port.
    pub ct_orig_tp_dst: u16,
    /// Bytes that the next output keeps of the packet (trunc action); 0: all.
    pub truncate_to: u32,
    /// Netlink port id to which everything about this packet goes (OVS_PACKET_ATTR_UPCALL_PID); 0: as the datapath says.
    pub upcall_pid: u32,
    /// Whether the packet has this metadata. If not, it is memory that the buffer keeps for its next packet.
    pub(crate) in_use: bool,
    spare: Spare,
}

/// Memory for the next [`Extension::tunnel`]: no part of the metadata.
#[derive(Debug, Default)]
struct Spare(Option<Box<TunnelKey>>);

impl Clone for Spare {
    fn clone(&self) -> Self {
        Self(None)
    }
}

impl PartialEq for Spare {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Spare {}

impl Extension {
    /// Forgets all, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        let spare = Spare(self.tunnel.take().or_else(|| self.spare.0.take()));
        *self = Self { spare, ..Self::default() };
    }

    /// The tunnel metadata, to be overwritten: what is in it if there was none is what an earlier packet had.
    pub fn tunnel_mut(&mut self) -> &mut TunnelKey {
        let spare = &mut self.spare;
        self.tunnel.get_or_insert_with(|| spare.0.take().unwrap_or_default())
    }
}
