// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which buffers a driver offers to receive into, when frames of the most different lengths may come.
//!
//! A device that carries ordinary frames is read into small buffers; behind each stands a piece of the driver's own memory that takes
//! the rest of a super-packet, so nothing is ever cut. Once super-packets are seen the device is read into large buffers, and
//! after a quiet time into small ones again.

use crate::{BATCH_MAX, Batch, Class, FRAME_MAX, HEADROOM, Packet, PoolRef};

/// Bytes of a frame that fit a small buffer behind the headroom.
pub const SMALL_MAX: usize = Class::Small.frame_max();
/// The part of the longest frame that a small buffer does not hold: the size of a driver's overflow piece.
pub const REST_MAX: usize = FRAME_MAX - SMALL_MAX;

/// Where a frame starts in a large buffer: past the headroom, and so that the payload of a TCP segment over IPv4 with
/// timestamps (66 bytes of headers) starts on a cache line, which makes copies faster.
const LARGE_START: usize = 446;
/// Most buffers offered at once when they are large: few enough to stay in the second-level cache.
const LARGE_OFFER: usize = 16;
/// Buffers offered to a queue that has been nearly empty.
const OFFER_MIN: usize = 4;
/// Receive calls without a super-packet after which small buffers are used again.
const QUIET_CALLS: u32 = 512;

const _: () =
    assert!(LARGE_START >= HEADROOM && LARGE_START + FRAME_MAX <= HEADROOM + Class::Large.frame_max());

/// The choice for one receive queue.
#[derive(Debug)]
pub struct Choice {
    /// How many buffers the next call offers.
    offer: usize,
    large: bool,
    /// Receive calls since the last super-packet.
    quiet: u32,
}

impl Default for Choice {
    fn default() -> Self {
        Self { offer: OFFER_MIN, large: false, quiet: QUIET_CALLS }
    }
}

impl Choice {
    /// Appends the buffers for the next receive call to `batch` and returns how many; 0: no room, or the pool is empty.
    #[inline]
    pub fn take(&self, pool: &mut PoolRef<'_>, batch: &mut Batch) -> usize {
        let start = batch.len();
        let (class, most) = if self.large { (Class::Large, LARGE_OFFER) } else { (Class::Small, BATCH_MAX) };
        pool.take_into(class, self.offer.min(most), batch);
        batch.len() - start
    }

    /// Whether the buffers are large, and stand alone.
    #[inline]
    pub fn is_large(&self) -> bool {
        self.large
    }

    /// Where frames start in the buffers.
    #[inline]
    pub fn start(&self) -> usize {
        if self.large { LARGE_START } else { HEADROOM }
    }

    /// Makes a packet of a buffer that a frame of `len` bytes was received into; `rest` is the overflow piece behind a
    /// small one. False if the frame cannot be held.
    #[inline]
    #[must_use]
    pub fn finish(&mut self, pool: &mut PoolRef<'_>, packet: &mut Packet, len: usize, rest: &[u8]) -> bool {
        if len > SMALL_MAX {
            self.quiet = 0;
            if !self.large {
                return join(pool, packet, len, rest);
            }
        }
        packet.set_bounds(self.start(), len)
    }

    /// Learns from a call that filled `received` of the `offered` buffers. True: the choice has just gone from small to
    /// large, and the overflow pieces are not needed for a while.
    #[inline]
    pub fn learn(&mut self, received: usize, offered: usize) -> bool {
        if received == offered {
            self.offer = (self.offer * 2).min(BATCH_MAX);
        } else if received * 4 <= offered {
            self.offer = (self.offer / 2).max(OFFER_MIN);
        }
        if received == 0 {
            return false;
        }
        let was_large = self.large;
        self.large = self.quiet < QUIET_CALLS;
        self.quiet = self.quiet.saturating_add(1);
        self.large && !was_large
    }
}

/// Frames that came and are longer than the switch carries: each is reported by one receive call.
#[derive(Debug, Default)]
pub struct TooLong(u32);

impl TooLong {
    /// One more came.
    #[inline]
    pub fn add(&mut self) {
        self.0 += 1;
    }

    /// Whether this call has to report one.
    #[inline]
    #[must_use]
    pub fn report(&mut self) -> bool {
        let rest = self.0.checked_sub(1);
        self.0 = rest.unwrap_or(0);
        rest.is_some()
    }
}

/// Gives the packets from `keep` on, which nothing was received into, back.
#[inline]
pub fn give_back(pool: &mut PoolRef<'_>, batch: &mut Batch, keep: usize) {
    if keep < batch.len() {
        let mut unused: Batch = batch.drain(keep..).collect();
        pool.give_all(&mut unused);
    }
}

/// Puts the halves of a super-packet that began in a small buffer together in a large one.
#[cold]
fn join(pool: &mut PoolRef<'_>, packet: &mut Packet, len: usize, rest: &[u8]) -> bool {
    let Some(mut large) = pool.take(Class::Large) else { return false };
    let Some(rest) = rest.get(..len - SMALL_MAX) else { return false };
    if !large.set_bounds(LARGE_START, len) {
        return false;
    }
    let (front, back) = large.frame_mut().split_at_mut(SMALL_MAX);
    front.copy_from_slice(&packet.area_mut()[HEADROOM..HEADROOM + SMALL_MAX]);
    back.copy_from_slice(rest);
    pool.give(std::mem::replace(packet, large));
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pool;

    fn receive(choice: &mut Choice, pool: &mut Pool, frame: &[u8]) -> Packet {
        let mut batch = Batch::new();
        let offered = choice.take(&mut pool.as_ref(), &mut batch);
        assert!(offered >= 1);
        let mut packet = batch.swap_remove(0);
        let start = choice.start();
        let direct = frame.len().min(packet.capacity() - start);
        packet.area_mut()[start..start + direct].copy_from_slice(&frame[..direct]);
        assert!(choice.finish(&mut pool.as_ref(), &mut packet, frame.len(), &frame[direct..]));
        choice.learn(1, offered);
        pool.as_ref().give_all(&mut batch);
        packet
    }

    #[test]
    fn every_length_arrives_whole_in_both_worlds() {
        let (mut pool, mut choice) = (Pool::new(), Choice::default());
        let frame: Vec<u8> = (0..FRAME_MAX).map(|at| (at % 251) as u8).collect();
        for len in [60, SMALL_MAX, SMALL_MAX + 1, FRAME_MAX, 60, SMALL_MAX, SMALL_MAX + 1, FRAME_MAX] {
            let packet = receive(&mut choice, &mut pool, &frame[..len]);
            assert_eq!(packet.frame(), &frame[..len]);
            assert!(packet.headroom() >= HEADROOM);
        }
    }

    #[test]
    fn super_packets_bring_large_buffers_and_a_quiet_time_small_ones() {
        let (mut pool, mut choice) = (Pool::new(), Choice::default());
        receive(&mut choice, &mut pool, &[0; 1500]);
        assert!(!choice.is_large(), "an ordinary frame changes nothing");
        receive(&mut choice, &mut pool, &[0; 9000]);
        assert!(choice.is_large());
        for _ in 1..QUIET_CALLS {
            receive(&mut choice, &mut pool, &[0; 60]);
            assert!(choice.is_large());
        }
        receive(&mut choice, &mut pool, &[0; 60]);
        assert!(!choice.is_large());
    }

    #[test]
    fn the_offer_follows_the_load() {
        let mut choice = Choice::default();
        for _ in 0..10 {
            let offered = choice.offer;
            choice.learn(offered, offered);
        }
        assert_eq!(choice.offer, BATCH_MAX);
        for _ in 0..10 {
            let offered = choice.offer;
            choice.learn(0, offered);
        }
        assert_eq!(choice.offer, OFFER_MIN);
    }

    #[test]
    fn each_frame_that_is_too_long_is_reported_once() {
        let mut too_long = TooLong::default();
        assert!(!too_long.report());
        too_long.add();
        too_long.add();
        assert_eq!([too_long.report(), too_long.report(), too_long.report()], [true, true, false]);
    }

    #[test]
    fn a_frame_beyond_the_limit_is_refused() {
        let (mut pool, mut choice) = (Pool::new(), Choice::default());
        let mut batch = Batch::new();
        choice.take(&mut pool.as_ref(), &mut batch);
        let mut packet = batch.pop().unwrap();
        assert!(!choice.finish(&mut pool.as_ref(), &mut packet, FRAME_MAX + 1, &[0; REST_MAX]));
    }
}
