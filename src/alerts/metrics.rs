//! What alerts count.

use std::sync::LazyLock;

use prometheus::{IntCounterVec, IntGaugeVec};

use crate::ops::metrics::{counter_vec, int_gauge_vec};

/// Outcome: opened, queued, developed, corrected, resolved.
pub static ALERTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Alerts by rule and what became of them.";
    counter_vec("tidings_alerts_total", help, &["rule", "outcome"])
});

/// Reason: cooldown, live_cap, subjects_cap, rate.
pub static SUPPRESSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Alerts that were not posted, by rule and reason; subjects_cap and rate at every look.";
    counter_vec("tidings_alerts_suppressed_total", help, &["rule", "reason"])
});

pub static LIVE: LazyLock<IntGaugeVec> =
    LazyLock::new(|| int_gauge_vec("tidings_alerts_live", "Alerts that are firing, by rule.", &["rule"]));

pub static MEMORY: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    int_gauge_vec("tidings_alert_memory_entries", "What alerts hold in memory, by kind.", &["kind"])
});

pub static FORGOTTEN: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "What left the memory of alerts before its time, by kind.";
    counter_vec("tidings_alert_forgotten_total", help, &["kind"])
});

/// Reason: catch_up.
pub static SKIPPED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Seconds of the pipeline clock for which no alerts were decided, by reason.";
    counter_vec("tidings_alerts_skipped_seconds_total", help, &["reason"])
});
