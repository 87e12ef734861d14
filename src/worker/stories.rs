//! STORIES on one worker: the graph, what it reads again at the start, its driver.
//!
//! A dataflow of its own with its own committer, so that what it does late or slowly holds
//! nothing else back. It keeps no state on disk: at each start it reads the last days of
//! content.enriched and content.vectors again, beside everything else that runs, and
//! publishes nothing until it has reached what was their end; then only differences to
//! results.stories. Positions are committed as the others do, never below that end; they
//! say how far what is published reaches, and nobody reads from them.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dataflows::Epoch;
use dataflows::collect::{self, collect};
use dataflows::record::{Positions, Stored, TopicPartition, topic};
use dataflows::stories::{self, Counts, Gauges, Part, Story};
use dataflows::time::HOUR_MS;
use parking_lot::Mutex;
use timely::dataflow::InputHandleVec;
use timely::dataflow::operators::{Concat, Input};
use timely::worker::Worker;

use super::commit::Commits;
use super::driver::{Driver, Inputs, Limits};
use super::index::{ends, reached};
use super::read::Batches;
use super::{Context, STORIES, metrics};
use crate::log::{Log, LogError, Reader};
use crate::stories::Settings;

/// How long stories wait while the other dataflows of the worker have something to do: then
/// they are fed an epoch of a few milliseconds, so that they lag behind and do not starve.
const PATIENCE: Duration = Duration::from_millis(50);
const UPKEEP: Duration = Duration::from_millis(500);
/// How often the log says how much is left to read at the start.
const PROGRESS: Duration = Duration::from_secs(5);
const READ_BYTES_MAX: usize = 4 << 20;
/// Records before the end of a partition in which its last time is looked for.
const LAST_READ: u64 = 64;
/// What is added to the horizon when looking for the first record that may count: the
/// hour of publication, which may be an hour ahead of the ingest, and one more.
const MARGIN_H: i64 = 3;

/// Where reading begins, and up to where it is reading again.
pub(super) struct Start {
    from: Positions,
    ends: Positions,
    /// What is published, for the worker that publishes.
    published: Mutex<Vec<Story>>,
}

impl Start {
    pub(super) fn find(log: &dyn Log, settings: &Settings) -> Result<Self, LogError> {
        let mut all = ends(log, topic::ENRICHED)?;
        all.extend(ends(log, topic::VECTORS)?);
        let clock = ends(log, topic::CLOCK)?;
        let now = last_time(log, all.iter().chain(&clock))?;
        let since = now.saturating_sub((settings.graph.horizon_h + MARGIN_H) * HOUR_MS);
        let mut from = clock.clone();
        let share = |topic: &str| {
            let partitions = all.keys().filter(|p| &*p.topic == topic).count().max(1) as u64;
            settings.catch_up_records_max.div_ceil(partitions)
        };
        let (enriched, vectors) = (share(topic::ENRICHED), share(topic::VECTORS));
        for (partition, end) in &all {
            let max = if &*partition.topic == topic::ENRICHED { enriched } else { vectors };
            let first = log.position_at(partition, since)?;
            from.insert(partition.clone(), first.max(end.saturating_sub(max)));
        }
        all.extend(clock);
        Ok(Self { from, ends: all, published: Mutex::new(published(log)?) })
    }
}

/// The latest timestamp near the ends of these partitions; 0 where they are empty.
fn last_time<'a>(
    log: &dyn Log,
    ends: impl Iterator<Item = (&'a TopicPartition, &'a u64)>,
) -> Result<i64, LogError> {
    let ends: Positions = ends.map(|(p, end)| (p.clone(), *end)).collect();
    let from = ends.iter().map(|(p, end)| (p.clone(), end.saturating_sub(LAST_READ))).collect();
    let mut last = 0;
    read(log, &from, &ends, |stored| last = last.max(stored.timestamp_ms))?;
    Ok(last)
}

fn published(log: &dyn Log) -> Result<Vec<Story>, LogError> {
    let ends = ends(log, topic::STORIES)?;
    let from = ends.keys().map(|p| (p.clone(), 0)).collect();
    let mut stories: HashMap<Vec<u8>, Story> = HashMap::new();
    read(log, &from, &ends, |stored| {
        let Some(value) = stored.value else {
            stories.remove(&stored.key);
            return;
        };
        match serde_json::from_slice(&value) {
            Ok(story) => _ = stories.insert(stored.key, story),
            Err(e) => tracing::warn!(error = %e, offset = stored.offset, "a story cannot be read"),
        }
    })?;
    Ok(stories.into_values().collect())
}

fn read(
    log: &dyn Log,
    from: &Positions,
    ends: &Positions,
    mut f: impl FnMut(Stored),
) -> Result<(), LogError> {
    let mut reader = log.reader(from)?;
    while !reached(&reader.positions(), ends) {
        reader.poll(Duration::from_millis(200), READ_BYTES_MAX)?.into_iter().for_each(&mut f);
    }
    Ok(())
}

/// Whether a record is read again: its dead letter, if it makes one, was written before.
fn is_before(ends: &Positions, stored: &Stored) -> bool {
    let partition = TopicPartition { topic: Arc::clone(&stored.topic), partition: stored.partition };
    ends.get(&partition).is_some_and(|end| stored.offset < *end)
}

/// What the reader's thread says of its way to the end that there was at the start.
#[derive(Default)]
struct CatchUp {
    /// Set when everything before that end has been handed over.
    done: AtomicBool,
    left: AtomicU64,
}

/// A reader that tells how far it is.
struct Watched {
    reader: Box<dyn Reader>,
    ends: Positions,
    catch_up: Arc<CatchUp>,
}

impl Reader for Watched {
    fn poll(&mut self, timeout: Duration, max_bytes: usize) -> Result<Vec<Stored>, LogError> {
        // What was returned before is with the worker, or on its way there before more is asked for.
        if !self.catch_up.done.load(Ordering::Relaxed) {
            let positions = self.reader.positions();
            let left = |(p, end): (&TopicPartition, &u64)| {
                end.saturating_sub(positions.get(p).copied().unwrap_or(0))
            };
            self.catch_up.left.store(self.ends.iter().map(left).sum(), Ordering::Relaxed);
            self.catch_up.done.store(reached(&positions, &self.ends), Ordering::Release);
        }
        self.reader.poll(timeout, max_bytes)
    }

    fn positions(&self) -> Positions {
        self.reader.positions()
    }
}

pub(super) struct Stories {
    driver: Driver,
    parts: Option<InputHandleVec<Epoch, Part>>,
    catch_up: Arc<CatchUp>,
    /// The batches that hold what there was at the start, once they are read.
    old_end: Option<u64>,
    gauges: Rc<Gauges>,
    counted: Counts,
    publishes: bool,
    fed: Instant,
    upkeep: Instant,
    progress: Instant,
}

impl Stories {
    /// Builds the dataflow and starts reading; nothing waits for it to catch up.
    pub(super) fn build(worker: &mut Worker, context: &Arc<Context>) -> Option<Self> {
        let settings = context.pipeline.stories.as_ref()?;
        let start = context.stories.as_ref()?;
        let gauges = Rc::new(Gauges::default());
        let (inputs, mut parts, collected) = worker.dataflow_named("Stories", |scope| {
            let (stored, stored_stream) = scope.new_input();
            let (bindings, bindings_stream) = scope.new_input();
            let (parts, parts_stream) = scope.new_input();
            let again = start.ends.clone();
            let (changes, faults) = stories::decoded(stored_stream, move |stored| is_before(&again, stored));
            let records = stories::stories(changes, parts_stream, &settings.graph, &gauges);
            let collected = collect(records.concat(faults), bindings_stream, collect::Committer::One);
            (Inputs { stored, bindings }, parts, collected)
        });
        let publishes = worker.index() == 0;
        if publishes {
            parts.advance_to(context.start);
            let published = std::mem::take(&mut *start.published.lock());
            published.into_iter().for_each(|story| parts.send(Part::Published(Box::new(story))));
        }
        let catch_up = Arc::new(CatchUp::default());
        let driver = drive(worker, context, settings, inputs, collected, &catch_up);
        let now = Instant::now();
        Some(Self {
            driver,
            parts: Some(parts),
            catch_up,
            old_end: None,
            gauges,
            counted: Counts::default(),
            publishes,
            fed: now,
            upkeep: now,
            progress: now,
        })
    }

    /// `others_busy`: the other dataflows of this worker have input waiting.
    pub(super) fn tick(&mut self, now_ms: i64, others_busy: bool) -> bool {
        let feeds = !others_busy || self.fed.elapsed() >= PATIENCE;
        if feeds {
            self.fed = Instant::now();
        }
        // Everything up to the old end is among what is read by now; what comes after it may
        // keep the queue from ever being empty.
        if self.old_end.is_none() && self.catch_up.done.load(Ordering::Acquire) {
            let (fed, waiting) = self.driver.batches();
            self.old_end = Some(fed + waiting);
        }
        let ticked = self.driver.tick_feeding(now_ms, feeds);
        if let Some(parts) = &mut self.parts {
            parts.advance_to(self.driver.current());
            if self.old_end.is_some_and(|end| self.driver.batches().0 >= end) {
                parts.send(Part::CaughtUp);
                self.parts = None;
                self.driver.open_next(now_ms);
            }
        }
        if self.upkeep.elapsed() >= UPKEEP {
            self.upkeep = Instant::now();
            self.keep_up();
        }
        ticked.busy
    }

    fn keep_up(&mut self) {
        let gauges = &self.gauges;
        if self.publishes {
            metrics::STORIES_WITHHELD.set(i64::from(gauges.behind.get()));
        }
        let held =
            |operator, n: usize| metrics::OPERATOR_RECORDS.with_label_values(&[operator]).set(n as i64);
        held("Items", gauges.items.get());
        held("Bands", gauges.bands.get());
        if self.publishes {
            held("StoryLinks", gauges.linked.get());
            held("PublishStories", gauges.stories.get());
        }
        let (counts, before) = (gauges.counts.get(), self.counted);
        self.counted = counts;
        for (reason, n) in [
            ("late", counts.late - before.late),
            ("too_short", counts.too_short - before.too_short),
            ("over_items_max", counts.over_items_max - before.over_items_max),
        ] {
            metrics::NOT_IN_STORIES.with_label_values(&[reason]).inc_by(n);
        }
        if self.parts.is_some() && self.progress.elapsed() >= PROGRESS {
            self.progress = Instant::now();
            let left = self.catch_up.left.load(Ordering::Relaxed);
            tracing::info!(records_left = left, "reading again what stories are made of");
        }
    }

    pub(super) fn is_open(&self) -> bool {
        !self.driver.is_drained()
    }

    pub(super) fn close(&mut self) {
        self.driver.close();
        self.parts = None;
    }

    pub(super) fn is_drained(&self) -> bool {
        self.driver.is_drained()
    }
}

fn drive(
    worker: &Worker,
    context: &Arc<Context>,
    settings: &Settings,
    inputs: Inputs,
    collected: (collect::Epochs, timely::dataflow::operators::probe::Handle<Epoch>),
    catch_up: &Arc<CatchUp>,
) -> Driver {
    let (index, peers) = (worker.index(), worker.peers());
    let mine = |positions: &Positions| -> Positions {
        let owned = positions.iter().filter(|(p, _)| p.partition as usize % peers == index);
        owned.map(|(p, next)| (p.clone(), *next)).collect()
    };
    let start = context.stories.as_ref().expect("found before the dataflow was built");
    let thread = std::thread::current();
    context.stories_shared.join(thread.clone());
    let batches = match context.pipeline.log.reader(&mine(&start.from)) {
        Ok(reader) => {
            let watched = Watched { reader, ends: mine(&start.ends), catch_up: Arc::clone(catch_up) };
            Batches::start(
                &format!("{STORIES}-{index}"),
                Box::new(watched),
                settings.epoch_bytes_max,
                thread.clone(),
                Arc::clone(&context.failures),
            )
        }
        Err(error) => {
            context.failures.fail(error);
            Batches::none()
        }
    };
    let commits = context
        .committers
        .lock()
        .stories
        .take_if(|_| index == 0)
        .map(|committer| Commits::start(STORIES, committer, thread, Arc::clone(&context.failures)));
    let limits = Limits { epoch_bytes_max: settings.epoch_bytes_max, ..super::enrich::limits(context) };
    let mut driver = Driver::new(
        STORIES,
        STORIES.to_string(),
        limits,
        inputs,
        batches,
        collected,
        commits,
        Arc::clone(&context.stories_shared),
        context.start,
    );
    driver.never_before(mine(&start.ends));
    driver
}
