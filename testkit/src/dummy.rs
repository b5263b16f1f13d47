// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The `dummy` port type: what a test puts in is received, what the switch sends is kept for the test to look at.

use std::collections::{HashMap, VecDeque};
use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portway_buf::{Batch, Class, Packet, PoolRef};
use portway_vport::abi::{PortInfo, TxReport, info_flags};
use portway_vport::ops::{CreateParams, Errno, PortType, TYPE_PRIVATE};

/// Type number of dummy ports.
pub const TYPE_DUMMY: u32 = TYPE_PRIVATE + 99;

/// The attribute that carries a wire's number.
const OPTION_WIRE: u16 = 1;

/// Interface indexes of datapaths' own ports are above this: no device has one.
const FIRST_IFINDEX: u32 = 0x4000_0000;

/// Wires that have not been attached yet, by number: how a test's wire finds its way through the C ABI.
static WIRES: Mutex<Option<HashMap<u64, Arc<Wire>>>> = Mutex::new(None);
static NEXT_WIRE: AtomicU64 = AtomicU64::new(1);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The test's end of a dummy port.
#[derive(Debug)]
pub struct Wire {
    number: u64,
    to_switch: Mutex<VecDeque<Packet>>,
    from_switch: Mutex<VecDeque<Packet>>,
    mtu: AtomicU32,
    ifindex: AtomicU32,
    offload: AtomicBool,
    down: AtomicBool,
    too_long: AtomicU32,
}

impl Wire {
    /// A wire that no port is attached to yet: MTU 1500, takes offloads.
    pub fn new() -> Arc<Self> {
        let wire = Arc::new(Self {
            number: NEXT_WIRE.fetch_add(1, Ordering::Relaxed),
            to_switch: Mutex::default(),
            from_switch: Mutex::default(),
            mtu: AtomicU32::new(1500),
            ifindex: AtomicU32::new(0),
            offload: AtomicBool::new(true),
            down: AtomicBool::new(false),
            too_long: AtomicU32::new(0),
        });
        lock(&WIRES).get_or_insert_default().insert(wire.number, Arc::clone(&wire));
        wire
    }

    /// Options with which a dummy port attaches to this wire.
    pub fn options(&self) -> Vec<u8> {
        let mut options = Vec::new();
        options.extend(12u16.to_ne_bytes());
        options.extend(OPTION_WIRE.to_ne_bytes());
        options.extend(self.number.to_ne_bytes());
        options
    }

    /// Puts a frame on the wire, towards the switch.
    pub fn send(&self, frame: impl AsRef<[u8]>) {
        let packet = Packet::copied_from(frame.as_ref()).expect("a test's frame fits a buffer");
        self.send_packet(packet);
    }

    /// Puts a packet with its offloads and metadata on the wire.
    pub fn send_packet(&self, packet: Packet) {
        lock(&self.to_switch).push_back(packet);
    }

    /// Puts a frame on the wire that is longer than the switch carries.
    pub fn send_too_long(&self) {
        self.too_long.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes what the switch has sent, in order.
    pub fn received_packets(&self) -> Vec<Packet> {
        lock(&self.from_switch).drain(..).collect()
    }

    /// Takes the frames that the switch has sent, in order.
    pub fn received(&self) -> Vec<Vec<u8>> {
        self.received_packets().iter().map(|packet| packet.frame().to_vec()).collect()
    }

    /// Changes the MTU that the port will report.
    pub fn set_mtu(&self, mtu: u32) {
        self.mtu.store(mtu, Ordering::Relaxed);
    }

    /// Makes the port look like a device of that interface index, from its next `info` on.
    pub fn set_ifindex(&self, ifindex: u32) {
        self.ifindex.store(ifindex, Ordering::Relaxed);
    }

    /// Says whether the port takes partial checksums and super-packets.
    pub fn set_offload(&self, offload: bool) {
        self.offload.store(offload, Ordering::Relaxed);
    }

    /// Makes the port fail with ENETDOWN, or work again.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Relaxed);
    }
}

/// A dummy port: the switch's end of a [`Wire`].
pub struct DummyPort(Arc<Wire>);

fn wire_of(options: &[u8]) -> Option<Arc<Wire>> {
    let header = options.get(..4)?;
    let kind = u16::from_ne_bytes([header[2], header[3]]);
    let number = u64::from_ne_bytes(options.get(4..12)?.try_into().ok()?);
    (kind == OPTION_WIRE).then(|| lock(&WIRES).as_ref()?.get(&number).cloned()).flatten()
}

impl PortType for DummyPort {
    const TYPE: u32 = TYPE_DUMMY;
    const NAME: &'static CStr = c"dummy";

    fn create(params: &CreateParams<'_>) -> Result<Self, Errno> {
        if params.options.is_empty() {
            // A datapath's own port: its clients name it by an interface index.
            let wire = Wire::new();
            wire.set_ifindex(FIRST_IFINDEX + wire.number as u32);
            return Ok(Self(wire));
        }
        wire_of(params.options).map(Self).ok_or(Errno(22))
    }

    fn info(&self) -> PortInfo {
        let offload = if self.0.offload.load(Ordering::Relaxed) { info_flags::OFFLOAD } else { 0 };
        PortInfo {
            ifindex: self.0.ifindex.load(Ordering::Relaxed),
            mtu: self.0.mtu.load(Ordering::Relaxed),
            flags: info_flags::BUSY_POLL | offload,
            rx_queues: 1,
            link_up: 1,
            ..PortInfo::default()
        }
    }

    fn rx(&self, _queue: usize, pool: &mut PoolRef<'_>, batch: &mut Batch) -> Result<(), Errno> {
        if self.0.down.load(Ordering::Relaxed) {
            return Err(Errno(100));
        }
        let mut waiting = lock(&self.0.to_switch);
        while !batch.is_full() {
            let Some(sent) = waiting.pop_front() else { break };
            let class = Class::for_frame(sent.len()).ok_or(Errno(90))?;
            let mut packet = pool.take(class).ok_or(Errno(12))?;
            if packet.assign(&sent) {
                batch.push(packet);
            }
        }
        let less = |count: u32| count.checked_sub(1);
        match self.0.too_long.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
            Ok(_) => Err(Errno(90)),
            Err(_) => Ok(()),
        }
    }

    fn tx(&self, _queue: usize, pool: &mut PoolRef<'_>, batch: &mut Batch, report: &mut TxReport) {
        if self.0.down.load(Ordering::Relaxed) {
            report.errors = batch.len() as u32;
            return pool.give_all(batch);
        }
        report.sent = batch.len() as u32;
        report.sent_bytes = batch.iter().map(|packet| packet.len() as u64).sum();
        lock(&self.0.from_switch).extend(batch.drain(..));
    }
}

impl Drop for DummyPort {
    fn drop(&mut self) {
        if let Some(wires) = lock(&WIRES).as_mut() {
            wires.remove(&self.0.number);
        }
    }
}

portway_vport::port_module!(portway_vport_type_1099, DummyPort);
