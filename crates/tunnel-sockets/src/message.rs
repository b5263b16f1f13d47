// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Control messages of sendmsg and recvmsg, written and read without the C macros' pointer walks.

use std::ffi::c_int;

/// Bytes of a cmsghdr, and what each is padded to.
const HEADER: usize = size_of::<libc::cmsghdr>();
const ALIGN: usize = size_of::<usize>();

/// Room for all control messages of one packet.
#[repr(align(8))]
#[derive(Clone, Copy)]
pub(crate) struct Control {
    bytes: [u8; Self::ROOM],
    len: usize,
}

impl Control {
    /// Bytes of room.
    pub(crate) const ROOM: usize = 256;

    pub(crate) const fn new() -> Self {
        Self { bytes: [0; Self::ROOM], len: 0 }
    }

    /// For the kernel to write to.
    pub(crate) fn room(&mut self) -> *mut u8 {
        self.bytes.as_mut_ptr()
    }

    /// Bytes written by [`Control::push`].
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Appends a message. There is room for every kind that is used here, once.
    pub(crate) fn push(&mut self, level: c_int, kind: c_int, value: &[u8]) {
        let (at, len) = (self.len, HEADER + value.len());
        let Some(room) = self.bytes.get_mut(at..at + len.next_multiple_of(ALIGN)) else { return };
        room[..8].copy_from_slice(&len.to_ne_bytes());
        room[8..12].copy_from_slice(&level.to_ne_bytes());
        room[12..16].copy_from_slice(&kind.to_ne_bytes());
        room[HEADER..len].copy_from_slice(value);
        self.len = at + room.len();
    }

    /// The messages in the first `len` bytes: level, type, value.
    pub(crate) fn iter(&self, len: usize) -> impl Iterator<Item = (c_int, c_int, &[u8])> {
        let mut rest = &self.bytes[..len.min(Self::ROOM)];
        std::iter::from_fn(move || {
            let (header, _) = rest.split_first_chunk::<16>()?;
            let word = |at: usize| {
                c_int::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
            };
            let len = usize::from_ne_bytes([
                header[0], header[1], header[2], header[3], header[4], header[5], header[6], header[7],
            ]);
            let value = rest.get(HEADER..len)?;
            let message = (word(8), word(12), value);
            rest = rest.get(len.next_multiple_of(ALIGN)..).unwrap_or(&[]);
            Some(message)
        })
    }
}

/// A number in a control message: of one byte or of four.
pub(crate) fn number(value: &[u8]) -> u32 {
    match value {
        [byte] => u32::from(*byte),
        [a, b, c, d, ..] => u32::from_ne_bytes([*a, *b, *c, *d]),
        _ => 0,
    }
}

const _: () = assert!(HEADER == 16 && ALIGN == 8, "the layout of cmsghdr on 64-bit Linux");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back() {
        let mut control = Control::new();
        control.push(1, 2, &[7]);
        control.push(3, 4, &9u32.to_ne_bytes());
        control.push(5, 6, &[1; 20]);
        let all: Vec<_> =
            control.iter(control.len()).map(|(level, kind, value)| (level, kind, number(value))).collect();
        assert_eq!(all, [(1, 2, 7), (3, 4, 9), (5, 6, 0x0101_0101)]);
        for cut in 0..control.len() {
            assert!(control.iter(cut).count() <= 3);
        }
        for _ in 0..100 {
            control.push(1, 1, &[0; 60]);
        }
        assert!(control.len() <= Control::ROOM);
    }
}
