//! The knobs of `[poll]`; config/default.toml has unit, default and reason of each.

use serde::Deserialize;

use super::source::{INTERVAL_MIN_S, Kind, Source};
use crate::config::Rollout;

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub interval_s: u64,
    pub jitter_ratio: f64,
    pub start_spread_s: u64,
    pub wish_max_s: u64,
    pub backoff_min_s: u64,
    pub backoff_max_s: u64,
    pub retry_after_max_s: u64,
    pub gone_recheck_s: u64,
    pub in_flight_max: usize,
    pub host_requests_per_minute: u32,
    pub body_bytes_max: usize,
    pub redirects_max: u32,
    pub connect_timeout_ms: u64,
    pub read_timeout_ms: u64,
    pub total_timeout_ms: u64,
    pub allow_private_addresses: bool,
    pub private_hosts: Vec<String>,
    pub contact: String,
    pub append_records_max: usize,
    pub append_bytes_max: usize,
    pub append_retry_ms: u64,
    pub seen_max: usize,
    pub seen_absent_s: u64,
    pub seen_absent_ids_s: u64,
    pub engagement_step_ratio: f64,
    pub published_ahead_max_s: u64,
    pub silence_factor: f64,
    pub silence_min_s: u64,
    pub item_requests_max: usize,
    pub item_requests_at_once: usize,
    pub pages_max: usize,
    pub reload_interval_s: u64,
    pub discover_fetches_max: usize,
    pub stream: super::stream::Settings,
    pub endpoints: Endpoints,
    /// Which videos of YouTube are taken in, by content id (`[features]
    /// youtube_integration`, set by whoever starts polling); `None`: all.
    #[serde(skip)]
    pub youtube: Option<Rollout>,
}

impl Settings {
    /// Whether the source is asked at all.
    pub fn follows(&self, source: &Source) -> bool {
        source.kind != Kind::Youtube || !self.youtube.is_some_and(|share| share.is_off())
    }
}

/// Where `sources add` asks about handles.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoints {
    pub youtube: String,
    pub bluesky: String,
    pub mastodon: String,
}

impl Settings {
    /// What cannot work: the knob, and what it must be.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let one_line = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        let rules = [
            ("interval_s", self.interval_s >= INTERVAL_MIN_S, "must be at least 60"),
            ("jitter_ratio", (0.0..=1.0).contains(&self.jitter_ratio), "must be between 0 and 1"),
            ("backoff_min_s", self.backoff_min_s >= 1, "must be at least 1"),
            (
                "backoff_max_s",
                self.backoff_max_s >= self.backoff_min_s,
                "must not be below poll.backoff_min_s",
            ),
            (
                "retry_after_max_s",
                self.retry_after_max_s >= self.backoff_min_s,
                "must not be below poll.backoff_min_s",
            ),
            ("in_flight_max", self.in_flight_max >= 1, "must be at least 1"),
            ("host_requests_per_minute", self.host_requests_per_minute >= 1, "must be at least 1"),
            ("append_records_max", self.append_records_max >= 1, "must be at least 1"),
            (
                "engagement_step_ratio",
                self.engagement_step_ratio > 0.0 && self.engagement_step_ratio <= 10.0,
                "must be above 0 and at most 10",
            ),
            ("silence_factor", self.silence_factor >= 1.0, "must be at least 1"),
            ("item_requests_max", self.item_requests_max >= 1, "must be at least 1"),
            ("item_requests_at_once", self.item_requests_at_once >= 1, "must be at least 1"),
            ("pages_max", self.pages_max >= 1, "must be at least 1"),
            ("reload_interval_s", self.reload_interval_s >= 1, "must be at least 1"),
            ("stream.buffer_messages_max", self.stream.buffer_messages_max >= 1, "must be at least 1"),
            ("append_retry_ms", self.append_retry_ms >= 1, "must be at least 1"),
            ("contact", one_line(&self.contact), "must be one line of ASCII"),
        ];
        let broken = rules.into_iter().filter(|(_, holds, _)| !holds);
        broken.map(|(knob, _, must)| (knob, must.to_string())).collect()
    }
}
