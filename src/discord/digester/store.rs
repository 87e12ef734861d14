//! The current version of every recent item.
//!
//! Retention: items published and ingested within the lookback (two of the longest
//! windows and a margin), at most `items_max` and `items_bytes_max`. Past a cap the
//! earliest published leave, are counted, and health says so. Deletions are remembered
//! by id, so that a stale version read later does not bring an item back.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};

use dataflows::event::Version;
use dataflows::time::Millis;
use hashbrown::HashTable;

use crate::discord::digest::Known;
use crate::discord::metrics;

#[derive(Debug)]
pub struct Items {
    /// By the hash of the id.
    table: HashTable<Box<Slot>>,
    /// By age, with the hash, to forget the oldest first.
    by_time: BTreeSet<(Millis, u64)>,
    hash: RandomState,
    bytes: usize,
    items_max: usize,
    bytes_max: usize,
    /// What left because of a cap.
    pub dropped: u64,
}

#[derive(Debug)]
struct Slot {
    /// The later of publication and ingestion, for expiry.
    age: Millis,
    is: Is,
}

#[derive(Debug)]
enum Is {
    Known(Known),
    Deleted { id: Box<str>, version: Version },
}

impl Slot {
    fn id(&self) -> &str {
        match &self.is {
            Is::Known(known) => known.id(),
            Is::Deleted { id, .. } => id,
        }
    }

    fn known(&self) -> Option<&Known> {
        match &self.is {
            Is::Known(known) => Some(known),
            Is::Deleted { .. } => None,
        }
    }

    fn version(&self) -> Version {
        match &self.is {
            Is::Known(known) => known.version,
            Is::Deleted { version, .. } => *version,
        }
    }

    fn bytes(&self) -> usize {
        self.known().map_or(DELETION_BYTES, Known::bytes)
    }
}

/// What a deletion costs.
const DELETION_BYTES: usize = 320;

impl Items {
    pub fn new(items_max: usize, bytes_max: usize) -> Self {
        Self {
            table: HashTable::new(),
            by_time: BTreeSet::new(),
            hash: RandomState::new(),
            bytes: 0,
            items_max,
            bytes_max,
            dropped: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Items as they are now; deleted ones are not among them.
    pub fn iter(&self) -> impl Iterator<Item = &Known> {
        self.table.iter().filter_map(|slot| slot.known())
    }

    /// Takes a version; an older one than known is ignored.
    pub fn apply(&mut self, id: &str, version: Version, known: Option<Known>) {
        let hash = self.hash.hash_one(id);
        let before = self.table.find(hash, |slot| slot.id() == id);
        if before.is_some_and(|slot| slot.version() > version) {
            return;
        }
        let first_ingested = before.and_then(|slot| slot.known()).map(|known| known.first_ingested);
        let before_age = before.map(|slot| slot.age);
        let (age, is) = match (known, before_age) {
            (Some(mut known), _) => {
                let first = first_ingested.unwrap_or(known.first_ingested).min(known.first_ingested);
                known.first_ingested = first;
                (known.published_at.max(first), Is::Known(known))
            }
            (None, Some(age)) => (age, Is::Deleted { id: id.into(), version }),
            // A deletion of what is not here: nothing to keep from coming back.
            (None, None) => return,
        };
        self.remove(hash, |slot| slot.id() == id);
        let slot = Box::new(Slot { age, is });
        self.bytes += slot.bytes();
        self.by_time.insert((age, hash));
        let state = &self.hash;
        self.table.insert_unique(hash, slot, |slot| state.hash_one(slot.id()));
        while self.table.len() > self.items_max || self.bytes > self.bytes_max {
            let Some(&(age, hash)) = self.by_time.first() else { break };
            self.remove(hash, |slot| slot.age == age);
            self.dropped += 1;
            metrics::DIGEST_FORGOTTEN.with_label_values(&["item", "cap"]).inc();
        }
    }

    /// Forgets what is older than `oldest`.
    pub fn expire(&mut self, oldest: Millis) {
        while let Some(&(age, hash)) = self.by_time.first().filter(|(age, _)| *age < oldest) {
            self.remove(hash, |slot| slot.age == age);
        }
    }

    fn remove(&mut self, hash: u64, is_it: impl Fn(&Slot) -> bool) {
        if let Ok(entry) = self.table.find_entry(hash, |slot| is_it(slot)) {
            let (slot, _) = entry.remove();
            self.bytes -= slot.bytes();
            self.by_time.remove(&(slot.age, hash));
        }
    }
}
