//! One poll of one source: fetch, read, compare, append, remember; in that order.
//!
//! Invariant: what is remembered advances only after the log has the records. A
//! visit that is broken off anywhere (crash, shutdown, error) leaves the state of
//! before, and the next one sends the same again.

use std::sync::Arc;

use dataflows::event::Change;
use tokio::sync::watch;
use tokio::task::{JoinError, spawn_blocking};
use url::Url;

use super::append::{Appender, Unfinished, stopped};
use super::changes::{self, Changes, Input, Known, Memory};
use super::clock::Clock;
use super::event;
use super::feed::{self, Feed, NotAFeed};
use super::fetch::Fetcher;
use super::hackernews;
use super::harvest::{Harvest, Keep, NoHarvest};
use super::mastodon;
use super::schedule::{self, Moment, Outcome};
use super::settings::Settings;
use super::source::{Kind, Source};
use super::status;
use super::store::{State, Store, StoreError};
use super::stream;
use crate::log::{Log, LogError};

/// What all visits share.
pub(super) struct Shared {
    pub settings: Settings,
    pub log: Arc<dyn Log>,
    pub clock: Arc<dyn Clock>,
    pub store: Arc<Store>,
    pub fetcher: Fetcher,
    pub seed: u64,
}

/// How a visit ended.
#[derive(Debug)]
pub(super) struct Visited {
    pub state: State,
    /// The host asked for quiet until then.
    pub host_quiet_until_ms: Option<i64>,
}

/// Why polling as a whole cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    #[error("cannot open the pollers' state: {0}")]
    Store(#[from] StoreError),
    #[error("cannot set up the HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    /// The log cannot be used any more; what it says holds.
    #[error("cannot append what was polled: {0}")]
    Log(#[from] LogError),
    #[error("a poll failed in a way that is our bug: {0}")]
    Panic(#[from] JoinError),
}

/// Why a visit ended without an outcome.
pub(super) enum Broken {
    Stopped,
    Fatal(PollError),
    Store(StoreError),
}

impl From<Unfinished> for Broken {
    fn from(unfinished: Unfinished) -> Self {
        match unfinished {
            Unfinished::Stopped => Self::Stopped,
            Unfinished::Log(error) => Self::Fatal(error.into()),
            Unfinished::Panic(error) => Self::Fatal(PollError::Panic(error)),
        }
    }
}

/// Polls once; of a stream, holds one connection until it ends. `Ok(None)`: broken off
/// because it was told to stop, which `stop` says.
pub(super) async fn visit(
    shared: Arc<Shared>,
    source: Arc<Source>,
    before: State,
    stop: watch::Receiver<bool>,
) -> Result<Option<Visited>, PollError> {
    let ended = match &source.kind {
        Kind::Bluesky(bluesky) => stream::session(&shared, &source, bluesky, before.clone(), &stop).await,
        _ => attempt(&shared, &source, before.clone(), &stop).await,
    };
    match ended {
        Ok(visited) => Ok(Some(visited)),
        Err(Broken::Stopped) => Ok(None),
        Err(Broken::Fatal(error)) => Err(error),
        Err(Broken::Store(error)) => {
            // Nothing advanced, on disk or here: the next visit does it again.
            tracing::error!(source = source.name, %error, "cannot remember a poll, will poll again");
            let now_ms = shared.clock.now_ms();
            let errors_in_row = before.errors_in_row.saturating_add(1);
            let delay_s = schedule::backoff_s(&shared.settings, errors_in_row);
            let next_due_ms = Some(now_ms.saturating_add_unsigned(delay_s.saturating_mul(1_000)));
            let state = State { errors_in_row, last_error: Some(error.to_string()), next_due_ms, ..before };
            status::publish(&source, &state, &shared.settings);
            Ok(Some(Visited { state, host_quiet_until_ms: None }))
        }
    }
}

async fn attempt(
    shared: &Shared,
    source: &Arc<Source>,
    mut state: State,
    stop: &watch::Receiver<bool>,
) -> Result<Visited, Broken> {
    state.polls += 1;
    state.last_attempt_ms = Some(shared.clock.now_ms());
    let known = match source.kind {
        Kind::HackerNews(_) | Kind::Mastodon(_) => Some(known(shared, source).await?),
        _ => None,
    };
    let seen = tokio::select! {
        seen = look(shared, source, &state, known.as_deref().unwrap_or_default()) => seen?,
        () = stopped(stop.clone()) => return Err(Broken::Stopped),
    };
    let mut ended = Ended::default();
    let mut changes = None;
    match seen {
        Seen::Nothing(error) => ended.failed(source, &mut state, &error),
        Seen::NotModified { moved_to, max_age_s } => {
            succeed(source, &mut state, moved_to, shared.clock.now_ms());
            ended = Ended { outcome: Outcome::NotModified, max_age_s, ..ended };
        }
        Seen::Harvest(mut harvest) => {
            ended.max_age_s = harvest.max_age_s;
            ended.pause_s = harvest.pause_s;
            let interrupted = harvest.interrupted.take();
            changes = Some(take_in(shared, source, &mut state, *harvest, known, stop).await?);
            if let Some(error) = interrupted {
                ended.failed(source, &mut state, &error);
            }
        }
    }
    status::count_request(source, ended.outcome);
    finish(shared, source, state, &ended, changes).await
}

/// How a poll ended, as the schedule needs it.
struct Ended {
    outcome: Outcome,
    retry_after_s: Option<u64>,
    max_age_s: Option<u64>,
    pause_s: Option<u64>,
}

impl Default for Ended {
    fn default() -> Self {
        Self { outcome: Outcome::Ok, retry_after_s: None, max_age_s: None, pause_s: None }
    }
}

impl Ended {
    fn failed(&mut self, source: &Source, state: &mut State, error: &NoHarvest) {
        fail(source, state, error.outcome(), &error.to_string());
        self.outcome = effective(state, error);
        self.retry_after_s = error.retry_after_s();
    }
}

/// Sets when the source is due again, and writes everything down.
async fn finish(
    shared: &Shared,
    source: &Source,
    mut state: State,
    ended: &Ended,
    changes: Option<Changes>,
) -> Result<Visited, Broken> {
    let now_ms = shared.clock.now_ms();
    let moment = Moment {
        outcome: ended.outcome,
        now_ms,
        interval_s: source.interval_s,
        errors_in_row: state.errors_in_row,
        retry_after_s: ended.retry_after_s,
        max_age_s: ended.max_age_s,
        wishes: &state.wishes,
        chance: schedule::chance(shared.seed, &source.key, state.polls),
    };
    let mut due_ms = schedule::next_due_ms(&shared.settings, &moment);
    let pause_s = ended.pause_s.map(|s| s.min(shared.settings.retry_after_max_s));
    let paused_ms = pause_s.map(|s| now_ms.saturating_add_unsigned(s.saturating_mul(1_000)));
    due_ms = due_ms.max(paused_ms.unwrap_or(due_ms));
    state.next_due_ms = Some(due_ms);
    let (store, key, to_write) = (shared.store.clone(), source.key.clone(), state.clone());
    blocking(move || store.commit(&key, &to_write, changes.as_ref())).await?.map_err(Broken::Store)?;
    status::publish(source, &state, &shared.settings);
    let limited = (ended.outcome == Outcome::RateLimited).then_some(due_ms);
    Ok(Visited { state, host_quiet_until_ms: limited.or(paused_ms) })
}

/// Where the source is asked: where it moved to, else where it is configured.
pub(super) fn current_url(source: &Source, state: &State) -> Url {
    let moved = state.moved_to.as_deref().and_then(|moved| Url::parse(moved).ok());
    moved.unwrap_or_else(|| source.url.clone())
}

pub(super) fn fail(source: &Source, state: &mut State, outcome: Outcome, error: &str) {
    state.errors_in_row = state.errors_in_row.saturating_add(1);
    state.last_error = Some(error.to_string());
    let lasting = !matches!(outcome, Outcome::RateLimited | Outcome::Http5xx | Outcome::Timeout);
    if lasting && let Some(moved) = state.moved_to.take() {
        // The old address may know better; if not, it says the same again.
        tracing::warn!(source = source.name, %moved, error, "a moved source fails, asking the configured address");
        state.last_error = Some(format!("{error} (at {moved}, to which it had moved)"));
        return;
    }
    if outcome == Outcome::Gone && !state.gone {
        state.gone = true;
        tracing::warn!(source = source.name, "the source says it is gone for good, will look again rarely");
    }
    if state.errors_in_row == 1 {
        tracing::warn!(source = source.name, outcome = outcome.label(), error, "a poll failed");
    }
}

/// A 410 counts only from the configured address.
fn effective(state: &State, error: &NoHarvest) -> Outcome {
    match error.outcome() {
        Outcome::Gone if !state.gone => Outcome::Http4xx,
        outcome => outcome,
    }
}

pub(super) fn succeed(source: &Source, state: &mut State, response_moved: Option<Url>, now_ms: i64) {
    if state.errors_in_row > 0 || state.gone {
        tracing::info!(source = source.name, errors = state.errors_in_row, "the source works again");
    }
    state.errors_in_row = 0;
    state.last_error = None;
    state.gone = false;
    state.last_success_ms = Some(now_ms);
    if let Some(moved) = response_moved {
        tracing::info!(source = source.name, to = %moved, "the source has moved for good");
        state.moved_to = Some(moved.to_string()).filter(|moved| *moved != source.url.as_str());
    }
}

/// What the platform answered.
enum Seen {
    Nothing(NoHarvest),
    NotModified { moved_to: Option<Url>, max_age_s: Option<u64> },
    Harvest(Box<Harvest>),
}

async fn look(shared: &Shared, source: &Arc<Source>, state: &State, known: &[Known]) -> Result<Seen, Broken> {
    let now_ms = shared.clock.now_ms();
    let (fetcher, settings) = (&shared.fetcher, &shared.settings);
    let harvest = match &source.kind {
        Kind::HackerNews(own) => {
            hackernews::harvest(fetcher, settings, source, own, state, known, now_ms).await
        }
        Kind::Mastodon(own) => {
            let asking = mastodon::Asking { fetcher, settings, source, mastodon: own, known, now_ms };
            mastodon::harvest(&asking, state).await
        }
        _ => return look_at_feed(shared, source, state, now_ms).await,
    };
    Ok(harvest.map_or_else(Seen::Nothing, |harvest| Seen::Harvest(Box::new(harvest))))
}

async fn look_at_feed(
    shared: &Shared,
    source: &Arc<Source>,
    state: &State,
    now_ms: i64,
) -> Result<Seen, Broken> {
    let url = current_url(source, state);
    let response = match shared.fetcher.get(&url, &state.validators, now_ms).await {
        Ok(response) => response,
        Err(error) => return Ok(Seen::Nothing(error.into())),
    };
    let (moved_to, max_age_s, validators) = (response.moved_to, response.max_age_s, response.validators);
    let Some(body) = response.body else { return Ok(Seen::NotModified { moved_to, max_age_s }) };
    let (content_type, url) = (response.content_type, response.url);
    let read: Result<Feed, NotAFeed> =
        blocking(move || feed::read(&body, content_type.as_deref(), url.as_str()))
            .await
            .unwrap_or_else(|_| Err(NotAFeed::Other("what the parser cannot bear".into())));
    let feed = match read {
        Ok(feed) => feed,
        Err(error) => return Ok(Seen::Nothing(NoHarvest::Unreadable(error.to_string()))),
    };
    let keep = Keep { validators, wishes: feed.wishes.clone(), ..Keep::of(state) };
    let broken = feed.skipped;
    let mut drafts = event::drafts(source, feed, shared.settings.engagement_step_ratio);
    if let Some(share) = shared.settings.youtube.filter(|_| source.kind == Kind::Youtube) {
        drafts.retain(|draft| share.includes(&draft.event.content_id()));
    }
    let harvest = Harvest { drafts, broken, keep, moved_to, max_age_s, ..Harvest::default() };
    Ok(Seen::Harvest(Box::new(harvest)))
}

/// Compares, appends, and sets the state to what is then true.
async fn take_in(
    shared: &Shared,
    source: &Arc<Source>,
    state: &mut State,
    mut harvest: Harvest,
    known: Option<Vec<Known>>,
    stop: &watch::Receiver<bool>,
) -> Result<Changes, Broken> {
    let now_ms = shared.clock.now_ms();
    let (drafts, gone) = (std::mem::take(&mut harvest.drafts), std::mem::take(&mut harvest.gone));
    let (changes, ladder) = compare(shared, source, state, (drafts, gone, known), now_ms).await?;
    let count = |change| changes.events.iter().filter(|(e, _)| e.change == change).count();
    let (created, updated, deleted) =
        (count(Change::Created), count(Change::Updated), count(Change::Deleted));
    let records = changes.events.iter().map(|(e, hash)| event::record(e, source, *hash, now_ms)).collect();
    let appender = Appender { log: &shared.log, clock: &shared.clock, settings: &shared.settings, stop };
    let rejected = appender.append(source, records).await?;

    succeed(source, state, harvest.moved_to, now_ms);
    let first = !state.seeded;
    state.ladder = ladder;
    state.seeded = true;
    state.validators = harvest.keep.validators;
    state.wishes = harvest.keep.wishes;
    state.cursor = harvest.keep.cursor;
    state.page = harvest.keep.page;
    state.created += created as u64;
    state.updated += updated as u64;
    state.deleted += deleted as u64;
    state.broken += harvest.broken as u64;
    state.rejected += rejected as u64;
    // What is there at the first look did not come just now.
    if created > 0 && !first {
        state.rhythm.came(now_ms);
    }
    let broken = harvest.broken;
    let items = [("created", created), ("updated", updated), ("deleted", deleted), ("broken", broken)];
    for (change, items) in
        items.into_iter().chain([("duplicate", changes.duplicates), ("rejected", rejected)])
    {
        status::count_items(source, change, items);
    }
    tracing::debug!(source = source.name, created, updated, deleted, broken, rejected, "polled");
    Ok(changes)
}

async fn known(shared: &Shared, source: &Arc<Source>) -> Result<Vec<Known>, Broken> {
    let (store, key) = (shared.store.clone(), source.key.clone());
    blocking(move || store.known(&key)).await?.map_err(Broken::Store)
}

/// Compares with what is known, and writes down first-seen times.
async fn compare(
    shared: &Shared,
    source: &Arc<Source>,
    state: &State,
    (drafts, gone, known): (Vec<event::Draft>, Vec<String>, Option<Vec<Known>>),
    now_ms: i64,
) -> Result<(Changes, super::identity::Ladder), Broken> {
    let (store, source) = (shared.store.clone(), source.clone());
    let (mut ladder, first_fetch) = (state.ladder, !state.seeded);
    let s = &shared.settings;
    let ms = |seconds: u64| i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX);
    let absent_s = if source.kind.has_ids() { s.seen_absent_ids_s } else { s.seen_absent_s };
    let memory =
        Memory { seen_max: s.seen_max, absent_ms: ms(absent_s), ahead_ms: ms(s.published_ahead_max_s) };
    let compared = move || -> Result<_, StoreError> {
        let known = known.map_or_else(|| store.known(&source.key), Ok)?;
        let undated = store.undated(&source.key)?;
        let undated = &undated;
        let input = Input { source: &source, drafts, gone, known, undated, first_fetch, now_ms, memory };
        let changes = changes::compare(input, &mut ladder);
        store.write_undated(&source.key, &changes.undated)?;
        Ok((changes, ladder))
    };
    blocking(compared).await?.map_err(Broken::Store)
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Broken> {
    spawn_blocking(work).await.map_err(|error| Broken::Fatal(PollError::Panic(error)))
}
