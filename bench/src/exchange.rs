// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Two hosts that exchange datagrams, each on a pair of ports that was never used before: for a switch that looks at ports, each
//! exchange is two new flows. One side asks, with a number of exchanges under way; the other answers.
//!
//! Each first question is sent by a socket. From then on programs at the hosts' devices do the hosts' part within the kernel
//! ([`crate::reflect`]). What is measured is the switch between them, with as much of the machine for it as can be.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::net::{AddressFamily, SocketType, netdevice, socket};
use rustix::time::{ClockId, clock_gettime};

use crate::reflect::{self, Exchanges, TIMES};

/// An exchange that has not ended by then is lost.
const LOST: Duration = Duration::from_secs(1);
/// Lost exchanges are looked for in this rhythm.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The first answer may need so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers whatever datagram of `ask` comes, until it is ended.
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
    /// The own address.
    from: Ipv4Addr,
    /// That of who answers.
    to: Ipv4Addr,
    /// On how many ports each.
    #[arg(long, default_value_t = 900)]
    ports: u16,
    /// Exchanges under way.
    #[arg(long, default_value_t = 64)]
    window: u32,
    /// The number of the first exchange: it says on which ports it is.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// For how long.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
}

fn index_of(device: &str) -> Result<u32> {
    let any = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    netdevice::name_to_index(any, device).with_context(|| format!("no device `{device}`"))
}

impl Answer {
    pub(crate) fn run(&self) -> Result<serde_json::Value> {
        let _program = reflect::answer(index_of(&self.device)?)?;
        loop {
            std::thread::park();
        }
    }
}

impl Ask {
    pub(crate) fn run(&self) -> Result<serde_json::Value> {
        let exchanges = Exchanges::new(index_of(&self.device)?, self.window, self.first, self.ports)?;
        self.meet(&exchanges)?;
        for place in 1..self.window {
            self.begin(&exchanges, place)?;
        }
        let (start, before) = (Instant::now(), exchanges.ended());
        let end = start + Duration::from_secs(self.seconds);
        let mut lost = 0_u64;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            std::thread::sleep(left.min(LOOK_EVERY));
            let overdue = now_ns().saturating_sub(LOST.as_nanos() as u64);
            for place in (0..self.window).filter(|&place| exchanges.begun_ns(place) < overdue) {
                lost += 1;
                self.begin(&exchanges, place)?;
            }
        }
        let (seconds, ended) = (start.elapsed().as_secs_f64(), exchanges.ended() - before);
        let mut taken_ns = exchanges.times_ns();
        if ended == 0 || taken_ns.is_empty() {
            bail!("nobody answers any more");
        }
        taken_ns.sort_unstable();
        let at = |share: f64| taken_ns[(taken_ns.len() as f64 * share) as usize] as f64 / 1e3;
        // Two flows each: there and back.
        Ok(serde_json::json!({
            "flows_per_second": ended as f64 * 2.0 / seconds,
            "lost": lost,
            "median_us": at(0.5) / 2.0,
            "p99_us": at(0.99) / 2.0,
            "times_of_the_last": TIMES,
        }))
    }

    /// Begins the first exchange, and again, until one has ended.
    fn meet(&self, exchanges: &Exchanges) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            self.begin(exchanges, 0)?;
            let asked = Instant::now();
            while asked.elapsed() < LOST {
                if exchanges.ended() > 0 {
                    return Ok(());
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        bail!("nobody answers")
    }

    /// Asks in a place of its own; the program at the device goes on from there.
    fn begin(&self, exchanges: &Exchanges, place: u32) -> Result<()> {
        let Some(number) = exchanges.begin(place, now_ns()) else {
            bail!("all pairs of ports have been used: give more ports, or less time");
        };
        let (own, other) = reflect::ports(number, self.ports);
        let socket = UdpSocket::bind((self.from, own)).with_context(|| format!("{}", self.from))?;
        socket.send_to(&reflect::question(place, number), (self.to, other))?;
        Ok(())
    }
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
