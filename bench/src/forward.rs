// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Packets per second from capture files to null ports.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use portway_flow::{FlowKey, MacAddr};
use serde_json::{Value, json};
use zerocopy::network_endian::U16;

use crate::frames::{self, FlowFrame};
use crate::rig::{Measured, Rig};

/// Which flow forwards the packets.
#[derive(Clone, Copy, ValueEnum)]
enum Rule {
    /// Input port, ethertype, protocol, IPv4 destination, UDP destination port.
    L4,
    /// What the learning switch installs: input port, both Ethernet addresses, no VLAN tag.
    L2,
    /// Input port alone.
    Port,
    /// Every field of the five-tuple: one flow in the tables per flow of the capture.
    Exact,
}

/// See [`crate::Command::Forward`].
#[derive(Args)]
pub(crate) struct Forward {
    /// Capture file; without it, `--flows` flows are made.
    #[arg(long)]
    pcap: Option<PathBuf>,
    /// Distinct flows to make.
    #[arg(long, default_value_t = 1)]
    flows: u32,
    /// Which flow forwards the packets.
    #[arg(long, value_enum, default_value = "l4")]
    rule: Rule,
    /// How long to measure.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Worker threads.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Pairs of ports, shared out among the workers.
    #[arg(long, default_value_t = 1)]
    pairs: usize,
}

impl Forward {
    /// Ten thousand flows in the capture and as many in the tables.
    pub(crate) fn ten_thousand_exact_flows() -> Self {
        Self { pcap: None, flows: 10_000, rule: Rule::Exact, seconds: 1.0, workers: 1, pairs: 1 }
    }

    pub(crate) fn run(&self) -> Result<Value> {
        let scratch = tempfile::tempdir()?;
        let capture = match &self.pcap {
            Some(path) => path.clone(),
            None => {
                let path = scratch.path().join("in.pcap");
                frames::write(&path, (0..self.flows).map(FlowFrame::standard))?;
                path
            }
        };
        let rig = Rig::new(self.workers)?;
        let (mut sources, mut sinks) = (Vec::new(), Vec::new());
        for pair in 0..self.pairs {
            let source = rig.source(&format!("in{pair}"), &capture)?;
            let sink = rig.sink(&format!("out{pair}"))?;
            for index in 0..if matches!(self.rule, Rule::Exact) { self.flows } else { 1 } {
                let (key, mask) = self.rule.key_and_mask(source.port_no(), FlowFrame::standard(index));
                rig.flow(key, mask, sink.port_no())?;
            }
            sources.push(source);
            sinks.push(sink);
        }
        let measured = rig.measure(self.seconds, &sources, &sinks);
        report(&rig, &measured)
    }
}

impl Rule {
    fn key_and_mask(self, in_port: u32, flow: FlowFrame) -> (FlowKey, FlowKey) {
        let mut key = FlowKey { in_port, ..FlowKey::default() };
        let mut mask = FlowKey { in_port: u32::MAX, recirc_id: u32::MAX, ..FlowKey::default() };
        match self {
            Self::Port => {}
            Self::L2 => {
                key.eth_dst = MacAddr([2, 0, 0, 0, 0, 1]);
                key.eth_src = MacAddr([2, 0, 0, 0, 0, 2]);
                mask.eth_dst = MacAddr([0xff; 6]);
                mask.eth_src = MacAddr([0xff; 6]);
                mask.vlan_tci = U16::new(0xffff);
            }
            Self::L4 | Self::Exact => {
                key.eth_type = U16::new(0x0800);
                key.ip_proto = 17;
                key.ip_dst[..4].copy_from_slice(&flow.dst.to_be_bytes());
                key.tp_dst = U16::new(flow.dst_port);
                mask.eth_type = U16::new(0xffff);
                mask.ip_proto = 0xff;
                mask.ip_frag = 0xff;
                mask.ip_dst[..4].fill(0xff);
                mask.tp_dst = U16::new(0xffff);
            }
        }
        if matches!(self, Self::Exact) {
            key.ip_src[..4].copy_from_slice(&flow.src.to_be_bytes());
            key.tp_src = U16::new(flow.src_port);
            mask.ip_src[..4].fill(0xff);
            mask.tp_src = U16::new(0xffff);
        }
        (key, mask)
    }
}

/// See [`crate::Command::Masks`].
#[derive(Args)]
pub(crate) struct Masks {
    /// Distinct masks, one flow each.
    #[arg(long, default_value_t = 100)]
    masks: u32,
    /// Packets of the capture, spread over the masks.
    #[arg(long, default_value_t = 10_000)]
    packets: u32,
    /// How long to measure.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
}

impl Masks {
    /// Mask n looks at the destination network n with a prefix of its own length, at a source prefix and perhaps at a port.
    pub(crate) fn run(&self) -> Result<Value> {
        let scratch = tempfile::tempdir()?;
        let capture = scratch.path().join("in.pcap");
        let flow = |index: u32| {
            let group = index % self.masks;
            FlowFrame { dst: (20 << 24) | (group << 8), ..FlowFrame::standard(index) }
        };
        frames::write(&capture, (0..self.packets).map(flow))?;
        let rig = Rig::new(1)?;
        let (source, sink) = (rig.source("in", &capture)?, rig.sink("out")?);
        for group in 0..self.masks {
            let (mut key, mut mask) = Rule::L4.key_and_mask(source.port_no(), flow(group));
            let lengths = (24 + group % 9, (group / 9) % 9, group / 81);
            mask.ip_dst[..4].copy_from_slice(&prefix(lengths.0).to_be_bytes());
            key.ip_src[..4].copy_from_slice(&0x0a00_0000u32.to_be_bytes());
            mask.ip_src[..4].copy_from_slice(&prefix(lengths.1).to_be_bytes());
            mask.tp_dst = U16::new((0xffff_u32 << lengths.2) as u16);
            rig.flow(key, mask, sink.port_no())?;
        }
        let live = rig.datapath.stats().masks;
        ensure!(live == self.masks as usize, "{live} masks are live instead of {}", self.masks);
        let measured = rig.measure(self.seconds, std::slice::from_ref(&source), std::slice::from_ref(&sink));
        report(&rig, &measured)
    }
}

fn prefix(len: u32) -> u32 {
    u32::MAX.checked_shl(32 - len).unwrap_or(0)
}

/// Packets in must be packets out, and every one must have matched.
fn report(rig: &Rig, measured: &Measured) -> Result<Value> {
    let stats = rig.datapath.stats();
    ensure!(stats.missed == 0, "{} packets missed their flow", stats.missed);
    let lost = measured.received.abs_diff(measured.sent);
    ensure!(lost <= 1024, "{} packets came in, {} went out", measured.received, measured.sent);
    Ok(json!({
        "mpps": measured.mpps(),
        "packets": measured.sent,
        "seconds": measured.seconds,
        "cpu_seconds": measured.cpu_seconds,
        "mpps_per_cpu_second": measured.sent as f64 / measured.cpu_seconds / 1e6,
        "flows": stats.flows,
        "masks": stats.masks,
        "allocations": measured.allocations,
    }))
}
