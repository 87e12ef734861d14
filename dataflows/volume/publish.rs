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

use differential_dataflow::difference::Semigroup;
use serde::{Deserialize, Serialize};

use super::cell::{CellKey, Settings, Sums, Symbol, Window};
use super::encode::{self, BucketText};
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
    /// What is added to the cell's sums.
    Sums {
        key: CellKey,
        sums: Sums,
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
    /// As JSON.
    text: Arc<str>,
    cells: usize,
    announced: Epoch,
}

/// The cells of one window and start.
struct Bucket {
    text: BucketText,
    cells: HashMap<CellKey, Value>,
}

/// The publisher's state: the current value of every cell that may change, and
/// the keys of those that wait for their tombstone.
pub struct State {
    settings: Settings,
    /// Values by bucket, so that a bucket leaves as one.
    live: BTreeMap<(Window, i64), Bucket>,
    /// Record keys of frozen cells, by bucket.
    frozen: BTreeMap<(Window, i64), Vec<Vec<u8>>>,
    names: Names,
    clock: Millis,
    /// Cells before this start were closed when the state was hydrated, by window.
    closed: [i64; 3],
    hydration: Option<Hydration>,
    /// The values that an epoch found, of the cells it changes.
    before: HashMap<CellKey, Value>,
    topic: Arc<str>,
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
            names: Names::default(),
            clock: Millis(i64::MIN),
            closed: [i64::MIN; 3],
            hydration: Some(Hydration { until: hydrated, published: HashMap::default() }),
            before: HashMap::default(),
            topic: topic::VOLUME.into(),
        }
    }

    pub fn clock(&self) -> Millis {
        self.clock
    }

    /// Cells that may still change.
    pub fn live_cells(&self) -> usize {
        self.live.values().map(|bucket| bucket.cells.len()).sum()
    }

    /// All parts of one epoch in; its records out.
    pub fn step(&mut self, epoch: Epoch, parts: Vec<Part>, out: &mut Vec<Record>) {
        let mut clock = self.clock;
        for part in parts {
            match part {
                Part::Clock(at) => clock = clock.max(at),
                Part::Name(symbol, text) => self.names.announce(symbol, &text, epoch),
                Part::Published(cell) => {
                    let hydration = self.hydration.as_mut().expect("published cells come while hydrating");
                    hydration.published.insert(cell.key, cell);
                }
                Part::Sums { key, sums } => self.change(key, |value| value.sums.plus_equals(&sums)),
                Part::Authors { key, change } => self.change(key, |value| value.authors += change),
            }
        }
        let hydrated = self.hydration.as_ref().is_some_and(|h| h.until <= epoch);
        let mut changes = Changes::default();
        self.settle(&mut changes);
        self.clock = clock;
        if hydrated {
            self.finish_hydration(&mut changes);
        }
        if self.hydration.is_none() {
            self.freeze();
            self.expire(&mut changes);
        }
        self.names.sweep(epoch);
        changes.records(&self.topic, clock, out);
    }

    fn change(&mut self, key: CellKey, apply: impl FnOnce(&mut Value)) {
        let frozen = self.settings.frozen_before(key.window(), self.clock);
        if key.start() < frozen.max(self.closed[key.window() as usize]) {
            return;
        }
        let new = || Bucket { text: BucketText::new(key.window(), key.start()), cells: HashMap::default() };
        let value = self.live.entry(key.bucket()).or_insert_with(new).cells.entry(key).or_default();
        self.before.entry(key).or_insert(*value);
        apply(value);
    }

    /// What the epoch changed: cells that came hold their names, empty ones leave, and
    /// unless the state is still being rebuilt each difference is published.
    fn settle(&mut self, changes: &mut Changes) {
        let publishes = self.hydration.is_none();
        for (key, old) in self.before.drain() {
            if old == Value::default() {
                self.names.hold(&key, 1);
            }
            let bucket = self.live.get_mut(&key.bucket()).expect("a cell of the epoch is live");
            let new = bucket.cells[&key];
            if publishes && new != old {
                let value = (new.sums.count != 0).then(|| value_of(&key, bucket, &new, &self.names));
                changes.set(record_key(&key, bucket, &self.names), old != Value::default(), value);
            }
            if new == Value::default() {
                bucket.cells.remove(&key);
                if bucket.cells.is_empty() {
                    self.live.remove(&key.bucket());
                }
                self.names.hold(&key, -1);
            }
        }
    }

    fn finish_hydration(&mut self, changes: &mut Changes) {
        let mut published = self.hydration.take().expect("hydrating").published;
        self.closed = Window::ALL.map(|window| self.settings.closed_before(window, self.clock));
        for (at, bucket) in &mut self.live {
            let closed = at.1 < self.closed[at.0 as usize];
            for (key, value) in &bucket.cells {
                let known = published.remove(key);
                if closed {
                    // Closed while we were away: what is published stands.
                    if let Some(known) = known {
                        self.frozen.entry(*at).or_default().push(known.record_key);
                    }
                    self.names.hold(key, -1);
                } else if known.as_ref().is_none_or(|k| (k.sums, k.authors) != (value.sums, value.authors)) {
                    let key_bytes = record_key(key, bucket, &self.names);
                    changes.set(key_bytes, known.is_some(), Some(value_of(key, bucket, value, &self.names)));
                }
            }
        }
        self.live.retain(|(window, start), _| *start >= self.closed[*window as usize]);
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
            while let Some((&at, _)) = self.live.range((window, i64::MIN)..(window, edge)).next() {
                let bucket = self.live.remove(&at).expect("just found");
                let mut keys: Vec<_> =
                    bucket.cells.keys().map(|key| record_key(key, &bucket, &self.names)).collect();
                keys.sort_unstable();
                self.frozen.entry(at).or_default().extend(keys);
                bucket.cells.keys().for_each(|key| self.names.hold(key, -1));
            }
        }
    }

    fn expire(&mut self, changes: &mut Changes) {
        for window in Window::ALL {
            let edge = self.settings.expired_before(window, self.clock);
            while let Some((&bucket, _)) = self.frozen.range((window, i64::MIN)..(window, edge)).next() {
                changes.expired.extend(self.frozen.remove(&bucket).expect("just found"));
            }
        }
    }
}

fn record_key(key: &CellKey, bucket: &Bucket, names: &Names) -> Vec<u8> {
    encode::record_key(key, &bucket.text, |symbol| names.json(symbol))
}

fn value_of(key: &CellKey, bucket: &Bucket, value: &Value, names: &Names) -> Vec<u8> {
    encode::value(key, &bucket.text, &value.sums, value.authors, |symbol| names.json(symbol))
}

/// Names of the live cells' dimensions, as JSON.
#[derive(Default)]
struct Names {
    of: HashMap<Symbol, Name>,
    swept: Epoch,
}

impl Names {
    fn announce(&mut self, symbol: Symbol, text: &str, epoch: Epoch) {
        let new = || Name { text: encode::json(text).into(), cells: 0, announced: epoch };
        self.of.entry(symbol).or_insert_with(new).announced = epoch;
    }

    fn json(&self, symbol: Symbol) -> &str {
        match symbol {
            0 => "null",
            _ => &self.of.get(&symbol).expect("a name is announced before its cell is published").text,
        }
    }

    fn hold(&mut self, key: &CellKey, change: isize) {
        for symbol in [key.platform, key.topic, key.channel] {
            if let Some(name) = self.of.get_mut(&symbol) {
                name.cells = name.cells.saturating_add_signed(change);
            }
        }
    }

    fn sweep(&mut self, epoch: Epoch) {
        if epoch.saturating_sub(self.swept) > NAME_PERIOD_MS {
            self.swept = epoch;
            self.of.retain(|_, n| n.cells > 0 || epoch.saturating_sub(n.announced) < 2 * NAME_PERIOD_MS);
        }
    }
}

/// What an epoch publishes: the last word on each cell.
#[derive(Default)]
struct Changes {
    /// Each key once.
    set: Vec<(Vec<u8>, Change)>,
    /// Keys that left retention.
    expired: Vec<Vec<u8>>,
}

struct Change {
    /// Whether results.volume holds the cell from epochs before.
    was_published: bool,
    value: Option<Vec<u8>>,
}

impl Changes {
    fn set(&mut self, key: Vec<u8>, was_published: bool, value: Option<Vec<u8>>) {
        self.set.push((key, Change { was_published, value }));
    }

    /// A cell that came and went within the epoch leaves no trace.
    fn records(mut self, topic: &Arc<str>, clock: Millis, out: &mut Vec<Record>) {
        if !self.expired.is_empty() {
            let mut all: BTreeMap<Vec<u8>, Change> = self.set.drain(..).collect();
            for key in self.expired {
                all.entry(key).or_insert(Change { was_published: true, value: None }).value = None;
            }
            self.set.extend(all);
        }
        let timestamp_ms = clock.0.max(0);
        let headers = cloud_event("results.volume.v1", "analyse", timestamp_ms);
        let told = self.set.into_iter().filter(|(_, change)| change.was_published || change.value.is_some());
        out.extend(told.map(|(key, change)| Record {
            topic: Arc::clone(topic),
            partition: None,
            key,
            value: change.value,
            timestamp_ms,
            headers: headers.clone(),
        }));
    }
}
