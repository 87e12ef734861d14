//! Reads committed records of some partitions, each in order, all in turn.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dataflows::record::{Positions, Stored, TopicPartition};

use super::format;
use super::store::{Store, Topic, storage};
use crate::log::{LogError, Reader, metrics};

pub(super) struct EmbeddedReader {
    store: Arc<Store>,
    cursors: Vec<Cursor>,
    /// The cursor that reads first the next time.
    turn: usize,
}

struct Cursor {
    topic: Arc<Topic>,
    partition: u32,
    next: u64,
}

impl EmbeddedReader {
    pub fn new(store: Arc<Store>, from: &Positions) -> Result<Self, LogError> {
        let cursors = from
            .iter()
            .map(|(partition, next)| Cursor::new(&store, partition, *next))
            .collect::<Result<_, _>>()?;
        Ok(Self { store, cursors, turn: 0 })
    }

    /// What there is, shared among the partitions that have something.
    fn collect(&mut self, max_bytes: usize) -> Result<Vec<Stored>, LogError> {
        let ready = self.cursors.iter().filter(|cursor| cursor.range().is_some()).count();
        let mut out = Vec::new();
        if ready == 0 {
            return Ok(out);
        }
        let share = (max_bytes / ready).max(1);
        let count = self.cursors.len();
        let mut left = max_bytes;
        for index in 0..count {
            if left == 0 {
                break;
            }
            let cursor = &mut self.cursors[(self.turn + index) % count];
            let bytes = cursor.read(share.min(left), &mut out)?;
            left = left.saturating_sub(bytes);
        }
        self.turn = (self.turn + 1) % count;
        Ok(out)
    }
}

impl Cursor {
    fn new(store: &Store, of: &TopicPartition, next: u64) -> Result<Self, LogError> {
        let topic = store.topic_of(of)?;
        let end = topic.partitions[of.partition as usize].end.load(Ordering::Acquire);
        if next > end {
            return Err(LogError::beyond_end(of, next, end));
        }
        let mut cursor = Self { topic, partition: of.partition, next };
        cursor.skip_removed();
        Ok(cursor)
    }

    fn skip_removed(&mut self) {
        let at = &self.topic.partitions[self.partition as usize];
        self.next = self.next.max(at.first.load(Ordering::Acquire));
    }

    /// The offsets it has not read yet.
    fn range(&self) -> Option<(u64, u64)> {
        let at = &self.topic.partitions[self.partition as usize];
        let from = self.next.max(at.first.load(Ordering::Acquire));
        let end = at.end.load(Ordering::Acquire);
        (from < end).then_some((from, end))
    }

    /// Reads about `max_bytes`, one record at least; returns the bytes read.
    fn read(&mut self, max_bytes: usize, out: &mut Vec<Stored>) -> Result<usize, LogError> {
        let Some((from, end)) = self.range() else {
            self.skip_removed();
            return Ok(0);
        };
        let at = &self.topic.partitions[self.partition as usize];
        let (before, mut bytes, mut stored_bytes) = (out.len(), 0, 0);
        for entry in at.records.range(from.to_be_bytes()..end.to_be_bytes()) {
            let (key, value) = entry.into_inner().map_err(storage)?;
            let offset = format::number(&key, "an offset")?;
            let stored = format::decode(&self.topic.name, self.partition, offset, &value)?;
            bytes += stored.bytes();
            stored_bytes += value.len();
            out.push(stored);
            self.next = offset + 1;
            if bytes >= max_bytes {
                metrics::count(&self.topic.name, metrics::OUT, out.len() - before, stored_bytes);
                return Ok(bytes);
            }
        }
        // Nothing more before the end, even where compaction left no record.
        self.next = end;
        metrics::count(&self.topic.name, metrics::OUT, out.len() - before, stored_bytes);
        Ok(bytes)
    }
}

impl Reader for EmbeddedReader {
    fn poll(&mut self, timeout: Duration, max_bytes: usize) -> Result<Vec<Stored>, LogError> {
        let deadline = Instant::now() + timeout;
        loop {
            let seen = self.store.arrivals.count();
            let records = self.collect(max_bytes)?;
            if !records.is_empty() || !self.store.arrivals.wait(seen, deadline) {
                return Ok(records);
            }
        }
    }

    fn positions(&self) -> Positions {
        let of = |cursor: &Cursor| TopicPartition::new(cursor.topic.name.clone(), cursor.partition);
        self.cursors.iter().map(|cursor| (of(cursor), cursor.next)).collect()
    }
}
