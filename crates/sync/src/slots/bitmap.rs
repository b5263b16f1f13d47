// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A set of indexes with a hierarchy of "this word is full" bits above it: the lowest index that is not in the set
//! is found by looking at two words per level, three levels for 262,144 indexes.

const WORD_BITS: usize = u64::BITS as usize;

/// A fixed-size set of indexes `0..capacity`.
pub(super) struct Bitmap {
    /// `levels[0]` has a bit per index, `levels[n + 1]` a bit per word of `levels[n]`, set when that word is all ones. The
    /// last level is one word. Bits past the capacity are set: never free.
    levels: Vec<Vec<u64>>,
}

impl Bitmap {
    pub(super) fn new(capacity: usize) -> Self {
        let mut levels = Vec::new();
        let mut bits = capacity;
        loop {
            let words = bits.div_ceil(WORD_BITS).max(1);
            let mut level = vec![0; words];
            let used = bits - (words - 1) * WORD_BITS;
            if used < WORD_BITS {
                level[words - 1] = !0 << used;
            }
            levels.push(level);
            if words == 1 {
                break;
            }
            bits = words;
        }
        let mut bitmap = Self { levels };
        if capacity == 0 {
            bitmap.levels[0][0] = !0;
        }
        bitmap
    }

    /// Whether `index`, which is below the capacity, is in the set.
    pub(super) fn get(&self, index: usize) -> bool {
        self.levels[0][index / WORD_BITS] >> (index % WORD_BITS) & 1 == 1
    }

    pub(super) fn set(&mut self, index: usize) {
        let mut bit = index;
        for level in &mut self.levels {
            let word = &mut level[bit / WORD_BITS];
            *word |= 1 << (bit % WORD_BITS);
            if *word != !0 {
                return;
            }
            bit /= WORD_BITS;
        }
    }

    pub(super) fn clear(&mut self, index: usize) {
        let mut bit = index;
        for level in &mut self.levels {
            let word = &mut level[bit / WORD_BITS];
            let was_full = *word == !0;
            *word &= !(1 << (bit % WORD_BITS));
            if !was_full {
                return;
            }
            bit /= WORD_BITS;
        }
    }

    /// The lowest index that is not in the set and not below `from`.
    pub(super) fn lowest_clear(&self, from: usize) -> Option<usize> {
        // Up: the first level in which the rest of a word has a clear bit. Down: the lowest clear bit of each word below.
        let mut from = from;
        for (height, level) in self.levels.iter().enumerate() {
            let word = level.get(from / WORD_BITS)?;
            let clear = !word & (!0 << (from % WORD_BITS));
            if clear != 0 {
                let bit = from / WORD_BITS * WORD_BITS + clear.trailing_zeros() as usize;
                return Some(self.descend(height, bit));
            }
            from = from / WORD_BITS + 1;
        }
        None
    }

    fn descend(&self, height: usize, bit: usize) -> usize {
        let below = self.levels[..height].iter().rev();
        below.fold(bit, |word, level| word * WORD_BITS + level[word].trailing_ones() as usize)
    }
}
