// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The recordings of areas `actions` and `matrix`, at the level of the crates: every action list is compiled as the kernel took or
//! refused it, every frame is run through the flows, and what comes out is compared byte for byte.

mod decode;
mod switch;
mod wire_form;

use std::fmt::Write;

use decode::{Refused, actions, key_and_mask};
use portway_buf::{Gso, Offload, Packet};
use portway_conformance::attrs::{self, nest_bytes};
use portway_conformance::{Recording, Step, bytes_of_hex, hex_of_bytes};
use portway_flow::FlowMask;
use serde_json::Value;
use switch::{Port, Seen, Switch, Upcall, compile};
use wire_form::number;

/// Recordings that need the whole switch: internal devices, links that go down, ports that are wired to each other, fragments made
/// where a packet leaves, the order of nested recirculation. And one with an upcall so long that the recorder has kept its bytes alone.
/// The daemon is held to them (`cargo xtask conformance`).
const NEEDS_SWITCH: &[&str] = &[
    "act-limits",
    "act-mark-internal",
    "act-mru",
    "act-mtu",
    "act-output-internal",
    "act-recirc-any",
    "act-recirc-order-five",
    "extra-loop",
];

#[derive(Default)]
struct Tally {
    matched: usize,
    refused_by_form: usize,
    unsupported: usize,
    differences: Vec<String>,
}

impl Tally {
    fn compare<T: PartialEq + std::fmt::Debug>(&mut self, place: &str, what: &str, ours: &T, kernel: &T) {
        if ours == kernel {
            self.matched += 1;
        } else {
            self.differences.push(format!("{place}: {what}\n    ours   {ours:?}\n    kernel {kernel:?}"));
        }
    }
}

fn attribute<'a>(step: &'a Value, name: &str) -> &'a Value {
    static NONE: Value = Value::Null;
    let list = step["attrs"].as_array();
    list.and_then(|list| list.iter().find(|pair| pair[0] == name)).map_or(&NONE, |pair| &pair[1])
}

/// The kernel's errno by name; "0" for success.
fn errno(got: &Value) -> String {
    let errno = &got["errno"];
    errno.as_str().map_or_else(|| errno.to_string(), str::to_owned)
}

/// What the recording saw, in the form of [`Seen`].
fn recorded(got: &Value) -> Seen {
    let mut seen = Seen::default();
    for (tap, frames) in got["out"].as_object().into_iter().flatten() {
        let frames = frames.as_array().expect("a list of frames").iter();
        let frames =
            frames.map(|frame| frame["frame"].as_str().or(frame.as_str()).expect("a frame").to_owned());
        seen.out.insert(tap.clone(), frames.collect());
    }
    for (socket, upcalls) in got["upcalls"].as_object().into_iter().flatten() {
        let upcalls = upcalls.as_array().expect("a list of upcalls").iter().map(|upcall| {
            let text = |name| attribute(upcall, name).as_str().map(str::to_owned);
            let mut key = attribute(upcall, "KEY").clone();
            for pair in key.as_array_mut().into_iter().flatten().filter(|pair| pair[0] == "DP_HASH") {
                pair[1] = Value::from(0); // a hash, which differs from run to run
            }
            Upcall {
                cmd: if upcall["cmd"] == "MISS" { "MISS" } else { "ACTION" },
                packet: text("PACKET").expect("an upcall has a packet"),
                userdata: text("USERDATA"),
                len: number(attribute(upcall, "LEN")),
                key: hex_of_bytes(&nest_bytes(&key, attrs::KEY).expect("a key")),
            }
        });
        seen.upcalls.insert(socket.clone(), upcalls.collect());
    }
    seen
}

/// A new flow, or new actions for one.
fn flow(switch: &mut Switch, step: &Step, place: &str, tally: &mut Tally) {
    let expected = errno(&step.got);
    let list = actions(attribute(&step.what, "ACTIONS"), &mut |name| switch.pid(name));
    let keys = key_and_mask(attribute(&step.what, "KEY"), attribute(&step.what, "MASK"));
    let (list, (key, mask)) = match (list, keys) {
        (Ok(list), Ok(keys)) => (list, keys),
        (Err(Refused::Unsupported), _) | (_, Err(Refused::Unsupported)) => {
            tally.unsupported += 1;
            return;
        }
        (Err(Refused::Form), _) | (_, Err(Refused::Form)) => {
            if expected == "0" {
                tally.differences.push(format!("{place}: refused for its form, the kernel takes it"));
            } else {
                tally.refused_by_form += 1;
            }
            return;
        }
    };
    match compile(&list, &key, &mask) {
        Ok(program) => {
            tally.compare(place, "errno", &"0".to_owned(), &expected);
            if expected == "0" {
                switch.add_flow(&key, mask, program);
            }
        }
        Err(error) => {
            let ours = error.errno().name().unwrap_or("?").to_owned();
            tally.compare(place, &format!("errno ({error})"), &ours, &expected);
        }
    }
}

fn packet(step: &Value) -> Option<Packet> {
    let mut packet = Packet::copied_from(&bytes_of_hex(step["frame"].as_str()?)?)?;
    if let Some(mark) = number(&step["mark"]) {
        packet.set_mark(mark as u32);
    }
    if let Some(priority) = number(&step["priority"]) {
        packet.set_priority(priority as u32);
    }
    let vnet = |name: &str| number(&step["vnet"][name]).unwrap_or(0);
    let gso = (vnet("gso_type") != 0)
        .then(|| Gso { gso_type: vnet("gso_type") as u8, size: vnet("gso_size") as u16 });
    let partial_csum =
        (vnet("flags") & 1 != 0).then(|| (vnet("csum_start") as u16, vnet("csum_offset") as u16));
    packet.set_offload(Offload { partial_csum, gso });
    Some(packet)
}

fn has_cut_tag(frame: &[u8]) -> bool {
    frame.len() < 20 && matches!(frame.get(12..14), Some([0x81, 0] | [0x88, 0xa8]))
}

fn inject(switch: &mut Switch, step: &Step, place: &str, tally: &mut Tally) {
    let Some(mut packet) = packet(&step.what).filter(|_| step.got["send_error"].is_null()) else { return };
    let tap = step.what["dev"].as_str().unwrap_or("");
    let Some(port) = switch.ports.iter().find(|(_, port)| port.tap == tap).map(|(number, _)| *number) else {
        return;
    };
    packet.set_in_port(port);
    // The kernel drops a frame whose VLAN tag is cut before any port sees it.
    let ours = if has_cut_tag(packet.frame()) { Seen::default() } else { switch.receive(packet) };
    let kernel = recorded(&step.got);
    tally.compare(place, "frame", &ours, &kernel);
}

fn execute(switch: &mut Switch, step: &Step, place: &str, tally: &mut Tally) {
    let expected = errno(&step.got);
    let list = actions(attribute(&step.what, "ACTIONS"), &mut |name| switch.pid(name));
    let list = match list {
        Ok(list) => list,
        Err(Refused::Unsupported) => {
            tally.unsupported += 1;
            return;
        }
        Err(Refused::Form) if expected == "0" => {
            tally.differences.push(format!("{place}: refused for its form, the kernel takes it"));
            return;
        }
        Err(Refused::Form) => {
            tally.refused_by_form += 1;
            return;
        }
    };
    let frame = attribute(&step.what, "PACKET").as_str().and_then(bytes_of_hex).expect("a packet");
    let mut packet = Packet::copied_from(&frame).expect("a frame of ordinary length");
    let metadata = attribute(&step.what, "KEY").as_array().into_iter().flatten();
    let in_port = metadata.filter(|pair| pair[0] == "IN_PORT").find_map(|pair| number(&pair[1]));
    packet.set_in_port(in_port.unwrap_or(0xffff) as u32);
    let Ok(key) = portway_flow::extract(&mut packet) else {
        tally.compare(place, "errno", &"EINVAL".to_owned(), &expected);
        return;
    };
    match compile(&list, &key, &FlowMask::exact()) {
        Ok(program) => {
            let (ours, done) = switch.execute(&program, packet);
            let kernel = recorded(&step.got);
            let errno = done.err().and_then(|errno| errno.name()).unwrap_or("0").to_owned();
            tally.compare(place, "errno", &errno, &expected);
            tally.compare(place, "frame", &ours, &kernel);
        }
        Err(error) => {
            let ours = error.errno().name().unwrap_or("?").to_owned();
            tally.compare(place, &format!("errno ({error})"), &ours, &expected);
        }
    }
}

/// Carries out one recording.
fn replay(recording: &Recording, tally: &mut Tally) {
    let mut switch = Switch::default();
    let mut peers = std::collections::HashMap::new();
    for (index, step) in recording.steps.iter().enumerate() {
        let place = format!("{} step {index}", recording.name);
        let what = |name: &str| step.what[name].as_str().unwrap_or("");
        match (what("op"), what("family"), what("cmd")) {
            ("link", _, _) if what("do") == "veth" => {
                peers.insert(what("name").to_owned(), what("peer").to_owned());
            }
            ("nl", "ovs_vport", "NEW") if errno(&step.got) == "0" => {
                let reply = &step.got["replies"][0];
                let name = attribute(&step.what, "NAME").as_str().unwrap_or("");
                let socket = attribute(&step.what, "UPCALL_PID").as_str().unwrap_or("");
                let socket = socket.trim_start_matches("$pid:").to_owned();
                let number = number(attribute(reply, "PORT_NO")).expect("a port has a number") as u32;
                let tap = peers.get(name).cloned().unwrap_or_default();
                switch.ports.insert(number, Port { tap, socket });
            }
            ("nl", "ovs_flow", "NEW" | "SET") => flow(&mut switch, step, &place, tally),
            ("nl", "ovs_flow", "DEL") => {
                let key = attribute(&step.what, "KEY");
                if key.is_null() {
                    switch.flush();
                } else if let Ok((key, _)) = key_and_mask(key, &Value::Null) {
                    switch.delete_flow(&key);
                }
            }
            ("nl", "ovs_packet", "EXECUTE") => execute(&mut switch, step, &place, tally),
            ("inject", _, _) => inject(&mut switch, step, &place, tally),
            _ => {}
        }
    }
}

#[test]
fn recordings_match() {
    let mut tally = Tally::default();
    let recordings = Recording::all(&[
        "act-",
        "matrix-",
        "extra-set-validate",
        "extra-actions-size",
        "extra-loop",
        "keys-gso",
        "random-",
    ]);
    assert!(!recordings.is_empty(), "the recordings are there");
    let mut report = String::new();
    for recording in recordings.iter().filter(|recording| !NEEDS_SWITCH.contains(&recording.name.as_str())) {
        let before = tally.differences.len();
        replay(recording, &mut tally);
        let new = tally.differences.len() - before;
        if new != 0 {
            let _ = writeln!(report, "{}: {new} differences", recording.name);
        }
    }
    for difference in &tally.differences {
        let _ = writeln!(report, "{}", difference.chars().take(1500).collect::<String>());
    }
    eprintln!(
        "{} comparisons match, {} differ; {} lists refused for their form, {} with actions not there yet",
        tally.matched,
        tally.differences.len(),
        tally.refused_by_form,
        tally.unsupported
    );
    assert!(tally.differences.is_empty(), "{report}");
}
