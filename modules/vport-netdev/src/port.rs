// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The port type itself.

use std::ffi::CStr;
use std::fmt;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use portway_buf::{Batch, PoolRef};
use portway_netwatch::Netns;
use portway_vport::abi::{
    OutletCounters, PortInfo, ShortcutCounters, ShortcutKey, ShortcutMasks, TxReport, info_flags,
};
use portway_vport::ops::{CreateParams, Errno, PortType};

use crate::attach::{Attached, attach};
use crate::claim;
use crate::outlet::Outlets;
use crate::rx::RxQueue;
use crate::short_tag::ShortTags;
use crate::shortcut::{self, Output, Shortcuts};
use crate::tx::TxQueue;

/// OVS_VPORT_TYPE_NETDEV.
const TYPE_NETDEV: u32 = 1;

/// Bytes in front of the layer-3 packet, which the MTU does not count.
const ETHERNET_HEADER: u32 = 14;

/// A device of the host as a port.
///
/// Receiving and sending have one thread at a time for each queue, so the locks are never waited for; they keep a caller that
/// breaks that rule from doing harm.
pub struct NetdevPort {
    /// Dropped before the device is given back.
    outlets: Mutex<Outlets>,
    device: Attached,
    rx: Mutex<RxQueue>,
    tx: Vec<Mutex<TxQueue>>,
    /// What the device was when it was last seen.
    last: Mutex<PortInfo>,
    shortcuts: Mutex<Shortcuts>,
    short_tags: ShortTags,
}

impl fmt::Debug for NetdevPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetdevPort").field("device", &self.device).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The queues hold nothing between calls that a panic could leave half-made.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PortType for NetdevPort {
    const TYPE: u32 = TYPE_NETDEV;
    const NAME: &'static CStr = c"netdev";
    const SHORTCUTS: bool = true;
    const OUTLETS: bool = true;

    fn create(params: &CreateParams<'_>) -> Result<Self, Errno> {
        let namespace = params.netns.map(Netns::from_borrowed).transpose();
        let namespace = namespace.map_err(|error| Errno(error.errno()))?;
        let device = attach(params.name, namespace.as_ref())?;
        let mut flags = info_flags::OFFLOAD;
        if device.layer3 {
            flags |= info_flags::LAYER3;
        }
        let info = PortInfo { ifindex: device.ifindex, flags, rx_queues: 1, ..PortInfo::default() };
        let priority = device.socket.sends_priority();
        let port = Self {
            rx: Mutex::new(RxQueue::new(device.layer3)),
            tx: (0..params.tx_queues.max(1)).map(|_| Mutex::new(TxQueue::new(priority))).collect(),
            last: Mutex::new(info),
            shortcuts: Mutex::default(),
            short_tags: ShortTags::default(),
            outlets: Mutex::default(),
            device,
        };
        // A device that went away while it was being bound is no port.
        port.device.socket.device(port.device.ifindex).ok_or(Errno(libc::ENODEV))?;
        Ok(port)
    }

    fn info(&self) -> PortInfo {
        let mut last = lock(&self.last);
        match self.device.socket.device(self.device.ifindex) {
            Some(device) => {
                last.mtu = device.mtu;
                last.mac = if self.device.layer3 { [0; 6] } else { device.mac };
                last.link_up = u8::from(device.is_up);
            }
            None => last.link_up = 0,
        }
        *last
    }

    fn rx(&self, _queue: usize, pool: &mut PoolRef<'_>, batch: &mut Batch) -> Result<(), Errno> {
        lock(&self.rx).receive(&self.device.socket, pool, batch)
    }

    fn rx_fd(&self, _queue: usize) -> Option<RawFd> {
        Some(self.device.socket.as_raw_fd())
    }

    fn rx_missed(&self) -> u64 {
        self.device.socket.missed()
    }

    fn tx(&self, queue: usize, pool: &mut PoolRef<'_>, batch: &mut Batch, report: &mut TxReport) {
        let device = (self.device.ifindex, self.device.layer3);
        let queue = &self.tx[queue % self.tx.len()];
        lock(queue).send(&self.device.socket, device, &self.short_tags, pool, batch, report);
    }

    fn shortcut_masks(&self, masks: Option<&ShortcutMasks>) -> Result<(), Errno> {
        if masks.is_some() && (self.device.layer3 || !claim::redirects()) {
            return Err(Errno::EOPNOTSUPP);
        }
        let progress = lock(&self.shortcuts).set_masks(masks, &self.device.socket);
        lock(&self.rx).report_to(progress.as_ref().ok().cloned().flatten());
        progress.map(drop)
    }

    fn shortcut_add(&self, output: &Self, key: &ShortcutKey) -> Result<u64, Errno> {
        let (here, there) = (&self.device, &output.device);
        let same_namespace = here.namespace.is_some() && here.namespace == there.namespace;
        if !same_namespace || here.ifindex == there.ifindex || there.layer3 {
            return Err(Errno(libc::EXDEV));
        }
        let device = there.socket.device(there.ifindex).ok_or(Errno(libc::ENODEV))?;
        if !device.is_up {
            return Err(Errno::ENETDOWN);
        }
        let output = Output { ifindex: there.ifindex, limit: device.mtu + ETHERNET_HEADER };
        lock(&self.shortcuts).add(output, key, shortcut::now_ns())
    }

    fn shortcut_end(&self, id: u64) -> Result<(), Errno> {
        lock(&self.shortcuts).end(id)
    }

    fn shortcut_read(&self, id: u64) -> Result<ShortcutCounters, Errno> {
        lock(&self.shortcuts).read(id)
    }

    fn shortcut_free(&self, id: u64) {
        lock(&self.shortcuts).free(id);
    }

    fn shortcut_settle(&self) {
        shortcut::settle();
    }

    fn outlet_open(&self) -> Result<(OwnedFd, OwnedFd), Errno> {
        if self.device.layer3 {
            return Err(Errno::EOPNOTSUPP);
        }
        lock(&self.outlets).open(&self.device)
    }

    fn outlet_close(&self) {
        lock(&self.outlets).close();
    }

    fn outlet_sent(&self) -> OutletCounters {
        lock(&self.outlets).sent()
    }
}
