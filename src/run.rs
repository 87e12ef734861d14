//! Starts and stops the parts of one process: the only place that knows them all.
//!
//! Start-up order: the log and its topics; the identity index; the workers, which
//! fence, catch up, hydrate and only then read; what serves and follows. It stops
//! the other way round: first what takes input, then the workers, which commit what
//! they have read.

pub mod alerts;
pub mod discord;
mod views;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dataflows::record::topic;
use dataflows::text::topics::Topics;
use dataflows::time::DAY_MS;
use parking_lot::Mutex;

use crate::config::{Config, Environment};
use crate::ingest::{self, Ingest};
use crate::log::cluster::{Cluster, ClusterError, Instance, Joined};
use crate::log::{self, Log, LogError, TopicSpec};
use crate::memory;
use crate::ops::exit::{Exit, Failure};
use crate::ops::health::{Component, Status, Watchdog};
use crate::ops::node::{Node, Role};
use crate::ops::openapi::Routes;
use crate::page;
use crate::poll;
use crate::worker::{self, Committers, Pipeline, index::Index};

type Thread = JoinHandle<Result<(), LogError>>;

/// The parts while they run.
pub struct Parts {
    pub routes: Vec<Routes>,
    workers: Thread,
    others: Vec<Thread>,
    stop_workers: Arc<AtomicBool>,
    stop_consumers: Arc<AtomicBool>,
}

/// How often the log's own upkeep runs where the backend has none.
const MAINTAIN: Duration = Duration::from_secs(60);
/// How often threads that wait look whether to stop.
const WAIT: Duration = Duration::from_millis(200);

/// The exit that an error of the log asks for.
pub fn failure(error: &LogError) -> Failure {
    let exit = match error {
        LogError::Retry(_) | LogError::Full(_) => Exit::LogUnavailable,
        LogError::Fenced(_) => Exit::Fenced,
        LogError::Misconfigured(_) => Exit::Usage,
        LogError::Rejected(_) | LogError::Fatal(_) => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}

/// Milliseconds since the epoch.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

/// The topics of Tidings, with how long they keep what.
pub fn topics(config: &Config) -> Vec<TopicSpec> {
    let days = |n: i64| Some((n * DAY_MS) as u64);
    let partitions = config.log.partitions;
    // Identities are known a little longer than their horizon: see identity_kept_ms.
    let identity = days(config.volume.identity_horizon_days + 3);
    let spec =
        |name, partitions, compact, retention_ms| TopicSpec { name, partitions, compact, retention_ms };
    vec![
        spec(topic::EVENTS, partitions, true, days(7)),
        spec(topic::ENRICHED, partitions, true, identity),
        spec(topic::VECTORS, partitions, true, identity),
        spec(topic::VOLUME, partitions, true, None),
        spec(topic::STORIES, partitions, true, None),
        spec(topic::TRENDS, partitions, true, None),
        spec(topic::ALERTS, 1, true, days(90)),
        spec(topic::ALERTS_STATE, 1, true, None),
        spec(topic::DIGESTS, 1, true, days(90)),
        spec(topic::OUTBOX, 1, true, days(90)),
        spec(topic::SENT, 1, true, days(90)),
        spec(topic::DEAD_LETTERS, partitions, true, days(30)),
        spec(topic::CLOCK, 1, true, days(1)),
        spec(topic::CLUSTER, 1, true, None),
    ]
}

/// Opens the log that the configuration names, with all topics in it.
pub fn open_log(config: &Config, folder: &Path) -> Result<Arc<dyn Log>, Failure> {
    let log = log::open(&config.log, folder).map_err(|e| failure(&e))?;
    log.create(&topics(config)).map_err(|e| failure(&e))?;
    Ok(log)
}

/// The way in, for a process or a command that holds the folder.
pub fn open_ingest(config: &Config, log: &Arc<dyn Log>, index: Index) -> Ingest {
    Ingest::new(Arc::clone(log), config.ingest.clone(), Some(index), Arc::new(now_ms))
}

pub fn open_index(folder: &Path) -> Result<Index, Failure> {
    Index::open(&folder.join("index")).map_err(|e| Failure::failed(e.to_string()))
}

/// Starts everything; returns once input can be taken.
pub fn start(node: &Node, runtime: &tokio::runtime::Handle) -> Result<Parts, Failure> {
    let config = &node.config;
    let log = open_log(config, node.folder.path())?;
    let index = open_index(node.folder.path())?;
    let ingest = Arc::new(open_ingest(config, &log, index.clone()));
    let volume = config.volume.parse().map_err(|e| Failure::new(Exit::Usage, e))?;
    let groupings = volume.groupings.clone();
    let stop_workers = Arc::new(AtomicBool::new(false));
    watch_log(node, &log);
    let pipeline = pipeline(node, &log, index, volume)?;
    let joined = join_cluster(node, &log)?;
    let committers = Committers::new(joined.committers);
    let workers = {
        let (stop, shutdown) = (Arc::clone(&stop_workers), node.shutdown.clone());
        spawn("workers", move || {
            let result = worker::run(pipeline, committers, stop);
            // Without workers nothing else makes sense.
            shutdown.trigger();
            result
        })?
    };
    let (mut others, mut routes) = views::start(node, &log, groupings)?;
    others.extend([heartbeat(node, joined.cluster)?, tick(node, &ingest)?, maintain(node, &log)?]);
    if node.roles.contains(&Role::Poll) {
        others.push(poll_sources(node, &log, runtime)?);
    }
    let stop_consumers = Arc::new(AtomicBool::new(false));
    if node.roles.contains(&Role::Deliver) {
        let discord = discord::start(node, &log, &stop_consumers)?;
        let (threads, of_alerts) = alerts::start(node, &log, discord.health, &stop_consumers)?;
        others.extend(discord.threads.into_iter().chain(threads));
        routes.extend([discord.routes, of_alerts]);
    }
    let (threads, of_memory) = remember(node, &log, &stop_consumers)?;
    others.extend(threads);
    routes.push(of_memory);
    routes.extend([ingest::api::routes(ingest), log::api::routes(log), poll::api::routes()]);
    routes.push(page::routes().into());
    Ok(Parts { routes, workers, others, stop_workers, stop_consumers })
}

impl Parts {
    /// Stops the parts after shutdown was triggered, and says why they ended.
    pub fn stop(self) -> Result<(), Failure> {
        self.stop_workers.store(true, Ordering::SeqCst);
        self.stop_consumers.store(true, Ordering::SeqCst);
        let mut result = join(self.workers);
        for other in self.others {
            result = result.and(join(other));
        }
        result
    }
}

fn join(thread: Thread) -> Result<(), Failure> {
    match thread.join() {
        Ok(result) => result.map_err(|e| failure(&e)),
        Err(_) => Err(Failure::failed("a thread panicked; its message is above")),
    }
}

fn spawn(name: &str, run: impl FnOnce() -> Result<(), LogError> + Send + 'static) -> Result<Thread, Failure> {
    thread::Builder::new()
        .name(name.to_string())
        .spawn(run)
        .map_err(|e| Failure::failed(format!("cannot start the thread {name}: {e}")))
}

fn pipeline(
    node: &Node,
    log: &Arc<dyn Log>,
    index: Index,
    volume: dataflows::volume::Settings,
) -> Result<Pipeline, Failure> {
    let config = &node.config;
    let topics = Topics::new(config.topic.clone()).map_err(|errors| {
        let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Failure::new(Exit::Usage, text.join("\n"))
    })?;
    let sentiment = config.features.sentiment_analysis;
    let detection = config.features.pii_detection;
    let redactor = crate::pii::of_folder(config, &node.folder)?;
    crate::ops::logging::mask_with(&redactor);
    let condition = node.health.condition("results");
    let watchdogs: Mutex<Vec<Option<Watchdog>>> = Mutex::new(Vec::new());
    let health = Arc::clone(&node.health);
    Ok(Pipeline {
        log: Arc::clone(log),
        settings: config.worker.clone(),
        limits: config.ingest.limits(),
        volume,
        trends: config.trends.graph().map_err(|e| Failure::new(Exit::Usage, e))?,
        topics: Arc::new(topics),
        terms_max: config.trends.terms_per_item_max,
        sentiment: Arc::new(move |id| sentiment.includes(id)),
        redactor: Arc::new(redactor),
        redaction: Arc::new(move |id| detection.includes(id)),
        stories: config.stories.enabled.then(|| config.stories.clone()),
        index,
        // A worker is watched from its first round on; hydration takes what it takes.
        alive: Arc::new(move |worker| {
            let mut watchdogs = watchdogs.lock();
            if watchdogs.len() <= worker {
                watchdogs.resize_with(worker + 1, || None);
            }
            watchdogs[worker].get_or_insert_with(|| health.watchdog(format!("worker-{worker}"))).tick();
        }),
        ready: Arc::new(move || condition.met()),
        now_ms: Arc::new(now_ms),
    })
}

fn watch_log(node: &Node, log: &Arc<dyn Log>) {
    let log = Arc::clone(log);
    node.health.component("log", move || match log.topics() {
        Ok(topics) => {
            let records: u64 = topics.iter().flat_map(|t| &t.ranges).map(|(begin, end)| end - begin).sum();
            Component::ok("log").details(serde_json::json!({ "topics": topics.len(), "offsets": records }))
        }
        Err(e) => Component::ok("log").because(Status::Down, e.to_string()),
    });
}

/// Joins as the set that runs on this log; every committer ever used is fenced after it.
fn join_cluster(node: &Node, log: &Arc<dyn Log>) -> Result<Joined, Failure> {
    let instance = Instance::of_folder(node.folder.path()).map_err(|e| {
        Failure::new(Exit::Usage, format!("cannot keep the instance id in the data folder: {e}"))
    })?;
    let wanted = Committers::wanted(node.config.worker.workers);
    Cluster::join(log, &node.config.log, instance, &wanted, node.takeover, now_ms()).map_err(|error| {
        match error {
            ClusterError::Live { .. } => Failure::new(Exit::AlreadyLive, error.to_string()),
            ClusterError::Log(error) => failure(&error),
        }
    })
}

/// Says that this set lives; a set that took over ends it.
fn heartbeat(node: &Node, mut cluster: Cluster) -> Result<Thread, Failure> {
    let interval = Duration::from_secs(node.config.log.heartbeat_interval_s.max(1));
    let shutdown = node.shutdown.clone();
    spawn("heartbeat", move || {
        let mut taken_over = None;
        every(interval, &shutdown.clone(), || match cluster.heartbeat(now_ms()) {
            Ok(()) => {}
            Err(error @ LogError::Fenced(_)) => {
                taken_over.get_or_insert(error);
                shutdown.trigger();
            }
            Err(error) => tracing::warn!(%error, "the heartbeat could not be written"),
        });
        match taken_over {
            Some(error) => Err(error),
            // Only a courtesy: without it the next set waits for the heartbeat to age.
            None => cluster.leave(now_ms()).or(Ok(())),
        }
    })
}

/// Polls the sources on the runtime; a thread waits for the end of it.
fn poll_sources(
    node: &Node,
    log: &Arc<dyn Log>,
    runtime: &tokio::runtime::Handle,
) -> Result<Thread, Failure> {
    let sources =
        poll::source::of_tables(&node.config.source).map_err(|e| Failure::new(Exit::Usage, e.to_string()))?;
    node.health.component("sources", poll::health::component);
    let (log, folder, shutdown) = (Arc::clone(log), node.folder.path().to_path_buf(), node.shutdown.clone());
    let (mut settings, runtime) = (node.config.poll.clone(), runtime.clone());
    settings.youtube = Some(node.config.features.youtube_integration);
    let overlay = Some(poll::Overlay::new(node.config_dir.join("sources.toml")));
    let following = poll::Following { sources, overlay };
    spawn("poll", move || {
        let stop = shutdown.clone();
        let wait = async move { stop.wait().await };
        let ended =
            runtime.block_on(poll::run(settings, following, log, &folder, Arc::new(poll::SystemClock), wait));
        ended.map_err(|error| {
            shutdown.trigger();
            LogError::Fatal(format!("polling failed: {error}"))
        })
    })
}

/// Ticks the pipeline clock, so that time passes while nothing is ingested.
fn tick(node: &Node, ingest: &Arc<Ingest>) -> Result<Thread, Failure> {
    let (ingest, shutdown) = (Arc::clone(ingest), node.shutdown.clone());
    let interval = Duration::from_secs(ingest.settings().tick_interval_s.max(1));
    let ticks = ingest.settings().clock == ingest::Clock::Ingest;
    spawn("clock", move || {
        every(interval, &shutdown, || {
            if ticks && let Err(error) = ingest.tick() {
                tracing::warn!(%error, "the pipeline clock could not tick");
            }
        });
        Ok(())
    })
}

type Threads = Vec<JoinHandle<Result<(), LogError>>>;

/// The memory: what embeds, what remembers, and what searches.
fn remember(node: &Node, log: &Arc<dyn Log>, stop: &Arc<AtomicBool>) -> Result<(Threads, Routes), Failure> {
    let cache_dir = Environment::of_process(None).cache_dir();
    let cache_dir = cache_dir.unwrap_or_else(|| node.folder.path().join("cache"));
    let parts = memory::parts(&node.config, log, node.folder.path(), &cache_dir, stop, &node.health)
        .map_err(|e| Failure::new(Exit::Usage, e.to_string()))?;
    let mut threads = Threads::new();
    for (name, run) in parts.loops {
        let shutdown = node.shutdown.clone();
        // What a loop does not mend itself, a restart does.
        threads.push(spawn(name, move || run().inspect_err(|_| shutdown.trigger()))?);
    }
    Ok((threads, parts.routes))
}

fn maintain(node: &Node, log: &Arc<dyn Log>) -> Result<Thread, Failure> {
    let (log, shutdown) = (Arc::clone(log), node.shutdown.clone());
    spawn("maintain", move || {
        every(MAINTAIN, &shutdown, || {
            if let Err(error) = log.maintain(now_ms()) {
                tracing::warn!(%error, "retention and compaction of the log failed and are tried again");
            }
        });
        Ok(())
    })
}

/// Calls `f` at once and then at every interval, until shutdown.
fn every(interval: Duration, shutdown: &crate::ops::shutdown::Shutdown, mut f: impl FnMut()) {
    let mut next = std::time::Instant::now();
    while !shutdown.is_triggered() {
        if std::time::Instant::now() >= next {
            f();
            next += interval;
        }
        thread::sleep(WAIT.min(interval));
    }
}
