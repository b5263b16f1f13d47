// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sending: many packets per system call, each from where it lies. The virtio-net header is written into the headroom in
//! front of the frame.

use std::ffi::c_int;
use std::mem;
use std::os::fd::AsRawFd;

use portway_buf::{BATCH_MAX, Batch, Packet, PacketKind, PoolRef, virtio};
use portway_vport::abi::TxReport;
use portway_vport::ops::Errno;

use crate::short_tag::{ShortTags, ends_with_tag};
use crate::socket::{PacketSocket, link_address};

/// What one send call hands to the kernel. The pointers in it are set anew for each call.
struct Arrays {
    headers: [libc::mmsghdr; BATCH_MAX],
    pieces: [[libc::iovec; 2]; BATCH_MAX],
    /// Virtio-net headers of packets without headroom for one.
    apart: [[u8; virtio::HEADER_LEN]; BATCH_MAX],
    receivers: [libc::sockaddr_ll; BATCH_MAX],
    /// Marks and priorities of the packets that have one.
    controls: [[Control; 2]; BATCH_MAX],
}

/// A control message with a number for the frame: SO_MARK or SO_PRIORITY.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control {
    header: libc::cmsghdr,
    value: u32,
}

const _: () = assert!(size_of::<Control>() == size_of::<libc::cmsghdr>() + 8);

impl Control {
    fn new(kind: c_int, value: u32) -> Self {
        // SAFETY: cmsghdr is plain data; on some systems it has padding.
        let mut header: libc::cmsghdr = unsafe { mem::zeroed() };
        header.cmsg_len = (size_of::<libc::cmsghdr>() + size_of::<u32>()) as _;
        (header.cmsg_level, header.cmsg_type) = (libc::SOL_SOCKET, kind);
        Self { header, value }
    }
}

/// The state of a transmit queue.
pub(crate) struct TxQueue {
    arrays: Box<Arrays>,
    /// Whether the kernel takes a frame's priority with it.
    priority: bool,
}

// SAFETY: the raw pointers in `arrays` are written before each use and mean nothing between calls.
unsafe impl Send for TxQueue {}

impl TxQueue {
    /// `priority`: see [`PacketSocket::sends_priority`].
    pub(crate) fn new(priority: bool) -> Self {
        // SAFETY: all of it is plain data for which zeros are valid.
        Self { arrays: unsafe { Box::new(mem::zeroed()) }, priority }
    }

    /// Sends every packet of `batch` and gives all of them back. `device`: its index, and whether it is without link layer.
    pub(crate) fn send(
        &mut self,
        socket: &PacketSocket,
        (ifindex, layer3): (u32, bool),
        short_tags: &ShortTags,
        pool: &mut PoolRef<'_>,
        batch: &mut Batch,
        report: &mut TxReport,
    ) {
        let layer3 = layer3.then_some(ifindex);
        for (index, packet) in batch.iter_mut().enumerate() {
            if layer3.is_none() && ends_with_tag(packet) {
                short_tags.look_after(socket, ifindex);
            }
            self.prepare(index, packet, layer3);
        }
        let (total, mut next) = (batch.len(), 0);
        while next < total {
            match self.call(socket, next, total) {
                Ok(sent) => {
                    report.sent += sent as u32;
                    report.sent_bytes += (next..next + sent).map(|index| self.frame_len(index)).sum::<u64>();
                    next += sent;
                }
                Err(Errno(libc::EINTR)) => {}
                // The queue towards the device is full, and stays so for the rest of the batch.
                Err(Errno(libc::EAGAIN)) => {
                    report.dropped += (total - next) as u32;
                    break;
                }
                Err(Errno(libc::ENOBUFS)) => {
                    report.dropped += 1;
                    next += 1;
                }
                Err(_) => {
                    report.errors += 1;
                    next += 1;
                }
            }
        }
        pool.give_all(batch);
    }

    /// Points the call's entry `index` at the packet, its virtio-net header in front.
    #[inline]
    fn prepare(&mut self, index: usize, packet: &mut Packet, layer3: Option<u32>) {
        let virtio = virtio::header(packet);
        let kind = packet.kind();
        if packet.has_metadata() {
            self.prepare_control(index, packet);
        } else {
            self.arrays.headers[index].msg_hdr.msg_controllen = 0;
        }
        let Arrays { headers, pieces, apart, receivers, controls: _ } = &mut *self.arrays;
        let (headroom, length) = (packet.headroom(), packet.len());
        let header = &mut headers[index].msg_hdr;
        let piece = &mut pieces[index];
        if headroom >= virtio::HEADER_LEN {
            let bytes = &mut packet.area_mut()[headroom - virtio::HEADER_LEN..];
            bytes[..virtio::HEADER_LEN].copy_from_slice(&virtio);
            piece[0] =
                libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: virtio::HEADER_LEN + length };
            header.msg_iovlen = 1;
        } else {
            apart[index] = virtio;
            piece[0] =
                libc::iovec { iov_base: apart[index].as_mut_ptr().cast(), iov_len: virtio::HEADER_LEN };
            piece[1] = libc::iovec { iov_base: packet.frame_mut().as_mut_ptr().cast(), iov_len: length };
            header.msg_iovlen = 2;
        }
        header.msg_iov = piece.as_mut_ptr();
        if let (Some(ifindex), PacketKind::Layer3(ethertype)) = (layer3, kind) {
            receivers[index] = link_address(ifindex);
            receivers[index].sll_protocol = ethertype.to_be();
            header.msg_name = (&raw mut receivers[index]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_ll>() as u32;
        }
    }

    /// Hands the packet's mark and priority to the kernel.
    #[cold]
    fn prepare_control(&mut self, index: usize, packet: &Packet) {
        let Arrays { headers, controls, .. } = &mut *self.arrays;
        let (controls, mut used) = (&mut controls[index], 0);
        if packet.mark() != 0 {
            controls[used] = Control::new(libc::SO_MARK, packet.mark());
            used += 1;
        }
        if packet.priority() != 0 && self.priority {
            controls[used] = Control::new(libc::SO_PRIORITY, packet.priority());
            used += 1;
        }
        let header = &mut headers[index].msg_hdr;
        header.msg_control = controls.as_mut_ptr().cast();
        header.msg_controllen = (used * size_of::<Control>()) as _;
    }

    /// Bytes of the frame at `index`, without its virtio-net header.
    fn frame_len(&self, index: usize) -> u64 {
        let pieces = &self.arrays.pieces[index][..self.arrays.headers[index].msg_hdr.msg_iovlen];
        pieces.iter().map(|piece| piece.iov_len as u64).sum::<u64>() - virtio::HEADER_LEN as u64
    }

    /// Sends from entry `next` on and returns how many the kernel took; an error is that of entry `next`.
    fn call(&mut self, socket: &PacketSocket, next: usize, total: usize) -> Result<usize, Errno> {
        let headers = &mut self.arrays.headers[next..total];
        // SAFETY: each header points to pieces, a receiver and control messages of this value and to the bytes of a packet that the caller
        // holds until the call is over.
        let result = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as u32,
                libc::MSG_DONTWAIT as _,
            )
        };
        if result < 0 { Err(Errno::last()) } else { Ok(result as usize) }
    }
}
