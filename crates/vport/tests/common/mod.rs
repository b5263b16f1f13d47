// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A port type for tests: a loop (what is sent comes back) that fails on request, and short ways to make ports.

#![allow(dead_code, reason = "each test program uses a part")]

use std::cell::Cell;
use std::ffi::CStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use portway_buf::{Batch, Class, PoolRef};
use portway_vport::abi::{OutletCounters, PortInfo, TxReport, info_flags};
use portway_vport::ops::{CreateParams, Errno, PortType};
use portway_vport::{LinkedModule, NetnsId, PortName, Registry, Vport, VportConfig};

/// Type number of [`LoopPort`].
pub(crate) const TYPE_LOOP: u32 = 2000;

thread_local! {
    /// Ports of [`LoopPort`] that this thread made less those that it dropped.
    pub(crate) static LIVE: Cell<isize> = const { Cell::new(0) };
}

/// What a [`LoopPort`] shall do wrong; its option attribute is the letter.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fault {
    Create = b'c',
    CreateErrno = b'e',
    Info = b'i',
    Rx = b'r',
    RxErrno = b'd',
    RxFd = b'f',
    Tx = b't',
    TxShort = b's',
    TxMany = b'm',
    SetOptions = b'o',
    GetOptions = b'g',
    Drop = b'x',
    /// No fault: MTU 1500, no offloads.
    Mtu = b'u',
    Outlet = b'w',
    /// No fault: a layer-3 port.
    Layer3 = b'3',
}

pub(crate) struct LoopPort {
    fault: u8,
    queue: Mutex<Batch>,
    /// Whether its outlet is out, and how often one was taken back.
    outlets: Mutex<(bool, u64)>,
}

impl LoopPort {
    fn trip(&self, fault: Fault, text: &str) {
        assert!(self.fault != fault as u8, "{text}");
    }
}

impl Drop for LoopPort {
    fn drop(&mut self) {
        LIVE.set(LIVE.get() - 1);
        self.trip(Fault::Drop, "told to fail in destroy");
    }
}

impl PortType for LoopPort {
    const TYPE: u32 = TYPE_LOOP;
    const NAME: &'static CStr = c"loop";
    const OUTLETS: bool = true;

    fn create(params: &CreateParams<'_>) -> Result<Self, Errno> {
        let fault = params.options.first().copied().unwrap_or(0);
        assert!(fault != Fault::Create as u8, "told to fail in create");
        if fault == Fault::CreateErrno as u8 {
            return Err(Errno::ENODEV);
        }
        LIVE.set(LIVE.get() + 1);
        Ok(Self { fault, queue: Mutex::default(), outlets: Mutex::default() })
    }

    fn info(&self) -> PortInfo {
        self.trip(Fault::Info, "told to fail in info");
        let flags = match self.fault {
            fault if fault == Fault::Mtu as u8 => 0,
            fault if fault == Fault::Layer3 as u8 => info_flags::LAYER3,
            _ => info_flags::OFFLOAD | info_flags::NO_MTU,
        };
        PortInfo { ifindex: 7, mtu: 1500, flags, rx_queues: 1, mac: [2, 0, 0, 0, 0, 9], link_up: 1, pad: 0 }
    }

    fn set_options(&self, options: &[u8]) -> Result<(), Errno> {
        self.trip(Fault::SetOptions, "told to fail in set_options");
        if options.len() == 4 { Ok(()) } else { Err(Errno::EINVAL) }
    }

    fn get_options(&self, out: &mut Vec<u8>) -> Result<bool, Errno> {
        self.trip(Fault::GetOptions, "told to fail in get_options");
        out.resize(out.len() + 3000, self.fault);
        Ok(self.fault != 0)
    }

    fn rx(&self, _queue: usize, pool: &mut PoolRef<'_>, batch: &mut Batch) -> Result<(), Errno> {
        if self.fault == Fault::Rx as u8 {
            pool.take_into(Class::Small, 5, batch);
            panic!("told to fail in rx");
        }
        if self.fault == Fault::RxErrno as u8 {
            return Err(Errno::ENETDOWN);
        }
        std::mem::swap(batch, &mut self.queue.lock().unwrap());
        Ok(())
    }

    /// Files that are no outlet, but open.
    fn outlet_open(&self) -> Result<(OwnedFd, OwnedFd), Errno> {
        self.trip(Fault::Outlet, "told to fail in outlet_open");
        self.outlets.lock().unwrap().0 = true;
        let open = || File::open("/dev/null").map(OwnedFd::from).map_err(|_| Errno::EIO);
        Ok((open()?, open()?))
    }

    fn outlet_close(&self) {
        self.trip(Fault::Outlet, "told to fail in outlet_close");
        let (is_out, taken_back) = &mut *self.outlets.lock().unwrap();
        *taken_back += u64::from(std::mem::take(is_out));
    }

    /// Packets: how often the outlet was taken back, times 1000.
    fn outlet_sent(&self) -> OutletCounters {
        self.trip(Fault::Outlet, "told to fail in outlet_sent");
        OutletCounters { packets: self.outlets.lock().unwrap().1 * 1000, bytes: 0 }
    }

    fn rx_fd(&self, _queue: usize) -> Option<i32> {
        self.trip(Fault::RxFd, "told to fail in rx_fd");
        Some(0)
    }

    fn tx(&self, _queue: usize, pool: &mut PoolRef<'_>, batch: &mut Batch, report: &mut TxReport) {
        self.trip(Fault::Tx, "told to fail in tx");
        if self.fault == Fault::TxShort as u8 {
            return;
        }
        if self.fault == Fault::TxMany as u8 {
            report.sent = 1000;
            return;
        }
        let mut queue = self.queue.lock().unwrap();
        for packet in batch.drain(..) {
            if queue.is_full() {
                report.dropped += 1;
                pool.give(packet);
            } else {
                report.sent += 1;
                report.sent_bytes += packet.len() as u64;
                queue.push(packet);
            }
        }
    }
}

/// A registry that knows [`LoopPort`].
pub(crate) fn registry() -> Registry {
    let registry = Registry::new();
    registry.register(LinkedModule::of::<LoopPort>()).unwrap();
    registry
}

pub(crate) fn params<'a>(name: &'a CStr, options: &'a [u8]) -> CreateParams<'a> {
    CreateParams { name, netns: None, tx_queues: 2, options, mac: [0; 6], is_local: false }
}

pub(crate) fn config(name: &str) -> VportConfig {
    let name = PortName::new(name.as_bytes()).unwrap();
    VportConfig { name, netns: NetnsId(1), datapath: 1, workers: 2, upcall_pids: vec![5], shown_type: None }
}

/// A port of any registered type.
pub(crate) fn port_of(
    registry: &Registry,
    port_type: u32,
    name: &CStr,
    options: &[u8],
) -> Result<Arc<Vport>, Errno> {
    let (handle, info) = registry.try_get(port_type).unwrap().create(&params(name, options))?;
    Ok(Vport::new(handle, info, config(name.to_str().unwrap())))
}

/// A [`LoopPort`] that does one thing wrong.
pub(crate) fn faulty(registry: &Registry, fault: Fault) -> Result<Arc<Vport>, Errno> {
    port_of(registry, TYPE_LOOP, c"faulty0", &[fault as u8])
}

/// A [`LoopPort`].
pub(crate) fn port(registry: &Registry) -> Arc<Vport> {
    port_of(registry, TYPE_LOOP, c"loop0", &[]).unwrap()
}
