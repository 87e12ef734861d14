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
use dataflows::time::Millis;
use dataflows::trends::record::parse_record_key;
use dataflows::trends::{Knobs, Subject, Trend};
use serde::Deserialize;

pub use examples::Example;

use examples::Examples;

/// Table `[trends]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub terms_per_item_max: usize,
    pub view_trends_max: usize,
    pub examples_items_max: usize,
    pub graph: Knobs,
}

impl Settings {
    /// The graph's settings; errors name the knob.
    pub fn graph(&self) -> Result<dataflows::trends::Settings, String> {
        dataflows::trends::Settings::new(&self.graph).map_err(|message| format!("trends.graph.{message}"))
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

#[cfg(test)]
mod tests;
