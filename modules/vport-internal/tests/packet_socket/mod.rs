// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Packet sockets at a device, and what a socket tells of a datagram, as far as tests of marks need it.

use std::ffi::{c_int, c_void};
use std::io;
use std::mem::{size_of, zeroed};
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use crate::lab::Space;

/// Numbers of asm-generic/socket.h and linux/if_packet.h.
const SO_RCVMARK: c_int = 75;
const SO_RCVPRIORITY: c_int = 82;
const PACKET_IGNORE_OUTGOING: c_int = 23;

fn option<T>(socket: impl AsFd, level: c_int, name: c_int, value: T) {
    let fd = socket.as_fd().as_raw_fd();
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the value is valid for its size.
    let code = unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast::<c_void>(), length) };
    assert_eq!(code, 0, "option {name}: {}", io::Error::last_os_error());
}

pub(crate) fn set_mark(socket: impl AsFd, mark: u32) {
    option(socket, libc::SOL_SOCKET, libc::SO_MARK, mark);
}

pub(crate) fn set_priority(socket: impl AsFd, priority: u32) {
    option(socket, libc::SOL_SOCKET, libc::SO_PRIORITY, priority);
}

fn open(space: &Space, device: &str, protocol: u16) -> OwnedFd {
    let protocol = protocol.to_be();
    let socket = space.inside(|| {
        let name = std::ffi::CString::new(device).unwrap();
        // SAFETY: no pointers; a NUL-terminated name.
        unsafe {
            let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
            (fd, libc::if_nametoindex(name.as_ptr()))
        }
    });
    let (fd, index) = socket;
    assert!(fd >= 0 && index != 0, "a packet socket at {device}: {}", io::Error::last_os_error());
    // SAFETY: a fresh descriptor that nobody else owns.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    option(&socket, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, 1_i32);
    option(&socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, 1_i32);
    option(&socket, libc::SOL_SOCKET, SO_RCVMARK, 1_i32);
    // SAFETY: sockaddr_ll is plain numbers.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol;
    address.sll_ifindex = index as c_int;
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the address is valid for its length.
    let code = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    assert_eq!(code, 0, "{}", io::Error::last_os_error());
    socket
}

/// Sends frames through a device, as the host does.
pub(crate) struct Injector(OwnedFd);

impl Injector {
    pub(crate) fn new(space: &Space, device: &str) -> Self {
        Self(open(space, device, 0))
    }

    /// False if the queue was full.
    pub(crate) fn send(&self, mark: u32, priority: u32, frame: &[u8]) -> bool {
        set_mark(&self.0, mark);
        set_priority(&self.0, priority);
        // SAFETY: the frame is valid for its length.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        let error = io::Error::last_os_error();
        assert!(sent >= 0 || error.raw_os_error() == Some(libc::ENOBUFS), "{error}");
        sent >= 0
    }
}

/// A control message: level, type, data.
type Message = (c_int, c_int, Vec<u8>);

/// What one call tells: the bytes, and the data of each control message by level and type.
fn receive(socket: impl AsFd) -> (Vec<u8>, Vec<Message>) {
    let (mut bytes, mut control) = (vec![0_u8; 1 << 16], [0_u64; 64]);
    let mut piece = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: msghdr is plain numbers and pointers.
    let mut header: libc::msghdr = unsafe { zeroed() };
    header.msg_iov = &raw mut piece;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control);
    // SAFETY: the header points to memory that is valid for the lengths in it.
    let length = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut header, 0) };
    assert!(length >= 0, "nothing came: {}", io::Error::last_os_error());
    bytes.truncate(length as usize);
    let mut messages = Vec::new();
    // SAFETY: the kernel has filled in the messages that the header describes; data lie within the message's length.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(&raw const header);
        while let Some(found) = message.as_ref() {
            let length = found.cmsg_len - libc::CMSG_LEN(0) as usize;
            let data = std::slice::from_raw_parts(libc::CMSG_DATA(message), length).to_vec();
            messages.push((found.cmsg_level, found.cmsg_type, data));
            message = libc::CMSG_NXTHDR(&raw const header, message);
        }
    }
    (bytes, messages)
}

fn number(messages: &[Message], kind: c_int) -> u32 {
    let found = messages.iter().find(|(level, known, _)| (*level, *known) == (libc::SOL_SOCKET, kind));
    found.map_or(0, |(.., data)| u32::from_ne_bytes(data[..4].try_into().unwrap()))
}

/// Sees what the host gets from a device.
pub(crate) struct Listener(OwnedFd);

impl Listener {
    pub(crate) fn new(space: &Space, device: &str) -> Self {
        let socket = open(space, device, libc::ETH_P_ALL as u16);
        let patience = libc::timeval { tv_sec: 20, tv_usec: 0 };
        option(&socket, libc::SOL_SOCKET, libc::SO_RCVTIMEO, patience);
        Self(socket)
    }

    /// The next frame with its mark; a VLAN tag is where it was.
    pub(crate) fn next(&self) -> (u32, Vec<u8>) {
        let (mut frame, messages) = receive(&self.0);
        let auxiliary = messages
            .iter()
            .find(|(level, kind, _)| (*level, *kind) == (libc::SOL_PACKET, libc::PACKET_AUXDATA));
        let (.., auxiliary) = auxiliary.unwrap();
        // struct tpacket_auxdata: status, then the tag at offset 16.
        if auxiliary[0] & libc::TP_STATUS_VLAN_VALID as u8 != 0 {
            frame.splice(12..12, [0x81, 0, auxiliary[17], auxiliary[16]]);
        }
        (number(&messages, libc::SO_MARK), frame)
    }
}

/// The next datagram's mark and priority.
pub(crate) fn receive_datagram(socket: &UdpSocket) -> (u32, u32) {
    option(socket, libc::SOL_SOCKET, SO_RCVMARK, 1_i32);
    option(socket, libc::SOL_SOCKET, SO_RCVPRIORITY, 1_i32);
    let (_, messages) = receive(socket);
    (number(&messages, libc::SO_MARK), number(&messages, libc::SO_PRIORITY))
}
