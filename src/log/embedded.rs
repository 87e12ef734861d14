//! The embedded log: one process, one folder, no server. The default.
//!
//! Consumes batches of records from any thread and produces the same records to
//! readers. One writer (`embedded/writer.rs`) gives offsets and commits waiting
//! batches together with one sync; a reader takes committed records straight from
//! the store. Everything is in one fjall database, which is atomic over all of it
//! and survives `kill -9`.
//!
//! Times: records carry their writer's time and are only roughly in order;
//! `position_at` finds the first record that is not older, as Kafka does.
//!
//! The folder stays locked until the log, its committers and its readers are all
//! dropped.

mod disk;
mod format;
mod reader;
mod retain;
mod store;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dataflows::record::{Positions, Record, TopicPartition};

use self::reader::EmbeddedReader;
use self::store::{Store, storage};
use self::writer::{Answer, Holder, Places, Prepared, Work, Writer};
use super::{
    Committer, Log, LogError, Reader, Settings, TopicInfo, TopicSpec, Transaction, metrics, partition,
    record_bytes,
};
use crate::ops::failpoint;

pub(crate) struct EmbeddedLog {
    shared: Shared,
}

#[derive(Clone)]
struct Shared {
    store: Arc<Store>,
    writer: Arc<Writer>,
}

impl EmbeddedLog {
    pub fn open(settings: &Settings, folder: &Path) -> Result<Self, LogError> {
        let store = Arc::new(Store::open(settings, folder)?);
        let writer = Arc::new(Writer::start(store.clone(), folder)?);
        Ok(Self { shared: Shared { store, writer } })
    }
}

impl Log for EmbeddedLog {
    fn create(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        topics.iter().try_for_each(|spec| self.shared.store.create(spec))
    }

    fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
        let topics: Vec<_> = self.shared.store.topics.read().values().cloned().collect();
        let info = |topic: Arc<store::Topic>| {
            let ranges = topic.partitions.iter().map(|p| {
                let end = p.end.load(Ordering::Acquire);
                Ok((p.first_record()?.min(end), end))
            });
            Ok(TopicInfo { name: topic.name.to_string(), ranges: ranges.collect::<Result<_, LogError>>()? })
        };
        topics.into_iter().map(info).collect()
    }

    fn append(&self, records: Vec<Record>) -> Result<Vec<(TopicPartition, u64)>, LogError> {
        let _timer = metrics::APPEND_SECONDS.start_timer();
        let places = self.shared.write(&records, &Positions::new(), "", None)?;
        failpoint::pass("append.done", "");
        Ok(places)
    }

    fn committer(&self, id: &str) -> Result<Box<dyn Committer>, LogError> {
        match self.shared.writer.submit(Work::Claim { id: id.to_string() })? {
            Answer::Claimed(epoch) => {
                let holder = Holder { id: id.to_string(), epoch };
                Ok(Box::new(EmbeddedCommitter { shared: self.shared.clone(), holder }))
            }
            Answer::Written(_) => unreachable!("a claim is answered by an epoch"),
        }
    }

    fn committed(&self, group: &str) -> Result<Positions, LogError> {
        let prefix = format::group_prefix(group);
        let mut positions = Positions::new();
        for entry in self.shared.store.positions.prefix(&prefix) {
            let (key, value) = entry.into_inner().map_err(storage)?;
            format::read_position(&mut positions, &key[prefix.len()..], &value)?;
        }
        Ok(positions)
    }

    fn reader(&self, from: &Positions) -> Result<Box<dyn Reader>, LogError> {
        Ok(Box::new(EmbeddedReader::new(self.shared.store.clone(), from)?))
    }

    fn position_at(&self, partition: &TopicPartition, at_ms: i64) -> Result<u64, LogError> {
        self.shared.store.position_at(partition, at_ms)
    }

    fn maintain(&self, now_ms: i64) -> Result<(), LogError> {
        retain::maintain(&self.shared.store, now_ms)
    }
}

struct EmbeddedCommitter {
    shared: Shared,
    holder: Holder,
}

impl Committer for EmbeddedCommitter {
    fn commit(&mut self, transaction: &Transaction) -> Result<(), LogError> {
        let _timer = metrics::COMMIT_SECONDS.start_timer();
        let Transaction { group, records, positions } = transaction;
        failpoint::pass("commit.produced", &self.holder.id);
        self.shared.write(records, positions, group, Some(self.holder.clone()))?;
        failpoint::pass("commit.done", &self.holder.id);
        Ok(())
    }
}

impl Shared {
    fn write(
        &self,
        records: &[Record],
        positions: &Positions,
        group: &str,
        holder: Option<Holder>,
    ) -> Result<Places, LogError> {
        if records.is_empty() && positions.is_empty() && holder.is_none() {
            return Ok(Vec::new());
        }
        let mut written: BTreeMap<Arc<str>, (usize, usize)> = BTreeMap::new();
        let mut prepared = Vec::with_capacity(records.len());
        for record in records {
            let ready = self.prepare(record)?;
            let (count, bytes) = written.entry(ready.topic.name.clone()).or_default();
            *count += 1;
            *bytes += ready.bytes.len();
            prepared.push(ready);
        }
        let positions = self.position_entries(group, positions)?;
        match self.writer.submit(Work::Write { records: prepared, positions, holder })? {
            Answer::Written(places) => {
                for (topic, (records, bytes)) in written {
                    metrics::count(&topic, metrics::IN, records, bytes);
                }
                Ok(places)
            }
            Answer::Claimed(_) => unreachable!("a write is answered by places"),
        }
    }

    fn prepare(&self, record: &Record) -> Result<Prepared, LogError> {
        let topic = self
            .store
            .topic(&record.topic)
            .ok_or_else(|| LogError::Rejected(format!("there is no topic {}", record.topic)))?;
        let compact = topic.meta.read().compact;
        let partition = partition::of_record(record, topic.partitions.len() as u32, compact, &topic.turn)?;
        let (bytes, bytes_max) = (record_bytes(record), self.store.settings.record_bytes_max);
        if bytes > bytes_max {
            return Err(LogError::too_large(&record.topic, bytes, bytes_max));
        }
        Ok(Prepared { topic, partition, timestamp_ms: record.timestamp_ms, bytes: format::encode(record) })
    }

    fn position_entries(&self, group: &str, positions: &Positions) -> Result<Vec<(Vec<u8>, u64)>, LogError> {
        if !positions.is_empty() && (group.is_empty() || group.contains('\0')) {
            return Err(LogError::Rejected(format!("{group:?} is not a name for a group of positions")));
        }
        let entry = |(partition, offset): (&TopicPartition, &u64)| {
            self.store.topic_of(partition)?;
            Ok((format::position_key(group, partition), *offset))
        };
        positions.iter().map(entry).collect()
    }
}
