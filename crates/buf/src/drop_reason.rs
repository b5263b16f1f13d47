// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Why a packet died. Each reason has a name and a counter; there is no other way out than a port.

/// Declares the reasons once; the enum, the names, the explanations and the count derive from it.
macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Why a packet was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason { $($(#[doc = $doc])+ $variant,)+ }

        impl DropReason {
            /// Every reason, in the order of their counters.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name that counters, logs and `portway drops` show.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// One sentence for a person who wonders what the counter means.
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc,)+),)+ }
            }
        }
    };
}

drop_reasons! {
    /// The datapath has no flow for the packet and nobody takes upcalls.
    NoListener = "upcall_no_listener",
    /// The port's upcall queue is full.
    UpcallQueueFull = "upcall_queue_full",
    /// The upcall's receiver has gone or its queue is full.
    UpcallLost = "upcall_lost",
    /// The flow has no actions, which means drop.
    FlowDrop = "flow_no_action",
    /// An explicit drop action of the flow.
    ActionDrop = "action_drop",
    /// An explicit drop action of the flow, with an error code set by the controller.
    ActionError = "action_error",
    /// Key extraction refused the frame (a damaged NSH header, or shorter than an Ethernet header).
    BadFrame = "bad_frame",
    /// The host lost a packet before its port received it: the receive queue was full because the switch was too slow for a moment.
    ReceiveQueueFull = "rx_queue_full",
    /// A port received a frame of more than 64 KiB and its headers (BIG TCP): the sender's gso_max_size must not exceed 65536.
    FrameTooLong = "frame_too_long",
    /// The output port does not exist.
    NoSuchPort = "no_such_port",
    /// The frame is longer than the output port's MTU and is not a segmentation super-packet.
    OverMtu = "over_mtu",
    /// An Ethernet frame for a layer-3 port, or a bare IP packet for an Ethernet port.
    WrongLayer = "wrong_layer",
    /// The port's driver refused the packet, or its device has gone.
    TxError = "tx_error",
    /// The port's driver has no room at the moment.
    TxFull = "tx_full",
    /// A super-packet could not be cut into segments.
    SegmentFailed = "segment_failed",
    /// The packet was recirculated more often than the limit.
    RecirculationLimit = "recirculation_limit",
    /// The queue of packets that wait for recirculation is full.
    RecirculationFull = "recirculation_full",
    /// An action could not be carried out on this packet (for example set on a header that is not there).
    ActionFailed = "action_failed",
    /// A meter's band said drop.
    Meter = "meter",
    /// The time to live ran out in dec_ttl and its actions did not keep the packet.
    TtlExpired = "ttl_expired",
    /// The packet buffer's limits do not allow another header or a copy.
    NoBuffer = "no_buffer",
    /// The receiving port is being removed.
    PortGone = "port_gone",
    /// Tunnel: the outer packet is damaged or its flags are not acceptable.
    TunnelBadHeader = "tunnel_bad_header",
    /// Tunnel: there is no route to the remote end.
    TunnelNoRoute = "tunnel_no_route",
    /// Tunnel: ECN says congestion for a packet that cannot carry the mark.
    TunnelEcn = "tunnel_ecn",
    /// Tunnel: the packet has no metadata that says where to (no set(tunnel) before the output).
    TunnelNoKey = "tunnel_no_key",
    /// Connection tracking refused the packet.
    Conntrack = "conntrack",
    /// A datagram's fragments were not completed in time or were damaged.
    Fragment = "fragment",
    /// A module or a worker failed on this packet and was contained.
    Contained = "contained_failure",
}

/// A worker's own counts, one for each [`DropReason`]; plain memory, published by the worker per batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropCounts([u64; DropReason::ALL.len()]);

impl Default for DropCounts {
    fn default() -> Self {
        Self([0; DropReason::ALL.len()])
    }
}

impl DropCounts {
    /// Counts `packets` for `reason`.
    #[inline]
    pub fn add(&mut self, reason: DropReason, packets: u64) {
        self.0[reason as usize] += packets;
    }

    /// The count of `reason`.
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// Every reason with its count, also those that are zero.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|&reason| (reason, self.get(reason)))
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine += theirs;
        }
    }

    /// Takes what was counted since the last call.
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&count| count == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_counters_line_up() {
        let mut names: Vec<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropReason::ALL.len());
        for (index, &reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason as usize, index);
            assert!(reason.explanation().ends_with('.'));
        }
    }

    #[test]
    fn counts_add_merge_and_reset() {
        let mut counts = DropCounts::default();
        counts.add(DropReason::OverMtu, 2);
        let mut sum = counts.clone();
        sum.merge(&counts);
        assert_eq!(sum.get(DropReason::OverMtu), 4);
        assert_eq!(counts.take().get(DropReason::OverMtu), 2);
        assert!(counts.is_empty());
    }
}
