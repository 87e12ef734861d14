//! DELIVER: committed discord.outbox → Discord → discord.sent.
//!
//! One thread, one request at a time, each with a timeout. A target that must wait
//! for a limit does not hold up the others.
//!
//! Invariants:
//! - The committer is opened before anything is read, so an older process that still
//!   runs can record nothing any more; what it had in flight reads as `sending` here.
//! - Before a post its intent is committed; after the answer the result, with the
//!   positions, in one transaction. What happens between is settled, never guessed.
//! - Everything that is not posted has a state, a reason and a count.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dataflows::faults::{self, Fault};
use dataflows::record::{Headers, Positions, Record, Stored, TopicPartition, topic};
use dataflows::time::Millis;

use super::health::Health;
use super::limits::Limits;
use super::metrics;
use super::outbox::{Entry, Outbox, RetiredTarget, Sent, SentRecord, State, Work};
use super::routes::Route;
use super::targets::Targets;
use super::transport::{Transport, TransportError};
use super::{Access, Settings};
use crate::log::{Committer, Log, LogError, Reader, Transaction, commit};

mod post;
mod settle;

/// Name of the committer and of the group of its positions.
pub const GROUP: &str = "deliver";
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long an idle step waits for records.
const IDLE_WAIT: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// Stop; the log says how.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The settings do not work; a person has to act.
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error("no runtime for requests: {0}")]
    Runtime(std::io::Error),
}

impl From<DeliverError> for LogError {
    /// For a thread that ends: whoever fenced it must be told from a failure.
    fn from(error: DeliverError) -> Self {
        match error {
            DeliverError::Log(error) => error,
            DeliverError::Transport(error) => Self::Misconfigured(error.to_string()),
            DeliverError::Runtime(error) => Self::Fatal(error.to_string()),
        }
    }
}

/// When a key is looked at again, and how often it failed so far.
#[derive(Clone, Copy, Debug, Default)]
struct Retry {
    not_before: i64,
    failures: u32,
    /// A suppressed edit is counted once.
    counted: bool,
}

/// What a look at a webhook found.
#[derive(Clone, Debug)]
struct Seen {
    at: i64,
    channel_id: Option<String>,
}

pub struct Deliverer {
    settings: Settings,
    committer: Box<dyn Committer>,
    reader: Box<dyn Reader>,
    outbox: Outbox,
    /// Positions committed before this start: settlements before them are applied.
    applied: Positions,
    routes: BTreeMap<String, Route>,
    targets: Targets,
    transport: Transport,
    limits: Limits,
    retries: HashMap<String, Retry>,
    seen: HashMap<String, Seen>,
    runtime: tokio::runtime::Runtime,
    health: Arc<Health>,
}

impl Deliverer {
    /// Fences earlier holders, then reads where every post stands. Must not be called
    /// on a thread of an async runtime.
    pub fn open(
        log: &dyn Log,
        settings: Settings,
        access: &Access,
        routes: Vec<Route>,
        health: Arc<Health>,
    ) -> Result<Self, DeliverError> {
        let committer = log.committer(GROUP)?;
        let applied = log.committed(GROUP)?;
        let mut outbox = Outbox::new(settings.outbox_keys_max);
        read_whole(log, topic::SENT, &mut outbox)?;
        let reader = read_whole(log, topic::OUTBOX, &mut outbox)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(DeliverError::Runtime)?;
        let targets = Targets::new(access, &settings);
        health.deliverer_opened(&targets, &routes);
        Ok(Self {
            limits: Limits::new(settings.channel_requests_per_minute_max, settings.invalid_requests_max),
            transport: Transport::new(&settings, access)?,
            routes: routes.into_iter().map(|r| (r.name.clone(), r)).collect(),
            retries: HashMap::new(),
            seen: HashMap::new(),
            settings,
            committer,
            reader,
            outbox,
            applied,
            targets,
            runtime,
            health,
        })
    }

    /// Delivers until asked to stop. A request in flight is awaited first.
    pub fn run(&mut self, stop: &AtomicBool) -> Result<(), DeliverError> {
        while !stop.load(Ordering::Relaxed) {
            self.step(IDLE_WAIT)?;
        }
        Ok(())
    }

    /// Reads what is new, then does the work that is due, one request or so. Waits up
    /// to `wait` when there is none. Whether anything was done.
    pub fn step(&mut self, wait: Duration) -> Result<bool, DeliverError> {
        let now = super::wall_clock_ms();
        let due = self.next_due(now);
        let wait = if due.is_some() { Duration::ZERO } else { wait.min(self.until_due(now)) };
        let unreadable = self.read(wait)?;
        self.settle_by_hand(unreadable)?;
        let now = super::wall_clock_ms();
        let due = self.next_due(now);
        let worked = due.is_some();
        if let Some(key) = due {
            self.work(&key, now)?;
        }
        self.report(super::wall_clock_ms());
        Ok(worked)
    }

    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// What could not be read, as dead letters. They are committed together with what
    /// people decided in the same batch, whose positions they share.
    fn read(&mut self, wait: Duration) -> Result<Vec<Record>, DeliverError> {
        let mut letters = Vec::new();
        for stored in self.reader.poll(wait, READ_BYTES_MAX)? {
            let place = (stored.partition, stored.offset);
            if let Err(error) = self.outbox.apply(&stored) {
                tracing::warn!(%error, partition = place.0, offset = place.1, "an outbox record is unreadable");
                metrics::POSTS.with_label_values(&["dropped", "unreadable"]).inc();
                letters.push(dead_letter(&stored, &error.to_string()));
            }
        }
        Ok(letters)
    }

    /// Applies what people decided, each decision once.
    fn settle_by_hand(&mut self, mut records: Vec<Record>) -> Result<(), DeliverError> {
        loop {
            let applied = &self.applied;
            let from = |p: u32| applied.get(&TopicPartition::new(topic::OUTBOX, p)).copied().unwrap_or(0);
            let Some(resolve) = self.outbox.take_resolve(from) else { break };
            match self.outbox.resolved(&resolve, Millis(super::wall_clock_ms())) {
                Ok(sent) => {
                    metrics::POSTS.with_label_values(&["settled", "by_hand"]).inc();
                    self.retries.remove(&sent.key);
                    records.push(sent_record(&sent));
                    self.outbox.answered(sent);
                }
                Err(reason) => tracing::warn!(key = resolve.key, reason, "a post cannot be settled as asked"),
            }
        }
        if records.is_empty() { Ok(()) } else { self.commit(records) }
    }

    /// The key whose turn it is: the oldest that may be looked at.
    fn next_due(&self, now: i64) -> Option<String> {
        let due = self.outbox.entries().filter(|e| self.due_at(e).is_some_and(|at| at <= now));
        due.min_by_key(|e| (e.wanted.created_at, &e.wanted.key)).map(|e| e.wanted.key.clone())
    }

    fn until_due(&self, now: i64) -> Duration {
        let next = self.outbox.entries().filter_map(|e| self.due_at(e)).min().unwrap_or(i64::MAX);
        Duration::from_millis(u64::try_from(next.saturating_sub(now)).unwrap_or(0))
    }

    /// When there is something to do for the entry; `None` is never, as it stands.
    fn due_at(&self, entry: &Entry) -> Option<i64> {
        let retry = self.retries.get(&entry.wanted.key).copied().unwrap_or_default();
        match entry.work() {
            Work::Nothing => None,
            Work::Settle if entry.sent.state == State::Uncertain => {
                if !self.can_settle(entry) || retry.failures >= self.settings.attempts_max {
                    return None;
                }
                let settle_after =
                    i64::try_from(self.settings.settle_after_s).unwrap_or(i64::MAX).saturating_mul(1_000);
                Some(retry.not_before.max(entry.sent.at.0.saturating_add(settle_after)))
            }
            _ => Some(retry.not_before),
        }
    }

    fn work(&mut self, key: &str, now: i64) -> Result<(), DeliverError> {
        let Some(entry) = self.outbox.get(key).cloned() else { return Ok(()) };
        match entry.work() {
            Work::Post => self.post(&entry, now),
            Work::Edit => self.edit(&entry, now),
            Work::Settle => self.settle(&entry, now),
            Work::Nothing => Ok(()),
        }
    }

    /// Records where a post stands, durably, then in memory.
    fn record(&mut self, sent: Sent) -> Result<(), DeliverError> {
        self.record_with(sent, Vec::new())
    }

    fn record_with(&mut self, sent: Sent, mut others: Vec<Record>) -> Result<(), DeliverError> {
        others.push(sent_record(&sent));
        self.commit(others)?;
        if sent.state.is_final() || sent.state == State::Sent {
            self.retries.remove(&sent.key);
        }
        self.outbox.answered(sent);
        Ok(())
    }

    fn retire(&mut self, retired: RetiredTarget) -> Result<(), DeliverError> {
        let value = serde_json::to_vec(&SentRecord::Target(retired.clone())).expect("texts serialize");
        let record =
            record(topic::SENT, format!("target~{}", retired.target).into_bytes(), value, retired.at.0);
        self.commit(vec![record])?;
        tracing::error!(
            target_hash = retired.target,
            reason = retired.reason,
            "a webhook is gone and is not used again"
        );
        let stored = Stored {
            topic: topic::SENT.into(),
            partition: 0,
            offset: 0,
            timestamp_ms: retired.at.0,
            key: Vec::new(),
            value: Some(serde_json::to_vec(&SentRecord::Target(retired)).expect("texts serialize")),
            headers: Headers::new(),
        };
        self.outbox.apply(&stored).expect("a record just written is readable");
        Ok(())
    }

    fn commit(&mut self, records: Vec<Record>) -> Result<(), DeliverError> {
        let positions = self.reader.positions();
        let transaction = Transaction { group: GROUP.to_string(), records, positions };
        Ok(commit(self.committer.as_mut(), &transaction)?)
    }

    fn postpone(&mut self, key: &str, until: i64) {
        self.retries.entry(key.to_string()).or_default().not_before = until;
    }

    /// Waits twice as long as the last time. How often it failed.
    fn back_off(&mut self, key: &str, now: i64) -> u32 {
        const DOUBLINGS_MAX: u32 = 20;
        let retry = self.retries.entry(key.to_string()).or_default();
        let seconds = self.settings.backoff_min_s.saturating_mul(1 << retry.failures.min(DOUBLINGS_MAX));
        let ms = i64::try_from(seconds.min(self.settings.backoff_max_s) * 1_000).unwrap_or(i64::MAX);
        retry.failures += 1;
        retry.not_before = now.saturating_add(ms);
        retry.failures
    }

    fn report(&mut self, now: i64) {
        let (depth, oldest) = self.outbox.depth();
        for (state, count) in &depth {
            metrics::OUTBOX_DEPTH
                .with_label_values(&[state.name()])
                .set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
        let age_s = oldest.map_or(0.0, |at| (now - at.0).max(0) as f64 / 1e3);
        metrics::OUTBOX_OLDEST.set(age_s);
        let wait_ms = self.retries.values().map(|r| r.not_before - now).filter(|w| *w > 0).min().unwrap_or(0);
        metrics::RATELIMIT_WAIT.set(wait_ms as f64 / 1e3);
        let guarded_until = self.limits.guarded_until(now);
        let retired = self.outbox.retired_targets().map(|t| t.target.clone()).collect();
        self.health.delivering(depth, oldest, wait_ms, guarded_until, self.limits.invalid_count(), retired);
    }
}

/// Reads a topic to its end into the outbox; the reader stands there.
fn read_whole(log: &dyn Log, name: &str, outbox: &mut Outbox) -> Result<Box<dyn Reader>, LogError> {
    let (starts, ends) = ranges(log, name)?;
    let mut reader = log.reader(&starts)?;
    while !reached(&reader.positions(), &ends) {
        for stored in reader.poll(IDLE_WAIT, READ_BYTES_MAX)? {
            if let Err(error) = outbox.apply(&stored) {
                tracing::warn!(%error, topic = name, offset = stored.offset, "a record is unreadable");
            }
        }
    }
    Ok(reader)
}

/// First and end positions of every partition of a topic.
pub(crate) fn ranges(log: &dyn Log, name: &str) -> Result<(Positions, Positions), LogError> {
    let info = log.topics()?.into_iter().find(|t| t.name == name);
    let info = info.ok_or_else(|| LogError::Misconfigured(format!("the topic {name} does not exist")))?;
    let place = |index: usize| TopicPartition::new(name, u32::try_from(index).unwrap_or(u32::MAX));
    let starts = info.ranges.iter().enumerate().map(|(i, (start, _))| (place(i), *start)).collect();
    let ends = info.ranges.iter().enumerate().map(|(i, (_, end))| (place(i), *end)).collect();
    Ok((starts, ends))
}

pub(crate) fn reached(positions: &Positions, ends: &Positions) -> bool {
    ends.iter().all(|(place, end)| positions.get(place).is_some_and(|at| at >= end))
}

pub(crate) fn record(topic: &str, key: Vec<u8>, value: Vec<u8>, timestamp_ms: i64) -> Record {
    Record {
        topic: topic.into(),
        partition: None,
        key,
        value: Some(value),
        timestamp_ms,
        headers: Headers::new(),
    }
}

fn sent_record(sent: &Sent) -> Record {
    let value = serde_json::to_vec(&SentRecord::Post(sent.clone())).expect("texts and numbers serialize");
    record(topic::SENT, sent.key.clone().into_bytes(), value, sent.at.0)
}

/// A message that Discord or we refuse, with the reason; found again by its place.
fn dead_letter(stored: &Stored, why: &str) -> Record {
    faults::dead_letter("deliver", stored, &Fault::new(faults::Reason::Invalid, why))
}
