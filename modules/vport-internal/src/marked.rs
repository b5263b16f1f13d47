// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Frames with a mark or a priority on their way to the host. A TAP takes the frame alone. So these are sent *out* of the device by
//! a packet socket, which takes mark and priority too, and a BPF program at the device's egress hook turns what that socket sends,
//! and nothing else, round: it comes *in*, with its mark. On this way the kernel forgets a priority; it travels as the flow hash,
//! and a second program at the ingress hook puts it back.
//!
//! Nothing of this is there before the first such frame, which waits once for the kernel's grace period.
//!
//! Order: the kernel queues frames that are turned round, and takes a TAP's at once. So as long as one may wait in
//! that queue, the others go the same way. The device's own statistics count none of those.

use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use portway_bpf::{Assembler, Helper, Hook, Instruction, Op, ProgramKind, Reg, Size, When, skb};
use portway_buf::Packet;
use portway_netwatch::NetnsId;
use portway_vport::abi::log_level;
use portway_vport::host;
use portway_vport::ops::Errno;

use crate::queue::with_header;
use crate::tap::Tap;

/// How long a frame that was turned round may wait in the kernel, at most. In nanoseconds.
const SETTLED_NS: u64 = 100_000_000;
/// Bytes in flight towards the host.
const SEND_BYTES: c_int = 4 << 20;
/// BPF_F_INGRESS.
const INGRESS: i32 = 1;
/// In a frame's `tc_index`: its hash is a priority.
const HASH_IS_PRIORITY: i32 = 0x5057;

/// The program at the egress hook: turns the frames of the socket with that cookie round.
fn turn_round(cookie: u64) -> Vec<Instruction> {
    let mut asm = Assembler::new();
    let (others, plain) = (asm.label(), asm.label());
    asm.op_reg(Op::Move, Reg::R6, Reg::R1);
    asm.call(Helper::GetSocketCookie);
    asm.wide(Reg::R1, cookie);
    asm.jump_when_reg(When::NotEqual, Reg::R0, Reg::R1, others);
    asm.load(Size::Word, Reg::R2, Reg::R6, skb::PRIORITY);
    asm.jump_when(When::Equal, Reg::R2, 0, plain);
    asm.op_reg(Op::Move, Reg::R1, Reg::R6);
    asm.call(Helper::SetHash);
    asm.op(Op::Move, Reg::R1, HASH_IS_PRIORITY);
    asm.store(Size::Word, Reg::R6, skb::TC_INDEX, Reg::R1);
    asm.place(plain);
    asm.load(Size::Word, Reg::R1, Reg::R6, skb::IFINDEX);
    asm.op(Op::Move, Reg::R2, INGRESS);
    asm.call(Helper::Redirect);
    asm.exit();
    asm.place(others);
    asm.pass_on();
    asm.finish()
}

/// The program at the ingress hook: puts priorities back.
fn restore_priority() -> Vec<Instruction> {
    let mut asm = Assembler::new();
    let others = asm.label();
    asm.op_reg(Op::Move, Reg::R6, Reg::R1);
    asm.load(Size::Word, Reg::R1, Reg::R6, skb::TC_INDEX);
    asm.jump_when(When::NotEqual, Reg::R1, HASH_IS_PRIORITY, others);
    asm.load(Size::Word, Reg::R1, Reg::R6, skb::HASH);
    asm.store(Size::Word, Reg::R6, skb::PRIORITY, Reg::R1);
    asm.op(Op::Move, Reg::R1, 0);
    asm.store(Size::Word, Reg::R6, skb::TC_INDEX, Reg::R1);
    asm.op_reg(Op::Move, Reg::R1, Reg::R6);
    asm.call(Helper::SetHashInvalid);
    asm.place(others);
    asm.pass_on();
    asm.finish()
}

/// The way of one port's marked frames.
#[derive(Debug, Default)]
pub(crate) struct Marked {
    way: Mutex<Way>,
    /// Until when others go the same way, monotonic nanoseconds; 0: they do not.
    until_ns: AtomicU64,
}

#[derive(Debug, Default)]
enum Way {
    /// No such frame has come yet.
    #[default]
    Unused,
    Open(Sender),
    /// The kernel refuses: frames go without.
    Refused,
}

/// The packet socket with its programs. The links drop after the socket: what it sends is never seen on the wire.
#[derive(Debug)]
struct Sender {
    socket: OwnedFd,
    ifindex: u32,
    namespace: NetnsId,
    /// What the socket gives its frames now.
    mark: u32,
    priority: u32,
    _egress: OwnedFd,
    ingress: Option<OwnedFd>,
}

/// Monotonic time in nanoseconds.
pub(crate) fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a timespec that lives through the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Whether a frame has what a TAP does not take.
#[inline]
pub(crate) fn is_marked(packet: &Packet) -> bool {
    packet.has_metadata() && (packet.mark() != 0 || packet.priority() != 0)
}

impl Marked {
    /// Whether frames without a mark have to go this way, too, to stay behind those with one.
    #[inline]
    pub(crate) fn is_in_use(&self) -> bool {
        self.until_ns.load(Ordering::Relaxed) != 0 && self.is_not_settled()
    }

    #[cold]
    fn is_not_settled(&self) -> bool {
        let until_ns = self.until_ns.load(Ordering::Relaxed);
        if now_ns() <= until_ns {
            return true;
        }
        // Another thread's newer time stays.
        let _ = self.until_ns.compare_exchange(until_ns, 0, Ordering::Relaxed, Ordering::Relaxed);
        false
    }

    /// Sends a frame this way. `Ok(false)`: there is no such way; the frame is not sent.
    #[cold]
    pub(crate) fn send(&self, tap: &Tap, packet: &mut Packet) -> Result<bool, Errno> {
        // What a panic leaves is a socket, whose options are noted after they are set.
        let mut way = self.way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Way::Unused = *way {
            *way = open(tap)?;
        }
        let Way::Open(sender) = &mut *way else { return Ok(false) };
        if is_marked(packet) {
            self.until_ns.store(now_ns() + SETTLED_NS, Ordering::Relaxed);
        }
        match sender.send(tap, packet) {
            // The socket has lost its device, which may have been moved.
            Err(Errno(libc::ENXIO | libc::ENODEV | libc::ENETDOWN)) => *way = Way::Unused,
            sent => return sent.map(|()| true),
        }
        if tap.device().is_none_or(|device| !device.is_up) {
            return Err(Errno(libc::EIO));
        }
        *way = open(tap)?;
        let Way::Open(sender) = &mut *way else { return Ok(false) };
        sender.send(tap, packet).map(|()| true)
    }
}

/// Makes the way. An error is the device's; what the kernel refuses for ever is [`Way::Refused`].
fn open(tap: &Tap) -> Result<Way, Errno> {
    match Sender::new(tap) {
        Ok(sender) => Ok(Way::Open(sender)),
        Err(Errno(libc::ENXIO | libc::ENODEV | libc::ENETDOWN)) => Err(Errno(libc::EIO)),
        Err(errno) => {
            static TOLD: Once = Once::new();
            TOLD.call_once(|| {
                let line = format!(
                    "internal ports: frames reach the host without mark and priority: the kernel refuses what is needed (error {})",
                    errno.0
                );
                host::log(log_level::WARNING, &line);
            });
            Ok(Way::Refused)
        }
    }
}

impl Sender {
    fn new(tap: &Tap) -> Result<Self, Errno> {
        let (ifindex, namespace) = tap.place().ok_or(Errno(libc::ENODEV))?;
        let sender = tap.inside(|| {
            let socket = packet_socket(ifindex)?;
            let code = turn_round(cookie(&socket)?);
            let program = portway_bpf::load(ProgramKind::SchedCls, b"portway_marked\0\0", &code)?;
            let egress = portway_bpf::attach_tcx(&program, ifindex, Hook::Egress, 0)?;
            Ok(Self { socket, ifindex, namespace, mark: 0, priority: 0, _egress: egress, ingress: None })
        })??;
        // A device that was moved meanwhile has left its number to another one.
        if tap.place() == Some((ifindex, namespace)) { Ok(sender) } else { Err(Errno(libc::ENODEV)) }
    }

    fn send(&mut self, tap: &Tap, packet: &mut Packet) -> Result<(), Errno> {
        if packet.mark() != self.mark {
            set(&self.socket, libc::SOL_SOCKET, libc::SO_MARK, packet.mark())?;
            self.mark = packet.mark();
        }
        if packet.priority() != self.priority && self.carries_priority(tap) {
            set(&self.socket, libc::SOL_SOCKET, libc::SO_PRIORITY, packet.priority())?;
            self.priority = packet.priority();
        }
        with_header(packet, |pieces| {
            // SAFETY: msghdr is plain data, for which zeros are valid.
            let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
            message.msg_iov = pieces.as_ptr().cast_mut();
            message.msg_iovlen = pieces.len() as _;
            // SAFETY: the message points to pieces that are readable for the lengths given.
            unsafe { libc::sendmsg(self.socket.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT) }
        })
    }

    /// Whether priorities arrive; the first one makes it so.
    fn carries_priority(&mut self, tap: &Tap) -> bool {
        if self.ingress.is_none() {
            self.ingress = self.attach_ingress(tap).ok();
        }
        self.ingress.is_some()
    }

    fn attach_ingress(&self, tap: &Tap) -> Result<OwnedFd, Errno> {
        if tap.place() != Some((self.ifindex, self.namespace)) {
            return Err(Errno(libc::ENODEV));
        }
        let program = portway_bpf::load(ProgramKind::SchedCls, b"portway_priorit\0", &restore_priority())?;
        tap.inside(|| portway_bpf::attach_tcx(&program, self.ifindex, Hook::Ingress, 0))?
    }
}

/// A packet socket that sends out of the device, with virtio-net headers, and receives nothing.
fn packet_socket(ifindex: u32) -> Result<OwnedFd, Errno> {
    // SAFETY: no pointers; the result is checked before it is owned.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(Errno::last());
    }
    // SAFETY: a fresh descriptor that nobody else owns.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    set(&socket, libc::SOL_PACKET, libc::PACKET_VNET_HDR, 1)?;
    set(&socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, SEND_BYTES)?;
    // SAFETY: sockaddr_ll is plain data.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = ifindex as c_int;
    let length = size_of_val(&address) as u32;
    // SAFETY: a sockaddr_ll of that size lives through the call.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if result < 0 { Err(Errno::last()) } else { Ok(socket) }
}

/// A number that no other socket has.
fn cookie(socket: &OwnedFd) -> Result<u64, Errno> {
    let (mut cookie, mut length): (u64, _) = (0, size_of::<u64>() as u32);
    // SAFETY: both point to live variables of the sizes given.
    let result = unsafe {
        let cookie = (&raw mut cookie).cast::<c_void>();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_COOKIE, cookie, &raw mut length)
    };
    if result < 0 { Err(Errno::last()) } else { Ok(cookie) }
}

fn set<T: Copy>(socket: &OwnedFd, level: c_int, option: c_int, value: T) -> Result<(), Errno> {
    let length = size_of::<T>() as u32;
    // SAFETY: `value` lives through the call and its size is given.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast::<c_void>(), length)
    };
    if result < 0 { Err(Errno::last()) } else { Ok(()) }
}
