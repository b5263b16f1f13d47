// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Shortcuts as the switch keeps them, over a port type whose shortcuts a test drives by hand: what is counted, and what ends one.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use portway_buf::{Batch, Class, PoolRef};
use portway_datapath::{Flow, FlowStats, PortRequest};
use portway_flow::Action;
use portway_testkit::{Bench, Frame};
use portway_vport::abi::{PortInfo, ShortcutCounters, ShortcutKey, ShortcutMasks, TxReport, info_flags};
use portway_vport::ops::{CreateParams, Errno, PortType, TYPE_PRIVATE};
use portway_vport::{LinkedModule, PortName, Vport};

const TYPE_PIPE: u32 = TYPE_PRIVATE + 98;

/// What a test sees of a port.
#[derive(Default)]
struct Wire {
    to_switch: Mutex<VecDeque<Vec<u8>>>,
    /// Shortcuts that begin here: whether they are taken, and what they say that they have carried.
    shortcuts: Mutex<BTreeMap<u64, (bool, ShortcutCounters)>>,
    /// How often the port was prepared for shortcuts.
    prepared: AtomicU64,
    /// It is a port that no shortcut leads to.
    is_far: AtomicBool,
}

impl Wire {
    fn send(&self, frame: &[u8], count: usize) {
        lock(&self.to_switch).extend(std::iter::repeat_n(frame.to_vec(), count));
    }

    /// The one shortcut from here.
    fn carry(&self, change: impl Fn(&mut ShortcutCounters)) {
        let mut shortcuts = lock(&self.shortcuts);
        assert_eq!(shortcuts.len(), 1);
        shortcuts.values_mut().for_each(|(_, counters)| change(counters));
    }
}

/// Wires by the names of their ports, which differ from test to test.
static WIRES: Mutex<BTreeMap<String, Arc<Wire>>> = Mutex::new(BTreeMap::new());

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Pipe(Arc<Wire>);

impl PortType for Pipe {
    const TYPE: u32 = TYPE_PIPE;
    const NAME: &'static CStr = c"pipe";
    const SHORTCUTS: bool = true;

    fn create(params: &CreateParams<'_>) -> Result<Self, Errno> {
        let name = params.name.to_str().map_err(|_| Errno(22))?;
        Ok(Self(Arc::clone(lock(&WIRES).entry(name.to_owned()).or_default())))
    }

    fn info(&self) -> PortInfo {
        let flags = info_flags::BUSY_POLL | info_flags::OFFLOAD;
        PortInfo { mtu: 1500, flags, rx_queues: 1, link_up: 1, ..PortInfo::default() }
    }

    fn rx(&self, _queue: usize, pool: &mut PoolRef<'_>, batch: &mut Batch) -> Result<(), Errno> {
        let mut waiting = lock(&self.0.to_switch);
        while !batch.is_full()
            && let Some(frame) = waiting.pop_front()
        {
            let class = Class::for_frame(frame.len()).ok_or(Errno(90))?;
            let mut packet = pool.take(class).ok_or(Errno(12))?;
            assert!(packet.assign(&portway_buf::Packet::copied_from(&frame).unwrap()));
            batch.push(packet);
        }
        Ok(())
    }

    fn tx(&self, _queue: usize, pool: &mut PoolRef<'_>, batch: &mut Batch, report: &mut TxReport) {
        report.sent = batch.len() as u32;
        report.sent_bytes = batch.iter().map(|packet| packet.len() as u64).sum();
        pool.give_all(batch);
    }

    fn shortcut_masks(&self, masks: Option<&ShortcutMasks>) -> Result<(), Errno> {
        self.0.prepared.fetch_add(u64::from(masks.is_some()), Ordering::Relaxed);
        Ok(())
    }

    fn shortcut_add(&self, output: &Self, _key: &ShortcutKey) -> Result<u64, Errno> {
        if output.0.is_far.load(Ordering::Relaxed) {
            return Err(Errno(18));
        }
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        lock(&self.0.shortcuts).insert(id, (true, ShortcutCounters::default()));
        Ok(id)
    }

    fn shortcut_end(&self, id: u64) -> Result<(), Errno> {
        lock(&self.0.shortcuts).get_mut(&id).ok_or(Errno(2))?.0 = false;
        Ok(())
    }

    fn shortcut_read(&self, id: u64) -> Result<ShortcutCounters, Errno> {
        lock(&self.0.shortcuts).get(&id).map(|(_, counters)| *counters).ok_or(Errno(2))
    }

    fn shortcut_free(&self, id: u64) {
        lock(&self.0.shortcuts).remove(&id);
    }
}

/// A switch with a flow between two ports that has a shortcut.
struct Rig {
    bench: Bench,
    ports: [Arc<Vport>; 2],
    wire: Arc<Wire>,
    flow: Arc<Flow>,
}

/// TCP with these flags (in the place of UDP's length and checksum, what a test's frame has, and behind it).
fn tcp(flags: u8) -> Vec<u8> {
    let mut frame = Frame::between(1, 2).with_payload(20).bytes();
    frame[14 + 9] = 6;
    frame[34 + 12] = 0x50;
    frame[34 + 13] = flags;
    frame
}

impl Rig {
    fn new(test: &str) -> Self {
        let mut bench = Bench::new();
        bench.switch.registry().register(LinkedModule::of::<Pipe>()).unwrap();
        let ports = ["a", "b"].map(|end| {
            let name = PortName::new(format!("{test}-{end}").as_bytes()).unwrap();
            bench.switch.port_add(&bench.datapath, &PortRequest::new(name, TYPE_PIPE)).unwrap()
        });
        let wire = Arc::clone(&lock(&WIRES)[&format!("{test}-a")]);
        let flow = bench.port_flow(ports[0].port_no(), &[Action::Output(ports[1].port_no())]);
        wire.send(&tcp(0), 200);
        assert_eq!(bench.run(), 200);
        bench.switch.make_shortcuts();
        assert!(flow.has_shortcut());
        Self { bench, ports, wire, flow }
    }

    fn stats(&self) -> FlowStats {
        self.flow.stats(&self.bench.datapath.pin())
    }

    /// Packets and bytes: of the flow, received by the first port, sent by the second.
    fn counts(&self) -> [(u64, u64); 3] {
        let (flow, [from, to]) = (self.stats(), self.ports.each_ref().map(|port| port.stats()));
        [(flow.packets, flow.bytes), (from.rx_packets, from.rx_bytes), (to.tx_packets, to.tx_bytes)]
    }
}

#[test]
fn bytes_that_are_read_before_their_packet_are_counted() {
    let rig = Rig::new("torn");
    let (packets, bytes) = rig.counts()[0];
    assert_eq!(packets, 200);
    // The reader saw the counters between two of the kernel's stores.
    rig.wire.carry(|counters| counters.bytes += 100);
    assert_eq!(rig.counts(), [(200, bytes + 100); 3]);
    rig.wire.carry(|counters| (counters.packets, counters.used_ns) = (1, 5_000_000_000));
    assert_eq!(rig.counts(), [(201, bytes + 100); 3]);
    assert_eq!(rig.stats().used_ns, 5_000_000_000);
    assert_eq!(rig.bench.datapath.stats().hit, 201);
}

#[test]
fn what_was_seen_before_the_statistics_were_cleared_is_seen_anew() {
    let mut rig = Rig::new("clear");
    let (syn, ack) = (0x02_u16, 0x10_u16);
    rig.wire.send(&tcp(syn as u8), 1);
    rig.bench.run();
    rig.wire.carry(|counters| (counters.packets, counters.bytes, counters.tcp_flags) = (3, 300, ack.into()));
    assert_eq!(rig.stats().tcp_flags, syn | ack);
    rig.bench.switch.flow_clear_stats(&rig.flow);
    assert_eq!(rig.stats(), FlowStats::default());
    assert!(!rig.flow.has_shortcut(), "its flags would be old ones");
    // A packet that was on its way.
    rig.wire.carry(|counters| (counters.packets, counters.bytes) = (4, 400));
    let late = rig.stats();
    assert_eq!((late.packets, late.bytes, late.tcp_flags), (1, 100, 0));
    rig.wire.send(&tcp(syn as u8), 2);
    rig.bench.run();
    assert_eq!((rig.stats().packets, rig.stats().tcp_flags), (3, syn));
    rig.bench.switch.flow_clear_stats(&rig.flow);
    assert_eq!(rig.stats().tcp_flags, 0);
}

#[test]
fn whatever_is_said_of_a_device_ends_the_shortcuts_of_its_port() {
    let rig = Rig::new("news");
    // The MTU went down and up again, and the shortcut was made in between.
    rig.bench.switch.port_refresh(&rig.ports[1]);
    assert!(!rig.flow.has_shortcut());
    assert!(lock(&rig.wire.shortcuts).values().all(|(taken, _)| !taken));
}

#[test]
fn ports_that_can_have_none_are_not_prepared_again_and_again() {
    let mut rig = Rig::new("far");
    let far = PortName::new(b"far-c").unwrap();
    let request = PortRequest::new(far, TYPE_PIPE);
    let port = rig.bench.switch.port_add(&rig.bench.datapath, &request).unwrap();
    lock(&WIRES)["far-c"].is_far.store(true, Ordering::Relaxed);
    let prepared = |rig: &Rig| rig.wire.prepared.load(Ordering::Relaxed);
    let switch = Arc::clone(&rig.bench.switch);
    let go = |rig: &mut Rig, to: u32| {
        switch.flow_set_actions(&rig.bench.datapath, &rig.flow, &[Action::Output(to)]).unwrap();
        (0..10).for_each(|_| switch.tick_shortcuts());
        let before = prepared(rig);
        for _ in 0..3 {
            rig.bench.now_ns += 2_000_000_000;
            rig.wire.send(&tcp(0), 200);
            rig.bench.run();
            switch.make_shortcuts();
            (0..10).for_each(|_| switch.tick_shortcuts());
        }
        prepared(rig) - before
    };
    assert_eq!(go(&mut rig, port.port_no()), 1, "once, to find out");
    assert_eq!(go(&mut rig, port.port_no()), 0);
    let near = rig.ports[1].port_no();
    assert_eq!(go(&mut rig, near), 3, "another port is another matter");
    // Another port in its place is asked again.
    switch.port_del(&rig.bench.datapath, port.port_no()).unwrap();
    drop(port);
    lock(&WIRES)["far-c"].is_far.store(false, Ordering::Relaxed);
    let port = switch.port_add(&rig.bench.datapath, &request).unwrap();
    assert_eq!(go(&mut rig, port.port_no()), 3);
}

#[test]
fn shortcuts_that_have_ended_are_freed_with_all_that_they_counted() {
    let rig = Rig::new("freed");
    let (packets, bytes) = rig.counts()[0];
    rig.wire.carry(|counters| (counters.packets, counters.bytes) = (7, 700));
    rig.bench.switch.want_shortcuts(false);
    rig.wire.carry(|counters| (counters.packets, counters.bytes) = (8, 800));
    (0..10).for_each(|_| rig.bench.switch.tick_shortcuts());
    assert!(lock(&rig.wire.shortcuts).is_empty());
    assert_eq!(rig.counts(), [(packets + 8, bytes + 800); 3]);
}
