// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Captures: copies of a port's packets, as pcapng, to a client that reads them. A client that is too slow misses packets; the
//! port does not wait.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use portway_api::pcapng;
use portway_buf::Packet;
use portway_vport::{Direction, Tap, Vport};
use rustix::net::{RecvFlags, recv};

use crate::clock;

/// Packets that may wait for the client.
const WAITING_MAX: usize = 4096;
/// Bytes put together before they are written.
const CHUNK: usize = 64 << 10;
/// How often an idle capture looks whether its client and its port are still there.
const RHYTHM: Duration = Duration::from_millis(250);

struct Copied {
    time_ns: u64,
    direction: pcapng::Direction,
    data: Vec<u8>,
    original_len: u32,
}

/// What the port's workers see of a capture.
struct Copier {
    packets: Sender<Copied>,
    snap_len: usize,
    missed: AtomicU64,
}

impl Tap for Copier {
    fn packet(&self, direction: Direction, packet: &Packet) {
        if self.packets.is_full() {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let frame = packet.frame();
        let copied = Copied {
            time_ns: clock::wall_ns(),
            direction: match direction {
                Direction::Received => pcapng::Direction::In,
                Direction::Sent => pcapng::Direction::Out,
            },
            data: frame[..frame.len().min(self.snap_len)].to_vec(),
            original_len: frame.len() as u32,
        };
        if self.packets.try_send(copied).is_err() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Captures a port until the client or the port goes.
pub(crate) fn run(stream: &mut UnixStream, port: Arc<Vport>, snap_len: u32) -> io::Result<()> {
    let (sender, packets) = bounded(WAITING_MAX);
    let limit = if snap_len == 0 { usize::MAX } else { snap_len as usize };
    let copier = Arc::new(Copier { packets: sender, snap_len: limit, missed: AtomicU64::new(0) });
    let tap: Arc<dyn Tap> = Arc::clone(&copier) as Arc<dyn Tap>;
    let name = port.name().to_string();
    port.tap(&tap);
    // The port may be deleted meanwhile: this capture must not keep it, or its device, alive.
    let weak = Arc::downgrade(&port);
    drop(port);
    tracing::info!(port = %name, "capture begins");
    let is_wanted =
        |stream: &UnixStream| weak.upgrade().is_some_and(|port| port.is_alive()) && is_reading(stream);
    let copied = copy(stream, &packets, &name, snap_len, &is_wanted);
    if let Some(port) = weak.upgrade() {
        port.untap(&tap);
    }
    tracing::info!(port = %name, missed = copier.missed.load(Ordering::Relaxed), "capture ends");
    copied
}

fn copy(
    stream: &mut UnixStream,
    packets: &Receiver<Copied>,
    name: &str,
    snap_len: u32,
    is_wanted: &dyn Fn(&UnixStream) -> bool,
) -> io::Result<()> {
    let mut chunk = Vec::with_capacity(2 * CHUNK);
    pcapng::start(&mut chunk, name, snap_len);
    loop {
        stream.write_all(&chunk)?;
        chunk.clear();
        match packets.recv_timeout(RHYTHM) {
            Ok(first) => append(&mut chunk, &first),
            Err(RecvTimeoutError::Timeout) if is_wanted(stream) => continue,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(()),
        }
        while chunk.len() < CHUNK
            && let Ok(next) = packets.try_recv()
        {
            append(&mut chunk, &next);
        }
    }
}

fn append(chunk: &mut Vec<u8>, copied: &Copied) {
    pcapng::packet(chunk, copied.time_ns, copied.direction, &copied.data, copied.original_len);
}

/// Whether the client is still there: one that has gone leaves an end to read.
fn is_reading(stream: &UnixStream) -> bool {
    let peeked = recv(stream, &mut [0_u8; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    match peeked {
        Ok((count, _)) => count > 0,
        Err(errno) => errno == rustix::io::Errno::AGAIN,
    }
}
