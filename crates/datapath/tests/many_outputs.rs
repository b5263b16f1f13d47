// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A list of thousands of outputs takes no more memory than one of a few: copies leave before the next ones are made.

use portway_buf::{DropReason, depot_stats};
use portway_flow::Action;
use portway_testkit::{Bench, Frame};

/// As many as a list of actions holds.
const OUTPUTS: u64 = 4000;
/// No such port: what goes there is counted and its buffer comes back.
const NOWHERE: u32 = 999;

#[test]
fn copies_leave_one_batch_at_a_time() {
    let mut bench = Bench::new();
    let (p1, w1) = bench.port("p1");
    let (p2, w2) = bench.port("p2");
    let mut list = vec![Action::Output(NOWHERE); OUTPUTS as usize];
    list.push(Action::Output(p2.port_no()));
    bench.port_flow(p1.port_no(), &list);
    let frame = Frame::between(1, 2).bytes();
    w1.send(&frame);
    bench.run();
    assert_eq!(w2.received(), [frame]);
    assert_eq!(
        bench.datapath.drops().iter().find(|(reason, _)| *reason == DropReason::NoSuchPort),
        Some((DropReason::NoSuchPort, OUTPUTS))
    );
    let [(live, _), _] = depot_stats();
    assert!(live < 600, "{live} buffers existed for {OUTPUTS} outputs");
}
