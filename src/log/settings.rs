//! The knobs of the log; their defaults and reasons are in config/default.toml.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

/// Table `[log]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub topic_prefix: String,
    pub partitions: u32,
    pub record_bytes_max: usize,
    pub segment_s: u64,
    pub compaction_lag_min_s: u64,
    pub compaction_lag_max_s: u64,
    pub compaction_dirty_ratio: f64,
    pub tombstone_grace_s: u64,
    pub heartbeat_interval_s: u64,
    pub heartbeat_timeout_s: u64,
    pub embedded: Embedded,
    pub kafka: Kafka,
}

/// Table `[log.embedded]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedded {
    pub synced: bool,
    pub disk_free_min_percent: f64,
    pub bytes_max: u64,
    pub batch_bytes_max: usize,
    pub queue_batches_max: usize,
    pub cache_bytes: u64,
    pub memtable_bytes_max: u64,
    pub journal_bytes_max: u64,
    pub background_threads: usize,
    pub compaction_keys_max: usize,
}

/// Table `[log.kafka]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    pub bootstrap_servers: String,
    pub security_protocol: String,
    pub sasl_mechanism: String,
    pub sasl_username: String,
    pub sasl_password: Password,
    pub ssl_ca_location: String,
    pub replication_factor: i32,
    pub request_timeout_ms: u64,
    pub transaction_timeout_ms: u64,
    pub linger_ms: u64,
    pub compression: String,
    pub send_buffer_kbytes: u64,
    pub receive_buffer_kbytes: u64,
    pub fetch_backoff_ms: u64,
    /// Masked as a whole: some of librdkafka's properties are secrets.
    pub properties: BTreeMap<String, Password>,
}

/// A secret that no debug output shows.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "unset" } else { "***" })
    }
}

/// The defaults as shipped.
#[cfg(test)]
pub(crate) fn shipped() -> Settings {
    #[derive(Deserialize)]
    struct File {
        log: Settings,
    }
    let file: File = toml::from_str(include_str!("../../config/default.toml"))
        .expect("config/default.toml holds every knob of the log");
    file.log
}
