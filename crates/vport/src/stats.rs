// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is counted for each port: by each worker in memory of its own, summed when somebody asks.

use portway_sync::Counters;

/// Declares the counters once: the enum, the summary and the names derive from it.
macro_rules! port_counters {
    ($($(#[doc = $doc:literal])+ $variant:ident = $field:ident,)+) => {
        /// A counter of a port.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum PortCounter { $($(#[doc = $doc])+ $variant,)+ }

        /// A port's counters, summed over the workers. Monotonic, exact once traffic has stopped.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct PortStats { $($(#[doc = $doc])+ pub $field: u64,)+ }

        impl PortStats {
            /// Every counter with its name.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field),)+].into_iter()
            }
        }

        const N: usize = [$(PortCounter::$variant,)+].len();

        impl From<[u64; N]> for PortStats {
            fn from(sums: [u64; N]) -> Self {
                Self { $($field: sums[PortCounter::$variant as usize],)+ }
            }
        }
    };
}

port_counters! {
    /// Packets received.
    RxPackets = rx_packets,
    /// Bytes received.
    RxBytes = rx_bytes,
    /// Receive calls that failed.
    RxErrors = rx_errors,
    /// Received packets that were lost before the switch looked at them: the host had no room to keep them.
    RxDropped = rx_dropped,
    /// Packets sent.
    TxPackets = tx_packets,
    /// Bytes sent.
    TxBytes = tx_bytes,
    /// Packets that could not be sent: over the MTU, refused by the driver, lost to a fault.
    TxErrors = tx_errors,
    /// Packets that were not sent: no room, the wrong layer.
    TxDropped = tx_dropped,
    /// Packets sent with a VLAN tag, which the kernel keeps beside the frame and does not count among its bytes.
    TxTagged = tx_tagged,
    /// Packets sent that the device's own statistics do not have.
    TxApart = tx_apart,
    /// Bytes of those.
    TxApartBytes = tx_apart_bytes,
    /// Upcalls that were queued.
    UpcallSuccess = upcall_success,
    /// Upcalls that were lost.
    UpcallFail = upcall_fail,
}

/// The counters of one port. A worker that never touches the port costs it no more than 16 bytes.
pub(crate) type PortCounters = Counters<N>;
