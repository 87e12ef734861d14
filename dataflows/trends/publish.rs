//! Changes of counts become records of results.trends: the bursts of every subject that an
//! epoch changed, and tombstones for those that are gone.
//!
//! Invariants:
//! - What is published is a function of the counts and the pipeline clock after the epoch:
//!   nothing depends on the order in which they came.
//! - An epoch publishes a trend at most once, and only if it differs from what was published.
//! - Only subjects with a window that may begin a burst are looked at, and all of them only
//!   when a window ends or what is usual in the whole stream changes.
//! - While hydrating nothing is published; at the end only differences to what results.trends
//!   holds are, tombstones included.
//!
//! Retention: counts leave with their window, subjects with their last one.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::burst::{Counts, Settings, Stream, bucket, bursts};
use super::record::{Subject, Trend};
use super::tell::trend;
use super::touch::Symbol;
use crate::Epoch;
use crate::faults::cloud_event;
use crate::record::{Record, topic};
use crate::time::Millis;

type HashMap<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;

/// A trend as results.trends holds it, with the symbol of its subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Published {
    pub subject: Symbol,
    pub trend: Trend,
}

/// What reaches the publisher.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Part {
    /// Items and authors that came (positive) or went.
    Count {
        bucket: i32,
        subject: Symbol,
        items: i64,
        authors: i64,
    },
    /// The same of all items, for every publisher.
    Total {
        bucket: i64,
        items: i64,
    },
    /// A subject's window was let through.
    Name(i32, Symbol, Subject),
    Clock(Millis),
    Published(Published),
}

#[derive(Clone, Copy)]
struct Cell {
    bucket: i32,
    items: i32,
    authors: i32,
}

impl Cell {
    /// What counts: with one item nobody knows whether it was let through.
    fn counts(self) -> Counts {
        if self.items < 2 {
            return Counts::default();
        }
        Counts { items: self.items.into(), authors: self.authors.into() }
    }
}

#[derive(Default)]
struct History {
    subject: Option<Subject>,
    /// The last window that was let through: until it leaves, counts may come without a name.
    named: i32,
    /// By window.
    cells: Vec<Cell>,
    /// Windows that may begin a burst.
    hot: BTreeSet<i32>,
}

impl History {
    fn change(&mut self, bucket: i32, items: i64, authors: i64) {
        let (items, authors) = (items as i32, authors as i32);
        match self.cells.binary_search_by_key(&bucket, |cell| cell.bucket) {
            Ok(at) => {
                let cell = &mut self.cells[at];
                cell.items += items;
                cell.authors += authors;
                if (cell.items, cell.authors) == (0, 0) {
                    self.cells.remove(at);
                }
            }
            Err(at) => self.cells.insert(at, Cell { bucket, items, authors }),
        }
    }

    /// Looks again at the windows that a change of one concerns: itself, and those whose
    /// history it is in.
    fn reheat(&mut self, settings: &Settings, changed: i32) {
        let last = i64::from(changed) + settings.history() as i64;
        let from = self.cells.partition_point(|cell| cell.bucket < changed);
        self.hot.remove(&changed);
        for (at, cell) in self.cells.iter().enumerate().skip(from) {
            if i64::from(cell.bucket) > last {
                break;
            }
            let before = self.cells[..at].iter().rev();
            let before = before.take_while(|b| cell.bucket - b.bucket <= settings.history() as i32);
            let before = before.map(|b| (i64::from(b.bucket), b.counts().items));
            if settings.may_begin(cell.bucket.into(), cell.counts(), before) {
                self.hot.insert(cell.bucket);
            } else {
                self.hot.remove(&cell.bucket);
            }
        }
    }
}

/// The publisher's state on one worker.
pub struct State {
    settings: Settings,
    subjects: HashMap<Symbol, History>,
    totals: BTreeMap<i64, i64>,
    /// Subjects that may have a burst.
    candidates: BTreeSet<Symbol>,
    published: BTreeMap<Symbol, BTreeMap<Vec<u8>, Trend>>,
    stream: Stream,
    clock: Millis,
    hydrated: Option<Epoch>,
    counts: Vec<Counts>,
}

impl State {
    /// Epochs up to `hydrated` rebuild the state and publish only differences.
    pub fn new(settings: Settings, hydrated: Epoch) -> Self {
        Self {
            stream: Stream::empty(),
            settings,
            subjects: HashMap::default(),
            totals: BTreeMap::new(),
            candidates: BTreeSet::new(),
            published: BTreeMap::new(),
            clock: Millis(i64::MIN),
            hydrated: Some(hydrated),
            counts: Vec::new(),
        }
    }

    pub fn clock(&self) -> Millis {
        self.clock
    }

    pub fn candidates(&self) -> usize {
        self.candidates.len()
    }

    /// Trends that are published.
    pub fn published(&self) -> usize {
        self.published.values().map(BTreeMap::len).sum()
    }

    /// All parts of one epoch in; its records out, in the order of subjects and keys.
    pub fn step(&mut self, epoch: Epoch, parts: Vec<Part>, out: &mut Vec<Record>) {
        let before = self.clock;
        for part in &parts {
            if let Part::Clock(at) = part {
                self.clock = self.clock.max(*at);
            }
        }
        let changed = self.take(parts);
        if self.clock == Millis(i64::MIN) {
            // What is published is known; nothing was counted yet.
            return;
        }
        if bucket(before) != bucket(self.clock) {
            self.forget();
        }
        for (symbol, bucket) in &changed {
            if let Some(history) = self.subjects.get_mut(symbol) {
                history.reheat(&self.settings, *bucket);
            }
            self.weigh(*symbol);
        }
        if self.hydrated.is_some_and(|hydrated| epoch < hydrated) {
            return;
        }
        let stream = self.stream.at(&self.settings, self.clock, &self.totals);
        let all = self.hydrated.take().is_some() || stream != self.stream;
        self.stream = stream;
        let due: BTreeSet<Symbol> = if all {
            self.candidates.iter().chain(self.published.keys()).copied().collect()
        } else {
            changed
                .into_iter()
                .map(|(symbol, _)| symbol)
                .filter(|s| self.candidates.contains(s) || self.published.contains_key(s))
                .collect()
        };
        due.into_iter().for_each(|symbol| self.publish(symbol, out));
    }

    /// Adds an epoch's parts; the windows of subjects whose counts changed.
    fn take(&mut self, parts: Vec<Part>) -> BTreeSet<(Symbol, i32)> {
        let edge = self.settings.edge(self.clock);
        let mut changed = BTreeSet::new();
        for part in parts {
            match part {
                Part::Clock(_) => {}
                Part::Count { bucket, subject, items, authors } if i64::from(bucket) >= edge => {
                    self.subjects.entry(subject).or_default().change(bucket, items, authors);
                    changed.insert((subject, bucket));
                }
                Part::Total { bucket, items } if bucket >= edge => {
                    *self.totals.entry(bucket).or_default() += items;
                }
                Part::Name(bucket, symbol, subject) if i64::from(bucket) >= edge => {
                    let history = self.subjects.entry(symbol).or_default();
                    history.named = history.named.max(bucket);
                    history.subject.get_or_insert(subject);
                }
                // Their windows have left.
                Part::Count { .. } | Part::Total { .. } | Part::Name(..) => {}
                Part::Published(Published { subject, trend }) => {
                    self.published.entry(subject).or_default().insert(trend.record_key(), trend);
                }
            }
        }
        changed
    }

    /// Lets windows go that are no longer kept.
    fn forget(&mut self) {
        let edge = self.settings.edge(self.clock);
        self.totals = self.totals.split_off(&edge);
        let mut changed = Vec::new();
        for (symbol, history) in &mut self.subjects {
            let old = history.cells.iter().take_while(|cell| i64::from(cell.bucket) < edge).count();
            if old > 0 {
                history.cells.drain(..old);
                history.hot.retain(|&hot| i64::from(hot) >= edge);
                changed.push(*symbol);
            }
        }
        changed.into_iter().for_each(|symbol| self.weigh(symbol));
        self.subjects.retain(|_, history| !history.cells.is_empty() || i64::from(history.named) >= edge);
    }

    /// Whether the subject is to be looked at.
    fn weigh(&mut self, symbol: Symbol) {
        let Some(history) = self.subjects.get(&symbol) else { return };
        if !history.hot.is_empty() {
            self.candidates.insert(symbol);
        } else {
            self.candidates.remove(&symbol);
        }
    }

    fn publish(&mut self, symbol: Symbol, out: &mut Vec<Record>) {
        let current = self.current(symbol);
        let published = self.published.entry(symbol).or_default();
        let mut keys: BTreeSet<Vec<u8>> = published.keys().cloned().collect();
        keys.extend(current.keys().cloned());
        for key in keys {
            let trend = current.get(&key);
            if published.get(&key) != trend {
                let value = trend.map(|t| serde_json::to_vec(t).expect("a trend is plain data"));
                out.push(record(key, value, self.clock));
            }
        }
        if current.is_empty() {
            self.published.remove(&symbol);
        } else {
            *published = current;
        }
    }

    fn current(&mut self, symbol: Symbol) -> BTreeMap<Vec<u8>, Trend> {
        let Some(history) = self.subjects.get(&symbol).filter(|_| self.candidates.contains(&symbol)) else {
            return BTreeMap::new();
        };
        self.counts.clear();
        self.counts.resize(self.stream.len(), Counts::default());
        for cell in &history.cells {
            let at = i64::from(cell.bucket) - self.stream.first;
            if let Some(counts) = usize::try_from(at).ok().and_then(|at| self.counts.get_mut(at)) {
                *counts = cell.counts();
            }
        }
        let first = self.stream.first;
        let is_hot = |at| i32::try_from(first + at as i64).is_ok_and(|bucket| history.hot.contains(&bucket));
        let bursts = bursts(&self.settings, &self.stream, &self.counts, is_hot);
        let subject = || history.subject.clone().expect("a name comes with the first count");
        let trends = bursts.into_iter().map(|burst| trend(subject(), &burst, &self.stream, &self.counts));
        trends.map(|trend| (trend.record_key(), trend)).collect()
    }
}

fn record(key: Vec<u8>, value: Option<Vec<u8>>, clock: Millis) -> Record {
    Record {
        topic: topic::TRENDS.into(),
        partition: None,
        key,
        value,
        timestamp_ms: clock.0.max(0),
        headers: cloud_event("results.trends.v1", "analyse", clock.0.max(0)),
    }
}
