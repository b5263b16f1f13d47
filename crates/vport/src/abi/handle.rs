// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A live port as the switch sees it: the module's pointer behind safe methods.
//!
//! A module is trusted not to corrupt memory (it is loaded only from files that root or the daemon's user owns), but not to be
//! right: panics, positive error numbers, counts past the end and null packets end here. Each such fault fails the one
//! call, is counted for the port and for its type, and is logged with both names.

use std::ffi::c_void;
use std::os::fd::{BorrowedFd, RawFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use portway_buf::{BATCH_MAX, Batch, Packet, Pool, RawPacket};

use crate::abi::kind::{PortKind, TypeRef};
use crate::abi::{E_PANIC, PortInfo, PortParams, TunnelInfo, TxReport};
use crate::gone::Gone;
use crate::limit::RateLimit;
use crate::names::PortName;
use crate::ops::{CreateParams, Errno};

/// The most receive queues that a port may have.
pub const RX_QUEUES_MAX: u32 = 64;

/// Room for a port's options at the first attempt, and the most that is tried, in bytes.
const OPTIONS_ROOM: usize = 1024;
const OPTIONS_MAX: usize = 65_536;

/// Log lines about faults of one port: a burst, then one per second.
const fn fault_lines() -> RateLimit {
    RateLimit::new(10, 1)
}

/// What became of the packets of one [`PortHandle::tx`]; their sum is the number of packets given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TxOutcome {
    /// Packets sent.
    pub sent: u64,
    /// Bytes of the packets sent.
    pub sent_bytes: u64,
    /// Packets that the driver refused.
    pub errors: u64,
    /// Packets for which there was no room.
    pub dropped: u64,
    /// Packets lost to a fault of the module.
    pub contained: u64,
    /// How many of `errors` there was no route for.
    pub no_route: u64,
    /// How many of `dropped` were longer than the path takes.
    pub over_mtu: u64,
    /// How many of `dropped` had no tunnel metadata.
    pub no_tunnel: u64,
    /// Packets without tunnel metadata that no counter of the port knows.
    pub ignored: u64,
    /// How many of `sent` the device does not count.
    pub apart: u64,
    /// Bytes of those.
    pub apart_bytes: u64,
}

/// A live port. Dropping it destroys the port: the last owner must be a thread that may block.
pub struct PortHandle {
    kind: Arc<PortKind>,
    port: NonNull<c_void>,
    name: PortName,
    /// Whether this port still counts as a reference on its type.
    holds_reference: AtomicBool,
    faults: AtomicU64,
    fault_lines: RateLimit,
    gone: Gone,
}

// SAFETY: the ABI's rules let any thread call any callback; that of one thread at a time for each rx and tx queue is the
// caller's duty, spelled out at `rx` and `tx`, and its breach harms the module's data, which modules in Rust protect (`Sync`).
unsafe impl Send for PortHandle {}
// SAFETY: as above.
unsafe impl Sync for PortHandle {}

impl TypeRef {
    /// Makes a port of this type, which keeps the reference. May block. The error is the module's, unchanged, or EIO if the
    /// module failed to answer properly; the reference is put back then.
    pub fn create(self, params: &CreateParams<'_>) -> Result<(PortHandle, PortInfo), Errno> {
        let name = PortName::new(params.name.to_bytes()).ok_or(Errno::EINVAL)?;
        let raw_params = PortParams {
            name: params.name.as_ptr(),
            netns_fd: params.netns_raw(),
            tx_queues: u32::try_from(params.tx_queues).unwrap_or(u32::MAX),
            options: params.options.as_ptr(),
            options_len: params.options.len(),
            mac: params.mac,
            is_local: u8::from(params.is_local),
            pad: 0,
        };
        let (mut port, mut info) = (std::ptr::null_mut(), PortInfo::default());
        let kind = self.kind();
        // SAFETY: a table that passed `PortKind`'s checks; the pointers are valid for the call.
        let code = unsafe { (kind.table.create)(&raw const raw_params, &raw mut port, &raw mut info) };
        if code != 0 {
            return Err(kind.errno_of("create", &name, i64::from(code)));
        }
        let Some(port) = NonNull::new(port) else {
            kind.count_fault("create", &name, "returned success without a port");
            return Err(Errno::EIO);
        };
        let handle = PortHandle {
            port,
            gone: Gone::new(name),
            name,
            holds_reference: AtomicBool::new(true),
            faults: AtomicU64::new(0),
            fault_lines: fault_lines(),
            kind: self.into_kind(),
        };
        Ok((handle, info))
    }
}

impl PortHandle {
    /// The port's type.
    pub fn kind(&self) -> &Arc<PortKind> {
        &self.kind
    }

    /// The module's own pointer.
    pub(super) fn raw(&self) -> *mut c_void {
        self.port.as_ptr()
    }

    /// Faults of the module on this port since it was made.
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// Stops counting as a reference on the type, so that its module may be unloaded: for a port that has left all
    /// tables and only waits for its last readers. The module stays mapped until the port is destroyed. Idempotent.
    pub fn put_reference(&self) {
        if self.holds_reference.swap(false, Ordering::AcqRel) {
            self.kind.put();
        }
    }

    /// For waiting until the port is destroyed.
    pub fn gone(&self) -> Gone {
        self.gone.clone()
    }

    /// What the port is now. Any thread.
    pub fn info(&self) -> Result<PortInfo, Errno> {
        let mut info = PortInfo::default();
        // SAFETY: the port lives as long as `self`; `info` is valid for writing.
        let code = unsafe { (self.kind.table.get_info)(self.port.as_ptr(), &raw mut info) };
        if code == 0 { Ok(info) } else { Err(self.errno_of("get_info", i64::from(code))) }
    }

    /// Changes options (netlink attributes). Any control thread.
    pub fn set_options(&self, options: &[u8]) -> Result<(), Errno> {
        let Some(set) = self.kind.table.set_options else { return Err(Errno::EOPNOTSUPP) };
        // SAFETY: the port lives; the slice is readable for the call.
        let code = unsafe { set(self.port.as_ptr(), options.as_ptr(), options.len()) };
        if code == 0 { Ok(()) } else { Err(self.errno_of("set_options", i64::from(code))) }
    }

    /// Appends the port's options as netlink attributes; `Ok(false)`: none to report. On an error `out` is as it was.
    pub fn get_options(&self, out: &mut Vec<u8>) -> Result<bool, Errno> {
        let Some(get) = self.kind.table.get_options else { return Ok(false) };
        let mut room = OPTIONS_ROOM;
        loop {
            let mut options = vec![0; room];
            // SAFETY: the port lives; `options` has `room` bytes.
            let code = unsafe { get(self.port.as_ptr(), options.as_mut_ptr(), room) };
            match usize::try_from(code) {
                Ok(len) if len <= room => {
                    out.extend_from_slice(&options[..len]);
                    return Ok(true);
                }
                Ok(_) => {
                    self.fault("get_options", "returned more than there was room for");
                    return Err(Errno::EIO);
                }
                Err(_) if code == -(Errno::ENODATA.0 as isize) => return Ok(false),
                Err(_) if code == -(Errno::EMSGSIZE.0 as isize) && room < OPTIONS_MAX => room = OPTIONS_MAX,
                Err(_) => return Err(self.errno_of("get_options", code as i64)),
            }
        }
    }

    /// The file descriptor that polls readable when `rx(queue)` has something; the port's own, valid until it is dropped.
    pub fn rx_fd(&self, queue: usize) -> Option<RawFd> {
        let rx_fd = self.kind.table.rx_fd?;
        // SAFETY: the port lives.
        let fd = unsafe { rx_fd(self.port.as_ptr(), queue as u32) };
        if fd < -1 {
            self.errno_of("rx_fd", i64::from(fd));
        }
        (fd >= 0).then_some(fd)
    }

    /// The same, for as long as the port is borrowed: what safe code can wait for.
    pub fn rx_event_source(&self, queue: usize) -> Option<BorrowedFd<'_>> {
        // SAFETY: the descriptor is the port's own and stays open until the port is dropped, which `self` outlives not.
        self.rx_fd(queue).map(|fd| unsafe { BorrowedFd::borrow_raw(fd) })
    }

    /// Receives into `batch`, which must be empty, and returns how many there are. One thread at a time for each queue.
    #[inline]
    pub fn rx(&self, queue: usize, pool: &mut Pool, batch: &mut Batch) -> Result<usize, Errno> {
        let Some(rx) = self.kind.table.rx else { return Ok(0) };
        if !batch.is_empty() {
            return Ok(0);
        }
        let packets = batch.as_mut_ptr().cast::<*mut RawPacket>();
        // SAFETY: the port lives; the pool is ours alone during the call; `packets` is the storage of an empty batch, room for
        // BATCH_MAX pointers. Old ones are wiped from it, lest a module that fills in less than it says revive them.
        let n = unsafe {
            packets.write_bytes(0, BATCH_MAX);
            rx(self.port.as_ptr(), queue as u32, pool.handle(), packets, BATCH_MAX as u32)
        };
        let Ok(claimed) = usize::try_from(n) else { return Err(self.errno_of("rx", i64::from(n))) };
        // SAFETY: BATCH_MAX pointers, wiped above and then written by the module or not.
        let received = unsafe { std::slice::from_raw_parts(packets, claimed.min(BATCH_MAX)) };
        if claimed > BATCH_MAX || received.iter().any(|packet| packet.is_null()) {
            return Ok(self.rx_sorted_out(received.to_vec(), batch));
        }
        // SAFETY: the module hands over packets that it took from the pool, each once (contract of `rx`); a `Packet` is one
        // non-null pointer (repr(transparent)).
        unsafe { batch.set_len(claimed) };
        Ok(claimed)
    }

    /// Takes the packets out of what a module returned together with null pointers or a count past the end.
    #[cold]
    fn rx_sorted_out(&self, received: Vec<*mut RawPacket>, batch: &mut Batch) -> usize {
        self.fault("rx", "returned null packets or more than there was room for");
        for raw in received.into_iter().filter_map(NonNull::new) {
            // SAFETY: as in `rx`; there are at most BATCH_MAX.
            unsafe { batch.push_unchecked(Packet::from_raw(raw)) };
        }
        batch.len()
    }

    /// Sends all packets of `batch`, leaving it empty. One thread at a time for each queue.
    #[inline]
    pub fn tx(&self, queue: usize, pool: &mut Pool, batch: &mut Batch) -> TxOutcome {
        let n = batch.len();
        let mut report = TxReport::default();
        // SAFETY: the port lives; the pool is ours alone during the call; the batch's first `n` entries are packets (one
        // pointer each, repr(transparent)) whose ownership goes to the module: the batch forgets them first.
        let code = unsafe {
            batch.set_len(0);
            let packets = batch.as_mut_ptr().cast::<*mut RawPacket>();
            let (port, queue) = (self.port.as_ptr(), queue as u32);
            (self.kind.table.tx)(port, queue, pool.handle(), packets, n as u32, &raw mut report)
        };
        let outcome = TxOutcome {
            sent: u64::from(report.sent),
            sent_bytes: report.sent_bytes,
            errors: u64::from(report.errors),
            dropped: u64::from(report.dropped),
            contained: 0,
            // No more than the sums that they are a part of, whatever the module says.
            no_route: u64::from(report.no_route.min(report.errors)),
            over_mtu: u64::from(report.over_mtu.min(report.dropped)),
            no_tunnel: u64::from(report.no_tunnel.min(report.dropped.saturating_sub(report.over_mtu))),
            ignored: u64::from(report.ignored),
            apart: u64::from(report.apart.min(report.sent)),
            apart_bytes: report.apart_bytes.min(report.sent_bytes),
        };
        if code == 0 && outcome.sent + outcome.errors + outcome.dropped + outcome.ignored == n as u64 {
            return outcome;
        }
        self.tx_failed(n as u64, code, outcome)
    }

    /// Makes sense of a `tx` that failed or whose report does not add up.
    #[cold]
    fn tx_failed(&self, n: u64, code: i32, report: TxOutcome) -> TxOutcome {
        let mentioned = report.sent + report.errors + report.dropped + report.ignored;
        if mentioned > n {
            self.fault("tx", "reported more packets than it was given");
            return TxOutcome { contained: n, ..TxOutcome::default() };
        }
        let missing = n - mentioned;
        if code == 0 {
            self.fault("tx", "did not account for all packets");
            return TxOutcome { contained: missing, ..report };
        }
        if self.errno_of("tx", i64::from(code)) == Errno::EIO && code != -Errno::EIO.0 {
            return TxOutcome { contained: missing, ..report };
        }
        TxOutcome { errors: report.errors + missing, ..report }
    }

    /// Completes tunnel metadata of a packet to be sent. Any thread. EOPNOTSUPP: the port is no tunnel.
    pub fn egress_tunnel(&self, packet: &Packet, info: &mut TunnelInfo) -> Result<(), Errno> {
        let Some(egress) = self.kind.table.egress_tunnel else { return Err(Errno::EOPNOTSUPP) };
        // SAFETY: the port lives; a `Packet` is one pointer to its header (repr(transparent)), which is only lent.
        let code = unsafe {
            let raw = std::ptr::from_ref(packet).cast::<*const RawPacket>().read();
            egress(self.port.as_ptr(), raw, info)
        };
        if code == 0 { Ok(()) } else { Err(self.errno_of("egress_tunnel", i64::from(code))) }
    }

    /// How many packets the host lost before the port could receive them. Any thread.
    pub fn rx_missed(&self) -> Result<u64, Errno> {
        let Some(rx_missed) = self.kind.table.rx_missed else { return Ok(0) };
        // SAFETY: the port lives.
        let missed = unsafe { rx_missed(self.port.as_ptr()) };
        u64::try_from(missed).map_err(|_| self.errno_of("rx_missed", missed))
    }

    pub(super) fn errno_of(&self, callback: &str, code: i64) -> Errno {
        if !is_errno(code) {
            self.faults.fetch_add(1, Ordering::Relaxed);
        }
        self.kind.errno_limited(callback, &self.name, code, &self.fault_lines)
    }

    #[cold]
    pub(super) fn fault(&self, callback: &str, what: &str) {
        self.faults.fetch_add(1, Ordering::Relaxed);
        self.kind.count_fault_limited(callback, &self.name, what, &self.fault_lines);
    }
}

impl Drop for PortHandle {
    fn drop(&mut self) {
        // SAFETY: `&mut self`: no other call is running on the port, and none can follow.
        unsafe { (self.kind.table.destroy)(self.port.as_ptr()) };
        self.put_reference();
        self.gone.tell();
    }
}

impl std::fmt::Debug for PortHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PortHandle")
            .field("name", &self.name)
            .field("type", &self.kind.name())
            .field("faults", &self.faults())
            .finish_non_exhaustive()
    }
}

/// Whether a callback's negative return value is an errno.
fn is_errno(code: i64) -> bool {
    (-4093..0).contains(&code)
}

impl PortKind {
    /// The errno behind a callback's negative return value. A panic, or what is no errno at all, is a fault and reads EIO.
    fn errno_of(&self, callback: &str, port: &PortName, code: i64) -> Errno {
        self.errno_limited(callback, port, code, &RateLimit::new(1, 0))
    }

    fn errno_limited(&self, callback: &str, port: &PortName, code: i64, lines: &RateLimit) -> Errno {
        if is_errno(code) {
            return Errno(-code as i32);
        }
        if code == i64::from(E_PANIC) {
            self.count_fault_limited(callback, port, "panicked", lines);
        } else {
            self.count_fault_limited(
                callback,
                port,
                &format!("returned {code}, which is no error number"),
                lines,
            );
        }
        Errno::EIO
    }

    fn count_fault(&self, callback: &str, port: &PortName, what: &str) {
        self.count_fault_limited(callback, port, what, &RateLimit::new(1, 0));
    }

    #[cold]
    fn count_fault_limited(&self, callback: &str, port: &PortName, what: &str, lines: &RateLimit) {
        self.faults.fetch_add(1, Ordering::Relaxed);
        if let Some(suppressed) = lines.allow() {
            let (name, number) = (self.name(), self.number());
            tracing::error!(suppressed, "port {port}: {callback} of port type {name} ({number}) {what}");
        }
    }
}
