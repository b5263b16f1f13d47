// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The threads that forward packets: they sleep until a port has something, and poll while there is traffic.
//!
//! A worker waits in epoll for its ports. A port that had something is *active*: it is polled again and again until it has no more.
//! While ports are active, epoll is asked now and then, without waiting, whether others became ready, so a busy port keeps nobody waiting.
//! A port that has no more is looked at again after the other threads of the processor had their turn, before it is waited for.
//! When none is active the worker may spin for a moment before it sleeps ([`Tuning`]).

use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use portway_datapath::{RxEntry, Switch, Worker};
use portway_vport::Vport;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;

use crate::clock;

/// Marks the wake-up descriptor among the events.
const WAKE: u64 = u64::MAX;
/// Rounds over the active ports between two looks at the others.
const LOOK_EVERY: u32 = 8;
/// So often a queue that has become empty is looked at again, with others' turn in between, before it is waited for.
const SECOND_LOOKS: u32 = 2;
/// So long it is looked how many packets go to user space.
const WINDOW_NS: u64 = 20_000_000;
/// Rounds with such packets in that time from which on a worker works in batches: a thousand a second.
const MANY_ROUNDS: u32 = 20;
/// Events taken at once.
const EVENTS: usize = 64;
/// A worker that had nothing to do for so long gives its buffers back and then sleeps for as long as nothing happens.
const REST_AFTER: Duration = Duration::from_millis(200);
/// A port that failed is left alone for so long.
const PENALTY: Duration = Duration::from_millis(100);
/// Failures in a row after which it is.
const ERRORS_MAX: u32 = 3;
/// A port that can be neither waited for nor must be polled without pause is polled in this rhythm.
const TIMER: Duration = Duration::from_millis(1);

/// How workers behave; may change at any time.
#[derive(Debug, Default)]
pub(crate) struct Tuning {
    spin_us: AtomicU64,
}

impl Tuning {
    /// For how many microseconds a worker looks for more before it sleeps.
    pub(crate) fn set_spin_us(&self, spin_us: u64) {
        self.spin_us.store(spin_us, Ordering::Relaxed);
    }

    fn spin(&self) -> Duration {
        Duration::from_micros(self.spin_us.load(Ordering::Relaxed))
    }
}

/// What others may do to a worker.
#[derive(Debug)]
pub(crate) struct Handle {
    /// Ports whose device has gone are told of here.
    lost: Sender<Weak<Vport>>,
    wake: OwnedFd,
    stop: AtomicBool,
    /// Panics that were contained.
    pub(crate) faults: AtomicU64,
}

impl Handle {
    /// Ports whose device turns out to have gone are sent to `lost`.
    pub(crate) fn new(lost: Sender<Weak<Vport>>) -> std::io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self { lost, wake, stop: AtomicBool::new(false), faults: AtomicU64::new(0) })
    }

    /// Makes the worker look at its receive queues again.
    pub(crate) fn wake(&self) {
        // Full: it has not yet seen an earlier wake-up.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// Makes the worker end.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake();
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// Runs worker `index` until it is stopped. A panic costs the packets in its hands, not the switch: the worker begins anew.
pub(crate) fn run(switch: &Arc<Switch>, index: usize, handle: &Handle, tuning: &Tuning) {
    while !handle.is_stopped() {
        let ended = catch_unwind(AssertUnwindSafe(|| -> std::io::Result<()> {
            Loop::new(switch, index, handle, tuning)?.run();
            Ok(())
        }));
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!("worker {index} cannot wait for its ports: {error}");
                std::thread::sleep(PENALTY);
            }
            Err(_) => {
                // As it begins.
                let _ = portway_sched::work_at_once();
                let faults = handle.faults.fetch_add(1, Ordering::Relaxed) + 1;
                tracing::error!(
                    "worker {index} failed and begins anew ({faults} times so far); please report this"
                );
                std::thread::sleep(PENALTY);
            }
        }
    }
}

/// How the system schedules a worker: as any thread, so that packets wait for nobody; but while many go to user space, as one that works in
/// batches. Then it is woken by whoever sets flows up, and would take the processor from there for each packet.
#[derive(Default)]
struct Manner {
    in_batches: bool,
    window_began_ns: u64,
    /// Rounds since then after which packets waited for user space.
    rounds: u32,
}

impl Manner {
    /// After a round with packets. `for_user_space`: some wait for that.
    fn note(&mut self, for_user_space: bool, now_ns: u64) {
        self.rounds += u32::from(for_user_space);
        if now_ns.saturating_sub(self.window_began_ns) < WINDOW_NS {
            return;
        }
        let in_batches = self.rounds >= MANY_ROUNDS;
        (self.window_began_ns, self.rounds) = (now_ns, 0);
        if in_batches == self.in_batches {
            return;
        }
        self.in_batches = in_batches;
        let changed =
            if in_batches { portway_sched::work_in_batches() } else { portway_sched::work_at_once() };
        if let Err(error) = changed {
            // Not allowed here: then it is as it was.
            tracing::debug!("the thread's scheduling stays as it was: {error}");
        }
    }
}

/// How a port is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    Epoll,
    Always,
    Timer,
}

struct Source {
    id: u64,
    wait: Wait,
    is_active: bool,
    /// How often in a row it had nothing.
    empty: u32,
    errors: u32,
    penalty_until: Option<Instant>,
    /// Weak: a port that is deleted is destroyed whatever this worker does. Its descriptor then leaves epoll by itself.
    port: Weak<Vport>,
    queue: usize,
}

struct Loop<'h> {
    worker: Worker,
    switch: &'h Arc<Switch>,
    manner: Manner,
    handle: &'h Handle,
    tuning: &'h Tuning,
    epoll: OwnedFd,
    generation: u64,
    /// By ascending id.
    sources: Vec<Source>,
    /// Places in `sources` that are polled.
    active: Vec<usize>,
    penalties: usize,
}

impl<'h> Loop<'h> {
    fn new(
        switch: &'h Arc<Switch>,
        index: usize,
        handle: &'h Handle,
        tuning: &'h Tuning,
    ) -> std::io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &handle.wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        Ok(Self {
            worker: switch.worker(index),
            switch,
            manner: Manner::default(),
            handle,
            tuning,
            epoll,
            generation: u64::MAX,
            sources: Vec::new(),
            active: Vec::new(),
            penalties: 0,
        })
    }

    fn run(mut self) {
        let mut idle_since: Option<Instant> = None;
        let mut has_rested = true;
        while !self.handle.is_stopped() {
            self.follow_entries();
            let mut packets = 0;
            for _ in 0..LOOK_EVERY {
                let polled = self.poll_active();
                packets += polled;
                if polled == 0 {
                    break;
                }
            }
            if packets > 0 {
                self.manner.note(!self.switch.upcalls().is_empty(), clock::now_ns());
                (idle_since, has_rested) = (None, false);
                self.look(Some(Duration::ZERO));
                continue;
            }
            if self.active.iter().any(|&place| self.sources[place].wait == Wait::Epoll) {
                // Whoever has this processor next may well be who sends to us: that costs less than to sleep and be woken.
                std::thread::yield_now();
                continue;
            }
            let now = Instant::now();
            let idle = now.duration_since(*idle_since.get_or_insert(now));
            if idle >= REST_AFTER && !has_rested {
                self.worker.rest();
                has_rested = true;
            }
            self.look(self.patience(idle, has_rested));
        }
    }

    /// How long to wait for something to happen; `None`: as long as it takes.
    fn patience(&self, idle: Duration, has_rested: bool) -> Option<Duration> {
        let any = |wait| self.sources.iter().any(|source| source.wait == wait);
        if idle < self.tuning.spin() || any(Wait::Always) {
            Some(Duration::ZERO)
        } else if any(Wait::Timer) {
            Some(TIMER)
        } else if self.penalties > 0 {
            Some(PENALTY)
        } else if has_rested {
            None
        } else {
            Some(REST_AFTER)
        }
    }

    /// Takes over the receive queues that the switch has assigned to this worker, if they have changed.
    fn follow_entries(&mut self) {
        let generation = self.worker.entries_generation();
        if generation == self.generation {
            return;
        }
        self.generation = generation;
        let entries = self.worker.entries();
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.sources)
            .into_iter()
            .partition(|source| entries.binary_search_by_key(&source.id, RxEntry::id).is_ok());
        self.sources = kept;
        for source in &gone {
            self.forget(source);
        }
        for entry in entries {
            let id = entry.id();
            if self.sources.binary_search_by_key(&id, |source| source.id).is_err() {
                let (wait, port, queue) = (self.begin_waiting(&entry), entry.port(), entry.queue());
                let port = Arc::downgrade(port);
                let source = Source {
                    id,
                    wait,
                    is_active: true,
                    empty: 0,
                    errors: 0,
                    penalty_until: None,
                    port,
                    queue,
                };
                // Ids ascend, and new ones are higher than old ones.
                self.sources.push(source);
            }
        }
        self.sources.sort_by_key(|source| source.id);
        let is_active = |(_, source): &(usize, &Source)| source.is_active || source.wait != Wait::Epoll;
        self.active = self.sources.iter().enumerate().filter(is_active).map(|(place, _)| place).collect();
    }

    fn begin_waiting(&self, entry: &RxEntry) -> Wait {
        let port = entry.port();
        match self.watch(port, entry.queue(), entry.id()) {
            Some(Ok(())) => Wait::Epoll,
            Some(Err(errno)) => {
                tracing::warn!(port = %port.name(), "cannot wait for the port, polls it instead: {errno}");
                Wait::Timer
            }
            None if port.is_busy_poll() => Wait::Always,
            None => Wait::Timer,
        }
    }

    /// Lets epoll wait for a queue; `None`: it has nothing to wait for.
    fn watch(&self, port: &Vport, queue: usize, id: u64) -> Option<Result<(), Errno>> {
        let source = port.handle().rx_event_source(queue)?;
        Some(epoll::add(&self.epoll, source, EventData::new_u64(id), EventFlags::IN))
    }

    fn forget(&self, source: &Source) {
        if let Some(port) = source.port.upgrade()
            && let Some(fd) = port.handle().rx_event_source(source.queue)
        {
            // It may have left by itself, with its penalty.
            let _ = epoll::delete(&self.epoll, fd);
        }
    }

    /// One batch from each active port; returns the number of packets.
    fn poll_active(&mut self) -> usize {
        let mut packets = 0;
        let mut active = std::mem::take(&mut self.active);
        active.retain(|&place| {
            let received = self.poll(place);
            packets += received;
            let source = &mut self.sources[place];
            source.empty = if received > 0 { 0 } else { source.empty.saturating_add(1) };
            source.is_active = source.empty <= SECOND_LOOKS || source.wait != Wait::Epoll;
            source.is_active
        });
        self.active = active;
        packets
    }

    fn poll(&mut self, place: usize) -> usize {
        let source = &mut self.sources[place];
        match self.worker.poll(source.id, clock::now_ns()) {
            Ok(received) => {
                source.errors = 0;
                received
            }
            // That frame is lost and counted; the port is well, and there may be more.
            Err(portway_vport::Errno::EMSGSIZE) => 1,
            Err(errno) => {
                self.punish(place, errno);
                0
            }
        }
    }

    fn activate(&mut self, place: usize) {
        self.sources[place].empty = 0;
        if !std::mem::replace(&mut self.sources[place].is_active, true) {
            self.active.push(place);
        }
    }

    /// A port failed: once is the news that its device went down; again and again must not keep the worker busy.
    fn punish(&mut self, index: usize, errno: portway_vport::Errno) {
        let source = &mut self.sources[index];
        source.errors = source.errors.saturating_add(1);
        if errno == portway_vport::Errno(Errno::NETDOWN.raw_os_error()) {
            // Nobody listens any more when the daemon ends.
            let _ = self.handle.lost.send(Weak::clone(&source.port));
        }
        if source.errors > ERRORS_MAX && source.penalty_until.is_none() {
            tracing::debug!(?errno, "a port fails to receive");
            source.penalty_until = Some(Instant::now() + PENALTY);
            self.penalties += 1;
            self.forget(&self.sources[index]);
        }
    }

    /// Waits for ports to have something.
    fn look(&mut self, patience: Option<Duration>) {
        let timeout = patience.map(|patience| Timespec {
            tv_sec: patience.as_secs() as i64,
            tv_nsec: i64::from(patience.subsec_nanos()),
        });
        let mut events = [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; EVENTS];
        // Interrupted by a signal at most: the loop comes back here.
        let count = epoll::wait(&self.epoll, &mut events[..], timeout.as_ref()).unwrap_or_default();
        for event in &events[..count] {
            match event.data.u64() {
                WAKE => {
                    let _ = rustix::io::read(&self.handle.wake, &mut [0; 8]);
                }
                id => {
                    if let Ok(place) = self.sources.binary_search_by_key(&id, |source| source.id) {
                        self.activate(place);
                    }
                }
            }
        }
        if self.penalties > 0 {
            self.forgive();
        }
    }

    /// Waits again for ports whose penalty is over.
    fn forgive(&mut self) {
        let now = Instant::now();
        for index in 0..self.sources.len() {
            let source = &mut self.sources[index];
            if source.penalty_until.is_none_or(|until| now < until) {
                continue;
            }
            source.penalty_until = None;
            let (id, queue, port) = (source.id, source.queue, source.port.upgrade());
            if let Some(port) = port
                && let Some(Err(_)) = self.watch(&port, queue, id)
            {
                self.sources[index].wait = Wait::Timer;
            }
            self.activate(index);
        }
        self.penalties = self.sources.iter().filter(|source| source.penalty_until.is_some()).count();
    }
}
