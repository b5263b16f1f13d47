// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Keys at rest: a key has some 70 words, of which a flow's has a dozen that are not zero. Tables of a million flows keep those.

use crate::key::FlowKey;
use crate::mask::{FlowMask, set_bits};

/// A key of which only the words that are not zero are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedKey {
    /// Bit n: word n of the key is in `words`, in order.
    present: u128,
    words: Box<[u64]>,
}

impl From<&FlowKey> for PackedKey {
    fn from(key: &FlowKey) -> Self {
        let words = key.words();
        let present = (0..words.len()).fold(0, |set, at| set | (u128::from(words[at] != 0) << at));
        let mut kept = Vec::with_capacity(present.count_ones() as usize);
        kept.extend(set_bits(present).map(|at| words[at]));
        Self { present, words: kept.into() }
    }
}

impl PackedKey {
    /// The key in full.
    pub fn unpack(&self) -> FlowKey {
        let mut key = FlowKey::default();
        for (at, word) in set_bits(self.present).zip(&self.words) {
            key.words_mut()[at] = *word;
        }
        key
    }

    /// Whether `key`, under `mask`, is this key. Words of this key outside the mask must be zero.
    #[inline]
    pub fn equals_masked(&self, key: &FlowKey, mask: &FlowMask) -> bool {
        let (bits, key) = (mask.bits().words(), key.words());
        let mut at = 0;
        mask.active_words().all(|index| {
            let mut wanted = 0;
            if self.present >> index & 1 == 1 {
                wanted = self.words[at];
                at += 1;
            }
            key[index] & bits[index] == wanted
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::KEY_WORDS;

    fn any_key() -> impl Strategy<Value = FlowKey> {
        proptest::collection::vec((0..KEY_WORDS, prop_oneof![Just(0), any::<u64>(), Just(u64::MAX)]), 0..12)
            .prop_map(|words| {
                let mut key = FlowKey::default();
                for (at, word) in words {
                    key.words_mut()[at] = word;
                }
                key
            })
    }

    proptest! {
        #[test]
        fn nothing_is_lost(key in any_key()) {
            prop_assert_eq!(PackedKey::from(&key).unpack(), key);
        }

        #[test]
        fn it_matches_what_the_full_key_matches(flow in any_key(), bits in any_key(), key in any_key(), same: bool) {
            let mask = FlowMask::new(bits);
            let masked = mask.apply(&flow);
            let key = if same { flow } else { key };
            prop_assert_eq!(PackedKey::from(&masked).equals_masked(&key, &mask), mask.matches(&key, &masked));
        }
    }
}
