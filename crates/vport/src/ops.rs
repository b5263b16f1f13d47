// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The contract of a port type, for types written in Rust.
//!
//! Life of a port, seen by its type:
//! 1. [`PortType::create`]: bind to a device or make one. May block (it runs on a control thread, under the writer lock).
//! 2. The port is published: from now on `rx` and `tx` are called by workers, options and info by control threads.
//! 3. The port is taken out of the tables; workers leave it within a grace period.
//! 4. Drop: give back everything that `create` took. Nothing else runs on the port any more.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use portway_buf::{Batch, Packet, PoolRef};

use crate::abi::{
    OutletCounters, PortInfo, ShortcutCounters, ShortcutKey, ShortcutMasks, TunnelInfo, TxReport,
};

/// First type number that OVS will never use: Portway's own types (`null`, `pcap`, ...) start here.
pub const TYPE_PRIVATE: u32 = 1000;
/// `null`: swallows what is sent, never receives.
pub const TYPE_NULL: u32 = TYPE_PRIVATE;
/// `pcap`: replays a file as input, writes a file as output.
pub const TYPE_PCAP: u32 = TYPE_PRIVATE + 1;

pub use portway_uapi::Errno;

/// What a new port is given.
#[derive(Clone, Copy, Debug)]
pub struct CreateParams<'a> {
    /// Port name: 1 to 15 bytes, no `/`, no white space, not `.` or `..`.
    pub name: &'a CStr,
    /// The port's network namespace; `None`: the one that the process is in.
    pub netns: Option<BorrowedFd<'a>>,
    /// How many threads may call `tx`, with queues `0..tx_queues`.
    pub tx_queues: usize,
    /// Options as netlink attributes; empty: none given.
    pub options: &'a [u8],
    /// Ethernet address wanted for an internal port; zeros: choose one.
    pub mac: [u8; 6],
    /// Whether this is a datapath's own port 0.
    pub is_local: bool,
}

/// How one option is named in configs.
#[derive(Clone, Copy, Debug)]
pub struct OptionDescription {
    /// Attribute number.
    pub attr: u16,
    /// [`crate::abi::option_kind`].
    pub kind: u32,
    /// Name.
    pub name: &'static CStr,
    /// One sentence of help.
    pub help: &'static CStr,
}

/// A port type. One value is one port.
pub trait PortType: Sized + Send + Sync + 'static {
    /// OVS_VPORT_TYPE_* or a private number.
    const TYPE: u32;
    /// Name in configs and listings.
    const NAME: &'static CStr;
    /// Options that `create` and `set_options` take.
    const OPTIONS: &'static [OptionDescription] = &[];
    /// Whether ports of this type ever receive: false leaves `rx` out of the table.
    const RECEIVES: bool = true;
    /// Whether ports of this type are tunnels: they take metadata with each packet ([`crate::host::egress_tunnel`]), and give
    /// some with each that they receive ([`crate::host::set_tunnel`]).
    const TUNNEL: bool = false;
    /// Whether the type can carry frames between its ports by itself: false leaves the `shortcut_*` methods out of the table.
    const SHORTCUTS: bool = false;
    /// Whether other processes may send through ports of the type by themselves: false leaves the `outlet_*` methods out of the table.
    const OUTLETS: bool = false;

    /// Makes a port. Errors reach the client unchanged; on failure nothing may be left behind. May block.
    fn create(params: &CreateParams<'_>) -> Result<Self, Errno>;

    /// What the port is now: called after `create` and whenever the device may have changed. Any thread; cheap.
    fn info(&self) -> PortInfo;

    /// Changes options of a live port. Any control thread, concurrent with `rx` and `tx`. Default: EOPNOTSUPP.
    fn set_options(&self, _options: &[u8]) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Appends the port's options as netlink attributes; `Ok(false)`: it has none to report.
    fn get_options(&self, _out: &mut Vec<u8>) -> Result<bool, Errno> {
        Ok(false)
    }

    /// Appends received packets to `batch` (up to its capacity), taking buffers from `pool`. Never blocks. One thread
    /// at a time for each queue. An error is counted; `ENETDOWN` says that the device is down or gone, `EMSGSIZE` that one
    /// frame was longer than a packet buffer. Packets that came
    /// before the error are delivered, and the error is then expected again from the next call.
    fn rx(&self, _queue: usize, _pool: &mut PoolRef<'_>, _batch: &mut Batch) -> Result<(), Errno> {
        Ok(())
    }

    /// The file descriptor that polls readable when `rx(queue)` has something. `None` with
    /// [`crate::abi::info_flags::BUSY_POLL`]: poll without pause.
    fn rx_fd(&self, _queue: usize) -> Option<RawFd> {
        None
    }

    /// Sends every packet of `batch`, leaving it empty: sent, refused and dropped packets all go back to `pool`.
    /// Never blocks. One thread at a time for each queue.
    fn tx(&self, queue: usize, pool: &mut PoolRef<'_>, batch: &mut Batch, report: &mut TxReport);

    /// Completes the metadata that `packet` would be sent with by what the port and the host's routes add: source address,
    /// UDP ports. Any thread. ENETUNREACH: there is no route. Only for types that are [`PortType::TUNNEL`]s.
    fn egress_tunnel(&self, _packet: &Packet, _info: &mut TunnelInfo) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// How many packets for the port were lost since `create` because the host had no room to keep them for `rx`; never goes back.
    /// Any thread.
    fn rx_missed(&self) -> u64 {
        0
    }

    /// Says which header bits decide from now on; `None`: no shortcuts at all. Those that there are end.
    fn shortcut_masks(&self, _masks: Option<&ShortcutMasks>) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Lets the frames of `key` go to `output` by themselves; returns the shortcut's number. See [`crate::abi::ShortcutOps`].
    fn shortcut_add(&self, _output: &Self, _key: &ShortcutKey) -> Result<u64, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Ends a shortcut at once.
    fn shortcut_end(&self, _id: u64) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// What a shortcut has carried, also after its end.
    fn shortcut_read(&self, _id: u64) -> Result<ShortcutCounters, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Forgets an ended shortcut.
    fn shortcut_free(&self, _id: u64) {}

    /// Waits until frames that came before the call are counted.
    fn shortcut_settle(&self) {}

    /// The port's outlet, for another process: a socket and where to count. See [`crate::abi::OutletOps`].
    fn outlet_open(&self) -> Result<(OwnedFd, OwnedFd), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Makes what was given out useless, at once.
    fn outlet_close(&self) {}

    /// What has been sent through outlets since the port was made.
    fn outlet_sent(&self) -> OutletCounters {
        OutletCounters::default()
    }
}

impl CreateParams<'_> {
    /// The namespace's file descriptor for the C ABI; -1: the process's own.
    pub(crate) fn netns_raw(&self) -> RawFd {
        use std::os::fd::AsRawFd;
        self.netns.map_or(-1, |netns| netns.as_fd().as_raw_fd())
    }
}
