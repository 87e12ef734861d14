//! Pollers: what the platforms publish in, content events in content.events out.
//!
//! A source is fetched when it is due, one at a time per host and within a rate
//! per host; what it shows is compared with what is known of it, and the
//! difference is appended to the log. The order in the code is that of the data:
//! [`source`] (what to follow), [`schedule`] (when), [`fetch`] and [`guard`] (over
//! the network), [`decode`], [`outline`] and [`feed`] (bytes to entries),
//! [`event`], [`identity`] and [`changes`] (entries to events), `visit` (all of
//! it, once), [`store`] (what is remembered).
//!
//! Invariants:
//! - The state of a source advances only after the log has its records, so a crash
//!   repeats and never loses.
//! - A source is never given up: errors lengthen its delay to a ceiling, 410 to a
//!   week, and all of it is visible in [`status()`].
//! - Nothing depends on the newest date: new is what is not known.
//!
//! A new platform is a file beside [`feed`] that turns responses into drafts, a
//! `type` in [`source`], and its call in `visit`.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::log::Log;

pub mod api;
pub mod changes;
pub mod clock;
pub mod command;
pub mod decode;
pub mod event;
pub mod feed;
pub mod fetch;
pub mod guard;
pub mod identity;
pub mod outline;
pub mod schedule;
pub mod settings;
pub mod source;
pub mod status;
pub mod store;
mod visit;

pub use clock::{Clock, SystemClock};
pub use settings::Settings;
pub use source::Source;
pub use status::{SourceStatus, status};
pub use visit::PollError;

use store::{State, Store};
use visit::{Shared, Visited};

/// Polls until `shutdown` resolves, or the log cannot be used any more. What is
/// under way at the shutdown is broken off, which loses nothing.
pub async fn run(
    settings: Settings,
    sources: Vec<Source>,
    log: Arc<dyn Log>,
    state_dir: &Path,
    clock: Arc<dyn Clock>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), PollError> {
    let mut poller = Poller::open(settings, sources, log, state_dir, clock.clone())?;
    tracing::info!(sources = poller.slots.len(), "polling starts");
    tokio::pin!(shutdown);
    let ended = loop {
        let next_ms = poller.start_due();
        let wake = async {
            match next_ms {
                Some(at_ms) => clock.sleep_until(at_ms).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = &mut shutdown => break Ok(()),
            finished = poller.finished(), if !poller.jobs.is_empty() => {
                if let Err(error) = finished {
                    break Err(error);
                }
            }
            () = wake => {}
        }
    };
    poller.close().await;
    tracing::info!("polling has ended");
    ended
}

type Hosts = RateLimiter<String, HashMapStateStore<String>, LimiterClock, NoOpMiddleware<Nanos>>;

/// All sources and the visits under way.
pub struct Poller {
    shared: Arc<Shared>,
    slots: Vec<Slot>,
    jobs: JoinSet<(usize, Result<Option<Visited>, PollError>)>,
    busy_hosts: HashSet<String>,
    /// Hosts that asked for quiet, until when.
    quiet_hosts: HashMap<String, i64>,
    hosts: Hosts,
    stop: watch::Sender<bool>,
}

struct Slot {
    source: Arc<Source>,
    state: State,
    due_ms: i64,
    running: bool,
}

impl Poller {
    /// Opens the state in `state_dir` and makes every source ready.
    pub fn open(
        settings: Settings,
        sources: Vec<Source>,
        log: Arc<dyn Log>,
        state_dir: &Path,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, PollError> {
        let store = Store::open(state_dir)?;
        let now_ms = clock.now_ms();
        let configured: Vec<&str> = sources.iter().map(|s| s.key.as_str()).collect();
        let absent_ms = i64::try_from(settings.seen_absent_s.saturating_mul(1_000)).unwrap_or(i64::MAX);
        store.forget_unused(&configured, now_ms.saturating_sub(absent_ms))?;
        let mut states = store.states()?;
        let seed = store.seed()?;
        let spread_ms = settings.start_spread_s as f64 * 1_000.0;
        let slots = sources
            .into_iter()
            .map(|source| {
                let mut state = states.remove(&source.key).unwrap_or_default();
                let start_ms = now_ms + (spread_ms * schedule::chance(seed, &source.key, 0)) as i64;
                let due_ms = state.next_due_ms.unwrap_or(start_ms).max(start_ms);
                state.next_due_ms = Some(due_ms);
                status::publish(&source, &state);
                Slot { source: Arc::new(source), state, due_ms, running: false }
            })
            .collect();
        let rate = NonZeroU32::new(settings.host_requests_per_minute).unwrap_or(NonZeroU32::MIN);
        let hosts = RateLimiter::new(
            Quota::per_minute(rate).allow_burst(NonZeroU32::MIN),
            HashMapStateStore::default(),
            LimiterClock(clock.clone()),
        );
        let (stop, stopped) = watch::channel(false);
        let fetcher = fetch::Fetcher::new(&settings)?;
        let shared = Shared { settings, log, clock, store: Arc::new(store), fetcher, seed, stop: stopped };
        Ok(Self {
            shared: Arc::new(shared),
            slots,
            jobs: JoinSet::new(),
            busy_hosts: HashSet::new(),
            quiet_hosts: HashMap::new(),
            hosts,
            stop,
        })
    }

    /// Starts what is due and may start now. Returns when to call again, if not
    /// because a visit has ended.
    pub fn start_due(&mut self) -> Option<i64> {
        let now_ms = self.shared.clock.now_ms();
        self.quiet_hosts.retain(|_, until_ms| *until_ms > now_ms);
        let mut due: Vec<usize> = (0..self.slots.len()).filter(|at| !self.slots[*at].running).collect();
        due.sort_by_key(|at| self.slots[*at].due_ms);
        let mut next_ms: Option<i64> = None;
        for at in due {
            let full = self.jobs.len() >= self.shared.settings.in_flight_max;
            let slot = &mut self.slots[at];
            let host =
                visit::current_url(&slot.source, &slot.state).host_str().unwrap_or_default().to_string();
            if slot.due_ms <= now_ms && (full || self.busy_hosts.contains(&host)) {
                // Its turn comes when a visit ends.
                continue;
            }
            if slot.due_ms <= now_ms {
                if let Some(until_ms) = self.quiet_hosts.get(&host) {
                    slot.due_ms = *until_ms;
                } else if let Err(not_until) = self.hosts.check_key(&host) {
                    let wait = not_until.wait_time_from(LimiterClock(self.shared.clock.clone()).now());
                    slot.due_ms = now_ms.saturating_add_unsigned((wait.as_millis() as u64).max(1));
                } else {
                    slot.running = true;
                    self.busy_hosts.insert(host);
                    let job = visit::visit(self.shared.clone(), slot.source.clone(), slot.state.clone());
                    self.jobs.spawn(async move { (at, job.await) });
                    continue;
                }
            }
            next_ms = Some(next_ms.map_or(slot.due_ms, |next| next.min(slot.due_ms)));
        }
        next_ms
    }

    /// Waits for one visit to end.
    async fn finished(&mut self) -> Result<(), PollError> {
        let Some(joined) = self.jobs.join_next().await else { return Ok(()) };
        let (at, ended) = joined?;
        let slot = &mut self.slots[at];
        let host = visit::current_url(&slot.source, &slot.state).host_str().unwrap_or_default().to_string();
        slot.running = false;
        self.busy_hosts.remove(&host);
        self.hosts.retain_recent();
        if let Some(visited) = ended? {
            if let Some(until_ms) = visited.host_quiet_until_ms {
                self.quiet_hosts.insert(host, until_ms);
            }
            slot.due_ms = visited.state.next_due_ms.unwrap_or(slot.due_ms);
            slot.state = visited.state;
        }
        Ok(())
    }

    /// Polls everything that is due now, to the end; returns when the next is due.
    /// For tests, which move the clock between two turns.
    pub async fn turn(&mut self) -> Result<Option<i64>, PollError> {
        loop {
            let next_ms = self.start_due();
            if self.jobs.is_empty() {
                return Ok(next_ms);
            }
            self.finished().await?;
        }
    }

    /// Breaks off what is under way and waits for it.
    pub async fn close(mut self) {
        self.stop.send_replace(true);
        while let Some(joined) = self.jobs.join_next().await {
            if let Ok((at, Err(error))) = joined {
                tracing::warn!(source = self.slots[at].source.name, %error, "a poll failed at the end");
            }
        }
        for slot in &self.slots {
            status::withdraw(&slot.source);
        }
    }
}

/// The pollers' clock as the limiter wants it.
#[derive(Clone)]
struct LimiterClock(Arc<dyn Clock>);

impl governor::clock::Clock for LimiterClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let ms = u64::try_from(self.0.now_ms()).unwrap_or(0);
        Nanos::from(std::time::Duration::from_millis(ms))
    }
}

/// The defaults, for tests: the table of the file that is compiled in.
#[cfg(test)]
pub(crate) fn default_settings() -> Settings {
    let file: toml::Table = include_str!("../config/default.toml").parse().expect("the defaults are TOML");
    file["poll"].clone().try_into().expect("[poll] has every knob")
}
