//! What the workers count.

use std::sync::LazyLock;

use dataflows::trends;
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
pub static TRENDS_REFUSED: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    int_gauge_vec(
        "tidings_trends_refused",
        "Mentions of topics and terms that trends do not count, since the start, by why: late, no room for a cell, no room for a single item.",
        &["reason"],
    )
});
pub static TRENDS: LazyLock<IntGauge> =
    LazyLock::new(|| int_gauge("tidings_trends", "Trends that this process's workers publish."));
pub static STORIES_WITHHELD: LazyLock<IntGauge> = LazyLock::new(|| {
    int_gauge(
        "tidings_stories_withheld",
        "Whether stories are still read again after the start: until then results.stories stays as it was.",
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

/// Shows what one worker says of its trends.
pub fn show_trends(gauges: &trends::Gauges) {
    let held =
        [("Gate", gauges.cells.get() + gauges.singles.get()), ("PublishTrends", gauges.candidates.get())];
    for (operator, records) in held {
        OPERATOR_RECORDS.with_label_values(&[operator]).set(records as i64);
    }
    let [cells, singles] = gauges.refused.get();
    for (reason, n) in [("late", gauges.late.get()), ("cells", cells), ("singles", singles)] {
        TRENDS_REFUSED.with_label_values(&[reason]).set(n as i64);
    }
    TRENDS.set(gauges.published.get() as i64);
}
