// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which file descriptors are ours.
//!
//! Every call of an interposed function on any file descriptor asks this table, so for those that are not ours the answer costs two
//! loads. A slot holds one count of an `Arc<Socket>`, or a mark: the descriptor is one of this library's own, which the program does
//! not know and must not close.
//!
//! Locking: slots change, and a socket found in one gets its count, under [`LOCK`]. Nothing is dropped and no other lock is
//! taken under it. A file descriptor may have been closed past us and given to something else, so a socket is
//! recognised by its inode, too. Where bundles come, they are what it is recognised by: nothing else is given such datagrams.
//!
//! A child that `vfork` made lives in its parent's memory with file descriptors of its own: what it closes is not closed for the
//! parent. So it leaves the table alone, and no socket is ours there, but to receive what has come in a bundle, as a child may do
//! with any file descriptor that it shares. It is told by its process id, which `fork` keeps up to date.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};

use crate::lock::{ForkLock, Guard, getpid};
use crate::socket::Socket;

const CHUNK: usize = 256;
const CHUNKS: usize = 4096;
/// Our own file descriptors are moved up to here if there is room: programs expect the low numbers for themselves.
const HIDDEN_FROM: RawFd = 500;

type Chunk = [AtomicPtr<Socket>; CHUNK];

static CHUNK_TABLE: [AtomicPtr<Chunk>; CHUNKS] = [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS];
static LOCK: ForkLock<()> = ForkLock::new(());

/// The process whose table it is; 0 until there is something in it.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// Whether the table is another process's: the caller is a child that only borrows its memory.
pub(crate) fn is_borrowed() -> bool {
    let owner = OWNER.load(Ordering::Relaxed);
    owner != 0 && owner != getpid()
}

/// After a `fork`, in the child: what it has is its own. (`vfork` does not call this.)
extern "C" fn own() {
    OWNER.store(getpid(), Ordering::Relaxed);
}

/// The mark of a file descriptor that is the library's own.
const fn hidden() -> *mut Socket {
    ptr::without_provenance_mut(1)
}

fn chunk(fd: RawFd) -> Option<(&'static AtomicPtr<Chunk>, usize)> {
    let number = usize::try_from(fd).ok()?;
    Some((CHUNK_TABLE.get(number / CHUNK)?, number % CHUNK))
}

/// The slot of a file descriptor, if any of its neighbours was ever used.
fn slot(fd: RawFd) -> Option<&'static AtomicPtr<Socket>> {
    let (chunk, index) = chunk(fd)?;
    // SAFETY: a chunk's address, once published, is that of a leaked box (`make_slot`), valid for ever.
    let chunk = unsafe { chunk.load(Ordering::Acquire).as_ref() }?;
    chunk.get(index)
}

fn make_slot(fd: RawFd) -> Result<&'static AtomicPtr<Socket>, Errno> {
    let (place, _) = chunk(fd).ok_or(Errno::MFILE)?;
    if place.load(Ordering::Acquire).is_null() {
        let fresh: Box<Chunk> = Box::new([const { AtomicPtr::new(ptr::null_mut()) }; CHUNK]);
        let fresh = Box::into_raw(fresh);
        if place.compare_exchange(ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire).is_err() {
            // SAFETY: another thread's chunk was published; this one was seen by nobody.
            drop(unsafe { Box::from_raw(fresh) });
        }
    }
    slot(fd).ok_or(Errno::MFILE)
}

/// Takes what is in a slot's place; under the lock.
fn swap(slot: &AtomicPtr<Socket>, new: *mut Socket) -> Option<Arc<Socket>> {
    let old = slot.swap(new, Ordering::AcqRel);
    // SAFETY: a slot that is neither empty nor marked holds a count that `Arc::into_raw` gave; the swap took it out.
    (!old.is_null() && old != hidden()).then(|| unsafe { Arc::from_raw(old) })
}

/// The socket in a slot; under the lock.
fn shared(slot: &AtomicPtr<Socket>) -> Option<Arc<Socket>> {
    let found = slot.load(Ordering::Acquire);
    if found.is_null() || found == hidden() {
        return None;
    }
    // SAFETY: the slot holds a count, and under the lock it keeps it while another is made.
    unsafe {
        Arc::increment_strong_count(found);
        Some(Arc::from_raw(found))
    }
}

fn inode(fd: RawFd) -> Option<u64> {
    // SAFETY: the descriptor is only used for this call; if it is closed meanwhile, the call says so or speaks of another file.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    fstat(fd).ok().map(|stat| stat.st_ino)
}

/// The netlink socket that a file descriptor is.
pub(crate) fn find(fd: RawFd) -> Option<Arc<Socket>> {
    let slot = slot(fd)?;
    let found = slot.load(Ordering::Acquire);
    if found.is_null() || found == hidden() || is_borrowed() {
        return None;
    }
    let guard = LOCK.lock();
    let socket = shared(slot)?;
    recognise(fd, slot, &socket, guard).then_some(socket)
}

/// Whether a file descriptor still is the socket that was found in its slot. If not, that leaves the slot.
fn recognise(fd: RawFd, slot: &AtomicPtr<Socket>, socket: &Arc<Socket>, guard: Guard<'_, ()>) -> bool {
    if inode(fd) == Some(socket.inode()) {
        return true;
    }
    let holds = ptr::eq(slot.load(Ordering::Acquire), Arc::as_ptr(socket));
    let stale = if holds { swap(slot, ptr::null_mut()) } else { None };
    drop(guard);
    drop(stale);
    false
}

/// As [`find`], to receive. Where bundles come the caller looks ([`is_still`]) at what else comes.
pub(crate) fn find_to_receive(fd: RawFd) -> Option<Arc<Socket>> {
    let slot = slot(fd)?;
    if slot.load(Ordering::Acquire).is_null() {
        return None;
    }
    let guard = LOCK.lock();
    let found = shared(slot)?;
    drop(guard);
    if found.takes_bundles() { Some(found) } else { find(fd) }
}

/// Whether a file descriptor still is that socket; if something else has taken its place, that is known from now on.
pub(crate) fn is_still(fd: RawFd, socket: &Arc<Socket>) -> bool {
    !is_borrowed() && slot(fd).is_some_and(|slot| recognise(fd, slot, socket, LOCK.lock()))
}

/// Whether a file descriptor is the library's own.
pub(crate) fn is_hidden(fd: RawFd) -> bool {
    slot(fd).is_some_and(|slot| slot.load(Ordering::Acquire) == hidden())
}

fn put(fd: RawFd, value: *mut Socket) -> Result<(), Errno> {
    let slot = make_slot(fd)?;
    if OWNER.load(Ordering::Relaxed) == 0 {
        // SAFETY: the function is there as long as the program, and does nothing that a child may not do. (Two threads that are both
        // the first register it twice, which does not matter.)
        unsafe { libc::pthread_atfork(None, None, Some(own)) };
        own();
    }
    let guard = LOCK.lock();
    let stale = swap(slot, value);
    drop(guard);
    drop(stale);
    Ok(())
}

/// From now on this file descriptor is that socket.
///
/// # Errors
/// EMFILE: its number is beyond the table, or the table is not this process's.
pub(crate) fn insert(fd: RawFd, socket: Arc<Socket>) -> Result<(), Errno> {
    if is_borrowed() {
        return Err(Errno::MFILE);
    }
    make_slot(fd)?;
    put(fd, Arc::into_raw(socket).cast_mut())
}

/// This file descriptor is no socket of ours any more: it is about to be closed.
pub(crate) fn remove(fd: RawFd) {
    if slot(fd).is_some_and(|slot| !slot.load(Ordering::Acquire).is_null()) && !is_borrowed() {
        // The slot exists, so this cannot fail.
        let _ = put(fd, ptr::null_mut());
    }
}

/// As [`remove`], for a range; the library's own are not spared, since the system call that follows does not spare them.
pub(crate) fn remove_range(first: RawFd, last: RawFd) {
    let (first_chunk, last_chunk) = (first / CHUNK as RawFd, last / CHUNK as RawFd);
    for (number, chunk) in CHUNK_TABLE.iter().enumerate() {
        let number = number as RawFd;
        if (first_chunk..=last_chunk).contains(&number) && !chunk.load(Ordering::Acquire).is_null() {
            let start = number * CHUNK as RawFd;
            (start.max(first)..=last.min(start + CHUNK as RawFd - 1)).for_each(remove);
        }
    }
}

/// All sockets of ours; one with two file descriptors comes twice.
pub(crate) fn all() -> Vec<(RawFd, Arc<Socket>)> {
    let used = (0..CHUNKS).filter(|&number| !CHUNK_TABLE[number].load(Ordering::Acquire).is_null());
    let fds: Vec<RawFd> =
        used.flat_map(|number| number * CHUNK..(number + 1) * CHUNK).map(|fd| fd as RawFd).collect();
    fds.into_iter().filter_map(|fd| Some((fd, find(fd)?))).collect()
}

/// Puts another file in the place of a socket's, under all its numbers, with the flags that they have.
///
/// # Errors
/// EBADF: the socket has been closed.
pub(crate) fn replace(socket: &Arc<Socket>, file: BorrowedFd<'_>) -> Result<(), Errno> {
    let fds: Vec<RawFd> =
        all().into_iter().filter(|(_, other)| Arc::ptr_eq(other, socket)).map(|(fd, _)| fd).collect();
    let new_inode = fstat(file)?.st_ino;
    let guard = LOCK.lock();
    let mut result = Err(Errno::BADF);
    for fd in fds {
        let still = slot(fd).is_some_and(|slot| ptr::eq(slot.load(Ordering::Acquire), Arc::as_ptr(socket)));
        if still && inode(fd) == Some(socket.inode()) {
            result = replace_one(fd, file);
        }
    }
    if result.is_ok() {
        socket.set_inode(new_inode);
    }
    drop(guard);
    result
}

fn replace_one(fd: RawFd, file: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: under the lock the number is a socket of ours, and its close waits for the lock.
    let place = unsafe { BorrowedFd::borrow_raw(fd) };
    rustix::fs::fcntl_setfl(file, rustix::fs::fcntl_getfl(place)?)?;
    for direction in [Timeout::Recv, Timeout::Send] {
        sockopt::set_socket_timeout(file, direction, sockopt::socket_timeout(place, direction)?)?;
    }
    let close_on_exec = rustix::io::fcntl_getfd(place)?.contains(rustix::io::FdFlags::CLOEXEC);
    let flags = if close_on_exec { rustix::io::DupFlags::CLOEXEC } else { rustix::io::DupFlags::empty() };
    // SAFETY: the number stays the program's, who closes it; this owner is taken apart below and closes nothing.
    let mut target = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) };
    let result = rustix::io::dup3(file, &mut target, flags);
    let _ = target.into_raw_fd();
    result
}

/// A file descriptor of the library's own. The program may close it all the same (`close_range`), or put something else in its place
/// (`dup2`): then it is the program's, who alone closes it.
#[derive(Debug)]
pub(crate) struct Hidden(ManuallyDrop<OwnedFd>);

impl Hidden {
    /// Hides one.
    ///
    /// # Errors
    /// EMFILE: its number is beyond the table.
    pub(crate) fn new(fd: OwnedFd) -> Result<Self, Errno> {
        let fd = rustix::io::fcntl_dupfd_cloexec(&fd, HIDDEN_FROM).unwrap_or(fd);
        put(fd.as_raw_fd(), hidden())?;
        Ok(Self(ManuallyDrop::new(fd)))
    }

    /// Whether it is still the library's.
    pub(crate) fn is_ours(&self) -> bool {
        is_hidden(self.0.as_raw_fd())
    }
}

impl AsFd for Hidden {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if is_hidden(self.0.as_raw_fd()) && !is_borrowed() {
            remove(self.0.as_raw_fd());
            // SAFETY: it is not used after this.
            unsafe { ManuallyDrop::drop(&mut self.0) };
        }
    }
}
