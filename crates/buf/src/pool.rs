// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where packet buffers come from.
//!
//! Each worker owns a [`Pool`]: two plain stacks of free buffers, last in first out so that the buffers in use
//! stay in the first cache levels. Stacks are filled from, and spill to, one process-wide depot, a locked list that is touched
//! once for many packets. A packet dropped on a thread without a pool (a control thread) goes to the depot.
//!
//! Memory is bounded by what is in flight: the depot keeps a limited number of free buffers and gives the rest back to
//! the system.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::packet::{Packet, RawPacket};
use crate::{BATCH_MAX, FRAME_MAX, HEADROOM};

/// The two sizes of buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    /// For frames of up to [`Class::frame_max`] bytes: any ordinary MTU.
    Small = 0,
    /// For frames of up to [`FRAME_MAX`] bytes: jumbo frames and 64 KiB segments.
    Large = 1,
}

impl Class {
    const ALL: [Self; 2] = [Self::Small, Self::Large];

    /// Bytes of the data area. An odd number of cache lines together with the 128-byte header, so that the
    /// heads of consecutive buffers spread over the cache's sets.
    const fn capacity(self) -> usize {
        match self {
            Self::Small => 2112,
            Self::Large => 66_240 + 64,
        }
    }

    /// The longest frame that fits, in bytes.
    pub const fn frame_max(self) -> usize {
        self.capacity() - HEADROOM
    }

    /// The class that a frame of `len` bytes needs; `None`: longer than [`FRAME_MAX`].
    pub const fn for_frame(len: usize) -> Option<Self> {
        if len <= Self::Small.frame_max() {
            Some(Self::Small)
        } else if len <= FRAME_MAX {
            Some(Self::Large)
        } else {
            None
        }
    }

    const fn from_u8(class: u8) -> Self {
        if class == Self::Small as u8 { Self::Small } else { Self::Large }
    }

    fn layout(self) -> Layout {
        Layout::from_size_align(size_of::<RawPacket>() + self.capacity(), align_of::<RawPacket>())
            .expect("the classes' sizes are small constants")
    }

    /// How many free buffers a pool keeps before it spills to the depot.
    const fn pool_keeps(self) -> usize {
        match self {
            Self::Small => 1024,
            Self::Large => 64,
        }
    }

    /// How many free buffers the depot keeps before it gives memory back to the system.
    const fn depot_keeps(self) -> usize {
        match self {
            Self::Small => 2048,
            Self::Large => 32,
        }
    }
}

const _: () = assert!(FRAME_MAX + HEADROOM <= Class::Large.capacity());
const _: () = assert!(((Class::Small.capacity() + 128) / 64) % 2 == 1);

/// Free buffers, each exclusively owned by the list it is in.
struct FreeList(Vec<NonNull<RawPacket>>);

// SAFETY: a free buffer is referenced by its list only; nothing in it is tied to a thread.
unsafe impl Send for FreeList {}

struct Depot {
    free: [Mutex<FreeList>; 2],
    /// Buffers that exist, free or in use, of each class.
    live: [AtomicU64; 2],
}

static DEPOT: Depot = Depot {
    free: [Mutex::new(FreeList(Vec::new())), Mutex::new(FreeList(Vec::new()))],
    live: [AtomicU64::new(0), AtomicU64::new(0)],
};

/// Buffers that exist (free or in use) and those that lie free in the depot: `[(live, free); 2]`, small then large.
pub fn depot_stats() -> [(u64, u64); 2] {
    Class::ALL.map(|class| {
        let free = lock(&DEPOT.free[class as usize]).0.len() as u64;
        (DEPOT.live[class as usize].load(Ordering::Relaxed), free)
    })
}

fn lock(list: &Mutex<FreeList>) -> std::sync::MutexGuard<'_, FreeList> {
    // A panic while the lock is held cannot leave a list half-changed: Vec's push and pop are atomic in that sense.
    list.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn create(class: Class) -> NonNull<RawPacket> {
    let layout = class.layout();
    // SAFETY: the layout's size is not zero.
    let base = unsafe { alloc(layout) };
    let Some(raw) = NonNull::new(base.cast::<RawPacket>()) else { handle_alloc_error(layout) };
    DEPOT.live[class as usize].fetch_add(1, Ordering::Relaxed);
    // SAFETY: the allocation is `size_of::<RawPacket>() + capacity` bytes; the area follows the header. Large areas are
    // written once so that every byte is initialised (the reads in `Packet::frame` rely on it).
    unsafe {
        let area = base.add(size_of::<RawPacket>());
        std::ptr::write_bytes(area, 0, class.capacity());
        raw.write(RawPacket::new(area, class.capacity() as u32, class as u8, release_to_depot));
    }
    raw
}

fn destroy(raw: NonNull<RawPacket>) {
    // SAFETY: `raw` came from `create` and is owned by the caller, who drops it here.
    unsafe {
        let class = Class::from_u8(raw.as_ref().class);
        DEPOT.live[class as usize].fetch_sub(1, Ordering::Relaxed);
        std::ptr::drop_in_place(raw.as_ptr());
        dealloc(raw.as_ptr().cast(), class.layout());
    }
}

/// [`RawPacket::release`] of every buffer made here.
unsafe extern "C" fn release_to_depot(raw: *mut RawPacket) {
    let Some(raw) = NonNull::new(raw) else { return };
    // SAFETY: the caller owns the buffer (contract of `release`); wrapping it gives access to its reset methods,
    // and `into_raw` takes it out again before it would be dropped.
    let (raw, class) = unsafe {
        let mut packet = Packet::from_raw(raw);
        packet.recycle();
        let raw = packet.into_raw();
        (raw, Class::from_u8(raw.as_ref().class))
    };
    let mut list = lock(&DEPOT.free[class as usize]);
    if list.0.len() < class.depot_keeps() {
        list.0.push(raw);
    } else {
        drop(list);
        destroy(raw);
    }
}

fn allocate(class: Class) -> Packet {
    let free = lock(&DEPOT.free[class as usize]).0.pop();
    let raw = free.unwrap_or_else(|| create(class));
    // SAFETY: the buffer is fresh or was in the depot's list, so nobody else owns it.
    unsafe { Packet::from_raw(raw) }
}

pub(crate) fn allocate_fitting(len: usize) -> Option<Packet> {
    Class::for_frame(len).map(allocate)
}

/// The part of a pool that modules see: two functions (`struct portway_pool` in `portway_vport.h`).
#[repr(C)]
pub struct PoolHandle {
    /// Fills `out[0..n]` with empty packets of `class` (0 small, 1 large) and returns how many there are
    /// (always `n` today; a pool with a limit may give fewer).
    pub alloc: unsafe extern "C" fn(pool: *mut Self, class: u32, out: *mut *mut RawPacket, n: u32) -> u32,
    /// Takes `packets[0..n]` back.
    pub free: unsafe extern "C" fn(pool: *mut Self, packets: *mut *mut RawPacket, n: u32),
}

/// A pool as a port type uses it: through the C ABI's two functions, so that a module built apart from the host (whose
/// [`Pool`] may be laid out otherwise) gets its packets from the host's memory. Take and give in batches: each is one call.
pub struct PoolRef<'a> {
    handle: NonNull<PoolHandle>,
    pool: std::marker::PhantomData<&'a mut Pool>,
}

impl PoolRef<'_> {
    /// The pool behind a handle that the host passed to a callback.
    ///
    /// # Safety
    /// `handle` must be valid, and used by nothing else, for `'a`.
    pub unsafe fn from_handle(handle: NonNull<PoolHandle>) -> Self {
        Self { handle, pool: std::marker::PhantomData }
    }

    /// Appends up to `n` empty packets of `class` to `batch`, as many as it has room for.
    #[inline]
    pub fn take_into(&mut self, class: Class, n: usize, batch: &mut crate::Batch) {
        let n = n.min(batch.remaining_capacity());
        let start = batch.len();
        // SAFETY: the handle is valid (`from_handle`); the batch has room for `n` pointers behind `start`; a `Packet` is
        // one non-null pointer (repr(transparent)), and the first `got` of them are filled by the call.
        unsafe {
            let out = batch.as_mut_ptr().add(start).cast::<*mut RawPacket>();
            let handle = self.handle.as_ptr();
            let got = ((*handle).alloc)(handle, class as u32, out, n as u32) as usize;
            batch.set_len(start + got.min(n));
        }
    }

    /// An empty packet of `class`; `None` if the host has none to give.
    pub fn take(&mut self, class: Class) -> Option<Packet> {
        let mut batch = crate::Batch::new();
        self.take_into(class, 1, &mut batch);
        batch.pop()
    }

    /// Takes every packet of `batch` back.
    #[inline]
    pub fn give_all(&mut self, batch: &mut crate::Batch) {
        let n = batch.len();
        // SAFETY: as in `take_into`; ownership of the `n` packets passes to the callee before the batch forgets them.
        unsafe {
            let handle = self.handle.as_ptr();
            let packets = batch.as_mut_ptr().cast::<*mut RawPacket>();
            batch.set_len(0);
            ((*handle).free)(handle, packets, n as u32);
        }
    }

    /// Takes one packet back.
    pub fn give(&mut self, packet: Packet) {
        let mut raw = packet.into_raw().as_ptr();
        // SAFETY: as in `give_all`.
        unsafe {
            let handle = self.handle.as_ptr();
            ((*handle).free)(handle, &raw mut raw, 1);
        }
    }
}

/// A worker's own free buffers.
#[repr(C)]
pub struct Pool {
    handle: PoolHandle,
    free: [FreeList; 2],
}

impl Default for Pool {
    fn default() -> Self {
        Self::new()
    }
}

impl Pool {
    /// An empty pool: it fills from the depot, and that from the system, on first use.
    pub fn new() -> Self {
        let list = |class: Class| FreeList(Vec::with_capacity(class.pool_keeps() + BATCH_MAX));
        Self {
            handle: PoolHandle { alloc: handle_alloc, free: handle_free },
            free: [list(Class::Small), list(Class::Large)],
        }
    }

    /// The pool as modules see it.
    pub fn handle(&mut self) -> *mut PoolHandle {
        (&raw mut *self).cast()
    }

    /// The pool as port types use it.
    pub fn as_ref(&mut self) -> PoolRef<'_> {
        // SAFETY: the handle is this pool's and the borrow keeps it in place and unused.
        unsafe { PoolRef::from_handle(NonNull::from_mut(self).cast()) }
    }

    /// The pool behind a handle.
    ///
    /// # Safety
    /// `handle` must come from [`Pool::handle`] of a pool that outlives `'a` and is not used otherwise meanwhile.
    unsafe fn from_handle<'a>(handle: *mut PoolHandle) -> &'a mut Self {
        // SAFETY: `Pool` is repr(C) with the handle first, and the caller vouches for the rest.
        unsafe { &mut *handle.cast::<Self>() }
    }

    /// An empty packet for a frame of up to `class.frame_max()` bytes.
    #[inline]
    pub fn take(&mut self, class: Class) -> Packet {
        let list = &mut self.free[class as usize].0;
        let raw = match list.pop() {
            Some(raw) => raw,
            None => self.refill(class),
        };
        // SAFETY: a buffer in our list is owned by nobody else.
        unsafe { Packet::from_raw(raw) }
    }

    /// A packet with a copy of `frame`; `None` if it is longer than [`FRAME_MAX`].
    #[inline]
    pub fn copy(&mut self, frame: &[u8]) -> Option<Packet> {
        let mut packet = self.take(Class::for_frame(frame.len())?);
        packet.set_frame(frame);
        Some(packet)
    }

    /// A full copy of a packet, with its offloads and metadata.
    pub fn duplicate(&mut self, packet: &Packet) -> Option<Packet> {
        let mut copy = self.take(Class::for_frame(packet.len())?);
        copy.assign(packet).then_some(copy)
    }

    /// Takes a packet back.
    #[inline]
    pub fn give(&mut self, mut packet: Packet) {
        packet.recycle();
        let raw = packet.into_raw();
        // SAFETY: we own the buffer until it is in the list.
        let class = Class::from_u8(unsafe { raw.as_ref().class });
        let list = &mut self.free[class as usize].0;
        list.push(raw);
        if list.len() >= class.pool_keeps() {
            self.spill(class);
        }
    }

    /// Free buffers held, small and large.
    pub fn held(&self) -> [usize; 2] {
        [self.free[0].0.len(), self.free[1].0.len()]
    }

    /// Gives all but a few of the free buffers to the depot, and those that it does not keep to the system: for a worker
    /// that goes idle.
    pub fn trim(&mut self) {
        for class in Class::ALL {
            self.spill_to(class, 0);
        }
    }

    #[cold]
    fn refill(&mut self, class: Class) -> NonNull<RawPacket> {
        let wanted = if class == Class::Small { BATCH_MAX } else { 4 };
        let mut depot = lock(&DEPOT.free[class as usize]);
        let keep = depot.0.len().saturating_sub(wanted);
        let list = &mut self.free[class as usize].0;
        list.extend(depot.0.drain(keep..));
        drop(depot);
        list.pop().unwrap_or_else(|| create(class))
    }

    #[cold]
    fn spill(&mut self, class: Class) {
        self.spill_to(class, class.pool_keeps() / 2);
    }

    fn spill_to(&mut self, class: Class, keep: usize) {
        let mut list = lock(&DEPOT.free[class as usize]);
        let mine = &mut self.free[class as usize].0;
        let room = class.depot_keeps().saturating_sub(list.0.len());
        let mut excess = mine.drain(keep.min(mine.len())..);
        list.0.extend(excess.by_ref().take(room));
        drop(list);
        excess.for_each(destroy);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.trim();
    }
}

unsafe extern "C" fn handle_alloc(
    pool: *mut PoolHandle,
    class: u32,
    out: *mut *mut RawPacket,
    n: u32,
) -> u32 {
    // An array of none may be a null pointer.
    if n == 0 {
        return 0;
    }
    // SAFETY: the caller passes the handle that it was given, for the duration of this call.
    let pool = unsafe { Pool::from_handle(pool) };
    let class = if class == 0 { Class::Small } else { Class::Large };
    let n = n as usize;
    // SAFETY: the caller's array has room for `n` pointers; whether they are initialised does not matter to MaybeUninit.
    let out = unsafe { std::slice::from_raw_parts_mut(out.cast::<MaybeUninit<NonNull<RawPacket>>>(), n) };
    let list = &mut pool.free[class as usize].0;
    if let Some(rest) = list.len().checked_sub(n) {
        for (to, from) in out.iter_mut().zip(list.drain(rest..)) {
            to.write(from);
        }
    } else {
        for to in out {
            to.write(pool.take(class).into_raw());
        }
    }
    n as u32
}

unsafe extern "C" fn handle_free(pool: *mut PoolHandle, packets: *mut *mut RawPacket, n: u32) {
    if n == 0 {
        return;
    }
    // SAFETY: as in `handle_alloc`; null pointers are a module's fault and are skipped.
    let (pool, packets) = unsafe {
        (
            Pool::from_handle(pool),
            std::slice::from_raw_parts(packets.cast::<Option<NonNull<RawPacket>>>(), n as usize),
        )
    };
    let mut all_small = true;
    for raw in packets {
        // SAFETY: the caller gives up ownership of packets that the pool (or the host) handed out; each is wrapped once here,
        // and taken out of its wrapper again before it would be dropped.
        let Some(mut packet) = raw.map(|raw| unsafe { Packet::from_raw(raw) }) else {
            all_small = false;
            continue;
        };
        packet.recycle();
        let raw = packet.into_raw();
        // SAFETY: the buffer is ours until it is in a list.
        all_small &= unsafe { raw.as_ref().class } == Class::Small as u8;
    }
    if all_small {
        let list = &mut pool.free[Class::Small as usize].0;
        list.extend(packets.iter().flatten());
        if list.len() >= Class::Small.pool_keeps() {
            pool.spill(Class::Small);
        }
        return;
    }
    for raw in packets.iter().flatten() {
        // SAFETY: as above; recycled already, so giving it costs little more.
        pool.give(unsafe { Packet::from_raw(*raw) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_clean_and_hot() {
        let mut pool = Pool::new();
        let mut packet = pool.copy(&[1; 60]).unwrap();
        packet.set_mark(5);
        packet.extension_mut().ct_zone = 1;
        packet.set_recirc_id(3);
        let address = packet.frame().as_ptr();
        pool.give(packet);
        let packet = pool.copy(&[2; 60]).unwrap();
        assert_eq!(packet.frame().as_ptr(), address, "last in, first out");
        assert_eq!((packet.mark(), packet.recirc_id(), packet.has_metadata()), (0, 0, false));
        assert!(packet.extension().is_none());
    }

    #[test]
    fn a_buffer_keeps_the_memory_of_its_metadata_but_not_the_metadata() {
        let mut pool = Pool::new();
        let mut packet = pool.copy(&[1; 60]).unwrap();
        let extension = packet.extension_mut();
        extension.ct_zone = 1;
        extension.tunnel_mut().options.extend([7; 40]);
        let (extension, tunnel) = (&raw const *extension, &raw const *extension.tunnel_mut());
        pool.give(packet);
        let mut packet = pool.copy(&[2; 60]).unwrap();
        assert!(packet.extension().is_none());
        packet.set_mru(9);
        assert!(packet.extension().is_none(), "another reason for a second line");
        let again = packet.extension_mut();
        assert_eq!((again.ct_zone, &again.tunnel, &raw const *again), (0, &None, extension));
        assert_eq!(&raw const *again.tunnel_mut(), tunnel);
        again.ct_zone = 3;
        let copy = pool.duplicate(&packet).unwrap();
        assert_eq!(copy.extension(), packet.extension());
        pool.give(packet);
        let plain = pool.copy(&[3; 60]).unwrap();
        let mut full = copy;
        full.copy_metadata(&plain);
        assert!(full.extension().is_none() && plain.extension().is_none());
    }

    #[test]
    fn a_pool_keeps_a_bounded_number() {
        let mut pool = Pool::new();
        let packets: Vec<_> = (0..5000).map(|_| pool.take(Class::Small)).collect();
        for packet in packets {
            pool.give(packet);
        }
        assert!(pool.held()[0] <= Class::Small.pool_keeps());
        pool.trim();
        assert_eq!(pool.held(), [0, 0]);
        assert!(depot_stats()[0].1 <= Class::Small.depot_keeps() as u64);
    }

    #[test]
    fn classes_follow_the_length() {
        assert_eq!(Class::for_frame(0), Some(Class::Small));
        assert_eq!(Class::for_frame(1728), Some(Class::Small));
        assert_eq!(Class::for_frame(1729), Some(Class::Large));
        assert_eq!(Class::for_frame(FRAME_MAX), Some(Class::Large));
        assert_eq!(Class::for_frame(FRAME_MAX + 1), None);
        let mut pool = Pool::new();
        assert_eq!(pool.copy(&vec![9; FRAME_MAX]).unwrap().len(), FRAME_MAX);
        assert!(pool.copy(&vec![9; FRAME_MAX + 1]).is_none());
    }

    #[test]
    fn batches_go_through_the_ref() {
        let mut pool = Pool::new();
        let mut batch = crate::Batch::new();
        pool.as_ref().take_into(Class::Small, 100, &mut batch);
        assert_eq!(batch.len(), BATCH_MAX, "as many as the batch has room for");
        pool.as_ref().give_all(&mut batch);
        assert!(batch.is_empty() && pool.held()[0] >= BATCH_MAX);
        let packet = pool.as_ref().take(Class::Large).unwrap();
        pool.as_ref().give(packet);
        assert!(pool.held()[1] >= 1);
    }

    #[test]
    fn modules_take_and_give_through_the_handle() {
        let mut pool = Pool::new();
        let handle = pool.handle();
        let mut packets = [std::ptr::null_mut(); 8];
        // SAFETY: the handle is this pool's, the array holds eight pointers, and ownership goes back at once.
        unsafe {
            assert_eq!(((*handle).alloc)(handle, 0, packets.as_mut_ptr(), 8), 8);
            assert!(packets.iter().all(|packet| !packet.is_null()));
            ((*handle).free)(handle, packets.as_mut_ptr(), 8);
            // None at all need no array.
            assert_eq!(((*handle).alloc)(handle, 0, std::ptr::null_mut(), 0), 0);
            ((*handle).free)(handle, std::ptr::null_mut(), 0);
        }
        assert!(pool.held()[0] >= 8);
    }
}
