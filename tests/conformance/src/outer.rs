// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Outer headers of tunnels: what differs from packet to packet is masked, and judged instead.

use serde_json::{Map, Value};

use crate::hex_of_bytes;

/// UDP ports of tunnels.
const PORTS: [u16; 3] = [4789, 6081, 2222];

fn ones(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from);
        }
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]))
}

fn note(extra: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    extra.insert(key.into(), value.into());
}

/// The frame in hex with volatile bytes masked; `extra` says whether the masked checksums were right.
pub(crate) fn mask_outer(frame: &[u8], extra: &mut Map<String, Value>) -> String {
    let mut volatile = Vec::new();
    outer(frame, &mut volatile, extra);
    let mut hex = hex_of_bytes(frame).into_bytes();
    for (at, len) in volatile {
        for byte in at..(at + len).min(frame.len()) {
            hex[2 * byte..2 * byte + 2].copy_from_slice(b"..");
        }
    }
    String::from_utf8(hex).unwrap_or_default()
}

fn outer(frame: &[u8], volatile: &mut Vec<(usize, usize)>, extra: &mut Map<String, Value>) {
    let mut at = 12;
    while matches!(be16(frame, at), 0x8100 | 0x88a8) && frame.len() > at + 6 {
        at += 4;
    }
    let ethertype = be16(frame, at);
    at += 2;
    let (l4, protocol, pseudo, end, fragment) = if ethertype == 0x0800 && frame.len() >= at + 20 {
        let header = usize::from(frame[at] & 15) * 4;
        let total = usize::from(be16(frame, at + 2));
        let right = frame.get(at..at + header).is_some_and(|header| ones(&[header]) == 0xffff);
        note(extra, "ipcsum", if right { "ok" } else { "bad" });
        note(extra, "ipid", if be16(frame, at + 4) == 0 { "zero" } else { "nonzero" });
        volatile.extend([(at + 4, 2), (at + 10, 2)]);
        let mut pseudo = frame[at + 12..at + 20].to_vec();
        pseudo.extend(u16::from(frame[at + 9]).to_be_bytes());
        pseudo.extend((total.saturating_sub(header) as u16).to_be_bytes());
        (at + header, frame[at + 9], pseudo, at + total, be16(frame, at + 6) & 0x3fff != 0)
    } else if ethertype == 0x86dd && frame.len() >= at + 40 {
        let len = usize::from(be16(frame, at + 4));
        let label = [frame[at + 1] & 15, frame[at + 2], frame[at + 3]];
        note(extra, "flowlabel", if label == [0; 3] { "zero" } else { "nonzero" });
        note(extra, "tclass", (frame[at] & 15) << 4 | frame[at + 1] >> 4);
        volatile.push((at + 1, 3));
        if frame[at + 6] == 44 {
            volatile.push((at + 44, 4));
        }
        let mut pseudo = frame[at + 8..at + 40].to_vec();
        pseudo.extend((len as u32).to_be_bytes());
        pseudo.extend(u32::from(frame[at + 6]).to_be_bytes());
        (at + 40, frame[at + 6], pseudo, at + 40 + len, false)
    } else {
        return;
    };
    if protocol == 17 && frame.len() >= l4 + 8 && PORTS.contains(&be16(frame, l4 + 2)) {
        udp(frame, l4, end, &pseudo, fragment && ethertype == 0x0800, volatile, extra);
    }
}

fn udp(
    frame: &[u8],
    at: usize,
    end: usize,
    pseudo: &[u8],
    fragment: bool,
    volatile: &mut Vec<(usize, usize)>,
    extra: &mut Map<String, Value>,
) {
    if be16(frame, at + 2) != 6081 {
        note(extra, "sport_range", (32768..=61000).contains(&be16(frame, at)));
    }
    volatile.push((at, 2));
    if be16(frame, at + 6) == 0 {
        note(extra, "udpcsum", "zero");
        return;
    }
    volatile.push((at + 6, 2));
    let right = || frame.get(at..end.min(frame.len())).is_some_and(|udp| ones(&[pseudo, udp]) == 0xffff);
    note(
        extra,
        "udpcsum",
        if fragment {
            "fragment"
        } else if right() {
            "ok"
        } else {
            "bad"
        },
    );
}
