//! Who writes in which cell: changes of items by author become changes of distinct authors.
//!
//! Exact: each cell holds each of its authors with the number of their items there, sorted,
//! at 12 bytes an author. An author comes with the first item and goes with the last.
//!
//! Retention: a bucket leaves as a whole once the publishers ignore it
//! ([`Settings::frozen_before`] by their clock), so that its leaving changes nothing.

use std::collections::BTreeMap;

use super::cell::{CellKey, Settings, Window};
use super::explode::AuthorSymbol;
use crate::time::Millis;

type HashMap<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;

/// Items of an author that a cell gets (positive) or loses.
pub type Change = (CellKey, AuthorSymbol, i64);

/// The authors of one worker's cells.
pub struct State {
    settings: Settings,
    buckets: BTreeMap<(Window, i64), HashMap<CellKey, Authors>>,
    len: usize,
}

impl State {
    pub fn new(settings: Settings) -> Self {
        Self { settings, buckets: BTreeMap::new(), len: 0 }
    }

    /// Authors, counted once for each cell.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All changes of one epoch, in any order; `give` gets each cell with the change in its
    /// distinct authors, where there is one.
    pub fn step(&mut self, mut changes: Vec<Change>, mut give: impl FnMut(CellKey, i64)) {
        changes.sort_unstable_by_key(|(key, author, _)| (*key, *author));
        for run in changes.chunk_by(|(a, ..), (b, ..)| a == b) {
            let key = run[0].0;
            let bucket = self.buckets.entry(key.bucket()).or_default();
            let authors = bucket.entry(key).or_default();
            let came = authors.apply(run);
            let is_empty = authors.0.is_empty();
            if is_empty {
                bucket.remove(&key);
                if bucket.is_empty() {
                    self.buckets.remove(&key.bucket());
                }
            }
            self.len = self.len.saturating_add_signed(came.held);
            if came.distinct != 0 {
                give(key, came.distinct);
            }
        }
    }

    /// Drops the buckets that are frozen when the publishers' clock is at `clock`.
    pub fn freeze(&mut self, clock: Millis) {
        for window in Window::ALL {
            let edge = self.settings.frozen_before(window, clock);
            while let Some((&at, _)) = self.buckets.range((window, i64::MIN)..(window, edge)).next() {
                let bucket = self.buckets.remove(&at).expect("just found");
                self.len -= bucket.values().map(|authors| authors.0.len()).sum::<usize>();
            }
        }
    }
}

/// What a run of changes did.
#[derive(Default)]
struct Came {
    /// Authors with items.
    distinct: i64,
    /// Entries, those with less than none among them.
    held: isize,
}

/// Sorted by author; no count is 0. Below 0 is an item that was retracted before it came.
#[derive(Default)]
struct Authors(Vec<Entry>);

/// An author (in two halves, which need no padding beside the count) and items.
#[derive(Clone, Copy)]
struct Entry {
    author: [u32; 2],
    items: i32,
}

impl Entry {
    fn new(author: AuthorSymbol, items: i64) -> Self {
        Self { author: [(author >> 32) as u32, author as u32], items: clamped(items) }
    }

    fn author(&self) -> AuthorSymbol {
        u64::from(self.author[0]) << 32 | u64::from(self.author[1])
    }
}

/// Two thousand million items of one author in one cell are not told apart from more.
fn clamped(items: i64) -> i32 {
    i32::try_from(items).unwrap_or(if items > 0 { i32::MAX } else { i32::MIN })
}

impl Authors {
    /// Changes of one cell, sorted by author.
    fn apply(&mut self, run: &[Change]) -> Came {
        let mut came = Came::default();
        let mut new: Vec<Entry> = Vec::new();
        let mut is_any_gone = false;
        for of_author in run.chunk_by(|(_, a, _), (_, b, _)| a == b) {
            let author = of_author[0].1;
            let change: i64 = of_author.iter().map(|(.., n)| n).sum();
            if change == 0 {
                continue;
            }
            let before = match self.0.binary_search_by_key(&author, Entry::author) {
                Ok(at) => {
                    let entry = &mut self.0[at];
                    let before = i64::from(entry.items);
                    entry.items = clamped(before + change);
                    is_any_gone |= entry.items == 0;
                    before
                }
                Err(_) => {
                    new.push(Entry::new(author, change));
                    0
                }
            };
            came.distinct += i64::from(before + change > 0) - i64::from(before > 0);
            came.held += isize::from(before + change != 0) - isize::from(before != 0);
        }
        if is_any_gone {
            self.0.retain(|entry| entry.items != 0);
            if self.0.len() < self.0.capacity() / 2 {
                self.0.shrink_to_fit();
            }
        }
        self.insert(&new);
        came
    }

    /// Merges what is sorted, and none of it here, from the end on.
    fn insert(&mut self, new: &[Entry]) {
        if new.is_empty() {
            return;
        }
        let (mut old, mut left) = (self.0.len(), new.len());
        let len = old + left;
        // A third of slack for large cells, none for the many small ones.
        if len > self.0.capacity() {
            self.0.reserve_exact(left + if len > 16 { len / 3 } else { 0 });
        }
        self.0.resize(len, Entry::new(0, 0));
        while left > 0 {
            let takes_old = old > 0 && self.0[old - 1].author() > new[left - 1].author();
            let to = old + left - 1;
            if takes_old {
                old -= 1;
                self.0[to] = self.0[old];
            } else {
                left -= 1;
                self.0[to] = new[left];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::time::{HOUR_MS, MINUTE_MS};
    use crate::volume::cell::{By, Place};

    fn settings() -> Settings {
        Settings {
            groupings: vec![By::new([])],
            horizon_ms: [HOUR_MS, 24 * HOUR_MS, 48 * HOUR_MS],
            identity_horizon_ms: HOUR_MS,
        }
    }

    fn key(minute: i64, topic: u64) -> CellKey {
        let place = Place::new(Window::Minute, minute * MINUTE_MS, By::new([]));
        CellKey { place, platform: 0, topic, channel: 0 }
    }

    /// Against a plain map of counts, with counts below 0 for a while.
    #[test]
    fn distinct_authors_equal_a_recount() {
        for seed in 0..20 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut state = State::new(settings());
            let mut counts: HashMap<(CellKey, u64), i64> = HashMap::new();
            let mut shown: HashMap<CellKey, i64> = HashMap::new();
            for _ in 0..60 {
                let changes: Vec<Change> = (0..rng.random_range(1..200))
                    .map(|_| {
                        let author = rng.random_range(0..40u64) << (rng.random_range(0..2) * 40);
                        (key(rng.random_range(0..2), rng.random_range(0..3)), author, rng.random_range(-2..3))
                    })
                    .collect();
                for (key, author, n) in &changes {
                    *counts.entry((*key, *author)).or_default() += n;
                }
                let mut cells = HashSet::new();
                state.step(changes, |key, change| {
                    assert!(cells.insert(key) && change != 0, "a cell is told once, if it changed");
                    *shown.entry(key).or_default() += change;
                });
                let mut expected: HashMap<CellKey, i64> = HashMap::new();
                for ((key, _), _) in counts.iter().filter(|(_, n)| **n > 0) {
                    *expected.entry(*key).or_default() += 1;
                }
                shown.retain(|_, n| *n != 0);
                assert_eq!(shown, expected, "seed {seed}");
                assert_eq!(state.len(), counts.values().filter(|n| **n != 0).count());
            }
        }
    }

    #[test]
    fn a_bucket_leaves_when_it_is_frozen_and_an_empty_one_at_once() {
        let mut state = State::new(settings());
        state.step(vec![(key(0, 1), 7, 1), (key(0, 2), 7, 1), (key(90, 1), 7, 1)], |_, _| {});
        state.freeze(Millis(90 * MINUTE_MS));
        assert_eq!(state.len(), 3, "the largest disorder has not passed");
        state.freeze(Millis(150 * MINUTE_MS));
        assert_eq!((state.len(), state.buckets.len()), (1, 1));
        state.step(vec![(key(90, 1), 7, -1)], |_, change| assert_eq!(change, -1));
        assert!(state.is_empty() && state.buckets.is_empty());
    }
}
