// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Packet buffers.
//!
//! ```text
//!   RawPacket (128 bytes)          data area (Class::Small: 2 KiB, Class::Large: 64 KiB + headroom)
//!   +--------------+-----------+   +------------------+----------------------------+--------------+
//!   | line 0: hot  | line 1    |   | headroom         | frame                      | tailroom     |
//!   | frame, offl. | cold      |   | (push_front)     | data .. data + len         |              |
//!   +--------------+-----------+   +------------------+----------------------------+--------------+
//! ```
//!
//! * [`Packet`] owns one buffer. It is one pointer wide, so a batch moves by copying pointers.
//! * [`Pool`] is a worker's own free list: taking and giving back a packet touches nothing shared.
//! * [`RawPacket`] is the part that port-type modules see through the C ABI (`crates/vport/src/abi.rs`).
//! * [`DropReason`] names every way in which a packet can die.
//!
//! Unsafe code is allowed in this crate: it is where memory is owned.

mod block_copy;
mod drop_reason;
mod huge_pages;
mod metadata;
mod packet;
mod pool;
pub mod receive;
pub mod virtio;

pub use block_copy::{BLOCK, Block};
pub use drop_reason::{DropCounts, DropReason};
pub use huge_pages::prefer_huge_pages;
pub use metadata::{Extension, TunnelKey, tunnel_flags};
pub use packet::{Gso, Offload, Packet, PacketKind, RawPacket, flags, prefetch};
pub use pool::{Class, Pool, PoolHandle, PoolRef, depot_stats};

/// The most packets that travel together from rx to tx.
pub const BATCH_MAX: usize = 64;

/// Up to [`BATCH_MAX`] packets on their way through a worker, in order of arrival.
pub type Batch = arrayvec::ArrayVec<Packet, BATCH_MAX>;

/// Bytes kept free in front of a received frame: room for the largest encapsulation
/// (Ethernet, IPv6, UDP, Geneve with 252 bytes of options) without moving the frame.
pub const HEADROOM: usize = 384;

/// The longest frame that the switch carries, in bytes: a 64 KiB segment with its headers.
pub const FRAME_MAX: usize = 65_535 + 256;
