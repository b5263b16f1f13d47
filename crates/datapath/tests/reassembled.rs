// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Packets that were put together from fragments, as clients execute them: they leave in fragments again, whichever way they take.

use portway_buf::{DropReason, Packet};
use portway_flow::{Action, FlowKey};
use portway_testkit::{Bench, Frame};

fn packet(len: usize, mru: u16) -> Packet {
    let mut frame = Frame::between(1, 2).bytes();
    frame.resize(len, 7);
    let total = (len as u16 - 14).to_be_bytes();
    frame[16..18].copy_from_slice(&total);
    let mut packet = Packet::copied_from(&frame).expect("it fits");
    packet.set_mru(mru);
    packet
}

#[test]
fn every_way_out_cuts() {
    let bench = Bench::new();
    let (p1, w1) = bench.port("p1");
    // Behind recirculation is a flow whose only action is an output.
    let key = FlowKey { recirc_id: 5, ..FlowKey::default() };
    let mask = FlowKey { recirc_id: u32::MAX, ..FlowKey::default() };
    bench.flow(key, mask, &[Action::Output(p1.port_no())]).expect("a new flow");
    let out = Action::Output(p1.port_no());
    for actions in [vec![out.clone()], vec![Action::Recirculate(5)], vec![out.clone(), out.clone()]] {
        bench
            .switch
            .execute(&bench.datapath, packet(1014, 600), &actions, bench.now_ns)
            .expect("it can be done");
        assert!(w1.received().is_empty(), "it leaves when it is told to");
        bench.switch.send_executed(bench.now_ns);
        let received: Vec<usize> = w1.received().iter().map(Vec::len).collect();
        let once = [14 + 596, 14 + 20 + 980 - 576];
        assert_eq!(received, once.repeat(if actions.len() == 2 { 2 } else { 1 }), "{actions:?}");
        assert!(bench.datapath.drops().is_empty());
    }
    // As long as the longest fragment was: whole. Fragments longer than the port takes: nothing.
    bench
        .switch
        .execute(&bench.datapath, packet(614, 600), std::slice::from_ref(&out), bench.now_ns)
        .expect("it can be done");
    bench.switch.send_executed(bench.now_ns);
    assert_eq!(w1.received().len(), 1);
    bench.switch.execute(&bench.datapath, packet(1600, 1501), &[out], bench.now_ns).expect("it can be done");
    bench.switch.send_executed(bench.now_ns);
    assert!(w1.received().is_empty());
    assert_eq!(bench.datapath.drops().get(DropReason::OverMtu), 1);
}
