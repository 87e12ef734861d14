//! The log on Apache Kafka: several processes, other consumers, a cluster.
//!
//! Consumes and produces what the embedded log does, with the same meaning:
//! transactions carry the positions, readers are `read_committed`, partitions are
//! chosen by our murmur2 and assigned by hand. Names of topics, groups and
//! transactional ids carry the deployment's prefix.
//!
//! Appends are acknowledged by all replicas in sync, and outside of transactions: if
//! a batch fails, part of it may be visible.

mod append;
mod client;
mod commit;
mod reader;
mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;

use dataflows::record::{Positions, Record, TopicPartition};
use parking_lot::Mutex;
use rdkafka::Offset;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use rdkafka::util::IntoOpaque;

use self::append::Appender;
use self::commit::KafkaCommitter;
use self::reader::KafkaReader;
use self::topics::Topics;
use super::{Committer, Log, LogError, Reader, Settings, TopicInfo, TopicSpec, metrics, record_bytes};
use crate::ops::failpoint;

pub(crate) struct KafkaLog {
    topics: Arc<Topics>,
    /// Opened by the first append: many users of the log never append.
    appender: Mutex<Option<Arc<Appender>>>,
}

impl KafkaLog {
    /// Connects when it is first asked something.
    pub fn open(settings: &Settings) -> Result<Self, LogError> {
        client::check(settings)?;
        Ok(Self { topics: Arc::new(Topics::open(settings)?), appender: Mutex::new(None) })
    }

    fn appender(&self) -> Result<Arc<Appender>, LogError> {
        let mut appender = self.appender.lock();
        if let Some(appender) = &*appender {
            return Ok(appender.clone());
        }
        let opened = Arc::new(Appender::open(&self.topics)?);
        *appender = Some(opened.clone());
        Ok(opened)
    }
}

impl Log for KafkaLog {
    fn create(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        self.topics.create(topics)
    }

    fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
        self.topics.list()
    }

    fn append(&self, records: Vec<Record>) -> Result<Vec<(TopicPartition, u64)>, LogError> {
        let _timer = metrics::APPEND_SECONDS.start_timer();
        let places = self.appender()?.append(&self.topics, &records)?;
        failpoint::pass("append.done", "");
        count_written(&records);
        Ok(places)
    }

    fn committer(&self, id: &str) -> Result<Box<dyn Committer>, LogError> {
        Ok(Box::new(KafkaCommitter::open(self.topics.clone(), id)?))
    }

    fn committed(&self, group: &str) -> Result<Positions, LogError> {
        self.topics.committed(group)
    }

    fn reader(&self, from: &Positions) -> Result<Box<dyn Reader>, LogError> {
        Ok(Box::new(KafkaReader::open(self.topics.clone(), from)?))
    }

    fn position_at(&self, partition: &TopicPartition, at_ms: i64) -> Result<u64, LogError> {
        // Negative times are names of the beginning and the end to the brokers.
        let at = Offset::Offset(at_ms.max(0));
        let found = self.topics.offsets(std::slice::from_ref(partition), at)?;
        found
            .get(partition)
            .copied()
            .ok_or_else(|| LogError::Rejected(format!("there is no partition {partition}")))
    }

    /// The brokers do it.
    fn maintain(&self, _now_ms: i64) -> Result<(), LogError> {
        Ok(())
    }
}

/// Fills in what a record says; an empty key is no key.
fn record_of<'a, D: IntoOpaque>(
    message: BaseRecord<'a, [u8], [u8], D>,
    record: &'a Record,
) -> BaseRecord<'a, [u8], [u8], D> {
    let mut message = message.timestamp(record.timestamp_ms);
    if !record.key.is_empty() {
        message = message.key(&record.key);
    }
    match &record.value {
        Some(value) => message.payload(value),
        None => message,
    }
}

fn headers(record: &Record) -> OwnedHeaders {
    record
        .headers
        .iter()
        .fold(OwnedHeaders::new_with_capacity(record.headers.len()), |headers, (name, value)| {
            headers.insert(Header { key: name, value: Some(value) })
        })
}

fn count_written(records: &[Record]) {
    let mut written: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for record in records {
        let (count, bytes) = written.entry(&record.topic).or_default();
        *count += 1;
        *bytes += record_bytes(record);
    }
    for (topic, (count, bytes)) in written {
        metrics::count(topic, metrics::IN, count, bytes);
    }
}
