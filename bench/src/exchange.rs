// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Two hosts that exchange datagrams, each on a pair of ports that was never used before: for a switch that looks at ports, each
//! exchange is two new flows. One side asks, with a number of exchanges under way; the other answers.

use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{Timespec, epoll};

/// First port of those who answer.
const ANSWER_FROM: u16 = 20_000;
/// First port of those who ask.
const ASK_FROM: u16 = 30_000;
/// An exchange that has not ended by then is lost.
const LOST: Duration = Duration::from_secs(1);
/// Events taken at a time.
const EVENTS: usize = 64;

/// Answers whatever comes, until it is ended.
#[derive(clap::Args)]
pub(crate) struct Answer {
    /// The own address.
    address: Ipv4Addr,
    /// On how many ports.
    #[arg(long, default_value_t = 900)]
    ports: u16,
}

/// Asks, and counts.
#[derive(clap::Args)]
pub(crate) struct Ask {
    /// The own address.
    address: Ipv4Addr,
    /// Who answers.
    other: Ipv4Addr,
    /// On how many ports.
    #[arg(long, default_value_t = 900)]
    ports: u16,
    /// Exchanges under way.
    #[arg(long, default_value_t = 64)]
    window: usize,
    /// For how long.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
}

/// Sockets on consecutive ports, and who of them has something to read.
struct Sockets {
    sockets: Vec<UdpSocket>,
    epoll: OwnedFd,
}

impl Sockets {
    fn bind(address: Ipv4Addr, first: u16, count: u16) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let bind = |port| -> Result<UdpSocket> {
            let socket = UdpSocket::bind((address, port)).with_context(|| format!("{address}:{port}"))?;
            socket.set_nonblocking(true)?;
            let data = epoll::EventData::new_u64(u64::from(port - first));
            epoll::add(&epoll, &socket, data, epoll::EventFlags::IN)?;
            Ok(socket)
        };
        Ok(Self { sockets: (first..first + count).map(bind).collect::<Result<_>>()?, epoll })
    }

    /// Waits, and gives every datagram to `take`, with the socket that it came on.
    fn receive(
        &self,
        wait: Duration,
        mut take: impl FnMut(&UdpSocket, &[u8], std::net::SocketAddr) -> Result<()>,
    ) -> Result<()> {
        let mut events = Vec::with_capacity(EVENTS);
        let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&wait))?;
        let mut buffer = [0; 64];
        for event in events {
            let Some(socket) = self.sockets.get(event.data.u64() as usize) else { continue };
            loop {
                match socket.recv_from(&mut buffer) {
                    Ok((len, from)) => take(socket, &buffer[..len], from)?,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}

impl Answer {
    pub(crate) fn run(&self) -> Result<serde_json::Value> {
        let sockets = Sockets::bind(self.address, ANSWER_FROM, self.ports)?;
        loop {
            sockets.receive(Duration::from_secs(1), |socket, bytes, from| {
                // One that does not fit now is lost, as on any network.
                let _ = socket.send_to(bytes, from);
                Ok(())
            })?;
        }
    }
}

impl Ask {
    pub(crate) fn run(&self) -> Result<serde_json::Value> {
        let sockets = Sockets::bind(self.address, ASK_FROM, self.ports)?;
        let mut under_way: HashMap<u64, Instant> = HashMap::new();
        let mut order = VecDeque::new();
        let (mut next, mut lost) = (0_u64, 0_u64);
        let mut taken_us = Vec::new();
        let start = Instant::now();
        let end = start + Duration::from_secs(self.seconds);
        while Instant::now() < end {
            while under_way.len() < self.window {
                self.ask(&sockets, next)?;
                let now = Instant::now();
                under_way.insert(next, now);
                order.push_back((next, now));
                next += 1;
            }
            sockets.receive(Duration::from_millis(100), |_, bytes, _| {
                let number = bytes.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes));
                if let Some(sent) = number.and_then(|number| under_way.remove(&number)) {
                    taken_us.push(sent.elapsed().as_secs_f64() * 1e6);
                }
                Ok(())
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

    /// Asks on a pair of ports of its own.
    fn ask(&self, sockets: &Sockets, number: u64) -> Result<()> {
        let ports = u64::from(self.ports);
        if number >= ports * ports {
            bail!("all pairs of ports have been used: give more ports, or less time");
        }
        // Both change all the time, so that no flow is like the one before it.
        let own = number % ports;
        let other = (number / ports + own) % ports;
        let socket = &sockets.sockets[own as usize];
        match socket.send_to(&number.to_ne_bytes(), (self.other, ANSWER_FROM + other as u16)) {
            // One that does not fit now counts as lost, later.
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error.into()),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}
