//! DIGEST: committed content.enriched, results.volume, results.stories, alerts and
//! control.clock → digests and discord.outbox.
//!
//! Time is the pipeline clock only: when items were ingested, and ticks. A digest is
//! decided once the clock is past its time and a little more, is a fact about the
//! prefix of the log read so far, and is never recomputed; edits and deletions of what
//! it shows amend it under the same key.
//!
//! Invariants:
//! - A digest, its outbox record and the positions are one transaction; whether a
//!   window has its digest is read from the topic, so a crash neither loses nor
//!   repeats one.
//! - Memory is rebuilt from the log at the start and bounded by named caps; see
//!   [`store`] for what it holds.
//! - The committed position of content.enriched does not pass a change that waits to
//!   be shown, so that the wait survives a restart.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dataflows::event::Enriched;
use dataflows::record::{Positions, Record, Stored, TopicPartition, topic};
use dataflows::time::{HOUR_MS, Millis};

use tokio::sync::mpsc::Receiver;

use self::posted::Posted;
use self::quiet::Quiet;
use self::store::Items;
use self::told::Stories;
use super::Settings;
use super::activity::Activities;
use super::deliver::{ranges, reached, record};
use super::digest::{Candidates, Digest, Known, Material, decide};
use super::health::Health;
use super::message::of_digest;
use super::metrics;
use super::outbox::{OutboxRecord, Outgoing};
use super::routes::Route;
use super::schedule::Window;
use crate::log::{Committer, Log, LogError, Reader, Transaction, commit};

mod ask;
pub mod posted;
mod quiet;
pub(crate) mod rebuild;
pub mod store;
pub mod told;

pub use ask::{Ask, CANDIDATES_MAX, Preview};

/// Name of the committer and of the group of its positions.
pub const GROUP: &str = "digest";
const IDLE_WAIT: Duration = Duration::from_millis(500);
/// Questions that wait for an answer.
pub const ASKS_MAX: usize = 16;
/// What the lookback adds to two windows: delays, and published up to an hour ahead.
const LOOKBACK_MARGIN_MS: i64 = 4 * HOUR_MS;

#[derive(Debug, thiserror::Error)]
pub enum DigestError {
    /// Stop; the log says how.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The caller asked for what there is not.
    #[error("{0}")]
    Refused(String),
}

impl From<DigestError> for LogError {
    /// For a thread that ends: whoever fenced it must be told from a failure.
    fn from(error: DigestError) -> Self {
        match error {
            DigestError::Log(error) => error,
            DigestError::Refused(why) => Self::Fatal(why),
        }
    }
}

/// What the digester remembers of each route.
#[derive(Debug)]
struct RouteState {
    route: Arc<Route>,
    /// End of the last scheduled window that has a record.
    last_end: Option<Millis>,
    /// What the last posted digest showed.
    shown: BTreeSet<String>,
}

pub struct Digester {
    settings: Settings,
    routes: Vec<RouteState>,
    committer: Option<Box<dyn Committer>>,
    reader: Box<dyn Reader>,
    clock: Millis,
    /// The first instant the clock showed: nothing before it is due.
    since: Option<Millis>,
    items: Items,
    stories: Stories,
    activities: Activities,
    posted: Posted,
    quiet: Quiet,
    lookback_ms: i64,
    /// Positions of content.enriched changed since the last commit.
    moved: bool,
    health: Arc<Health>,
}

impl Digester {
    /// Fences earlier holders and rebuilds the memory from the log. `preview` opens no
    /// committer: nothing can be written.
    pub fn open(
        log: &dyn Log,
        settings: Settings,
        routes: Vec<Route>,
        health: Arc<Health>,
        preview: bool,
    ) -> Result<Self, DigestError> {
        let committer = if preview { None } else { Some(log.committer(GROUP)?) };
        let window_max = routes.iter().map(Route::window_bound_ms).max().unwrap_or(HOUR_MS);
        let lookback_ms = 2 * window_max + LOOKBACK_MARGIN_MS;
        let knobs = &settings.digests;
        let route_states = routes
            .into_iter()
            .map(|route| RouteState { route: Arc::new(route), last_end: None, shown: BTreeSet::new() })
            .collect();
        let (starts, ends) = rebuild::start_positions(log, lookback_ms)?;
        let mut digester = Self {
            routes: route_states,
            committer,
            reader: log.reader(&starts)?,
            clock: Millis(i64::MIN),
            since: None,
            items: Items::new(knobs.items_max, knobs.items_bytes_max),
            stories: Stories::new(knobs.stories_max),
            activities: Activities::new(knobs.cells_max),
            posted: Posted::new(knobs),
            quiet: Quiet::default(),
            lookback_ms,
            moved: false,
            settings,
            health,
        };
        digester.read_digests(log)?;
        while !reached(&digester.reader.positions(), &ends) {
            digester.read(IDLE_WAIT)?;
        }
        digester.expire();
        Ok(digester)
    }

    /// Decides and writes until asked to stop, and answers what is asked.
    pub fn run(&mut self, asked: &mut Receiver<Ask>, stop: &AtomicBool) -> Result<(), DigestError> {
        while !stop.load(Ordering::Relaxed) {
            self.step(IDLE_WAIT)?;
            while let Ok(ask) = asked.try_recv() {
                self.answer(ask)?;
            }
        }
        Ok(())
    }

    /// Reads what is new, and commits what it makes due. How many digests were decided.
    pub fn step(&mut self, wait: Duration) -> Result<usize, DigestError> {
        self.read(wait)?;
        let mut digests = self.due();
        let decided = digests.len();
        digests.extend(self.posted.amendments(self.clock));
        if !digests.is_empty() || self.moved {
            self.commit(&digests)?;
        }
        self.expire();
        self.report();
        Ok(decided)
    }

    pub fn clock(&self) -> Millis {
        self.clock
    }

    fn decide_for(
        &self,
        route: &Arc<Route>,
        window: Window,
        shown: &BTreeSet<String>,
        candidates_max: usize,
    ) -> (Digest, Candidates) {
        let now = self.activities.volume(window, route);
        let before = self.activities.volume(window.previous(), route);
        let material = Material {
            route,
            window,
            decided_at: self.clock,
            now: &now,
            before: &before,
            shown_before: shown,
            story_of: &|id| self.stories.of(id),
        };
        let (mut digest, candidates) =
            decide(&material, self.items.iter(), &self.settings.choice, candidates_max);
        self.quiet.add_to(&mut digest);
        (digest, candidates)
    }

    /// Digests that the clock makes due: one per route, for its latest window.
    fn due(&self) -> Vec<Digest> {
        let Some(since) = self.since else { return Vec::new() };
        let settled = Millis(self.clock.0.saturating_sub(ms(self.settings.digests.settle_s)));
        let mut digests = Vec::new();
        for state in &self.routes {
            let route = &state.route;
            let after = state.last_end.unwrap_or(since);
            let Some(fire) = route.last_fire(settled).filter(|fire| *fire > after) else { continue };
            let Some(window) = route.window_of(fire) else { continue };
            let (mut digest, _) = self.decide_for(route, window, &state.shown, 0);
            // A route without any digest yet has missed nothing.
            if state.last_end.is_some() {
                let limit = self.settings.digests.missed_records_max;
                let (missed, more) = route.fires_between(after, Millis(fire.0 - 1), limit);
                digest.missed = missed.len() as u64 + more;
                metrics::DIGESTS.with_label_values(&["skipped", "missed"]).inc_by(more);
                let windows = missed.into_iter().filter_map(|f| route.window_of(f));
                digests.extend(windows.map(|w| Digest::skipped(&route.name, w, self.clock, "missed")));
            }
            digests.push(digest);
        }
        digests
    }

    fn read(&mut self, wait: Duration) -> Result<(), DigestError> {
        for stored in self.reader.poll(wait, self.settings.digests.batch_bytes_max)? {
            match &*stored.topic {
                topic::CLOCK => self.tick(Millis(stored.timestamp_ms)),
                topic::ALERTS => self.quiet.apply(&stored),
                topic::STORIES => {
                    if !self.stories.apply(&stored) {
                        tracing::warn!(offset = stored.offset, "a record of results.stories is unreadable");
                    }
                }
                topic::VOLUME => {
                    if !self.activities.apply(&stored, self.oldest()) {
                        tracing::warn!(offset = stored.offset, "a record of results.volume is unreadable");
                    }
                }
                _ => self.enriched(&stored),
            }
        }
        Ok(())
    }

    fn enriched(&mut self, stored: &Stored) {
        self.moved = true;
        // A deletion past the identity horizon: the item is forgotten everywhere.
        let Some(value) = &stored.value else { return };
        let enriched: Enriched = match serde_json::from_slice(value) {
            Ok(enriched) => enriched,
            Err(error) => {
                tracing::warn!(%error, offset = stored.offset, "a record of content.enriched is unreadable");
                return;
            }
        };
        self.tick(enriched.ingested_at);
        let place = (TopicPartition::new(stored.topic.clone(), stored.partition), stored.offset);
        let known = Known::of(&enriched);
        self.posted.changed(&enriched.id, enriched.version, known.as_ref(), &place);
        self.items.apply(&enriched.id, enriched.version, known);
    }

    fn tick(&mut self, at: Millis) {
        self.clock = self.clock.max(at);
        let since = self.since.get_or_insert(at);
        *since = (*since).min(at);
    }

    fn oldest(&self) -> Millis {
        Millis(self.clock.0.saturating_sub(self.lookback_ms))
    }

    fn expire(&mut self) {
        let oldest = self.oldest();
        self.items.expire(oldest);
        self.activities.expire(oldest);
        self.posted.expire(self.clock);
        self.quiet.expire(oldest);
    }

    fn commit(&mut self, digests: &[Digest]) -> Result<(), DigestError> {
        let records: Vec<Record> = digests.iter().flat_map(|d| self.records_of(d)).collect();
        let positions = self.held_positions();
        let Some(committer) = &mut self.committer else {
            return Err(DigestError::Refused("opened for a preview only".to_string()));
        };
        let transaction = Transaction { group: GROUP.to_string(), records, positions };
        commit(committer.as_mut(), &transaction)?;
        self.moved = false;
        for digest in digests {
            posted::count(digest);
            self.remember(digest.clone());
        }
        Ok(())
    }

    fn records_of(&self, digest: &Digest) -> Vec<Record> {
        let key = digest.key.clone().into_bytes();
        let value = serde_json::to_vec(digest).expect("texts and numbers serialize");
        let mut records = vec![record(topic::DIGESTS, key.clone(), value, self.clock.0)];
        let route = self.routes.iter().find(|r| r.route.name == digest.route);
        if let (None, Some(route)) = (&digest.skipped, route) {
            let outgoing = OutboxRecord::Message(Outgoing {
                key: digest.key.clone(),
                route: digest.route.clone(),
                sequence: digest.sequence,
                reason: if digest.sequence == 1 { "digest".into() } else { posted::reason(digest).into() },
                created_at: digest.amended_at.unwrap_or(digest.decided_at),
                content_ids: digest.content_ids(),
                message: of_digest(digest, &route.route.zone),
            });
            let value = serde_json::to_vec(&outgoing).expect("a message serializes");
            records.push(record(topic::OUTBOX, key, value, self.clock.0));
        }
        records
    }

    /// A digest that is in the log: of this process or an earlier one.
    fn remember(&mut self, digest: Digest) {
        if let Some(state) = self.routes.iter_mut().find(|r| r.route.name == digest.route)
            && !digest.manual
        {
            let newer = state.last_end.is_none_or(|end| digest.window.end > end);
            if newer {
                state.last_end = Some(digest.window.end);
            }
            if newer && digest.skipped.is_none() {
                state.shown = digest.items.iter().map(|item| item.id.clone()).collect();
            }
        }
        self.quiet.remember(&digest);
        if digest.skipped.is_none() {
            self.posted.track(digest);
        }
    }

    fn read_digests(&mut self, log: &dyn Log) -> Result<(), DigestError> {
        let (starts, ends) = ranges(log, topic::DIGESTS)?;
        let mut reader = log.reader(&starts)?;
        while !reached(&reader.positions(), &ends) {
            for stored in reader.poll(IDLE_WAIT, self.settings.digests.batch_bytes_max)? {
                let Some(value) = &stored.value else { continue };
                match serde_json::from_slice::<Digest>(value) {
                    Ok(digest) => {
                        self.clock = self.clock.max(digest.decided_at);
                        self.remember(digest);
                    }
                    Err(error) => tracing::warn!(%error, offset = stored.offset, "a digest is unreadable"),
                }
            }
        }
        Ok(())
    }

    fn held_positions(&self) -> Positions {
        let mut positions = self.reader.positions();
        for (place, offset) in self.posted.waiting() {
            if let Some(position) = positions.get_mut(&place) {
                *position = (*position).min(offset);
            }
        }
        positions
    }

    fn report(&self) {
        let entries = [
            ("items", self.items.len()),
            ("stories", self.stories.len()),
            ("cells", self.activities.len()),
            ("posted", self.posted.len()),
        ];
        for (kind, count) in entries {
            metrics::DIGEST_MEMORY.with_label_values(&[kind]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let next =
            self.routes.iter().filter_map(|r| Some((r.route.name.clone(), r.route.next_fire(self.clock)?)));
        self.health.digesting(
            self.clock,
            next.collect(),
            self.items.dropped + self.stories.dropped + self.activities.dropped,
        );
    }
}

fn ms(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000)
}
