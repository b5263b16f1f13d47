// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Shortcuts of one port: frames of hot flows go to another port of the same namespace without passing through this process.
//! `filter.rs` has the programs. A port without shortcuts has no filter and pays nothing.
//!
//! Order: a shortcut is taken from the moment on at which every frame that the socket got before has been forwarded, or after
//! a tenth of a second if that never was so: then frames may overtake, once.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use portway_bpf::{Map, MapKind, ProgramKind, SharedMemory};
use portway_vport::abi::{ShortcutCounters, ShortcutKey, ShortcutMasks, log_level};
use portway_vport::host;
use portway_vport::ops::Errno;

use crate::filter::{self, COUNTERS_SIZE, Maps, VERDICT_SIZE, slot};
use crate::socket::PacketSocket;

/// The most shortcuts of one port, those that have just ended included.
const SHORTCUTS_MAX: u32 = 255;
/// How long frames wait for the queue to be empty, at most, in nanoseconds.
const PATIENCE_NS: u64 = 100_000_000;
/// MEMBARRIER_CMD_GLOBAL, linux/membarrier.h.
const MEMBARRIER_GLOBAL: i32 = 1;
/// Where that is not allowed: longer than a frame is on its way through the kernel.
const SETTLE: Duration = Duration::from_millis(50);

/// The verdicts of all ports' filters: one for each processor. `None`: BPF maps are not allowed here.
pub(crate) fn verdict() -> Option<&'static Map> {
    static VERDICT: OnceLock<Option<Map>> = OnceLock::new();
    let make = || match Map::new(MapKind::PerCpuArray, 4, VERDICT_SIZE, 1, false) {
        Ok(map) => Some(map),
        Err(errno) => {
            let line = format!("no shortcuts for hot flows: BPF maps are refused (error {})", errno.0);
            host::log(log_level::INFO, &line);
            None
        }
    };
    VERDICT.get_or_init(make).as_ref()
}

/// The frames that the socket's filter let through, and those that have been forwarded.
#[derive(Debug)]
pub(crate) struct Progress(SharedMemory);

impl Progress {
    /// Frames that the filter let through so far.
    pub(crate) fn passed(&self) -> u64 {
        self.0.word(slot::PASSED).load(Ordering::Acquire)
    }

    /// All of the first so many have been forwarded.
    pub(crate) fn set_done(&self, passed: u64) {
        self.0.word(slot::DONE).store(passed, Ordering::Release);
    }
}

/// A filter with its maps.
#[derive(Debug)]
struct Table {
    words: Vec<usize>,
    entries: Map,
    counters: Map,
    shared: Arc<Progress>,
    /// Kept for the maps' sake: it refers to them.
    slots: Map,
}

impl Table {
    /// Makes the maps and the program that uses them.
    fn new(masks: &ShortcutMasks) -> Result<(Self, OwnedFd), Errno> {
        let verdict = verdict().ok_or(Errno::EOPNOTSUPP)?;
        let words = filter::words_used(masks);
        let count = SHORTCUTS_MAX + 1;
        let slots = Map::new(MapKind::Array, 4, slot::SIZE, count, true)?;
        let table = Self {
            entries: Map::new(MapKind::Hash, 8 * (1 + words.len()), 8, count, false)?,
            counters: Map::new(MapKind::PerCpuArray, 4, COUNTERS_SIZE, count, false)?,
            shared: Arc::new(Progress(slots.share(slot::SIZE * count as usize)?)),
            slots,
            words,
        };
        // What the socket has from before this filter is not counted: nothing is known to have been forwarded yet.
        table.shared.set_done(u64::MAX);
        let code = filter::filter(masks, table.maps(verdict));
        let program = portway_bpf::load(ProgramKind::SocketFilter, b"portway_filter\0\0", &code)?;
        Ok((table, program))
    }

    fn maps(&self, verdict: &Map) -> Maps {
        Maps {
            entries: self.entries.raw_fd(),
            slots: self.slots.raw_fd(),
            counters: self.counters.raw_fd(),
            verdict: verdict.raw_fd(),
        }
    }

    fn word(&self, number: u32, field: usize) -> &std::sync::atomic::AtomicU64 {
        self.shared.0.word(slot::SIZE * number as usize + field)
    }
}

#[derive(Debug)]
struct Shortcut {
    table: Arc<Table>,
    number: u32,
    key: Vec<u8>,
}

/// Where shortcuts lead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) ifindex: u32,
    /// The longest frame that fits there without a VLAN tag, in bytes.
    pub(crate) limit: u32,
}

/// The shortcuts of one port.
#[derive(Debug, Default)]
pub(crate) struct Shortcuts {
    current: Option<Arc<Table>>,
    /// Also those that have ended and are not yet freed.
    all: HashMap<u64, Shortcut>,
    /// Numbers given out are below this; those in `all` are taken.
    next_id: u64,
    /// A filter was refused, and the log says so.
    was_refused: bool,
}

impl Shortcuts {
    /// Begins anew with these masks, or without shortcuts; returns what the receiver has to tell about its progress.
    pub(crate) fn set_masks(
        &mut self,
        masks: Option<&ShortcutMasks>,
        socket: &PacketSocket,
    ) -> Result<Option<Arc<Progress>>, Errno> {
        let make = |masks| {
            let (table, program) = Table::new(masks)?;
            socket.set_filter(&program)?;
            Ok(Arc::new(table))
        };
        let next: Result<_, Errno> = masks.map(make).transpose();
        if let Err(errno) = &next
            && !std::mem::replace(&mut self.was_refused, true)
        {
            let line = format!("no shortcuts from a port: its filter is refused (error {})", errno.0);
            host::log(log_level::INFO, &line);
        }
        if !matches!(next, Ok(Some(_))) && self.current.is_some() {
            socket.clear_filter()?;
        }
        // The old filter's slots say so too: it may be at work on another processor for a moment.
        for shortcut in self.all.values() {
            shortcut.table.word(shortcut.number, slot::STATE).store(0, Ordering::Release);
        }
        self.current = next.as_ref().ok().cloned().flatten();
        next.map(|table| table.map(|table| Arc::clone(&table.shared)))
    }

    pub(crate) fn add(&mut self, output: Output, key: &ShortcutKey, now_ns: u64) -> Result<u64, Errno> {
        let table = self.current.clone().ok_or(Errno::EINVAL)?;
        let is_taken = |number: u32| {
            self.all.values().any(|other| Arc::ptr_eq(&other.table, &table) && other.number == number)
        };
        let number = (1..=SHORTCUTS_MAX).find(|&number| !is_taken(number)).ok_or(Errno(libc::ENOSPC))?;
        let bytes = filter::key_bytes(key.layout, &key.window, &table.words);
        let same = |other: &Shortcut| Arc::ptr_eq(&other.table, &table) && other.key == bytes;
        let is_live = |other: &Shortcut| table.word(other.number, slot::STATE).load(Ordering::Relaxed) != 0;
        if self.all.values().any(|other| same(other) && is_live(other)) {
            return Err(Errno::EEXIST);
        }
        table.counters.clear(&number.to_ne_bytes())?;
        for (index, word) in bytes.as_chunks::<8>().0.iter().enumerate() {
            let word = u64::from_ne_bytes(*word);
            table.word(number, slot::KEY + 8 * index).store(word, Ordering::Relaxed);
        }
        let way = u64::from(output.ifindex) | u64::from(output.limit) << 32;
        table.word(number, slot::OUTPUT).store(way, Ordering::Relaxed);
        table.word(number, slot::DEADLINE).store(now_ns + PATIENCE_NS, Ordering::Relaxed);
        table.word(number, slot::LIVE).store(0, Ordering::Relaxed);
        table.word(number, slot::STATE).store(1, Ordering::Release);
        if let Err(errno) = table.entries.set(&bytes, &u64::from(number).to_ne_bytes()) {
            table.word(number, slot::STATE).store(0, Ordering::Release);
            return Err(errno);
        }
        self.next_id += 1;
        self.all.insert(self.next_id, Shortcut { table, number, key: bytes });
        Ok(self.next_id)
    }

    /// Ends one: the slot says so first, which is what the filter goes by.
    pub(crate) fn end(&self, id: u64) -> Result<(), Errno> {
        let shortcut = self.all.get(&id).ok_or(Errno::ENOENT)?;
        let state = shortcut.table.word(shortcut.number, slot::STATE);
        if state.swap(0, Ordering::AcqRel) != 0 {
            // Gone already if its port began anew.
            let _ = shortcut.table.entries.remove(&shortcut.key);
        }
        Ok(())
    }

    pub(crate) fn read(&self, id: u64) -> Result<ShortcutCounters, Errno> {
        let shortcut = self.all.get(&id).ok_or(Errno::ENOENT)?;
        let values = shortcut.table.counters.get(&shortcut.number.to_ne_bytes())?;
        let mut counters = ShortcutCounters::default();
        for value in values.as_chunks::<COUNTERS_SIZE>().0 {
            let [packets, bytes, used_ns, tcp_flags] = std::array::from_fn(|word| {
                u64::from_ne_bytes(std::array::from_fn(|at| value[8 * word + at]))
            });
            counters.packets += packets;
            counters.bytes += bytes;
            counters.used_ns = counters.used_ns.max(used_ns);
            counters.tcp_flags |= tcp_flags;
        }
        Ok(counters)
    }

    /// Forgets an ended one: its slot may be used again.
    pub(crate) fn free(&mut self, id: u64) {
        // One that its caller forgot to end.
        let _ = self.end(id);
        self.all.remove(&id);
    }
}

/// Waits until no processor is at work on a frame that came before.
pub(crate) fn settle() {
    // SAFETY: no pointers.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_GLOBAL, 0, 0) };
    if result < 0 {
        thread::sleep(SETTLE);
    }
}

/// Monotonic time as BPF programs see it, in nanoseconds.
pub(crate) fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a timespec that lives through the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests;
