//! ALERT: committed topics, and samples of the process → alerts and discord.outbox.
//!
//! Every `interval_s` of the pipeline clock, once that instant is `settle_s` past, the
//! rules are looked at. What that changes is one transaction: alert records, messages
//! and positions. So a crash neither loses nor repeats one.
//!
//! Invariants:
//! - Time is the pipeline clock only. After downtime the instants between are looked at
//!   one after the other, as they would have been (`catch_up_max_h` of them at most).
//! - Open alerts and cooldowns come from the topic alerts, how far was decided from
//!   state.alerts, which every transaction writes; nothing is decided twice.
//! - Samples of the process are of now only: for instants of the past nothing is known
//!   of sources, disk and delivery, and alerts about them stay as they are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dataflows::record::{Record, Stored, TopicPartition, topic};
use dataflows::time::{HOUR_MS, MINUTE_MS, Millis};
use parking_lot::Mutex;

use self::feed::Feed;
use self::standing::Standing;
use super::board::{Board, Change};
use super::record::{Alert, State};
use super::rule::Rule;
use super::sample::{Sampler, Samples};
use super::watch::{Detail, World};
use super::{Settings, metrics, ms};
use crate::discord::deliver::{ranges, reached, record};
use crate::discord::message::of_alert;
use crate::discord::outbox::{OutboxRecord, Outgoing};
use crate::discord::routes::Route;
use crate::log::{Committer, Log, LogError, Transaction, commit};

pub mod feed;
mod standing;

/// Name of the committer and of the group of its positions.
pub const GROUP: &str = "alert";
const IDLE_WAIT: Duration = Duration::from_millis(500);
/// How much of the clock passes at most between two commits of positions.
const COMMIT_INTERVAL_MS: i64 = 10 * MINUTE_MS;

pub struct Engine {
    settings: Settings,
    rules: Vec<Rule>,
    routes: BTreeMap<String, Route>,
    committer: Box<dyn Committer>,
    feed: Feed,
    board: Board,
    samples: Arc<Mutex<Samples>>,
    sampler: Sampler,
    /// The last instant that was looked at; `None` before the clock began.
    decided: Option<Millis>,
    committed_at: Millis,
    /// Positions changed since the last commit.
    moved: bool,
    stop: Arc<AtomicBool>,
}

impl Engine {
    /// Fences earlier holders and rebuilds everything from the log. `routes` are those of
    /// routes.toml and the built-in ones. `samples` is shared with who answers questions.
    /// What `stop` interrupts goes on from there at the next start.
    pub fn open(
        log: &dyn Log,
        settings: Settings,
        rules: Vec<Rule>,
        routes: &[Route],
        samples: Arc<Mutex<Samples>>,
        sampler: Sampler,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, LogError> {
        let committer = log.committer(GROUP)?;
        let committed = log.committed(GROUP)?;
        let mut board = Board::new(&settings);
        restore(log, &mut board, settings.batch_bytes_max)?;
        let state = Standing::read(log, settings.batch_bytes_max)?;
        let decided = state.as_ref().map(|state| state.decided);
        let late = state.map(|state| state.late).unwrap_or_default();
        let watched: Vec<Rule> = rules.iter().filter(|rule| rule.enabled).cloned().collect();
        let world = World::new(&watched, &settings);
        let mut feed = Feed::open(log, world, decided, &committed, settings.batch_bytes_max)?;
        let came = |stored: &Stored, own: Millis| {
            let place = TopicPartition::new(stored.topic.clone(), stored.partition);
            let is_new = committed.get(&place).is_none_or(|position| stored.offset >= *position);
            match decided {
                Some(decided) if is_new && own <= decided => Millis(decided.0 + 1),
                Some(_) if !is_new && &*stored.topic == topic::ENRICHED => {
                    let id = std::str::from_utf8(&stored.key).unwrap_or_default();
                    late.get(id).copied().unwrap_or(own)
                }
                _ => own,
            }
        };
        feed.catch_up(came, |changed| board.changed(changed), &stop)?;
        let is_first = decided.is_none();
        let decided = decided.or(feed.clock.map(|clock| instant(&settings, clock)));
        let mut engine = Self {
            routes: routes.iter().map(|route| (route.name.clone(), route.clone())).collect(),
            rules,
            committer,
            feed,
            board,
            samples,
            sampler,
            decided,
            committed_at: decided.unwrap_or(Millis(i64::MIN)),
            moved: false,
            stop,
            settings,
        };
        engine.observe();
        // What is new here begins with now, and so it does after a crash.
        if is_first && !engine.stops() && engine.decided.is_some() {
            engine.commit(&[])?;
        }
        Ok(engine)
    }

    /// Decides and writes until asked to stop.
    pub fn run(&mut self) -> Result<(), LogError> {
        while !self.stops() {
            self.step(IDLE_WAIT)?;
        }
        Ok(())
    }

    fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Reads what is new, and looks at the rules at every instant that is due, unless it is
    /// asked to stop. How many records were written.
    pub fn step(&mut self, wait: Duration) -> Result<usize, LogError> {
        let decided = self.decided;
        let came = |_: &Stored, own: Millis| match decided {
            Some(decided) if own <= decided => Millis(decided.0 + 1),
            _ => own,
        };
        let board = &mut self.board;
        self.moved |= self.feed.read(wait, &came, &mut |changed| board.changed(changed))?;
        let Some(clock) = self.feed.clock else { return Ok(0) };
        let until = instant(&self.settings, clock);
        if self.decided.is_none() {
            self.decided = Some(until);
            self.commit(&[])?;
        }
        let mut decided = self.decided.unwrap_or(until);
        let skipped = until.0 - decided.0 - ms(self.settings.catch_up_max_h, HOUR_MS);
        if skipped > 0 {
            tracing::warn!(seconds = skipped / 1_000, "alerts of a long time ago are not decided any more");
            metrics::SKIPPED.with_label_values(&["catch_up"]).inc_by((skipped / 1_000) as u64);
            decided = Millis(decided.0 + skipped).floor(self.settings.interval_ms());
        }
        let mut written = 0;
        while decided < until && !self.stops() {
            decided = Millis(decided.0 + self.settings.interval_ms());
            written += self.decide(decided, decided == until)?;
        }
        Ok(written)
    }

    /// The last instant that was looked at.
    pub fn decided(&self) -> Option<Millis> {
        self.decided
    }

    pub fn live(&self) -> impl Iterator<Item = &Alert> {
        self.board.live()
    }

    /// Looks at every rule at one instant; `is_now` is whether samples tell of it.
    fn decide(&mut self, at: Millis, is_now: bool) -> Result<usize, LogError> {
        let mut samples = self.samples.lock();
        if is_now && samples.is_due(at) {
            samples.push((self.sampler)(at));
        }
        let sample = samples.at(at).filter(|_| is_now);
        self.feed.world.advance(at);
        let mut changes = self.board.retire(at, &self.rules);
        for rule in self.rules.iter().filter(|rule| rule.enabled) {
            let readings = self.feed.world.readings(rule, at, sample, Detail::Met);
            let quiet = self.routes.get(&rule.route).is_some_and(|route| route.is_quiet(at));
            changes.extend(self.board.step(at, rule, quiet, &readings));
        }
        changes.extend(self.board.corrections(at));
        drop(samples);
        self.decided = Some(at);
        let is_time = at.0 - self.committed_at.0 >= COMMIT_INTERVAL_MS;
        if !changes.is_empty() || self.moved || is_time {
            self.commit(&changes)?;
        }
        if at.0.rem_euclid(MINUTE_MS) < self.settings.interval_ms() {
            self.feed.world.expire(at);
            self.board.expire(at);
            self.report();
        }
        Ok(changes.len())
    }

    /// Of the hold times before what was decided, what was absent then.
    fn observe(&mut self) {
        let Some(decided) = self.decided else { return };
        let judged = |rule: &&Rule| rule.enabled && !rule.kind().is_operational();
        let rules: Vec<Rule> = self.rules.iter().filter(judged).cloned().collect();
        let hold_ms = rules.iter().map(|rule| rule.hold_ms).max().unwrap_or(0);
        let mut at = Millis(decided.0 - hold_ms).floor(self.settings.interval_ms());
        while at < decided && !self.stops() && self.board.live().next().is_some() {
            at = Millis(at.0 + self.settings.interval_ms());
            self.feed.world.advance(at);
            for rule in rules.iter().filter(|rule| decided.0 - at.0 <= rule.hold_ms) {
                let readings = self.feed.world.readings(rule, at, None, Detail::Met);
                self.board.observe(at, rule, &readings);
            }
        }
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), LogError> {
        let mut records: Vec<Record> = changes.iter().flat_map(records_of).collect();
        let state = self.decided.map(|decided| Standing { decided, late: self.feed.world.late() });
        records.extend(state.iter().map(Standing::record));
        let transaction = Transaction { group: GROUP.to_string(), records, positions: self.feed.positions() };
        commit(self.committer.as_mut(), &transaction)?;
        self.moved = false;
        self.committed_at = self.decided.unwrap_or(self.committed_at);
        for change in changes {
            metrics::ALERTS.with_label_values(&[change.alert.rule.as_str(), change.outcome]).inc();
            tracing::info!(
                key = change.alert.key,
                kind = change.alert.kind.name(),
                outcome = change.outcome,
                "an alert changed"
            );
        }
        Ok(())
    }

    fn report(&self) {
        let set = |kind: &str, count: usize| {
            metrics::MEMORY.with_label_values(&[kind]).set(i64::try_from(count).unwrap_or(i64::MAX));
        };
        self.feed.world.sizes().iter().for_each(|(kind, count)| set(kind, *count));
        set("alerts", self.board.followed());
        for rule in &self.rules {
            let live = self.board.live().filter(|alert| alert.rule == rule.name).count();
            metrics::LIVE.with_label_values(&[&rule.name]).set(i64::try_from(live).unwrap_or(i64::MAX));
        }
    }
}

/// The latest instant that is decided when the clock shows this.
pub(super) fn instant(settings: &Settings, clock: Millis) -> Millis {
    Millis(clock.0.saturating_sub(settings.settle_ms())).floor(settings.interval_ms())
}

/// Reads the topic alerts: of each the last record.
fn restore(log: &dyn Log, board: &mut Board, batch_bytes_max: usize) -> Result<(), LogError> {
    let mut alerts: BTreeMap<String, Alert> = BTreeMap::new();
    read_topic(log, topic::ALERTS, batch_bytes_max, |stored| {
        let Some(value) = &stored.value else { return };
        match serde_json::from_slice::<Alert>(value) {
            Ok(alert) => match alerts.get(&alert.key) {
                Some(known) if known.edits >= alert.edits => {}
                _ => {
                    alerts.insert(alert.key.clone(), alert);
                }
            },
            Err(error) => tracing::warn!(%error, offset = stored.offset, "an alert is unreadable"),
        }
    })?;
    // As they opened: of one rule and subject the last is the live one.
    let mut alerts: Vec<Alert> = alerts.into_values().collect();
    alerts.sort_by(|a, b| (a.since, &a.key).cmp(&(b.since, &b.key)));
    alerts.into_iter().for_each(|alert| board.restore(alert));
    Ok(())
}

/// Reads a topic to the end that it has now.
pub(super) fn read_topic(
    log: &dyn Log,
    name: &str,
    batch_bytes_max: usize,
    mut apply: impl FnMut(&Stored),
) -> Result<(), LogError> {
    let (starts, ends) = ranges(log, name)?;
    let mut reader = log.reader(&starts)?;
    while !reached(&reader.positions(), &ends) {
        reader.poll(IDLE_WAIT, batch_bytes_max)?.iter().for_each(&mut apply);
    }
    Ok(())
}

/// The record of an alert, and its message where it has one.
fn records_of(change: &Change) -> Vec<Record> {
    let alert = &change.alert;
    let key = alert.key.clone().into_bytes();
    let value = serde_json::to_vec(alert).expect("texts and numbers serialize");
    let mut records = vec![record(topic::ALERTS, key.clone(), value, alert.updated.0)];
    if change.message {
        let reason = match (alert.state, alert.edits) {
            (State::Resolved, _) => "resolved",
            (State::Firing, 0) => "alert",
            (State::Firing, _) => "edited",
        };
        let outgoing = OutboxRecord::Message(Outgoing {
            key: alert.key.clone(),
            route: alert.route.clone(),
            sequence: u64::from(alert.edits) + 1,
            reason: reason.to_string(),
            created_at: alert.updated,
            content_ids: alert.content_ids.clone(),
            message: of_alert(alert),
        });
        let value = serde_json::to_vec(&outgoing).expect("a message serializes");
        records.push(record(topic::OUTBOX, key, value, alert.updated.0));
    }
    records
}
