// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The learning switches at work: misses in, flows out. One thread; what it holds while it works is held for microseconds only, so
//! requests that look at a bridge do not keep packets waiting.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use portway_bridge::{
    Bridge, Counters, FdbEntry, FlowChange, FlowId, FlowStats, PortSettings, PortVlan, Settings,
};
use portway_datapath::{Datapath, Flow, FlowParts, FlowRequest, Reason, Switch, Upcall};
use portway_flow::{Action, Cached, FlowKey, FlowMask};

use crate::clock;

/// Flows are looked at in this rhythm.
const TICK_NS: u64 = 1_000_000_000;
/// The most misses taken from one port in a round: the next port waits for no more than these.
const PER_ROUND: usize = 16;

/// One bridge and what it has in the datapath.
struct Learning {
    datapath: Arc<Datapath>,
    bridge: Bridge,
    flows: HashMap<FlowId, Arc<Flow>>,
}

/// All bridges.
pub(crate) struct Switching {
    switch: Arc<Switch>,
    /// By the datapath's id.
    bridges: Mutex<BTreeMap<u32, Learning>>,
    stop: AtomicBool,
    waker: Waker,
}

/// Wakes the thread that handles misses: the learning thread, or, while there is no bridge, the netlink server's, which is spared
/// a way round.
#[derive(Clone, Default)]
pub(crate) struct Waker(Arc<Sleepers>);

#[derive(Default)]
struct Sleepers {
    learning: OnceLock<Thread>,
    netlink: OnceLock<portway_netlink_server::Handle>,
    has_bridges: AtomicBool,
}

impl Waker {
    pub(crate) fn wake(&self) {
        match self.0.netlink.get() {
            Some(netlink) if !self.has_bridges() => netlink.wake(),
            Some(_) | None => self.wake_learning(),
        }
    }

    fn wake_learning(&self) {
        if let Some(thread) = self.0.learning.get() {
            thread.unpark();
        }
    }

    /// The calling thread is the learning thread from now on.
    pub(crate) fn is_me(&self) {
        // Said once, when the thread begins.
        let _ = self.0.learning.set(thread::current());
    }

    /// Where packets of datapaths that are no bridge's go. Said once.
    pub(crate) fn set_netlink(&self, netlink: portway_netlink_server::Handle) {
        let _ = self.0.netlink.set(netlink);
    }

    fn has_bridges(&self) -> bool {
        self.0.has_bridges.load(Ordering::Acquire)
    }

    /// Whoever is to take the misses from now on looks what there is.
    fn set_has_bridges(&self, has_bridges: bool) {
        if self.0.has_bridges.swap(has_bridges, Ordering::AcqRel) != has_bridges {
            self.wake();
        }
    }
}

impl Switching {
    /// `waker`: the one that the switch has.
    pub(crate) fn new(switch: Arc<Switch>, waker: Waker) -> Arc<Self> {
        Arc::new(Self { switch, bridges: Mutex::default(), stop: AtomicBool::new(false), waker })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Learning>> {
        // A panic in a bridge is contained by its thread; each bridge's tables are consistent between two calls.
        self.bridges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a bridge owns the datapath of that id.
    pub(crate) fn is_bridge(&self, datapath: u32) -> bool {
        self.lock().contains_key(&datapath)
    }

    /// Handles misses until stopped.
    pub(crate) fn run(&self) {
        self.waker.is_me();
        let mut next_tick = clock::now_ns() + TICK_NS;
        let mut upcalls = Vec::new();
        while !self.stop.load(Ordering::Acquire) {
            let is_ours = self.waker.has_bridges();
            let has_more = is_ours && self.switch.upcalls().pop_round(PER_ROUND, &mut upcalls);
            if !upcalls.is_empty() {
                let work = || self.handle(&mut upcalls);
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err() {
                    tracing::error!("a bridge failed on a packet, which is lost; please report this");
                    upcalls.clear();
                }
            }
            self.switch.make_shortcuts();
            let now = clock::now_ns();
            if now >= next_tick {
                self.tick(now);
                next_tick = now + TICK_NS;
            }
            if !has_more {
                thread::park_timeout(Duration::from_nanos(next_tick.saturating_sub(clock::now_ns())));
            }
        }
    }

    /// Makes [`Switching::run`] end.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.waker.wake_learning();
    }

    /// For the netlink server's thread: takes misses, while there is no bridge that they might belong to. Returns whether there are more.
    pub(crate) fn take_misses(&self, upcalls: &mut Vec<(u32, Upcall)>) -> bool {
        if self.waker.has_bridges() {
            return false;
        }
        let has_more = self.switch.upcalls().pop_round(PER_ROUND, upcalls);
        if self.waker.has_bridges() {
            // The first bridge was added meanwhile, and some may be its own.
            self.handle(upcalls);
        }
        has_more
    }

    fn handle(&self, upcalls: &mut Vec<(u32, Upcall)>) {
        let mut bridges = self.lock();
        let now = clock::now_ns();
        let mut is_netlinks = false;
        for (_, upcall) in upcalls.drain(..) {
            let is_miss = match upcall.reason {
                Reason::Miss => true,
                // Somebody's flow says "to user space" and names a port id that nobody has here.
                Reason::Action { .. } | Reason::Sample { .. } => false,
            };
            let Some(learning) = bridges.get_mut(&upcall.datapath.id()).filter(|_| is_miss) else {
                // Not a bridge's own: a netlink client's, if it has one.
                if let Some(netlink) = self.waker.0.netlink.get() {
                    netlink.upcall(upcall);
                    is_netlinks = true;
                }
                continue;
            };
            let mut changes = Vec::new();
            let verdict = learning.bridge.handle_upcall(&upcall.key, now, &mut changes);
            // The packet goes before its flow is in place, so that the next one does not overtake it.
            if let Err(error) = self.switch.execute(&upcall.datapath, upcall.packet, &verdict.actions, now) {
                tracing::debug!(bridge = %learning.datapath.name(), "a packet could not be sent on: {error}");
            }
            self.switch.send_executed(now);
            learning.apply(&self.switch, changes);
        }
        // Once for all of them.
        if let Some(netlink) = self.waker.0.netlink.get().filter(|_| is_netlinks) {
            netlink.wake();
        }
    }

    fn tick(&self, now_ns: u64) {
        let mut bridges = self.lock();
        for learning in bridges.values_mut() {
            let mut changes = Vec::new();
            // Somebody else may have deleted some: a netlink client, for example.
            learning.flows.retain(|_, flow| flow.is_live());
            let guard = learning.datapath.pin();
            let flows = &learning.flows;
            let stats = |id| {
                let stats = flows.get(&id)?.stats(&guard);
                Some(FlowStats { packets: stats.packets, used_ns: stats.used_ns })
            };
            learning.bridge.handle_tick(now_ns, stats, &mut changes);
            drop(guard);
            learning.apply(&self.switch, changes);
        }
        drop(bridges);
        self.switch.tick_shortcuts();
        self.switch.rest();
        self.switch.reclaim();
        self.switch.upcalls().trim();
    }

    /// A bridge begins to work on a datapath.
    pub(crate) fn add(&self, datapath: &Arc<Datapath>, settings: Settings) {
        let learning =
            Learning { datapath: Arc::clone(datapath), bridge: Bridge::new(settings), flows: HashMap::new() };
        self.lock().insert(datapath.id(), learning);
        self.waker.set_has_bridges(true);
    }

    /// A datapath has no bridge any more. Its flows go with it.
    pub(crate) fn remove(&self, datapath: &Datapath) {
        let mut bridges = self.lock();
        bridges.remove(&datapath.id());
        self.waker.set_has_bridges(!bridges.is_empty());
    }

    /// Changes a bridge; `None`: there is none for this datapath.
    fn with<T>(
        &self,
        datapath: &Datapath,
        work: impl FnOnce(&mut Bridge, &mut Vec<FlowChange>) -> T,
    ) -> Option<T> {
        let mut bridges = self.lock();
        let learning = bridges.get_mut(&datapath.id())?;
        let mut changes = Vec::new();
        let result = work(&mut learning.bridge, &mut changes);
        learning.apply(&self.switch, changes);
        Some(result)
    }

    pub(crate) fn port_add(&self, datapath: &Datapath, port_no: u32, settings: PortSettings) {
        let added = self.with(datapath, |bridge, changes| bridge.port_add(port_no, settings, changes));
        if let Some(Err(error)) = added {
            tracing::error!(bridge = %datapath.name(), "{error}");
        }
    }

    /// Adds a port with the default settings; false: the bridge has it already.
    pub(crate) fn port_join(&self, datapath: &Datapath, port_no: u32) -> bool {
        let settings = PortSettings::default();
        self.with(datapath, |bridge, changes| bridge.port_add(port_no, settings, changes).is_ok())
            .unwrap_or(false)
    }

    pub(crate) fn port_del(&self, datapath: &Datapath, port_no: u32) {
        // A port that was never added to the bridge has nothing to forget.
        let _ = self.with(datapath, |bridge, changes| bridge.port_del(port_no, changes));
    }

    pub(crate) fn port_set_vlan(&self, datapath: &Datapath, port_no: u32, vlan: PortVlan) {
        // As above.
        let _ = self.with(datapath, |bridge, changes| bridge.port_set_vlan(port_no, vlan, changes));
    }

    pub(crate) fn port_set_link(&self, datapath: &Datapath, port_no: u32, is_up: bool) {
        // As above.
        let _ = self.with(datapath, |bridge, changes| bridge.port_set_link(port_no, is_up, changes));
    }

    pub(crate) fn reconfigure(&self, datapath: &Datapath, settings: Settings) {
        self.with(datapath, |bridge, changes| bridge.reconfigure(settings, changes));
    }

    /// Somebody is about to add a flow by hand.
    pub(crate) fn hand_flow_added(&self, datapath: &Datapath, key: &FlowKey, mask: &FlowMask) {
        self.with(datapath, |bridge, changes| bridge.hand_flow_added(key, mask, changes));
    }

    /// A flow that was added by hand is gone.
    pub(crate) fn hand_flow_gone(&self, datapath: &Datapath, key: &FlowKey, mask: &FlowMask) {
        self.with(datapath, |bridge, _| bridge.hand_flow_gone(key, mask));
    }

    /// Deletes a flow if it is the bridge's own; false: it is not.
    pub(crate) fn flow_del(&self, datapath: &Datapath, flow: &Arc<Flow>) -> bool {
        let mut bridges = self.lock();
        let Some(learning) = bridges.get_mut(&datapath.id()) else { return false };
        let own = learning.flows.iter().find(|(_, own)| Arc::ptr_eq(own, flow)).map(|(id, _)| *id);
        let Some(id) = own else { return false };
        learning.bridge.flow_gone(id);
        learning.apply(&self.switch, vec![FlowChange::Delete { id }]);
        true
    }

    /// The flows that are the bridge's own.
    pub(crate) fn own_flows(&self, datapath: &Datapath) -> Vec<Arc<Flow>> {
        let bridges = self.lock();
        bridges
            .get(&datapath.id())
            .map(|learning| learning.flows.values().cloned().collect())
            .unwrap_or_default()
    }

    /// The learned addresses.
    pub(crate) fn fdb(&self, datapath: &Datapath) -> Vec<FdbEntry> {
        let bridges = self.lock();
        let fdb = |learning: &Learning| learning.bridge.fdb(clock::now_ns()).collect();
        bridges.get(&datapath.id()).map(fdb).unwrap_or_default()
    }

    /// Addresses known, and what was counted.
    pub(crate) fn summary(&self, datapath: &Datapath) -> (usize, Counters) {
        let bridges = self.lock();
        let summary = |learning: &Learning| (learning.bridge.fdb_len(), learning.bridge.counters());
        bridges.get(&datapath.id()).map(summary).unwrap_or_default()
    }
}

impl Learning {
    fn apply(&mut self, switch: &Switch, changes: Vec<FlowChange>) {
        for change in changes {
            match change {
                FlowChange::Put { id, key, mask, actions } => self.put(switch, id, *key, *mask, actions),
                FlowChange::Delete { id } => {
                    if let Some(flow) = self.flows.remove(&id) {
                        // Gone already if somebody deleted it by hand.
                        let _ = switch.flow_del(&self.datapath, &flow);
                    }
                }
            }
        }
    }

    fn put(&mut self, switch: &Switch, id: FlowId, key: FlowKey, mask: FlowMask, actions: Vec<Action>) {
        let put = match self.flows.get(&id) {
            Some(flow) => switch.flow_set_actions(&self.datapath, flow, &actions),
            None => {
                let request = FlowRequest { parts: FlowParts { key, mask, ufid: None }, actions };
                switch.flow_add(&self.datapath, &request).map(|flow| drop(self.flows.insert(id, flow)))
            }
        };
        if let Err(error) = put {
            tracing::debug!(bridge = %self.datapath.name(), "a flow could not be installed: {error}");
            if let Some(flow) = self.flows.remove(&id) {
                let _ = switch.flow_del(&self.datapath, &flow);
            }
            self.bridge.flow_gone(id);
        }
    }
}
