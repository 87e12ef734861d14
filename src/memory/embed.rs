//! EMBED: content.enriched in, content.vectors out, in one transaction with the
//! positions.
//!
//! ```text
//!  Reader ─> last version of each item ─> plan ─> graph (offload: Pool) ─> Committer ─> Cache
//! ```
//!
//! Invariants:
//! - A batch's vectors, dead letters and positions are one transaction of one
//!   committer, which fences every earlier one: nothing is lost or twice.
//! - Of several versions of an item in one batch only the last is embedded.
//! - The cache is written after the commit. It is a function of content.vectors:
//!   what a crash kept from it is read again from there at the next start.
//! - The loop has its own group, thread and budget. Without a model it waits, and
//!   its lag is the only thing that grows.

mod cache;
mod pool;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dataflows::embed::{Fault, Limits, Plan, graph, plan};
use dataflows::event::{Change, Enriched, Version};
use dataflows::faults::{Fault as Refusal, Reason, dead_letter};
use dataflows::offload::{Budget, Failure};
use dataflows::record::{Positions, Record, Stored, TopicPartition, topic};
use dataflows::time::Millis;
use dataflows::vector::Vector;
use parking_lot::Mutex;
use serde::Deserialize;
use timely::dataflow::operators::{Input, Inspect, Probe};

pub use cache::Cache;
pub use pool::Pool;

use super::health::Health;
use super::metrics;
use super::models::{Embedder, Model};
use crate::log::{Committer, Log, LogError, Reader, Transaction, report_lag};

/// Table `[embed]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub enabled: bool,
    pub threads: usize,
    pub in_flight_max: usize,
    pub in_flight_bytes_max: usize,
    pub chunk_chars_max: usize,
    pub chunks_per_item_max: usize,
    pub texts_per_second_max: f64,
    pub backlog_records_max: u64,
    pub batch_bytes_max: usize,
    pub poll_timeout_ms: u64,
    pub timeout_s: f64,
    pub stuck_threads_max: usize,
    pub attempts_max: u32,
    pub retry_delay_ms: u64,
    pub memo_retention_d: u32,
    pub lag_interval_s: u64,
}

/// Positions are stored under this name.
pub const GROUP: &str = "embed";
/// The committer, and the `stage` of dead letters.
const STAGE: &str = "embed";
const HEALTH: &str = "embed";

/// Runs until `stop`. An error is for the process to exit with; what can be retried
/// is retried here.
pub fn run(
    log: Arc<dyn Log>,
    model: &Arc<Model>,
    cache_path: &Path,
    settings: &Settings,
    stop: Arc<AtomicBool>,
    health: Arc<Health>,
) -> Result<(), LogError> {
    if !settings.enabled {
        health.degraded(HEALTH, "embedding is switched off ([embed] enabled): searches match words only");
        return Ok(());
    }
    // First of all, so that from here on no earlier holder can commit.
    let committer = log.committer(STAGE)?;
    let Some(embedder) = wait_for_model(model, &*log, settings, &stop, &health)? else { return Ok(()) };
    let cache = Arc::new(Cache::open(cache_path, embedder.model())?);
    cache.catch_up(&*log, settings.memo_retention_d)?;
    let pool = Pool::start(embedder.clone(), cache.clone(), settings);
    let settings = settings.clone();
    // A worker of its own: nothing else shares the thread that waits for the model.
    let line = Line { log, committer, embedder, cache, settings, stop, health, over_backlog: false };
    // timely asks for what threads may share; a committer is not, but moves.
    let line = Mutex::new(line);
    timely::execute_directly(move |worker| line.into_inner().run(worker, pool))
}

fn wait_for_model(
    model: &Arc<Model>,
    log: &dyn Log,
    settings: &Settings,
    stop: &AtomicBool,
    health: &Health,
) -> Result<Option<Arc<dyn Embedder>>, LogError> {
    let mut shown = String::new();
    while !stop.load(Ordering::Relaxed) {
        match model.wait(Duration::from_millis(settings.poll_timeout_ms)) {
            Ok(embedder) => {
                health.well(HEALTH);
                return Ok(Some(embedder));
            }
            Err(reason) if reason != shown => {
                tracing::info!(reason, "embedding waits for its model");
                health.degraded(HEALTH, reason.clone());
                shown = reason;
            }
            Err(_) => {
                show_lag(log, &log.committed(GROUP)?)?;
                std::thread::sleep(Duration::from_millis(settings.poll_timeout_ms));
            }
        }
    }
    Ok(None)
}

struct Line {
    log: Arc<dyn Log>,
    committer: Box<dyn Committer>,
    embedder: Arc<dyn Embedder>,
    cache: Arc<Cache>,
    settings: Settings,
    stop: Arc<AtomicBool>,
    health: Arc<Health>,
    /// Whether more records wait than the budget allows.
    over_backlog: bool,
}

/// What one batch is to become.
#[derive(Default)]
struct Work {
    /// By content id: the last version, and the record it came in.
    plans: BTreeMap<String, (Arc<Plan>, Stored)>,
    refused: Vec<Record>,
}

type Done = (Arc<Plan>, Vec<Vector>);

impl Line {
    fn run(mut self, worker: &mut timely::worker::Worker, pool: Pool) -> Result<(), LogError> {
        let done = std::rc::Rc::new(std::cell::RefCell::new((Vec::<Done>::new(), Vec::<Fault>::new())));
        let broken = pool.broken();
        let budget = Budget {
            in_flight_max: self.settings.in_flight_max,
            in_flight_bytes_max: self.settings.in_flight_bytes_max,
        };
        let (mut input, probe) = worker.dataflow::<dataflows::Epoch, _, _>(|scope| {
            let (input, plans) = scope.new_input::<Vec<Arc<Plan>>>();
            let (embedded, faults) = graph(plans, budget, pool);
            let (keep_embedded, keep_faults) = (done.clone(), done.clone());
            let (embedded, _) =
                embedded.inspect(move |done| keep_embedded.borrow_mut().0.push(done.clone())).probe();
            let (faults, _) =
                faults.inspect(move |fault| keep_faults.borrow_mut().1.push(fault.clone())).probe();
            // An epoch is done when both are past it.
            (input, (embedded, faults))
        });
        let mut epoch = 0;
        let hangs = broken.clone();
        let stop = self.stop.clone();
        // One batch of plans through the graph; `None` when it has to end meanwhile.
        let mut embed = move |plans: Vec<Arc<Plan>>| {
            plans.into_iter().for_each(|plan| input.send(plan));
            epoch += 1;
            input.advance_to(epoch);
            while probe.0.less_than(&epoch) || probe.1.less_than(&epoch) {
                if stop.load(Ordering::Relaxed) || hangs.load(Ordering::Relaxed) {
                    return None;
                }
                worker.step_or_park(Some(Duration::from_millis(100)));
            }
            let mut done = done.borrow_mut();
            Some((std::mem::take(&mut done.0), std::mem::take(&mut done.1)))
        };
        let mut reader = self.reader()?;
        let mut lag_shown = Instant::now();
        self.see_lag(&reader.positions())?;
        while !self.stop.load(Ordering::Relaxed) {
            if lag_shown.elapsed() >= Duration::from_secs(self.settings.lag_interval_s) {
                lag_shown = Instant::now();
                self.see_lag(&reader.positions())?;
            }
            let timeout = Duration::from_millis(self.settings.poll_timeout_ms);
            let records = match reader.poll(timeout, self.settings.batch_bytes_max) {
                Err(LogError::Retry(reason)) => {
                    self.pause(&reason);
                    continue;
                }
                other => other?,
            };
            if records.is_empty() {
                continue;
            }
            let work = self.plan(records)?;
            let Some((done, refused)) = self.embed(work, &mut embed) else { break };
            self.commit(done, refused, reader.positions())?;
        }
        if broken.load(Ordering::Relaxed) {
            return Err(LogError::Fatal("the embedding model hangs".into()));
        }
        Ok(())
    }

    /// A reader of content.enriched from where this group is.
    fn reader(&self) -> Result<Box<dyn Reader>, LogError> {
        let committed = self.log.committed(GROUP)?;
        let topics = self.log.topics()?;
        let partitions = topics.iter().find(|t| t.name == topic::ENRICHED).map_or(0, |t| t.ranges.len());
        if partitions == 0 {
            return Err(LogError::Misconfigured(format!("topic {} does not exist", topic::ENRICHED)));
        }
        let from: Positions = (0..partitions as u32)
            .map(|partition| TopicPartition::new(topic::ENRICHED, partition))
            .map(|partition| (partition.clone(), committed.get(&partition).copied().unwrap_or(0)))
            .collect();
        self.log.reader(&from)
    }

    fn plan(&self, records: Vec<Stored>) -> Result<Work, LogError> {
        let limits = Limits {
            chunk_chars_max: self.settings.chunk_chars_max,
            chunks_per_item_max: self.settings.chunks_per_item_max,
        };
        let mut work = Work::default();
        for (seq, stored) in (0..).zip(records) {
            let enriched = match read(&stored) {
                Ok(enriched) => enriched,
                Err(refusal) => {
                    work.refused.push(dead_letter(STAGE, &stored, &refusal));
                    continue;
                }
            };
            let chunks_before = self.cache.chunks_of(&enriched.id)?;
            let mut plan = plan(&enriched, stored.partition, chunks_before, limits);
            plan.seq = seq;
            metrics::TEXTS.with_label_values(&["over_chunk_limit"]).inc_by(u64::from(plan.chunks_cut));
            if self.over_backlog && !plan.chunks.is_empty() {
                // The budget is named and set: nothing of this version is embedded.
                metrics::TEXTS.with_label_values(&["over_backlog"]).inc_by(plan.chunks.len() as u64);
                plan.chunks.clear();
            }
            if let Some((superseded, _)) = work.plans.insert(plan.id.clone(), (Arc::new(plan), stored)) {
                let texts = superseded.chunks.len() as u64;
                metrics::TEXTS.with_label_values(&["superseded"]).inc_by(texts);
            }
        }
        Ok(work)
    }

    /// Embeds, tries what failed again, and turns what still fails into dead letters.
    fn embed(
        &self,
        work: Work,
        through: &mut impl FnMut(Vec<Arc<Plan>>) -> Option<(Vec<Done>, Vec<Fault>)>,
    ) -> Option<(Vec<Done>, Vec<Record>)> {
        let Work { plans, mut refused } = work;
        let mut next: Vec<Arc<Plan>> = plans.values().map(|(plan, _)| plan.clone()).collect();
        let mut done = Vec::new();
        for attempt in 1..=self.settings.attempts_max.max(1) {
            let (embedded, faults) = through(std::mem::take(&mut next))?;
            done.extend(embedded);
            if let Some(first) = faults.first() {
                tracing::warn!(failed = faults.len(), attempt, reason = %first.failure, "embedding failed");
            }
            for Fault { plan, failure } in faults {
                // What panics or hangs was tried alone already and would do so again.
                let again = matches!(failure, Failure::Error(_) | Failure::Lost);
                if again && attempt < self.settings.attempts_max {
                    next.push(plan);
                    continue;
                }
                let (_, stored) = plans.get(&plan.id).expect("the graph gives back what it got");
                refused.push(dead_letter(STAGE, stored, &refusal(&failure)));
            }
            if next.is_empty() {
                break;
            }
        }
        done.sort_by_key(|(plan, _)| plan.seq);
        Some((done, refused))
    }

    #[expect(clippy::needless_pass_by_value, reason = "it is used up")]
    fn commit(
        &mut self,
        done: Vec<Done>,
        refused: Vec<Record>,
        positions: Positions,
    ) -> Result<(), LogError> {
        let model = self.embedder.model();
        let vectors = done.iter().flat_map(|(plan, vectors)| plan.records(model, vectors));
        let records: Vec<Record> = vectors.chain(refused).collect();
        let transaction = Transaction { group: GROUP.into(), records, positions };
        loop {
            match self.committer.commit(&transaction) {
                Err(LogError::Retry(reason)) if !self.stop.load(Ordering::Relaxed) => self.pause(&reason),
                other => break other?,
            }
        }
        self.health.well(HEALTH);
        self.cache.remember(&done)?;
        if self.cache.is_unsettled() {
            self.cache.settle(&*self.log)?;
        }
        Ok(())
    }

    fn pause(&self, reason: &str) {
        tracing::warn!(reason, "embedding waits for the log");
        self.health.degraded(HEALTH, format!("embedding waits for the log: {reason}"));
        std::thread::sleep(Duration::from_millis(self.settings.retry_delay_ms));
    }

    fn see_lag(&mut self, positions: &Positions) -> Result<(), LogError> {
        let lag = show_lag(&*self.log, positions)?;
        let limit = self.settings.backlog_records_max;
        let over = limit > 0 && lag > limit;
        if over != self.over_backlog {
            tracing::warn!(lag, limit, over, "the backlog of embedding crossed its budget");
        }
        self.over_backlog = over;
        Ok(())
    }
}

/// Sets the gauge and returns the records between the positions and the end.
fn show_lag(log: &dyn Log, positions: &Positions) -> Result<u64, LogError> {
    let topics = match log.topics() {
        Err(LogError::Retry(_)) => return Ok(0),
        other => other?,
    };
    let mut lag = 0;
    for info in topics.iter().filter(|info| info.name == topic::ENRICHED) {
        for (partition, (start, end)) in (0..).zip(&info.ranges) {
            let at = positions.get(&TopicPartition::new(topic::ENRICHED, partition)).copied().unwrap_or(0);
            lag += end.saturating_sub(at.max(*start));
        }
    }
    report_lag(GROUP, topic::ENRICHED, lag);
    Ok(lag)
}

/// The version in a record; a tombstone is a deletion newer than everything.
fn read(stored: &Stored) -> Result<Enriched, Refusal> {
    let malformed =
        |e: &dyn std::fmt::Display| Refusal::new(Reason::Malformed, format!("content.enriched: {e}"));
    match &stored.value {
        Some(value) => serde_json::from_slice(value).map_err(|e| malformed(&e)),
        None => Ok(Enriched {
            id: String::from_utf8(stored.key.clone()).map_err(|e| malformed(&e))?,
            change: Change::Deleted,
            version: Version { revision: u64::MAX, enrichment: u32::MAX },
            ingested_at: Millis(stored.timestamp_ms),
            content_hash: String::new(),
            previous: None,
            content: None,
        }),
    }
}

fn refusal(failure: &Failure) -> Refusal {
    let reason = match failure {
        Failure::Panic(_) => Reason::Panicked,
        Failure::Timeout => Reason::TimedOut,
        Failure::Error(_) | Failure::Lost => Reason::Failed,
    };
    Refusal::new(reason, format!("embedding: {failure}"))
}
