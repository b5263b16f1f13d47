// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Actions, written.

use std::fmt::Write;

use super::PortName;
use super::set::write_set;
use super::value::{write_lse, write_tci};
use crate::action::{Action, HashAlgorithm, PushNsh, Userspace};

/// The default TPID of a VLAN tag, which is not written.
pub(super) const TPID_DEFAULT: u16 = 0x8100;

/// A list of actions; an empty one is `drop`.
pub fn format_actions(actions: &[Action], port: PortName<'_>) -> String {
    let mut out = String::new();
    write_actions(&mut out, actions, port);
    out
}

fn write_actions(out: &mut String, actions: &[Action], port: PortName<'_>) {
    if actions.is_empty() {
        out.push_str("drop");
    }
    for (index, action) in actions.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_action(out, action, port);
    }
}

fn write_action(out: &mut String, action: &Action, port: PortName<'_>) {
    // Writing to a String cannot fail.
    let _ = match action {
        Action::Output(number) => match port(*number) {
            Some(name) => write!(out, "{name}"),
            None => write!(out, "{number}"),
        },
        Action::Userspace(userspace) => return write_userspace(out, userspace),
        Action::Set(set) => {
            out.push_str("set(");
            write_set(out, set);
            write!(out, ")")
        }
        Action::PushVlan(push) => {
            out.push_str("push_vlan(");
            if push.tpid != TPID_DEFAULT {
                let _ = write!(out, "tpid={:#06x},", push.tpid);
            }
            write_tci(out, push.tci, None, true);
            write!(out, ")")
        }
        Action::PopVlan => write!(out, "pop_vlan"),
        Action::Truncate(len) => write!(out, "trunc({len})"),
        Action::Recirculate(id) => write!(out, "recirc({id:#x})"),
        Action::Hash(hash) => match hash.algorithm {
            HashAlgorithm::L4 => write!(out, "hash(hash_l4({}))", hash.basis),
            HashAlgorithm::SymL4 => write!(out, "hash(sym_l4({}))", hash.basis),
        },
        Action::Clone(list) => return nested(out, "clone(", list, port),
        Action::Sample(sample) => {
            let _ = write!(out, "sample(sample={},", percentage(sample.probability));
            nested(out, "actions(", &sample.actions, port);
            write!(out, ")")
        }
        Action::Drop(code) => write!(out, "drop({code})"),
        Action::PushMpls(push) => {
            out.push_str(if push.add_l3_tunnel.is_some() { "add_mpls(" } else { "push_mpls(" });
            write_lse(out, push.lse, None);
            let layer2 = if push.add_l3_tunnel == Some(false) { ",l2" } else { "" };
            write!(out, ",eth_type={:#06x}{layer2})", push.ethertype)
        }
        Action::PopMpls(ethertype) => write!(out, "pop_mpls(eth_type={ethertype:#06x})"),
        Action::PushEth(push) => write!(out, "push_eth(src={},dst={})", push.src, push.dst),
        Action::PopEth => write!(out, "pop_eth"),
        Action::PushNsh(push) => return write_push_nsh(out, push),
        Action::PopNsh => write!(out, "pop_nsh()"),
        Action::Meter(id) => write!(out, "meter({id})"),
        Action::CheckPacketLength(check) => {
            let _ = write!(out, "check_pkt_len(size={},", check.len);
            nested(out, "gt(", &check.greater, port);
            nested(out, ",le(", &check.less_or_equal, port);
            write!(out, ")")
        }
        Action::DecTtl(list) => {
            nested(out, "dec_ttl(le_1(", list, port);
            write!(out, ")")
        }
        Action::Psample(sample) => {
            let _ = write!(out, "psample(group={}", sample.group);
            if let Some(cookie) = &sample.cookie {
                out.push_str(",cookie=0x");
                write_hex(out, cookie);
            }
            write!(out, ")")
        }
    };
}

fn nested(out: &mut String, opening: &str, list: &[Action], port: PortName<'_>) {
    out.push_str(opening);
    write_actions(out, list, port);
    out.push(')');
}

fn write_userspace(out: &mut String, userspace: &Userspace) {
    let _ = write!(out, "userspace(pid={}", userspace.pid);
    if let Some(data) = &userspace.userdata {
        out.push_str(",userdata(");
        write_hex(out, data);
        out.push(')');
    }
    if userspace.actions {
        out.push_str(",actions");
    }
    if let Some(number) = userspace.egress_tun_port {
        let _ = write!(out, ",tunnel_out_port={number}");
    }
    out.push(')');
}

fn write_push_nsh(out: &mut String, push: &PushNsh) {
    let _ = write!(
        out,
        "push_nsh(flags={},ttl={},mdtype={},np={},spi={:#x},si={}",
        push.flags,
        push.ttl,
        push.mdtype,
        push.np,
        push.path_hdr >> 8,
        push.path_hdr & 0xff
    );
    let (words, odd) = push.metadata.as_chunks::<4>();
    if push.mdtype == 1 && words.len() == 4 && odd.is_empty() {
        for (index, word) in words.iter().enumerate() {
            let _ = write!(out, ",c{}={:#x}", index + 1, u32::from_be_bytes(*word));
        }
    } else if !push.metadata.is_empty() {
        out.push_str(",md2=0x");
        write_hex(out, &push.metadata);
    }
    out.push(')');
}

fn write_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
}

/// A probability as a percentage, with as many decimals as it takes to read the same number back.
fn percentage(probability: u32) -> String {
    let percent = f64::from(probability) * 100.0 / f64::from(u32::MAX);
    let texts = (1..12).map(|decimals| format!("{percent:.decimals$}"));
    let text = texts.into_iter().find(|text| super::action_parse::probability(text) == Some(probability));
    format!("{}%", text.unwrap_or_else(|| format!("{percent:.12}")))
}
