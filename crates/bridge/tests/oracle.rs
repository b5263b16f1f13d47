// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The bridge behind a flow table, against a naive switch that looks at every frame.
//!
//! `Cached` is what the daemon is: a table of masked flows in front, the bridge behind it for what misses, a tick once
//! a second. `Naive` is the specification written down without flows, indices or revalidation. For any sequence of
//! frames, port changes and time, each frame must leave the same ports in the same form, and both must know the same
//! stations.

use std::collections::{BTreeMap, BTreeSet};

use portway_bridge::{Bridge, FlowChange, FlowId, FlowStats, PortSettings, PortVlan, Settings, VlanSet};
use portway_flow::{Action, FlowKey, FlowMask, MacAddr};
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;
const AGING: u64 = 20 * SECOND;

/// How a frame leaves: TCI with the presence bit, 0: untagged.
type Delivered = BTreeSet<(u32, u16)>;

#[derive(Clone, Debug)]
struct FrameIn {
    port: u32,
    src: MacAddr,
    dst: MacAddr,
    /// TCI with the presence bit; 0: none.
    tci: u16,
}

impl FrameIn {
    fn key(&self) -> FlowKey {
        let mut key =
            FlowKey { in_port: self.port, eth_src: self.src, eth_dst: self.dst, ..FlowKey::default() };
        if self.tci != 0 {
            key.vlan_tci.set(self.tci);
            key.vlan_tpid.set(0x8100);
        }
        key.eth_type.set(0x0800);
        key.ip_proto = (self.src.0[5] ^ self.tci as u8) & 1;
        key
    }
}

// ---- the bridge and a flow table ----

struct CachedFlow {
    key: FlowKey,
    mask: FlowMask,
    actions: Vec<Action>,
    stats: FlowStats,
}

struct Cached {
    bridge: Bridge,
    flows: BTreeMap<FlowId, CachedFlow>,
    misses: u64,
}

impl Cached {
    fn new(settings: Settings) -> Self {
        Self { bridge: Bridge::new(settings), flows: BTreeMap::new(), misses: 0 }
    }

    fn change(&mut self, change: impl FnOnce(&mut Bridge, &mut Vec<FlowChange>)) {
        let mut changes = Vec::new();
        change(&mut self.bridge, &mut changes);
        for change in changes {
            match change {
                FlowChange::Put { id, key, mask, actions } => {
                    let stats = self.flows.get(&id).map(|flow| flow.stats).unwrap_or_default();
                    assert_eq!(mask.apply(&key), *key, "a flow's key is masked");
                    self.flows.insert(id, CachedFlow { key: *key, mask: *mask, actions, stats });
                }
                FlowChange::Delete { id } => {
                    assert!(self.flows.remove(&id).is_some(), "deletes what there is");
                }
            }
        }
        assert_eq!(self.flows.len(), self.bridge.flow_len());
    }

    fn frame(&mut self, frame: &FrameIn, now: u64) -> Delivered {
        let key = frame.key();
        let hits: Vec<_> = self.flows.iter().filter(|(_, flow)| flow.mask.matches(&key, &flow.key)).collect();
        let id = hits.first().map(|(id, _)| **id);
        for (_, other) in hits.iter().skip(1) {
            assert_eq!(hits[0].1.actions, other.actions, "flows that overlap agree");
        }
        if let Some(flow) = id.and_then(|id| self.flows.get_mut(&id)) {
            flow.stats.packets += 1;
            flow.stats.used_ns = now;
            return run(&flow.actions, frame.tci);
        }
        self.misses += 1;
        let mut actions = Vec::new();
        self.change(|bridge, changes| actions = bridge.handle_upcall(&key, now, changes).actions);
        run(&actions, frame.tci)
    }

    fn tick(&mut self, now: u64) {
        let stats: BTreeMap<_, _> = self.flows.iter().map(|(id, flow)| (*id, flow.stats)).collect();
        self.change(|bridge, changes| bridge.handle_tick(now, |id| stats.get(&id).copied(), changes));
    }
}

fn run(actions: &[Action], tci: u16) -> Delivered {
    let (mut tags, mut out) = (if tci == 0 { vec![] } else { vec![tci] }, Delivered::new());
    for action in actions {
        if let Action::Output(port) = action {
            assert!(tags.len() < 2, "one tag at most");
            assert!(out.insert((*port, tags.last().copied().unwrap_or(0))), "one copy to a port");
        } else if let Action::PushVlan(push) = action {
            tags.push(push.tci);
        } else if *action == Action::PopVlan {
            assert!(tags.pop().is_some(), "there is a tag to pop");
        } else {
            panic!("{action:?} is not an action of a bridge");
        }
    }
    out
}

// ---- the specification ----

struct NaiveEntry {
    port: u32,
    seen: u64,
    window: (u64, u32, u32), // start, moves, home
    hold: Option<u64>,
}

struct Naive {
    ports: BTreeMap<u32, PortVlan>,
    table: BTreeMap<(u16, MacAddr), NaiveEntry>,
}

impl Naive {
    /// (VLAN, priority of a priority tag)
    fn vlan(&self, frame: &FrameIn) -> Option<u16> {
        let id = frame.tci & 0xfff;
        match self.ports.get(&frame.port)? {
            PortVlan::Access(vlan) => (id == 0).then_some(*vlan),
            PortVlan::Trunk { allowed, native } if id == 0 => native.or(allowed.is_none().then_some(0)),
            PortVlan::Trunk { allowed, native } => {
                let takes = allowed.as_ref().is_none_or(|set| set.contains(id)) || *native == Some(id);
                (takes && id != 4095).then_some(id)
            }
        }
    }

    fn leaves(&self, port: u32, vlan: u16, tci: u16) -> Option<u16> {
        let priority = if tci & 0xfff == 0 { tci & 0xe000 } else { 0 };
        // A frame that is tagged for the VLAN keeps its tag, priority and all.
        let tagged = if tci & 0xfff == vlan && vlan != 0 { tci } else { 0x1000 | priority | vlan };
        match self.ports.get(&port)? {
            PortVlan::Access(own) => (*own == vlan).then_some(0),
            PortVlan::Trunk { native: Some(native), .. } if *native == vlan => Some(0),
            PortVlan::Trunk { allowed: None, native: None } if vlan == 0 => Some(tci),
            PortVlan::Trunk { .. } if vlan == 0 => None,
            PortVlan::Trunk { allowed, .. } => {
                allowed.as_ref().is_none_or(|set| set.contains(vlan)).then_some(tagged)
            }
        }
    }

    /// False: the source is held at another port.
    fn learn(&mut self, station: (u16, MacAddr), port: u32, now: u64) -> bool {
        let Some(entry) = self.table.get_mut(&station) else {
            self.table.insert(station, NaiveEntry { port, seen: now, window: (now, 0, port), hold: None });
            return true;
        };
        if entry.port != port {
            if entry.hold.is_some() {
                return false;
            }
            if now - entry.window.0 >= SECOND {
                entry.window = (now, 0, entry.port);
            }
            entry.window.1 += 1;
            entry.port = port;
            if entry.window.1 > 5 {
                entry.hold = Some(now + 5 * SECOND);
                entry.port = entry.window.2;
            }
        }
        entry.seen = now;
        entry.port == port
    }

    fn frame(&mut self, frame: &FrameIn, now: u64) -> Delivered {
        let reserved = frame.dst.0[..5] == [1, 0x80, 0xc2, 0, 0] && frame.dst.0[5] <= 0xf;
        let Some(vlan) = self.vlan(frame) else { return Delivered::new() };
        if reserved || frame.src.is_multicast() || frame.src.is_zero() {
            return Delivered::new();
        }
        if !self.learn((vlan, frame.src), frame.port, now) {
            return Delivered::new();
        }
        let known = self.table.get(&(vlan, frame.dst)).filter(|_| !frame.dst.is_multicast());
        let to = |port: u32| (port != frame.port).then(|| self.leaves(port, vlan, frame.tci)).flatten();
        match known {
            Some(entry) => to(entry.port).map(|form| (entry.port, form)).into_iter().collect(),
            None => self.ports.keys().filter_map(|port| Some((*port, to(*port)?))).collect(),
        }
    }

    fn tick(&mut self, now: u64) {
        self.table.retain(|_, entry| now - entry.seen < AGING);
        for entry in self.table.values_mut() {
            entry.hold = entry.hold.filter(|until| *until > now);
        }
    }

    fn known(&self) -> BTreeMap<(u16, MacAddr), u32> {
        self.table.iter().map(|(station, entry)| (*station, entry.port)).collect()
    }
}

// ---- sequences ----

#[derive(Clone, Debug)]
enum Step {
    Frame(FrameIn),
    Wait(u64),
    PortAdd(u32, PortVlan),
    PortDel(u32),
    PortVlan(u32, PortVlan),
}

fn mac() -> impl Strategy<Value = MacAddr> {
    prop_oneof![
        12 => (1u8..6).prop_map(|n| MacAddr([2, 0, 0, 0, 0, n])),
        2 => Just(MacAddr::BROADCAST),
        1 => (0u8..0x12).prop_map(|n| MacAddr([1, 0x80, 0xc2, 0, 0, n])),
        1 => Just(MacAddr([0; 6])),
    ]
}

fn tci() -> impl Strategy<Value = u16> {
    let tag = |(priority, id): (u16, u16)| priority << 13 | 0x1000 | id;
    let id = prop_oneof![Just(0u16), Just(10), Just(20), Just(30), Just(4095)];
    prop_oneof![3 => Just(0u16), 2 => (0u16..3, id).prop_map(tag)]
}

fn port_vlan() -> impl Strategy<Value = PortVlan> {
    let id = || prop_oneof![Just(10u16), Just(20), Just(30)];
    let set = proptest::option::of(proptest::collection::vec(id(), 1..3).prop_map(VlanSet::new));
    prop_oneof![
        2 => Just(PortVlan::default()),
        2 => id().prop_map(PortVlan::Access),
        2 => (set, proptest::option::of(id())).prop_map(|(allowed, native)| PortVlan::Trunk { allowed, native }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let frame =
        (1u32..6, mac(), mac(), tci()).prop_map(|(port, src, dst, tci)| FrameIn { port, src, dst, tci });
    prop_oneof![
        40 => frame.prop_map(Step::Frame),
        6 => (1u64..700).prop_map(|ms| Step::Wait(ms * 1_000_000)),
        1 => (1u64..25).prop_map(|s| Step::Wait(s * SECOND)),
        1 => (1u32..6, port_vlan()).prop_map(|(port, vlan)| Step::PortAdd(port, vlan)),
        1 => (1u32..6).prop_map(Step::PortDel),
        1 => (1u32..6, port_vlan()).prop_map(|(port, vlan)| Step::PortVlan(port, vlan)),
    ]
}

fn settings_of(vlan: &PortVlan) -> PortSettings {
    PortSettings { vlan: vlan.clone(), ..PortSettings::default() }
}

/// Nothing is known at the port any more, nor held there later.
fn flush(naive: &mut Naive, port: u32) {
    naive.table.retain(|_, entry| entry.port != port);
    for entry in naive.table.values_mut().filter(|entry| entry.window.2 == port) {
        entry.window.2 = entry.port;
    }
}

fn play(ports: &[PortVlan], steps: &[Step], flow_limit: usize) -> Cached {
    let settings = Settings { aging_ns: AGING, flow_limit, ..Settings::default() };
    let mut cached = Cached::new(settings);
    let mut naive = Naive { ports: BTreeMap::new(), table: BTreeMap::new() };
    for (port, vlan) in (1..).zip(ports) {
        cached.change(|bridge, changes| bridge.port_add(port, settings_of(vlan), changes).unwrap());
        naive.ports.insert(port, vlan.clone());
    }
    let mut now = SECOND;
    for step in steps {
        match step {
            Step::Frame(frame) => {
                now += 1;
                assert_eq!(cached.frame(frame, now), naive.frame(frame, now), "{frame:?} at {now}");
            }
            Step::Wait(ns) => {
                let end = now + ns;
                for second in now / SECOND + 1..=end / SECOND {
                    cached.tick(second * SECOND);
                    naive.tick(second * SECOND);
                }
                now = end;
            }
            Step::PortAdd(port, vlan) => cached.change(|bridge, changes| {
                let added = bridge.port_add(*port, settings_of(vlan), changes).is_ok();
                assert_eq!(added, !naive.ports.contains_key(port));
                naive.ports.entry(*port).or_insert_with(|| vlan.clone());
            }),
            Step::PortDel(port) => cached.change(|bridge, changes| {
                let gone = bridge.port_del(*port, changes).is_ok();
                assert_eq!(gone, naive.ports.remove(port).is_some());
                flush(&mut naive, *port);
            }),
            Step::PortVlan(port, vlan) => cached.change(|bridge, changes| {
                let there = bridge.port_set_vlan(*port, vlan.clone(), changes).is_ok();
                assert_eq!(there, naive.ports.contains_key(port));
                if there && naive.ports.insert(*port, vlan.clone()).as_ref() != Some(vlan) {
                    flush(&mut naive, *port);
                }
            }),
        }
        let known: BTreeMap<_, _> =
            cached.bridge.fdb(now).map(|entry| ((entry.vlan, entry.mac), entry.port_no)).collect();
        assert_eq!(known, naive.known(), "after {step:?} at {now}");
    }
    cached
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_cached_switch_does_what_a_naive_one_does(
        ports in proptest::collection::vec(port_vlan(), 3..6),
        steps in proptest::collection::vec(step(), 1..150),
    ) {
        play(&ports, &steps, 1000);
    }

    #[test]
    fn nor_does_a_tiny_flow_table_change_it(
        steps in proptest::collection::vec(step(), 1..150),
        flow_limit in 0usize..4,
    ) {
        play(&[PortVlan::default(), PortVlan::default(), PortVlan::Access(10), PortVlan::default()], &steps, flow_limit);
    }
}

#[test]
fn the_sequences_reach_the_flow_table() {
    let frame = |port, src, dst| {
        let mac = |n| MacAddr([2, 0, 0, 0, 0, n]);
        Step::Frame(FrameIn { port, src: mac(src), dst: mac(dst), tci: 0 })
    };
    let talk = [frame(1, 1, 2), frame(2, 2, 1), frame(1, 1, 2), frame(1, 1, 2), frame(2, 2, 1)];
    let cached = play(&vec![PortVlan::default(); 3], &talk, 100);
    assert_eq!(cached.misses, 2, "the flood flow became a unicast flow without another miss");
}
