//! Pollers: what the platforms publish in, content events in content.events out.
//!
//! A source is fetched when it is due, one at a time per host and within a rate
//! per host; what it shows is compared with what is known of it, and the
//! difference is appended to the log. A platform that pushes is followed over one
//! connection at a time, which is a visit that lasts. The order in the code is that of
//! the data: [`source`] (what to follow; [`reload`] and [`overlay`]: its changes,
//! [`discover`]: finding one), [`schedule`] (when), [`fetch`] and [`guard`] (over the
//! network), [`decode`], [`outline`] and [`feed`] (bytes to entries), [`hackernews`],
//! [`mastodon`], [`youtube`] and [`bluesky`] (what platforms say), [`harvest`],
//! [`event`], [`identity`] and [`changes`] (entries to events), `visit` (all of it,
//! once), [`stream`] (all of it, all the time), `append` (into the log), [`store`]
//! (what is remembered), [`rhythm`] and [`status()`] (how it goes).
//!
//! Invariants:
//! - The state of a source advances only after the log has its records, so a crash
//!   repeats and never loses.
//! - A source is never given up: errors lengthen its delay to a ceiling, 410 to a
//!   week, and all of it is visible in [`status()`].
//! - Nothing depends on the newest date: new is what is not known.
//!
//! A new platform is a file beside [`feed`] that turns responses into a
//! [`Harvest`](harvest::Harvest), a `type` in [`source`], and its call in `visit`.

use std::collections::{BTreeMap, HashMap, HashSet};
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
mod append;
pub mod bluesky;
pub mod changes;
pub mod clock;
pub mod command;
pub mod decode;
pub mod discover;
pub mod event;
pub mod feed;
pub mod fetch;
pub mod guard;
pub mod hackernews;
pub mod harvest;
pub mod health;
pub mod identity;
mod look;
pub mod mastodon;
pub mod outline;
pub mod overlay;
pub mod page;
pub mod reload;
pub mod rhythm;
pub mod schedule;
pub mod settings;
mod socket;
pub mod source;
pub mod status;
pub mod store;
pub mod stream;
mod visit;
pub mod youtube;

pub use clock::{Clock, SystemClock};
pub use reload::Overlay;
pub use rhythm::silent_after_ms;
pub use settings::Settings;
pub use source::Source;
pub use status::{Condition, SourceStatus, status, status_at};
pub use visit::PollError;

use store::{State, Store};
use visit::{Shared, Visited};

/// What is followed, and where its changes are found.
pub struct Following {
    pub sources: Vec<Source>,
    /// The file to follow; `None`: the sources stay as they are.
    pub overlay: Option<Overlay>,
}

/// Polls until `shutdown` resolves, or the log cannot be used any more. What is
/// under way at the shutdown is broken off, which loses nothing.
pub async fn run(
    settings: Settings,
    following: Following,
    log: Arc<dyn Log>,
    state_dir: &Path,
    clock: Arc<dyn Clock>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), PollError> {
    let Following { sources, mut overlay } = following;
    let reload_ms = settings.reload_interval_s.saturating_mul(1_000);
    let mut poller = Poller::open(settings, sources, log, state_dir, clock.clone())?;
    tracing::info!(sources = poller.slots.len(), "polling starts");
    tokio::pin!(shutdown);
    let mut looks = tokio::time::interval(std::time::Duration::from_millis(reload_ms.max(1)));
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
            _ = looks.tick(), if overlay.is_some() => {
                if let Some(sources) = overlay.as_mut().and_then(Overlay::changed)
                    && let Err(error) = poller.replace(sources)
                {
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
    slots: BTreeMap<String, Slot>,
    jobs: JoinSet<(String, Result<Option<Visited>, PollError>)>,
    /// Hosts that are being asked; streams do not count.
    busy_hosts: HashSet<String>,
    /// Hosts that asked for quiet, until when.
    quiet_hosts: HashMap<String, i64>,
    hosts: Hosts,
}

struct Slot {
    source: Arc<Source>,
    state: State,
    due_ms: i64,
    /// Place in the list: of what is due at once the first goes first.
    rank: usize,
    /// The visit under way: the host it asks, and how to break it off.
    visit: Option<(String, watch::Sender<bool>)>,
    /// What comes in the place of the source once the visit has ended; `Some(None)`:
    /// nothing, it is not followed any more.
    next: Option<Option<Arc<Source>>>,
}

impl Slot {
    fn new(source: Source, mut state: State, start_ms: i64, settings: &Settings) -> Self {
        let due_ms = state.next_due_ms.unwrap_or(start_ms).max(start_ms);
        state.next_due_ms = Some(due_ms);
        status::publish(&source, &state, settings);
        Self { source: Arc::new(source), state, due_ms, rank: 0, visit: None, next: None }
    }
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
        let seed = store.seed()?;
        let rate = NonZeroU32::new(settings.host_requests_per_minute).unwrap_or(NonZeroU32::MIN);
        let hosts = RateLimiter::new(
            Quota::per_minute(rate).allow_burst(NonZeroU32::MIN),
            HashMapStateStore::default(),
            LimiterClock(clock.clone()),
        );
        let fetcher = fetch::Fetcher::new(&settings)?;
        let shared = Shared { settings, log, clock, store: Arc::new(store), fetcher, seed };
        let mut poller = Self {
            shared: Arc::new(shared),
            slots: BTreeMap::new(),
            jobs: JoinSet::new(),
            busy_hosts: HashSet::new(),
            quiet_hosts: HashMap::new(),
            hosts,
        };
        poller.replace(sources)?;
        Ok(poller)
    }

    /// Follows these sources from now on. Those that stay go on undisturbed; of those
    /// that are gone or changed the visit under way is broken off.
    pub fn replace(&mut self, mut sources: Vec<Source>) -> Result<(), PollError> {
        let shared = self.shared.clone();
        sources.retain(|source| shared.settings.follows(source));
        let now_ms = shared.clock.now_ms();
        let configured: Vec<&str> = sources.iter().map(|s| s.key.as_str()).collect();
        let absent_ms =
            i64::try_from(shared.settings.seen_absent_s.saturating_mul(1_000)).unwrap_or(i64::MAX);
        shared.store.forget_unused(&configured, now_ms.saturating_sub(absent_ms))?;
        let wanted: HashSet<String> = sources.iter().map(|s| s.key.clone()).collect();
        let gone: Vec<String> = self.slots.keys().filter(|key| !wanted.contains(*key)).cloned().collect();
        gone.iter().for_each(|key| self.change(key, None));
        let mut states = shared.store.states()?;
        let spread_ms = shared.settings.start_spread_s as f64 * 1_000.0;
        for (rank, source) in sources.into_iter().enumerate() {
            let key = source.key.clone();
            match self.slots.get(&key) {
                Some(slot) if *slot.source == source && slot.next.is_none() => {}
                Some(_) => self.change(&key, Some(Arc::new(source))),
                None => {
                    let state = states.remove(&key).unwrap_or_default();
                    let chance = schedule::chance(shared.seed, &source.key, 0);
                    let start_ms = now_ms + (spread_ms * chance) as i64;
                    self.slots.insert(key.clone(), Slot::new(source, state, start_ms, &shared.settings));
                }
            }
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.rank = rank;
            }
        }
        Ok(())
    }

    /// Puts another source, or none, in the place of one; at once if it rests.
    fn change(&mut self, key: &str, next: Option<Arc<Source>>) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        if let Some((_, stop)) = &slot.visit {
            stop.send_replace(true);
            slot.next = Some(next);
            return;
        }
        status::forget(&slot.source);
        match next {
            Some(source) => {
                slot.source = source;
                status::publish(&slot.source, &slot.state, &self.shared.settings);
            }
            None => {
                self.slots.remove(key);
            }
        }
    }

    /// Starts what is due and may start now. Returns when to call again, if not
    /// because a visit has ended.
    pub fn start_due(&mut self) -> Option<i64> {
        let now_ms = self.shared.clock.now_ms();
        self.quiet_hosts.retain(|_, until_ms| *until_ms > now_ms);
        let mut polls = self.polls_under_way();
        let resting = self.slots.iter().filter(|(_, slot)| slot.visit.is_none());
        let mut due: Vec<(i64, usize, String)> =
            resting.map(|(key, slot)| (slot.due_ms, slot.rank, key.clone())).collect();
        due.sort_unstable();
        let mut next_ms: Option<i64> = None;
        for (_, _, key) in due {
            let full = polls >= self.shared.settings.in_flight_max;
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            let stream = slot.source.kind.is_stream();
            let host =
                visit::current_url(&slot.source, &slot.state).host_str().unwrap_or_default().to_string();
            if slot.due_ms <= now_ms && !stream && (full || self.busy_hosts.contains(&host)) {
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
                    let (stop, stopped) = watch::channel(false);
                    if !stream {
                        self.busy_hosts.insert(host.clone());
                        polls += 1;
                    }
                    slot.visit = Some((host, stop));
                    let (source, state) = (slot.source.clone(), slot.state.clone());
                    let job = visit::visit(self.shared.clone(), source, state, stopped);
                    self.jobs.spawn(async move { (key, job.await) });
                    continue;
                }
            }
            next_ms = Some(next_ms.map_or(slot.due_ms, |next| next.min(slot.due_ms)));
        }
        next_ms
    }

    fn polls_under_way(&self) -> usize {
        self.slots.values().filter(|slot| slot.visit.is_some() && !slot.source.kind.is_stream()).count()
    }

    /// Waits for one visit to end.
    async fn finished(&mut self) -> Result<(), PollError> {
        let Some(joined) = self.jobs.join_next().await else { return Ok(()) };
        let (key, ended) = joined?;
        let Some(slot) = self.slots.get_mut(&key) else { return Ok(()) };
        let host = slot.visit.take().map(|(host, _)| host).unwrap_or_default();
        if !slot.source.kind.is_stream() {
            self.busy_hosts.remove(&host);
        }
        self.hosts.retain_recent();
        match ended? {
            Some(visited) => {
                if let Some(until_ms) = visited.host_quiet_until_ms {
                    self.quiet_hosts.insert(host, until_ms);
                }
                slot.due_ms = visited.state.next_due_ms.unwrap_or(slot.due_ms);
                slot.state = visited.state;
            }
            // Broken off: what it wrote down until then holds.
            None => {
                if let Some(state) = self.shared.store.states()?.remove(&key) {
                    slot.due_ms = state.next_due_ms.unwrap_or(slot.due_ms);
                    slot.state = state;
                }
            }
        }
        if let Some(next) = slot.next.take() {
            self.change(&key, next);
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
        for (_, stop) in self.slots.values().filter_map(|slot| slot.visit.as_ref()) {
            stop.send_replace(true);
        }
        while let Some(joined) = self.jobs.join_next().await {
            if let Ok((key, Err(error))) = joined {
                tracing::warn!(source = key, %error, "a poll failed at the end");
            }
        }
        for slot in self.slots.values() {
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
