// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Lists of actions as netlink carries them: read, compiled for a frame, and done to it and to one that is none of theirs.

use portway_actions::{Effect, Environment, Limits, Program, Verdict, execute, segment};
use portway_buf::{DropReason, Gso, Offload, Packet, Pool, virtio};
use portway_flow::{FlowKey, FlowMask, extract};
use portway_messages::actions::{decode_actions, encode_actions};
use portway_tunnel::inner;

use crate::input::Input;
use crate::shape;

/// Recirculations that a packet gets.
const RECIRCULATIONS: u16 = 4;

/// What happens is counted, and what goes out is looked at.
struct Counting {
    pool: Pool,
    random: u32,
    ended: usize,
}

impl Environment for Counting {
    fn pool(&mut self) -> &mut Pool {
        &mut self.pool
    }

    fn carry_out(&mut self, effect: Effect) {
        self.ended += 1;
        if let Effect::Output { packet, .. } = effect
            && packet.offload().gso.is_some()
        {
            let mut pieces = 0;
            let done = segment(packet, 7, &mut self.pool, &mut |_| pieces += 1);
            assert!(done.is_err() == (pieces == 0), "{pieces} segments and {done:?}");
        }
    }

    fn count_drop(&mut self, _reason: DropReason) {
        self.ended += 1;
    }

    fn random(&mut self) -> u32 {
        self.random = self.random.wrapping_mul(0x9e37_79b1).wrapping_add(1);
        self.random
    }

    fn fragment_id(&mut self) -> u32 {
        7
    }

    fn meter(&mut self, id: u32, _packet_len: usize) -> Verdict {
        if id % 3 == 2 { Verdict::Drop } else { Verdict::Pass }
    }

    fn recirculation_limit(&self) -> u16 {
        RECIRCULATIONS
    }
}

/// The frame as a packet, with work left for a device if the first bit of `how` says so and it is fit for that.
fn packet_of(frame: &[u8], how: u8) -> Option<Packet> {
    let mut packet = Packet::copied_from(frame)?;
    let partial_csum = inner::partial_checksum(frame).filter(|_| how & 1 != 0);
    if partial_csum.is_some() {
        let gso = inner::tcp_headers(frame).filter(|headers| frame.len() > headers + 8).and_then(|_| {
            let ipv6 = inner::layers(frame)?.ipv6;
            Some(Gso { gso_type: if ipv6 { virtio::gso::TCPV6 } else { virtio::gso::TCPV4 }, size: 8 })
        });
        packet.set_offload(Offload { partial_csum, gso });
    }
    Some(packet)
}

/// A list is refused, or a packet that it is done to ends as an effect or a drop at least once. What is written is read again.
/// Returns whether it was done.
pub fn fuzz_one(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let (how, cut) = (input.byte(), usize::from(input.byte()));
    let list = if how & 2 == 0 {
        shape::actions(&mut input)
    } else {
        let len = input.below(1024);
        input.bytes(len)
    };
    let Ok(actions) = decode_actions(&list) else { return false };
    if let Ok(written) = encode_actions(&actions) {
        let again = decode_actions(&written).map(|read| encode_actions(&read));
        assert_eq!(again, Ok(Ok(written)), "what is written is read and written the same");
    }
    let frame = input.rest();
    let Some(mut packet) = packet_of(frame, how) else { return false };
    let Ok(key) = extract(&mut packet) else { return false };
    let mask = if how & 4 == 0 { FlowMask::exact() } else { FlowMask::new(FlowKey::default()) };
    let Ok(program) = Program::compile(&actions, &key, &mask, &Limits::default()) else { return false };
    let mut run = Counting { pool: Pool::new(), random: u32::from(how), ended: 0 };
    // A failure is counted as a drop, too.
    let _ = execute(&program, packet, &mut run);
    assert!(run.ended >= 1, "the packet ends somehow");
    // Not what the list was made for.
    if let Some(other) = packet_of(&frame[..cut.min(frame.len())], how) {
        run.ended = 0;
        let _ = execute(&program, other, &mut run);
        assert!(run.ended >= 1, "so does a cut one");
    }
    true
}
