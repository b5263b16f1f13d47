// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a bridge's owner may choose, and the fixed times of the learning switch.

/// One second, in nanoseconds.
pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// A flow that no packet used for this long is deleted.
pub(crate) const IDLE_NS: u64 = 10 * SECOND_NS;

/// The same for floods, drops, and for every flow while the flow table is more than half full.
pub(crate) const IDLE_SHORT_NS: u64 = 2 * SECOND_NS;

/// Moves of one address are counted over this time.
pub(crate) const MOVE_WINDOW_NS: u64 = SECOND_NS;

/// An address that moves more often than this within [`MOVE_WINDOW_NS`] is held.
pub(crate) const MOVES_MAX: u32 = 5;

/// A held address stays at the port where it was before it began to move; its frames from elsewhere are dropped.
pub(crate) const HOLD_NS: u64 = 5 * SECOND_NS;

/// Floods from a port are dropped for this long once it is over the flood limit: long enough for whatever goes round in a loop to die out.
pub(crate) const STORM_NS: u64 = SECOND_NS;

/// What a bridge's owner may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// An address that sent nothing for this long is forgotten, in nanoseconds.
    pub aging_ns: u64,
    /// The most addresses that are kept. When the table is full, the port with the most addresses loses its oldest one: a port
    /// that invents addresses pushes out its own.
    pub mac_limit: usize,
    /// The most flows that the bridge keeps in the datapath. What does not fit is forwarded packet by packet.
    pub flow_limit: usize,
    /// The most packets a second that are flooded from one port; a port over it has its floods dropped for a second. This ends a
    /// loop, in which one frame can go round for ever without its address ever moving. 0: no limit.
    pub flood_limit_pps: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { aging_ns: 300 * SECOND_NS, mac_limit: 8192, flow_limit: 65_536, flood_limit_pps: 100_000 }
    }
}
