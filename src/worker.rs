//! The timely workers: every one of them runs ENRICH, ANALYSE and STORIES over the
//! partitions it owns.
//!
//! Start-up order: committers are opened first, which fences an earlier process;
//! the identity index reads content.enriched to its end; ANALYSE hydrates from it
//! and publishes only differences; then positions are assigned and input flows. STORIES
//! reads again what it needs beside that.

pub mod index;
mod analyse;
mod commit;
mod driver;
mod enrich;
mod hydrate;
mod metrics;
mod read;
mod stories;

use std::collections::BTreeMap;
use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use dataflows::Epoch;
use dataflows::check;
use dataflows::pii::Redactor;
use dataflows::record::Positions;
use dataflows::text::topics::Topics;
use dataflows::time::DAY_MS;
use dataflows::{trends, volume};
use parking_lot::Mutex;
use serde::Deserialize;

use crate::log::{Committer, Log, LogError};
use driver::Shared;
use index::Index;

/// Table `[worker]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub workers: usize,
    pub epoch_bytes_max: usize,
    pub credit_bytes_max: usize,
    pub transaction_records_max: usize,
    pub drain_s: u64,
}

/// Table `[volume]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeSettings {
    pub groupings: Vec<String>,
    pub minute_horizon_days: i64,
    pub hour_horizon_days: i64,
    pub day_horizon_days: i64,
    pub identity_horizon_days: i64,
}

impl VolumeSettings {
    /// The graph's settings; errors name the knob.
    pub fn parse(&self) -> Result<volume::Settings, String> {
        let groupings = self
            .groupings
            .iter()
            .map(|g| volume::By::parse(g).map_err(|e| format!("volume.groupings: {e}")))
            .collect::<Result<Vec<_>, _>>()?;
        let days = [self.minute_horizon_days, self.hour_horizon_days, self.day_horizon_days];
        if days.iter().chain([&self.identity_horizon_days]).any(|d| !(1..=4000).contains(d)) {
            return Err("volume: horizons are between 1 and 4000 days".into());
        }
        Ok(volume::Settings {
            groupings,
            horizon_ms: days.map(|d| d * DAY_MS),
            identity_horizon_ms: self.identity_horizon_days * DAY_MS,
        })
    }
}

/// How long an identity is known: its horizon, and as long as a cell that counts
/// it may still change.
pub fn identity_kept_ms(volume: &volume::Settings) -> i64 {
    volume.identity_horizon_ms + 2 * DAY_MS
}

/// Why the workers must stop, and that they must.
#[derive(Default)]
pub struct Failures {
    first: Mutex<Option<LogError>>,
    stop: AtomicBool,
}

impl Failures {
    /// Reports what ended a thread; the first report stands.
    pub fn fail(&self, error: LogError) {
        self.first.lock().get_or_insert(error);
        self.stop.store(true, Ordering::SeqCst);
    }

    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub fn take(&self) -> Option<LogError> {
        self.first.lock().take()
    }
}

/// What the workers need of the world.
pub struct Pipeline {
    pub log: Arc<dyn Log>,
    pub settings: Settings,
    pub limits: check::Limits,
    pub volume: volume::Settings,
    pub trends: trends::Settings,
    pub topics: Arc<Topics>,
    /// Terms of one item at most.
    pub terms_max: usize,
    pub sentiment: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    pub redactor: Arc<Redactor>,
    /// Whether an item's personal values are masked, by content id.
    pub redaction: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// `None` where stories are not looked for.
    pub stories: Option<crate::stories::Settings>,
    pub index: Index,
    /// Called when a worker comes round, with its index.
    pub alive: Arc<dyn Fn(usize) + Send + Sync>,
    /// Says that results are complete: hydration is done.
    pub ready: Arc<dyn Fn() + Send + Sync>,
    /// Milliseconds of the runtime's clock.
    pub now_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
}

/// What all workers share while they run.
struct Context {
    pipeline: Pipeline,
    partitions: u32,
    committed: Positions,
    hydrated_from: Positions,
    hash: RandomState,
    enrich: Arc<Shared>,
    analyse: Arc<Shared>,
    stories_shared: Arc<Shared>,
    /// Where STORIES begins, if there is one.
    stories: Option<stories::Start>,
    failures: Arc<Failures>,
    /// Committers by worker, taken by it.
    committers: Mutex<Committers>,
    start: Epoch,
    hydrating: AtomicUsize,
    drained: AtomicUsize,
}

/// The committers of the workers, each taken once.
pub struct Committers {
    enrich: Vec<Option<Box<dyn Committer>>>,
    analyse: Option<Box<dyn Committer>>,
    stories: Option<Box<dyn Committer>>,
}

impl Committers {
    /// How many of each kind `workers` workers need.
    pub fn wanted(workers: usize) -> BTreeMap<String, u32> {
        let enrich = (ENRICH.to_string(), workers.max(1) as u32);
        [enrich, (ANALYSE.to_string(), 1), (STORIES.to_string(), 1)].into()
    }

    /// From what [`Self::wanted`] asked for.
    pub fn new(mut held: BTreeMap<String, Vec<Box<dyn Committer>>>) -> Self {
        let mut take = |kind: &str| held.remove(kind).unwrap_or_default();
        Self {
            enrich: take(ENRICH).into_iter().map(Some).collect(),
            analyse: take(ANALYSE).pop(),
            stories: take(STORIES).pop(),
        }
    }
}

/// Name under which ENRICH's positions are stored.
pub const ENRICH: &str = "enrich";
/// Name under which ANALYSE's positions are stored.
pub const ANALYSE: &str = "analyse";
/// Name under which STORIES' positions are stored.
pub const STORIES: &str = "stories";

/// Runs the workers until `stop` is set, then drains them. Blocks. `committers`
/// holds one for each worker's ENRICH, one for ANALYSE and one for STORIES, already fencing.
pub fn run(pipeline: Pipeline, committers: Committers, stop: Arc<AtomicBool>) -> Result<(), LogError> {
    let workers = pipeline.settings.workers.max(1);
    let context = prepare(pipeline, committers)?;
    let failures = Arc::clone(&context.failures);
    let config = match workers {
        1 => timely::Config::thread(),
        n => timely::Config::process(n),
    };
    let guards = timely::execute(config, move |worker| work(worker, &context, &stop))
        .map_err(|e| LogError::Fatal(format!("cannot start the workers: {e}")))?;
    for result in guards.join() {
        if let Err(panic) = result {
            failures.fail(LogError::Fatal(format!("a worker panicked: {panic}")));
        }
    }
    match failures.take() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn prepare(pipeline: Pipeline, committers: Committers) -> Result<Arc<Context>, LogError> {
    let log = Arc::clone(&pipeline.log);
    let hydrated_from = pipeline
        .index
        .catch_up(log.as_ref(), |read| {
            tracing::debug!(read, "reading content.enriched into the identity index");
        })
        .map_err(|e| LogError::Fatal(e.to_string()))?;
    let committed = log.committed(ENRICH)?;
    let start = ((pipeline.now_ms)().max(2)) as Epoch;
    let stories = pipeline.stories.as_ref().map(|settings| stories::Start::find(log.as_ref(), settings));
    Ok(Arc::new(Context {
        partitions: hydrated_from.len() as u32,
        committed,
        hydrated_from,
        hash: RandomState::new(),
        enrich: Arc::default(),
        analyse: Arc::default(),
        stories_shared: Arc::default(),
        stories: stories.transpose()?,
        failures: Arc::default(),
        committers: Mutex::new(committers),
        start,
        hydrating: pipeline.settings.workers.max(1).into(),
        drained: 0.into(),
        pipeline,
    }))
}

/// How long a worker sleeps when nothing wakes it.
const IDLE: Duration = Duration::from_millis(200);
/// How long it sleeps between steps while epochs are open elsewhere.
const BUSY: Duration = Duration::from_millis(1);

fn work(worker: &mut timely::worker::Worker, context: &Arc<Context>, stop: &AtomicBool) {
    let index = worker.index();
    let mut enrich = enrich::Enrich::build(worker, context);
    let Some(mut analyse) = analyse::Analyse::build(worker, context) else { return };
    let mut stories = stories::Stories::build(worker, context);
    if context.hydrating.fetch_sub(1, Ordering::SeqCst) == 1 {
        (context.pipeline.ready)();
    }
    let mut closed_at: Option<std::time::Instant> = None;
    let mut counted = false;
    while !context.failures.stopping() {
        (context.pipeline.alive)(index);
        let now_ms = (context.pipeline.now_ms)();
        let mut busy = enrich.tick(now_ms) | analyse.tick(now_ms);
        if let Some(stories) = &mut stories {
            busy |= stories.tick(now_ms, busy);
        }
        worker.step_or_park(Some(if busy {
            Duration::ZERO
        } else if analyse.is_open() || stories.as_ref().is_some_and(stories::Stories::is_open) {
            BUSY
        } else {
            IDLE
        }));
        if stop.load(Ordering::Relaxed) && closed_at.is_none() {
            // In this order: what ENRICH still commits is read after the restart.
            enrich.close();
            analyse.close();
            if let Some(stories) = &mut stories {
                stories.close();
            }
            closed_at = Some(std::time::Instant::now());
        }
        let limit = Duration::from_secs(context.pipeline.settings.drain_s);
        let drained = enrich.is_drained()
            && analyse.is_drained()
            && stories.as_ref().is_none_or(stories::Stories::is_drained);
        if !counted && closed_at.is_some() && drained {
            counted = true;
            context.drained.fetch_add(1, Ordering::SeqCst);
        }
        // A worker that is done still serves the others until they are.
        let drained = context.drained.load(Ordering::SeqCst) == worker.peers();
        if closed_at.is_some_and(|at| drained || at.elapsed() > limit) {
            if !drained {
                tracing::warn!("stopped before everything was committed; it is read again at the next start");
            }
            break;
        }
    }
    // The dataflows are dropped with their inputs open elsewhere or not: their
    // state is in the log.
    worker.installed_dataflows().into_iter().for_each(|dataflow| worker.drop_dataflow(dataflow));
}
