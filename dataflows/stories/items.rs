//! Current versions and vectors in, changes of the live items out.
//!
//! Invariants:
//! - The live items after an epoch are a function of the last version and the last vector
//!   of each content id and of the pipeline clock: those that can be compared and whose
//!   time has not passed; of more than the limit, the ones published last.
//! - A vector counts if it was made of the version that is current, or of one before it with
//!   the same text: EMBED renews it for that one too, a moment later.
//! - An item that did not change in what stories see of it gives no change.
//!
//! Retention: until `horizon_h` after the hour of publication by the pipeline clock, hour by
//! hour; never more than this worker's share of `items_max`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::item::{Item, Key, Settings, Symbol, symbol};
use super::shown::Packed;
use super::signature::Signature;
use super::sketch::Sketch;
use super::table::{Named, Table};
use crate::event::Version;
use crate::time::Millis;

/// What is new of a content id, or of the clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// Another version. Without a signature it is in no story.
    Version(Box<Versioned>),
    /// Deleted or forgotten.
    Gone(Arc<str>),
    /// The embedding of the text's beginning.
    Vector(Box<Vectored>),
    /// The embedding is gone, if it is not of a later version.
    VectorGone(Arc<str>, Version),
    Clock(Millis),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Versioned {
    pub version: Version,
    pub published_at: Millis,
    /// Hash of the analysed text.
    pub text: u64,
    pub signature: Option<Signature>,
    pub shown: Packed,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vectored {
    pub id: Arc<str>,
    pub version: Version,
    pub published_at: Millis,
    pub sketch: Option<Sketch>,
}

impl Change {
    /// The content id that it is about; `None` for the clock.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Version(version) => Some(version.shown.id()),
            Self::Vector(vector) => Some(&vector.id),
            Self::Gone(id) | Self::VectorGone(id, _) => Some(id),
            Self::Clock(_) => None,
        }
    }
}

/// What was counted since the last call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Versions whose time had passed when they came.
    pub late: u64,
    /// Versions with too little text to be compared.
    pub too_short: u64,
    /// Items that left because there were too many.
    pub over_items_max: u64,
}

impl Counts {
    pub fn plus(self, other: Self) -> Self {
        Self {
            late: self.late + other.late,
            too_short: self.too_short + other.too_short,
            over_items_max: self.over_items_max + other.over_items_max,
        }
    }
}

/// The live items of one worker.
pub struct State {
    settings: Settings,
    held: Table<Box<Held>>,
    /// Vectors of a version that is not the current one: mostly it is about to come.
    waiting: BTreeMap<Symbol, Waiting>,
    /// By time of publication, each content id once: who expires, or has to leave, next.
    ages: BTreeSet<Key>,
    items_max: usize,
    clock: Millis,
    counts: Counts,
}

struct Held {
    item: Arc<Item>,
    /// Hash of the analysed text.
    text: u64,
    version: Short,
    /// Of the vector that the item's sketch is of: it was made of the text.
    vector: Option<Short>,
}

/// A version in 12 bytes, ordered as they are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Short {
    revision: [u32; 2],
    enrichment: u32,
}

impl From<Version> for Short {
    fn from(Version { revision, enrichment }: Version) -> Self {
        Self { revision: [(revision >> 32) as u32, revision as u32], enrichment }
    }
}

impl Named for Box<Held> {
    fn symbol(&self) -> Symbol {
        self.item.key.symbol
    }
}

struct Waiting {
    version: Short,
    published_at: Millis,
    sketch: Option<Sketch>,
}

impl State {
    /// For one of `peers` workers.
    pub fn new(settings: Settings, peers: usize) -> Self {
        let items_max = settings.items_max.div_ceil(peers.max(1)).max(1);
        Self {
            settings,
            held: Table::default(),
            waiting: BTreeMap::new(),
            ages: BTreeSet::new(),
            items_max,
            clock: Millis(i64::MIN),
            counts: Counts::default(),
        }
    }

    pub fn clock(&self) -> Millis {
        self.clock
    }

    /// Content ids held, for most of them an item.
    pub fn len(&self) -> usize {
        self.ages.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ages.is_empty()
    }

    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// All changes of one epoch, those of an id in the order of the log. `give` gets items
    /// that enter (1) and leave (-1), of one content id the leaving one first.
    pub fn step(&mut self, changes: impl Iterator<Item = Change>, mut give: impl FnMut(&Arc<Item>, isize)) {
        let mut clock = self.clock;
        let changes: Vec<Change> = changes
            .filter(|change| match change {
                Change::Clock(at) => {
                    clock = clock.max(*at);
                    false
                }
                _ => true,
            })
            .collect();
        self.clock = clock;
        let mut before: BTreeMap<Symbol, Option<Arc<Item>>> = BTreeMap::new();
        for change in changes {
            let symbol = symbol(change.id().expect("only the clock has no id"));
            before.entry(symbol).or_insert_with(|| self.item(symbol));
            self.apply(symbol, change);
        }
        self.expire(&mut before);
        for (symbol, old) in before {
            let Some(new) = self.held.get_mut(symbol) else {
                old.iter().for_each(|item| give(item, -1));
                continue;
            };
            match old {
                // The one that the others hold too.
                Some(old) if old == new.item => new.item = old,
                old => {
                    old.iter().for_each(|item| give(item, -1));
                    give(&new.item, 1);
                }
            }
        }
    }

    fn item(&self, symbol: Symbol) -> Option<Arc<Item>> {
        self.held.get(symbol).map(|held| Arc::clone(&held.item))
    }

    fn apply(&mut self, symbol: Symbol, change: Change) {
        match change {
            Change::Version(version) => self.version(symbol, *version),
            Change::Vector(vector) => self.vector(symbol, *vector),
            Change::Gone(_) => self.drop(symbol),
            Change::VectorGone(_, version) => self.vector_gone(symbol, version.into()),
            Change::Clock(_) => {}
        }
    }

    fn version(&mut self, symbol: Symbol, new: Versioned) {
        let Some(signature) = new.signature else {
            self.counts.too_short += 1;
            return self.drop(symbol);
        };
        if self.is_past(new.published_at) {
            self.counts.late += 1;
            return self.drop(symbol);
        }
        self.place(symbol, new.published_at);
        let version = new.version.into();
        let (vector, sketch) = self.vector_of(symbol, version, new.text).unzip();
        let sketch = sketch.flatten();
        let key = Key { at: new.published_at, symbol };
        let item = Arc::new(Item { key, signature, sketch, shown: new.shown });
        self.held.insert(Box::new(Held { item, text: new.text, version, vector }));
    }

    /// The vector that there is already of a version or of its text.
    fn vector_of(&mut self, symbol: Symbol, version: Short, text: u64) -> Option<(Short, Option<Sketch>)> {
        if let Some(held) = self.held.get(symbol)
            && let Some(vector) = held.vector
        {
            let is_of = vector == version || held.text == text;
            return is_of.then(|| (vector, held.item.sketch.clone()));
        }
        let is_of = self.waiting.get(&symbol).is_some_and(|waiting| waiting.version == version);
        let waiting = is_of.then(|| self.waiting.remove(&symbol)).flatten();
        waiting.map(|waiting| (waiting.version, waiting.sketch))
    }

    fn vector(&mut self, symbol: Symbol, new: Vectored) {
        let Vectored { version, published_at, sketch, .. } = new;
        let version = Short::from(version);
        if self.is_past(published_at) {
            return;
        }
        match self.held.get_mut(symbol) {
            Some(held) if held.version == version => {
                held.set_vector(Some(version), sketch);
                self.waiting.remove(&symbol);
                return;
            }
            Some(held) => held.set_vector(None, None),
            None => self.place(symbol, published_at),
        }
        self.waiting.insert(symbol, Waiting { version, published_at, sketch });
    }

    fn vector_gone(&mut self, symbol: Symbol, version: Short) {
        let is_waiting = self.waiting.get(&symbol).is_some_and(|waiting| waiting.version <= version);
        match self.held.get_mut(symbol) {
            Some(held) if held.vector.is_some_and(|vector| vector <= version) => held.set_vector(None, None),
            Some(_) if is_waiting => _ = self.waiting.remove(&symbol),
            None if is_waiting => self.drop(symbol),
            _ => {}
        }
    }

    fn is_past(&self, published_at: Millis) -> bool {
        self.settings.expires_at(published_at) <= self.clock
    }

    /// Its place in the order of ages.
    fn age(&self, symbol: Symbol) -> Option<Key> {
        let waiting = || Some(Key { at: self.waiting.get(&symbol)?.published_at, symbol });
        self.held.get(symbol).map(|held| held.item.key).or_else(waiting)
    }

    fn place(&mut self, symbol: Symbol, at: Millis) {
        if let Some(old) = self.age(symbol) {
            self.ages.remove(&old);
        }
        self.ages.insert(Key { at, symbol });
    }

    fn drop(&mut self, symbol: Symbol) {
        if let Some(old) = self.age(symbol) {
            self.ages.remove(&old);
            self.held.remove(symbol);
            self.waiting.remove(&symbol);
        }
    }

    /// Drops those whose time has passed, and the oldest of too many.
    fn expire(&mut self, before: &mut BTreeMap<Symbol, Option<Arc<Item>>>) {
        while let Some(&Key { at, symbol }) = self.ages.first() {
            if !self.is_past(at) {
                if self.len() <= self.items_max {
                    break;
                }
                self.counts.over_items_max += 1;
            }
            before.entry(symbol).or_insert_with(|| self.item(symbol));
            self.drop(symbol);
        }
    }
}

impl Held {
    fn set_vector(&mut self, vector: Option<Short>, sketch: Option<Sketch>) {
        self.vector = vector;
        if self.item.sketch != sketch {
            Arc::make_mut(&mut self.item).sketch = sketch;
        }
    }
}

#[cfg(test)]
mod tests;
