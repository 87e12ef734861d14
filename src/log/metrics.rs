//! What the log measures of itself, the same for both backends.

use std::sync::LazyLock;

use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGaugeVec, Opts};

use crate::ops::metrics::registry;

/// From a small synced batch to a broker that struggles.
const BUCKETS_S: [f64; 13] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0];

pub(super) static APPEND_SECONDS: LazyLock<Histogram> = LazyLock::new(|| {
    histogram("tidings_log_append_duration_seconds", "Time until an appended batch is durable.")
});

pub(super) static COMMIT_SECONDS: LazyLock<Histogram> = LazyLock::new(|| {
    histogram("tidings_log_commit_duration_seconds", "Time until a transaction is committed and durable.")
});

/// Labels: our topic name and `in` (written) or `out` (read).
pub(super) static RECORDS: LazyLock<IntCounterVec> =
    LazyLock::new(|| counter("tidings_log_records_total", "Records written to and read from the log."));

pub(super) static BYTES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter("tidings_log_bytes_total", "Bytes of keys, values and headers written to and read from the log.")
});

static LAG: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "Records of a topic that a consumer has yet to read: an upper bound, from offsets.";
    let gauge = IntGaugeVec::new(Opts::new("tidings_log_lag_records", help), &["group", "topic"])
        .expect("a valid metric");
    registry().register(Box::new(gauge.clone())).expect("registered once");
    gauge
});

/// Says how far the consumer `group` is behind the end of `topic`.
pub fn report_lag(group: &str, topic: &str, records: u64) {
    LAG.with_label_values(&[group, topic]).set(i64::try_from(records).unwrap_or(i64::MAX));
}

pub(super) const IN: &str = "in";
pub(super) const OUT: &str = "out";

pub(super) fn count(topic: &str, direction: &str, records: usize, bytes: usize) {
    RECORDS.with_label_values(&[topic, direction]).inc_by(records as u64);
    BYTES.with_label_values(&[topic, direction]).inc_by(bytes as u64);
}

fn histogram(name: &str, help: &str) -> Histogram {
    let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(BUCKETS_S.to_vec()))
        .expect("a valid metric");
    registry().register(Box::new(histogram.clone())).expect("registered once");
    histogram
}

fn counter(name: &str, help: &str) -> IntCounterVec {
    let counter = IntCounterVec::new(Opts::new(name, help), &["topic", "direction"]).expect("a valid metric");
    registry().register(Box::new(counter.clone())).expect("registered once");
    counter
}
