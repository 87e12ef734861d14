//! Volume and mood as they can be asked for: a view of results.volume in memory.
//!
//! A cache of the topic: it starts empty, reads from the beginning, and follows.

pub mod api;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use dataflows::record::Stored;
use dataflows::time::Millis;
use dataflows::volume::cell::parse_record_key;
use dataflows::volume::{By, Dimension, Sums, VolumeCell, Window};
use differential_dataflow::difference::Semigroup;

/// What to select, and how to group it. `None` filters nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    pub window: Window,
    /// Window starts, from (included) and to (excluded).
    pub from: Millis,
    pub to: Millis,
    pub platform: Option<String>,
    pub topic: Option<String>,
    pub channel: Option<String>,
    pub by: By,
}

/// The grouping that a query needs and nobody counts.
#[derive(Debug, thiserror::Error)]
#[error("the grouping {0} is not counted; volume.groupings names those that are: {1}")]
pub struct NotCounted(String, String);

/// Platform, topic and channel of a cell: a name, or `None` for null and for what it is not
/// grouped by.
type Names = [Option<Arc<str>>; 3];
const DIMENSIONS: [Dimension; 3] = [Dimension::Platform, Dimension::Topic, Dimension::Channel];

#[derive(Clone, Copy)]
struct Values {
    sums: Sums,
    authors: i64,
}

/// The current cells. There are some hundred thousand of them, so that names are held
/// once, and the cells of a minute, which are few, side by side: about 120 bytes each.
pub struct View {
    groupings: Vec<By>,
    buckets: BTreeMap<(By, Window, i64), Bucket>,
    names: HashSet<Arc<str>>,
    /// Names are swept when there are this many.
    names_max: usize,
    as_of: Millis,
}

/// The cells of one grouping, window and start, by their names.
#[derive(Default)]
struct Bucket(Vec<(Names, Values)>);

impl Bucket {
    fn insert(&mut self, names: Names, values: Values) {
        match self.0.binary_search_by(|(known, _)| known.cmp(&names)) {
            Ok(at) => self.0[at].1 = values,
            Err(at) => {
                // Room for what comes now and a fifth more, not for twice as much.
                if self.0.len() == self.0.capacity() {
                    self.0.reserve_exact(1 + self.0.len() / 5);
                }
                self.0.insert(at, (names, values));
            }
        }
    }

    fn remove(&mut self, names: &Names) {
        if let Ok(at) = self.0.binary_search_by(|(known, _)| known.cmp(names)) {
            self.0.remove(at);
        }
    }
}

/// Names held before the first sweep.
const NAMES_SWEPT_FROM: usize = 10_000;

impl View {
    pub fn new(groupings: Vec<By>) -> Self {
        Self {
            groupings,
            buckets: BTreeMap::new(),
            names: HashSet::new(),
            names_max: NAMES_SWEPT_FROM,
            as_of: Millis(0),
        }
    }

    /// The pipeline clock of the latest cell.
    pub fn as_of(&self) -> Millis {
        self.as_of
    }

    pub fn cells(&self) -> usize {
        self.buckets.values().map(|bucket| bucket.0.len()).sum()
    }

    /// Takes one record of results.volume in.
    pub fn apply(&mut self, stored: &Stored) {
        self.as_of = self.as_of.max(Millis(stored.timestamp_ms));
        let Some((window, start, by, names)) = parse_record_key(&stored.key) else {
            tracing::warn!(offset = stored.offset, "a record of results.volume has no cell's key");
            return;
        };
        let place = (by, window, start.0);
        let names = self.names_of(by, names);
        match stored.value.as_deref().map(serde_json::from_slice::<VolumeCell>) {
            Some(Ok(cell)) => {
                let values = Values { sums: cell.sums(), authors: cell.authors };
                self.buckets.entry(place).or_default().insert(names, values);
            }
            Some(Err(e)) => {
                tracing::warn!(error = %e, offset = stored.offset, "a cell of results.volume cannot be read");
            }
            None => {
                if let Some(bucket) = self.buckets.get_mut(&place) {
                    bucket.remove(&names);
                    if bucket.0.is_empty() {
                        self.buckets.remove(&place);
                    }
                }
            }
        }
        self.sweep_names();
    }

    fn names_of(&mut self, by: By, names: Vec<Option<String>>) -> Names {
        let mut names = names.into_iter();
        DIMENSIONS.map(|dimension| {
            let name = if by.has(dimension) { names.next()? } else { None };
            name.map(|name| self.shared(name))
        })
    }

    fn shared(&mut self, name: String) -> Arc<str> {
        if let Some(known) = self.names.get(name.as_str()) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        self.names.insert(Arc::clone(&name));
        name
    }

    /// Lets go of names that no cell has any more, when they may be half of all.
    fn sweep_names(&mut self) {
        if self.names.len() > self.names_max {
            self.names.retain(|name| Arc::strong_count(name) > 1);
            self.names_max = (2 * self.names.len()).max(NAMES_SWEPT_FROM);
        }
    }

    /// The cells of a query, in the order of start, platform, topic, channel.
    pub fn query(&self, query: &Query) -> Result<Vec<VolumeCell>, NotCounted> {
        let needed = self.needed(query)?;
        let range =
            (needed, query.window, query.from.0)..(needed, query.window, query.to.0.max(query.from.0));
        let filters = [&query.platform, &query.topic, &query.channel];
        let mut found: BTreeMap<(i64, Names), Values> = BTreeMap::new();
        for (&(_, _, start), bucket) in self.buckets.range(range) {
            for (names, values) in bucket.0.iter().filter(|(names, _)| selects(filters, names)) {
                let mut shown = names.clone();
                for (name, dimension) in shown.iter_mut().zip(DIMENSIONS) {
                    name.take_if(|_| !query.by.has(dimension));
                }
                let sum = found.entry((start, shown)).or_insert(Values { sums: Sums::default(), authors: 0 });
                sum.sums.plus_equals(&values.sums);
                sum.authors += values.authors;
            }
        }
        Ok(found.into_iter().map(|((start, names), values)| cell(query, start, names, &values)).collect())
    }

    /// The counted grouping that answers the query: what is asked by, and what is
    /// filtered by. A filter fixes its dimension, so that dropping it afterwards
    /// merges nothing; but for a channel of the same id on several platforms, whose
    /// items and authors are distinct.
    fn needed(&self, query: &Query) -> Result<By, NotCounted> {
        let filters = [
            (Dimension::Platform, &query.platform),
            (Dimension::Topic, &query.topic),
            (Dimension::Channel, &query.channel),
        ];
        let filtered = filters.iter().filter(|(_, f)| f.is_some()).map(|(d, _)| *d);
        let needed = By::new(query.by.dimensions().chain(filtered));
        if self.groupings.contains(&needed) {
            return Ok(needed);
        }
        let counted: Vec<String> = self.groupings.iter().map(|by| by.name()).collect();
        Err(NotCounted(needed.name(), counted.join(", ")))
    }
}

fn selects(filters: [&Option<String>; 3], names: &Names) -> bool {
    filters.iter().zip(names).all(|(filter, name)| match filter {
        None => true,
        Some(wanted) => name.as_deref() == Some(wanted),
    })
}

fn cell(query: &Query, start: i64, names: Names, values: &Values) -> VolumeCell {
    let Values { sums, authors } = values;
    let [platform, topic, channel] = names.map(|name| name.map(|name| name.to_string()));
    let grouped = |dimension, name| query.by.has(dimension).then_some(name);
    VolumeCell {
        window: query.window,
        start: Millis(start),
        by: query.by.dimensions().collect(),
        platform: grouped(Dimension::Platform, platform),
        topic: grouped(Dimension::Topic, topic),
        channel: grouped(Dimension::Channel, channel),
        count: sums.count,
        scored: sums.scored,
        compound_sum: sums.compound,
        compound_mean: dataflows::volume::cell::mean(sums.compound, sums.scored),
        authors: *authors,
        views: sums.views,
        likes: sums.likes,
        comments: sums.comments,
        shares: sums.shares,
    }
}
