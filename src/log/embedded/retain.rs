//! What leaves the embedded log: old records, and superseded ones of compacted topics.
//!
//! Retention: the first offset moves past every record older than the topic keeps,
//! up to the first that is not (times are only roughly in order); the files behind
//! it are dropped whole, without reading them.
//!
//! Compaction, as Kafka does it: the records between `cleaned` and the last one old
//! enough (`compaction_lag_min_s`) say which keys have a later record; one pass over
//! everything before removes what they supersede, and tombstones past their grace.
//! It runs when enough is new to be worth it, when something has waited for
//! `compaction_lag_max_s`, or when a tombstone is due. The keys of one pass have a
//! limit; what is beyond it waits for the next.
//!
//! Both work on a partition's files once every `segment_s` at most.
//!
//! Invariants: the last record of a key is never removed, unless it is a tombstone
//! past its grace; values go before their tombstone; before anything is removed the
//! end is written down, so that no offset is given twice.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use dataflows::record::TopicPartition;
use fjall::{AbstractTree, PersistMode};

use super::format::{self, Bounds};
use super::store::{Partition, Store, Topic, storage};
use crate::log::LogError;

/// Removals of one batch: the writer waits for no more than this.
const REMOVALS_PER_BATCH: usize = 4096;

pub(super) fn maintain(store: &Store, now_ms: i64) -> Result<(), LogError> {
    let _serial = store.administration.lock();
    let topics: Vec<_> = store.topics.read().values().cloned().collect();
    for topic in topics {
        let meta = topic.meta.read().clone();
        for (index, partition) in topic.partitions.iter().enumerate() {
            let at = At { store, topic: &topic, partition, index: index as u32 };
            if let Some(retention_ms) = meta.retention_ms {
                at.expire(now_ms.saturating_sub_unsigned(retention_ms), now_ms)?;
            }
            if meta.compact {
                at.compact(now_ms)?;
            }
        }
    }
    Ok(())
}

struct At<'a> {
    store: &'a Store,
    topic: &'a Topic,
    partition: &'a Partition,
    index: u32,
}

impl At<'_> {
    fn name(&self) -> TopicPartition {
        TopicPartition::new(self.topic.name.clone(), self.index)
    }

    /// Whether `segment_s` has passed since the files were last worked on.
    fn is_time(&self, last_ms: Option<i64>, now_ms: i64) -> bool {
        let segment_ms = (self.store.settings.segment_s * 1000) as i64;
        last_ms.is_none_or(|last_ms| now_ms.saturating_sub(last_ms) >= segment_ms)
    }

    fn write_bounds(&self, bounds: Bounds) -> Result<(), LogError> {
        let bytes = postcard::to_stdvec(&bounds).expect("plain data serializes");
        let mut batch = self.store.db.batch().durability(Some(PersistMode::SyncData));
        batch.insert(&self.store.meta, format::bounds_key(self.topic.id, self.index), bytes);
        batch.commit().map_err(storage)?;
        *self.partition.bounds.lock() = bounds;
        Ok(())
    }

    /// Removes every record before the first that is not older than `oldest_ms`.
    fn expire(&self, oldest_ms: i64, now_ms: i64) -> Result<(), LogError> {
        let keep_from = self.store.position_at(&self.name(), oldest_ms)?;
        let first = self.partition.first.load(Ordering::Acquire);
        let last = self.partition.maintained.lock().dropped_ms;
        if keep_from <= first || !self.is_time(last, now_ms) {
            return Ok(());
        }
        self.partition.maintained.lock().dropped_ms = Some(now_ms);
        let end_min = self.partition.end.load(Ordering::Acquire);
        let bounds = *self.partition.bounds.lock();
        self.write_bounds(Bounds {
            first: keep_from,
            end_min,
            cleaned: bounds.cleaned.max(keep_from),
            ..bounds
        })?;
        self.partition.first.store(keep_from, Ordering::Release);
        self.forget_times(keep_from)?;
        // Readers no longer look there, so whole files may go without tombstones;
        // a file that reaches past it goes with a later call. What is still in the
        // write buffer has to become a file first.
        let records = &self.partition.records;
        records.rotate_memtable_and_wait().map_err(storage)?;
        records.tree.drop_range(..keep_from.to_be_bytes()).map_err(|e| storage(e.into()))?;
        tracing::debug!(partition = %self.name(), first = keep_from, "records past retention removed");
        Ok(())
    }

    /// Drops index entries that only lead before `first`, keeping the last of them.
    fn forget_times(&self, first: u64) -> Result<(), LogError> {
        let mut batch = self.store.db.batch();
        let mut kept = None;
        for entry in self.store.times.prefix(format::time_prefix(self.topic.id, self.index)) {
            let (key, value) = entry.into_inner().map_err(storage)?;
            if format::number(&value, "an offset")? > first {
                break;
            }
            if let Some(earlier) = kept.replace(key) {
                batch.remove(&self.store.times, earlier);
            }
        }
        batch.commit().map_err(storage)
    }

    /// Passes until nothing old enough is left; each is limited by its keys.
    fn compact(&self, now_ms: i64) -> Result<(), LogError> {
        let knobs = &self.store.settings;
        let first = self.partition.first.load(Ordering::Acquire);
        let lag_min_ms = (knobs.compaction_lag_min_s * 1000) as i64;
        let limit =
            self.store.position_at(&self.name(), now_ms.saturating_sub(lag_min_ms).saturating_add(1))?;
        let bounds = *self.partition.bounds.lock();
        let mut cleaned = bounds.cleaned.max(first);
        let last = self.partition.maintained.lock().compacted_ms;
        if !self.is_time(last, now_ms) || !self.is_due(&bounds, cleaned, limit, now_ms)? {
            return Ok(());
        }
        self.partition.maintained.lock().compacted_ms = Some(now_ms);
        let grace_ms = (knobs.tombstone_grace_s * 1000) as i64;
        let mut removed = 0;
        loop {
            let (latest, cut) = self.latest_by_key(cleaned, limit.max(cleaned))?;
            let pass = Pass { latest: &latest, tombstones_before_ms: now_ms.saturating_sub(grace_ms) };
            let (removed_now, oldest_tombstone_ms) = self.remove_superseded(&pass, first, cut)?;
            let bounds = *self.partition.bounds.lock();
            let tombstone_due_ms = oldest_tombstone_ms.map(|at| at.saturating_add(grace_ms));
            self.write_bounds(Bounds { cleaned: cut, tombstone_due_ms, ..bounds })?;
            removed += removed_now;
            cleaned = cut;
            if cut >= limit {
                break;
            }
        }
        if removed > 0 {
            // The removed content leaves the disk now, not when its file happens to
            // be merged: an erasure relies on it.
            self.partition.records.rotate_memtable_and_wait().map_err(storage)?;
            self.partition.records.major_compact().map_err(storage)?;
            tracing::debug!(partition = %self.name(), removed, cleaned, "compacted");
        }
        Ok(())
    }

    fn is_due(&self, bounds: &Bounds, cleaned: u64, limit: u64, now_ms: i64) -> Result<bool, LogError> {
        if bounds.tombstone_due_ms.is_some_and(|due| due <= now_ms) {
            return Ok(true);
        }
        if limit <= cleaned {
            return Ok(false);
        }
        let knobs = &self.store.settings;
        let first = self.partition.first_record()?;
        let dirty_ratio = (limit - cleaned) as f64 / (limit - first.min(cleaned)) as f64;
        if dirty_ratio >= knobs.compaction_dirty_ratio {
            return Ok(true);
        }
        let lag_max_ms = (knobs.compaction_lag_max_s * 1000) as i64;
        match self.partition.records.range(cleaned.to_be_bytes()..limit.to_be_bytes()).next() {
            Some(entry) => {
                let value = entry.value().map_err(storage)?;
                Ok(format::parts(&value)?.timestamp_ms < now_ms.saturating_sub(lag_max_ms))
            }
            None => Ok(false),
        }
    }

    /// The last offset of every key in the range, which is cut where the limit of
    /// keys is reached.
    fn latest_by_key(&self, from: u64, to: u64) -> Result<(HashMap<KeyHash, u64>, u64), LogError> {
        let keys_max = self.store.settings.embedded.compaction_keys_max.max(1);
        let mut latest = HashMap::new();
        if from >= to {
            return Ok((latest, to));
        }
        for entry in self.partition.records.range(from.to_be_bytes()..to.to_be_bytes()) {
            let (key, value) = entry.into_inner().map_err(storage)?;
            let offset = format::number(&key, "an offset")?;
            if latest.len() >= keys_max {
                return Ok((latest, offset));
            }
            latest.insert(key_hash(format::parts(&value)?.key), offset);
        }
        Ok((latest, to))
    }

    /// Returns how many were removed and the time of the oldest tombstone kept.
    fn remove_superseded(
        &self,
        pass: &Pass<'_>,
        from: u64,
        to: u64,
    ) -> Result<(usize, Option<i64>), LogError> {
        let (mut removed, mut oldest_tombstone_ms) = (0, None::<i64>);
        if from >= to {
            return Ok((removed, None));
        }
        let bounds = *self.partition.bounds.lock();
        self.write_bounds(Bounds { end_min: self.partition.end.load(Ordering::Acquire), ..bounds })?;
        let mut batch = self.store.db.batch();
        for entry in self.partition.records.range(from.to_be_bytes()..to.to_be_bytes()) {
            let (key, value) = entry.into_inner().map_err(storage)?;
            let parts = format::parts(&value)?;
            if pass.removes(format::number(&key, "an offset")?, &parts) {
                batch.remove(&self.partition.records, key);
                removed += 1;
            } else if parts.tombstone {
                let at = parts.timestamp_ms;
                oldest_tombstone_ms = Some(oldest_tombstone_ms.map_or(at, |oldest| oldest.min(at)));
            }
            if batch.len() >= REMOVALS_PER_BATCH {
                std::mem::replace(&mut batch, self.store.db.batch()).commit().map_err(storage)?;
            }
        }
        batch.durability(Some(PersistMode::SyncData)).commit().map_err(storage)?;
        Ok((removed, oldest_tombstone_ms))
    }
}

/// Keys by hash: 128 bits of blake3, so that two keys are never taken for one.
type KeyHash = [u8; 16];

fn key_hash(key: &[u8]) -> KeyHash {
    let hash = blake3::hash(key);
    hash.as_bytes()[..16].try_into().expect("blake3 gives 32 bytes")
}

struct Pass<'a> {
    latest: &'a HashMap<KeyHash, u64>,
    tombstones_before_ms: i64,
}

impl Pass<'_> {
    fn removes(&self, offset: u64, parts: &format::Parts<'_>) -> bool {
        let superseded = self.latest.get(&key_hash(parts.key)).is_some_and(|latest| *latest > offset);
        superseded || (parts.tombstone && parts.timestamp_ms <= self.tombstones_before_ms)
    }
}
