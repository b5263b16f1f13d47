// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The port type itself.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use portway_buf::{Batch, PoolRef};
use portway_netwatch::Netns;
use portway_vport::abi::{PortInfo, TxReport, info_flags, log_level};
use portway_vport::host;
use portway_vport::ops::{CreateParams, Errno, PortType};
use portway_vport::options::iter;

use crate::marked::Marked;
use crate::notes::Notes;
use crate::queue::{RxQueue, send};
use crate::tap::Tap;

/// Option: u32, 1 if the device is to outlive the process. For the daemon, not for people, so it is not among the described ones;
/// whatever else is asked for is refused as the kernel does it.
pub const OPTION_LASTING: u16 = 0x3f01;

/// OVS_VPORT_TYPE_INTERNAL.
const TYPE_INTERNAL: u32 = 2;

/// A TAP as a port. A name with `%d` in it gets the lowest free number there, as the kernel names devices; the device that
/// [`PortType::info`] gives the index of says which.
#[derive(Debug)]
pub struct InternalPort {
    tap: Tap,
    /// One thread at a time receives, so this is never waited for; it keeps a caller that breaks that rule from doing harm.
    rx: Mutex<RxQueue>,
    marked: Marked,
    /// What the device was when it was last seen.
    last: Mutex<PortInfo>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the locks guard is never left half-made by a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What tells marks and priorities of the frames that the host sends; `None`: the kernel refuses.
fn notes(tap: &Tap) -> Option<Notes> {
    static TOLD: Once = Once::new();
    match Notes::new(tap) {
        Ok(notes) => Some(notes),
        Err(errno) => {
            // A device that outlived another process may have that one's program.
            let _ = tap.set_filter(None);
            TOLD.call_once(|| {
                let line = format!(
                    "internal ports: marks and priorities of frames from the host are not seen: BPF is refused (error {})",
                    errno.0
                );
                host::log(log_level::WARNING, &line);
            });
            None
        }
    }
}

impl PortType for InternalPort {
    const TYPE: u32 = TYPE_INTERNAL;
    const NAME: &'static CStr = c"internal";

    fn create(params: &CreateParams<'_>) -> Result<Self, Errno> {
        let make = || Tap::create(params.name, params.mac, params.tx_queues);
        let errno = |error: portway_netwatch::Error| Errno(error.errno());
        let tap = match params.netns {
            None => make()?,
            Some(namespace) => Netns::from_borrowed(namespace).map_err(errno)?.run(make).map_err(errno)??,
        };
        let info = PortInfo { flags: info_flags::OFFLOAD, rx_queues: 1, ..PortInfo::default() };
        let rx = Mutex::new(RxQueue::new(notes(&tap)));
        let port = Self { tap, rx, marked: Marked::default(), last: Mutex::new(info) };
        if port.info().ifindex == 0 {
            return Err(Errno(libc::ENODEV));
        }
        Ok(port)
    }

    fn info(&self) -> PortInfo {
        let mut last = lock(&self.last);
        match self.tap.device() {
            Some(device) => {
                (last.ifindex, last.mtu, last.mac) = (device.ifindex, device.mtu, device.mac);
                last.link_up = u8::from(device.is_up);
            }
            None => last.link_up = 0,
        }
        *last
    }

    fn set_options(&self, options: &[u8]) -> Result<(), Errno> {
        let mut asked = iter(options);
        match (asked.next(), asked.next()) {
            (Some(Ok((OPTION_LASTING, value))), None) if value.len() == size_of::<u32>() => {
                self.tap.set_lasting(value.iter().any(|byte| *byte != 0))
            }
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    fn rx(&self, _queue: usize, pool: &mut PoolRef<'_>, batch: &mut Batch) -> Result<(), Errno> {
        lock(&self.rx).receive(&self.tap, pool, batch)
    }

    fn rx_fd(&self, _queue: usize) -> Option<RawFd> {
        Some(self.tap.as_raw_fd())
    }

    fn tx(&self, _queue: usize, pool: &mut PoolRef<'_>, batch: &mut Batch, report: &mut TxReport) {
        send(&self.tap, &self.marked, pool, batch, report);
    }
}
