// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Receiving and sending on a TAP: one system call per packet (it has no call for many), none of them copied here.

use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::slice;

use portway_buf::receive::{Choice, REST_MAX};
use portway_buf::{Batch, Packet, PoolRef, virtio};
use portway_vport::abi::TxReport;
use portway_vport::ops::Errno;

use crate::tap::{Tap, last_errno};

/// What does not fit a small buffer lands here, on the caller's stack: pages that are not written cost nothing.
type Overflow = [MaybeUninit<u8>; REST_MAX];

/// The state of a receive queue.
#[derive(Debug, Default)]
pub(crate) struct RxQueue {
    choice: Choice,
    /// Frames longer than the switch carries that are still to be reported, one per call.
    too_long: u32,
}

impl RxQueue {
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
                    Ok(false) => self.too_long += 1,
                    Err(errno) => {
                        result = Err(errno);
                        break;
                    }
                }
            }
            if end < batch.len() {
                let mut unused: Batch = batch.drain(end..).collect();
                pool.give_all(&mut unused);
            }
            self.choice.learn(end - start, offered);
            match result {
                Ok(()) if self.choice.is_large() => break,
                Ok(()) => {}
                Err(Errno(libc::EAGAIN | libc::EINTR)) => break,
                Err(Errno(libc::EBADFD)) => {
                    tap.set_gone();
                    return Err(Errno(libc::ENETDOWN));
                }
                Err(errno) => return Err(errno),
            }
        }
        match self.too_long.checked_sub(1) {
            None => Ok(()),
            Some(rest) => {
                self.too_long = rest;
                Err(Errno(libc::EMSGSIZE))
            }
        }
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
            return Err(last_errno());
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
        Ok(true)
    }
}

/// Sends every packet of `batch` and gives all of them back. A device that is down takes none, which is no error.
pub(crate) fn send(tap: &Tap, pool: &mut PoolRef<'_>, batch: &mut Batch, report: &mut TxReport) {
    let takes_frames = tap.takes_frames() || tap.is_gone();
    for packet in batch.iter_mut() {
        match if takes_frames { write(tap, packet) } else { Err(Errno(libc::EIO)) } {
            Ok(()) => {
                report.sent += 1;
                report.sent_bytes += packet.len() as u64;
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
    let mut header = virtio::header(packet);
    let (headroom, length) = (packet.headroom(), packet.len());
    let result = if headroom >= virtio::HEADER_LEN {
        let bytes = &mut packet.area_mut()[headroom - virtio::HEADER_LEN..headroom + length];
        bytes[..virtio::HEADER_LEN].copy_from_slice(&header);
        // SAFETY: `bytes` is readable for its length.
        unsafe { libc::write(tap.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) }
    } else {
        let pieces = [
            libc::iovec { iov_base: header.as_mut_ptr().cast(), iov_len: header.len() },
            libc::iovec { iov_base: packet.frame_mut().as_mut_ptr().cast(), iov_len: length },
        ];
        // SAFETY: both pieces are readable for the lengths given.
        unsafe { libc::writev(tap.as_raw_fd(), pieces.as_ptr(), 2) }
    };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}
