//! Volume and mood as they can be asked for: a view of results.volume in memory.
//!
//! A cache of the topic: it starts empty, reads from the beginning, and follows.

pub mod api;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use dataflows::record::{Stored, topic};
use dataflows::time::Millis;
use dataflows::volume::{By, Dimension, VolumeCell, Window};
use parking_lot::RwLock;

use crate::log::{Log, LogError};
use crate::ops::shutdown::Shutdown;

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

type Bucket = HashMap<Vec<u8>, Arc<VolumeCell>>;

/// The current cells.
pub struct View {
    groupings: Vec<By>,
    buckets: BTreeMap<(By, Window, i64), Bucket>,
    /// Where a tombstone finds its cell.
    places: HashMap<Vec<u8>, (By, Window, i64)>,
    as_of: Millis,
}

impl View {
    pub fn new(groupings: Vec<By>) -> Self {
        Self { groupings, buckets: BTreeMap::new(), places: HashMap::new(), as_of: Millis(0) }
    }

    /// The pipeline clock of the latest cell.
    pub fn as_of(&self) -> Millis {
        self.as_of
    }

    pub fn cells(&self) -> usize {
        self.places.len()
    }

    /// Takes one record of results.volume in.
    pub fn apply(&mut self, stored: &Stored) {
        self.as_of = self.as_of.max(Millis(stored.timestamp_ms));
        let cell = stored.value.as_deref().map(serde_json::from_slice::<VolumeCell>);
        match cell {
            Some(Ok(cell)) => {
                let place = (cell.by(), cell.window, cell.start.0);
                self.places.insert(stored.key.clone(), place);
                self.buckets.entry(place).or_default().insert(stored.key.clone(), Arc::new(cell));
            }
            Some(Err(e)) => {
                tracing::warn!(error = %e, offset = stored.offset, "a cell of results.volume cannot be read");
            }
            None => {
                if let Some(place) = self.places.remove(&stored.key)
                    && let Some(bucket) = self.buckets.get_mut(&place)
                {
                    bucket.remove(&stored.key);
                    if bucket.is_empty() {
                        self.buckets.remove(&place);
                    }
                }
            }
        }
    }

    /// The cells of a query, in the order of start, platform, topic, channel.
    pub fn query(&self, query: &Query) -> Result<Vec<VolumeCell>, NotCounted> {
        let needed = self.needed(query)?;
        let range =
            (needed, query.window, query.from.0)..(needed, query.window, query.to.0.max(query.from.0));
        let mut found: BTreeMap<_, VolumeCell> = BTreeMap::new();
        for cell in self.buckets.range(range).flat_map(|(_, bucket)| bucket.values()) {
            if selects(query, cell) {
                let cell = regroup(cell, query.by);
                let place = (cell.start, cell.platform.clone(), cell.topic.clone(), cell.channel.clone());
                match found.entry(place) {
                    std::collections::btree_map::Entry::Vacant(entry) => {
                        entry.insert(cell);
                    }
                    std::collections::btree_map::Entry::Occupied(mut entry) => merge(entry.get_mut(), &cell),
                }
            }
        }
        Ok(found.into_values().collect())
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

fn selects(query: &Query, cell: &VolumeCell) -> bool {
    let is = |filter: &Option<String>, value: &Option<Option<String>>| {
        filter.is_none() || value.as_ref().is_some_and(|v| v == filter)
    };
    is(&query.platform, &cell.platform) && is(&query.topic, &cell.topic) && is(&query.channel, &cell.channel)
}

fn regroup(cell: &VolumeCell, by: By) -> VolumeCell {
    let keep = |d, value: &Option<Option<String>>| value.clone().filter(|_| by.has(d));
    VolumeCell {
        by: by.dimensions().collect(),
        platform: keep(Dimension::Platform, &cell.platform),
        topic: keep(Dimension::Topic, &cell.topic),
        channel: keep(Dimension::Channel, &cell.channel),
        ..cell.clone()
    }
}

fn merge(into: &mut VolumeCell, cell: &VolumeCell) {
    into.count += cell.count;
    into.scored += cell.scored;
    into.compound_sum += cell.compound_sum;
    into.compound_mean = dataflows::volume::cell::mean(into.compound_sum, into.scored);
    into.authors += cell.authors;
    into.views += cell.views;
    into.likes += cell.likes;
    into.comments += cell.comments;
    into.shares += cell.shares;
}

/// Keeps the view current until shutdown; `caught_up` is called once it has read
/// what was there at the start. Blocks.
pub fn follow(
    log: &dyn Log,
    view: &RwLock<View>,
    caught_up: impl FnOnce(),
    shutdown: &Shutdown,
) -> Result<(), LogError> {
    let apply = |records: Vec<Stored>| {
        let mut view = view.write();
        records.iter().for_each(|stored| view.apply(stored));
    };
    crate::log::follow(log, topic::VOLUME, apply, caught_up, shutdown)
}
