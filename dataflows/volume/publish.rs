//! Changes of cells become records of results.volume: the value of each cell that
//! an epoch changed, and tombstones for cells that are gone.
//!
//! Invariants:
//! - An epoch publishes a cell at most once, and only if its value differs from
//!   the one last published.
//! - A cell is frozen when the clock of the epochs before says so; from then on
//!   changes to it are ignored, so that dropping its state changes nothing.
//! - While hydrating nothing is published; at the end only differences to what
//!   results.volume holds are, tombstones included. Cells that were closed by then
//!   keep their published value: what they counted is no longer known by item.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cell::{CellKey, Settings, Sums, Symbol, VolumeCell, Window};
use super::explode::NAME_PERIOD_MS;
use crate::Epoch;
use crate::faults::cloud_event;
use crate::record::{Record, topic};
use crate::time::Millis;

type HashMap<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;

/// A cell as results.volume holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    pub key: CellKey,
    pub record_key: Vec<u8>,
    pub sums: Sums,
    pub authors: i64,
}

/// What reaches the publisher.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Part {
    /// The cell's sums are (`diff` = 1) or are no longer (-1) these.
    Sums {
        key: CellKey,
        sums: Sums,
        diff: i64,
    },
    /// Distinct authors that came (positive) or went.
    Authors {
        key: CellKey,
        change: i64,
    },
    Name(Symbol, Arc<str>),
    Clock(Millis),
    Published(Published),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Value {
    sums: Sums,
    authors: i64,
}

struct Name {
    text: Arc<str>,
    cells: usize,
    announced: Epoch,
}

/// The publisher's state: the current value of every cell that may change, and
/// the keys of those that wait for their tombstone.
pub struct State {
    settings: Settings,
    /// Values by bucket, so that a bucket leaves as one.
    live: BTreeMap<(Window, i64), HashMap<CellKey, Value>>,
    /// Record keys of frozen cells, by bucket.
    frozen: BTreeMap<(Window, i64), Vec<Vec<u8>>>,
    names: HashMap<Symbol, Name>,
    clock: Millis,
    /// Cells before this start were closed when the state was hydrated, by window.
    closed: [i64; 3],
    hydration: Option<Hydration>,
    swept: Epoch,
}

struct Hydration {
    until: Epoch,
    published: HashMap<CellKey, Published>,
}

impl State {
    /// Epochs up to `hydrated` rebuild the state and publish only differences.
    pub fn new(settings: Settings, hydrated: Epoch) -> Self {
        Self {
            settings,
            live: BTreeMap::new(),
            frozen: BTreeMap::new(),
            names: HashMap::default(),
            clock: Millis(i64::MIN),
            closed: [i64::MIN; 3],
            hydration: Some(Hydration { until: hydrated, published: HashMap::default() }),
            swept: 0,
        }
    }

    pub fn clock(&self) -> Millis {
        self.clock
    }

    /// Cells that may still change.
    pub fn live_cells(&self) -> usize {
        self.live.values().map(HashMap::len).sum()
    }

    /// All parts of one epoch in; its records out, in the order of their keys.
    pub fn step(&mut self, epoch: Epoch, parts: impl Iterator<Item = Part>, out: &mut Vec<Record>) {
        let mut clock = self.clock;
        let mut before: BTreeMap<CellKey, Value> = BTreeMap::new();
        for part in parts {
            match part {
                Part::Clock(at) => clock = clock.max(at),
                Part::Name(symbol, text) => {
                    let name = self.names.entry(symbol).or_insert(Name { text, cells: 0, announced: epoch });
                    name.announced = epoch;
                }
                Part::Published(cell) => {
                    let hydration = self.hydration.as_mut().expect("published cells come while hydrating");
                    hydration.published.insert(cell.key, cell);
                }
                Part::Sums { key, sums, diff } => self.change(key, &mut before, |value| {
                    // Within an epoch the old value goes and the new one comes, in any order.
                    let sign = |n: i64| n * diff;
                    value.sums.count += sign(sums.count);
                    value.sums.scored += sign(sums.scored);
                    value.sums.compound += sign(sums.compound);
                    value.sums.views += sign(sums.views);
                    value.sums.likes += sign(sums.likes);
                    value.sums.comments += sign(sums.comments);
                    value.sums.shares += sign(sums.shares);
                }),
                Part::Authors { key, change } => {
                    self.change(key, &mut before, |value| value.authors += change);
                }
            }
        }
        let hydrated = self.hydration.as_ref().is_some_and(|h| h.until <= epoch);
        let mut changes = Changes::default();
        if self.hydration.is_none() {
            self.publish_changes(&before, &mut changes);
        } else {
            self.hold_new(&before);
            self.drop_empty(&before);
        }
        self.clock = clock;
        if hydrated {
            self.finish_hydration(&mut changes);
        }
        if self.hydration.is_none() {
            self.freeze();
            self.expire(&mut changes);
        }
        self.sweep_names(epoch);
        out.extend(changes.0.into_iter().filter_map(|(key, change)| change.record(key, clock)));
    }

    fn change(
        &mut self,
        key: CellKey,
        before: &mut BTreeMap<CellKey, Value>,
        apply: impl FnOnce(&mut Value),
    ) {
        let frozen = self.settings.frozen_before(key.window(), self.clock);
        if key.start() < frozen.max(self.closed[key.window() as usize]) {
            return;
        }
        let value = self.live.entry(key.bucket()).or_default().entry(key).or_default();
        before.entry(key).or_insert(*value);
        apply(value);
    }

    fn value(&self, key: &CellKey) -> Value {
        self.live.get(&key.bucket()).and_then(|b| b.get(key)).copied().unwrap_or_default()
    }

    fn publish_changes(&mut self, before: &BTreeMap<CellKey, Value>, changes: &mut Changes) {
        self.hold_new(before);
        for (key, old) in before {
            let new = self.value(key);
            if new != *old {
                let cell = self.cell(key, &new);
                let value = (new.sums.count != 0).then_some(&cell);
                changes.set(cell.record_key(), *old != Value::default(), value);
            }
        }
        self.drop_empty(before);
    }

    /// Holds the names of cells that came; [`Self::drop_empty`] lets go of those that went.
    fn hold_new(&mut self, before: &BTreeMap<CellKey, Value>) {
        for (key, old) in before {
            if *old == Value::default() {
                self.hold_names(key, 1);
            }
        }
    }

    fn drop_empty(&mut self, before: &BTreeMap<CellKey, Value>) {
        for key in before.keys() {
            if self.value(key) != Value::default() {
                continue;
            }
            let bucket = key.bucket();
            if let Some(cells) = self.live.get_mut(&bucket) {
                cells.remove(key);
                if cells.is_empty() {
                    self.live.remove(&bucket);
                }
            }
            self.hold_names(key, -1);
        }
    }

    fn hold_names(&mut self, key: &CellKey, change: isize) {
        for symbol in [key.platform, key.topic, key.channel] {
            if let Some(name) = self.names.get_mut(&symbol) {
                name.cells = name.cells.saturating_add_signed(change);
            }
        }
    }

    fn cell(&self, key: &CellKey, value: &Value) -> VolumeCell {
        VolumeCell::new(key, &value.sums, value.authors, |symbol| {
            (symbol != 0).then(|| {
                self.names
                    .get(&symbol)
                    .expect("a name is announced before its cell is published")
                    .text
                    .to_string()
            })
        })
    }

    fn finish_hydration(&mut self, changes: &mut Changes) {
        let mut published = self.hydration.take().expect("hydrating").published;
        self.closed = Window::ALL.map(|window| self.settings.closed_before(window, self.clock));
        let keys: Vec<CellKey> = self.live.values().flat_map(HashMap::keys).copied().collect();
        for key in keys {
            let value = self.value(&key);
            let known = published.remove(&key);
            if key.start() < self.closed[key.window() as usize] {
                // Closed while we were away: what is published stands.
                if let Some(known) = known {
                    self.frozen.entry(key.bucket()).or_default().push(known.record_key);
                }
                self.live.get_mut(&key.bucket()).expect("live").remove(&key);
                self.hold_names(&key, -1);
            } else if known.as_ref().is_none_or(|k| (k.sums, k.authors) != (value.sums, value.authors)) {
                let cell = self.cell(&key, &value);
                changes.set(cell.record_key(), known.is_some(), Some(&cell));
            }
        }
        self.live.retain(|_, cells| !cells.is_empty());
        for (key, known) in published {
            if key.start() < self.closed[key.window() as usize] {
                self.frozen.entry(key.bucket()).or_default().push(known.record_key);
            } else {
                changes.set(known.record_key, true, None);
            }
        }
    }

    /// Buckets past their edge keep only what their tombstones need.
    fn freeze(&mut self) {
        for window in Window::ALL {
            let edge = self.settings.frozen_before(window, self.clock);
            while let Some((&bucket, _)) = self.live.range((window, i64::MIN)..(window, edge)).next() {
                let cells = self.live.remove(&bucket).expect("just found");
                let mut keys: Vec<_> = cells.iter().map(|(k, v)| self.cell(k, v).record_key()).collect();
                keys.sort_unstable();
                self.frozen.entry(bucket).or_default().extend(keys);
                for key in cells.keys() {
                    self.hold_names(key, -1);
                }
            }
        }
    }

    fn expire(&mut self, changes: &mut Changes) {
        for window in Window::ALL {
            let edge = self.settings.expired_before(window, self.clock);
            while let Some((&bucket, _)) = self.frozen.range((window, i64::MIN)..(window, edge)).next() {
                let keys = self.frozen.remove(&bucket).expect("just found");
                keys.into_iter().for_each(|key| changes.set(key, true, None));
            }
        }
    }

    fn sweep_names(&mut self, epoch: Epoch) {
        if epoch.saturating_sub(self.swept) > NAME_PERIOD_MS {
            self.swept = epoch;
            self.names.retain(|_, n| n.cells > 0 || epoch.saturating_sub(n.announced) < 2 * NAME_PERIOD_MS);
        }
    }
}

/// What an epoch publishes, by record key: the last word on each cell.
#[derive(Default)]
struct Changes(BTreeMap<Vec<u8>, Change>);

struct Change {
    /// Whether results.volume holds the cell from epochs before.
    was_published: bool,
    value: Option<Vec<u8>>,
}

impl Changes {
    fn set(&mut self, key: Vec<u8>, was_published: bool, cell: Option<&VolumeCell>) {
        let value = cell.map(|c| serde_json::to_vec(c).expect("a cell is plain data"));
        let change = self.0.entry(key).or_insert(Change { was_published, value: None });
        change.value = value;
    }
}

impl Change {
    /// A cell that came and went within the epoch leaves no trace.
    fn record(self, key: Vec<u8>, clock: Millis) -> Option<Record> {
        (self.was_published || self.value.is_some()).then(|| Record {
            topic: topic::VOLUME.into(),
            partition: None,
            key,
            value: self.value,
            timestamp_ms: clock.0.max(0),
            headers: cloud_event("results.volume.v1", "analyse", clock.0.max(0)),
        })
    }
}
