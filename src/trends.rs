//! Trends as they can be asked for: a view of results.trends, and of the newest items, from
//! which each trend gets its examples.
//!
//! A cache of the topics: it starts empty, reads results.trends from the beginning and
//! content.enriched from as far back as trends go, and follows. It holds
//! `trends.view_trends_max` trends and `trends.examples_items_max` items; the oldest leave.

pub mod api;
mod examples;

use std::collections::BTreeMap;

use dataflows::record::{Stored, topic};
use dataflows::time::{HOUR_MS, Millis};
use dataflows::trends::record::parse_record_key;
use dataflows::trends::{Knobs, Subject, Trend};
use parking_lot::RwLock;
use serde::Deserialize;

pub use examples::Example;

use crate::log::{Log, LogError, follow, follow_since};
use crate::ops::shutdown::Shutdown;
use examples::Examples;

/// Table `[trends]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub terms_per_item_max: usize,
    pub retention_h: i64,
    pub history_windows: usize,
    pub alpha: f64,
    pub items_min: i64,
    pub authors_min: i64,
    pub ratio_min: f64,
    pub score_min: f64,
    pub continue_ratio_min: f64,
    pub burst_max_h: i64,
    pub prior_items: f64,
    pub cells_max: usize,
    pub singles_max: usize,
    pub view_trends_max: usize,
    pub examples_items_max: usize,
}

impl Settings {
    /// The graph's settings; errors name the knob.
    pub fn graph(&self) -> Result<dataflows::trends::Settings, String> {
        dataflows::trends::Settings::new(&Knobs {
            retention_h: self.retention_h,
            history_windows: self.history_windows,
            alpha: self.alpha,
            items_min: self.items_min,
            authors_min: self.authors_min,
            ratio_min: self.ratio_min,
            score_min: self.score_min,
            continue_ratio_min: self.continue_ratio_min,
            burst_max_h: self.burst_max_h,
            prior_items: self.prior_items,
            cells_max: self.cells_max,
            singles_max: self.singles_max,
        })
        .map_err(|message| format!("trends.{message}"))
    }
}

/// By start and record key, so that the newest are last.
type Place = (Millis, Vec<u8>);

/// The current trends and the newest items.
#[derive(Debug)]
pub struct View {
    trends: BTreeMap<Place, Trend>,
    trends_max: usize,
    examples: Examples,
    as_of: Millis,
}

impl View {
    pub fn new(settings: &Settings) -> Self {
        Self {
            trends: BTreeMap::new(),
            trends_max: settings.view_trends_max,
            examples: Examples::new(settings.examples_items_max),
            as_of: Millis(0),
        }
    }

    /// Takes one record of results.trends or content.enriched in.
    pub fn apply(&mut self, stored: &Stored) {
        if &*stored.topic == topic::ENRICHED {
            self.examples.apply(stored);
            return;
        }
        self.as_of = self.as_of.max(Millis(stored.timestamp_ms));
        let Some((_, since)) = parse_record_key(&stored.key) else {
            tracing::warn!(offset = stored.offset, "a record of results.trends has no trend's key");
            return;
        };
        let place = (since, stored.key.clone());
        match stored.value.as_deref().map(serde_json::from_slice::<Trend>) {
            None => _ = self.trends.remove(&place),
            Some(Ok(trend)) => _ = self.trends.insert(place, trend),
            Some(Err(error)) => {
                tracing::warn!(%error, offset = stored.offset, "a trend of results.trends cannot be read");
            }
        }
        while self.trends.len() > self.trends_max {
            self.trends.pop_first();
        }
    }

    /// The pipeline clock of the latest change.
    pub fn as_of(&self) -> Millis {
        self.as_of
    }

    /// All trends that are held, the newest first.
    pub fn trends(&self) -> impl Iterator<Item = &Trend> {
        self.trends.values().rev()
    }

    /// What is said about a subject now: the newest items, the most noticed first, each text
    /// once.
    pub fn examples(&self, subject: &Subject, max: usize) -> Vec<Example> {
        self.examples.of(subject, |_| true, max)
    }

    /// The same of the time of a burst, as far as its items are still held.
    pub fn examples_of(&self, trend: &Trend, max: usize) -> Vec<Example> {
        let within = |at: Millis| at >= trend.since && trend.until.is_none_or(|until| at < until);
        self.examples.of(&trend.subject, within, max)
    }
}

/// Keeps the trends of the view current until shutdown; `caught_up` is called once it has read
/// what was there at the start. Blocks.
pub fn follow_trends(
    log: &dyn Log,
    view: &RwLock<View>,
    caught_up: impl FnOnce(),
    shutdown: &Shutdown,
) -> Result<(), LogError> {
    follow(log, topic::TRENDS, |records| apply(view, &records), caught_up, shutdown)
}

/// Keeps the items of the view current until shutdown; `now_ms` says how far back they go.
/// Blocks.
pub fn follow_items(
    log: &dyn Log,
    view: &RwLock<View>,
    settings: &Settings,
    now_ms: i64,
    shutdown: &Shutdown,
) -> Result<(), LogError> {
    let since_ms = now_ms.saturating_sub(settings.retention_h.saturating_mul(HOUR_MS));
    follow_since(log, topic::ENRICHED, since_ms, |records| apply(view, &records), || {}, shutdown)
}

fn apply(view: &RwLock<View>, records: &[Stored]) {
    let mut view = view.write();
    records.iter().for_each(|stored| view.apply(stored));
}

#[cfg(test)]
mod tests;
