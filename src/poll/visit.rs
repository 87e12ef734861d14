//! One poll of one source: fetch, read, compare, append, remember; in that order.
//!
//! Invariant: what is remembered advances only after the log has the records. A
//! visit that is broken off anywhere (crash, shutdown, error) leaves the state of
//! before, and the next one sends the same again.

use std::sync::Arc;

use dataflows::record::Record;
use tokio::sync::watch;
use tokio::task::{JoinError, spawn_blocking};
use url::Url;

use super::changes::{self, Changes, Input, Memory};
use super::clock::Clock;
use super::event;
use super::feed::{self, Feed, NotAFeed};
use super::fetch::{FetchError, Fetcher, Response};
use super::schedule::{self, Moment, Outcome};
use super::settings::Settings;
use super::source::Source;
use super::status;
use super::store::{State, Store, StoreError};
use crate::log::{Log, LogError};

/// What all visits share.
pub(super) struct Shared {
    pub settings: Settings,
    pub log: Arc<dyn Log>,
    pub clock: Arc<dyn Clock>,
    pub store: Arc<Store>,
    pub fetcher: Fetcher,
    pub seed: u64,
    /// True once: visits end early.
    pub stop: watch::Receiver<bool>,
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
enum Broken {
    Stopped,
    Fatal(PollError),
    Store(StoreError),
}

/// Polls once. `Ok(None)`: broken off by the shutdown.
pub(super) async fn visit(
    shared: Arc<Shared>,
    source: Arc<Source>,
    before: State,
) -> Result<Option<Visited>, PollError> {
    match attempt(&shared, &source, before.clone()).await {
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
            status::publish(&source, &state);
            Ok(Some(Visited { state, host_quiet_until_ms: None }))
        }
    }
}

async fn attempt(shared: &Shared, source: &Arc<Source>, mut state: State) -> Result<Visited, Broken> {
    let started_ms = shared.clock.now_ms();
    state.polls += 1;
    state.last_attempt_ms = Some(started_ms);
    let url = current_url(source, &state);
    let fetched = tokio::select! {
        fetched = shared.fetcher.get(&url, &state.validators, started_ms) => fetched,
        () = stopped(shared.stop.clone()) => return Err(Broken::Stopped),
    };
    let (outcome, retry_after_s, max_age_s, changes) = match fetched {
        Err(error) => {
            fail(source, &mut state, error.outcome(), &error.to_string());
            (effective(&state, &error), error.retry_after_s(), None, None)
        }
        Ok(response) => {
            let max_age_s = response.max_age_s;
            let (outcome, changes) = work_off(shared, source, &mut state, response).await?;
            (outcome, None, max_age_s, changes)
        }
    };
    status::count_request(source, outcome);
    let now_ms = shared.clock.now_ms();
    let chance = schedule::chance(shared.seed, &source.key, state.polls);
    let moment = Moment {
        outcome,
        now_ms,
        interval_s: source.interval_s,
        errors_in_row: state.errors_in_row,
        retry_after_s,
        max_age_s,
        wishes: &state.wishes,
        chance,
    };
    let due_ms = schedule::next_due_ms(&shared.settings, &moment);
    state.next_due_ms = Some(due_ms);
    let (store, key, to_write) = (shared.store.clone(), source.key.clone(), state.clone());
    blocking(move || store.commit(&key, &to_write, changes.as_ref())).await?.map_err(Broken::Store)?;
    status::publish(source, &state);
    let limited = outcome == Outcome::RateLimited;
    Ok(Visited { state, host_quiet_until_ms: limited.then_some(due_ms) })
}

/// Where the source is asked: where it moved to, else where it is configured.
pub(super) fn current_url(source: &Source, state: &State) -> Url {
    let moved = state.moved_to.as_deref().and_then(|moved| Url::parse(moved).ok());
    moved.unwrap_or_else(|| source.url.clone())
}

fn fail(source: &Source, state: &mut State, outcome: Outcome, error: &str) {
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
fn effective(state: &State, error: &FetchError) -> Outcome {
    match error.outcome() {
        Outcome::Gone if !state.gone => Outcome::Http4xx,
        outcome => outcome,
    }
}

fn succeed(source: &Source, state: &mut State, response_moved: Option<Url>, now_ms: i64) {
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

/// A response: not modified, a feed, or something else.
async fn work_off(
    shared: &Shared,
    source: &Arc<Source>,
    state: &mut State,
    response: Response,
) -> Result<(Outcome, Option<Changes>), Broken> {
    let Response { body, content_type, url, moved_to, validators, .. } = response;
    let now_ms = shared.clock.now_ms();
    let Some(body) = body else {
        succeed(source, state, moved_to, now_ms);
        return Ok((Outcome::NotModified, None));
    };
    let read: Result<Feed, NotAFeed> =
        blocking(move || feed::read(&body, content_type.as_deref(), url.as_str()))
            .await
            .unwrap_or_else(|_| Err(NotAFeed::Other("what the parser cannot bear".into())));
    let feed = match read {
        Ok(feed) => feed,
        Err(error) => {
            fail(source, state, Outcome::Parse, &error.to_string());
            return Ok((Outcome::Parse, None));
        }
    };
    let (wishes, broken) = (feed.wishes.clone(), feed.skipped);
    let (changes, ladder) = compare(shared, source, state, feed, now_ms).await?;
    let count = |change| changes.events.iter().filter(|(e, _)| e.change == change).count();
    let created = count(dataflows::event::Change::Created);
    let updated = count(dataflows::event::Change::Updated);
    let records = changes.events.iter().map(|(e, hash)| event::record(e, source, *hash, now_ms)).collect();
    let rejected = append(shared, source, records).await?;

    succeed(source, state, moved_to, now_ms);
    state.ladder = ladder;
    state.seeded = true;
    state.validators = validators;
    state.wishes = wishes;
    state.created += created as u64;
    state.updated += updated as u64;
    state.broken += broken as u64;
    state.rejected += rejected as u64;
    let items = [("created", created), ("updated", updated), ("duplicate", changes.duplicates)];
    for (change, items) in items.into_iter().chain([("broken", broken), ("rejected", rejected)]) {
        status::count_items(source, change, items);
    }
    tracing::debug!(source = source.name, created, updated, broken, rejected, "polled");
    Ok((Outcome::Ok, Some(changes)))
}

/// Compares with what is known, and writes down first-seen times.
async fn compare(
    shared: &Shared,
    source: &Arc<Source>,
    state: &State,
    feed: Feed,
    now_ms: i64,
) -> Result<(Changes, super::identity::Ladder), Broken> {
    let (store, source) = (shared.store.clone(), source.clone());
    let (mut ladder, first_fetch) = (state.ladder, !state.seeded);
    let s = &shared.settings;
    let ms = |seconds: u64| i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX);
    let memory = Memory {
        seen_max: s.seen_max,
        absent_ms: ms(s.seen_absent_s),
        ahead_ms: ms(s.published_ahead_max_s),
    };
    let compared = move || -> Result<_, StoreError> {
        let known = store.known(&source.key)?;
        let undated = store.undated(&source.key)?;
        let drafts = event::drafts(&source, feed);
        let input = Input { source: &source, drafts, known, undated: &undated, first_fetch, now_ms, memory };
        let changes = changes::compare(input, &mut ladder);
        store.write_undated(&source.key, &changes.undated)?;
        Ok((changes, ladder))
    };
    blocking(compared).await?.map_err(Broken::Store)
}

/// Appends everything, waiting as long as the log does not take it. Returns how
/// many records the log refused for good.
async fn append(shared: &Shared, source: &Source, records: Vec<Record>) -> Result<usize, Broken> {
    let mut waiting = batches(records, &shared.settings);
    let mut rejected = 0;
    while let Some(batch) = waiting.pop() {
        let (log, to_append) = (shared.log.clone(), batch.clone());
        match blocking(move || log.append(to_append)).await? {
            Ok(_) => {}
            Err(LogError::Rejected(reason)) if batch.len() == 1 => {
                rejected += 1;
                tracing::warn!(source = source.name, reason, "the log refused an item, it is dropped");
            }
            // One of them; the others must not suffer for it.
            Err(LogError::Rejected(_)) => waiting.extend(batch.into_iter().rev().map(|record| vec![record])),
            Err(error @ (LogError::Retry(_) | LogError::Full(_))) => {
                tracing::warn!(source = source.name, %error, "the log does not take what was polled, will wait");
                status::publish_waiting(source, &error.to_string());
                let at_ms = shared.clock.now_ms().saturating_add_unsigned(shared.settings.append_retry_ms);
                tokio::select! {
                    () = shared.clock.sleep_until(at_ms) => {}
                    () = stopped(shared.stop.clone()) => return Err(Broken::Stopped),
                }
                let now_ms = shared.clock.now_ms();
                let restamped = |record| Record { timestamp_ms: now_ms, ..record };
                waiting.push(batch.into_iter().map(restamped).collect());
            }
            Err(error) => return Err(Broken::Fatal(error.into())),
        }
    }
    Ok(rejected)
}

/// Batches within the limits, the last one first.
fn batches(records: Vec<Record>, settings: &Settings) -> Vec<Vec<Record>> {
    let mut batches: Vec<Vec<Record>> = Vec::new();
    let mut bytes = 0;
    for record in records {
        let size = record.key.len() + record.value.as_ref().map_or(0, Vec::len);
        match batches.last_mut() {
            Some(batch)
                if batch.len() < settings.append_records_max && bytes + size <= settings.append_bytes_max =>
            {
                bytes += size;
                batch.push(record);
            }
            _ => {
                bytes = size;
                batches.push(vec![record]);
            }
        }
    }
    batches.reverse();
    batches
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Broken> {
    spawn_blocking(work).await.map_err(|error| Broken::Fatal(PollError::Panic(error)))
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the poller is gone, which is a stop too.
    let _ = stop.wait_for(|stop| *stop).await;
}
