// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Masks: which bits of a key a flow cares about.

use std::hash::{Hash, Hasher};

use crate::key::{FlowKey, KEY_WORDS};

/// Which bits of the key matter: a one bit must match. Knows which of its words are not zero, so that matching
/// touches no others.
#[derive(Clone, Eq)]
pub struct FlowMask {
    bits: FlowKey,
    /// Bit n: word n of `bits` is not zero.
    active: u128,
}

impl Default for FlowMask {
    fn default() -> Self {
        Self::new(FlowKey::default())
    }
}

impl PartialEq for FlowMask {
    fn eq(&self, other: &Self) -> bool {
        self.active == other.active && self.bits == other.bits
    }
}

impl Hash for FlowMask {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.active.hash(state);
        for index in self.active_words() {
            self.bits.words()[index].hash(state);
        }
    }
}

impl std::fmt::Debug for FlowMask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.bits.fmt(f)
    }
}

impl FlowMask {
    /// A mask of these bits.
    pub fn new(bits: FlowKey) -> Self {
        let active = bits
            .words()
            .iter()
            .enumerate()
            .fold(0, |set, (index, &word)| set | (u128::from(word != 0) << index));
        Self { bits, active }
    }

    /// A mask in which every bit matters.
    pub fn exact() -> Self {
        let mut bits = FlowKey::default();
        bits.words_mut().fill(u64::MAX);
        Self::new(bits)
    }

    /// The bits.
    #[inline]
    pub fn bits(&self) -> &FlowKey {
        &self.bits
    }

    /// The indices of the words that are not zero, ascending.
    #[inline]
    pub fn active_words(&self) -> impl Iterator<Item = usize> + use<> {
        set_bits(self.active)
    }

    /// Whether `key` is in the flow whose already masked key is `flow`.
    #[inline]
    pub fn matches(&self, key: &FlowKey, flow: &FlowKey) -> bool {
        let (bits, key, flow) = (self.bits.words(), key.words(), flow.words());
        self.active_words().all(|index| key[index] & bits[index] == flow[index])
    }

    /// The key with all but this mask's bits cleared.
    pub fn apply(&self, key: &FlowKey) -> FlowKey {
        let mut masked = FlowKey::default();
        for index in self.active_words() {
            masked.words_mut()[index] = key.words()[index] & self.bits.words()[index];
        }
        masked
    }

    /// Hash of the masked key.
    #[inline]
    pub fn hash_key(&self, key: &FlowKey, seed: u64) -> u64 {
        let (bits, key) = (self.bits.words(), key.words());
        hash_words(self.active_words().map(|index| key[index] & bits[index]), seed)
    }

    /// Whether every bit of this mask is also in `other`.
    pub fn is_subset_of(&self, other: &Self) -> bool {
        self.active & !other.active == 0
            && self.active_words().all(|index| self.bits.words()[index] & !other.bits.words()[index] == 0)
    }

    /// Adds the bits of `other`; returns whether that changed anything.
    pub fn unite(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for index in other.active_words() {
            let (word, more) = (&mut self.bits.words_mut()[index], other.bits.words()[index]);
            changed |= more & !*word != 0;
            *word |= more;
        }
        self.active |= other.active;
        changed
    }

    /// Whether two flows with these masks and masked keys can both match one packet.
    pub fn overlaps(&self, key: &FlowKey, other: &Self, other_key: &FlowKey) -> bool {
        (0..KEY_WORDS).all(|index| {
            let common = self.bits.words()[index] & other.bits.words()[index];
            (key.words()[index] ^ other_key.words()[index]) & common == 0
        })
    }
}

/// The places of the bits that are one, ascending.
#[inline]
pub(crate) fn set_bits(mut left: u128) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        let index = left.trailing_zeros() as usize;
        left &= left - 1;
        Some(index)
    })
}

/// Folds a 128-bit product: each output bit depends on every input bit of both factors.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// Hash of a sequence of words, keyed with `seed`: a remote sender that does not know the seed cannot aim at one bucket.
#[inline]
pub fn hash_words(words: impl IntoIterator<Item = u64>, seed: u64) -> u64 {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = seed ^ MULTIPLIER;
    for word in words {
        state = fold(state ^ word, MULTIPLIER ^ seed.rotate_left(32)).wrapping_add(word.rotate_left(17));
    }
    fold(state, MULTIPLIER)
}

#[cfg(test)]
mod tests {
    use zerocopy::network_endian::U16;

    use super::*;

    fn key(port: u16) -> FlowKey {
        FlowKey { tp_dst: U16::new(port), in_port: 3, ..FlowKey::default() }
    }

    fn mask_of(change: impl FnOnce(&mut FlowKey)) -> FlowMask {
        let mut bits = FlowKey::default();
        change(&mut bits);
        FlowMask::new(bits)
    }

    #[test]
    fn a_mask_ignores_what_it_does_not_name() {
        let mask = mask_of(|bits| bits.in_port = u32::MAX);
        let flow = mask.apply(&key(80));
        assert!(mask.matches(&key(443), &flow));
        assert_eq!(mask.hash_key(&key(443), 1), mask.hash_key(&key(80), 1));
        assert_ne!(mask.hash_key(&key(80), 2), mask.hash_key(&key(80), 1));
        let narrow = mask_of(|bits| bits.tp_dst = U16::new(0xffff));
        assert!(!narrow.matches(&key(443), &narrow.apply(&key(80))));
    }

    #[test]
    fn union_and_subset() {
        let a = mask_of(|bits| bits.in_port = u32::MAX);
        let b = mask_of(|bits| bits.tp_dst = U16::new(0xff00));
        let mut both = a.clone();
        assert!(both.unite(&b));
        assert!(!both.unite(&a));
        assert!(a.is_subset_of(&both) && b.is_subset_of(&both) && !both.is_subset_of(&a));
        assert!(both.is_subset_of(&FlowMask::exact()));
        assert_eq!(FlowMask::default().active_words().count(), 0);
    }

    #[test]
    fn overlap_is_seen_in_common_bits_only() {
        let port = mask_of(|bits| bits.in_port = u32::MAX);
        let dst = mask_of(|bits| bits.tp_dst = U16::new(0xffff));
        assert!(port.overlaps(&port.apply(&key(1)), &dst, &dst.apply(&key(2))));
        assert!(!dst.overlaps(&dst.apply(&key(1)), &dst, &dst.apply(&key(2))));
    }
}
