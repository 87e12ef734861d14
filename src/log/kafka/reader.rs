//! Reads committed records of some partitions.
//!
//! One consumer with one queue, by `assign()` at explicit offsets: no group, no
//! rebalancing. Partitions are not split into queues of their own: a caller takes
//! records of all its partitions by bytes, and with one queue the prefetch limit
//! (`receive_buffer_kbytes`) holds for the reader as a whole, not for each partition.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataflows::record::{Positions, Stored, TopicPartition};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::client::{self, classify};
use super::topics::Topics;
use crate::log::{LogError, Reader, metrics};

/// The group of a reader; it never commits, so all share one name.
const READING_GROUP: &str = "read";

/// Reaching the end of a partition is asked for, and no error to log.
struct Reading;

impl ClientContext for Reading {
    fn error(&self, error: KafkaError, reason: &str) {
        match error {
            KafkaError::Global(RDKafkaErrorCode::PartitionEOF) => {}
            error => tracing::warn!(%error, reason, "the connection to Kafka reports an error"),
        }
    }
}

impl ConsumerContext for Reading {}

pub(super) struct KafkaReader {
    topics: Arc<Topics>,
    consumer: BaseConsumer<Reading>,
    next: Positions,
    /// Our name of each topic by the brokers' name.
    names: HashMap<String, Arc<str>>,
}

impl KafkaReader {
    pub fn open(topics: Arc<Topics>, from: &Positions) -> Result<Self, LogError> {
        let attempt = "opening a reader";
        let partitions: Vec<TopicPartition> = from.keys().cloned().collect();
        let mut names = HashMap::new();
        for partition in &partitions {
            let topic = topics.topic(&partition.topic)?;
            if partition.partition >= topic.partitions {
                return Err(LogError::Rejected(format!("there is no partition {partition}")));
            }
            names.insert(topic.full_name.clone(), partition.topic.clone());
        }
        let first = topics.offsets(&partitions, Offset::Beginning)?;
        let ends = topics.offsets(&partitions, Offset::End)?;
        let mut next = Positions::new();
        let mut assignment = TopicPartitionList::with_capacity(from.len());
        for (partition, position) in from {
            if *position > ends[partition] {
                return Err(LogError::beyond_end(partition, *position, ends[partition]));
            }
            let start = (*position).max(first[partition]);
            next.insert(partition.clone(), start);
            let (name, offset) = (topics.full_name(&partition.topic), Offset::Offset(start as i64));
            assignment
                .add_partition_offset(&name, partition.partition as i32, offset)
                .map_err(|e| classify(attempt, &e))?;
        }
        let consumer: BaseConsumer<Reading> = client::consumer(&topics.settings, READING_GROUP)
            .create_with_context(Reading)
            .map_err(|e| classify(attempt, &e))?;
        consumer.assign(&assignment).map_err(|e| classify(attempt, &e))?;
        Ok(Self { topics, consumer, next, names })
    }

    /// Control records and aborted ones move the client's position and not ours.
    fn follow_client(&mut self) -> Result<bool, LogError> {
        let positions = self.consumer.position().map_err(|e| classify("asking for positions", &e))?;
        let mut moved = false;
        for element in positions.elements() {
            let Some(name) = self.names.get(element.topic()) else { continue };
            let partition = TopicPartition::new(name.clone(), element.partition().max(0) as u32);
            if let (Offset::Offset(offset), Some(next)) = (element.offset(), self.next.get_mut(&partition))
                && offset.max(0) as u64 > *next
            {
                *next = offset as u64;
                moved = true;
            }
        }
        Ok(moved)
    }

    /// At the end of a partition: retention may have passed everything up to it, and
    /// then there is no record to move the position.
    fn skip_removed(&mut self, partition: i32) -> Result<(), LogError> {
        let here: Vec<_> = self.next.keys().filter(|p| p.partition as i32 == partition).cloned().collect();
        for (partition, first) in self.topics.offsets(&here, Offset::Beginning)? {
            let next = self.next.entry(partition).or_default();
            *next = (*next).max(first);
        }
        Ok(())
    }
}

impl Reader for KafkaReader {
    fn poll(&mut self, timeout: Duration, max_bytes: usize) -> Result<Vec<Stored>, LogError> {
        let deadline = Instant::now() + timeout;
        let (mut records, mut bytes, mut reached) = (Vec::new(), 0, None);
        while bytes < max_bytes {
            let wait = if records.is_empty() {
                deadline.saturating_duration_since(Instant::now())
            } else {
                Duration::ZERO
            };
            match self.consumer.poll(wait) {
                Some(Ok(message)) => {
                    let stored = stored(&self.names, &message);
                    bytes += stored.bytes();
                    let at = TopicPartition::new(stored.topic.clone(), stored.partition);
                    self.next.insert(at, stored.offset + 1);
                    records.push(stored);
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => reached = Some(partition),
                // The client goes on by itself once the brokers are back.
                Some(Err(error)) => match classify("reading", &error) {
                    LogError::Retry(why) => tracing::warn!(why, "reading was disturbed"),
                    error => return Err(error),
                },
                None if records.is_empty() && Instant::now() < deadline => {}
                None => break,
            }
            if records.is_empty()
                && let Some(partition) = reached.take()
            {
                self.skip_removed(partition)?;
                if self.follow_client()? {
                    break;
                }
            }
        }
        self.follow_client()?;
        count_read(&records);
        Ok(records)
    }

    fn positions(&self) -> Positions {
        self.next.clone()
    }
}

fn stored(names: &HashMap<String, Arc<str>>, message: &rdkafka::message::BorrowedMessage<'_>) -> Stored {
    let headers = message
        .headers()
        .map(|headers| headers.iter().map(|h| (h.key, h.value.unwrap_or_default())).collect());
    Stored {
        topic: names.get(message.topic()).cloned().unwrap_or_else(|| message.topic().into()),
        partition: message.partition().max(0) as u32,
        offset: message.offset().max(0) as u64,
        timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
        key: message.key().unwrap_or_default().to_vec(),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.unwrap_or_default(),
    }
}

fn count_read(records: &[Stored]) {
    let mut read: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for record in records {
        let (count, bytes) = read.entry(&record.topic).or_default();
        *count += 1;
        *bytes += record.key.len() + record.value.as_ref().map_or(0, Vec::len);
    }
    for (topic, (count, bytes)) in read {
        metrics::count(topic, metrics::OUT, count, bytes);
    }
}
