// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Room for what does not fit small buffers: address space that costs memory only where a super-packet has been written,
//! and only until the queue has switched to large buffers.

use std::ptr::NonNull;
use std::slice;

use portway_buf::BATCH_MAX;
use portway_buf::receive::REST_MAX;

/// Bytes from one slot to the next: whole pages.
const STRIDE: usize = REST_MAX.next_multiple_of(4096);

/// One slot for each packet of a receive call, mapped on first use.
pub(crate) struct Overflow(Option<NonNull<u8>>);

impl Overflow {
    pub(crate) fn new() -> Self {
        Self(None)
    }

    /// Start of the slot that takes the rest of packet `index`: [`REST_MAX`] writable bytes.
    pub(crate) fn slot(&mut self, index: usize) -> *mut u8 {
        assert!(index < BATCH_MAX, "a receive call has at most {BATCH_MAX} packets");
        let base = *self.0.get_or_insert_with(map);
        // SAFETY: within the mapping, by the assertion.
        unsafe { base.as_ptr().add(index * STRIDE) }
    }

    /// What slot `index` holds.
    pub(crate) fn bytes(&mut self, index: usize) -> &[u8] {
        let slot = self.slot(index);
        // SAFETY: `slot` points to REST_MAX bytes of the mapping, which the kernel has zeroed, and `&mut self` is borrowed for
        // as long as the slice lives.
        unsafe { slice::from_raw_parts(slot, REST_MAX) }
    }

    /// Gives the memory back; the address space stays.
    pub(crate) fn release(&mut self) {
        if let Some(base) = self.0 {
            // SAFETY: the whole of our own mapping; its pages read as zeros afterwards.
            unsafe { libc::madvise(base.as_ptr().cast(), STRIDE * BATCH_MAX, libc::MADV_DONTNEED) };
        }
    }
}

impl Drop for Overflow {
    fn drop(&mut self) {
        if let Some(base) = self.0 {
            // SAFETY: the mapping is ours and nothing points into it any more.
            unsafe { libc::munmap(base.as_ptr().cast(), STRIDE * BATCH_MAX) };
        }
    }
}

fn map() -> NonNull<u8> {
    let (protection, kind) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
    // SAFETY: a new mapping at an address that the kernel chooses.
    let base = unsafe { libc::mmap(std::ptr::null_mut(), STRIDE * BATCH_MAX, protection, kind, -1, 0) };
    assert!(base != libc::MAP_FAILED, "no address space left for receive buffers");
    NonNull::new(base.cast()).expect("a mapping is never at address zero unless asked for")
}
