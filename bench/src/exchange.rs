// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Two hosts that exchange datagrams, each on a pair of ports that was never used before: for a switch that looks at ports, each
//! exchange is two new flows. One side asks, with a number of exchanges under way; the other answers.
//!
//! The hosts are devices and no more: frames are written and read here, many with one system call, and no IP stack sees them. What
//! is measured is the switch between them, with as much of the machine for it as can be.

use std::collections::{HashMap, VecDeque};
use std::ffi::CString;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use portway_buf::{Batch, Class, Pool};
use portway_vport::ops::CreateParams;
use portway_vport::{PortHandle, Registry};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// First port of those who answer.
const ANSWER_FROM: u16 = 20_000;
/// First port of those who ask.
const ASK_FROM: u16 = 30_000;
/// An exchange that has not ended by then is lost.
const LOST: Duration = Duration::from_secs(1);
/// Who answers may need so long to be there.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a frame: Ethernet, IPv4, UDP, the exchange's number, padding.
const FRAME: usize = 60;
/// OVS_VPORT_TYPE_NETDEV.
const TYPE_NETDEV: u32 = 1;
const NUMBER: std::ops::Range<usize> = 42..50;

/// Answers whatever datagram comes, until it is ended.
#[derive(clap::Args)]
pub(crate) struct Answer {
    /// The device that it comes from.
    device: String,
}

/// Asks, and counts.
#[derive(clap::Args)]
pub(crate) struct Ask {
    /// The device to ask on.
    device: String,
    /// The own addresses, as MAC,IP.
    from: HostAddress,
    /// Those of who answers.
    to: HostAddress,
    /// On how many ports each.
    #[arg(long, default_value_t = 900)]
    ports: u16,
    /// Exchanges under way.
    #[arg(long, default_value_t = 64)]
    window: usize,
    /// The number of the first exchange: it says on which ports it is.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// For how long.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
}

#[derive(Clone, Copy)]
struct HostAddress {
    mac: [u8; 6],
    ip: Ipv4Addr,
}

impl std::str::FromStr for HostAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (mac, ip) = text.split_once(',')?;
            let bytes: Option<Vec<u8>> =
                mac.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
            Some(Self { mac: bytes?.try_into().ok()?, ip: ip.parse().ok()? })
        };
        parse().ok_or_else(|| format!("`{text}` is not like 02:00:00:00:00:01,10.0.0.1"))
    }
}

/// A device with nothing behind it but this program.
struct Device {
    port: PortHandle,
    pool: Pool,
    batch: Batch,
}

impl Device {
    fn open(name: &str) -> Result<Self> {
        let registry = Registry::new();
        registry.register(vport_netdev::MODULE)?;
        let (text, name) = (name, CString::new(name)?);
        let params = CreateParams {
            name: &name,
            netns: None,
            tx_queues: 1,
            options: &[],
            mac: [0; 6],
            is_local: false,
        };
        match registry.try_get(TYPE_NETDEV)?.create(&params) {
            Ok((port, _)) => Ok(Self { port, pool: Pool::new(), batch: Batch::new() }),
            Err(errno) => bail!("{text}: {}", std::io::Error::from_raw_os_error(errno.0)),
        }
    }

    /// Adds a frame to those that leave next.
    fn add(&mut self, frame: &[u8; FRAME]) {
        if self.batch.is_full() {
            self.send();
        }
        let mut packet = self.pool.take(Class::Small);
        packet.set_frame(frame);
        self.batch.push(packet);
    }

    /// Sends them. Those that do not fit are lost, as on any network.
    fn send(&mut self) {
        if !self.batch.is_empty() {
            self.port.tx(0, &mut self.pool, &mut self.batch);
        }
    }

    /// Waits for so long, and gives every datagram that came to `take`: its frame, and how to send one.
    fn receive(&mut self, wait: Duration, mut take: impl FnMut(&[u8; FRAME], &mut Self)) -> Result<()> {
        let Some(source) = self.port.rx_event_source(0) else { bail!("the device cannot be waited for") };
        let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        poll(&mut [PollFd::new(&source, PollFlags::IN)], Some(&wait))?;
        let mut batch = Batch::new();
        if let Err(errno) = self.port.rx(0, &mut self.pool, &mut batch) {
            bail!("the device fails: {}", std::io::Error::from_raw_os_error(errno.0));
        }
        for packet in &batch {
            if let Some(frame) = packet.frame().first_chunk().filter(|frame| is_datagram(frame)) {
                take(frame, self);
            }
        }
        self.pool.as_ref().give_all(&mut batch);
        Ok(())
    }
}

/// Whether it is a UDP datagram over IPv4 without options or tags.
fn is_datagram(frame: &[u8; FRAME]) -> bool {
    frame[12..15] == [8, 0, 0x45] && frame[23] == 17
}

/// The same datagram on its way back. The sums stay right: they are over the same words.
fn returned(frame: &[u8; FRAME]) -> [u8; FRAME] {
    let mut back = *frame;
    for (one, other, len) in [(0, 6, 6), (26, 30, 4), (34, 36, 2)] {
        back[one..one + len].copy_from_slice(&frame[other..other + len]);
        back[other..other + len].copy_from_slice(&frame[one..one + len]);
    }
    back
}

impl Answer {
    pub(crate) fn run(&self) -> Result<serde_json::Value> {
        let mut device = Device::open(&self.device)?;
        loop {
            device.receive(Duration::from_secs(1), |frame, device| device.add(&returned(frame)))?;
            device.send();
        }
    }
}

impl Ask {
    pub(crate) fn run(&self) -> Result<serde_json::Value> {
        let mut device = Device::open(&self.device)?;
        let mut next = self.find(&mut device)?;
        let mut under_way: HashMap<u64, Instant> = HashMap::new();
        let mut order = VecDeque::new();
        let mut lost = 0_u64;
        let mut taken_us = Vec::new();
        let start = Instant::now();
        let end = start + Duration::from_secs(self.seconds);
        while Instant::now() < end {
            while under_way.len() < self.window {
                device.add(&self.frame(next)?);
                let now = Instant::now();
                under_way.insert(next, now);
                order.push_back((next, now));
                next += 1;
            }
            device.send();
            device.receive(Duration::from_millis(100), |frame, _| {
                if let Some(sent) = under_way.remove(&number(frame)) {
                    taken_us.push(sent.elapsed().as_secs_f64() * 1e6);
                }
            })?;
            while let Some((number, _)) = order.pop_front_if(|(_, sent)| sent.elapsed() > LOST) {
                lost += u64::from(under_way.remove(&number).is_some());
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        if taken_us.is_empty() {
            bail!("nobody answers");
        }
        taken_us.sort_by(f64::total_cmp);
        let at = |share: f64| taken_us[(taken_us.len() as f64 * share) as usize];
        // Two flows each: there and back.
        Ok(serde_json::json!({
            "flows_per_second": taken_us.len() as f64 * 2.0 / seconds,
            "lost": lost,
            "median_us": at(0.5) / 2.0,
            "p99_us": at(0.99) / 2.0,
        }))
    }

    /// Asks one after the other until one is answered; returns the number of the next exchange.
    fn find(&self, device: &mut Device) -> Result<u64> {
        let start = Instant::now();
        for next in self.first.. {
            device.add(&self.frame(next)?);
            device.send();
            let mut is_there = false;
            device.receive(Duration::from_millis(50), |_, _| is_there = true)?;
            if is_there {
                return Ok(next + 1);
            }
            if start.elapsed() > PATIENCE {
                bail!("nobody answers");
            }
        }
        unreachable!("it has returned before there are no more numbers")
    }

    /// The datagram that asks: on a pair of ports of its own.
    fn frame(&self, number: u64) -> Result<[u8; FRAME]> {
        let ports = u64::from(self.ports);
        if number >= ports * ports {
            bail!("all pairs of ports have been used: give more ports, or less time");
        }
        // Both change all the time, so that no flow is like the one before it.
        let own = number % ports;
        let other = (number / ports + own) % ports;
        let mut frame = [0; FRAME];
        frame[..6].copy_from_slice(&self.to.mac);
        frame[6..12].copy_from_slice(&self.from.mac);
        frame[12..24].copy_from_slice(&[8, 0, 0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17]);
        frame[26..30].copy_from_slice(&self.from.ip.octets());
        frame[30..34].copy_from_slice(&self.to.ip.octets());
        let sum =
            frame[14..34].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum::<u32>();
        let sum = (sum & 0xffff) + (sum >> 16);
        frame[24..26].copy_from_slice(&(!sum as u16).to_be_bytes());
        frame[34..36].copy_from_slice(&(ASK_FROM + own as u16).to_be_bytes());
        frame[36..38].copy_from_slice(&(ANSWER_FROM + other as u16).to_be_bytes());
        frame[38..40].copy_from_slice(&26_u16.to_be_bytes());
        // No UDP checksum: IPv4 allows that.
        frame[NUMBER].copy_from_slice(&number.to_ne_bytes());
        Ok(frame)
    }
}

/// The exchange that a datagram is of.
fn number(frame: &[u8; FRAME]) -> u64 {
    frame[NUMBER].try_into().map_or(u64::MAX, u64::from_ne_bytes)
}
