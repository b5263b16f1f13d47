// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Meters in a whole datapath, in memory.

use std::num::NonZeroU32;

use portway_buf::{DropReason, Packet};
use portway_datapath::{BandConfig, MeterConfig, MeterStats, SwitchConfig};
use portway_flow::Action;
use portway_testkit::{Bench, Frame};

fn packets_per_second(id: u32, rate: u32, burst: u32) -> MeterConfig {
    let rate = NonZeroU32::new(rate).expect("a rate");
    let bands = vec![BandConfig { drops: true, rate, burst }];
    MeterConfig { id, kilobits: false, keeps_stats: true, initial: MeterStats::default(), bands }
}

#[test]
fn a_flow_with_a_meter_passes_what_the_meter_passes() {
    let mut bench = Bench::new();
    let (p1, w1) = bench.port("p1");
    let (p2, w2) = bench.port("p2");
    bench.port_flow(p1.port_no(), &[Action::Meter(9), Action::Output(p2.port_no())]);
    let frame = Frame::between(1, 2).bytes();
    let pass = |bench: &mut Bench, n: usize| {
        (0..n).for_each(|_| w1.send(&frame));
        bench.run();
        w2.received().len()
    };
    assert_eq!(pass(&mut bench, 10), 10, "an unknown meter passes");

    let config = packets_per_second(9, 1000, 5);
    assert!(bench.switch.meter_set(&bench.datapath, &config, bench.now_ns).expect("room").is_none());
    assert_eq!(pass(&mut bench, 10), 5);
    bench.now_ns += 3_000_000;
    assert_eq!(pass(&mut bench, 10), 3);
    let meter = bench.datapath.meter(9).expect("it is there");
    assert_eq!(meter.stats(), MeterStats { packets: 20, bytes: 20 * frame.len() as u64 });
    assert_eq!(meter.band_stats().map(|stats| stats.packets).collect::<Vec<_>>(), [12]);
    assert_eq!(meter.used_ms(), bench.now_ns / 1_000_000);
    assert_eq!(
        bench.datapath.drops().iter().find(|(reason, _)| *reason == DropReason::Meter).map(|(_, n)| n),
        Some(12)
    );

    // A request to execute charges the same meter.
    bench.now_ns += 1_000_000;
    for expected in [1, 0] {
        let packet = Packet::copied_from(&frame).expect("it fits");
        let actions = [Action::Meter(9), Action::Output(p2.port_no())];
        bench.switch.execute(&bench.datapath, packet, &actions, bench.now_ns).expect("it can be done");
        bench.switch.send_executed(bench.now_ns);
        assert_eq!(w2.received().len(), expected);
    }
    assert_eq!(meter.stats().packets, 22);

    // Replaced: a full bucket and new counts; the flow goes on with the new one.
    let old = bench.switch.meter_set(&bench.datapath, &packets_per_second(9, 1000, 2), bench.now_ns);
    assert_eq!(old.expect("room").map(|old| old.stats().packets), Some(22));
    assert_eq!(pass(&mut bench, 4), 2);
    assert_eq!(bench.datapath.meter(9).map(|meter| meter.stats().packets), Some(4));

    assert!(bench.switch.meter_del(&bench.datapath, 9).is_some());
    assert!(bench.switch.meter_del(&bench.datapath, 9).is_none());
    assert_eq!(pass(&mut bench, 10), 10, "a deleted one passes");
}

#[test]
fn workers_share_a_meter() {
    let mut bench = Bench::with(SwitchConfig { workers: 4, ..SwitchConfig::default() });
    let (out, wire_out) = bench.port("out");
    let ports: Vec<_> = (0..8).map(|i| bench.port(&format!("p{i}"))).collect();
    for (port, _) in &ports {
        bench.port_flow(port.port_no(), &[Action::Meter(1), Action::Output(out.port_no())]);
    }
    let config = packets_per_second(1, 10_000, 100);
    bench.switch.meter_set(&bench.datapath, &config, bench.now_ns).expect("room");
    let frame = Frame::between(1, 2).bytes();
    let mut passed = 0;
    for _ in 0..10 {
        for (_, wire) in &ports {
            (0..50).for_each(|_| wire.send(&frame));
        }
        let now_ns = bench.now_ns;
        std::thread::scope(|scope| {
            for worker in &mut bench.workers {
                scope.spawn(move || while worker.poll_all(now_ns) != 0 {});
            }
        });
        passed += wire_out.received().len();
        bench.now_ns += 7_000_000; // 70 packets
    }
    assert_eq!(passed, 100 + 9 * 70);
    let meter = bench.datapath.meter(1).expect("it is there");
    assert_eq!(meter.stats().packets, 10 * 8 * 50);
    assert_eq!(meter.band_stats().map(|stats| stats.packets).sum::<u64>() + passed as u64, 4000);
}
