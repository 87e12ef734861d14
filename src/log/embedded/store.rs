//! The open store: topics, partitions and what is known of each in memory.
//!
//! Invariants: a partition's `end` is raised only after the records before it are
//! committed, and only by the writer; `first` only by [`super::retain`]. Offsets
//! are never given twice, not even after the last record was removed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use dataflows::record::TopicPartition;
use fjall::config::{BlockSizePolicy, CompressionPolicy, FilterPolicy};
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use parking_lot::{Condvar, Mutex, RwLock};

use super::format::{self, Bounds, FORMAT, FORMAT_KEY, TopicMeta, damaged};
use crate::log::{LogError, Settings, TopicSpec};

/// One entry of the time index for this many records.
pub(super) const TIME_INDEX_RECORDS: u64 = 1024;

/// Records are read in sequence, never singly: large blocks compress better and
/// cost less to find.
const BLOCK_BYTES: u32 = 32 * 1024;

pub(super) struct Store {
    pub db: Database,
    pub meta: Keyspace,
    pub positions: Keyspace,
    pub times: Keyspace,
    pub topics: RwLock<BTreeMap<Arc<str>, Arc<Topic>>>,
    pub arrivals: Arrivals,
    pub settings: Settings,
    /// Serializes creation of topics, and maintenance, with themselves.
    pub administration: Mutex<()>,
}

pub(super) struct Topic {
    pub name: Arc<str>,
    pub meta: RwLock<TopicMeta>,
    pub id: u32,
    pub partitions: Vec<Partition>,
    /// Spreads the records without a key.
    pub turn: AtomicU32,
}

pub(super) struct Partition {
    pub records: Keyspace,
    /// The first offset that may be read.
    pub first: AtomicU64,
    /// The committed end.
    pub end: AtomicU64,
    /// What the writer knows of the end; locked by it alone after opening.
    pub tail: Mutex<Tail>,
    pub bounds: Mutex<Bounds>,
    pub maintained: Mutex<Maintained>,
}

/// When a partition's files were last worked on, by the time given to maintenance.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Maintained {
    pub dropped_ms: Option<i64>,
    pub compacted_ms: Option<i64>,
}

/// The running maximum of timestamps and the records since the last index entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    pub end: u64,
    pub latest_ms: i64,
    pub unindexed: u64,
}

/// fjall refuses less.
const JOURNAL_BYTES_MIN: u64 = 64 << 20;

impl Store {
    pub fn open(settings: &Settings, folder: &Path) -> Result<Self, LogError> {
        let knobs = &settings.embedded;
        std::fs::create_dir_all(folder).map_err(|e| {
            LogError::Misconfigured(format!("cannot create the log's folder {}: {e}", folder.display()))
        })?;
        if knobs.journal_bytes_max < JOURNAL_BYTES_MIN {
            return Err(LogError::Misconfigured(format!(
                "log.embedded.journal_bytes_max is {}, the least is {JOURNAL_BYTES_MIN}",
                knobs.journal_bytes_max
            )));
        }
        let db = Database::builder(folder)
            .cache_size(knobs.cache_bytes)
            .max_journaling_size(knobs.journal_bytes_max)
            .worker_threads(knobs.background_threads.max(1))
            .manual_journal_persist(true)
            .open()
            .map_err(|e| open_error(folder, e))?;
        let small = || KeyspaceCreateOptions::default().max_memtable_size(4 << 20);
        let meta = db.keyspace("meta", small).map_err(storage)?;
        check_format(&db, &meta, folder)?;
        let store = Self {
            positions: db.keyspace("positions", small).map_err(storage)?,
            times: db.keyspace("times", small).map_err(storage)?,
            db,
            meta,
            topics: RwLock::default(),
            arrivals: Arrivals::default(),
            settings: settings.clone(),
            administration: Mutex::new(()),
        };
        store.recover()?;
        Ok(store)
    }

    fn recover(&self) -> Result<(), LogError> {
        for entry in self.meta.prefix(format::TOPIC_PREFIX) {
            let (key, value) = entry.into_inner().map_err(storage)?;
            let name = std::str::from_utf8(&key[format::TOPIC_PREFIX.len()..])
                .map_err(|_| damaged("a topic's name"))?;
            let meta: TopicMeta = postcard::from_bytes(&value).map_err(|_| damaged("a topic"))?;
            let topic = self.open_topic(name.into(), meta)?;
            self.topics.write().insert(topic.name.clone(), Arc::new(topic));
        }
        Ok(())
    }

    pub fn create(&self, spec: &TopicSpec) -> Result<(), LogError> {
        let _serial = self.administration.lock();
        if spec.partitions == 0 {
            return Err(LogError::Misconfigured(format!("topic {} needs a partition at least", spec.name)));
        }
        let existing = self.topics.read().get(spec.name).cloned();
        if let Some(topic) = existing {
            return self.adjust(&topic, spec);
        }
        let id = self.topics.read().values().map(|t| t.id + 1).max().unwrap_or(0);
        let meta = TopicMeta {
            id,
            partitions: spec.partitions,
            compact: spec.compact,
            retention_ms: spec.retention_ms,
        };
        // The keyspaces first: a crash in between leaves empty ones that nobody names.
        let topic = self.open_topic(spec.name.into(), meta.clone())?;
        self.put_meta(format::topic_key(spec.name), &meta)?;
        self.topics.write().insert(topic.name.clone(), Arc::new(topic));
        Ok(())
    }

    fn adjust(&self, topic: &Topic, spec: &TopicSpec) -> Result<(), LogError> {
        let mut meta = topic.meta.write();
        if meta.partitions != spec.partitions {
            return Err(LogError::other_partition_count(spec, meta.partitions));
        }
        if meta.compact != spec.compact || meta.retention_ms != spec.retention_ms {
            let changed =
                TopicMeta { compact: spec.compact, retention_ms: spec.retention_ms, ..meta.clone() };
            self.put_meta(format::topic_key(spec.name), &changed)?;
            *meta = changed;
        }
        Ok(())
    }

    fn put_meta<T: serde::Serialize>(&self, key: Vec<u8>, value: &T) -> Result<(), LogError> {
        let bytes = postcard::to_stdvec(value).expect("plain data serializes");
        let mut batch = self.db.batch().durability(Some(self.durability()));
        batch.insert(&self.meta, key, bytes);
        batch.commit().map_err(storage)
    }

    fn open_topic(&self, name: Arc<str>, meta: TopicMeta) -> Result<Topic, LogError> {
        let partitions =
            (0..meta.partitions).map(|p| self.open_partition(&name, &meta, p)).collect::<Result<_, _>>()?;
        Ok(Topic { id: meta.id, name, meta: RwLock::new(meta), partitions, turn: AtomicU32::new(0) })
    }

    fn open_partition(&self, name: &str, meta: &TopicMeta, partition: u32) -> Result<Partition, LogError> {
        let memtable_bytes = self.settings.embedded.memtable_bytes_max;
        let options = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(memtable_bytes)
                .data_block_size_policy(BlockSizePolicy::all(BLOCK_BYTES))
                // Files of increasing offsets are moved down the levels as they are, so
                // what is to be compressed must be from the first.
                .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
                .filter_policy(FilterPolicy::disabled())
        };
        let records =
            self.db.keyspace(&format::records_keyspace(name, partition), options).map_err(storage)?;
        let bounds: Bounds = match self.meta.get(format::bounds_key(meta.id, partition)).map_err(storage)? {
            Some(bytes) => postcard::from_bytes(&bytes).map_err(|_| damaged("a partition's bounds"))?,
            None => Bounds::default(),
        };
        let after_last = match records.last_key_value() {
            Some(last) => format::number(&last.key().map_err(storage)?, "an offset")? + 1,
            None => 0,
        };
        let end = after_last.max(bounds.end_min).max(bounds.first);
        let tail = self.recover_tail(&records, meta.id, partition, bounds.first, end)?;
        Ok(Partition {
            records,
            first: AtomicU64::new(bounds.first),
            end: AtomicU64::new(end),
            tail: Mutex::new(tail),
            bounds: Mutex::new(bounds),
            maintained: Mutex::default(),
        })
    }

    /// The running maximum of timestamps: that of the last index entry, and of the
    /// records after it.
    fn recover_tail(
        &self,
        records: &Keyspace,
        topic_id: u32,
        partition: u32,
        first: u64,
        end: u64,
    ) -> Result<Tail, LogError> {
        let mut latest_ms = i64::MIN;
        let mut from = first;
        if let Some(entry) = self.times.prefix(format::time_prefix(topic_id, partition)).next_back() {
            let (key, value) = entry.into_inner().map_err(storage)?;
            latest_ms = format::time_of_key(&key)?;
            from = from.max(format::number(&value, "an offset")?);
        }
        let mut unindexed = 0;
        for entry in records.range(from.to_be_bytes()..) {
            let value = entry.value().map_err(storage)?;
            latest_ms = latest_ms.max(format::parts(&value)?.timestamp_ms);
            unindexed += 1;
        }
        Ok(Tail { end, latest_ms, unindexed })
    }

    pub fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.read().get(name).cloned()
    }

    /// The topic of a partition that must exist.
    pub fn topic_of(&self, partition: &TopicPartition) -> Result<Arc<Topic>, LogError> {
        self.topic(&partition.topic)
            .filter(|topic| (partition.partition as usize) < topic.partitions.len())
            .ok_or_else(|| LogError::Rejected(format!("there is no partition {partition}")))
    }

    pub fn durability(&self) -> PersistMode {
        if self.settings.embedded.synced { PersistMode::SyncData } else { PersistMode::Buffer }
    }

    /// See [`crate::log::Log::position_at`]: before the last index entry older than
    /// `at_ms` every record is older, from there it is looked for.
    pub fn position_at(&self, of: &TopicPartition, at_ms: i64) -> Result<u64, LogError> {
        let topic = self.topic_of(of)?;
        let partition = &topic.partitions[of.partition as usize];
        let end = partition.end.load(Ordering::Acquire);
        let index = format::time_key(topic.id, of.partition, i64::MIN)
            ..format::time_key(topic.id, of.partition, at_ms);
        let mut from = partition.first.load(Ordering::Acquire);
        if let Some(entry) = self.times.range(index).next_back() {
            from = from.max(format::number(&entry.value().map_err(storage)?, "an offset")?);
        }
        if from >= end {
            return Ok(end);
        }
        for entry in partition.records.range(from.to_be_bytes()..end.to_be_bytes()) {
            let (key, value) = entry.into_inner().map_err(storage)?;
            if format::parts(&value)?.timestamp_ms >= at_ms {
                return format::number(&key, "an offset");
            }
        }
        Ok(end)
    }
}

impl Partition {
    /// The first record that can be read, or the end.
    pub fn first_record(&self) -> Result<u64, LogError> {
        let first = self.first.load(Ordering::Acquire);
        let end = self.end.load(Ordering::Acquire);
        if first >= end {
            return Ok(end);
        }
        match self.records.range(first.to_be_bytes()..end.to_be_bytes()).next() {
            Some(entry) => format::number(&entry.key().map_err(storage)?, "an offset"),
            None => Ok(end),
        }
    }
}

/// Wakes readers when records arrived: a counter of commits that they wait on.
#[derive(Default)]
pub(super) struct Arrivals {
    count: Mutex<u64>,
    changed: Condvar,
}

impl Arrivals {
    pub fn count(&self) -> u64 {
        *self.count.lock()
    }

    pub fn announce(&self) {
        *self.count.lock() += 1;
        self.changed.notify_all();
    }

    /// Waits until the count differs from `seen`; false once the deadline has passed.
    pub fn wait(&self, seen: u64, deadline: Instant) -> bool {
        let mut count = self.count.lock();
        while *count == seen {
            if self.changed.wait_until(&mut count, deadline).timed_out() {
                return *count != seen;
            }
        }
        true
    }
}

fn check_format(db: &Database, meta: &Keyspace, folder: &Path) -> Result<(), LogError> {
    let Some(bytes) = meta.get(FORMAT_KEY).map_err(storage)? else {
        let mut batch = db.batch().durability(Some(PersistMode::SyncAll));
        batch.insert(meta, FORMAT_KEY, FORMAT.to_be_bytes());
        return batch.commit().map_err(storage);
    };
    let found =
        bytes.as_ref().try_into().map(u32::from_be_bytes).map_err(|_| damaged("the format version"))?;
    if found > FORMAT {
        return Err(LogError::Misconfigured(format!(
            "the log in {} was written by a newer version of Tidings (format {found}, this version reads up to \
             {FORMAT}): start that version, or use another data folder",
            folder.display()
        )));
    }
    Ok(())
}

fn open_error(folder: &Path, error: fjall::Error) -> LogError {
    let folder = folder.display();
    match error {
        fjall::Error::Locked => LogError::Misconfigured(format!(
            "the log in {folder} is in use by another process: one process at a time may open a data folder"
        )),
        fjall::Error::InvalidVersion(_) => LogError::Misconfigured(format!(
            "the log in {folder} was written by a version of the store that this version cannot read"
        )),
        fjall::Error::Io(e)
            if matches!(
                e.kind(),
                std::io::ErrorKind::PermissionDenied
                    | std::io::ErrorKind::ReadOnlyFilesystem
                    | std::io::ErrorKind::NotADirectory
            ) =>
        {
            LogError::Misconfigured(format!("cannot open the log in {folder}: {e}"))
        }
        fjall::Error::Io(e) if e.kind() == std::io::ErrorKind::StorageFull => {
            LogError::Full(format!("cannot open the log in {folder}: {e}"))
        }
        other => LogError::Fatal(format!("cannot open the log in {folder}: {other}")),
    }
}

/// Any failure of the open store: it refuses writes from then on, so there is
/// nothing to retry in this process.
#[expect(clippy::needless_pass_by_value, reason = "as map_err gives it")]
pub(super) fn storage(error: fjall::Error) -> LogError {
    LogError::Fatal(error.to_string())
}
