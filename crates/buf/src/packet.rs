// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One packet: the frame's bytes, what the hardware or the guest left to be done (offloads), and metadata.

use std::fmt;
use std::ptr::NonNull;

use crate::metadata::Extension;
use crate::pool;

/// Bits of [`RawPacket::flags`].
pub mod flags {
    /// The checksum at `csum_start + csum_offset` covers only the pseudo-header: the rest is still to be
    /// added (VIRTIO_NET_HDR_F_NEEDS_CSUM).
    pub const PARTIAL_CSUM: u16 = 1 << 0;
    /// The receiver has verified the checksum (VIRTIO_NET_HDR_F_DATA_VALID).
    pub const CSUM_VALID: u16 = 1 << 1;
    /// The frame starts with a layer-3 header; there is no Ethernet header.
    pub const LAYER3: u16 = 1 << 2;
    /// Metadata other than `in_port` and `recirc_id` is present (mark, priority, dp_hash, extension):
    /// the flow look-up must take the general way.
    pub const METADATA: u16 = 1 << 3;
    /// Something in the header's second cache line is set: it must be cleared before the buffer is used again.
    pub const COLD: u16 = 1 << 4;
    /// The port type hands a received packet over only to have it counted as dropped; `l4_offset` says why.
    pub const REFUSED: u16 = 1 << 5;
}

/// A packet buffer's header as the module ABI shows it (`struct portway_packet` in `portway_vport.h`).
///
/// The first cache line holds all that the fast path touches. Fields are public because modules in C
/// see them; Rust code uses [`Packet`]'s methods.
///
/// Invariants, relied on by every safe method of [`Packet`]: `area` points to `capacity` initialised
/// bytes owned by this buffer; `data + len <= capacity`.
#[repr(C, align(64))]
pub struct RawPacket {
    /// First byte of the data area.
    pub area: *mut u8,
    /// Bytes in the data area.
    pub capacity: u32,
    /// Offset of the frame's first byte in the data area.
    pub data: u32,
    /// Length of the frame in bytes.
    pub len: u32,
    /// Bits of [`flags`].
    pub flags: u16,
    /// Where a partial checksum's coverage starts, in bytes from the frame's start.
    pub csum_start: u16,
    /// Where the checksum field is, in bytes from `csum_start`.
    pub csum_offset: u16,
    /// Payload bytes of each segment of a super-packet; 0: not one.
    pub gso_size: u16,
    /// VIRTIO_NET_HDR_GSO_* (linux/virtio_net.h): 0 none, 1 TCPv4, 3 UDP, 4 TCPv6, 5 UDP_L4; 0x80: ECN.
    pub gso_type: u8,
    /// Buffer class, see [`crate::Class`].
    pub class: u8,
    /// Ethertype (host order) of a frame without an Ethernet header ([`flags::LAYER3`]).
    pub l3_protocol: u16,
    /// Hash of the flow as the receiver computed it; 0: not known.
    pub rx_hash: u32,
    /// Number of the port that received the packet.
    pub in_port: u32,
    /// skb mark (OVS_KEY_ATTR_SKB_MARK).
    pub mark: u32,
    /// skb priority (OVS_KEY_ATTR_PRIORITY).
    pub priority: u32,
    /// Recirculation id (OVS_KEY_ATTR_RECIRC_ID); 0 for a packet fresh from a port.
    pub recirc_id: u32,
    /// Datapath hash set by the hash action (OVS_KEY_ATTR_DP_HASH).
    pub dp_hash: u32,
    /// Gives the buffer back to the allocator that made it; called by whoever drops the packet last.
    pub release: unsafe extern "C" fn(*mut RawPacket),
    // ---- second line: cold, used only when flags::COLD says so ----
    /// Tunnel and connection state; null: none. Owned; made by [`Packet::extension_mut`].
    extension: Option<Box<Extension>>,
    /// Offset of the layer-3 header from the frame's start, where an earlier stage found it.
    pub l3_offset: u16,
    /// Offset of the layer-4 header from the frame's start, where an earlier stage found it.
    pub l4_offset: u16,
    /// Largest fragment of the datagram that this packet was reassembled from; 0: not reassembled.
    pub mru: u16,
    /// How often the packet was recirculated.
    pub recirculations: u16,
}

/// What the frame starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// An Ethernet header.
    Ethernet,
    /// A layer-3 header of this ethertype (host order).
    Layer3(u16),
}

/// A segmentation super-packet's geometry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gso {
    /// VIRTIO_NET_HDR_GSO_*.
    pub gso_type: u8,
    /// Payload bytes per segment.
    pub size: u16,
}

/// What is left to be done to a packet before it may leave on a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Offload {
    /// The partial checksum's start (from the frame's start) and field offset (from the start).
    pub partial_csum: Option<(u16, u16)>,
    /// Segmentation.
    pub gso: Option<Gso>,
}

/// Asks the processor to fetch a value's first cache line; without effect where there is no such instruction.
#[inline(always)]
pub fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: prefetching reads nothing and never faults.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>((&raw const *value).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// A packet, owned. One pointer wide; dropping it gives the buffer back to its allocator.
#[repr(transparent)]
pub struct Packet(NonNull<RawPacket>);

// SAFETY: a `Packet` is the only owner of its buffer; nothing in it is tied to a thread.
unsafe impl Send for Packet {}
// SAFETY: `&Packet` gives only shared access to plain memory.
unsafe impl Sync for Packet {}

impl Packet {
    /// Takes ownership of a raw buffer.
    ///
    /// # Safety
    /// `raw` must be a buffer that a [`crate::Pool`] (or [`Packet::into_raw`]) gave out, its invariants
    /// intact, and owned by nobody else.
    #[inline]
    pub unsafe fn from_raw(raw: NonNull<RawPacket>) -> Self {
        Self(raw)
    }

    /// Gives ownership away; the packet must come back through [`Packet::from_raw`].
    #[inline]
    pub fn into_raw(self) -> NonNull<RawPacket> {
        let raw = self.0;
        std::mem::forget(self);
        raw
    }

    /// A packet holding a copy of `frame`, from the process-wide depot (not the fast path).
    /// `None` if the frame is longer than [`crate::FRAME_MAX`].
    pub fn copied_from(frame: &[u8]) -> Option<Self> {
        let mut packet = pool::allocate_fitting(frame.len())?;
        packet.set_frame(frame);
        Some(packet)
    }

    #[inline]
    fn raw(&self) -> &RawPacket {
        // SAFETY: `self.0` is valid and owned for as long as `self` lives.
        unsafe { self.0.as_ref() }
    }

    /// The header that the C ABI shows. Callers may change plain fields; `area`, `capacity`, `data`, `len`
    /// only through the methods below, which keep the invariants.
    #[inline]
    fn raw_mut(&mut self) -> &mut RawPacket {
        // SAFETY: as in `raw`, and `&mut self` makes the access exclusive.
        unsafe { self.0.as_mut() }
    }

    /// The frame.
    #[inline]
    pub fn frame(&self) -> &[u8] {
        let raw = self.raw();
        // SAFETY: RawPacket's invariant: `data + len <= capacity` initialised bytes from `area`.
        unsafe { std::slice::from_raw_parts(raw.area.add(raw.data as usize), raw.len as usize) }
    }

    /// The frame, for writing.
    #[inline]
    pub fn frame_mut(&mut self) -> &mut [u8] {
        let raw = self.raw_mut();
        // SAFETY: as in `frame`, exclusive through `&mut self`.
        unsafe { std::slice::from_raw_parts_mut(raw.area.add(raw.data as usize), raw.len as usize) }
    }

    /// The first `N` bytes from the frame's start whether or not the frame is that long: what lies past its
    /// end is old buffer content and must be masked off by the caller. `None` if the buffer itself ends.
    #[inline]
    pub fn window<const N: usize>(&self) -> Option<&[u8; N]> {
        let raw = self.raw();
        if raw.data as usize + N > raw.capacity as usize {
            return None;
        }
        // SAFETY: all `capacity` bytes of the area are initialised and `data + N` lies within.
        Some(unsafe { &*raw.area.add(raw.data as usize).cast::<[u8; N]>() })
    }

    /// Length of the frame in bytes.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "a frame is never usefully empty")]
    pub fn len(&self) -> usize {
        self.raw().len as usize
    }

    /// Bytes free in front of the frame.
    #[inline]
    pub fn headroom(&self) -> usize {
        self.raw().data as usize
    }

    /// Bytes free behind the frame.
    #[inline]
    pub fn tailroom(&self) -> usize {
        let raw = self.raw();
        (raw.capacity - raw.data - raw.len) as usize
    }

    /// Replaces the content by a copy of `frame`, with the standard headroom; metadata stays.
    ///
    /// # Panics
    /// If the buffer is too small: the caller chose its class by the frame's length.
    #[inline]
    pub fn set_frame(&mut self, frame: &[u8]) {
        let raw = self.raw_mut();
        assert!(crate::HEADROOM + frame.len() <= raw.capacity as usize, "frame does not fit its buffer");
        raw.data = crate::HEADROOM as u32;
        raw.len = frame.len() as u32;
        self.frame_mut().copy_from_slice(frame);
    }

    /// Makes the frame `n` bytes longer at its front (the headroom shrinks, offsets into the frame move along)
    /// and returns false, changing nothing, if the headroom is too small.
    #[inline]
    #[must_use]
    pub fn push_front(&mut self, n: usize) -> bool {
        let raw = self.raw_mut();
        if n > raw.data as usize {
            return false;
        }
        raw.data -= n as u32;
        raw.len += n as u32;
        raw.csum_start = raw.csum_start.wrapping_add(n as u16);
        true
    }

    /// Takes `n` bytes from the frame's front; false, changing nothing, if it is shorter.
    #[inline]
    #[must_use]
    pub fn pull_front(&mut self, n: usize) -> bool {
        let raw = self.raw_mut();
        if n > raw.len as usize {
            return false;
        }
        raw.data += n as u32;
        raw.len -= n as u32;
        raw.csum_start = raw.csum_start.wrapping_sub(n as u16);
        true
    }

    /// Opens a gap of `n` bytes at offset `at` by moving the bytes before it forward into the headroom;
    /// the gap's content is undefined (old bytes). False, changing nothing, if there is no room.
    #[inline]
    #[must_use]
    pub fn insert_gap(&mut self, at: usize, n: usize) -> bool {
        if at > self.len() || !self.push_front(n) {
            return false;
        }
        self.frame_mut().copy_within(n..n + at, 0);
        true
    }

    /// Removes `n` bytes at offset `at` by moving the bytes before it back. False if the frame is shorter.
    #[inline]
    #[must_use]
    pub fn remove_at(&mut self, at: usize, n: usize) -> bool {
        if at + n > self.len() {
            return false;
        }
        self.frame_mut().copy_within(0..at, n);
        self.pull_front(n)
    }

    /// Cuts the frame to `len` bytes; longer than it is: no change.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        let raw = self.raw_mut();
        raw.len = raw.len.min(len as u32);
    }

    /// Sets the frame to `len` bytes from offset `data` of the area. False, changing nothing, if that is not
    /// within the area. The bytes are whatever was last written there (a driver's receive, for example).
    #[inline]
    #[must_use]
    pub fn set_bounds(&mut self, data: usize, len: usize) -> bool {
        let raw = self.raw_mut();
        if data.checked_add(len).is_none_or(|end| end > raw.capacity as usize) {
            return false;
        }
        raw.data = data as u32;
        raw.len = len as u32;
        true
    }

    /// The whole data area, for a driver that receives into it.
    #[inline]
    pub fn area_mut(&mut self) -> &mut [u8] {
        let raw = self.raw_mut();
        // SAFETY: `area` has `capacity` initialised bytes, owned by this packet.
        unsafe { std::slice::from_raw_parts_mut(raw.area, raw.capacity as usize) }
    }

    /// Bytes in the data area.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.raw().capacity as usize
    }

    #[inline]
    fn reset_metadata(&mut self) {
        let raw = self.raw_mut();
        raw.flags = 0;
        raw.csum_start = 0;
        raw.csum_offset = 0;
        raw.gso_size = 0;
        raw.gso_type = 0;
        raw.l3_protocol = 0;
        raw.rx_hash = 0;
        raw.in_port = 0;
        raw.mark = 0;
        raw.priority = 0;
        raw.recirc_id = 0;
        raw.dp_hash = 0;
    }

    /// Clears everything, the cold line too if it was used: before a buffer goes back to a free list.
    #[inline(always)]
    pub(crate) fn recycle(&mut self) {
        let raw = self.raw_mut();
        // An ordinary packet leaves nothing behind but its input port: looking is cheaper than writing.
        raw.in_port = 0;
        if u32::from(raw.flags) | u32::from(raw.gso_size) | raw.recirc_id | raw.rx_hash != 0 {
            self.recycle_used();
        }
    }

    #[cold]
    fn recycle_used(&mut self) {
        let raw = self.raw_mut();
        if raw.flags & flags::COLD != 0 {
            if let Some(extension) = &mut raw.extension {
                extension.clear();
            }
            raw.l3_offset = 0;
            raw.l4_offset = 0;
            raw.mru = 0;
            raw.recirculations = 0;
        }
        self.reset_metadata();
    }

    /// Number of the port that received the packet.
    #[inline]
    pub fn in_port(&self) -> u32 {
        self.raw().in_port
    }

    /// Sets the input port's number.
    #[inline]
    pub fn set_in_port(&mut self, port_no: u32) {
        self.raw_mut().in_port = port_no;
    }

    /// Recirculation id; 0 for a packet fresh from a port.
    #[inline]
    pub fn recirc_id(&self) -> u32 {
        self.raw().recirc_id
    }

    /// Sets the recirculation id.
    #[inline]
    pub fn set_recirc_id(&mut self, id: u32) {
        self.raw_mut().recirc_id = id;
    }

    /// skb mark.
    #[inline]
    pub fn mark(&self) -> u32 {
        self.raw().mark
    }

    /// Sets the skb mark.
    #[inline]
    pub fn set_mark(&mut self, mark: u32) {
        let raw = self.raw_mut();
        raw.mark = mark;
        raw.flags |= flags::METADATA;
    }

    /// skb priority.
    #[inline]
    pub fn priority(&self) -> u32 {
        self.raw().priority
    }

    /// Sets the skb priority.
    #[inline]
    pub fn set_priority(&mut self, priority: u32) {
        let raw = self.raw_mut();
        raw.priority = priority;
        raw.flags |= flags::METADATA;
    }

    /// Datapath hash, as the hash action left it.
    #[inline]
    pub fn dp_hash(&self) -> u32 {
        self.raw().dp_hash
    }

    /// Sets the datapath hash.
    #[inline]
    pub fn set_dp_hash(&mut self, hash: u32) {
        let raw = self.raw_mut();
        raw.dp_hash = hash;
        raw.flags |= flags::METADATA;
    }

    /// Whether the look-up must consider more metadata than the input port and the recirculation id.
    #[inline]
    pub fn has_metadata(&self) -> bool {
        self.raw().flags & (flags::METADATA | flags::LAYER3) != 0
    }

    /// Tunnel and connection metadata, if the packet has any.
    #[inline]
    pub fn extension(&self) -> Option<&Extension> {
        let raw = self.raw();
        let may_have = raw.flags & flags::COLD != 0;
        raw.extension.as_deref().filter(|extension| may_have && extension.in_use)
    }

    /// Tunnel and connection metadata, made on first use (allocates, if none of the buffer's earlier packets had any).
    pub fn extension_mut(&mut self) -> &mut Extension {
        let raw = self.raw_mut();
        raw.flags |= flags::METADATA | flags::COLD;
        let extension = raw.extension.get_or_insert_default();
        extension.in_use = true;
        extension
    }

    /// Hash of the flow as the receiver computed it; 0: not known.
    #[inline]
    pub fn rx_hash(&self) -> u32 {
        self.raw().rx_hash
    }

    /// Sets the receiver's hash.
    #[inline]
    pub fn set_rx_hash(&mut self, hash: u32) {
        self.raw_mut().rx_hash = hash;
    }

    /// Marks a received packet as not acceptable: whoever receives it from the port type drops and counts it. `why` is a number
    /// of the module ABI.
    pub fn refuse(&mut self, why: u16) {
        let raw = self.raw_mut();
        raw.flags |= flags::REFUSED | flags::COLD;
        raw.l4_offset = why;
    }

    /// Why the port type does not accept a received packet.
    #[inline]
    pub fn refusal(&self) -> Option<u16> {
        let raw = self.raw();
        (raw.flags & flags::REFUSED != 0).then_some(raw.l4_offset)
    }

    /// What the frame starts with.
    #[inline]
    pub fn kind(&self) -> PacketKind {
        let raw = self.raw();
        if raw.flags & flags::LAYER3 == 0 {
            PacketKind::Ethernet
        } else {
            PacketKind::Layer3(raw.l3_protocol)
        }
    }

    /// Says what the frame starts with.
    pub fn set_kind(&mut self, kind: PacketKind) {
        let raw = self.raw_mut();
        match kind {
            PacketKind::Ethernet => {
                raw.flags &= !flags::LAYER3;
                raw.l3_protocol = 0;
            }
            PacketKind::Layer3(ethertype) => {
                raw.flags |= flags::LAYER3;
                raw.l3_protocol = ethertype;
            }
        }
    }

    /// What is left to be done to the packet.
    #[inline]
    pub fn offload(&self) -> Offload {
        let raw = self.raw();
        Offload {
            partial_csum: (raw.flags & flags::PARTIAL_CSUM != 0).then_some((raw.csum_start, raw.csum_offset)),
            gso: (raw.gso_size != 0).then_some(Gso { gso_type: raw.gso_type, size: raw.gso_size }),
        }
    }

    /// Whether nothing is left to be done: no partial checksum, not a super-packet.
    #[inline]
    pub fn is_plain(&self) -> bool {
        let raw = self.raw();
        raw.flags & flags::PARTIAL_CSUM == 0 && raw.gso_size == 0
    }

    /// Sets what is left to be done.
    #[inline]
    pub fn set_offload(&mut self, offload: Offload) {
        let raw = self.raw_mut();
        match offload.partial_csum {
            Some((start, offset)) => {
                raw.flags |= flags::PARTIAL_CSUM;
                raw.csum_start = start;
                raw.csum_offset = offset;
            }
            None => raw.flags &= !flags::PARTIAL_CSUM,
        }
        let gso = offload.gso.unwrap_or(Gso { gso_type: 0, size: 0 });
        raw.gso_type = gso.gso_type;
        raw.gso_size = gso.size;
    }

    /// Whether the receiver has verified the checksum.
    #[inline]
    pub fn checksum_verified(&self) -> bool {
        self.raw().flags & flags::CSUM_VALID != 0
    }

    /// Notes whether the receiver has verified the checksum.
    #[inline]
    pub fn set_checksum_verified(&mut self, verified: bool) {
        let raw = self.raw_mut();
        if verified {
            raw.flags |= flags::CSUM_VALID;
        } else {
            raw.flags &= !flags::CSUM_VALID;
        }
    }

    /// Offsets of the layer-3 and layer-4 headers, as the last extraction noted them; 0: not known.
    #[inline]
    pub fn layers(&self) -> (usize, usize) {
        let raw = self.raw();
        (usize::from(raw.l3_offset), usize::from(raw.l4_offset))
    }

    /// Notes the offsets of the layer-3 and layer-4 headers.
    #[inline]
    pub fn set_layers(&mut self, l3: usize, l4: usize) {
        let raw = self.raw_mut();
        raw.flags |= flags::COLD;
        raw.l3_offset = l3 as u16;
        raw.l4_offset = l4 as u16;
    }

    /// Largest fragment of the datagram that the packet was reassembled from; 0: it was not.
    #[inline]
    pub fn mru(&self) -> u16 {
        let raw = self.raw();
        // Almost always the first line says that there is nothing to look for on the second.
        if raw.flags & flags::COLD == 0 { 0 } else { raw.mru }
    }

    /// Sets the largest fragment's size.
    pub fn set_mru(&mut self, mru: u16) {
        let raw = self.raw_mut();
        raw.flags |= flags::COLD;
        raw.mru = mru;
    }

    /// How often the packet was recirculated.
    pub fn recirculations(&self) -> u16 {
        self.raw().recirculations
    }

    /// Counts a recirculation.
    pub fn count_recirculation(&mut self) {
        let raw = self.raw_mut();
        raw.flags |= flags::COLD;
        raw.recirculations = raw.recirculations.saturating_add(1);
    }

    /// Copies everything but the buffer itself from `other`: frame, offloads, metadata. False if it does not fit.
    #[must_use]
    pub fn assign(&mut self, other: &Self) -> bool {
        if crate::HEADROOM + other.len() > self.capacity() {
            return false;
        }
        self.set_frame(other.frame());
        self.copy_metadata(other);
        true
    }

    /// Copies everything but the frame from `other`: offloads (for a frame of the same shape) and metadata.
    pub fn copy_metadata(&mut self, other: &Self) {
        let (to, from) = (self.raw_mut(), other.raw());
        to.flags = from.flags;
        to.csum_start = from.csum_start;
        to.csum_offset = from.csum_offset;
        to.gso_size = from.gso_size;
        to.gso_type = from.gso_type;
        to.l3_protocol = from.l3_protocol;
        to.rx_hash = from.rx_hash;
        to.in_port = from.in_port;
        to.mark = from.mark;
        to.priority = from.priority;
        to.recirc_id = from.recirc_id;
        to.dp_hash = from.dp_hash;
        match (other.extension(), &mut to.extension) {
            (Some(from), Some(to)) => (**to).clone_from(from),
            (Some(from), to) => *to = Some(Box::new(from.clone())),
            (None, Some(to)) => to.clear(),
            (None, None) => {}
        }
        to.l3_offset = from.l3_offset;
        to.l4_offset = from.l4_offset;
        to.mru = from.mru;
        to.recirculations = from.recirculations;
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        let release = self.raw().release;
        // SAFETY: `release` belongs to the allocator that made this buffer, and we own the buffer until here.
        unsafe { release(self.0.as_ptr()) }
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet")
            .field("in_port", &self.in_port())
            .field("len", &self.len())
            .field("offload", &self.offload())
            .finish_non_exhaustive()
    }
}

impl RawPacket {
    /// A header for a fresh buffer.
    ///
    /// # Safety
    /// `area` must point to `capacity` initialised bytes that `release` knows how to give back.
    pub(crate) unsafe fn new(
        area: *mut u8,
        capacity: u32,
        class: u8,
        release: unsafe extern "C" fn(*mut Self),
    ) -> Self {
        Self {
            area,
            capacity,
            data: crate::HEADROOM as u32,
            len: 0,
            flags: 0,
            csum_start: 0,
            csum_offset: 0,
            gso_size: 0,
            gso_type: 0,
            class,
            l3_protocol: 0,
            rx_hash: 0,
            in_port: 0,
            mark: 0,
            priority: 0,
            recirc_id: 0,
            dp_hash: 0,
            release,
            extension: None,
            l3_offset: 0,
            l4_offset: 0,
            mru: 0,
            recirculations: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hot_fields_fill_one_line() {
        assert_eq!(std::mem::offset_of!(RawPacket, extension), 64);
        assert_eq!(size_of::<RawPacket>(), 128);
        assert_eq!(size_of::<Packet>(), 8);
        assert_eq!(size_of::<Option<Packet>>(), 8);
    }

    #[test]
    fn gaps_open_and_close() {
        let mut packet = Packet::copied_from(b"abcdefgh").unwrap();
        packet.set_offload(Offload { partial_csum: Some((4, 2)), gso: None });
        assert!(packet.insert_gap(2, 3));
        packet.frame_mut()[2..5].copy_from_slice(b"XYZ");
        assert_eq!(packet.frame(), b"abXYZcdefgh");
        assert_eq!(packet.offload().partial_csum, Some((7, 2)));
        assert!(packet.remove_at(2, 3));
        assert_eq!(packet.frame(), b"abcdefgh");
        assert_eq!(packet.offload().partial_csum, Some((4, 2)));
        assert!(!packet.remove_at(6, 3));
        assert!(!packet.insert_gap(0, crate::HEADROOM + 1));
        assert!(!packet.insert_gap(9, 1));
        assert_eq!(packet.frame(), b"abcdefgh");
    }

    #[test]
    fn bounds_stay_inside_the_area() {
        let mut packet = Packet::copied_from(&[7; 60]).unwrap();
        let capacity = packet.capacity();
        assert!(packet.set_bounds(capacity, 0));
        assert!(!packet.set_bounds(capacity, 1));
        assert!(!packet.set_bounds(usize::MAX, 2));
        assert!(packet.set_bounds(capacity - 10, 10));
        assert!(packet.window::<10>().is_some());
        assert!(packet.window::<11>().is_none());
    }

    #[test]
    fn a_copy_carries_metadata() {
        let mut packet = Packet::copied_from(&[1; 100]).unwrap();
        packet.set_mark(9);
        packet.extension_mut().ct_zone = 4;
        let mut copy = Packet::copied_from(&[]).unwrap();
        assert!(copy.assign(&packet));
        assert_eq!((copy.mark(), copy.extension().unwrap().ct_zone, copy.len()), (9, 4, 100));
        let large = Packet::copied_from(&[0; 9000]).unwrap();
        assert!(!copy.assign(&large));
        assert_eq!(copy.len(), 100);
    }

    #[test]
    fn too_long_a_frame_is_refused() {
        assert!(Packet::copied_from(&vec![0; crate::FRAME_MAX]).is_some());
        assert!(Packet::copied_from(&vec![0; crate::FRAME_MAX + 1]).is_none());
    }
}
