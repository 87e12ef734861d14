//! What Discord's parts count.

use std::sync::LazyLock;

use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use crate::ops::metrics::{counter, counter_vec, gauge, int_gauge, int_gauge_vec};

/// Outcome: sent, edited, retried, uncertain, settled, suppressed, retired, dropped.
pub static POSTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Posts and edits by what became of them, and why.";
    counter_vec("tidings_discord_posts_total", help, &["outcome", "reason"])
});

pub static OUTBOX_DEPTH: LazyLock<IntGaugeVec> =
    LazyLock::new(|| int_gauge_vec("tidings_outbox_depth", "Outbox keys by state.", &["state"]));

pub static OUTBOX_OLDEST: LazyLock<Gauge> = LazyLock::new(|| {
    gauge("tidings_outbox_oldest_seconds", "Age of the oldest post that waits; 0 when none does.")
});

/// Outcome: posted, skipped, amended.
pub static DIGESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Digests decided, and why some are not posted.";
    counter_vec("tidings_digests_total", help, &["outcome", "reason"])
});

pub static ALERTS_UNSHOWN: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Alerts of quiet hours that a digest had no room for and only counted, by route.";
    counter_vec("tidings_digest_alerts_unshown_total", help, &["route"])
});

pub static DIGEST_MEMORY: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    int_gauge_vec("tidings_digest_memory_entries", "What the digester holds in memory, by kind.", &["kind"])
});

pub static DIGEST_FORGOTTEN: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "What left the digester's memory before its time, by kind and reason.";
    counter_vec("tidings_digest_forgotten_total", help, &["kind", "reason"])
});

pub static RATELIMIT_WAIT: LazyLock<Gauge> = LazyLock::new(|| {
    gauge("tidings_discord_ratelimit_wait_seconds", "How long until the next request that waits may be made.")
});

pub static INVALID_REQUESTS: LazyLock<IntCounter> = LazyLock::new(|| {
    let help = "Answers 401, 403 and 429, of which Discord tolerates 10 000 in 10 minutes.";
    counter("tidings_discord_invalid_requests_total", help)
});

pub static LAST_SENT: LazyLock<IntGauge> = LazyLock::new(|| {
    let help = "When Discord last took a post or an edit.";
    int_gauge("tidings_discord_last_sent_timestamp_seconds", help)
});
