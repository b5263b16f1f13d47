// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Copying frames in whole cache lines: for drivers whose source is laid out for it (replay, shared-memory rings).

use crate::packet::Packet;

/// Bytes of a cache line.
pub const BLOCK: usize = 64;

/// One cache line of frame bytes, aligned as such: sources made of blocks are copied from with aligned moves.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Block(pub [u8; BLOCK]);

impl Packet {
    /// As [`Packet::set_frame`] of the first `len` bytes of `source`, but in whole blocks if the buffer has room for them:
    /// for short frames a few wide moves in place of a call. What lies behind the frame in the buffer then is whatever
    /// follows it in its last block.
    ///
    /// # Panics
    /// If the buffer is too small, or `source` shorter than `len`.
    #[inline]
    pub fn set_frame_blocks(&mut self, source: &[Block], len: usize) {
        let source = &source[..len.div_ceil(BLOCK)];
        let (room, _) = self.area_mut()[crate::HEADROOM..].as_chunks_mut::<BLOCK>();
        let Some(room) = room.get_mut(..source.len()) else {
            return self.set_frame_in_parts(source, len);
        };
        for (to, from) in room.iter_mut().zip(source) {
            *to = from.0;
        }
        let fits = self.set_bounds(crate::HEADROOM, len);
        debug_assert!(fits, "the blocks were within the buffer");
    }

    #[cold]
    fn set_frame_in_parts(&mut self, source: &[Block], len: usize) {
        assert!(self.set_bounds(crate::HEADROOM, len), "frame does not fit its buffer");
        for (to, from) in self.frame_mut().chunks_mut(BLOCK).zip(source) {
            to.copy_from_slice(&from.0[..to.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Class, FRAME_MAX, Pool};

    #[test]
    fn blocks_arrive_whole_at_every_length() {
        let blocks: Vec<_> = (0..FRAME_MAX.div_ceil(BLOCK)).map(|i| Block([i as u8; BLOCK])).collect();
        let bytes: Vec<u8> = blocks.iter().flat_map(|block| block.0).collect();
        let mut pool = Pool::new();
        for len in (0..200).chain(1700..=1728).chain([9000, FRAME_MAX - 1, FRAME_MAX]) {
            let mut packet = pool.take(Class::for_frame(len).unwrap());
            packet.set_frame_blocks(&blocks, len);
            assert_eq!(packet.frame(), &bytes[..len]);
            assert_eq!(packet.headroom(), crate::HEADROOM);
            pool.give(packet);
        }
    }

    #[test]
    #[should_panic(expected = "does not fit")]
    fn too_small_a_buffer_is_refused() {
        let blocks = vec![Block([0; BLOCK]); 100];
        Pool::new().take(Class::Small).set_frame_blocks(&blocks, 5000);
    }
}
