// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Frames that end with their VLAN tag: nothing but an ethertype behind it. A packet socket sends the tag within the frame, and the next
//! kernel, which takes it out and wants to see two bytes more, drops such a frame; one with the tag beside it, as kernels send them to
//! one another, it takes. So when the first one is sent, a BPF program at the device's egress hook begins to put the tags
//! of such frames beside them.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::OnceLock;

use portway_bpf::{Assembler, Helper, Hook, Instruction, Op, ProgramKind, Reg, Size, When, skb};
use portway_buf::Packet;
use portway_netwatch::Netns;
use portway_vport::abi::log_level;
use portway_vport::host;
use portway_vport::ops::Errno;

use crate::socket::PacketSocket;

/// Bytes of a frame with a tag and nothing but an ethertype behind it.
const TAGGED: usize = 18;
/// Bytes from which on a kernel takes such a frame.
const ENOUGH: usize = 20;
const ETHERTYPES_VLAN: [u16; 2] = [0x8100, 0x88a8];
/// The network namespace of a socket (linux/sockios.h).
const SIOCGSKNS: libc::Ioctl = 0x894c;

/// Whether a frame ends with its VLAN tag.
#[inline]
pub(crate) fn ends_with_tag(packet: &Packet) -> bool {
    packet.len() < ENOUGH && is_tagged(packet.frame())
}

#[cold]
fn is_tagged(frame: &[u8]) -> bool {
    let ethertype = frame.get(12..14).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    frame.len() >= TAGGED && ethertype.is_some_and(|ethertype| ETHERTYPES_VLAN.contains(&ethertype))
}

/// Whether such frames are looked after at one port's device: once the first has been sent.
#[derive(Debug, Default)]
pub(crate) struct ShortTags(OnceLock<Option<OwnedFd>>);

impl ShortTags {
    /// From now on tags travel beside such frames. Waits for the kernel's grace period, once.
    #[cold]
    pub(crate) fn look_after(&self, socket: &PacketSocket, ifindex: u32) {
        self.0.get_or_init(|| match attach(socket, ifindex) {
            Ok(link) => Some(link),
            Err(errno) => {
                let line = format!("frames that end with their VLAN tag may be lost (error {})", errno.0);
                host::log(log_level::INFO, &line);
                None
            }
        });
    }
}

fn attach(socket: &PacketSocket, ifindex: u32) -> Result<OwnedFd, Errno> {
    // SAFETY: no argument; a successful result is a fresh descriptor.
    let fd = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSKNS) };
    if fd < 0 {
        return Err(Errno::last());
    }
    // SAFETY: as above: nobody else owns it.
    let namespace = Netns::from_owned(unsafe { OwnedFd::from_raw_fd(fd) });
    let program = portway_bpf::load(ProgramKind::SchedCls, b"portway_tag\0\0\0\0\0", &program())?;
    let attach = || portway_bpf::attach_tcx(&program, ifindex, Hook::Egress, 0);
    namespace.and_then(|namespace| namespace.run(attach)).map_err(|error| Errno(error.errno()))?
}

/// The program at the egress hook.
fn program() -> Vec<Instruction> {
    const TYPE: i16 = -8;
    const VALUE: i16 = -6;
    const BEHIND: i16 = -4;
    let mut asm = Assembler::new();
    let (next, tagged) = (asm.label(), asm.label());
    asm.op_reg(Op::Move, Reg::R6, Reg::R1);
    asm.load(Size::Word, Reg::R1, Reg::R6, skb::LEN);
    asm.jump_when(When::Above, Reg::R1, ENOUGH as i32 - 1, next);
    asm.jump_when(When::Below, Reg::R1, TAGGED as i32, next);
    asm.load(Size::Word, Reg::R1, Reg::R6, skb::VLAN_PRESENT);
    asm.jump_when(When::NotEqual, Reg::R1, 0, next);
    asm.op_reg(Op::Move, Reg::R1, Reg::R6);
    asm.op(Op::Move, Reg::R2, 12);
    asm.stack(Reg::R3, TYPE);
    asm.op(Op::Move, Reg::R4, 6);
    asm.call(Helper::SkbLoadBytes);
    asm.jump_when(When::NotEqual, Reg::R0, 0, next);
    asm.load(Size::Half, Reg::R7, Reg::Fp, TYPE);
    asm.load(Size::Half, Reg::R8, Reg::Fp, VALUE);
    asm.swap16(Reg::R8);
    // Half of a second tag: no kernel takes that.
    asm.load(Size::Half, Reg::R9, Reg::Fp, BEHIND);
    for ethertype in ETHERTYPES_VLAN {
        asm.jump_when(When::Equal, Reg::R9, i32::from(ethertype.to_be()), next);
    }
    for ethertype in ETHERTYPES_VLAN {
        asm.jump_when(When::Equal, Reg::R7, i32::from(ethertype.to_be()), tagged);
    }
    asm.jump(next);

    asm.place(tagged);
    asm.op_reg(Op::Move, Reg::R1, Reg::R6);
    asm.call(Helper::SkbVlanPop);
    asm.jump_when(When::NotEqual, Reg::R0, 0, next);
    asm.op_reg(Op::Move, Reg::R1, Reg::R6);
    asm.op_reg(Op::Move, Reg::R2, Reg::R7);
    asm.op_reg(Op::Move, Reg::R3, Reg::R8);
    asm.call(Helper::SkbVlanPush);
    asm.place(next);
    asm.pass_on();
    asm.finish()
}
