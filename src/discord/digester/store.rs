//! The current version of every recent item.
//!
//! Retention: items published and ingested within the lookback (two of the longest
//! windows and a margin), at most `items_max` and `items_bytes_max`. Past a cap the
//! earliest published leave, are counted, and health says so. Deletions are remembered
//! by id, so that a stale version read later does not bring an item back.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use dataflows::event::Version;
use dataflows::time::Millis;

use crate::discord::digest::Known;
use crate::discord::metrics;

#[derive(Debug)]
pub struct Items {
    by_id: HashMap<Arc<str>, Slot>,
    /// By age, to forget the oldest first.
    by_time: BTreeSet<(Millis, Arc<str>)>,
    bytes: usize,
    items_max: usize,
    bytes_max: usize,
    /// What left because of a cap.
    pub dropped: u64,
}

#[derive(Debug)]
struct Slot {
    version: Version,
    /// The later of publication and ingestion, for expiry.
    age: Millis,
    /// `None` is a deletion.
    known: Option<Known>,
}

/// What a deletion costs.
const DELETION_BYTES: usize = 160;

impl Items {
    pub fn new(items_max: usize, bytes_max: usize) -> Self {
        Self { by_id: HashMap::new(), by_time: BTreeSet::new(), bytes: 0, items_max, bytes_max, dropped: 0 }
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Items as they are now; deleted ones are not among them.
    pub fn iter(&self) -> impl Iterator<Item = &Known> {
        self.by_id.values().filter_map(|slot| slot.known.as_ref())
    }

    /// Takes a version; an older one than known is ignored.
    pub fn apply(&mut self, id: &str, version: Version, known: Option<Known>) {
        let before = self.by_id.get(id);
        if before.is_some_and(|slot| slot.version > version) {
            return;
        }
        let first_ingested = before.and_then(|slot| slot.known.as_ref()).map(|k| k.first_ingested);
        let before_age = before.map(|slot| slot.age);
        let known = known.map(|mut known| {
            known.first_ingested = first_ingested.unwrap_or(known.first_ingested).min(known.first_ingested);
            known
        });
        let age = match (&known, before_age) {
            (Some(known), _) => known.published_at.max(known.first_ingested),
            (None, Some(age)) => age,
            // A deletion of what is not here: nothing to keep from coming back.
            (None, None) => return,
        };
        self.remove(id);
        self.bytes += known.as_ref().map_or(DELETION_BYTES, Known::bytes);
        let id: Arc<str> = id.into();
        self.by_time.insert((age, Arc::clone(&id)));
        self.by_id.insert(id, Slot { version, age, known });
        while self.by_id.len() > self.items_max || self.bytes > self.bytes_max {
            let Some((_, oldest)) = self.by_time.first().cloned() else { break };
            self.remove(&oldest);
            self.dropped += 1;
            metrics::DIGEST_FORGOTTEN.with_label_values(&["item", "cap"]).inc();
        }
    }

    /// Forgets what is older than `oldest`.
    pub fn expire(&mut self, oldest: Millis) {
        while let Some((_, id)) = self.by_time.first().filter(|(age, _)| *age < oldest).cloned() {
            self.remove(&id);
        }
    }

    fn remove(&mut self, id: &str) {
        if let Some((id, slot)) = self.by_id.remove_entry(id) {
            self.bytes -= slot.known.as_ref().map_or(DELETION_BYTES, Known::bytes);
            self.by_time.remove(&(slot.age, id));
        }
    }
}
