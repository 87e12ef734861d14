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
    /// Current value of every story. Key: story id.
    pub const STORIES: &str = "results.stories";
    /// Bursts of topics and terms. Key: kind, name, start.
    pub const TRENDS: &str = "results.trends";
    /// Alerts as they were decided. Key: rule + subject + opening.
    pub const ALERTS: &str = "alerts";
    /// How far alerts were decided.
    pub const ALERTS_STATE: &str = "state.alerts";
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

/// Headers of a record, in their order. They lie in one buffer, because every record
/// has some and most are only passed on: each name and value with its length before it,
/// four bytes little-endian.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headers {
    count: u32,
    encoded: Vec<u8>,
}

impl Headers {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, name: &str, value: &[u8]) {
        self.count += 1;
        for part in [name.as_bytes(), value] {
            self.encoded.extend_from_slice(&(part.len() as u32).to_le_bytes());
            self.encoded.extend_from_slice(part);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut rest = self.encoded.as_slice();
        std::iter::from_fn(move || next_header(&mut rest))
    }

    /// The value of the first header of this name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    pub fn len(&self) -> usize {
        self.count as usize
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The buffer; [`Self::decode`] reads it.
    pub fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// Takes `count` headers off the front of `bytes`; `None` if they are damaged.
    pub fn decode(count: u32, bytes: &mut &[u8]) -> Option<Self> {
        let mut rest = *bytes;
        for _ in 0..count {
            next_header(&mut rest)?;
        }
        let encoded = bytes[..bytes.len() - rest.len()].to_vec();
        *bytes = rest;
        Some(Self { count, encoded })
    }
}

fn next_header<'a>(rest: &mut &'a [u8]) -> Option<(&'a str, &'a [u8])> {
    let mut part = || {
        let (length, after) = rest.split_first_chunk()?;
        let (part, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        *rest = after;
        Some(part)
    };
    let (name, value) = (part()?, part()?);
    Some((std::str::from_utf8(name).ok()?, value))
}

impl<N: AsRef<str>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(headers: I) -> Self {
        let mut all = Self::default();
        headers.into_iter().for_each(|(name, value)| all.push(name.as_ref(), value.as_ref()));
        all
    }
}

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |(name, value)| (name, String::from_utf8_lossy(value).into_owned());
        f.debug_map().entries(self.iter().map(text)).finish()
    }
}

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
    pub headers: Headers,
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
    pub headers: Headers,
}

impl Stored {
    /// Bytes that the record occupies in memory, near enough for a budget.
    pub fn bytes(&self) -> usize {
        const FIXED: usize = 128;
        FIXED + self.key.len() + self.value.as_ref().map_or(0, Vec::len) + self.headers.encoded().len()
    }
}
