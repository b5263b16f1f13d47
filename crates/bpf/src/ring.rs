// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A ring buffer: records that programs write and this process reads, without system calls.

use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use portway_uapi::Errno;

use crate::map::MapAttributes;
use crate::sys::{self, bpf_fd};

/// BPF_MAP_TYPE_RINGBUF.
const KIND: u32 = 27;
/// Bytes in front of a record: its length with two flags, and what the kernel needs.
const HEADER: usize = 8;
/// The record is being written (BPF_RINGBUF_BUSY_BIT).
const BUSY: u32 = 1 << 31;
/// The record was given up (BPF_RINGBUF_DISCARD_BIT).
const DISCARDED: u32 = 1 << 30;

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A program is still writing it.
    Busy,
    /// The program gave it up.
    Discarded,
    /// What the program wrote.
    Ready(&'a [u8]),
}

/// A ring buffer with one reader. Positions count bytes since the beginning and only grow.
#[derive(Debug)]
pub struct Ring {
    fd: OwnedFd,
    /// The reader's position.
    consumer: Pages,
    /// The writers' position in the first page, then the data, twice in a row: a record at the end continues in the copy.
    producer: Pages,
    size: usize,
}

/// A mapping of the ring's.
#[derive(Debug)]
struct Pages {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: plain memory, valid until the drop; who writes and reads it is `Ring`'s affair.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

fn page_size() -> usize {
    // SAFETY: no pointers.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

impl Pages {
    fn map(fd: &OwnedFd, offset: usize, length: usize, protection: i32) -> Result<Self, Errno> {
        let (place, shared) = (std::ptr::null_mut(), libc::MAP_SHARED);
        // SAFETY: a fresh mapping at a place of the kernel's choice; nothing else is touched.
        let start = unsafe { libc::mmap(place, length, protection, shared, fd.as_raw_fd(), offset as _) };
        if start == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        Ok(Self { start: NonNull::new(start.cast()).ok_or(Errno(libc::ENOMEM))?, length })
    }

    /// The position at the start.
    fn position(&self) -> &AtomicUsize {
        // SAFETY: a mapping is at least a page and starts at one; both sides access the position atomically only, and the
        // mapping lives as long as `self`.
        unsafe { AtomicUsize::from_ptr(self.start.as_ptr().cast()) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping made by `map`, of that length; no reference into it outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

impl Ring {
    /// A ring of `size` bytes: a power of two, a page at least.
    pub fn new(size: u32) -> Result<Self, Errno> {
        let mut attributes = MapAttributes {
            kind: KIND,
            max_entries: size,
            name: *b"portway_ring\0\0\0\0",
            ..MapAttributes::default()
        };
        // SAFETY: the attributes hold no pointers.
        let fd = unsafe { bpf_fd(sys::MAP_CREATE, &mut attributes) }?;
        let (page, size) = (page_size(), size as usize);
        Ok(Self {
            consumer: Pages::map(&fd, 0, page, libc::PROT_READ | libc::PROT_WRITE)?,
            producer: Pages::map(&fd, page, page + 2 * size, libc::PROT_READ)?,
            fd,
            size,
        })
    }

    /// What programs refer to it by.
    pub fn raw_fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    /// The writers' position: all records begin before it.
    #[inline]
    pub fn end(&self) -> usize {
        self.producer.position().load(Ordering::Acquire)
    }

    /// The record at `at`, which is where one begins and not before the reader's position, and where the next one begins; `None`: there
    /// is none yet.
    ///
    /// # Panics
    /// If `at` is not aligned as records are, or not between the two positions.
    pub fn record(&self, at: usize) -> Option<(Record<'_>, usize)> {
        assert!(at.is_multiple_of(HEADER) && self.is_ahead(at), "no record begins at {at}");
        if at == self.end() {
            return None;
        }
        // SAFETY: inside the data, which follow the first page, and aligned to eight bytes; the writers' position has passed this one,
        // so its header is there.
        let start = unsafe { self.producer.start.as_ptr().add(page_size() + (at & (self.size - 1))) };
        // SAFETY: as above; the kernel writes the flags atomically.
        let header = unsafe { AtomicU32::from_ptr(start.cast()) }.load(Ordering::Acquire);
        let length = (header & !(BUSY | DISCARDED)) as usize;
        assert!(length < self.size, "the kernel makes no record that is longer than the ring");
        let next = at.wrapping_add((HEADER + length).next_multiple_of(8));
        let record = match (header & BUSY != 0, header & DISCARDED != 0) {
            (true, _) => Record::Busy,
            (false, true) => Record::Discarded,
            // SAFETY: `length` bytes behind the header, inside the data or their copy; the kernel does not touch a complete
            // record until the reader's position has passed it, for which `release` wants all of `self`.
            (false, false) => Record::Ready(unsafe { slice::from_raw_parts(start.add(HEADER), length) }),
        };
        Some((record, next))
    }

    /// Whether a position is between the reader's and the writers'.
    fn is_ahead(&self, position: usize) -> bool {
        let begin = self.consumer.position().load(Ordering::Relaxed);
        position.wrapping_sub(begin) <= self.end().wrapping_sub(begin)
    }

    /// The reader is done with all records before `position`: their room is free again.
    ///
    /// # Panics
    /// If that is not between the two positions.
    pub fn release(&mut self, position: usize) {
        assert!(self.is_ahead(position), "the reader cannot be at {position}");
        self.consumer.position().store(position, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Assembler, Helper, Op, ProgramKind, Reg, Size, When, load, skb};
    use std::os::unix::net::UnixDatagram;

    /// A filter that makes a record of each datagram: its length, twice. Those of one byte it gives up.
    fn filter(ring: &Ring) -> OwnedFd {
        let mut asm = Assembler::new();
        let (end, give_up) = (asm.label(), asm.label());
        asm.load(Size::Word, Reg::R7, Reg::R1, skb::LEN);
        asm.map(Reg::R1, ring.raw_fd());
        asm.op(Op::Move, Reg::R2, 12);
        asm.op(Op::Move, Reg::R3, 0);
        asm.call(Helper::RingReserve);
        asm.jump_when(When::Equal, Reg::R0, 0, end);
        asm.store(Size::Word, Reg::R0, 0, Reg::R7);
        asm.store_value(Size::Word, Reg::R0, 4, 0x55);
        asm.store(Size::Word, Reg::R0, 8, Reg::R7);
        asm.op_reg(Op::Move, Reg::R1, Reg::R0);
        asm.op(Op::Move, Reg::R2, 0);
        asm.jump_when(When::Equal, Reg::R7, 1, give_up);
        asm.call(Helper::RingSubmit);
        asm.jump(end);
        asm.place(give_up);
        asm.call(Helper::RingDiscard);
        asm.place(end);
        asm.op(Op::Move, Reg::R0, -1);
        asm.exit();
        load(ProgramKind::SocketFilter, b"portway_test\0\0\0\0", &asm.finish()).unwrap()
    }

    fn attach(socket: &UnixDatagram, program: &OwnedFd) {
        let fd = program.as_raw_fd();
        let (level, option) = (libc::SOL_SOCKET, libc::SO_ATTACH_BPF);
        // SAFETY: the value is a number of four bytes that lives through the call.
        let result =
            unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const fd).cast(), 4) };
        assert_eq!(result, 0, "{:?}", Errno::last());
    }

    #[test]
    fn records_are_read_in_order_around_the_end_and_a_full_ring_takes_no_more() {
        let mut ring = Ring::new(4096).unwrap();
        let (to, from) = UnixDatagram::pair().unwrap();
        attach(&from, &filter(&ring));
        let send = |length: usize| {
            to.send(&vec![0; length]).unwrap();
            from.recv(&mut [0; 64]).unwrap();
        };
        assert_eq!(ring.record(0), None);
        let mut at = 0;
        for round in 0..3 {
            // A record takes 24 bytes with its header.
            for number in 0..170 {
                send(1 + (round + number) % 50);
            }
            let end = ring.end();
            send(7);
            assert_eq!(ring.end(), end, "round {round}: the ring is full");
            for number in 0..170 {
                let length = 1 + (round + number) % 50;
                let (record, next) = ring.record(at).unwrap();
                if length == 1 {
                    assert_eq!(record, Record::Discarded);
                } else {
                    let word = (length as u32).to_ne_bytes();
                    assert_eq!(record, Record::Ready(&[word, 0x55_u32.to_ne_bytes(), word].concat()));
                }
                at = next;
            }
            assert_eq!((ring.record(at), at), (None, end));
            ring.release(at);
        }
        assert!(at > 2 * 4096);
    }

    #[test]
    fn positions_where_no_record_can_be_are_refused() {
        let mut ring = Ring::new(4096).unwrap();
        let (to, from) = UnixDatagram::pair().unwrap();
        attach(&from, &filter(&ring));
        for _ in 0..2 {
            to.send(&[0; 7]).unwrap();
            from.recv(&mut [0; 64]).unwrap();
        }
        ring.release(24);
        for at in [0, 28, 56, usize::MAX - 7] {
            let look = std::panic::AssertUnwindSafe(|| ring.record(at).is_some());
            assert!(std::panic::catch_unwind(look).is_err(), "{at}");
        }
        assert!(matches!(ring.record(24), Some((Record::Ready(_), 48))) && ring.record(48).is_none());
        let release = std::panic::AssertUnwindSafe(|| ring.release(0));
        assert!(std::panic::catch_unwind(release).is_err());
    }

    #[test]
    fn sizes_that_the_kernel_does_not_take_are_refused() {
        assert_eq!(Ring::new(0).err(), Some(Errno(libc::EINVAL)));
        assert_eq!(Ring::new(5000).err(), Some(Errno(libc::EINVAL)));
    }
}
