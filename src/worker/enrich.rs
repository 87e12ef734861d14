//! ENRICH on one worker: the graph, its driver, its part of the identity index.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataflows::collect::{self, collect};
use dataflows::enrich::{self, Outcomes};
use dataflows::faults::{Reason, cloud_event};
use dataflows::record::{Positions, Record, TopicPartition, topic};
use dataflows::time::Millis;
use timely::dataflow::operators::Input;
use timely::worker::Worker;

use super::commit::Commits;
use super::driver::{Driver, Inputs, Limits};
use super::index::{SharedIndex, WorkerIndex, ends};
use super::read::{BATCHES_AHEAD_MAX, Batches};
use super::{Context, ENRICH, identity_kept_ms, metrics};
use crate::log::{LogError, partition};

/// Ids forgotten in one go.
const FORGET_MAX: usize = 1_000;
/// How often ids past their horizon are looked for, and the index's position kept.
const UPKEEP: Duration = Duration::from_secs(5);

pub(super) struct Enrich {
    driver: Driver,
    index: Rc<RefCell<WorkerIndex>>,
    context: Arc<Context>,
    owned: Vec<u32>,
    upkeep: Instant,
}

impl Enrich {
    /// Builds the dataflow and starts reading where the last commit ended.
    pub(super) fn build(worker: &mut Worker, context: &Arc<Context>) -> Self {
        let (index, peers) = (worker.index(), worker.peers());
        let identities = Rc::new(RefCell::new(WorkerIndex::new(context.pipeline.index.clone())));
        let settings = settings(context);
        let shared = SharedIndex(Rc::clone(&identities));
        let (inputs, collected) = worker.dataflow_named("Enrich", |scope| {
            let (stored, stored_stream) = scope.new_input();
            let (bindings, bindings_stream) = scope.new_input();
            let records = enrich::enrich(stored_stream, settings, shared);
            (Inputs { stored, bindings }, collect(records, bindings_stream, collect::Committer::Each))
        });
        let owned: Vec<u32> = (0..context.partitions).filter(|p| *p as usize % peers == index).collect();
        let thread = std::thread::current();
        context.enrich.join(thread.clone());
        let name = format!("{ENRICH}-{index}");
        let batches = start_reading(&name, topic::EVENTS, &owned, &context.committed, context);
        let committer =
            context.committers.lock().enrich[index].take().expect("each worker takes its committer once");
        let commits = Commits::start(&name, committer, thread, Arc::clone(&context.failures));
        let driver = Driver::new(
            ENRICH,
            ENRICH.to_string(),
            limits(context),
            inputs,
            batches,
            collected,
            Some(commits),
            Arc::clone(&context.enrich),
            context.start,
        );
        Self { driver, index: identities, context: Arc::clone(context), owned, upkeep: Instant::now() }
    }

    pub(super) fn tick(&mut self, now_ms: i64) -> bool {
        let failure = self.index.borrow_mut().failure();
        if let Some(error) = failure {
            self.fail(error);
            return false;
        }
        let ticked = self.driver.tick(now_ms);
        if let Some(through) = ticked.committed {
            let written = self.index.borrow_mut().committed(through);
            if let Err(error) = written {
                self.fail(error);
            }
        }
        if self.upkeep.elapsed() >= UPKEEP && !self.driver.commit_under_way() {
            self.upkeep = Instant::now();
            if let Err(error) = self.keep_up(now_ms) {
                self.fail(error);
            }
        }
        ticked.busy
    }

    #[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
    fn fail(&self, error: impl ToString) {
        self.context.failures.fail(LogError::Fatal(error.to_string()));
    }

    /// Notes how far the index reaches, and forgets ids past their horizon.
    fn keep_up(&mut self, now_ms: i64) -> Result<(), super::index::IndexError> {
        // Nobody else appends to these partitions and no commit is under way, so
        // everything before their ends is in the index or, uncommitted, not in the log.
        let mut reached = ends(self.context.pipeline.log.as_ref(), topic::ENRICHED)?;
        reached.retain(|p, _| self.owned.contains(&p.partition));
        self.context.pipeline.index.reached(&reached)?;
        let index = self.index.borrow();
        metrics::OPERATOR_RECORDS.with_label_values(&["Enrich"]).set(index.uncommitted() as i64);
        // The pipeline clock, which readers take from every record; never that of the wall.
        let clock = index.clock();
        let before = Millis(clock.0.saturating_sub(identity_kept_ms(&self.context.pipeline.volume)));
        drop(index);
        let (partitions, owned) = (self.context.partitions, &self.owned);
        let mine = |id: &str| owned.contains(&partition::of_key(id.as_bytes(), partitions));
        let deletions = self.index.borrow_mut().forget(self.driver.current(), before, FORGET_MAX, mine)?;
        let tombstones = deletions.into_iter().map(|id| Record {
            topic: topic::ENRICHED.into(),
            partition: None,
            key: id.into_bytes(),
            value: None,
            timestamp_ms: clock.0,
            headers: cloud_event("content.enriched.v1", "enrich", clock.0),
        });
        self.driver.inject(tombstones.collect(), now_ms);
        Ok(())
    }

    pub(super) fn close(&mut self) {
        self.driver.close();
    }

    pub(super) fn is_drained(&self) -> bool {
        self.driver.is_drained()
    }
}

fn settings(context: &Context) -> enrich::Settings {
    let partitions = context.partitions;
    enrich::Settings {
        limits: context.pipeline.limits,
        topics: Arc::clone(&context.pipeline.topics),
        terms_max: context.pipeline.terms_max,
        sentiment: Arc::clone(&context.pipeline.sentiment),
        redactor: Arc::clone(&context.pipeline.redactor),
        redaction: Arc::clone(&context.pipeline.redaction),
        partition_of: Arc::new(move |key| partition::of_key(key, partitions)),
        observe: Arc::new(observe),
    }
}

fn observe(outcomes: &Outcomes, faults: &[Reason]) {
    let counts = [
        ("created", outcomes.created),
        ("updated", outcomes.updated),
        ("deleted", outcomes.deleted),
        ("duplicate", outcomes.duplicate),
        ("stale", outcomes.stale),
        ("already_deleted", outcomes.already_deleted),
        ("dead_letter", faults.len() as u64),
    ];
    for (outcome, n) in counts.into_iter().filter(|(_, n)| *n > 0) {
        metrics::STAGE_RECORDS.with_label_values(&[ENRICH, outcome]).inc_by(n);
    }
    for (kind, n) in outcomes.redacted.iter() {
        metrics::REDACTIONS.with_label_values(&[kind.name()]).inc_by(u64::from(n));
    }
    for reason in faults {
        metrics::DEAD_LETTERS.with_label_values(&[ENRICH, reason.name()]).inc();
    }
}

pub(super) fn limits(context: &Context) -> Limits {
    let settings = &context.pipeline.settings;
    Limits {
        epoch_bytes_max: settings.epoch_bytes_max,
        credit_bytes_max: settings.credit_bytes_max,
        transaction_records_max: settings.transaction_records_max,
    }
}

/// Starts a reader of the owned partitions of `name` from `committed`, or from the
/// beginning where nothing is committed.
pub(super) fn start_reading(
    name: &str,
    topic: &str,
    owned: &[u32],
    committed: &Positions,
    context: &Context,
) -> Batches {
    let from: Positions = owned
        .iter()
        .map(|p| {
            let partition = TopicPartition::new(topic, *p);
            let next = committed.get(&partition).copied().unwrap_or(0);
            (partition, next)
        })
        .collect();
    read_from(name, &from, context)
}

pub(super) fn read_from(name: &str, from: &Positions, context: &Context) -> Batches {
    match context.pipeline.log.reader(from) {
        Ok(reader) => Batches::start(
            name,
            reader,
            context.pipeline.settings.epoch_bytes_max.div_ceil(BATCHES_AHEAD_MAX),
            std::thread::current(),
            Arc::clone(&context.failures),
        ),
        Err(error) => {
            context.failures.fail(error);
            Batches::none()
        }
    }
}
