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

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::item::{Item, Key, Settings, Shown, Symbol, symbol};
use super::signature::Signature;
use super::sketch::Sketch;
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
    pub shown: Arc<Shown>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vectored {
    pub id: Arc<str>,
    pub version: Version,
    pub published_at: Millis,
    pub sketch: Option<Arc<Sketch>>,
}

impl Change {
    /// The content id that it is about; `None` for the clock.
    pub fn id(&self) -> Option<&Arc<str>> {
        match self {
            Self::Version(version) => Some(&version.shown.id),
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
    held: HashMap<Symbol, Held, foldhash::fast::RandomState>,
    /// By time of publication: who expires, or has to leave, next.
    ages: BTreeMap<Key, ()>,
    items_max: usize,
    clock: Millis,
    counts: Counts,
}

#[derive(Default)]
struct Held {
    item: Option<Arc<Item>>,
    version: Version,
    text: u64,
    vector: Option<Vector>,
    /// Its place in the order of ages.
    at: Millis,
}

struct Vector {
    version: Version,
    /// Hash of the text that it was made of, once that version was seen.
    text: Option<u64>,
    sketch: Option<Arc<Sketch>>,
}

impl State {
    /// For one of `peers` workers.
    pub fn new(settings: Settings, peers: usize) -> Self {
        let items_max = settings.items_max.div_ceil(peers.max(1)).max(1);
        Self {
            settings,
            held: HashMap::default(),
            ages: BTreeMap::new(),
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
        self.held.len()
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
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
            let new = self.item(symbol);
            if old != new {
                old.iter().for_each(|item| give(item, -1));
                new.iter().for_each(|item| give(item, 1));
            }
        }
    }

    fn item(&self, symbol: Symbol) -> Option<Arc<Item>> {
        self.held.get(&symbol).and_then(|held| held.item.clone())
    }

    fn apply(&mut self, symbol: Symbol, change: Change) {
        match change {
            Change::Version(version) => self.version(symbol, *version),
            Change::Vector(vector) => self.vector(symbol, *vector),
            Change::Gone(_) => self.drop(symbol),
            Change::VectorGone(_, version) => {
                let Some(held) = self.held.get_mut(&symbol) else { return };
                if held.vector.take_if(|vector| vector.version <= version).is_some() {
                    held.sketch_item();
                }
            }
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
        let held = self.held.get_mut(&symbol).expect("just placed");
        (held.version, held.text) = (new.version, new.text);
        let key = Key { at: new.published_at, symbol };
        let item = Item { key, signature, sketch: None, shown: new.shown };
        held.item = Some(Arc::new(item));
        held.sketch_item();
    }

    fn vector(&mut self, symbol: Symbol, new: Vectored) {
        if self.is_past(new.published_at) {
            return;
        }
        if self.held.get(&symbol).is_none_or(|held| held.item.is_none()) {
            self.place(symbol, new.published_at);
        }
        let held = self.held.get_mut(&symbol).expect("held or just placed");
        held.vector = Some(Vector { version: new.version, text: None, sketch: new.sketch });
        held.sketch_item();
    }

    fn is_past(&self, published_at: Millis) -> bool {
        self.settings.expires_at(published_at) <= self.clock
    }

    fn place(&mut self, symbol: Symbol, at: Millis) {
        let held = self.held.entry(symbol).or_default();
        self.ages.remove(&Key { at: held.at, symbol });
        held.at = at;
        self.ages.insert(Key { at, symbol }, ());
    }

    fn drop(&mut self, symbol: Symbol) {
        if let Some(held) = self.held.remove(&symbol) {
            self.ages.remove(&Key { at: held.at, symbol });
        }
    }

    /// Drops those whose time has passed, and the oldest of too many.
    fn expire(&mut self, before: &mut BTreeMap<Symbol, Option<Arc<Item>>>) {
        while let Some((&key, ())) = self.ages.first_key_value() {
            if !self.is_past(key.at) {
                if self.held.len() <= self.items_max {
                    break;
                }
                self.counts.over_items_max += 1;
            }
            before.entry(key.symbol).or_insert_with(|| self.item(key.symbol));
            self.drop(key.symbol);
        }
    }
}

impl Held {
    /// Gives the item the sketch of its vector, if the two belong together.
    fn sketch_item(&mut self) {
        let Some(item) = &mut self.item else { return };
        let mut sketch = None;
        if let Some(vector) = &mut self.vector {
            if vector.version == self.version {
                vector.text = Some(self.text);
            }
            if vector.text == Some(self.text) {
                sketch = vector.sketch.clone();
            }
        }
        // Of a text that is no longer there, nor will be a version with it.
        self.vector.take_if(|vector| vector.text.is_some_and(|text| text != self.text));
        if item.sketch != sketch {
            *item = Arc::new(Item { sketch, ..Item::clone(item) });
        }
    }
}

#[cfg(test)]
mod tests;
