// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Maps: what programs and this process share.

use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;

use portway_uapi::Errno;

use crate::sys::{self, bpf, bpf_fd};

/// The map's memory can be shared with the process.
const BPF_F_MMAPABLE: u32 = 1 << 10;

/// Kinds of maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum MapKind {
    /// Keys with values.
    Hash = 1,
    /// Values by number.
    Array = 2,
    /// Values by number, one for each processor.
    PerCpuArray = 6,
}

/// Attributes of BPF_MAP_CREATE up to the map's name.
#[repr(C)]
#[derive(Default)]
pub(crate) struct MapAttributes {
    pub(crate) kind: u32,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) flags: u32,
    pub(crate) inner: u32,
    pub(crate) numa_node: u32,
    pub(crate) name: [u8; 16],
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

/// A map.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
    key_size: usize,
    value_size: usize,
}

impl Map {
    /// A map of that many entries. `shared`: its memory can be mapped ([`Map::share`]); for arrays only.
    pub fn new(
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
            name: *b"portway_map\0\0\0\0\0",
            ..MapAttributes::default()
        };
        // SAFETY: the attributes hold no pointers.
        let fd = unsafe { bpf_fd(sys::MAP_CREATE, &mut attributes) }?;
        // One value for each processor that can ever be.
        let copies = if kind == MapKind::PerCpuArray { processors()? } else { 1 };
        Ok(Self { fd, key_size, value_size: value_size * copies })
    }

    /// What programs refer to it by.
    pub fn raw_fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    fn element(&self, key: &[u8], value: u64) -> ElementAttributes {
        assert_eq!(key.len(), self.key_size, "a key of this map");
        let map = self.fd.as_raw_fd() as u32;
        ElementAttributes { map, key: key.as_ptr() as u64, value, ..ElementAttributes::default() }
    }

    /// The value of a key; of a per-CPU map all processors' values, one after the other.
    pub fn get(&self, key: &[u8]) -> Result<Vec<u8>, Errno> {
        let mut value = vec![0; self.value_size];
        let mut attributes = self.element(key, value.as_mut_ptr() as u64);
        // SAFETY: a key and room for a value, of the map's sizes.
        unsafe { bpf(sys::MAP_LOOKUP_ELEM, &mut attributes) }?;
        Ok(value)
    }

    /// Sets the value of a key (see [`Map::get`]).
    pub fn set(&self, key: &[u8], value: &[u8]) -> Result<(), Errno> {
        assert_eq!(value.len(), self.value_size, "a value of this map");
        let mut attributes = self.element(key, value.as_ptr() as u64);
        // SAFETY: a key and a value of the map's sizes.
        unsafe { bpf(sys::MAP_UPDATE_ELEM, &mut attributes) }.map(drop)
    }

    /// Sets the values of a key to zero.
    pub fn clear(&self, key: &[u8]) -> Result<(), Errno> {
        self.set(key, &vec![0; self.value_size])
    }

    /// Takes a key out. ENOENT: there is none.
    pub fn remove(&self, key: &[u8]) -> Result<(), Errno> {
        let mut attributes = self.element(key, 0);
        // SAFETY: a key of the map's size.
        unsafe { bpf(sys::MAP_DELETE_ELEM, &mut attributes) }.map(drop)
    }

    /// The memory of a shared array: `length` bytes of it.
    pub fn share(&self, length: usize) -> Result<SharedMemory, Errno> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping at a place of the kernel's choice; nothing else is touched.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, self.fd.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let start = NonNull::new(start.cast()).ok_or(Errno(libc::ENOMEM))?;
        Ok(SharedMemory { start, length })
    }
}

/// Memory shared with the kernel's BPF programs; read and written by atomic operations only.
#[derive(Debug)]
pub struct SharedMemory {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: plain memory, valid until the drop, accessed through atomics only.
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// The 64-bit word at `offset`, a multiple of eight.
    pub fn word(&self, offset: usize) -> &std::sync::atomic::AtomicU64 {
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
pub fn processors() -> Result<usize, Errno> {
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
