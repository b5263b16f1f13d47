// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A device belongs to the switch: a BPF program at its tcx ingress hook drops every frame after the packet socket has
//! seen it, so the host's stack gets none (`rx_handler` in the kernel module's place).
//!
//! The program is held by a link, and the link by this process: no trace is left when it goes. Its name is the claim on the
//! device. Looking for it and attaching are tied together by the hook's revision, so of two claimants one gets EBUSY,
//! in whatever process they are.

use std::ffi::{c_int, c_long};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::OnceLock;

use portway_vport::abi::log_level;
use portway_vport::host;
use portway_vport::ops::Errno;

use crate::socket::last_errno;

// Commands and attach type, linux/bpf.h.
const BPF_PROG_LOAD: c_long = 5;
const BPF_PROG_GET_FD_BY_ID: c_long = 13;
const BPF_OBJ_GET_INFO_BY_FD: c_long = 15;
const BPF_PROG_QUERY: c_long = 16;
const BPF_LINK_CREATE: c_long = 28;
const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
const BPF_TCX_INGRESS: u32 = 46;
/// Before all that are there: they must not act on frames that the switch has taken.
const BPF_F_BEFORE: u32 = 1 << 3;

/// `r0 = TCX_DROP; exit`.
const DROP: [u64; 2] = [0xb7 | 2 << 32, 0x95];
const NAME: &[u8; 16] = b"portway_port\0\0\0\0";

/// The most programs at one hook (BPF_MPROG_MAX).
const PROGRAMS_MAX: usize = 64;
/// How often a claim is tried again because somebody else changed the hook meanwhile.
const RETRIES: usize = 16;

/// The claim on one device; dropping it gives the device back to the host.
#[derive(Debug)]
pub(crate) struct Claim {
    _link: OwnedFd,
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

impl Claim {
    /// Claims the device of the calling thread's namespace. EBUSY: it is a port already, here or in another process.
    /// EOPNOTSUPP: this kernel has no tcx (it came with Linux 6.6).
    pub(crate) fn new(ifindex: u32) -> Result<Self, Errno> {
        let program = program()?;
        for _ in 0..RETRIES {
            let revision = unclaimed_revision(ifindex)?;
            let mut attributes = LinkAttributes {
                program: program.as_raw_fd() as u32,
                ifindex,
                attach_type: BPF_TCX_INGRESS,
                flags: BPF_F_BEFORE,
                expected_revision: revision,
                ..LinkAttributes::default()
            };
            // SAFETY: the attributes hold no pointers.
            match unsafe { bpf_fd(BPF_LINK_CREATE, &mut attributes) } {
                Ok(link) => return Ok(Self { _link: link }),
                Err(Errno(libc::ESTALE)) => {}
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno(libc::EBUSY))
    }
}

/// The program, loaded once and used for every port.
fn program() -> Result<&'static OwnedFd, Errno> {
    static PROGRAM: OnceLock<OwnedFd> = OnceLock::new();
    if let Some(program) = PROGRAM.get() {
        return Ok(program);
    }
    let mut attributes = LoadAttributes {
        prog_type: BPF_PROG_TYPE_SCHED_CLS,
        instruction_count: DROP.len() as u32,
        instructions: DROP.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        name: *NAME,
        ..LoadAttributes::default()
    };
    // SAFETY: the pointers are to statics: instructions of the count given, and a NUL-terminated text.
    let loaded = unsafe { bpf_fd(BPF_PROG_LOAD, &mut attributes) }?;
    Ok(PROGRAM.get_or_init(|| loaded))
}

/// The hook's revision while no program of ours is there.
fn unclaimed_revision(ifindex: u32) -> Result<u64, Errno> {
    let mut ids = [0_u32; PROGRAMS_MAX];
    let mut query = QueryAttributes {
        ifindex,
        attach_type: BPF_TCX_INGRESS,
        ids: ids.as_mut_ptr() as u64,
        count: PROGRAMS_MAX as u32,
        ..QueryAttributes::default()
    };
    // SAFETY: the one pointer is to an array of the count given.
    match unsafe { bpf(BPF_PROG_QUERY, &mut query) } {
        Ok(_) => {}
        // Without tcx the attach type is unknown.
        Err(Errno(libc::EINVAL)) => {
            host::log(
                log_level::ERROR,
                "this kernel has no tcx (Linux 6.6 or later has): netdev ports are not possible",
            );
            return Err(Errno(libc::EOPNOTSUPP));
        }
        Err(errno) => return Err(errno),
    }
    let ids = &ids[..(query.count as usize).min(PROGRAMS_MAX)];
    if ids.iter().any(|&id| is_ours(id)) { Err(Errno(libc::EBUSY)) } else { Ok(query.revision) }
}

/// Whether a program is Portway's. One that may not be looked at is somebody else's.
fn is_ours(id: u32) -> bool {
    let mut attributes = [id, 0, 0];
    // SAFETY: the attributes hold no pointers.
    let Ok(program) = (unsafe { bpf_fd(BPF_PROG_GET_FD_BY_ID, &mut attributes) }) else { return false };
    let mut info = [0_u8; 80];
    let mut attributes = InfoAttributes {
        fd: program.as_raw_fd() as u32,
        length: info.len() as u32,
        info: info.as_mut_ptr() as u64,
    };
    // SAFETY: the one pointer is to an array of the length given.
    let answered = unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attributes) }.is_ok();
    // struct bpf_prog_info: the name is at offset 64.
    answered && info[64..] == NAME[..]
}

/// # Safety
/// Pointers in `attributes` must be valid for what the command does with them.
unsafe fn bpf<T>(command: c_long, attributes: &mut T) -> Result<c_int, Errno> {
    // SAFETY: `attributes` is a live value of the size given; the caller vouches for what it points to.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 { Err(last_errno()) } else { Ok(result as c_int) }
}

/// # Safety
/// As [`bpf`], and the command must return a new file descriptor.
unsafe fn bpf_fd<T>(command: c_long, attributes: &mut T) -> Result<OwnedFd, Errno> {
    // SAFETY: the caller's promise; a successful result is a fresh descriptor that nobody else owns.
    unsafe { Ok(OwnedFd::from_raw_fd(bpf(command, attributes)?)) }
}
