//! The knobs of `[poll]`; config/default.toml has unit, default and reason of each.

use serde::Deserialize;

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
    pub published_ahead_max_s: u64,
}

impl Settings {
    /// What cannot work, each with its reason.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut require = |holds: bool, text: &str| {
            if !holds {
                faults.push(format!("[poll] {text}"));
            }
        };
        require(self.interval_s >= super::source::INTERVAL_MIN_S, "interval_s must be at least 60");
        require((0.0..=1.0).contains(&self.jitter_ratio), "jitter_ratio must be between 0 and 1");
        require(self.backoff_min_s >= 1, "backoff_min_s must be at least 1");
        require(self.backoff_max_s >= self.backoff_min_s, "backoff_max_s must be at least backoff_min_s");
        require(
            self.retry_after_max_s >= self.backoff_min_s,
            "retry_after_max_s must be at least backoff_min_s",
        );
        require(self.in_flight_max >= 1, "in_flight_max must be at least 1");
        require(self.host_requests_per_minute >= 1, "host_requests_per_minute must be at least 1");
        require(self.append_records_max >= 1, "append_records_max must be at least 1");
        require(self.append_retry_ms >= 1, "append_retry_ms must be at least 1");
        require(
            self.contact.is_ascii() && !self.contact.contains(['\r', '\n']),
            "contact must be one line of ASCII",
        );
        faults
    }
}
