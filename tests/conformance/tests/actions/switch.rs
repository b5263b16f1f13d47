// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A datapath of the least kind: ports that are names, flows in a list, and the real crates for keys and actions.

use std::collections::BTreeMap;

use portway_actions::{Effect, Environment, Limits, Program, Verdict, execute, leaves_as_fragments, segment};
use portway_buf::{DropCounts, DropReason, Packet, Pool};
use portway_conformance::hex_of_bytes;
use portway_flow::{FlowKey, FlowMask, Frag};
use portway_messages::key::encode_key;
use portway_uapi::errno::Errno;

/// What came out, as the recordings have it: frames per tap, and upcalls per socket.
#[derive(Default, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) out: BTreeMap<String, Vec<String>>,
    pub(crate) upcalls: BTreeMap<String, Vec<Upcall>>,
}

/// The parts of an upcall that actions decide.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Upcall {
    pub(crate) cmd: &'static str,
    pub(crate) packet: String,
    pub(crate) userdata: Option<String>,
    pub(crate) len: Option<u64>,
    /// The key's attributes, without the value of a hash.
    pub(crate) key: String,
}

struct Flow {
    key: FlowKey,
    mask: FlowMask,
    program: Program,
}

/// A port: the tap behind it, and the socket that gets its misses.
#[derive(Clone, Default)]
pub(crate) struct Port {
    pub(crate) tap: String,
    pub(crate) socket: String,
}

#[derive(Default)]
pub(crate) struct Switch {
    pub(crate) ports: BTreeMap<u32, Port>,
    pub(crate) sockets: Vec<String>,
    flows: Vec<Flow>,
    pool: Pool,
    pub(crate) drops: DropCounts,
}

/// A program at work.
struct Running<'s> {
    pool: &'s mut Pool,
    drops: &'s mut DropCounts,
    effects: Vec<Effect>,
}

impl Environment for Running<'_> {
    fn pool(&mut self) -> &mut Pool {
        self.pool
    }

    fn carry_out(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    fn count_drop(&mut self, reason: DropReason) {
        self.drops.add(reason, 1);
    }

    // The recordings sample always or never, and their meters do not exist.
    fn random(&mut self) -> u32 {
        0x8000_0000
    }

    fn fragment_id(&mut self) -> u32 {
        1
    }

    fn meter(&mut self, _id: u32, _packet_len: usize) -> Verdict {
        Verdict::Pass
    }

    fn recirculation_limit(&self) -> u16 {
        RECIRCULATIONS_MAX
    }
}

/// Enough for every recording that is not a loop.
const RECIRCULATIONS_MAX: u16 = 16;

impl Switch {
    /// The number of an upcall socket.
    pub(crate) fn pid(&mut self, name: &str) -> u32 {
        let at = self.sockets.iter().position(|known| known == name).unwrap_or_else(|| {
            self.sockets.push(name.to_owned());
            self.sockets.len() - 1
        });
        at as u32 + 1
    }

    pub(crate) fn add_flow(&mut self, key: &FlowKey, mask: FlowMask, program: Program) {
        let key = mask.apply(key);
        self.delete_flow(&key);
        self.flows.push(Flow { key, mask, program });
    }

    /// Deletes the flow that has `key` under its own mask; all of them if there is none.
    pub(crate) fn delete_flow(&mut self, key: &FlowKey) {
        self.flows.retain(|flow| flow.mask.apply(key) != flow.key);
    }

    pub(crate) fn flush(&mut self) {
        self.flows.clear();
    }

    /// A packet comes from a port.
    pub(crate) fn receive(&mut self, packet: Packet) -> Seen {
        let mut seen = Seen::default();
        self.look_up(packet, &mut seen);
        seen
    }

    /// OVS_PACKET_CMD_EXECUTE.
    pub(crate) fn execute(&mut self, program: &Program, packet: Packet) -> (Seen, Result<(), Errno>) {
        let mut seen = Seen::default();
        let done = self.run(program, packet, &mut seen);
        (seen, done)
    }

    fn look_up(&mut self, mut packet: Packet, seen: &mut Seen) {
        let Ok(key) = portway_flow::extract(&mut packet) else { return };
        match self.flows.iter().find(|flow| flow.mask.matches(&key, &flow.key)) {
            Some(flow) => {
                let program = flow.program.clone();
                let _ = self.run(&program, packet, seen);
            }
            None => self.miss(packet, key, seen),
        }
    }

    fn run(&mut self, program: &Program, packet: Packet, seen: &mut Seen) -> Result<(), Errno> {
        let mut running = Running { pool: &mut self.pool, drops: &mut self.drops, effects: Vec::new() };
        let done = execute(program, packet, &mut running);
        for effect in running.effects {
            match effect {
                Effect::Output { port, packet } => self.output(port, &packet, seen),
                // In this place, as the kernel does: what it outputs comes before what is behind it in the list.
                Effect::Recirculate { packet } => self.look_up(packet, seen),
                Effect::Upcall { mut packet, key, userspace, cut_len } => {
                    let Some(key) = key.or_else(|| portway_flow::extract(&mut packet).ok().map(Box::new))
                    else {
                        continue;
                    };
                    let socket = self.sockets.get(userspace.pid as usize - 1).cloned();
                    let userdata = userspace.userdata.as_deref().map(hex_of_bytes);
                    if let Some(socket) = socket {
                        self.upcall("ACTION", socket, (packet, *key), userdata, cut_len as usize, seen);
                    }
                }
                Effect::Psample { .. } => {}
            }
        }
        done
    }

    fn output(&self, port: u32, packet: &Packet, seen: &mut Seen) {
        let Some(port) = self.ports.get(&port) else { return };
        if packet.kind() == portway_buf::PacketKind::Ethernet {
            seen.out.entry(port.tap.clone()).or_default().push(hex_of_bytes(packet.frame()));
        }
    }

    fn miss(&mut self, packet: Packet, key: FlowKey, seen: &mut Seen) {
        if let Some(port) = self.ports.get(&packet.in_port()) {
            let socket = port.socket.clone();
            self.upcall("MISS", socket, (packet, key), None, 0, seen);
        }
    }

    fn upcall(
        &mut self,
        cmd: &'static str,
        socket: String,
        (packet, mut key): (Packet, FlowKey),
        userdata: Option<String>,
        cut_len: usize,
        seen: &mut Seen,
    ) {
        key.dp_hash = 0;
        let fragments = leaves_as_fragments(&packet);
        let list = seen.upcalls.entry(socket).or_default();
        let _ = segment(packet, 1, &mut self.pool, &mut |packet| {
            let len = packet.len();
            list.push(Upcall {
                cmd,
                packet: hex_of_bytes(&packet.frame()[..len.saturating_sub(cut_len)]),
                userdata: userdata.clone(),
                len: (cut_len > 0).then_some(len as u64),
                key: hex_of_bytes(&encode_key(&key)),
            });
            if fragments {
                key.ip_frag = Frag::Later as u8;
            }
        });
    }
}

pub(crate) fn compile(
    actions: &[portway_flow::Action],
    key: &FlowKey,
    mask: &FlowMask,
) -> Result<Program, portway_actions::Error> {
    Program::compile(actions, key, mask, &Limits::default())
}
