//! REMEMBER: committed content.enriched and content.vectors in, the memory out.
//!
//! Invariants:
//! - The positions live in the store, with or after the effect: a crash between
//!   repeats the effect, which changes nothing.
//! - What fails for now is tried again with a growing pause, for as long as it
//!   takes; only this loop waits, and it goes on without a restart.
//! - A store that lost what it had (its positions are behind ours) is read to again
//!   from where it is, without a restart.
//! - A record that cannot be read becomes a dead letter and is passed.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dataflows::embed::{VERSION_HEADER, parse_chunk_key, parse_version};
use dataflows::faults::{Fault, Reason, dead_letter};
use dataflows::record::{Positions, Record, Stored, TopicPartition, topic};
use dataflows::time::{DAY_MS, Millis};

use super::health::Health;
use super::{Batch, Change, Memory, MemoryError, Settings, earliest_within, metrics};
use crate::log::{Log, LogError, Reader, TopicInfo, report_lag};

const STAGE: &str = "remember";
const HEALTH: &str = "remember";
/// In this order, so that an item is there before its chunks.
const TOPICS: [&str; 2] = [topic::ENRICHED, topic::VECTORS];
/// Retention is applied once in this time.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(3600);

/// Runs until `stop`. An error is for the process to exit with; what can be retried
/// is retried here.
pub fn run(
    log: &dyn Log,
    memory: &dyn Memory,
    settings: &Settings,
    stop: &AtomicBool,
    health: &Arc<Health>,
) -> Result<(), LogError> {
    let line = Line { log, memory, settings, stop, health, stored: RefCell::default() };
    let Some(mut reader) = line.reader()? else { return Ok(()) };
    let mut lag_shown: Option<Instant> = None;
    let mut expired: Option<Instant> = None;
    let mut as_of = None;
    while !stop.load(Ordering::Relaxed) {
        if lag_shown.is_none_or(|at| at.elapsed() >= Duration::from_secs(settings.lag_interval_s)) {
            lag_shown = Some(Instant::now());
            line.show(&reader.positions());
        }
        if let Some(now) = as_of
            && expired.is_none_or(|at| at.elapsed() >= EXPIRE_INTERVAL)
        {
            expired = Some(Instant::now());
            line.expire(now);
        }
        let records =
            match reader.poll(Duration::from_millis(settings.poll_timeout_ms), settings.batch_bytes_max) {
                Err(LogError::Retry(reason)) => {
                    health.degraded(HEALTH, format!("remembering waits for the log: {reason}"));
                    line.rest(Duration::from_millis(settings.retry_delay_min_ms));
                    continue;
                }
                other => other?,
            };
        if records.is_empty() {
            continue;
        }
        match line.apply(records, &reader.positions())? {
            Outcome::Applied(reached) => as_of = as_of.max(reached),
            Outcome::Stopped => break,
            Outcome::Rewind => {
                tracing::warn!("the memory lost what it had; it is filled again from where it is");
                match line.reader()? {
                    Some(again) => reader = again,
                    None => break,
                }
            }
        }
    }
    Ok(())
}

struct Line<'a> {
    log: &'a dyn Log,
    memory: &'a dyn Memory,
    settings: &'a Settings,
    stop: &'a AtomicBool,
    health: &'a Health,
    /// The positions that the store is known to have.
    stored: RefCell<Positions>,
}

enum Outcome {
    /// All of it; the latest pipeline time among the records.
    Applied(Option<Millis>),
    Stopped,
    /// The store is behind what it had.
    Rewind,
}

impl Line<'_> {
    /// A reader from where the store is; `None` when asked to stop before.
    fn reader(&self) -> Result<Option<Box<dyn Reader>>, LogError> {
        let Some(state) = self.insist("reading the memory's positions", || self.memory.state())? else {
            return Ok(None);
        };
        let topics = self.log.topics()?;
        let mut from = Positions::new();
        for name in TOPICS {
            let partitions = topics.iter().find(|t| t.name == name).map_or(0, |t| t.ranges.len());
            if partitions == 0 {
                return Err(LogError::Misconfigured(format!("topic {name} does not exist")));
            }
            for partition in 0..partitions as u32 {
                let partition = TopicPartition::new(name, partition);
                let at = state.positions.get(&partition).copied().unwrap_or(0);
                from.insert(partition, at);
            }
        }
        self.stored.borrow_mut().clone_from(&from);
        self.log.reader(&from).map(Some)
    }

    /// Applies the records in pieces.
    fn apply(&self, records: Vec<Stored>, reached: &Positions) -> Result<Outcome, LogError> {
        let mut as_of = None;
        let mut records = records.into_iter().peekable();
        while records.peek().is_some() {
            let piece: Vec<Stored> = records.by_ref().take(self.settings.batch_records_max.max(1)).collect();
            let mut positions: Positions = piece
                .iter()
                .map(|stored| {
                    (TopicPartition::new(stored.topic.clone(), stored.partition), stored.offset + 1)
                })
                .collect();
            if records.peek().is_none() {
                // After the last piece everything read is applied, control records included.
                positions.clone_from(reached);
            }
            let (mut batch, refused) = changes(&piece, positions);
            batch.after.clone_from(&self.stored.borrow());
            as_of = as_of.max(batch.as_of);
            if !self.bury(refused)? {
                return Ok(Outcome::Stopped);
            }
            let started = Instant::now();
            match self.insist("writing to the memory", || self.write(&batch))? {
                None => return Ok(Outcome::Stopped),
                Some(false) => return Ok(Outcome::Rewind),
                Some(true) => self.stored.borrow_mut().extend(batch.positions),
            }
            metrics::UPSERT_SECONDS.observe(started.elapsed().as_secs_f64());
        }
        Ok(Outcome::Applied(as_of))
    }

    /// Applies the batch; `false` if the store has lost what was applied before.
    fn write(&self, batch: &Batch) -> Result<bool, MemoryError> {
        if !self.memory.reflects(&self.stored.borrow())? {
            return Ok(false);
        }
        self.memory.apply(batch).map(|()| true)
    }

    /// Appends the dead letters; `false` when asked to stop before that.
    #[expect(clippy::needless_pass_by_value, reason = "it is used up")]
    fn bury(&self, refused: Vec<Record>) -> Result<bool, LogError> {
        while !refused.is_empty() {
            match self.log.append(refused.clone()) {
                Err(LogError::Retry(reason)) => {
                    self.health.degraded(HEALTH, format!("remembering waits for the log: {reason}"));
                    self.rest(Duration::from_millis(self.settings.retry_delay_max_ms));
                    if self.stop.load(Ordering::Relaxed) {
                        return Ok(false);
                    }
                }
                other => return other.map(|_| true),
            }
        }
        Ok(true)
    }

    /// Tries until it works; `None` when asked to stop before that.
    fn insist<T>(
        &self,
        what: &str,
        attempt: impl Fn() -> Result<T, MemoryError>,
    ) -> Result<Option<T>, LogError> {
        let mut delay = Duration::from_millis(self.settings.retry_delay_min_ms);
        loop {
            let error = match attempt() {
                Ok(value) => {
                    self.health.well(HEALTH);
                    return Ok(Some(value));
                }
                Err(MemoryError::Fatal(reason)) => {
                    // No repetition helps, and nothing else has to suffer from it.
                    tracing::error!(reason, "{what} failed for good");
                    self.health.down(HEALTH, reason);
                    while !self.stop.load(Ordering::Relaxed) {
                        self.rest(Duration::from_millis(self.settings.retry_delay_max_ms));
                    }
                    return Ok(None);
                }
                Err(error) => error,
            };
            metrics::RETRIES.inc();
            tracing::warn!(%error, delay_ms = delay.as_millis() as u64, "{what} failed; it is tried again");
            self.health.down(HEALTH, format!("{what} failed and is tried again: {error}"));
            if self.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            self.rest(delay);
            delay = (delay * 2).min(Duration::from_millis(self.settings.retry_delay_max_ms));
        }
    }

    /// Sleeps, but not past a stop.
    fn rest(&self, delay: Duration) {
        let until = Instant::now() + delay;
        while !self.stop.load(Ordering::Relaxed) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20).min(delay));
        }
    }

    fn expire(&self, now: Millis) {
        if let Err(error) = self.keep_within_limits(now) {
            tracing::warn!(%error, "the memory's retention was not applied; it is tried again in an hour");
        }
    }

    fn keep_within_limits(&self, now: Millis) -> Result<(), MemoryError> {
        if self.settings.retention_d > 0 {
            self.memory.expire(Millis(now.0 - i64::from(self.settings.retention_d) * DAY_MS))?;
        }
        if self.settings.items_max == 0 {
            return Ok(());
        }
        let held = self.memory.items_since(Millis(0))?;
        if let Some(earliest) = earliest_within(self.memory, self.settings.items_max, now)? {
            self.memory.expire(earliest)?;
            let left = held.saturating_sub(self.memory.items_since(earliest)?);
            metrics::FORGOTTEN.inc_by(left);
            tracing::warn!(
                items = left,
                items_max = self.settings.items_max,
                "the memory forgot the earliest"
            );
        }
        Ok(())
    }

    /// Lag and points as gauges; what cannot be read now is shown later.
    fn show(&self, positions: &Positions) {
        if let Ok(topics) = self.log.topics() {
            for name in TOPICS {
                report_lag(STAGE, name, lag(&topics, name, positions));
            }
        }
        if let Ok(state) = self.memory.state() {
            metrics::POINTS.with_label_values(&["item"]).set(state.items as i64);
            metrics::POINTS.with_label_values(&["chunk"]).set(state.chunks.values().sum::<u64>() as i64);
        }
    }
}

fn lag(topics: &[TopicInfo], name: &str, positions: &Positions) -> u64 {
    let Some(info) = topics.iter().find(|info| info.name == name) else { return 0 };
    let behind = |(partition, (start, end)): (u32, &(u64, u64))| {
        let at = positions.get(&TopicPartition::new(name, partition)).copied().unwrap_or(0);
        end.saturating_sub(at.max(*start))
    };
    (0u32..).zip(&info.ranges).map(behind).sum()
}

/// The changes of the records in order, items before chunks, and the dead letters.
fn changes(records: &[Stored], positions: Positions) -> (Batch, Vec<Record>) {
    let mut refused = Vec::new();
    let mut batch = Batch { positions, ..Batch::default() };
    for name in TOPICS {
        for stored in records.iter().filter(|stored| &*stored.topic == name) {
            batch.as_of = batch.as_of.max(Some(Millis(stored.timestamp_ms)));
            match change(stored) {
                Ok(change) => batch.changes.push(change),
                Err(reason) => {
                    let fault = Fault::new(Reason::Malformed, format!("{name}: {reason}"));
                    refused.push(dead_letter(STAGE, stored, &fault));
                }
            }
        }
    }
    (batch, refused)
}

fn change(stored: &Stored) -> Result<Change, String> {
    let vectors = &*stored.topic == topic::VECTORS;
    match (&stored.value, vectors) {
        (Some(value), true) => {
            let seen_at = Millis(stored.timestamp_ms);
            let embedded = serde_json::from_slice(value).map_err(|e| e.to_string())?;
            Ok(Change::Chunk { embedded: Box::new(embedded), seen_at })
        }
        (None, true) => {
            let (id, chunk) = parse_chunk_key(&stored.key).ok_or("the key names no chunk")?;
            let version = stored.headers.get(VERSION_HEADER).and_then(parse_version);
            Ok(Change::ChunkGone { id: id.to_string(), chunk, version })
        }
        (Some(value), false) => {
            serde_json::from_slice(value).map(Change::of_enriched).map_err(|e| e.to_string())
        }
        (None, false) => {
            let id = String::from_utf8(stored.key.clone()).map_err(|e| e.to_string())?;
            Ok(Change::Forgotten { id })
        }
    }
}
