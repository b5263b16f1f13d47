// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Receiving: many frames per system call, each straight into a packet buffer.

use std::mem;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use portway_buf::receive::{Choice, REST_MAX, TooLong, give_back};
use portway_buf::{BATCH_MAX, Batch, Packet, PacketKind, PoolRef, virtio};
use portway_vport::ops::Errno;

use crate::overflow::Overflow;
use crate::shortcut::Progress;
use crate::socket::PacketSocket;

/// The mark and struct tpacket_auxdata, each behind its cmsghdr and padded to a cmsghdr's alignment.
const CONTROL: usize = 64;
/// Bytes of a cmsghdr.
const CONTROL_HEADER: usize = size_of::<libc::cmsghdr>();

/// What one receive call hands to the kernel. The pointers in it are set anew for each call.
struct Arrays {
    headers: [libc::mmsghdr; BATCH_MAX],
    pieces: [[libc::iovec; 2]; BATCH_MAX],
    controls: [[u64; CONTROL / 8]; BATCH_MAX],
    senders: [libc::sockaddr_ll; BATCH_MAX],
}

/// The state of a receive queue.
pub(crate) struct RxQueue {
    arrays: Box<Arrays>,
    overflow: Overflow,
    choice: Choice,
    too_long: TooLong,
    layer3: bool,
    /// The last call found the queue empty, and nothing came before that.
    drained: bool,
    /// Whom to tell when all that came has been forwarded.
    progress: Option<Arc<Progress>>,
}

// SAFETY: the raw pointers in `arrays` are written before each use and mean nothing between calls.
unsafe impl Send for RxQueue {}

impl RxQueue {
    pub(crate) fn new(layer3: bool) -> Self {
        // SAFETY: all of it is plain data for which zeros are valid.
        let arrays = unsafe { Box::new(mem::zeroed()) };
        Self {
            arrays,
            overflow: Overflow::new(),
            choice: Choice::default(),
            too_long: TooLong::default(),
            layer3,
            drained: false,
            progress: None,
        }
    }

    /// From now on tells `progress` whenever all that came has been forwarded.
    pub(crate) fn report_to(&mut self, progress: Option<Arc<Progress>>) {
        self.progress = progress;
    }

    /// Appends what the socket has, as far as `batch` has room.
    pub(crate) fn receive(
        &mut self,
        socket: &PacketSocket,
        pool: &mut PoolRef<'_>,
        batch: &mut Batch,
    ) -> Result<(), Errno> {
        let passed = self.progress.as_ref().map(|progress| progress.passed());
        self.drained = false;
        let result = self.receive_all(socket, pool, batch);
        // What earlier calls returned has been forwarded by now: one thread calls this, and carries each batch to its end.
        // An empty batch alone does not say that: errors come before frames that wait, and the pool may have nothing left.
        if let (Some(passed), Some(progress), true) = (passed, &self.progress, self.drained) {
            progress.set_done(passed);
        }
        result
    }

    fn receive_all(
        &mut self,
        socket: &PacketSocket,
        pool: &mut PoolRef<'_>,
        batch: &mut Batch,
    ) -> Result<(), Errno> {
        loop {
            let start = batch.len();
            let offered = self.choice.take(pool, batch);
            if offered == 0 {
                break;
            }
            let result = self.call(socket, &mut batch[start..]);
            let received = *result.as_ref().unwrap_or(&0);
            self.drained = start == 0 && matches!(result, Err(Errno(libc::EAGAIN)));
            give_back(pool, batch, start + received);
            self.finish(pool, batch, start);
            if self.choice.learn(received, offered) {
                self.overflow.release();
            }
            match result {
                Ok(received) if received == offered && !self.choice.is_large() => {}
                Ok(_) | Err(Errno(libc::EAGAIN | libc::EINTR)) => break,
                Err(errno) => return Err(errno),
            }
        }
        if self.too_long.report() { Err(Errno(libc::EMSGSIZE)) } else { Ok(()) }
    }

    /// One recvmmsg into `packets`; afterwards `arrays` holds what became of the first of them, as many as returned.
    fn call(&mut self, socket: &PacketSocket, packets: &mut [Packet]) -> Result<usize, Errno> {
        let (start, large) = (self.choice.start() - virtio::HEADER_LEN, self.choice.is_large());
        let Arrays { headers, pieces, controls, senders } = &mut *self.arrays;
        for (index, packet) in packets.iter_mut().enumerate() {
            let area = &mut packet.area_mut()[start..];
            pieces[index][0] = libc::iovec { iov_base: area.as_mut_ptr().cast(), iov_len: area.len() };
            if !large {
                pieces[index][1] =
                    libc::iovec { iov_base: self.overflow.slot(index).cast(), iov_len: REST_MAX };
            }
            let header = &mut headers[index].msg_hdr;
            header.msg_iov = pieces[index].as_mut_ptr();
            header.msg_iovlen = if large { 1 } else { 2 };
            header.msg_control = controls[index].as_mut_ptr().cast();
            header.msg_controllen = CONTROL;
            if self.layer3 {
                header.msg_name = (&raw mut senders[index]).cast();
                header.msg_namelen = size_of::<libc::sockaddr_ll>() as u32;
            }
        }
        let (fd, count) = (socket.as_raw_fd(), packets.len() as u32);
        // SAFETY: each header points to pieces, a control buffer and a sender of this value and to the data areas of `packets`
        // and the overflow slots, all of the lengths given and borrowed for this call.
        let result = unsafe {
            libc::recvmmsg(fd, headers.as_mut_ptr(), count, libc::MSG_DONTWAIT as _, std::ptr::null_mut())
        };
        if result < 0 { Err(Errno::last()) } else { Ok(result as usize) }
    }

    /// Makes packets of the buffers from `start` on that the last call filled.
    fn finish(&mut self, pool: &mut PoolRef<'_>, batch: &mut Batch, start: usize) {
        let (mut index, mut at) = (0, start);
        while at < batch.len() {
            if self.finish_one(index, pool, &mut batch[at]) {
                at += 1;
            } else {
                self.too_long.add();
                pool.give(batch.remove(at));
            }
            index += 1;
        }
    }

    /// False if the frame was longer than the switch carries.
    #[inline]
    fn finish_one(&mut self, index: usize, pool: &mut PoolRef<'_>, packet: &mut Packet) -> bool {
        let message = &self.arrays.headers[index];
        if message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 || (message.msg_len as usize) < virtio::HEADER_LEN
        {
            return false;
        }
        let (start, length) = (self.choice.start(), message.msg_len as usize - virtio::HEADER_LEN);
        let Some(&header) = packet.area_mut()[start - virtio::HEADER_LEN..].first_chunk() else {
            return false;
        };
        let rest = if self.choice.is_large() { &[] } else { self.overflow.bytes(index) };
        if !self.choice.finish(pool, packet, length, rest) {
            return false;
        }
        if self.layer3 {
            packet.set_kind(PacketKind::Layer3(u16::from_be(self.arrays.senders[index].sll_protocol)));
        }
        // A header that does not fit its frame leaves the frame as it is: the kernel made both.
        let _ = virtio::apply(&header, packet);
        let (mark, auxdata) = self.control(index);
        if mark != 0 {
            packet.set_mark(mark);
        }
        auxdata.is_none_or(|auxdata| restore_tag(&auxdata, packet))
    }

    /// What the kernel told beside the frame.
    #[inline]
    fn control(&self, index: usize) -> (u32, Option<Auxdata>) {
        let (mut mark, mut auxdata) = (0, None);
        let end = self.arrays.headers[index].msg_hdr.msg_controllen.min(CONTROL);
        let start = self.arrays.controls[index].as_ptr();
        let mut at = 0;
        while at + CONTROL_HEADER <= end {
            // SAFETY: `at` is a multiple of eight and a cmsghdr's length before the end of what the kernel wrote here.
            let message = unsafe { start.byte_add(at).cast::<libc::cmsghdr>().read() };
            let length = message.cmsg_len;
            if length < CONTROL_HEADER || at + length > end {
                break;
            }
            // SAFETY: the message's data follow its header.
            let data = unsafe { start.byte_add(at + CONTROL_HEADER) };
            match (message.cmsg_level, message.cmsg_type, length - CONTROL_HEADER) {
                (libc::SOL_SOCKET, libc::SO_MARK, 4..) => {
                    // SAFETY: the message is four bytes of data long at least.
                    mark = unsafe { data.cast::<u32>().read() };
                }
                (libc::SOL_PACKET, libc::PACKET_AUXDATA, AUXDATA..) => {
                    // SAFETY: the message is that long, and the type has no invalid values.
                    auxdata = Some(unsafe { data.cast::<Auxdata>().read() });
                }
                _ => {}
            }
            at += length.next_multiple_of(8);
        }
        (mark, auxdata)
    }
}

/// Puts a VLAN tag that the kernel keeps beside the frame back into it.
#[inline]
fn restore_tag(auxdata: &Auxdata, packet: &mut Packet) -> bool {
    if auxdata.status & TP_STATUS_VLAN_VALID == 0 || packet.len() < 12 {
        return true;
    }
    let has_tpid = auxdata.status & TP_STATUS_VLAN_TPID_VALID != 0;
    let tpid = if has_tpid { auxdata.tpid } else { libc::ETH_P_8021Q as u16 };
    if !packet.insert_gap(12, 4) {
        return false;
    }
    let frame = packet.frame_mut();
    frame[12..14].copy_from_slice(&tpid.to_be_bytes());
    frame[14..16].copy_from_slice(&auxdata.tci.to_be_bytes());
    true
}

const TP_STATUS_VLAN_VALID: u32 = 1 << 4;
const TP_STATUS_VLAN_TPID_VALID: u32 = 1 << 6;

/// struct tpacket_auxdata, linux/if_packet.h.
#[repr(C)]
#[derive(Clone, Copy)]
struct Auxdata {
    status: u32,
    len: u32,
    snaplen: u32,
    mac: u16,
    net: u16,
    tci: u16,
    tpid: u16,
}

const AUXDATA: usize = size_of::<Auxdata>();

const _: () = assert!(CONTROL_HEADER + 8 + CONTROL_HEADER + AUXDATA <= CONTROL);
