//! The log: every record that crosses a stage, with the positions that produced it.
//!
//! One trait, two backends with the same semantics: embedded (one process, the
//! default) and Kafka. `tests/conformance.rs` runs one suite against both.
//!
//! Invariants that every backend keeps:
//! - A transaction is visible whole or not at all, together with its positions.
//! - Readers see committed records only, in offset order within a partition.
//! - Offsets within a partition increase strictly and may have gaps.
//! - Opening a committer fences every earlier holder of the same id: from then
//!   on its commits fail with [`LogError::Fenced`] and change nothing.

pub mod api;
pub mod cluster;
pub mod command;
mod embedded;
mod follow;
mod kafka;
mod metrics;
pub mod partition;
mod patient;
mod settings;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dataflows::record::{Positions, Record, Stored, TopicPartition};

pub use self::follow::keep;
pub use self::metrics::report_lag;
pub use self::patient::commit;
pub use self::settings::{Embedded, Kafka, Password, Settings};

/// Opens the log that the settings name: Kafka if they hold an address, otherwise
/// the embedded one in `data_dir`/log.
pub fn open(settings: &Settings, data_dir: &Path) -> Result<Arc<dyn Log>, LogError> {
    if settings.kafka.bootstrap_servers.is_empty() {
        Ok(Arc::new(embedded::EmbeddedLog::open(settings, &data_dir.join("log"))?))
    } else {
        Ok(Arc::new(kafka::KafkaLog::open(settings)?))
    }
}

/// What `log.record_bytes_max` limits: key, value and headers.
fn record_bytes(record: &Record) -> usize {
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    record.key.len() + record.value.as_ref().map_or(0, Vec::len) + headers
}

/// A topic as it is to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    pub name: &'static str,
    pub partitions: u32,
    /// Keep at least the last record of every key.
    pub compact: bool,
    /// Delete records older than this, in milliseconds; `None` keeps them.
    pub retention_ms: Option<u64>,
}

/// A topic as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    pub name: String,
    /// For each partition the first offset that can be read and the committed
    /// end: the offset after the last record that a reader can see.
    pub ranges: Vec<(u64, u64)>,
}

/// Records and the positions that produced them, committed as one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transaction {
    /// The name under which positions are stored.
    pub group: String,
    pub records: Vec<Record>,
    pub positions: Positions,
}

/// What went wrong, by what the caller should do about it.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Nothing was changed; the same call may succeed later.
    #[error("the log is unavailable: {0}")]
    Retry(String),
    /// Another process took over this committer: stop, and do not retry.
    #[error("committer {0} was taken over by another process")]
    Fenced(String),
    /// The disk is full or nearly so: stop accepting, nothing was changed.
    #[error("the log is full: {0}")]
    Full(String),
    /// The record can never be appended; nothing of its batch was.
    #[error("the log refused a record: {0}")]
    Rejected(String),
    /// Settings and the existing log disagree; a person has to act.
    #[error("{0}")]
    Misconfigured(String),
    /// The outcome is unknown or the state is damaged: exit, and start again from
    /// the last commit.
    #[error("the log failed: {0}")]
    Fatal(String),
}

impl LogError {
    fn other_partition_count(spec: &TopicSpec, existing: u32) -> Self {
        Self::Misconfigured(format!(
            "topic {topic} has {existing} partitions and the settings ask for {asked}: set log.partitions back to \
             {existing}. To repartition, stop Tidings after it has worked off its input, keep what is to be kept with \
             `tidings topics tail content.events --from beginning --json`, start with an empty data folder or another \
             log.topic_prefix, and give the values back with `tidings ingest`",
            topic = spec.name,
            asked = spec.partitions,
        ))
    }

    fn beyond_end(partition: &TopicPartition, position: u64, end: u64) -> Self {
        Self::Misconfigured(format!(
            "position {position} of {partition} is beyond the log's end {end}: the positions and the log do not \
             belong together; restore both from the same time"
        ))
    }

    fn too_large(topic: &str, bytes: usize, bytes_max: usize) -> Self {
        Self::Rejected(format!("a record for {topic} has {bytes} bytes, log.record_bytes_max is {bytes_max}"))
    }
}

pub trait Log: Send + Sync {
    /// Creates what is missing. An existing topic with another partition count is
    /// [`LogError::Misconfigured`].
    fn create(&self, topics: &[TopicSpec]) -> Result<(), LogError>;

    /// Every topic of this deployment (under its prefix), by name.
    fn topics(&self) -> Result<Vec<TopicInfo>, LogError>;

    /// Appends the batch and returns once it is durable, with the place of each
    /// record in the batch's order. On the embedded log the batch is atomic; on
    /// Kafka a batch may be visible in part if this fails with
    /// [`LogError::Retry`] or [`LogError::Fatal`] (consumers of content.events are
    /// idempotent by identity).
    fn append(&self, records: Vec<Record>) -> Result<Vec<(TopicPartition, u64)>, LogError>;

    /// Opens the committer `id`, fencing earlier holders.
    fn committer(&self, id: &str) -> Result<Box<dyn Committer>, LogError>;

    /// The positions last committed under `group`; partitions never committed are absent.
    fn committed(&self, group: &str) -> Result<Positions, LogError>;

    /// A reader of these partitions from these offsets. A position that retention
    /// has passed starts at the first record kept.
    fn reader(&self, from: &Positions) -> Result<Box<dyn Reader>, LogError>;

    /// The offset of the first record at or after `at_ms`, or the committed end.
    fn position_at(&self, partition: &TopicPartition, at_ms: i64) -> Result<u64, LogError>;

    /// Applies retention and compaction as of `now_ms`, where the backend does
    /// not do so by itself.
    fn maintain(&self, now_ms: i64) -> Result<(), LogError>;
}

pub trait Committer: Send {
    /// Commits the records and positions atomically and durably. On Kafka readers see
    /// them, and the committed end passes them, a moment after this returns; before
    /// the next commit of the same committer, or its next holder, returns. After an error
    /// other than [`LogError::Retry`] the committer must be dropped.
    fn commit(&mut self, transaction: &Transaction) -> Result<(), LogError>;
}

pub trait Reader: Send {
    /// Committed records of the assigned partitions, in order within each, about
    /// `max_bytes` at most. Waits up to `timeout` when there is none yet.
    fn poll(&mut self, timeout: Duration, max_bytes: usize) -> Result<Vec<Stored>, LogError>;

    /// For each partition the offset of the next record it would return. At the
    /// committed end this equals the end even after control records.
    fn positions(&self) -> Positions;
}
