//! What Discord's parts count.

use std::sync::LazyLock;

use prometheus::core::Collector;
use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts};

use crate::ops::metrics::registry;

fn register<M: Collector + Clone + 'static>(metric: M) -> M {
    registry().register(Box::new(metric.clone())).expect("a metric is declared once, with a valid name");
    metric
}

fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(IntCounterVec::new(Opts::new(name, help), labels).expect("a valid name"))
}

/// Outcome: sent, edited, suppressed, retired, dropped, uncertain, settled, retried.
pub static POSTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "tidings_discord_posts_total",
        "Posts and edits by what became of them, and why.",
        &["outcome", "reason"],
    )
});

pub static OUTBOX_DEPTH: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let opts = Opts::new("tidings_outbox_depth", "Outbox keys by state.");
    register(IntGaugeVec::new(opts, &["state"]).expect("a valid name"))
});

pub static OUTBOX_OLDEST: LazyLock<Gauge> = LazyLock::new(|| {
    register(
        Gauge::new("tidings_outbox_oldest_seconds", "Age of the oldest post that waits; 0 when none does.")
            .expect("a valid name"),
    )
});

/// Outcome: posted, skipped, amended.
pub static DIGESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("tidings_digests_total", "Digests decided, and why some are not posted.", &["outcome", "reason"])
});

pub static DIGEST_MEMORY: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let opts = Opts::new("tidings_digest_memory_entries", "What the digester holds in memory, by kind.");
    register(IntGaugeVec::new(opts, &["kind"]).expect("a valid name"))
});

pub static DIGEST_FORGOTTEN: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "tidings_digest_forgotten_total",
        "What left the digester's memory before its time, by kind and reason.",
        &["kind", "reason"],
    )
});

pub static RATELIMIT_WAIT: LazyLock<Gauge> = LazyLock::new(|| {
    register(
        Gauge::new(
            "tidings_discord_ratelimit_wait_seconds",
            "How long the next request must wait for a limit.",
        )
        .expect("a valid name"),
    )
});

pub static INVALID_REQUESTS: LazyLock<IntCounter> = LazyLock::new(|| {
    register(
        IntCounter::new(
            "tidings_discord_invalid_requests_total",
            "Answers 401, 403 and 429, of which Discord tolerates 10 000 in 10 minutes.",
        )
        .expect("a valid name"),
    )
});

pub static LAST_SENT: LazyLock<IntGauge> = LazyLock::new(|| {
    register(
        IntGauge::new(
            "tidings_discord_last_sent_timestamp_seconds",
            "When Discord last took a post or an edit.",
        )
        .expect("a valid name"),
    )
});
