// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The scenario's end of a wire: frames go into a device and what comes out of it is kept.
//!
//! Packet sockets have addresses that no safe wrapper here knows, so this file calls the C library itself.

#![allow(unsafe_code)]

use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::{c_int, c_void};

/// PACKET_IGNORE_OUTGOING of linux/if_packet.h.
const PACKET_IGNORE_OUTGOING: c_int = 23;
/// SO_RCVMARK of asm-generic/socket.h.
const SO_RCVMARK: c_int = 75;
/// Longest frame, a segmentation super-packet.
const FRAME_MAX: usize = 1 << 17;

/// A frame as it came out of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// From the Ethernet header on; a VLAN tag that travelled beside it is back in its place.
    pub(crate) bytes: Vec<u8>,
    /// Its checksum is partial.
    pub(crate) partial_checksum: bool,
    /// Its mark.
    pub(crate) mark: u32,
}

/// What goes with a frame into a device.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extras {
    /// Mark.
    pub(crate) mark: Option<u32>,
    /// Priority.
    pub(crate) priority: Option<u32>,
    /// A virtio-net header in front.
    pub(crate) vnet: bool,
}

fn socket(protocol: u16) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    let fd = unsafe {
        libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, c_int::from(protocol.to_be()))
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bind(socket: &OwnedFd, ifindex: u32, protocol: u16) -> io::Result<()> {
    // SAFETY: sockaddr_ll is plain numbers, for which zeros are valid.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = ifindex as c_int;
    let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the address is valid for `len` bytes.
    let code = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn option<T>(socket: &OwnedFd, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    let pointer: *const T = value;
    // SAFETY: the value is valid for its size.
    let code = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            pointer.cast::<c_void>(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A socket that takes what arrives at a device; opened in the device's namespace.
pub(crate) fn listen(ifindex: u32) -> io::Result<OwnedFd> {
    let tap = socket(libc::ETH_P_ALL as u16)?;
    option(&tap, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1_i32)?;
    option(&tap, libc::SOL_PACKET, libc::PACKET_AUXDATA, &1_i32)?;
    option(&tap, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &(4_i32 << 20))?;
    // Kernels before 6.0 do not know it; then no frame shows a mark.
    let _ = option(&tap, libc::SOL_SOCKET, SO_RCVMARK, &1_i32);
    bind(&tap, ifindex, libc::ETH_P_ALL as u16)?;
    Ok(tap)
}

/// Sends a frame into a device; in the device's namespace.
pub(crate) fn inject(ifindex: u32, frame: &[u8], count: u64, extras: Extras) -> io::Result<()> {
    let out = socket(0)?;
    bind(&out, ifindex, 0)?;
    if let Some(mark) = extras.mark {
        option(&out, libc::SOL_SOCKET, libc::SO_MARK, &mark)?;
    }
    if let Some(priority) = extras.priority {
        option(&out, libc::SOL_SOCKET, libc::SO_PRIORITY, &priority)?;
    }
    if extras.vnet {
        option(&out, libc::SOL_PACKET, libc::PACKET_VNET_HDR, &1_i32)?;
    }
    let mut result = Ok(());
    for _ in 0..count {
        // SAFETY: the frame is valid for its length.
        let sent = unsafe { libc::send(out.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        if sent < 0 {
            result = Err(io::Error::last_os_error());
        }
    }
    result
}

/// The next frame; `None`: there is none.
pub(crate) fn receive(tap: &OwnedFd) -> io::Result<Option<Frame>> {
    let mut bytes = vec![0_u8; FRAME_MAX];
    let mut control = [MaybeUninit::<u64>::uninit(); 32];
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: msghdr is plain numbers and pointers, for which zeros are valid.
    let mut header: libc::msghdr = unsafe { zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control);
    // SAFETY: the header points to memory that is valid for the lengths in it.
    let len = unsafe { libc::recvmsg(tap.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
    let Ok(len) = usize::try_from(len) else {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::WouldBlock { Ok(None) } else { Err(error) };
    };
    bytes.truncate(len);
    let mut frame = Frame { bytes, partial_checksum: false, mark: 0 };
    // SAFETY: the kernel has filled in the control messages that the header now describes.
    unsafe { read_control(&header, &mut frame) };
    Ok(Some(frame))
}

/// # Safety
/// `header` is as `recvmsg` left it, and its control buffer lives.
unsafe fn read_control(header: &libc::msghdr, frame: &mut Frame) {
    // SAFETY: by the caller's promise; each data pointer is checked against the message's length.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while let Some(control) = message.as_ref() {
            let (level, kind) = (control.cmsg_level, control.cmsg_type);
            let len = control.cmsg_len - libc::CMSG_LEN(0) as usize;
            let data = libc::CMSG_DATA(message);
            if (level, kind) == (libc::SOL_PACKET, libc::PACKET_AUXDATA)
                && len >= size_of::<libc::tpacket_auxdata>()
            {
                auxiliary(&data.cast::<libc::tpacket_auxdata>().read_unaligned(), frame);
            } else if (level, kind) == (libc::SOL_SOCKET, libc::SO_MARK) && len >= 4 {
                frame.mark = data.cast::<u32>().read_unaligned();
            }
            message = libc::CMSG_NXTHDR(header, control);
        }
    }
}

fn auxiliary(data: &libc::tpacket_auxdata, frame: &mut Frame) {
    if data.tp_status & libc::TP_STATUS_VLAN_VALID != 0 {
        let has_tpid = data.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
        let tpid = if has_tpid { data.tp_vlan_tpid } else { 0x8100 };
        let tag = [tpid.to_be_bytes(), data.tp_vlan_tci.to_be_bytes()].concat();
        let at = 12.min(frame.bytes.len());
        frame.bytes.splice(at..at, tag);
    }
    frame.partial_checksum = data.tp_status & libc::TP_STATUS_CSUMNOTREADY != 0;
}
