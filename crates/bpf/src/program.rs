// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Programs: loaded, attached to a device, found there.

use std::os::fd::{AsRawFd, OwnedFd};

use portway_uapi::Errno;

use crate::asm::Instruction;
use crate::sys::{self, bpf, bpf_fd};

/// Before all that are there: they must not act on frames that the switch has taken.
const BPF_F_BEFORE: u32 = 1 << 3;

/// The most programs at one hook (BPF_MPROG_MAX).
const PROGRAMS_MAX: usize = 64;

/// Kinds of programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ProgramKind {
    /// On a socket, or on a TAP: says how much of a frame it gets.
    SocketFilter = 1,
    /// At a device's hook.
    SchedCls = 3,
}

/// A device's tcx hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Hook {
    /// Frames pass it on their way into the host (BPF_TCX_INGRESS).
    Ingress = 46,
    /// Frames that the host sends pass it, before anybody who listens to the device sees them (BPF_TCX_EGRESS).
    Egress = 47,
}

/// Offsets in a program's context, struct __sk_buff (linux/bpf.h). All fields but half-words are of 32 bits.
pub mod skb {
    /// Bytes of the frame.
    pub const LEN: i16 = 0;
    /// Mark.
    pub const MARK: i16 = 8;
    /// Whether there is a VLAN tag beside the frame.
    pub const VLAN_PRESENT: i16 = 20;
    /// That tag, in the machine's order.
    pub const VLAN_TCI: i16 = 24;
    /// Its type, in the network's order.
    pub const VLAN_PROTO: i16 = 28;
    /// Priority.
    pub const PRIORITY: i16 = 32;
    /// The device that the frame is at.
    pub const IFINDEX: i16 = 40;
    /// Sixteen bits for those who classify frames.
    pub const TC_INDEX: i16 = 44;
    /// Flow hash.
    pub const HASH: i16 = 68;
    /// Bytes of a segment, if the frame is to be cut.
    pub const GSO_SIZE: i16 = 176;
}

/// Attributes of BPF_PROG_LOAD up to the program's name.
#[repr(C)]
#[derive(Default)]
struct LoadAttributes {
    prog_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log: [u32; 4],
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// Attributes of BPF_LINK_CREATE for tcx.
#[repr(C)]
#[derive(Default)]
struct LinkAttributes {
    program: u32,
    ifindex: u32,
    attach_type: u32,
    flags: u32,
    relative: u32,
    pad: u32,
    expected_revision: u64,
}

/// Attributes of BPF_PROG_QUERY.
#[repr(C)]
#[derive(Default)]
struct QueryAttributes {
    ifindex: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    pad: u32,
    unused: [u64; 3],
    revision: u64,
}

/// Attributes of BPF_OBJ_GET_INFO_BY_FD.
#[repr(C)]
#[derive(Default)]
struct InfoAttributes {
    fd: u32,
    length: u32,
    info: u64,
}

/// Loads a program.
pub fn load(kind: ProgramKind, name: &[u8; 16], code: &[Instruction]) -> Result<OwnedFd, Errno> {
    let mut attributes = LoadAttributes {
        prog_type: kind as u32,
        instruction_count: code.len() as u32,
        instructions: code.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        name: *name,
        ..LoadAttributes::default()
    };
    // SAFETY: the pointers are to instructions of the count given and to a NUL-terminated text; both outlive the call.
    unsafe { bpf_fd(sys::PROG_LOAD, &mut attributes) }
}

/// Attaches a program at a device's hook, before all others, if the hook's revision is still this one (else ESTALE; 0: whatever it
/// is). The device is one of the calling thread's namespace; the program is detached with the value.
pub fn attach_tcx(program: &OwnedFd, ifindex: u32, hook: Hook, revision: u64) -> Result<OwnedFd, Errno> {
    let mut attributes = LinkAttributes {
        program: program.as_raw_fd() as u32,
        ifindex,
        attach_type: hook as u32,
        flags: BPF_F_BEFORE,
        expected_revision: revision,
        ..LinkAttributes::default()
    };
    // SAFETY: the attributes hold no pointers.
    unsafe { bpf_fd(sys::LINK_CREATE, &mut attributes) }
}

/// The ids of the programs at a device's tcx ingress hook, and the hook's revision. EINVAL: this kernel has no tcx.
pub fn query_tcx(ifindex: u32) -> Result<(Vec<u32>, u64), Errno> {
    let mut ids = vec![0_u32; PROGRAMS_MAX];
    let mut query = QueryAttributes {
        ifindex,
        attach_type: Hook::Ingress as u32,
        ids: ids.as_mut_ptr() as u64,
        count: PROGRAMS_MAX as u32,
        ..QueryAttributes::default()
    };
    // SAFETY: the one pointer is to an array of the count given.
    unsafe { bpf(sys::PROG_QUERY, &mut query) }?;
    ids.truncate(query.count as usize);
    Ok((ids, query.revision))
}

/// The name of the program of that id; `None`: it may not be looked at, or has gone.
pub fn program_name(id: u32) -> Option<[u8; 16]> {
    let mut attributes = [id, 0, 0];
    // SAFETY: the attributes hold no pointers.
    let program = unsafe { bpf_fd(sys::PROG_GET_FD_BY_ID, &mut attributes) }.ok()?;
    let mut info = [0_u8; 80];
    let mut attributes = InfoAttributes {
        fd: program.as_raw_fd() as u32,
        length: info.len() as u32,
        info: info.as_mut_ptr() as u64,
    };
    // SAFETY: the one pointer is to an array of the length given.
    unsafe { bpf(sys::OBJ_GET_INFO_BY_FD, &mut attributes) }.ok()?;
    // struct bpf_prog_info: the name is at offset 64.
    info[64..].try_into().ok()
}
