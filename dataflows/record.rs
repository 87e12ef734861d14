//! What the log holds: records to append, and records as they are read back.
//!
//! A record names its topic without the deployment's prefix; the log adds it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The topics of Tidings, without their prefix, in the order the data travels.
pub mod topic {
    /// What pollers and producers say happened, as they said it. Key: content id.
    pub const EVENTS: &str = "content.events";
    /// Understood content: text, language, sentiment, topics, version, `previous`. Key: content id.
    pub const ENRICHED: &str = "content.enriched";
    /// Embedded chunks of content. Key: content id + chunk.
    pub const VECTORS: &str = "content.vectors";
    /// Current value of every cell of volume and mood. Key: cell.
    pub const VOLUME: &str = "results.volume";
    /// Digests as they were decided. Key: route + window.
    pub const DIGESTS: &str = "digests";
    /// Messages to send to, or edit on, Discord. Key: outbox key.
    pub const OUTBOX: &str = "discord.outbox";
    /// What Discord answered. Key: outbox key.
    pub const SENT: &str = "discord.sent";
    /// Input that no stage could process, with the stage and the reason. Key: origin topic+partition+position.
    pub const DEAD_LETTERS: &str = "dead.letters";
    /// Ticks of the pipeline clock while nothing is ingested.
    pub const CLOCK: &str = "control.clock";
    /// Committers ever used and heartbeats of the live set.
    pub const CLUSTER: &str = "control.cluster";
}

/// One partition of one topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: u32,
}

impl TopicPartition {
    pub fn new(topic: impl Into<Arc<str>>, partition: u32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// For each partition the offset of the next record to read.
pub type Positions = BTreeMap<TopicPartition, u64>;

/// A record to append.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub topic: Arc<str>,
    /// `None`: by the key (murmur2, as Kafka's Java client does it).
    pub partition: Option<u32>,
    pub key: Vec<u8>,
    /// `None` is a tombstone: compaction removes the key.
    pub value: Option<Vec<u8>>,
    /// Milliseconds since the epoch, stamped by the writer. The pipeline clock of
    /// content.events; never the time of publication.
    pub timestamp_ms: i64,
    pub headers: Vec<(String, Vec<u8>)>,
}

/// A committed record as it is read from the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    pub topic: Arc<str>,
    pub partition: u32,
    /// Strictly increasing within a partition, with gaps.
    pub offset: u64,
    pub timestamp_ms: i64,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Stored {
    /// Bytes that the record occupies in memory, near enough for a budget.
    pub fn bytes(&self) -> usize {
        const FIXED: usize = 128;
        let headers: usize = self.headers.iter().map(|(k, v)| k.len() + v.len() + 48).sum();
        FIXED + self.key.len() + self.value.as_ref().map_or(0, Vec::len) + headers
    }
}
