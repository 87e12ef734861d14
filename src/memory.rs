//! The memory: items and their embedded chunks, searchable by meaning and by words.
//!
//! ```text
//!  content.enriched ─> embed ─> content.vectors ─┐
//!        └───────────────────────────────────────┴─> remember ─> Memory <─ search <─ api, command
//! ```
//!
//! Two backends behind [`Memory`]: SQLite in the data folder (the default) and
//! Qdrant (`QDRANT_URL`). `tests/memory.rs` runs one suite against both.
//!
//! Invariants that every backend keeps:
//! - An item is found by words as soon as its record of content.enriched is
//!   applied, by meaning once its chunks are. A chunk whose item is absent is never
//!   a hit, whatever the order in which the two topics are read.
//! - Applying a batch again changes nothing; an older version never replaces a newer.
//! - The store itself knows the positions it reflects, so a store that was lost,
//!   restored from a backup or killed continues exactly where it is.
//! - The store is a cache: deleted, it is rebuilt from the two topics.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use dataflows::embed::Embedded;
use dataflows::event::{Enriched, Version};
use dataflows::record::Positions;
use dataflows::time::Millis;
use serde::Deserialize;

use crate::log::{Log, LogError};
use crate::ops::openapi::Routes;

pub mod models;
pub mod embed;
pub mod remember;
pub mod sqlite;
pub mod qdrant;
pub mod terms;
pub mod search;
pub mod api;
pub mod command;
pub mod health;
mod metrics;

/// Dimensions of the vectors: MiniLM's.
pub const DIMENSIONS: usize = 384;

/// Table `[memory]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub retention_d: u32,
    pub items_max: u64,
    pub batch_records_max: usize,
    pub batch_bytes_max: usize,
    pub poll_timeout_ms: u64,
    pub retry_delay_min_ms: u64,
    pub retry_delay_max_ms: u64,
    pub lag_interval_s: u64,
    pub search: search::Settings,
    pub sqlite: sqlite::Settings,
    pub qdrant: qdrant::Settings,
}

/// What went wrong, by what the caller should do about it.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The store cannot be reached or is busy: the same call may succeed later.
    #[error("the memory is unavailable: {0}")]
    Retry(String),
    /// The store and the settings disagree: a person has to act.
    #[error("{0}")]
    Misconfigured(String),
    /// The store is damaged: delete it and let it be rebuilt.
    #[error("the memory failed: {0}")]
    Fatal(String),
}

/// One version of an item as the memory shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub id: String,
    pub version: Version,
    /// The pipeline clock when it was taken in: what retention counts from.
    pub seen_at: Millis,
    pub platform: String,
    pub channel: Option<String>,
    pub author: Option<String>,
    pub title: Option<String>,
    pub text: Option<String>,
    pub url: Option<String>,
    pub published_at: Millis,
    pub lang: Option<String>,
    pub topics: Vec<String>,
    pub compound: Option<f64>,
}

/// One step of the memory's history.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    Item(Box<Item>),
    /// The item was deleted at this version; remembered, so that nothing older returns.
    Deleted {
        id: String,
        version: Version,
        seen_at: Millis,
    },
    /// The log no longer knows the item: nothing of it is kept.
    Forgotten {
        id: String,
    },
    Chunk {
        embedded: Box<Embedded>,
        seen_at: Millis,
    },
    ChunkGone {
        id: String,
        chunk: u32,
        /// `None` where the tombstone does not say.
        version: Option<Version>,
    },
}

impl Change {
    pub fn of_enriched(enriched: Enriched) -> Self {
        let Enriched { id, version, ingested_at: seen_at, content, .. } = enriched;
        let Some(content) = content else { return Self::Deleted { id, version, seen_at } };
        Self::Item(Box::new(Item {
            id,
            version,
            seen_at,
            platform: content.platform,
            channel: content.channel.map(|c| c.name.unwrap_or(c.id)),
            author: content.author.map(|a| a.name.unwrap_or(a.id)),
            title: content.title,
            text: content.text,
            url: content.url,
            published_at: content.published_at,
            lang: content.lang,
            topics: content.topics,
            compound: content.sentiment.map(|s| s.compound),
        }))
    }
}

/// Changes in the log's order, and the positions reached after them.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub changes: Vec<Change>,
    pub positions: Positions,
    /// Positions that the memory must have for these changes to follow what it holds: one
    /// that was lost under us refuses, so that nothing is passed over.
    pub after: Positions,
    /// The latest pipeline time among the records.
    pub as_of: Option<Millis>,
}

/// Conditions that every hit meets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filters {
    pub platform: Option<String>,
    /// Published at or after.
    pub since: Option<Millis>,
    pub topic: Option<String>,
    pub lang: Option<String>,
}

/// A question as a vector, and the model that made it: only that model's chunks compare.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueryVector<'a> {
    pub model: &'a str,
    pub values: &'a [f32],
}

/// One half of a search each: best first, an item at most once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Candidates {
    /// Content ids with the text of their best chunk.
    pub dense: Vec<(String, String)>,
    /// Content ids.
    pub lexical: Vec<String>,
}

/// What the store holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    pub items: u64,
    /// By model: a search by meaning reaches those of its own model only.
    pub chunks: BTreeMap<String, u64>,
    pub positions: Positions,
}

/// Blocking: call it from a thread that may wait.
pub trait Memory: Send + Sync {
    /// Short name for metrics, logs and health.
    fn backend(&self) -> &'static str;

    /// Applies the batch; the positions are stored with it or after it.
    fn apply(&self, batch: &Batch) -> Result<(), MemoryError>;

    /// Up to `limit` candidates by meaning, if there is a vector, and by words.
    fn candidates(
        &self,
        vector: Option<QueryVector<'_>>,
        terms: &[String],
        filters: &Filters,
        limit: usize,
    ) -> Result<Candidates, MemoryError>;

    /// The items of these ids; absent ones are left out.
    fn items(&self, ids: &[String]) -> Result<Vec<Item>, MemoryError>;

    fn state(&self) -> Result<State, MemoryError>;

    /// The latest pipeline time that was applied.
    fn as_of(&self) -> Result<Option<Millis>, MemoryError>;

    /// Whether the store still has everything up to these positions: cheap, and `false`
    /// after someone removed or restored it under us.
    fn reflects(&self, positions: &Positions) -> Result<bool, MemoryError>;

    /// Items that were taken in at `since` or later.
    fn items_since(&self, since: Millis) -> Result<u64, MemoryError>;

    /// Removes what was taken in before `before`.
    fn expire(&self, before: Millis) -> Result<(), MemoryError>;
}

/// The earliest instant up to `now` from which at most `items_max` items were taken in;
/// `None` if there are no more than that altogether. Found by halving the time: some forty
/// counts.
pub fn earliest_within(
    memory: &dyn Memory,
    items_max: u64,
    now: Millis,
) -> Result<Option<Millis>, MemoryError> {
    let (mut too_early, mut enough) = (-1, now.0.saturating_add(1));
    if memory.items_since(Millis(0))? <= items_max {
        return Ok(None);
    }
    while enough - too_early > 1 {
        let middle = too_early + (enough - too_early) / 2;
        if memory.items_since(Millis(middle))? <= items_max {
            enough = middle;
        } else {
            too_early = middle;
        }
    }
    Ok(Some(Millis(enough)))
}

/// Opens the memory: in Qdrant if there is an address, else the one in `data_dir`.
pub fn open(
    settings: &Settings,
    address: &crate::config::Qdrant,
    data_dir: &Path,
) -> Result<Arc<dyn Memory>, MemoryError> {
    match &address.url {
        None => {
            let path = data_dir.join("memory").join("memory.sqlite");
            match sqlite::Sqlite::open(&settings.sqlite, &path) {
                Err(MemoryError::Fatal(reason)) => {
                    tracing::error!(
                        reason,
                        "the memory is damaged: it is set aside and rebuilt from the log"
                    );
                    set_aside(&path)?;
                    Ok(Arc::new(sqlite::Sqlite::open(&settings.sqlite, &path)?))
                }
                opened => Ok(Arc::new(opened?)),
            }
        }
        Some(url) => {
            Ok(Arc::new(qdrant::Qdrant::open(&settings.qdrant, url.url(), address.api_key.as_ref())?))
        }
    }
}

/// Renames a damaged file and what SQLite keeps beside it; one such file is kept.
fn set_aside(path: &Path) -> Result<(), MemoryError> {
    for suffix in ["-wal", "-shm"] {
        let mut beside = path.as_os_str().to_os_string();
        beside.push(suffix);
        // Not there is as good as removed.
        let _ = std::fs::remove_file(beside);
    }
    std::fs::rename(path, path.with_extension("damaged"))
        .map_err(|e| MemoryError::Misconfigured(format!("cannot move {} aside: {e}", path.display())))
}

/// A loop that runs on a thread of its own until it is stopped.
pub type Loop = Box<dyn FnOnce() -> Result<(), LogError> + Send>;

/// Everything of the memory in one process: its routes, and its loops by name.
pub struct Parts {
    pub routes: Routes,
    pub loops: Vec<(&'static str, Loop)>,
}

/// Opens the memory and prepares its loops; they end soon after `stop` is set.
/// `cache_dir` is the user's folder for what was fetched.
pub fn parts(
    config: &crate::config::Config,
    log: &Arc<dyn Log>,
    data_dir: &Path,
    cache_dir: &Path,
    stop: &Arc<AtomicBool>,
    health: &crate::ops::health::Health,
) -> Result<Parts, MemoryError> {
    let memory = open(&config.memory, &config.qdrant, data_dir)?;
    let model = models::Model::new(&config.models.clone().in_cache(cache_dir));
    let troubles = health::Health::new();
    let shown = troubles.clone();
    let backend = memory.backend();
    health.component("memory", move || shown.component(backend));
    let search = Arc::new(search::Search::new(memory.clone(), model.clone(), config.memory.search.clone()));
    let embedding: Loop = {
        let (log, stop, troubles) = (log.clone(), stop.clone(), troubles.clone());
        let (settings, cache) = (config.embed.clone(), data_dir.join("memory").join("embed.sqlite"));
        Box::new(move || embed::run(log, &model, &cache, &settings, stop, troubles))
    };
    let remembering: Loop = {
        let (log, stop, settings) = (log.clone(), stop.clone(), config.memory.clone());
        Box::new(move || remember::run(&*log, &*memory, &settings, &stop, &troubles))
    };
    Ok(Parts { routes: api::routes(search), loops: vec![("embed", embedding), ("remember", remembering)] })
}
