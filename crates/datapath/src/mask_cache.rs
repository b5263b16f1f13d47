// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the kernel module's masks cache would have answered, for the statistics that tell of it.
//!
//! The kernel looks a packet up by trying one mask after the other, and remembers for a packet's hash which mask it was. Nothing here
//! works like that, but clients read the two counters of it (OVS_DP_ATTR_MEGAFLOW_STATS). So while there is little to do, its cache is
//! followed, packet by packet; under load that would cost more than it tells, and the hits of this switch's own caches are counted.

use portway_flow::FlowKey;

/// The cache is followed for batches of up to so many packets; of a longer one it is followed for the first, which is often like the rest.
pub(crate) const FOLLOWED_MAX: usize = 4;
/// A batch of so many packets says that there is much to do: it is not followed at all.
pub(crate) const BUSY: usize = 16;

/// Where the kernel looks in its cache for one hash: at four places, each by eight more of the hash's bits.
const PLACES: usize = 4;
const PLACE_BITS: u32 = 8;
/// The most entries that the kernel takes (MASKS_CACHE_SIZE is refused above).
const ENTRIES_MAX: usize = 4096;

/// One place: a packet's hash and the number of the mask that its flow had.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    hash: u32,
    mask: usize,
}

/// The kernel's cache.
#[derive(Debug, Default)]
pub(crate) struct MaskCache {
    entries: Vec<Entry>,
}

/// What one look-up adds to the statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tried {
    /// Masks.
    pub(crate) masks: usize,
    /// Whether the cache named the right one.
    pub(crate) cached: bool,
}

impl MaskCache {
    /// A cache of so many entries.
    pub(crate) fn of(size: u32) -> Self {
        let mut cache = Self::default();
        cache.resize(size);
        cache
    }

    /// Changes the number of entries: a power of two, or 0. Another number than before empties it.
    pub(crate) fn resize(&mut self, size: u32) {
        let size = (size as usize).min(ENTRIES_MAX);
        if self.entries.len() != size {
            self.entries = vec![Entry::default(); size];
        }
    }

    /// Looks a packet up: `found` is the number of its flow's mask among the `count` masks there are.
    pub(crate) fn look_up(&mut self, hash: u32, found: Option<usize>, count: usize) -> Tried {
        if self.entries.is_empty() {
            return search(&mut 0, found, count, false);
        }
        let (mut place, mut oldest) = (hash, None::<(usize, u32)>);
        for _ in 0..PLACES {
            let at = place as usize & (self.entries.len() - 1);
            let entry = &mut self.entries[at];
            if entry.hash == hash {
                let tried = search(&mut entry.mask, found, count, true);
                if found.is_none() {
                    entry.hash = 0;
                }
                return tried;
            }
            if oldest.is_none_or(|(_, lowest)| entry.hash < lowest) {
                oldest = Some((at, entry.hash));
            }
            place >>= PLACE_BITS;
        }
        let entry = &mut self.entries[oldest.map_or(0, |(at, _)| at)];
        let tried = search(&mut entry.mask, found, count, true);
        if found.is_some() {
            entry.hash = hash;
        }
        Tried { cached: false, ..tried }
    }
}

/// Tries the mask of number `first`, then all others in turn; `first` is then the one that was found.
fn search(first: &mut usize, found: Option<usize>, count: usize, has_first: bool) -> Tried {
    let mut masks = 0;
    if has_first && *first < count {
        masks = 1;
        if found == Some(*first) {
            return Tried { masks, cached: true };
        }
    }
    let skipped = (masks == 1).then_some(*first);
    let passed = found.map_or(count, |found| found + 1);
    masks += passed - usize::from(skipped.is_some_and(|skipped| skipped < passed));
    if let Some(found) = found {
        *first = found;
    }
    Tried { masks, cached: false }
}

/// A hash over what the kernel's hash of a packet is over, the same in both directions of a connection; never 0.
pub(crate) fn hash(key: &FlowKey) -> u32 {
    // FNV-1a (Fowler, Noll, Vo): the values only need to differ.
    let mut hash = 0x811c_9dc5_u32;
    let mut mix = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    };
    let ethertype = key.eth_type.get();
    mix(&key.recirc_id.to_ne_bytes());
    mix(&ethertype.to_be_bytes());
    mix(&key.vlan_tci.get().to_be_bytes());
    if matches!(ethertype, 0x0800 | 0x86dd) {
        let (low, high) =
            if key.ip_src <= key.ip_dst { (&key.ip_src, &key.ip_dst) } else { (&key.ip_dst, &key.ip_src) };
        mix(low);
        mix(high);
        mix(&[key.ip_proto]);
        mix(&key.ipv6_label.get().to_be_bytes());
        let labelled = ethertype == 0x86dd && key.ipv6_label.get() != 0;
        let has_ports = matches!(key.ip_proto, 6 | 17 | 132) && key.ip_frag == 0;
        if has_ports && !labelled {
            let (a, b) = (key.tp_src.get(), key.tp_dst.get());
            mix(&a.min(b).to_be_bytes());
            mix(&a.max(b).to_be_bytes());
        }
    }
    hash.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_packet_of_a_hash_is_answered_by_the_cache() {
        let mut cache = MaskCache::default();
        cache.resize(256);
        assert_eq!(cache.look_up(7, Some(2), 3), Tried { masks: 3, cached: false });
        assert_eq!(cache.look_up(7, Some(2), 3), Tried { masks: 1, cached: true });
        assert_eq!(cache.look_up(9, Some(2), 3), Tried { masks: 3, cached: false }, "another hash");
        assert_eq!(cache.look_up(7, Some(0), 3), Tried { masks: 2, cached: false }, "the wrong mask first");
        assert_eq!(cache.look_up(7, None, 3), Tried { masks: 3, cached: false });
        assert_eq!(
            cache.look_up(7, Some(0), 3),
            Tried { masks: 1, cached: false },
            "forgotten, but for the place"
        );
        cache.resize(4);
        assert_eq!(
            cache.look_up(7, Some(0), 3),
            Tried { masks: 1, cached: false },
            "emptied by its new size"
        );
        cache.resize(0);
        assert_eq!(cache.look_up(7, Some(0), 3), Tried { masks: 1, cached: false });
        assert_eq!(cache.look_up(7, Some(0), 3), Tried { masks: 1, cached: false }, "there is none");
    }

    #[test]
    fn both_directions_have_one_hash_and_connections_differ() {
        let key = |source: u16, destination: u16, swapped: bool| {
            let mut key = FlowKey { ip_proto: 17, ..FlowKey::default() };
            key.eth_type.set(0x0800);
            key.tp_src.set(source);
            key.tp_dst.set(destination);
            (key.ip_src[3], key.ip_dst[3]) = if swapped { (2, 1) } else { (1, 2) };
            hash(&key)
        };
        assert_eq!(key(10, 20, false), key(20, 10, true));
        assert_ne!(key(10, 20, false), key(10, 21, false));
    }
}
