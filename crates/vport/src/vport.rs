// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One port of a datapath: what `struct vport` is in the kernel.
//!
//! Made whole, then published; taken out of the tables, then [`Vport::detach`]ed; destroyed with its last `Arc`, which
//! therefore must not be dropped by a worker (destroying may block).

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use arc_swap::ArcSwap;
use portway_buf::{Batch, DropCounts, DropReason, Packet, PacketKind, Pool, TunnelKey};

use crate::abi::handle::{PortHandle, RX_QUEUES_MAX, TxOutcome};
use crate::abi::kind::PortKind;
use crate::abi::outlet::Outlet;
use crate::abi::{PortInfo, TunnelInfo, info_flags, refused};
use crate::gone::Gone;
use crate::limit::RateLimit;
use crate::names::{NetnsId, PortName};
use crate::ops::Errno;
use crate::stats::{PortCounter, PortCounters, PortStats};
use crate::tap::{Direction, Tap, Taps};

/// Bytes of an Ethernet header, and of one VLAN tag.
const ETH_HLEN: usize = 14;
const VLAN_HLEN: usize = 4;
/// Ethertypes of VLAN tags: 802.1Q and 802.1ad.
const VLAN_TYPES: [[u8; 2]; 2] = [[0x81, 0x00], [0x88, 0xa8]];

/// Ethertypes of MPLS.
const MPLS_TYPES: [[u8; 2]; 2] = [[0x88, 0x47], [0x88, 0x48]];

/// [`Vport::port_no`] before the port is attached.
const NOT_ATTACHED: u32 = u32::MAX;

/// Where a datapath's port starts from.
#[derive(Clone, Debug)]
pub struct VportConfig {
    /// Name.
    pub name: PortName,
    /// The datapath's network namespace: with the name, the port's key in the device table.
    pub netns: NetnsId,
    /// The datapath's handle (index).
    pub datapath: u32,
    /// How many threads may call [`Vport::rx`] and [`Vport::tx`], as `worker` `0..workers`; the same number as
    /// `tx_queues` at creation.
    pub workers: usize,
    /// Upcall port ids; empty: none until [`Vport::set_upcall_pids`].
    pub upcall_pids: Vec<u32>,
    /// The type that netlink clients see, if it is not that of the port's kind.
    pub shown_type: Option<u32>,
}

/// The port ids that a port's upcalls go to.
pub type UpcallPids = Arc<Vec<u32>>;

/// Whoever lets packets of a port go past [`Vport::rx`] and [`Vport::tx`].
pub trait Bypass: Send + Sync {
    /// Somebody wants to know the counters: what went past is to be counted first ([`Vport::count_shared`]).
    fn count(&self, port: &Vport);

    /// Somebody wants to see all packets of the port: nothing may go past any more.
    fn stop(&self, port: &Vport);
}

/// One port.
pub struct Vport {
    handle: PortHandle,
    port_no: AtomicU32,
    // What the last `refresh_info` said.
    mtu: AtomicU32,
    flags: AtomicU32,
    rx_queues: AtomicU32,
    ifindex: AtomicU32,
    link_up: AtomicBool,
    alive: AtomicBool,
    mac: AtomicU64,
    counters: PortCounters,
    /// The most that the port has said that the host lost.
    rx_missed: AtomicU64,
    upcall_pids: ArcSwap<Vec<u32>>,
    netns: NetnsId,
    datapath: u32,
    shown_type: Option<u32>,
    /// The name when the port was made.
    first_name: PortName,
    /// Read by control threads only; a rename holds it for sixteen bytes.
    name: RwLock<PortName>,
    over_mtu_lines: RateLimit,
    taps: Taps,
    bypass: OnceLock<Box<dyn Bypass>>,
    /// Held while the outlet is opened or closed.
    outlet: Mutex<()>,
}

impl Vport {
    /// A whole port, alive, without a number.
    pub fn new(handle: PortHandle, info: PortInfo, config: VportConfig) -> Arc<Self> {
        let VportConfig { name, netns, datapath, workers, upcall_pids, shown_type } = config;
        let vport = Self {
            handle,
            port_no: AtomicU32::new(NOT_ATTACHED),
            mtu: AtomicU32::default(),
            flags: AtomicU32::default(),
            rx_queues: AtomicU32::default(),
            ifindex: AtomicU32::default(),
            link_up: AtomicBool::default(),
            alive: AtomicBool::new(true),
            mac: AtomicU64::default(),
            counters: PortCounters::new(workers),
            rx_missed: AtomicU64::default(),
            upcall_pids: ArcSwap::from_pointee(upcall_pids),
            netns,
            datapath,
            shown_type,
            first_name: name,
            name: RwLock::new(name),
            over_mtu_lines: RateLimit::new(5, 1),
            taps: Taps::default(),
            bypass: OnceLock::new(),
            outlet: Mutex::default(),
        };
        vport.store_info(&info);
        Arc::new(vport)
    }

    /// The port's type.
    pub fn kind(&self) -> &Arc<PortKind> {
        self.handle.kind()
    }

    /// OVS_VPORT_TYPE_* or a private number, as netlink clients see it: a tunnel that stands behind a device which they made is a
    /// `netdev` for them.
    pub fn port_type(&self) -> u32 {
        self.shown_type.unwrap_or_else(|| self.kind().number())
    }

    /// What the port type tells of its options: netlink attributes; `None`: nothing, or nothing that is for netlink clients.
    pub fn options(&self) -> Option<Vec<u8>> {
        let mut options = Vec::new();
        let has_options = self.shown_type.is_none() && self.handle.get_options(&mut options).unwrap_or(false);
        has_options.then_some(options)
    }

    /// The port behind it: options and the file descriptors to wait for.
    pub fn handle(&self) -> &PortHandle {
        &self.handle
    }

    /// The number in its datapath; `u32::MAX` before it is attached.
    #[inline]
    pub fn port_no(&self) -> u32 {
        self.port_no.load(Ordering::Relaxed)
    }

    /// Sets the number: once, before the port is published.
    pub fn set_port_no(&self, port_no: u32) {
        self.port_no.store(port_no, Ordering::Relaxed);
    }

    /// The datapath's network namespace.
    pub fn netns(&self) -> NetnsId {
        self.netns
    }

    /// The datapath's handle.
    pub fn datapath(&self) -> u32 {
        self.datapath
    }

    /// The name now. Not for the fast path.
    pub fn name(&self) -> PortName {
        *self.name.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name when the port was made, which netlink clients find it by: while it is still its name.
    pub fn first_name(&self) -> PortName {
        self.first_name
    }

    /// Changes the name; [`crate::DeviceTable::rename`] does, which keeps the table in step.
    pub(crate) fn set_name(&self, name: PortName) {
        *self.name.write().unwrap_or_else(PoisonError::into_inner) = name;
    }

    /// Whether traffic may still use the port.
    #[inline]
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    /// Stops traffic at once: `rx` gives nothing, `tx` drops and nothing leaves through an outlet from now on. For a port that is leaving.
    pub fn stop(&self) {
        self.alive.store(false, Ordering::Relaxed);
        self.close_outlet();
    }

    /// What another process needs to send through the port by itself, until the port leaves or is tapped.
    ///
    /// # Errors
    /// EOPNOTSUPP: such a port has none. ENODEV: it is leaving. EBUSY: somebody wants to see all packets. What the type says.
    pub fn outlet(&self) -> Result<Outlet, Errno> {
        // Whoever closes it first says why, then takes this lock: so it is seen here, or the outlet is closed after it was opened.
        let _opening = self.lock_outlet();
        if !self.is_alive() {
            return Err(Errno::ENODEV);
        }
        if self.is_tapped() {
            return Err(Errno::EBUSY);
        }
        self.handle.outlet_open()
    }

    fn close_outlet(&self) {
        let _closing = self.lock_outlet();
        self.handle.outlet_close();
    }

    fn lock_outlet(&self) -> MutexGuard<'_, ()> {
        // It guards no data of ours.
        self.outlet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops traffic and puts the reference on the port's module back. After the port has left all tables.
    pub fn detach(&self) {
        self.stop();
        self.handle.put_reference();
    }

    /// For waiting until the port is destroyed, after the caller has let go of it.
    pub fn gone(&self) -> Gone {
        self.handle.gone()
    }

    /// Replaces the upcall port ids as one array. EINVAL for none.
    pub fn set_upcall_pids(&self, pids: &[u32]) -> Result<(), Errno> {
        if pids.is_empty() {
            return Err(Errno::EINVAL);
        }
        self.upcall_pids.store(Arc::new(pids.to_vec()));
        Ok(())
    }

    /// The upcall port ids.
    pub fn upcall_pids(&self) -> UpcallPids {
        self.upcall_pids.load_full()
    }

    /// The port id for a packet of this flow hash: always the same for the same hash, so that a flow's packets stay in
    /// order. 0: nobody listens.
    pub fn upcall_pid(&self, flow_hash: u32) -> u32 {
        match self.upcall_pids.load().as_slice() {
            [] => 0,
            [pid] => *pid,
            pids => pids[flow_hash as usize % pids.len()],
        }
    }

    /// What the port said of itself last.
    pub fn info(&self) -> PortInfo {
        let mut mac = [0; 6];
        mac.copy_from_slice(&self.mac.load(Ordering::Relaxed).to_ne_bytes()[..6]);
        PortInfo {
            ifindex: self.ifindex.load(Ordering::Relaxed),
            mtu: self.mtu.load(Ordering::Relaxed),
            flags: self.flags.load(Ordering::Relaxed),
            rx_queues: self.rx_queues.load(Ordering::Relaxed),
            mac,
            link_up: u8::from(self.link_up.load(Ordering::Relaxed)),
            pad: 0,
        }
    }

    /// Asks the port again. On an error what was known stays.
    pub fn refresh_info(&self) -> Result<PortInfo, Errno> {
        self.store_info(&self.handle.info()?);
        Ok(self.info())
    }

    fn store_info(&self, info: &PortInfo) {
        let queues = if self.kind().receives() { info.rx_queues.min(RX_QUEUES_MAX) } else { 0 };
        let mut mac = [0; 8];
        mac[..6].copy_from_slice(&info.mac);
        self.mtu.store(info.mtu, Ordering::Relaxed);
        self.flags.store(info.flags, Ordering::Relaxed);
        self.rx_queues.store(queues, Ordering::Relaxed);
        self.ifindex.store(info.ifindex, Ordering::Relaxed);
        self.mac.store(u64::from_ne_bytes(mac), Ordering::Relaxed);
        self.link_up.store(info.link_up != 0, Ordering::Relaxed);
    }

    /// Largest layer-3 packet in bytes; `None`: no limit.
    #[inline]
    pub fn mtu(&self) -> Option<u32> {
        let limited = self.flags.load(Ordering::Relaxed) & info_flags::NO_MTU == 0;
        limited.then(|| self.mtu.load(Ordering::Relaxed))
    }

    /// Interface index; 0: no device.
    pub fn ifindex(&self) -> u32 {
        self.ifindex.load(Ordering::Relaxed)
    }

    /// Number of receive queues.
    pub fn rx_queues(&self) -> usize {
        self.rx_queues.load(Ordering::Relaxed) as usize
    }

    /// Whether the port carries bare layer-3 packets.
    pub fn is_layer3(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & info_flags::LAYER3 != 0
    }

    /// Whether `rx` must be polled without pause.
    pub fn is_busy_poll(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & info_flags::BUSY_POLL != 0
    }

    /// Whether packets with partial checksums or segments to cut must be completed before [`Vport::tx`].
    ///
    /// The datapath asks per batch and completes them itself (crate `actions`): this layer knows ports, not protocols.
    #[inline]
    pub fn needs_software_offload(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & info_flags::OFFLOAD == 0
    }

    /// Whether TCP super-packets of the common kind need not be, all the same (`CUTS_TCP`).
    #[inline]
    pub fn cuts_tcp(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & info_flags::CUTS_TCP != 0
    }

    /// Receives a batch into `batch`, which must be empty, sets the packets' input port and counts them; returns how many came,
    /// those included that the port type refused and that end here, in `drops`. One thread at a time for each queue.
    #[inline]
    pub fn rx(
        &self,
        worker: usize,
        queue: usize,
        pool: &mut Pool,
        batch: &mut Batch,
        drops: &mut DropCounts,
    ) -> Result<usize, Errno> {
        if !self.is_alive() {
            return Ok(0);
        }
        match self.handle.rx(queue, pool, batch) {
            Ok(0) => Ok(0),
            Ok(received) => {
                let port_no = self.port_no();
                let (mut bytes, mut refused) = (0, false);
                for packet in batch.iter_mut() {
                    packet.set_in_port(port_no);
                    refused |= packet.refusal().is_some();
                    bytes += packet.len() as u64;
                }
                if refused {
                    bytes = self.drop_refused(worker, pool, batch, drops);
                }
                let counters = self.counters.worker(worker);
                counters.add(PortCounter::RxPackets as usize, batch.len() as u64);
                counters.add(PortCounter::RxBytes as usize, bytes);
                self.taps.show(Direction::Received, batch.iter());
                Ok(received)
            }
            Err(errno) => {
                self.count(worker, PortCounter::RxErrors, 1);
                Err(errno)
            }
        }
    }

    /// Takes those out of `batch` that the port type refused; returns the bytes of the others.
    #[cold]
    fn drop_refused(&self, worker: usize, pool: &mut Pool, batch: &mut Batch, drops: &mut DropCounts) -> u64 {
        let mut bytes = 0;
        for packet in std::mem::take(batch) {
            let Some(why) = packet.refusal() else {
                bytes += packet.len() as u64;
                batch.push(packet);
                continue;
            };
            let (reason, counter) = match why {
                refused::BAD_HEADER => (DropReason::TunnelBadHeader, PortCounter::RxDropped),
                refused::ECN => (DropReason::TunnelEcn, PortCounter::RxErrors),
                _ => (DropReason::BadFrame, PortCounter::RxErrors),
            };
            drops.add(reason, 1);
            self.count(worker, counter, 1);
            pool.give(packet);
        }
        bytes
    }

    /// Sends all of `batch`, leaving it empty; what is not sent is counted here and in `drops`. Each worker has its
    /// own queue.
    #[inline]
    pub fn tx(&self, worker: usize, pool: &mut Pool, batch: &mut Batch, drops: &mut DropCounts) {
        let flags = self.flags.load(Ordering::Relaxed);
        let layer3 = flags & info_flags::LAYER3 != 0;
        let limit = self.frame_limit(flags);
        let odd = |packet: &Packet| packet.len() > limit || is_layer3(packet) != layer3;
        if !self.is_alive() || batch.iter().any(odd) {
            self.refuse(worker, pool, batch, drops);
        }
        if batch.is_empty() {
            return;
        }
        self.taps.show(Direction::Sent, batch.iter());
        let tagged = batch.iter().filter(|packet| !layer3 && is_tag_apart(packet)).count() as u64;
        let outcome = self.handle.tx(worker, pool, batch);
        let counters = self.counters.worker(worker);
        counters.add(PortCounter::TxPackets as usize, outcome.sent);
        counters.add(PortCounter::TxBytes as usize, outcome.sent_bytes);
        if tagged != 0 {
            counters.add(PortCounter::TxTagged as usize, tagged.min(outcome.sent));
        }
        if outcome.apart != 0 {
            counters.add(PortCounter::TxApart as usize, outcome.apart);
            counters.add(PortCounter::TxApartBytes as usize, outcome.apart_bytes);
        }
        if outcome.errors + outcome.dropped + outcome.contained + outcome.ignored != 0 {
            self.count_lost(worker, &outcome, drops);
        }
    }

    /// The tunnel key with which the port would send the packet; `None`: the packet has none, there is no way to the peer, or the
    /// port is no tunnel.
    pub fn egress_tunnel(&self, packet: &Packet) -> Option<TunnelKey> {
        let mut info = TunnelInfo::default();
        info.set_key(packet.extension()?.egress.as_deref()?);
        self.handle.egress_tunnel(packet, &mut info).ok()?;
        Some(info.to_key())
    }

    /// Longest frame that surely fits, in bytes.
    #[inline]
    fn frame_limit(&self, flags: u32) -> usize {
        if flags & info_flags::NO_MTU != 0 {
            return usize::MAX;
        }
        let header = if flags & info_flags::LAYER3 != 0 { 0 } else { ETH_HLEN };
        self.mtu.load(Ordering::Relaxed) as usize + header
    }

    /// Why the port does not take a packet. A segmentation super-packet may be longer than the MTU, and so may a tagged
    /// frame, by one tag.
    fn refusal(&self, flags: u32, limit: usize, packet: &Packet) -> Option<DropReason> {
        if !self.is_alive() {
            return Some(DropReason::NoSuchPort);
        }
        let layer3 = is_layer3(packet);
        if layer3 != (flags & info_flags::LAYER3 != 0) {
            return Some(DropReason::WrongLayer);
        }
        let tagged = !layer3 && is_tagged(packet);
        let len = packet.len() - if tagged { VLAN_HLEN } else { 0 };
        (len > limit && packet.offload().gso.is_none()).then_some(DropReason::OverMtu)
    }

    /// Takes those out of `batch` that the port does not take.
    #[cold]
    fn refuse(&self, worker: usize, pool: &mut Pool, batch: &mut Batch, drops: &mut DropCounts) {
        let flags = self.flags.load(Ordering::Relaxed);
        let limit = self.frame_limit(flags);
        if batch.iter().all(|packet| self.refusal(flags, limit, packet).is_none()) {
            return;
        }
        for packet in std::mem::take(batch) {
            let Some(reason) = self.refusal(flags, limit, &packet) else {
                batch.push(packet);
                continue;
            };
            drops.add(reason, 1);
            if reason == DropReason::OverMtu {
                self.count(worker, PortCounter::TxErrors, 1);
                self.log_over_mtu(packet.len());
            } else if reason != DropReason::WrongLayer || !self.kind().is_tunnel() {
                // (The kernel stops it before it comes to the tunnel's own counters.)
                self.count(worker, PortCounter::TxDropped, 1);
            }
            pool.give(packet);
        }
    }

    #[cold]
    fn log_over_mtu(&self, len: usize) {
        if let Some(suppressed) = self.over_mtu_lines.allow() {
            let (name, mtu) = (self.name(), self.mtu.load(Ordering::Relaxed));
            tracing::warn!(
                suppressed,
                "port {name}: a frame of {len} bytes exceeds the MTU of {mtu}, dropped"
            );
        }
    }

    #[cold]
    fn count_lost(&self, worker: usize, outcome: &TxOutcome, drops: &mut DropCounts) {
        drops.add(DropReason::TxError, outcome.errors - outcome.no_route);
        drops.add(DropReason::TunnelNoRoute, outcome.no_route);
        drops.add(DropReason::TxFull, outcome.dropped - outcome.over_mtu - outcome.no_tunnel);
        drops.add(DropReason::OverMtu, outcome.over_mtu);
        drops.add(DropReason::TunnelNoKey, outcome.no_tunnel + outcome.ignored);
        drops.add(DropReason::Contained, outcome.contained);
        self.count(worker, PortCounter::TxErrors, outcome.errors + outcome.contained);
        self.count(worker, PortCounter::TxDropped, outcome.dropped);
    }

    /// Counts on behalf of a worker.
    #[inline]
    pub fn count(&self, worker: usize, counter: PortCounter, amount: u64) {
        self.counters.worker(worker).add(counter as usize, amount);
    }

    /// Counts on behalf of a thread that is not a worker.
    pub fn count_shared(&self, counter: PortCounter, amount: u64) {
        self.counters.add_shared(counter as usize, amount);
    }

    /// Shows a tap what the port receives and sends from now on.
    pub fn tap(&self, tap: &Arc<dyn Tap>) {
        self.taps.add(tap);
        // With the one in `set_bypass`: one of two threads that are here and there sees what the other did.
        fence(Ordering::SeqCst);
        if let Some(bypass) = self.bypass.get() {
            bypass.stop(self);
        }
        self.close_outlet();
    }

    /// Whether somebody wants to see all packets.
    pub fn is_tapped(&self) -> bool {
        self.taps.are_there()
    }

    /// Whether packets could go from this port to another one of its type past the switch.
    #[inline]
    pub fn has_shortcuts(&self) -> bool {
        self.handle.has_shortcuts()
    }

    /// Names whoever lets packets go past. Once for a port; later calls change nothing.
    pub fn set_bypass(&self, bypass: Box<dyn Bypass>) {
        // A second one is the same as the first: there is one for each switch.
        let _ = self.bypass.set(bypass);
        fence(Ordering::SeqCst);
    }

    /// Whether [`Vport::set_bypass`] was called.
    pub fn has_bypass(&self) -> bool {
        self.bypass.get().is_some()
    }

    /// Ends that.
    pub fn untap(&self, tap: &Arc<dyn Tap>) {
        self.taps.remove(tap);
    }

    /// The counters' sums.
    pub fn stats(&self) -> PortStats {
        if let Some(bypass) = self.bypass.get() {
            bypass.count(self);
        }
        let mut stats = PortStats::from(self.counters.sum());
        stats.rx_dropped += self.rx_missed();
        // One that cannot say at the moment has said so in the log. Other processes count, who may say anything.
        let sent = self.handle.outlet_sent().unwrap_or_default();
        stats.tx_packets = stats.tx_packets.wrapping_add(sent.packets);
        stats.tx_bytes = stats.tx_bytes.wrapping_add(sent.bytes);
        stats
    }

    /// How many packets the host lost before the port could receive them; part of `rx_dropped`.
    pub fn rx_missed(&self) -> u64 {
        // One that cannot say at the moment has lost what it had.
        let now = self.handle.rx_missed().unwrap_or(0);
        self.rx_missed.fetch_max(now, Ordering::Relaxed).max(now)
    }
}

impl std::fmt::Debug for Vport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vport")
            .field("name", &self.name())
            .field("netns", &self.netns)
            .field("datapath", &self.datapath)
            .field("port_no", &self.port_no())
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

#[inline]
fn is_tagged(packet: &Packet) -> bool {
    packet.frame().get(12..14).is_some_and(|ty| VLAN_TYPES.iter().any(|vlan| ty == vlan))
}

/// Bytes from which on a tagged frame is sent with its tag inside.
const TAG_INSIDE_FROM: usize = 20;

/// Whether the kernel would keep the frame's outer VLAN tag beside it on its way out, while here it is inside: not if there is MPLS in it,
/// and not if the frame ends with it, for then it is beside the frame here, too.
#[inline]
fn is_tag_apart(packet: &Packet) -> bool {
    is_tagged(packet) && packet.len() >= TAG_INSIDE_FROM && !holds_mpls(packet.frame())
}

#[cold]
fn holds_mpls(frame: &[u8]) -> bool {
    let behind_tags =
        frame[12..].chunks_exact(VLAN_HLEN).find(|tag| !VLAN_TYPES.iter().any(|ty| tag[..2] == *ty));
    behind_tags.is_some_and(|bytes| MPLS_TYPES.iter().any(|ty| bytes[..2] == *ty))
}

#[inline]
fn is_layer3(packet: &Packet) -> bool {
    packet.kind() != PacketKind::Ethernet
}
