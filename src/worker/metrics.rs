//! What the workers count.

use std::sync::LazyLock;

use prometheus::{GaugeVec, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec};

use crate::ops::metrics::{SECONDS_BUCKETS, counter_vec, gauge_vec, histogram_vec, int_gauge, int_gauge_vec};

pub static STAGE_RECORDS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter_vec(
        "tidings_stage_records_total",
        "Records by stage and what became of them.",
        &["stage", "outcome"],
    )
});
pub static DEAD_LETTERS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter_vec("tidings_dead_letters_total", "Records refused, by stage and reason.", &["stage", "reason"])
});
pub static REDACTIONS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter_vec("tidings_pii_redactions_total", "Personal values masked, by type.", &["type"])
});
pub static INPUT_RECORDS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter_vec("tidings_stage_input_records_total", "Records fed into a stage's dataflow.", &["stage"])
});
pub static OUTPUT_RECORDS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter_vec(
        "tidings_stage_output_records_total",
        "Records that a stage handed to its committer.",
        &["stage"],
    )
});
pub static STAGE_DURATION: LazyLock<HistogramVec> = LazyLock::new(|| {
    histogram_vec(
        "tidings_stage_duration_seconds",
        "From reading an epoch's records to the commit of what they became.",
        &["stage"],
        SECONDS_BUCKETS,
    )
});
pub static CREDIT_USED: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    int_gauge_vec("tidings_stage_credit_used_bytes", "Bytes read by a stage and not committed.", &["stage"])
});
pub static FRONTIER_AGE: LazyLock<GaugeVec> = LazyLock::new(|| {
    gauge_vec(
        "tidings_frontier_age_seconds",
        "Age of the oldest epoch with data that is not committed.",
        &["operator"],
    )
});
pub static OPERATOR_RECORDS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    int_gauge_vec("tidings_operator_records", "Records that a stateful operator holds.", &["operator"])
});
pub static LATE: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    int_gauge_vec(
        "tidings_late_items",
        "Items that came too late for a window, since the start.",
        &["window"],
    )
});
pub static NOT_IN_STORIES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter_vec(
        "tidings_items_not_in_stories_total",
        "Versions of items that cannot be in a story, and items that left before their time, by reason.",
        &["reason"],
    )
});
pub static CLOCK: LazyLock<IntGauge> = LazyLock::new(|| {
    int_gauge("tidings_pipeline_clock_seconds", "The pipeline clock: ingest time of the last record.")
});
pub static FRESHNESS: LazyLock<prometheus::Gauge> = LazyLock::new(|| {
    crate::ops::metrics::gauge(
        "tidings_event_freshness_seconds",
        "How far the published aggregates are behind the wall clock, while events flow.",
    )
});
