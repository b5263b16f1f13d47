// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The forwarding database: which address was last seen at which port.
//!
//! Ordered maps, not hashed ones: addresses are chosen by whoever sends, and an ordered map has no bad case to aim at.

use std::collections::{BTreeMap, BTreeSet};

use portway_flow::MacAddr;

use crate::settings::{HOLD_NS, MOVE_WINDOW_NS, MOVES_MAX};

/// A VLAN and an address in it.
pub(crate) type Station = (u16, MacAddr);

/// One line of the forwarding database, as people and programs see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FdbEntry {
    /// VLAN id; 0: untagged.
    pub vlan: u16,
    /// The address.
    pub mac: MacAddr,
    /// Where it was last seen.
    pub port_no: u32,
    /// How long ago, in nanoseconds.
    pub age_ns: u64,
    /// Whether it moved too often and is held at this port for now.
    pub held: bool,
}

#[derive(Debug)]
struct Entry {
    port_no: u32,
    last_seen_ns: u64,
    /// Place in `recent`.
    stamp: u64,
    /// The port at which the present window of moves began.
    home: u32,
    window_start_ns: u64,
    moves: u32,
    /// While held: until the first tick at or after this time.
    hold_until_ns: Option<u64>,
}

/// What [`Fdb::learn`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learned {
    /// The address is new; if the table was full, this one had to go for it.
    New { evicted: Option<Station> },
    /// Seen again where it was.
    Same,
    /// It is at another port now.
    Moved,
    /// It moves too often: from now on it is held at the port where it was before (the answer to the move that was one too many).
    HeldNow,
    /// It is held at another port.
    Held,
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Fdb {
    entries: BTreeMap<Station, Entry>,
    /// (port, stamp, station): the first of a port is its least recently refreshed.
    recent: BTreeSet<(u32, u64, Station)>,
    counts: BTreeMap<u32, usize>,
    /// (count, port): the last is the port with the most addresses.
    fullest: BTreeSet<(usize, u32)>,
    stamp: u64,
}

impl Fdb {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The port of a station.
    pub(crate) fn port_of(&self, station: Station) -> Option<u32> {
        self.entries.get(&station).map(|entry| entry.port_no)
    }

    /// Whether a station is held at a port other than `port_no`.
    pub(crate) fn is_held_elsewhere(&self, station: Station, port_no: u32) -> bool {
        let entry = self.entries.get(&station);
        entry.is_some_and(|entry| entry.port_no != port_no && entry.hold_until_ns.is_some())
    }

    /// Lets go of the stations that were held long enough; returns them and their ports.
    pub(crate) fn release(&mut self, now_ns: u64) -> Vec<(Station, u32)> {
        let mut released = Vec::new();
        for (station, entry) in &mut self.entries {
            if entry.hold_until_ns.is_some_and(|until| until <= now_ns) {
                entry.hold_until_ns = None;
                released.push((*station, entry.port_no));
            }
        }
        released
    }

    /// A frame from `station` came in at `port_no`.
    pub(crate) fn learn(&mut self, station: Station, port_no: u32, now_ns: u64, limit: usize) -> Learned {
        let Some(entry) = self.entries.get_mut(&station) else {
            let evicted = if self.entries.len() >= limit.max(1) { self.evict() } else { None };
            self.insert(station, port_no, now_ns);
            return Learned::New { evicted };
        };
        if entry.port_no == port_no {
            self.refresh(station, port_no, now_ns);
            return Learned::Same;
        }
        if entry.hold_until_ns.is_some() {
            return Learned::Held;
        }
        if now_ns.saturating_sub(entry.window_start_ns) >= MOVE_WINDOW_NS {
            entry.window_start_ns = now_ns;
            entry.moves = 0;
            entry.home = entry.port_no;
        }
        entry.moves += 1;
        if entry.moves > MOVES_MAX {
            entry.hold_until_ns = Some(now_ns + HOLD_NS);
            let home = entry.home;
            entry.last_seen_ns = now_ns;
            self.place(station, home);
            return Learned::HeldNow;
        }
        self.place(station, port_no);
        self.refresh(station, port_no, now_ns);
        Learned::Moved
    }

    /// The station was seen at `port_no` at `seen_ns`, says a flow's statistics: it does not age, and does not move either.
    pub(crate) fn refresh(&mut self, station: Station, port_no: u32, seen_ns: u64) {
        let Some(entry) = self.entries.get_mut(&station) else { return };
        if entry.port_no != port_no {
            return;
        }
        entry.last_seen_ns = entry.last_seen_ns.max(seen_ns);
        self.recent.remove(&(port_no, entry.stamp, station));
        self.stamp += 1;
        entry.stamp = self.stamp;
        self.recent.insert((port_no, entry.stamp, station));
    }

    /// Forgets what was not seen for `aging_ns`; returns it.
    pub(crate) fn expire(&mut self, now_ns: u64, aging_ns: u64) -> Vec<Station> {
        let is_old = |entry: &Entry| now_ns.saturating_sub(entry.last_seen_ns) >= aging_ns;
        let old: Vec<_> =
            self.entries.iter().filter(|(_, entry)| is_old(entry)).map(|(station, _)| *station).collect();
        old.iter().for_each(|station| self.remove(*station));
        old
    }

    /// Forgets everything seen at a port; returns it.
    pub(crate) fn flush_port(&mut self, port_no: u32) -> Vec<Station> {
        let gone: Vec<_> = self.recent.range(range_of(port_no)).map(|(_, _, station)| *station).collect();
        gone.iter().for_each(|station| self.remove(*station));
        // Nothing is held at a port that is no more, nor at another that gets its number.
        for entry in self.entries.values_mut().filter(|entry| entry.home == port_no) {
            entry.home = entry.port_no;
        }
        gone
    }

    /// Forgets the oldest of the fullest port until no more than `limit` are left; returns what went.
    pub(crate) fn shrink(&mut self, limit: usize) -> Vec<Station> {
        let excess = self.entries.len().saturating_sub(limit.max(1));
        (0..excess).map_while(|_| self.evict()).collect()
    }

    /// The whole table, in the order of VLAN and address.
    pub(crate) fn dump(&self, now_ns: u64) -> impl Iterator<Item = FdbEntry> + '_ {
        self.entries.iter().map(move |(&(vlan, mac), entry)| FdbEntry {
            vlan,
            mac,
            port_no: entry.port_no,
            age_ns: now_ns.saturating_sub(entry.last_seen_ns),
            held: entry.hold_until_ns.is_some(),
        })
    }

    fn insert(&mut self, station: Station, port_no: u32, now_ns: u64) {
        self.stamp += 1;
        let entry = Entry {
            port_no,
            last_seen_ns: now_ns,
            stamp: self.stamp,
            home: port_no,
            window_start_ns: now_ns,
            moves: 0,
            hold_until_ns: None,
        };
        self.entries.insert(station, entry);
        self.recent.insert((port_no, self.stamp, station));
        self.count(port_no, 1);
    }

    fn remove(&mut self, station: Station) {
        let Some(entry) = self.entries.remove(&station) else { return };
        self.recent.remove(&(entry.port_no, entry.stamp, station));
        self.count(entry.port_no, -1);
    }

    /// Puts a known station at another port.
    fn place(&mut self, station: Station, port_no: u32) {
        let Some(entry) = self.entries.get_mut(&station) else { return };
        let (old, stamp) = (std::mem::replace(&mut entry.port_no, port_no), entry.stamp);
        self.recent.remove(&(old, stamp, station));
        self.recent.insert((port_no, stamp, station));
        self.count(old, -1);
        self.count(port_no, 1);
    }

    fn evict(&mut self) -> Option<Station> {
        let &(_, port_no) = self.fullest.last()?;
        let &(_, _, station) = self.recent.range(range_of(port_no)).next()?;
        self.remove(station);
        Some(station)
    }

    fn count(&mut self, port_no: u32, change: isize) {
        let old = self.counts.get(&port_no).copied().unwrap_or(0);
        let new = old.saturating_add_signed(change);
        self.fullest.remove(&(old, port_no));
        if new == 0 {
            self.counts.remove(&port_no);
        } else {
            self.counts.insert(port_no, new);
            self.fullest.insert((new, port_no));
        }
    }
}

fn range_of(port_no: u32) -> std::ops::RangeInclusive<(u32, u64, Station)> {
    (port_no, 0, (0, MacAddr([0; 6])))..=(port_no, u64::MAX, (u16::MAX, MacAddr([0xff; 6])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::SECOND_NS;

    fn station(n: u8) -> Station {
        (0, MacAddr([2, 0, 0, 0, 0, n]))
    }

    #[test]
    fn a_flooding_port_pushes_out_its_own() {
        let mut fdb = Fdb::default();
        for n in 0..3 {
            assert_eq!(fdb.learn(station(n), 1, u64::from(n), 8), Learned::New { evicted: None });
        }
        for n in 10..15 {
            fdb.learn(station(n), 2, 100, 8);
        }
        assert_eq!(fdb.learn(station(15), 2, 101, 8), Learned::New { evicted: Some(station(10)) });
        fdb.refresh(station(11), 2, 102);
        assert_eq!(fdb.learn(station(16), 2, 103, 8), Learned::New { evicted: Some(station(12)) });
        assert_eq!(fdb.len(), 8);
        assert!((0..3).all(|n| fdb.port_of(station(n)) == Some(1)));
        assert_eq!(fdb.flush_port(1).len(), 3);
        assert_eq!(fdb.shrink(2), [station(13), station(14), station(15)]);
        assert_eq!(fdb.len(), 2);
    }

    #[test]
    fn an_address_that_flaps_is_held_at_home() {
        let mut fdb = Fdb::default();
        fdb.learn(station(1), 1, 0, 8);
        let results: Vec<_> =
            (0..6).map(|n| fdb.learn(station(1), 2 + n % 2, 10 + u64::from(n), 8)).collect();
        assert_eq!(results[..5], [Learned::Moved; 5]);
        assert_eq!(results[5], Learned::HeldNow);
        assert_eq!(fdb.port_of(station(1)), Some(1));
        assert_eq!(fdb.learn(station(1), 1, 20, 8), Learned::Same);
        assert_eq!(fdb.learn(station(1), 2, 20, 8), Learned::Held);
        assert!(fdb.is_held_elsewhere(station(1), 2) && !fdb.is_held_elsewhere(station(1), 1));
        assert!(fdb.dump(20).next().unwrap().held);
        assert_eq!(fdb.release(14 + HOLD_NS), []);
        assert_eq!(fdb.release(15 + HOLD_NS), [(station(1), 1)]);
        assert_eq!(fdb.learn(station(1), 2, 15 + HOLD_NS, 8), Learned::Moved);
        assert_eq!(fdb.learn(station(1), 3, 15 + HOLD_NS + SECOND_NS, 8), Learned::Moved);
    }

    #[test]
    fn nothing_is_held_at_a_port_that_has_gone() {
        let mut fdb = Fdb::default();
        fdb.learn(station(1), 1, 0, 8);
        fdb.learn(station(1), 2, 10, 8);
        fdb.flush_port(1);
        let results: Vec<_> =
            (0..5).map(|n| fdb.learn(station(1), 3 - n % 2, 11 + u64::from(n), 8)).collect();
        assert_eq!(results.last(), Some(&Learned::HeldNow));
        assert_eq!(fdb.port_of(station(1)), Some(2));
    }

    #[test]
    fn what_is_silent_is_forgotten() {
        let mut fdb = Fdb::default();
        fdb.learn(station(1), 1, 0, 8);
        fdb.learn(station(2), 1, 0, 8);
        fdb.refresh(station(2), 1, 50);
        fdb.refresh(station(2), 9, 99);
        assert_eq!(fdb.expire(99, 100), []);
        assert_eq!(fdb.expire(100, 100), [station(1)]);
        assert_eq!(fdb.expire(150, 100), [station(2)]);
        assert!(fdb.recent.is_empty() && fdb.counts.is_empty() && fdb.fullest.is_empty());
    }
}
