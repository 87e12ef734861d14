//! What the pollers do, for people and for metrics: the same facts in both.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use dataflows::time::Millis;
use parking_lot::RwLock;
use prometheus::{GaugeVec, IntCounterVec};
use schemars::JsonSchema;
use serde::Serialize;

use super::schedule::Outcome;
use super::source::Source;
use super::store::State;
use crate::ops::metrics;

/// How a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// Not polled yet.
    New,
    Ok,
    /// The last poll failed; it is tried again.
    Failing,
    /// The server said that it is gone for good; looked at rarely.
    Gone,
}

/// One source and its health.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct SourceStatus {
    /// Identity of the source, the start of its native ids.
    pub key: String,
    pub name: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub platform: String,
    pub url: String,
    /// Where it has moved for good, if it has.
    pub moved_to: Option<String>,
    pub condition: Condition,
    pub last_attempt_at: Option<Millis>,
    pub last_success_at: Option<Millis>,
    pub last_error: Option<String>,
    pub errors_in_row: u32,
    pub next_due_at: Option<Millis>,
    pub polls: u64,
    pub items_created: u64,
    pub items_updated: u64,
    /// Entries that could not be read.
    pub entries_broken: u64,
    /// What tells its items apart: guid, link or title.
    pub identity: &'static str,
}

impl SourceStatus {
    pub fn new(source: &Source, state: &State) -> Self {
        let condition = match state {
            s if s.gone => Condition::Gone,
            s if s.errors_in_row > 0 => Condition::Failing,
            s if s.last_success_ms.is_some() => Condition::Ok,
            _ => Condition::New,
        };
        Self {
            key: source.key.clone(),
            name: source.name.clone(),
            kind: "feed",
            platform: source.platform.clone(),
            url: source.url.to_string(),
            moved_to: state.moved_to.clone(),
            condition,
            last_attempt_at: state.last_attempt_ms.map(Millis),
            last_success_at: state.last_success_ms.map(Millis),
            last_error: state.last_error.clone(),
            errors_in_row: state.errors_in_row,
            next_due_at: state.next_due_ms.map(Millis),
            polls: state.polls,
            items_created: state.created,
            items_updated: state.updated,
            entries_broken: state.broken,
            identity: match (state.ladder.guid, state.ladder.link) {
                (true, _) => "guid",
                (false, true) => "link",
                (false, false) => "title",
            },
        }
    }
}

static STATUS: LazyLock<RwLock<BTreeMap<String, SourceStatus>>> = LazyLock::new(RwLock::default);

/// Every source of the running pollers, by key. Empty where none run.
pub fn status() -> Vec<SourceStatus> {
    STATUS.read().values().cloned().collect()
}

pub(super) fn publish(source: &Source, state: &State) {
    let seconds = |ms: i64| ms as f64 / 1_000.0;
    if let Some(ms) = state.last_success_ms {
        LAST_SUCCESS.with_label_values(&[&source.name]).set(seconds(ms));
    }
    if let Some(ms) = state.next_due_ms {
        NEXT_DUE.with_label_values(&[&source.name]).set(seconds(ms));
    }
    STATUS.write().insert(source.key.clone(), SourceStatus::new(source, state));
}

/// The log does not take what was polled; the state is otherwise as it was.
pub(super) fn publish_waiting(source: &Source, reason: &str) {
    if let Some(status) = STATUS.write().get_mut(&source.key) {
        status.last_error = Some(format!("what was polled waits for the log: {reason}"));
    }
}

pub(super) fn withdraw(source: &Source) {
    STATUS.write().remove(&source.key);
}

pub(super) fn count_request(source: &Source, outcome: Outcome) {
    REQUESTS.with_label_values(&[source.name.as_str(), outcome.label()]).inc();
}

pub(super) fn count_items(source: &Source, change: &str, items: usize) {
    if items > 0 {
        ITEMS.with_label_values(&[source.name.as_str(), change]).inc_by(items as u64);
    }
}

static REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec("tidings_poll_requests_total", "Polls by how they ended", &["source", "outcome"])
});

static ITEMS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Items of polls: created and updated were sent; duplicate, broken and rejected were not";
    metrics::counter_vec("tidings_poll_items_total", help, &["source", "change"])
});

static LAST_SUCCESS: LazyLock<GaugeVec> = LazyLock::new(|| {
    let name = "tidings_source_last_success_timestamp_seconds";
    metrics::gauge_vec(name, "When a source last answered, Unix time", &["source"])
});

static NEXT_DUE: LazyLock<GaugeVec> = LazyLock::new(|| {
    metrics::gauge_vec(
        "tidings_poll_next_due_seconds",
        "When a source is polled next, Unix time",
        &["source"],
    )
});
