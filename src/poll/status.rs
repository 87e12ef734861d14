//! What the pollers do, for people and for metrics: the same facts in both.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use dataflows::time::Millis;
use parking_lot::RwLock;
use prometheus::{GaugeVec, IntCounterVec};
use schemars::JsonSchema;
use serde::Serialize;

use super::clock::{Clock, SystemClock};
use super::schedule::Outcome;
use super::settings::Settings;
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
    /// Items that their platform said are gone.
    pub items_deleted: u64,
    /// When something new came last.
    pub last_item_at: Option<Millis>,
    /// The longest time without anything new that is usual; null until that is known.
    pub usual_gap_s: Option<i64>,
    /// Since when the source is silent: it answers, and nothing new came for much longer
    /// than is usual.
    pub silent_since: Option<Millis>,
    /// Entries that could not be read.
    pub entries_broken: u64,
    /// What tells its items apart: id (the platform's own), guid, link or title.
    pub identity: &'static str,
}

impl SourceStatus {
    /// How the source is at a time.
    pub fn at(source: &Source, state: &State, settings: &Settings, now_ms: i64) -> Self {
        let silent_at = state
            .rhythm
            .last_ms
            .zip(state.rhythm.silent_after_ms(settings))
            .map(|(last_ms, after_ms)| last_ms.saturating_add(after_ms));
        Self { silent_since: silent_at.filter(|at| *at <= now_ms).map(Millis), ..Self::new(source, state) }
    }

    fn new(source: &Source, state: &State) -> Self {
        let condition = match state {
            s if s.gone => Condition::Gone,
            s if s.errors_in_row > 0 => Condition::Failing,
            s if s.last_success_ms.is_some() => Condition::Ok,
            _ => Condition::New,
        };
        Self {
            key: source.key.clone(),
            name: source.name.clone(),
            kind: source.kind.label(),
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
            items_deleted: state.deleted,
            last_item_at: state.rhythm.last_ms.map(Millis),
            usual_gap_s: state.rhythm.usual_gap_ms().map(|ms| ms / 1_000),
            silent_since: None,
            entries_broken: state.broken,
            identity: match (state.ladder.guid, state.ladder.link) {
                _ if source.kind.has_ids() => "id",
                (true, _) => "guid",
                (false, true) => "link",
                (false, false) => "title",
            },
        }
    }
}

static STATUS: LazyLock<RwLock<BTreeMap<String, Entry>>> = LazyLock::new(RwLock::default);

struct Entry {
    status: SourceStatus,
    /// When the source is silent, if nothing comes before.
    silent_at_ms: Option<i64>,
}

/// Every source of the running pollers, by key. Empty where none run.
pub fn status() -> Vec<SourceStatus> {
    status_at(SystemClock.now_ms())
}

/// The same at a time: what makes a source silent is that time passes.
pub fn status_at(now_ms: i64) -> Vec<SourceStatus> {
    let at = |entry: &Entry| SourceStatus {
        silent_since: entry.silent_at_ms.filter(|at| *at <= now_ms).map(Millis),
        ..entry.status.clone()
    };
    STATUS.read().values().map(at).collect()
}

pub(super) fn publish(source: &Source, state: &State, settings: &Settings) {
    let seconds = |ms: i64| ms as f64 / 1_000.0;
    let name = &[source.name.as_str()];
    if let Some(ms) = state.last_success_ms {
        LAST_SUCCESS.with_label_values(name).set(seconds(ms));
    }
    if let Some(ms) = state.next_due_ms {
        NEXT_DUE.with_label_values(name).set(seconds(ms));
    }
    if let Some(ms) = state.rhythm.last_ms {
        LAST_ITEM.with_label_values(name).set(seconds(ms));
    }
    let after_ms = state.rhythm.silent_after_ms(settings);
    if let Some(ms) = after_ms {
        SILENT_AFTER.with_label_values(name).set(seconds(ms));
    }
    ERRORS_IN_ROW.with_label_values(name).set(f64::from(state.errors_in_row));
    let silent_at_ms = state.rhythm.last_ms.zip(after_ms).map(|(last, after)| last.saturating_add(after));
    let entry = Entry { status: SourceStatus::new(source, state), silent_at_ms };
    STATUS.write().insert(source.key.clone(), entry);
}

/// The log does not take what was polled; the state is otherwise as it was.
pub(super) fn publish_waiting(source: &Source, reason: &str) {
    if let Some(entry) = STATUS.write().get_mut(&source.key) {
        entry.status.last_error = Some(format!("what was polled waits for the log: {reason}"));
    }
}

pub(super) fn withdraw(source: &Source) {
    STATUS.write().remove(&source.key);
}

/// The source is not followed any more: its gauges would stand still for ever.
pub(super) fn forget(source: &Source) {
    withdraw(source);
    for gauge in [&LAST_SUCCESS, &NEXT_DUE, &LAST_ITEM, &SILENT_AFTER, &ERRORS_IN_ROW] {
        // It may never have been set.
        let _ = gauge.remove_label_values(&[source.name.as_str()]);
    }
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
    let help = "Items of sources: created, updated and deleted were sent; duplicate, filtered, over_budget, \
                broken and rejected were not; gap counts times that a stream could not be followed without one";
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

static LAST_ITEM: LazyLock<GaugeVec> = LazyLock::new(|| {
    let name = "tidings_source_last_item_timestamp_seconds";
    metrics::gauge_vec(name, "When a source last brought something new, Unix time", &["source"])
});

static SILENT_AFTER: LazyLock<GaugeVec> = LazyLock::new(|| {
    let help = "Seconds without anything new after which a source is silent, by its own rhythm";
    metrics::gauge_vec("tidings_source_silent_after_seconds", help, &["source"])
});

static ERRORS_IN_ROW: LazyLock<GaugeVec> = LazyLock::new(|| {
    metrics::gauge_vec("tidings_source_errors_in_row", "Failed polls since the last good one", &["source"])
});
