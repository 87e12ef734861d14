//! What the memory measures of itself.

use std::sync::LazyLock;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use crate::ops::metrics::{
    SECONDS_BUCKETS, counter, counter_vec, histogram, histogram_vec, int_gauge, int_gauge_vec,
};

pub(super) static POINTS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    int_gauge_vec("tidings_memory_points", "What the memory holds: items, chunks with a vector.", &["kind"])
});

pub(super) static FORGOTTEN: LazyLock<IntCounter> = LazyLock::new(|| {
    counter(
        "tidings_memory_forgotten_total",
        "Items that left the memory because there were more than items_max.",
    )
});

pub(super) static TEXTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter_vec(
        "tidings_embed_texts_total",
        "Texts to embed: embedded, reused, failed, timed_out, panicked, lost, or dropped by a named budget.",
        &["outcome"],
    )
});

pub(super) static EMBED_SECONDS: LazyLock<Histogram> = LazyLock::new(|| {
    histogram("tidings_embed_duration_seconds", "Time of the model for one batch of texts.", SECONDS_BUCKETS)
});

pub(super) static EMBED_WAITING: LazyLock<IntGauge> =
    LazyLock::new(|| int_gauge("tidings_embed_waiting_texts", "Texts that wait for the model."));

pub(super) static UPSERT_SECONDS: LazyLock<Histogram> = LazyLock::new(|| {
    histogram("tidings_memory_upsert_seconds", "Time to apply one batch to the memory.", SECONDS_BUCKETS)
});

pub(super) static RETRIES: LazyLock<IntCounter> = LazyLock::new(|| {
    counter("tidings_memory_retries_total", "Attempts on the memory that failed and were made again.")
});

pub(super) static SEARCH_SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    histogram_vec("tidings_memory_search_seconds", "Time of one search.", &["mode"], SECONDS_BUCKETS)
});
