// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The system call `bpf`: programs, maps, links.

use std::ffi::{c_int, c_long};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

use portway_vport::ops::Errno;

use crate::asm::Instruction;
use crate::socket::last_errno;

// Commands, linux/bpf.h.
const BPF_MAP_CREATE: c_long = 0;
const BPF_MAP_LOOKUP_ELEM: c_long = 1;
const BPF_MAP_UPDATE_ELEM: c_long = 2;
const BPF_MAP_DELETE_ELEM: c_long = 3;
const BPF_PROG_LOAD: c_long = 5;
const BPF_PROG_GET_FD_BY_ID: c_long = 13;
const BPF_OBJ_GET_INFO_BY_FD: c_long = 15;
const BPF_PROG_QUERY: c_long = 16;
const BPF_LINK_CREATE: c_long = 28;

const BPF_TCX_INGRESS: u32 = 46;
/// Before all that are there: they must not act on frames that the switch has taken.
const BPF_F_BEFORE: u32 = 1 << 3;
/// The map's memory can be shared with the process.
const BPF_F_MMAPABLE: u32 = 1 << 10;

/// The most programs at one hook (BPF_MPROG_MAX).
const PROGRAMS_MAX: usize = 64;

/// Kinds of programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum ProgramKind {
    SocketFilter = 1,
    SchedCls = 3,
}

/// Kinds of maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum MapKind {
    Hash = 1,
    Array = 2,
    PerCpuArray = 6,
}

/// Attributes of BPF_MAP_CREATE up to the map's name.
#[repr(C)]
#[derive(Default)]
struct MapAttributes {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    inner: u32,
    numa_node: u32,
    name: [u8; 16],
}

/// Attributes of the commands on one element of a map.
#[repr(C)]
#[derive(Default)]
struct ElementAttributes {
    map: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
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
pub(crate) fn load(kind: ProgramKind, name: &[u8; 16], code: &[Instruction]) -> Result<OwnedFd, Errno> {
    let mut attributes = LoadAttributes {
        prog_type: kind as u32,
        instruction_count: code.len() as u32,
        instructions: code.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        name: *name,
        ..LoadAttributes::default()
    };
    // SAFETY: the pointers are to instructions of the count given and to a NUL-terminated text; both outlive the call.
    unsafe { bpf_fd(BPF_PROG_LOAD, &mut attributes) }
}

/// Attaches a program at a device's tcx ingress hook, before all others, if the hook's revision is still this one (else ESTALE).
pub(crate) fn attach_tcx(program: &OwnedFd, ifindex: u32, revision: u64) -> Result<OwnedFd, Errno> {
    let mut attributes = LinkAttributes {
        program: program.as_raw_fd() as u32,
        ifindex,
        attach_type: BPF_TCX_INGRESS,
        flags: BPF_F_BEFORE,
        expected_revision: revision,
        ..LinkAttributes::default()
    };
    // SAFETY: the attributes hold no pointers.
    unsafe { bpf_fd(BPF_LINK_CREATE, &mut attributes) }
}

/// The ids of the programs at a device's tcx ingress hook, and the hook's revision. EINVAL: this kernel has no tcx.
pub(crate) fn query_tcx(ifindex: u32) -> Result<(Vec<u32>, u64), Errno> {
    let mut ids = vec![0_u32; PROGRAMS_MAX];
    let mut query = QueryAttributes {
        ifindex,
        attach_type: BPF_TCX_INGRESS,
        ids: ids.as_mut_ptr() as u64,
        count: PROGRAMS_MAX as u32,
        ..QueryAttributes::default()
    };
    // SAFETY: the one pointer is to an array of the count given.
    unsafe { bpf(BPF_PROG_QUERY, &mut query) }?;
    ids.truncate(query.count as usize);
    Ok((ids, query.revision))
}

/// The name of the program of that id; `None`: it may not be looked at, or has gone.
pub(crate) fn program_name(id: u32) -> Option<[u8; 16]> {
    let mut attributes = [id, 0, 0];
    // SAFETY: the attributes hold no pointers.
    let program = unsafe { bpf_fd(BPF_PROG_GET_FD_BY_ID, &mut attributes) }.ok()?;
    let mut info = [0_u8; 80];
    let mut attributes = InfoAttributes {
        fd: program.as_raw_fd() as u32,
        length: info.len() as u32,
        info: info.as_mut_ptr() as u64,
    };
    // SAFETY: the one pointer is to an array of the length given.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attributes) }.ok()?;
    // struct bpf_prog_info: the name is at offset 64.
    info[64..].try_into().ok()
}

/// A map.
#[derive(Debug)]
pub(crate) struct Map {
    fd: OwnedFd,
    key_size: usize,
    value_size: usize,
}

impl Map {
    /// `shared`: its memory can be mapped ([`Map::share`]); for arrays only.
    pub(crate) fn new(
        kind: MapKind,
        key_size: usize,
        value_size: usize,
        entries: u32,
        shared: bool,
    ) -> Result<Self, Errno> {
        let mut attributes = MapAttributes {
            kind: kind as u32,
            key_size: key_size as u32,
            value_size: value_size as u32,
            max_entries: entries,
            flags: if shared { BPF_F_MMAPABLE } else { 0 },
            name: *b"portway_shortcut",
            ..MapAttributes::default()
        };
        attributes.name[15] = 0;
        // SAFETY: the attributes hold no pointers.
        let fd = unsafe { bpf_fd(BPF_MAP_CREATE, &mut attributes) }?;
        // One value for each processor that can ever be.
        let copies = if kind == MapKind::PerCpuArray { processors()? } else { 1 };
        Ok(Self { fd, key_size, value_size: value_size * copies })
    }

    pub(crate) fn raw_fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    fn element(&self, key: &[u8], value: u64) -> ElementAttributes {
        assert_eq!(key.len(), self.key_size, "a key of this map");
        let map = self.fd.as_raw_fd() as u32;
        ElementAttributes { map, key: key.as_ptr() as u64, value, ..ElementAttributes::default() }
    }

    /// The value of a key; of a per-CPU map all processors' values, one after the other.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Vec<u8>, Errno> {
        let mut value = vec![0; self.value_size];
        let mut attributes = self.element(key, value.as_mut_ptr() as u64);
        // SAFETY: a key and room for a value, of the map's sizes.
        unsafe { bpf(BPF_MAP_LOOKUP_ELEM, &mut attributes) }?;
        Ok(value)
    }

    /// Sets the value of a key (see [`Map::get`]).
    pub(crate) fn set(&self, key: &[u8], value: &[u8]) -> Result<(), Errno> {
        assert_eq!(value.len(), self.value_size, "a value of this map");
        let mut attributes = self.element(key, value.as_ptr() as u64);
        // SAFETY: a key and a value of the map's sizes.
        unsafe { bpf(BPF_MAP_UPDATE_ELEM, &mut attributes) }.map(drop)
    }

    /// Sets the values of a key to zero.
    pub(crate) fn clear(&self, key: &[u8]) -> Result<(), Errno> {
        self.set(key, &vec![0; self.value_size])
    }

    pub(crate) fn remove(&self, key: &[u8]) -> Result<(), Errno> {
        let mut attributes = self.element(key, 0);
        // SAFETY: a key of the map's size.
        unsafe { bpf(BPF_MAP_DELETE_ELEM, &mut attributes) }.map(drop)
    }

    /// The memory of a shared array: `length` bytes of it.
    pub(crate) fn share(&self, length: usize) -> Result<SharedMemory, Errno> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping at a place of the kernel's choice; nothing else is touched.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, self.fd.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(last_errno());
        }
        let start = NonNull::new(start.cast()).ok_or(Errno(libc::ENOMEM))?;
        Ok(SharedMemory { start, length })
    }
}

/// Memory shared with the kernel's BPF programs; read and written by atomic operations only.
#[derive(Debug)]
pub(crate) struct SharedMemory {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: plain memory, valid until the drop, accessed through atomics only.
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// The 64-bit word at `offset`, a multiple of eight.
    pub(crate) fn word(&self, offset: usize) -> &std::sync::atomic::AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.length, "a word of the shared memory");
        // SAFETY: inside the mapping, aligned (a mapping starts at a page), and accessed atomically by everybody here; the
        // mapping lives as long as `self`.
        unsafe { std::sync::atomic::AtomicU64::from_ptr(self.start.as_ptr().add(offset).cast()) }
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping made by `Map::share`, of that length; no reference into it outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// How many processors there can ever be: so many values a per-CPU map has.
pub(crate) fn processors() -> Result<usize, Errno> {
    static COUNT: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    if let Some(&count) = COUNT.get() {
        return Ok(count);
    }
    let list =
        std::fs::read_to_string("/sys/devices/system/cpu/possible").map_err(|_| Errno(libc::ENOENT))?;
    // "0-3" or "0,2-5": the highest number counts.
    let highest = list.trim().rsplit([',', '-']).next().and_then(|last| last.parse::<usize>().ok());
    Ok(*COUNT.get_or_init(|| highest.unwrap_or(0) + 1))
}

/// # Safety
/// Pointers in `attributes` must be valid for what the command does with them.
pub(crate) unsafe fn bpf<T>(command: c_long, attributes: &mut T) -> Result<c_int, Errno> {
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
