// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Key extraction: what the datapath sees of a packet.
//!
//! Whatever the bytes are, there is a key: a damaged or cut header leaves its fields zero, as the kernel's module does it,
//! because a frame that cannot be parsed must still be forwarded by the flows that do not look there. Only a damaged NSH header,
//! a VLAN ethertype on a packet without an Ethernet header, and a frame too short for an Ethernet header are refused.
//!
//! Lengths and checksums that the headers claim are not verified: the frame's own length is what counts.

mod arp;
mod ethernet;
mod ipv4;
mod ipv6;
mod mpls;
mod nsh;
mod transport;

#[cfg(test)]
mod tests;

use portway_buf::{DropReason, Packet, PacketKind, TunnelKey};
use zerocopy::FromZeros;
use zerocopy::network_endian::{U16, U32, U64};

use crate::key::{FlowKey, mac_proto};

/// Ethertypes that extraction knows (IEEE 802 numbers).
pub(crate) mod ethertype {
    pub(crate) const IPV4: u16 = 0x0800;
    pub(crate) const ARP: u16 = 0x0806;
    pub(crate) const RARP: u16 = 0x8035;
    pub(crate) const VLAN: u16 = 0x8100;
    pub(crate) const QINQ: u16 = 0x88a8;
    pub(crate) const IPV6: u16 = 0x86dd;
    pub(crate) const MPLS: u16 = 0x8847;
    pub(crate) const MPLS_MULTICAST: u16 = 0x8848;
    pub(crate) const NSH: u16 = 0x894f;
    /// Smallest ethertype; below it the field is an 802.3 length.
    pub(crate) const MIN: u16 = 0x0600;
    /// The key's ethertype for 802.2 frames, which have none (see [`crate::FlowKey::eth_type`]).
    pub(crate) const LLC: u16 = 0x0001;

    /// Whether a VLAN tag follows.
    pub(crate) const fn is_vlan(ethertype: u16) -> bool {
        matches!(ethertype, VLAN | QINQ)
    }
}

/// VIRTIO_NET_HDR_GSO_UDP (linux/virtio_net.h): a datagram that leaves as IP fragments.
const GSO_UDP_FRAGMENTS: u8 = 3;
/// VIRTIO_NET_HDR_GSO_ECN: a flag beside the segmentation type.
const GSO_ECN: u8 = 0x80;

/// The flow key of a packet, with its metadata. Notes the offsets of the layer-3 and layer-4 headers in the packet; where there is
/// no layer-4 header the second offset equals the first.
///
/// # Errors
/// [`DropReason::BadFrame`] for the few frames that have no key, see the module's description.
pub fn extract(packet: &mut Packet) -> Result<FlowKey, DropReason> {
    let mut key = FlowKey::default();
    extract_into(packet, &mut key)?;
    Ok(key)
}

/// [`extract`] into a key that the caller owns; every byte of it is written. After an error its content is of no meaning.
///
/// # Errors
/// As [`extract`].
pub fn extract_into(packet: &mut Packet, key: &mut FlowKey) -> Result<(), DropReason> {
    key.zero();
    metadata(packet, key);
    let frame = packet.frame();
    let l3 = match packet.kind() {
        PacketKind::Ethernet => ethernet::parse(frame, key)?,
        PacketKind::Layer3(protocol) if ethertype::is_vlan(protocol) => return Err(DropReason::BadFrame),
        PacketKind::Layer3(protocol) => {
            key.mac_proto = mac_proto::NONE;
            key.eth_type = U16::new(protocol);
            0
        }
    };
    let l4 = match key.eth_type.get() {
        ethertype::IPV4 => ipv4::parse(frame, l3, leaves_as_fragments(packet), key),
        ethertype::IPV6 => ipv6::parse(frame, l3, leaves_as_fragments(packet), key),
        ethertype::ARP | ethertype::RARP => arp::parse(frame, l3, key),
        ethertype::MPLS | ethertype::MPLS_MULTICAST => mpls::parse(frame, l3, key),
        ethertype::NSH => nsh::parse(frame, l3, key)?,
        _ => None,
    };
    packet.set_layers(l3, l4.unwrap_or(l3));
    Ok(())
}

/// Whether the packet is a datagram that segmentation will cut into IP fragments: its headers are those of a first fragment.
fn leaves_as_fragments(packet: &Packet) -> bool {
    packet.offload().gso.is_some_and(|gso| gso.gso_type & !GSO_ECN == GSO_UDP_FRAGMENTS)
}

/// The fields that do not stand in the frame.
fn metadata(packet: &Packet, key: &mut FlowKey) {
    key.in_port = packet.in_port();
    key.recirc_id = packet.recirc_id();
    if !packet.has_metadata() {
        return;
    }
    key.priority = packet.priority();
    key.skb_mark = packet.mark();
    key.dp_hash = packet.dp_hash();
    let Some(extension) = packet.extension() else {
        return;
    };
    key.ct_state = extension.ct_state;
    key.ct_zone = extension.ct_zone;
    key.ct_mark = extension.ct_mark;
    key.ct_labels = extension.ct_labels;
    key.ct_orig_proto = extension.ct_orig_proto;
    key.ct_orig_src = extension.ct_orig_src;
    key.ct_orig_dst = extension.ct_orig_dst;
    key.ct_orig_tp_src = U16::new(extension.ct_orig_tp_src);
    key.ct_orig_tp_dst = U16::new(extension.ct_orig_tp_dst);
    if let Some(tunnel) = extension.tunnel.as_deref() {
        put_tunnel(tunnel, key);
    }
}

/// Puts a tunnel's metadata into a key that has none.
pub fn put_tunnel(tunnel: &TunnelKey, key: &mut FlowKey) {
    key.tun_proto = if tunnel.ipv6 { 6 } else { 4 };
    key.tun_id = U64::new(tunnel.id);
    key.tun_src = tunnel.src;
    key.tun_dst = tunnel.dst;
    key.tun_label = U32::new(tunnel.label);
    key.tun_flags = tunnel.flags;
    key.tun_tos = tunnel.tos;
    key.tun_ttl = tunnel.ttl;
    key.tun_tp_src = U16::new(tunnel.tp_src);
    key.tun_tp_dst = U16::new(tunnel.tp_dst);
    // The length field of the key has eight bits, so 255 bytes is the most that any key can name.
    let options = &tunnel.options[..tunnel.options.len().min(255)];
    key.tun_opts_len = options.len() as u8;
    let start = key.tun_opts.len() - options.len();
    key.tun_opts[start..].copy_from_slice(options);
}

/// `N` bytes of the frame at `offset`, if it is that long.
#[inline]
fn bytes<const N: usize>(frame: &[u8], offset: usize) -> Option<&[u8; N]> {
    frame.get(offset..)?.first_chunk()
}
