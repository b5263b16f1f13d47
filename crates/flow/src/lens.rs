// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The lens: how deep a packet must be looked at, and the cheapest way to look that deep.
//!
//! Most packets have one of a few header layouts (a [`Shape`]: Ethernet, at most one VLAN tag, IPv4 without options or IPv6
//! without extension headers, TCP or UDP). In such a packet every match field is at a fixed offset. So the union of all masks
//! that are live for a port can be turned, once, into a mask over the raw header bytes of each shape. Two packets of one shape whose
//! header bytes agree under that mask have keys that agree under every live mask, so they belong to the same flow:
//! the masked bytes are a key for the exact-match cache, and no field is ever extracted.
//!
//! A lens says `None` for any packet that is not plainly of a known shape; that one takes the general way through
//! [`crate::extract()`], which is also the definition of what is right: `tests` hold the two together.

use zerocopy::network_endian::U16;

use crate::key::FlowKey;
use crate::mask::FlowMask;

/// Bytes of the header that a lens looks at: Ethernet, VLAN tag, IPv6, TCP up to its flags are 72.
pub const WINDOW: usize = 80;

/// 64-bit words in a window.
pub(crate) const WINDOW_WORDS: usize = WINDOW / 8;

/// Words of a short window: Ethernet, IPv4 and the UDP or TCP ports, if there is no VLAN tag.
pub(crate) const SHORT_WORDS: usize = 5;

const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_QINQ: u16 = 0x88a8;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_NSH: u16 = 0x894f;
/// Ethertypes below this are lengths (IEEE 802.3).
const ETHERTYPE_MIN: u16 = 0x0600;
const PROTO_TCP: u8 = 6;
const PROTO_UDP: u8 = 17;

/// How far into a packet the live masks reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Ethernet header and VLAN tag.
    Link,
    /// The network header too.
    Network,
    /// TCP and UDP headers too.
    Transport,
}

/// A header layout in which every field has a fixed place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Shape {
    /// Ethernet; what follows is not looked at.
    Link,
    /// Ethernet with one VLAN tag; what follows is not looked at.
    LinkTagged,
    /// IPv4 without options, not a fragment; layer 4 not looked at.
    Ipv4,
    /// The same behind a VLAN tag.
    Ipv4Tagged,
    /// UDP in such an IPv4 packet.
    Udp4,
    /// The same behind a VLAN tag.
    Udp4Tagged,
    /// TCP in such an IPv4 packet.
    Tcp4,
    /// The same behind a VLAN tag.
    Tcp4Tagged,
    /// UDP directly in IPv6.
    Udp6,
    /// The same behind a VLAN tag.
    Udp6Tagged,
    /// TCP directly in IPv6.
    Tcp6,
    /// The same behind a VLAN tag.
    Tcp6Tagged,
}

const SHAPES: [Shape; 12] = [
    Shape::Link,
    Shape::LinkTagged,
    Shape::Ipv4,
    Shape::Ipv4Tagged,
    Shape::Udp4,
    Shape::Udp4Tagged,
    Shape::Tcp4,
    Shape::Tcp4Tagged,
    Shape::Udp6,
    Shape::Udp6Tagged,
    Shape::Tcp6,
    Shape::Tcp6Tagged,
];

impl Shape {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 12] = SHAPES;

    const fn tagged(self) -> bool {
        self as u8 & 1 == 1
    }

    /// The shortest packet of this shape, in bytes.
    const fn len_min(self) -> usize {
        let l3 = if self.tagged() { 18 } else { 14 };
        l3 + match self {
            Self::Link | Self::LinkTagged => 0,
            Self::Ipv4 | Self::Ipv4Tagged => 20,
            Self::Udp4 | Self::Udp4Tagged => 28,
            Self::Tcp4 | Self::Tcp4Tagged => 40,
            Self::Udp6 | Self::Udp6Tagged => 48,
            Self::Tcp6 | Self::Tcp6Tagged => 60,
        }
    }

    /// Whether the layout has an IPv6 header: its window is then looked at in full, else only its first 64 bytes.
    pub const fn is_ipv6(self) -> bool {
        self as u8 >= Shape::Udp6 as u8
    }
}

/// The header bytes that decide which flow a packet belongs to, as words.
pub type Window = [u64; WINDOW_WORDS];

/// The union of the masks that are live for one input port, ready to be applied to raw headers.
#[derive(Clone, Debug)]
pub struct Lens {
    union: FlowMask,
    generation: u64,
    depth: Depth,
    /// Indexed by [`Shape`].
    masks: [Window; SHAPES.len()],
    /// The same with the bits that make a packet be of that shape.
    run_masks: [Window; SHAPES.len()],
    /// Whether the masks look at no more than the first [`SHORT_WORDS`] words of packets of that shape.
    short: [bool; SHAPES.len()],
}

/// A packet that others are compared with: those that no live mask can tell from it follow it in one run.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    header: &'a [u8; WINDOW],
    mask: &'a Window,
    len_min: usize,
    /// Where the TCP header is, if there is one at a known place.
    tcp: Option<usize>,
    depth: Depth,
    shape: Shape,
}

impl Lens {
    /// A lens for the union of the live masks. `generation` must differ from that of every other lens in the program, also of
    /// earlier ones for the same port: cached results carry it.
    pub fn new(union: FlowMask, generation: u64) -> Self {
        let depth = depth_of(&union);
        let masks = SHAPES.map(|shape| window_mask(union.bits(), shape));
        let run_masks = SHAPES.map(|shape| {
            let signature = signature(shape);
            std::array::from_fn(|word| masks[shape as usize][word] | signature[word])
        });
        let short = SHAPES.map(|shape| masks[shape as usize][SHORT_WORDS..].iter().all(|&word| word == 0));
        Self { union, generation, depth, masks, run_masks, short }
    }

    /// The union of the masks.
    #[inline]
    pub fn union(&self) -> &FlowMask {
        &self.union
    }

    /// Distinguishes this lens from all others.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How far into a packet the masks reach.
    #[inline]
    pub fn depth(&self) -> Depth {
        self.depth
    }

    /// The mask over the header bytes of packets of this shape.
    #[inline]
    pub fn mask(&self, shape: Shape) -> &Window {
        &self.masks[shape as usize]
    }

    /// The shape of the packet of `len` bytes that starts with `header` (bytes past the packet's end are ignored), if all
    /// that the masks look at is at a fixed place in it.
    #[inline(always)]
    pub fn shape(&self, header: &[u8; WINDOW], len: usize) -> Option<Shape> {
        let ethertype = be16(header, 12);
        if ethertype != ETHERTYPE_VLAN && ethertype != ETHERTYPE_QINQ {
            return self.shape_behind(header, len, ethertype, 14, Shape::Link);
        }
        let inner = be16(header, 16);
        if inner == ETHERTYPE_VLAN || inner == ETHERTYPE_QINQ {
            return None;
        }
        self.shape_behind(header, len, inner, 18, Shape::LinkTagged)
    }

    /// As [`Lens::shape`], behind the Ethernet header and tag: `l3` is the offset of what `ethertype` announces.
    #[inline(always)]
    fn shape_behind(
        &self,
        header: &[u8; WINDOW],
        len: usize,
        ethertype: u16,
        l3: usize,
        link: Shape,
    ) -> Option<Shape> {
        let tagged = link.tagged();
        if self.depth == Depth::Link {
            // A damaged NSH header drops the packet, whatever the masks look at.
            let known = len >= l3 + ip_len(ethertype) && ethertype >= ETHERTYPE_MIN;
            return (known && ethertype != ETHERTYPE_NSH && !hides_tcp(header, ethertype, l3))
                .then_some(link);
        }
        let pick = |plain: Shape, behind_tag: Shape| Some(if tagged { behind_tag } else { plain });
        if ethertype == ETHERTYPE_IPV4 {
            let fragment = be16(header, l3 + 6) & 0x3fff != 0;
            if header[l3] & 0x0f != 5 || fragment || len < l3 + 20 {
                return None;
            }
            if self.depth == Depth::Network {
                return pick(Shape::Ipv4, Shape::Ipv4Tagged);
            }
            return match transport(header, len, header[l3 + 9], l3 + 20)? {
                PROTO_UDP => pick(Shape::Udp4, Shape::Udp4Tagged),
                _ => pick(Shape::Tcp4, Shape::Tcp4Tagged),
            };
        }
        if ethertype == ETHERTYPE_IPV6 && len >= l3 + 40 {
            return match transport(header, len, header[l3 + 6], l3 + 40)? {
                PROTO_UDP => pick(Shape::Udp6, Shape::Udp6Tagged),
                _ => pick(Shape::Tcp6, Shape::Tcp6Tagged),
            };
        }
        None
    }

    /// The masked header of a packet of this shape.
    #[inline(always)]
    pub fn window(&self, header: &[u8; WINDOW], shape: Shape) -> Window {
        let mask = self.mask(shape);
        let mut window = [0; WINDOW_WORDS];
        for (index, word) in window.iter_mut().enumerate() {
            *word = word_at(header, index) & mask[index];
        }
        window
    }

    /// Whether windows of this shape are zero behind their first [`SHORT_WORDS`] words.
    #[inline(always)]
    pub(crate) fn is_short(&self, shape: Shape) -> bool {
        self.short[shape as usize]
    }

    /// The packet as the first of a run, if it is of a known shape.
    #[inline(always)]
    pub fn head<'a>(&'a self, header: &'a [u8; WINDOW], len: usize) -> Option<Head<'a>> {
        let shape = self.shape(header, len)?;
        let tcp = tcp_offset(header, shape).filter(|l4| transport(header, len, PROTO_TCP, *l4).is_some());
        let mask = &self.run_masks[shape as usize];
        let l3 = if shape.tagged() { 18 } else { 14 };
        let len_min = shape.len_min().max(l3 + ip_len(be16(header, l3 - 2)));
        Some(Head { header, mask, len_min, tcp, depth: self.depth, shape })
    }
}

impl Head<'_> {
    /// The shape of the run's packets.
    #[inline(always)]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The head's own header.
    #[inline(always)]
    pub fn header(&self) -> &[u8; WINDOW] {
        self.header
    }

    /// Whether a packet is of the same shape and no live mask tells it from the head. A "no" may be too cautious, a "yes" is certain.
    #[inline(always)]
    pub fn is_followed_by(&self, header: &[u8; WINDOW], len: usize) -> bool {
        let difference = |from: usize, to: usize| {
            (from..to).fold(0, |bits, index| {
                bits | ((word_at(header, index) ^ word_at(self.header, index)) & self.mask[index])
            })
        };
        let mut bits = difference(0, 4);
        if self.depth != Depth::Link {
            bits |= difference(4, 8);
            if self.shape.is_ipv6() {
                bits |= difference(8, WINDOW_WORDS);
            }
        }
        bits == 0
            && len >= self.len_min
            && self.tcp.is_none_or(|l4| transport(header, len, PROTO_TCP, l4).is_some())
    }

    /// TCP flags (12 bits) of the head or of a packet that follows it, for the flow's statistics; 0 if it is not TCP.
    ///
    /// A lens that does not look at layer 4 does not say what is there. Flags are then read behind plain headers; what may have them
    /// behind other headers has no head.
    #[inline(always)]
    pub fn tcp_flags(&self, header: &[u8; WINDOW]) -> u16 {
        self.tcp.map_or(0, |l4| be16(header, l4 + 12) & 0x0fff)
    }
}

/// The protocol if it is TCP or UDP with a whole header at `l4`.
#[inline(always)]
fn transport(header: &[u8; WINDOW], len: usize, proto: u8, l4: usize) -> Option<u8> {
    if proto == PROTO_UDP {
        return (len >= l4 + 8).then_some(proto);
    }
    if proto == PROTO_TCP && len >= l4 + 20 {
        // The data offset must lie between the fixed header's size and the packet's end, or the kernel sees no TCP header.
        let header_len = usize::from(header[l4 + 12] >> 4) * 4;
        return (header_len >= 20 && l4 + header_len <= len).then_some(proto);
    }
    None
}

#[inline(always)]
fn be16(header: &[u8; WINDOW], at: usize) -> u16 {
    u16::from_be_bytes([header[at], header[at + 1]])
}

#[inline(always)]
fn word_at(header: &[u8; WINDOW], index: usize) -> u64 {
    let (words, _) = header.as_chunks::<8>();
    u64::from_ne_bytes(words[index])
}

/// How far into a packet these bits reach.
fn depth_of(union: &FlowMask) -> Depth {
    let transport = FlowKey {
        tp_src: U16::new(u16::MAX),
        tp_dst: U16::new(u16::MAX),
        tcp_flags: U16::new(u16::MAX),
        ..FlowKey::default()
    };
    let mut above_link = FlowMask::exact().bits().clone();
    // Metadata does not come from the packet's bytes; what is left of the key comes from layer 3 and above.
    let behind_ethernet = std::mem::offset_of!(FlowKey, mpls_lse) / 8;
    let options = std::mem::offset_of!(FlowKey, tun_opts) / 8;
    above_link.words_mut()[..behind_ethernet].fill(0);
    above_link.words_mut()[options..].fill(0);
    let common =
        |bits: &FlowKey| union.bits().words().iter().zip(bits.words()).any(|(mask, field)| mask & field != 0);
    if common(&transport) {
        Depth::Transport
    } else if common(&above_link) {
        Depth::Network
    } else {
        Depth::Link
    }
}

/// Turns a mask over the key into one over the header bytes of packets of `shape`.
fn window_mask(bits: &FlowKey, shape: Shape) -> Window {
    let mut mask = [0u8; WINDOW];
    mask[0..6].copy_from_slice(&bits.eth_dst.0);
    mask[6..12].copy_from_slice(&bits.eth_src.0);
    let l3 = if shape.tagged() {
        mask[12..14].copy_from_slice(bits.vlan_tpid.as_ref());
        // The key's CFI bit says that there is a tag, as the shape does; the packet's own is not part of the key.
        mask[14..16].copy_from_slice(&(bits.vlan_tci.get() & 0xefff).to_be_bytes());
        18
    } else {
        14
    };
    mask[l3 - 2..l3].copy_from_slice(bits.eth_type.as_ref());
    match shape {
        Shape::Link | Shape::LinkTagged => {}
        Shape::Ipv4 | Shape::Ipv4Tagged => mask_ipv4(&mut mask, bits, l3),
        Shape::Udp4 | Shape::Udp4Tagged | Shape::Tcp4 | Shape::Tcp4Tagged => {
            mask_ipv4(&mut mask, bits, l3);
            mask_transport(&mut mask, bits, shape, l3 + 20);
        }
        Shape::Udp6 | Shape::Udp6Tagged | Shape::Tcp6 | Shape::Tcp6Tagged => {
            mask_ipv6(&mut mask, bits, l3);
            mask_transport(&mut mask, bits, shape, l3 + 40);
        }
    }
    let mut window = [0; WINDOW_WORDS];
    for (index, word) in window.iter_mut().enumerate() {
        *word = word_at(&mask, index);
    }
    window
}

fn mask_ipv4(mask: &mut [u8; WINDOW], bits: &FlowKey, l3: usize) {
    mask[l3 + 1] = bits.ip_tos;
    mask[l3 + 8] = bits.ip_ttl;
    mask[l3 + 9] = bits.ip_proto;
    mask[l3 + 12..l3 + 16].copy_from_slice(&bits.ip_src[..4]);
    mask[l3 + 16..l3 + 20].copy_from_slice(&bits.ip_dst[..4]);
}

fn mask_ipv6(mask: &mut [u8; WINDOW], bits: &FlowKey, l3: usize) {
    // RFC 8200, section 3: version (4 bits), traffic class (8), flow label (20).
    let first = (u32::from(bits.ip_tos) << 20) | (bits.ipv6_label.get() & 0x000f_ffff);
    mask[l3..l3 + 4].copy_from_slice(&first.to_be_bytes());
    mask[l3 + 6] = bits.ip_proto;
    mask[l3 + 7] = bits.ip_ttl;
    mask[l3 + 8..l3 + 24].copy_from_slice(&bits.ip_src);
    mask[l3 + 24..l3 + 40].copy_from_slice(&bits.ip_dst);
}

fn mask_transport(mask: &mut [u8; WINDOW], bits: &FlowKey, shape: Shape, l4: usize) {
    mask[l4..l4 + 2].copy_from_slice(bits.tp_src.as_ref());
    mask[l4 + 2..l4 + 4].copy_from_slice(bits.tp_dst.as_ref());
    if matches!(shape, Shape::Tcp4 | Shape::Tcp4Tagged | Shape::Tcp6 | Shape::Tcp6Tagged) {
        mask[l4 + 12..l4 + 14].copy_from_slice(&(bits.tcp_flags.get() & 0x0fff).to_be_bytes());
    }
}

/// Where the TCP header of a packet of this shape is, if the packet is TCP behind plain headers.
#[inline(always)]
fn tcp_offset(header: &[u8; WINDOW], shape: Shape) -> Option<usize> {
    let l3 = if shape.tagged() { 18 } else { 14 };
    let ethertype = be16(header, l3 - 2);
    if ethertype == ETHERTYPE_IPV4 {
        let plain = header[l3] & 0x0f == 5 && be16(header, l3 + 6) & 0x1fff == 0;
        return (plain && header[l3 + 9] == PROTO_TCP).then_some(l3 + 20);
    }
    (ethertype == ETHERTYPE_IPV6 && header[l3 + 6] == PROTO_TCP).then_some(l3 + 40)
}

/// Bytes of the plain IP header that an ethertype announces.
#[inline(always)]
fn ip_len(ethertype: u16) -> usize {
    match ethertype {
        ETHERTYPE_IPV4 => 20,
        ETHERTYPE_IPV6 => 40,
        _ => 0,
    }
}

/// Whether there may be a TCP header behind IPv4 options or IPv6 extension headers, whose flags a flow's statistics want.
#[inline(always)]
fn hides_tcp(header: &[u8; WINDOW], ethertype: u16, l3: usize) -> bool {
    match ethertype {
        ETHERTYPE_IPV4 => header[l3] & 0x0f != 5 && header[l3 + 9] == PROTO_TCP,
        // Hop-by-hop options, routing, fragment, authentication and destination options (RFC 7045, section 2).
        ETHERTYPE_IPV6 => matches!(header[l3 + 6], 0 | 43 | 44 | 51 | 60),
        _ => false,
    }
}

/// The header bits that make a packet be of this shape, and say whether it is TCP.
fn signature(shape: Shape) -> Window {
    let mut bits = [0u8; WINDOW];
    let l3 = if shape.tagged() { 18 } else { 14 };
    bits[12..14].fill(0xff);
    bits[l3 - 2..l3].fill(0xff);
    if !shape.is_ipv6() {
        bits[l3] = 0x0f;
        // More-fragments flag and offset; byte 6 is also where IPv6 names the next header.
        bits[l3 + 6] = 0xff;
        bits[l3 + 7] = 0xff;
        bits[l3 + 9] = 0xff;
    } else {
        bits[l3 + 6] = 0xff;
    }
    std::array::from_fn(|index| word_at(&bits, index))
}

#[cfg(test)]
mod tests;
