// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Single behaviours of the switch: limits, holding, floods, flows added by hand.

use portway_bridge::{Bridge, FlowChange, FlowId, FlowStats, PortSettings, PortVlan, Reason, Settings};
use portway_flow::{Action, FlowKey, FlowMask, MacAddr};

const SECOND: u64 = 1_000_000_000;

fn mac(n: u32) -> MacAddr {
    let [a, b, c, d] = n.to_be_bytes();
    MacAddr([2, 0, a, b, c, d])
}

fn key(in_port: u32, src: MacAddr, dst: MacAddr) -> FlowKey {
    FlowKey { in_port, eth_src: src, eth_dst: dst, ..FlowKey::default() }
}

fn bridge(settings: Settings, ports: u32) -> Bridge {
    let mut bridge = Bridge::new(settings);
    for port in 1..=ports {
        bridge.port_add(port, PortSettings::default(), &mut Vec::new()).unwrap();
    }
    bridge
}

fn reason(bridge: &mut Bridge, key: &FlowKey, now: u64) -> Reason {
    bridge.handle_upcall(key, now, &mut Vec::new()).reason
}

#[test]
fn a_port_that_invents_addresses_pushes_out_its_own() {
    let mut bridge = bridge(Settings { mac_limit: 100, ..Settings::default() }, 3);
    reason(&mut bridge, &key(1, mac(1), mac(9)), 1);
    reason(&mut bridge, &key(2, mac(2), mac(9)), 1);
    for n in 1000..3000 {
        reason(&mut bridge, &key(3, mac(n), MacAddr::BROADCAST), u64::from(n));
        assert!(bridge.fdb_len() <= 100);
    }
    assert_eq!(reason(&mut bridge, &key(2, mac(2), mac(1)), 4000), Reason::Unicast);
    assert_eq!(bridge.counters().evicted, 1902);
    assert_eq!(bridge.counters().learned, 2002);
}

#[test]
fn lowering_the_limits_takes_effect_at_once() {
    let mut bridge = bridge(Settings::default(), 2);
    for n in 0..50 {
        reason(&mut bridge, &key(1, mac(n), mac(100)), 1);
    }
    assert_eq!((bridge.fdb_len(), bridge.flow_len()), (50, 50));
    let mut changes = Vec::new();
    bridge.reconfigure(Settings { mac_limit: 20, flow_limit: 5, ..Settings::default() }, &mut changes);
    assert_eq!((bridge.fdb_len(), bridge.flow_len()), (20, 5));
    assert_eq!(changes.iter().filter(|change| matches!(change, FlowChange::Delete { .. })).count(), 45);
    assert_eq!(reason(&mut bridge, &key(1, mac(49), mac(200)), 2), Reason::Flood);
    assert_eq!(bridge.counters().flow_limit_hits, 1);
}

#[test]
fn a_loop_is_not_amplified_without_bound() {
    // Ports 2 and 3 are wired to each other: whatever leaves one comes in at the other.
    let mut bridge = bridge(Settings { flood_limit_pps: 100, ..Settings::default() }, 3);
    let mut flying = std::collections::VecDeque::from([1]);
    let mut copies = 0;
    for round in 0u64.. {
        let Some(port) = flying.pop_front() else { break };
        let verdict =
            bridge.handle_upcall(&key(port, mac(1), MacAddr::BROADCAST), 1000 + round, &mut Vec::new());
        for action in verdict.actions {
            copies += 1;
            if action == Action::Output(2) {
                flying.push_back(3);
            } else if action == Action::Output(3) {
                flying.push_back(2);
            }
        }
        assert!(round < 1000, "the loop goes on");
    }
    // One of the two directions is ended by the address that moves, the other by the flood limit.
    assert!(copies < 250, "{copies}");
    assert!(bridge.counters().storms + bridge.counters().held > 0);
}

#[test]
fn an_address_that_flaps_is_held_where_it_was() {
    let mut bridge = bridge(Settings::default(), 3);
    reason(&mut bridge, &key(1, mac(1), MacAddr::BROADCAST), 1000);
    for n in 0..8 {
        reason(&mut bridge, &key(2 + n % 2, mac(1), MacAddr::BROADCAST), 1001);
    }
    assert_eq!((bridge.counters().moved, bridge.counters().held, bridge.counters().drop_held), (5, 1, 3));
    assert!(bridge.fdb(2000).all(|entry| entry.port_no == 1 && entry.held));
    assert_eq!(reason(&mut bridge, &key(1, mac(1), MacAddr::BROADCAST), 3000), Reason::Flood);
    assert_eq!(reason(&mut bridge, &key(3, mac(1), MacAddr::BROADCAST), 3000), Reason::Held);
    bridge.handle_tick(7 * SECOND, |_| Some(FlowStats::default()), &mut Vec::new());
    assert_eq!(reason(&mut bridge, &key(3, mac(1), MacAddr::BROADCAST), 7 * SECOND), Reason::Flood);
}

#[test]
fn an_active_flow_keeps_its_source_from_aging() {
    let mut bridge = bridge(Settings { aging_ns: 5 * SECOND, ..Settings::default() }, 2);
    reason(&mut bridge, &key(1, mac(1), mac(2)), SECOND);
    reason(&mut bridge, &key(2, mac(2), mac(1)), SECOND);
    for second in 2..20 {
        let now = second * SECOND;
        let stats = |id: FlowId| {
            Some(FlowStats { packets: second, used_ns: if id == FlowId(1) { now } else { SECOND } })
        };
        bridge.handle_tick(now, stats, &mut Vec::new());
    }
    let known: Vec<_> = bridge.fdb(20 * SECOND).map(|entry| entry.mac).collect();
    assert_eq!(known, [mac(1)]);
    assert_eq!((bridge.counters().aged, bridge.flow_len()), (1, 1));
}

#[test]
fn the_flood_limit_stops_floods_and_lets_unicast_pass() {
    let mut bridge = bridge(Settings { flood_limit_pps: 10, ..Settings::default() }, 3);
    reason(&mut bridge, &key(2, mac(2), mac(3)), SECOND);
    let floods =
        (0..20).filter(|n| reason(&mut bridge, &key(1, mac(1), mac(100 + n)), SECOND) == Reason::Flood);
    assert_eq!(floods.count(), 10);
    assert_eq!(reason(&mut bridge, &key(1, mac(1), mac(2)), SECOND), Reason::Unicast);
    assert_eq!((bridge.counters().storms, bridge.counters().drop_storm), (1, 10));
    let mut changes = Vec::new();
    bridge.handle_tick(2 * SECOND, |_| Some(FlowStats::default()), &mut changes);
    assert!(
        changes.iter().any(|change| matches!(change, FlowChange::Put { actions, .. } if actions.len() == 2))
    );
    // Floods that hit their flows count too.
    let busy = |id| Some(FlowStats { packets: if id == FlowId(1) { 1 } else { 1000 }, used_ns: 3 * SECOND });
    bridge.handle_tick(3 * SECOND, busy, &mut Vec::new());
    assert_eq!(bridge.counters().storms, 2);
    assert_eq!(reason(&mut bridge, &key(1, mac(1), mac(300)), 3 * SECOND), Reason::Storm);
    assert_eq!(
        reason(&mut bridge, &key(3, mac(3), mac(300)), 3 * SECOND),
        Reason::Flood,
        "the limit is each port's"
    );
    let replay = PortSettings { may_loop: false, ..PortSettings::default() };
    bridge.port_add(9, replay, &mut Vec::new()).unwrap();
    for n in 0..50 {
        assert_eq!(reason(&mut bridge, &key(9, mac(9), mac(400 + n)), 3 * SECOND), Reason::Flood);
    }
}

#[test]
fn nothing_is_flooded_to_a_port_whose_link_is_down() {
    let mut bridge = bridge(Settings::default(), 3);
    let mut changes = Vec::new();
    bridge.handle_upcall(&key(1, mac(1), mac(2)), 1, &mut changes);
    bridge.port_set_link(3, false, &mut changes).unwrap();
    let Some(FlowChange::Put { actions, .. }) = changes.last() else { panic!("{changes:?}") };
    assert_eq!(*actions, [Action::Output(2)]);
    assert!(bridge.port_set_link(9, true, &mut changes).is_err());
}

#[test]
fn flows_added_by_hand_are_never_covered() {
    let mut bridge = bridge(Settings::default(), 3);
    let mut changes = Vec::new();
    bridge.handle_upcall(&key(1, mac(1), mac(2)), 1, &mut changes);
    let hand_mask = FlowMask::new(FlowKey { in_port: u32::MAX, ip_proto: 0xff, ..FlowKey::default() });
    let hand_key = FlowKey { in_port: 1, ip_proto: 6, ..FlowKey::default() };
    changes.clear();
    bridge.hand_flow_added(&hand_key, &hand_mask, &mut changes);
    assert_eq!(changes, [FlowChange::Delete { id: FlowId(1) }]);
    changes.clear();
    let udp = FlowKey { ip_proto: 17, ..key(1, mac(1), mac(2)) };
    bridge.handle_upcall(&udp, 2, &mut changes);
    let [FlowChange::Put { key: flow_key, mask, .. }] = &changes[..] else { panic!("{changes:?}") };
    assert!(!mask.overlaps(flow_key, &hand_mask, &hand_key));
    assert!(mask.matches(&udp, flow_key));
    bridge.hand_flow_gone(&hand_key, &hand_mask);
    changes.clear();
    bridge.handle_upcall(&key(1, mac(1), mac(3)), 3, &mut changes);
    let [FlowChange::Put { mask, .. }] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(mask.bits().ip_proto, 0);
}

#[test]
fn a_flow_the_datapath_refused_is_offered_again() {
    let mut bridge = bridge(Settings::default(), 2);
    let mut changes = Vec::new();
    bridge.handle_upcall(&key(1, mac(1), mac(2)), 1, &mut changes);
    bridge.handle_upcall(&key(1, mac(1), mac(2)), 2, &mut changes);
    assert_eq!(changes.len(), 1, "the second miss of a flow changes nothing");
    bridge.flow_gone(FlowId(1));
    bridge.handle_upcall(&key(1, mac(1), mac(2)), 3, &mut changes);
    assert_eq!(changes.len(), 2);
    bridge.handle_tick(SECOND, |_| None, &mut changes);
    assert_eq!(bridge.flow_len(), 0);
}

#[test]
fn ports_are_there_once() {
    let mut bridge = bridge(Settings::default(), 2);
    let mut changes = Vec::new();
    assert!(bridge.port_add(2, PortSettings::default(), &mut changes).is_err());
    assert!(bridge.port_del(3, &mut changes).is_err());
    assert!(bridge.port_set_vlan(3, PortVlan::Access(1), &mut changes).is_err());
    assert_eq!(reason(&mut bridge, &key(3, mac(1), mac(2)), 1), Reason::NoSuchPort);
    assert_eq!(bridge.flow_len(), 0);
    let layer3 = FlowKey { mac_proto: 1, ..key(1, MacAddr::default(), MacAddr::default()) };
    assert_eq!(reason(&mut bridge, &layer3, 1), Reason::NotEthernet);
}
