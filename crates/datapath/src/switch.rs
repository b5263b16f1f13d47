// SPDX-License-Identifier: Apache-2.0 OR MIT
//! All datapaths together: what they share, and the ways to look at them. `change.rs` has the ways to change them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::Receiver;
use foldhash::HashMap;
use portway_buf::Packet;
use portway_flow::{Action, FlowMask};
use portway_sync::{Domain, FairQueue, Snapshot};
use portway_uapi::openvswitch::DP_MAX_PORTS;
use portway_vport::{DeviceTable, NetnsId, PortName, Registry, Vport};

use crate::change::TYPE_INTERNAL;
use crate::datapath::Datapath;
use crate::error::Error;
use crate::events::{Event, Listeners};
use crate::flow::{Flow, Ufid};
use crate::lens_book::LensBook;
use crate::shortcut::Shortcuts;
use crate::upcall::Upcall;
use crate::worker::{Lane, RxEntry, Worker};

/// What tables may grow to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Datapaths.
    pub datapaths: usize,
    /// Ports of all datapaths together.
    pub ports: usize,
    /// Flows of one datapath.
    pub flows: usize,
    /// Distinct masks of one datapath's flows.
    pub masks: usize,
    /// Entries of a worker's exact-match cache, at most.
    pub cache_entries: usize,
    /// Upcalls that may wait for one port.
    pub upcalls_per_port: usize,
    /// Upcalls that may wait in all.
    pub upcalls: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            datapaths: 4096,
            ports: 262_144,
            flows: 1_000_000,
            masks: 4096,
            cache_entries: 262_144,
            upcalls_per_port: 256,
            upcalls: 8192,
        }
    }
}

/// How to make a [`Switch`].
pub struct SwitchConfig {
    /// Workers that will be made.
    pub workers: usize,
    /// Limits.
    pub limits: Limits,
    /// A secret random number: hashes are keyed with it.
    pub seed: u64,
    /// Called when the upcall queue is no longer empty. Must be quick and must not block: workers call it.
    pub wake_upcalls: portway_sync::Waker,
    /// Called with a worker's index when its receive queues have changed, so that it looks at them again.
    pub wake_worker: Box<dyn Fn(usize) + Send + Sync>,
    /// Called when [`Switch::make_shortcuts`] has something to do. Must be quick and must not block: workers call it.
    pub wake_shortcuts: Box<dyn Fn() + Send + Sync>,
}

impl Default for SwitchConfig {
    /// One worker, driven by hand, nobody to wake: for tests.
    fn default() -> Self {
        Self {
            workers: 1,
            limits: Limits::default(),
            seed: 0x5eed,
            wake_upcalls: Box::new(|| {}),
            wake_worker: Box::new(|_| {}),
            wake_shortcuts: Box::new(|| {}),
        }
    }
}

/// The receive queues of one worker.
struct Assignment {
    entries: Snapshot<Vec<RxEntry>>,
    generation: AtomicU64,
}

/// Under the writer lock: what only writers look at.
#[derive(Default)]
pub(crate) struct Writer {
    pub(crate) datapaths: BTreeMap<u32, DatapathWriter>,
    pub(crate) next_entry: u64,
}

/// A datapath's part of it.
pub(crate) struct DatapathWriter {
    pub(crate) datapath: Arc<Datapath>,
    pub(crate) lens_book: LensBook,
    pub(crate) ufids: HashMap<Ufid, Arc<Flow>>,
}

/// Everything: datapaths, the registry of port types, the device table, the upcall queue.
pub struct Switch {
    pub(crate) registry: Registry,
    pub(crate) devices: DeviceTable,
    pub(crate) limits: Limits,
    pub(crate) workers: usize,
    pub(crate) seed: u64,
    pub(crate) domain: Domain,
    pub(crate) upcalls: Arc<FairQueue<Upcall>>,
    /// Somebody listens to samples.
    pub(crate) samples_wanted: Arc<AtomicBool>,
    pub(crate) listeners: Listeners,
    pub(crate) writer: Mutex<Writer>,
    assignments: Vec<Assignment>,
    /// For requests that carry a packet.
    control: Mutex<Lane>,
    pub(crate) wake_worker: Box<dyn Fn(usize) + Send + Sync>,
    pub(crate) shortcuts: Arc<Shortcuts>,
}

impl Switch {
    /// A switch without datapaths, with the port types of `registry`.
    pub fn new(config: SwitchConfig, registry: Registry) -> Arc<Self> {
        let SwitchConfig { workers, limits, seed, wake_upcalls, wake_worker, wake_shortcuts } = config;
        let domain = Domain::new();
        let queue_limits =
            portway_sync::Limits { per_source: limits.upcalls_per_port, total: limits.upcalls };
        let assignment =
            || Assignment { entries: Snapshot::new(&domain, Vec::new()), generation: AtomicU64::new(0) };
        Arc::new(Self {
            registry,
            devices: DeviceTable::new(limits.ports),
            limits,
            workers,
            seed,
            upcalls: Arc::new(FairQueue::new(queue_limits, wake_upcalls)),
            samples_wanted: Arc::new(AtomicBool::new(false)),
            listeners: Listeners::default(),
            writer: Mutex::new(Writer::default()),
            assignments: (0..workers).map(|_| assignment()).collect(),
            control: Mutex::new(Lane::new(workers, limits.cache_entries.min(1024), seed)),
            wake_worker,
            shortcuts: Shortcuts::new(wake_shortcuts),
            domain,
        })
    }

    /// The worker of that index, `0..workers`. Two workers of one index must not live at the same time: they would share
    /// transmit queues and counters.
    pub fn worker(self: &Arc<Self>, index: usize) -> Worker {
        assert!(index < self.workers, "this switch has {} workers", self.workers);
        let lane = Lane::new(index, self.limits.cache_entries, self.seed.rotate_left(index as u32 + 1));
        Worker::new(Arc::clone(self), index, self.domain.register(), lane)
    }

    /// Number of workers.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// The port types.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The device table: ports by namespace and name.
    pub fn devices(&self) -> &DeviceTable {
        &self.devices
    }

    /// Packets for user space. One thread reads it.
    pub fn upcalls(&self) -> &Arc<FairQueue<Upcall>> {
        &self.upcalls
    }

    /// Whether anybody listens to samples (psample actions): without a listener none is made.
    pub fn want_samples(&self, wanted: bool) {
        self.samples_wanted.store(wanted, Ordering::Relaxed);
    }

    /// Tells of every change from now on.
    pub fn subscribe(&self) -> Receiver<Event> {
        self.listeners.subscribe()
    }

    /// The domain of all readers.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Every datapath, by id.
    pub fn datapaths(&self) -> Vec<Arc<Datapath>> {
        self.lock().datapaths.values().map(|writer| Arc::clone(&writer.datapath)).collect()
    }

    /// The datapath of that name in that namespace.
    pub fn datapath_named(&self, netns: NetnsId, name: &PortName) -> Option<Arc<Datapath>> {
        let port = self.devices.find(netns, name)?;
        (port.port_no() == 0).then(|| self.datapath(port.datapath())).flatten()
    }

    /// The datapath that the device of that interface index in that namespace belongs to: its own, or any other internal port's.
    pub fn datapath_of_device(&self, netns: NetnsId, ifindex: u32) -> Option<Arc<Datapath>> {
        {
            let writer = self.lock();
            // Inside only now: whoever has the lock may wait until readers have left.
            let guard = self.domain.pin();
            let is_own = |datapath: &Datapath| {
                datapath.netns().id() == netns
                    && datapath.ports.get(0, &guard).is_some_and(|port| port.ifindex() == ifindex)
            };
            if let Some(own) = writer.datapaths.values().find(|entry| is_own(&entry.datapath)) {
                return Some(Arc::clone(&own.datapath));
            }
        }
        let mut ports = self.devices.list(Some(netns)).into_iter();
        let port = ports.find(|port| port.port_type() == TYPE_INTERNAL && port.ifindex() == ifindex)?;
        self.datapath(port.datapath()).filter(|datapath| datapath.netns().id() == netns)
    }

    /// The datapath of that id.
    pub fn datapath(&self, id: u32) -> Option<Arc<Datapath>> {
        self.lock().datapaths.get(&id).map(|writer| Arc::clone(&writer.datapath))
    }

    /// The port of that name in that namespace, with its datapath. Never waits for a writer to finish a change.
    pub fn port_named(&self, netns: NetnsId, name: &PortName) -> Option<Arc<Vport>> {
        self.devices.find(netns, name)
    }

    /// The flow of that identity.
    pub fn flow_by_ufid(&self, datapath: &Datapath, ufid: &Ufid) -> Option<Arc<Flow>> {
        self.lock().datapaths.get(&datapath.id())?.ufids.get(ufid).cloned()
    }

    /// Runs actions on a packet, as OVS_PACKET_CMD_EXECUTE does. The packet's metadata counts: input port, mark and so on.
    /// What it sends leaves with [`Switch::send_executed`].
    ///
    /// # Errors
    /// [`Error::Actions`] if the list is not acceptable for the packet's key, [`Error::Execute`] if it could not be carried out.
    pub fn execute(
        &self,
        datapath: &Arc<Datapath>,
        mut packet: Packet,
        actions: &[Action],
        now_ns: u64,
    ) -> Result<(), Error> {
        let Ok(key) = portway_flow::extract(&mut packet) else { return Ok(()) };
        // By far the most common request: a new flow's first packet, to where the flow leads.
        if let [Action::Output(port)] = actions
            && *port < DP_MAX_PORTS
        {
            let guard = self.domain.pin();
            self.control_lane().execute_output(datapath, packet, *port, &guard, now_ns);
            return Ok(());
        }
        static EXACT: LazyLock<FlowMask> = LazyLock::new(FlowMask::exact);
        let program = portway_actions::Program::compile(actions, &key, &EXACT, &Default::default())?;
        let guard = self.domain.pin();
        self.control_lane()
            .execute(datapath, packet, &Arc::new(program), &guard, now_ns)
            .map_err(Error::Execute)
    }

    /// Sends what packets from [`Switch::execute`] have led to.
    pub fn send_executed(&self, now_ns: u64) {
        let guard = self.domain.pin();
        self.control_lane().send_executed(&guard, now_ns);
    }

    /// Carries a packet through the datapath as if the port in its metadata had received it.
    pub fn inject(&self, datapath: &Arc<Datapath>, packet: Packet, now_ns: u64) {
        let guard = self.domain.pin();
        self.control_lane().inject(datapath, packet, &guard, now_ns);
    }

    /// Frees what waits for readers that have left meanwhile. Called by a timer while there is such.
    pub fn reclaim(&self) {
        self.domain.reclaim();
    }

    /// Gives back buffers that requests have used.
    pub fn rest(&self) {
        self.control_lane().rest();
    }

    fn control_lane(&self) -> MutexGuard<'_, Lane> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Writer> {
        // A panic in a port type is caught before it gets here; should anything else panic, the tables are each consistent.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn entries(&self, worker: usize) -> &Snapshot<Vec<RxEntry>> {
        &self.assignments[worker].entries
    }

    pub(crate) fn entries_generation(&self, worker: usize) -> u64 {
        self.assignments[worker].generation.load(Ordering::Acquire)
    }

    /// Changes a worker's receive queues and tells it. Under the writer lock.
    pub(crate) fn update_entries(&self, worker: usize, change: impl FnOnce(&mut Vec<RxEntry>)) {
        let assignment = &self.assignments[worker];
        assignment.entries.update(|entries| {
            let mut entries = entries.clone();
            change(&mut entries);
            entries
        });
        assignment.generation.fetch_add(1, Ordering::Release);
        (self.wake_worker)(worker);
    }

    /// The worker for a new receive queue of `port`: the one with the fewest, except that ports that are waited for come in pairs. Two
    /// ports of one worker exchange packets and answers without waking another one, and leave the other CPUs to those who
    /// send and receive.
    pub(crate) fn worker_for(&self, port: &Vport) -> usize {
        let guard = self.domain.pin();
        let queues = |worker: usize| self.entries(worker).load(&guard);
        // A bridge's internal port is the host's end of it, which often has no traffic at all.
        let is_paired = |port: &Vport| !port.is_busy_poll() && port.port_type() != TYPE_INTERNAL;
        if is_paired(port) {
            let odd = |&worker: &usize| {
                queues(worker).iter().filter(|entry| is_paired(&entry.port)).count() % 2 == 1
            };
            if let Some(worker) = (0..self.workers).find(odd) {
                return worker;
            }
        }
        (0..self.workers).min_by_key(|&worker| queues(worker).len()).unwrap_or(0)
    }
}
