// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Receiving and sending on a TAP: one system call per packet (it has no call for many), none of them copied here.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::slice;

use portway_buf::receive::{Choice, REST_MAX, TooLong, give_back};
use portway_buf::{Batch, Packet, PoolRef, virtio};
use portway_vport::abi::TxReport;
use portway_vport::ops::Errno;

use crate::marked::{Marked, is_marked, now_ns};
use crate::notes::Notes;
use crate::tap::Tap;

/// What does not fit a small buffer lands here, on the caller's stack: pages that are not written cost nothing.
type Overflow = [MaybeUninit<u8>; REST_MAX];

/// The state of a receive queue.
#[derive(Debug, Default)]
pub(crate) struct RxQueue {
    choice: Choice,
    too_long: TooLong,
    /// Marks and priorities of the frames; `None`: the kernel refuses to tell.
    notes: Option<Notes>,
}

impl RxQueue {
    pub(crate) fn new(notes: Option<Notes>) -> Self {
        Self { notes, ..Self::default() }
    }

    /// Appends what the TAP has, as far as `batch` has room.
    pub(crate) fn receive(
        &mut self,
        tap: &Tap,
        pool: &mut PoolRef<'_>,
        batch: &mut Batch,
    ) -> Result<(), Errno> {
        if tap.is_gone() {
            return Ok(());
        }
        if let Some(notes) = &mut self.notes {
            notes.begin(now_ns);
        }
        let mut overflow: Overflow = [const { MaybeUninit::uninit() }; REST_MAX];
        loop {
            let start = batch.len();
            let offered = self.choice.take(pool, batch);
            if offered == 0 {
                break;
            }
            let (mut end, mut result) = (start, Ok(()));
            while end < batch.len() {
                match self.read(tap, pool, &mut batch[end], &mut overflow) {
                    Ok(true) => end += 1,
                    Ok(false) => self.too_long.add(),
                    Err(errno) => {
                        result = Err(errno);
                        break;
                    }
                }
            }
            give_back(pool, batch, end);
            self.choice.learn(end - start, offered);
            match result {
                Ok(()) if self.choice.is_large() => break,
                Ok(()) => {}
                Err(Errno(libc::EAGAIN)) => {
                    if let Some(notes) = &mut self.notes {
                        notes.queue_is_empty();
                    }
                    break;
                }
                Err(Errno(libc::EINTR)) => break,
                Err(Errno(libc::EBADFD)) => {
                    tap.set_gone();
                    return Err(Errno(libc::ENETDOWN));
                }
                Err(errno) => return Err(errno),
            }
        }
        if self.too_long.report() { Err(Errno(libc::EMSGSIZE)) } else { Ok(()) }
    }

    /// Reads one frame into `packet`; false if it was longer than the switch carries.
    fn read(
        &mut self,
        tap: &Tap,
        pool: &mut PoolRef<'_>,
        packet: &mut Packet,
        overflow: &mut Overflow,
    ) -> Result<bool, Errno> {
        let start = self.choice.start() - virtio::HEADER_LEN;
        let area = &mut packet.area_mut()[start..];
        let direct = area.len();
        let rest_len = if self.choice.is_large() { 0 } else { REST_MAX };
        let pieces = [
            libc::iovec { iov_base: area.as_mut_ptr().cast(), iov_len: direct },
            libc::iovec { iov_base: overflow.as_mut_ptr().cast(), iov_len: rest_len },
        ];
        // SAFETY: both pieces are writable memory of the lengths given, borrowed for this call.
        let result = unsafe { libc::readv(tap.as_raw_fd(), pieces.as_ptr(), 2) };
        if result < 0 {
            return Err(Errno::last());
        }
        let read = result as usize;
        let Some(length) = read.checked_sub(virtio::HEADER_LEN).filter(|_| read < direct + rest_len) else {
            return Ok(false);
        };
        // SAFETY: the call wrote `read` bytes, those past `direct` into the overflow piece.
        let rest = unsafe { slice::from_raw_parts(overflow.as_ptr().cast(), read.saturating_sub(direct)) };
        let Some(&header) = packet.area_mut()[start..].first_chunk() else { return Ok(false) };
        if !self.choice.finish(pool, packet, length, rest) {
            return Ok(false);
        }
        // A header that does not fit its frame leaves the frame as it is: the kernel made both.
        let _ = virtio::apply(&header, packet);
        if let Some(notes) = &mut self.notes {
            notes.apply(packet);
        }
        Ok(true)
    }
}

/// Sends every packet of `batch` and gives all of them back. A device that is down takes none, which is no error.
pub(crate) fn send(
    tap: &Tap,
    marked: &Marked,
    pool: &mut PoolRef<'_>,
    batch: &mut Batch,
    report: &mut TxReport,
) {
    let takes_frames = tap.takes_frames() || tap.is_gone();
    let mut apart = marked.is_in_use();
    for packet in batch.iter_mut() {
        apart |= is_marked(packet);
        let length = packet.len() as u64;
        // Whether it went apart.
        let sent = match (takes_frames, apart) {
            (false, _) => Err(Errno(libc::EIO)),
            (true, false) => write(tap, packet).map(|()| false),
            (true, true) => marked.send(tap, packet).and_then(|sent| match sent {
                true => Ok(true),
                false => write(tap, packet).map(|()| false),
            }),
        };
        match sent {
            Ok(went_apart) => {
                report.sent += 1;
                report.sent_bytes += length;
                report.apart += u32::from(went_apart);
                report.apart_bytes += if went_apart { length } else { 0 };
            }
            Err(Errno(libc::EAGAIN | libc::ENOBUFS)) => report.dropped += 1,
            // The device is down.
            Err(Errno(libc::EIO)) => {
                tap.set_down();
                report.dropped += 1;
            }
            Err(_) => report.errors += 1,
        }
    }
    pool.give_all(batch);
}

/// Writes one frame, its virtio-net header in front.
fn write(tap: &Tap, packet: &mut Packet) -> Result<(), Errno> {
    with_header(packet, |pieces| {
        // SAFETY: the pieces are readable for the lengths given.
        unsafe { libc::writev(tap.as_raw_fd(), pieces.as_ptr(), pieces.len() as c_int) }
    })
}

/// Makes one call with a frame that has its virtio-net header in front: in one piece if there is room for it.
#[inline]
pub(crate) fn with_header(
    packet: &mut Packet,
    call: impl FnOnce(&[libc::iovec]) -> isize,
) -> Result<(), Errno> {
    let mut header = virtio::header(packet);
    let (headroom, length) = (packet.headroom(), packet.len());
    let piece = |bytes: &mut [u8]| libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let result = if headroom >= virtio::HEADER_LEN {
        let bytes = &mut packet.area_mut()[headroom - virtio::HEADER_LEN..headroom + length];
        bytes[..virtio::HEADER_LEN].copy_from_slice(&header);
        call(&[piece(bytes)])
    } else {
        call(&[piece(&mut header), piece(packet.frame_mut())])
    };
    if result < 0 { Err(Errno::last()) } else { Ok(()) }
}
