// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The smallest switch there is: what one port receives the other sends. For the system tests of port types.
#![allow(dead_code, unreachable_pub, reason = "shared by test binaries, each of which uses a part")]

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use portway_buf::{Batch, Pool};
use portway_vport::abi::TxReport;
use portway_vport::ops::PortType;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What went through, both ways together.
#[derive(Debug, Default)]
pub struct Counts {
    pub frames: AtomicU64,
    pub bytes: AtomicU64,
    pub super_packets: AtomicU64,
    pub partial_checksums: AtomicU64,
    pub tx_errors: AtomicU64,
    pub rx_errors: AtomicU64,
}

/// A forwarder on a thread of its own, stopped on drop.
pub struct Forwarder {
    pub counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Forwarder {
    pub fn new<A: PortType, B: PortType>(a: Arc<A>, b: Arc<B>) -> Self {
        let (counts, stop) = (Arc::new(Counts::default()), Arc::new(AtomicBool::new(false)));
        let (thread_counts, thread_stop) = (Arc::clone(&counts), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut pool = Pool::new();
            while !thread_stop.load(Ordering::Relaxed) {
                wait(&*a, &*b, 20);
                once(&*a, &*b, &mut pool, &thread_counts);
                once(&*b, &*a, &mut pool, &thread_counts);
            }
        });
        Self { counts, stop, thread: Some(thread) }
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let result = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(matches!(result, Some(Ok(()))), "the forwarder has panicked");
        }
    }
}

fn once<A: PortType, B: PortType>(from: &A, to: &B, pool: &mut Pool, counts: &Counts) {
    let (mut batch, mut report) = (Batch::new(), TxReport::default());
    if from.rx(0, &mut pool.as_ref(), &mut batch).is_err() {
        counts.rx_errors.fetch_add(1, Ordering::Relaxed);
    }
    for packet in &batch {
        counts.frames.fetch_add(1, Ordering::Relaxed);
        counts.bytes.fetch_add(packet.len() as u64, Ordering::Relaxed);
        let offload = packet.offload();
        counts.super_packets.fetch_add(u64::from(offload.gso.is_some()), Ordering::Relaxed);
        counts.partial_checksums.fetch_add(u64::from(offload.partial_csum.is_some()), Ordering::Relaxed);
    }
    to.tx(0, &mut pool.as_ref(), &mut batch, &mut report);
    assert!(batch.is_empty(), "tx consumes every packet");
    counts.tx_errors.fetch_add(u64::from(report.errors + report.dropped), Ordering::Relaxed);
}

/// Sleeps until one of the ports has something, at most so many milliseconds.
pub fn wait<A: PortType, B: PortType>(a: &A, b: &B, milliseconds: i64) -> bool {
    let timeout = Timespec { tv_sec: 0, tv_nsec: milliseconds * 1_000_000 };
    let borrow = |fd: Option<i32>| {
        // SAFETY: the ports own their descriptors and outlive this call.
        unsafe { BorrowedFd::borrow_raw(fd.expect("the port receives")) }
    };
    let (a, b) = (borrow(a.rx_fd(0)), borrow(b.rx_fd(0)));
    let mut fds = [PollFd::new(&a, PollFlags::IN), PollFd::new(&b, PollFlags::IN)];
    poll(&mut fds, Some(&timeout)).is_ok_and(|ready| ready > 0)
}
