//! One connection to a platform that pushes, from its start to its end: messages in,
//! records in the log out, and how far it came written down after them.
//!
//! Two tasks with a bounded queue between them. One only reads the socket, so that a
//! slow log does not slow the platform down until the queue is full; the other turns
//! messages into records and appends them in batches. Nothing waits for analysis.
//!
//! A connection that ends is a visit that ends: the schedule starts the next one, on
//! another host after a failure, a little before where this one came to. What comes
//! twice is known by its revision. While connected nothing is due.

use std::sync::Arc;
use std::time::Duration;

use dataflows::event::Change;
use dataflows::record::Record;
use futures_util::StreamExt;
use serde::Deserialize;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use url::Url;

use super::append::{Appender, stopped};
use super::bluesky::{self, Place, Reader, Said, Told};
use super::event;
use super::fetch::FetchError;
use super::schedule::Outcome;
use super::socket::{self, Socket};
use super::source::{Backfill, Bluesky, Source};
use super::status;
use super::store::State;
use super::visit::{Broken, PollError, Shared, Visited, blocking, fail, succeed};

/// How far back a Jetstream goes.
const LOOKBACK_MS: i64 = 36 * 3_600_000;

/// A connection that stood this long was a good one, even if it brought nothing.
const LASTED: Duration = Duration::from_secs(60);

/// Between two removals of what is forgotten from the disk.
const PRUNE_INTERVAL: Duration = Duration::from_secs(600);

/// Table `[poll.stream]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub buffer_messages_max: usize,
    pub flush_interval_ms: u64,
    pub rewind_s: u64,
    pub idle_timeout_s: u64,
    pub reconnect_min_s: u64,
    pub reconnect_max_s: u64,
    pub message_bytes_max: usize,
    pub told_max: usize,
}

/// Connects, and stays until the connection ends.
pub(super) async fn session(
    shared: &Shared,
    source: &Arc<Source>,
    bluesky: &Bluesky,
    mut state: State,
    stop: &watch::Receiver<bool>,
) -> Result<Visited, Broken> {
    state.polls += 1;
    state.last_attempt_ms = Some(shared.clock.now_ms());
    // After a failure the next host, and so on around.
    let at = state.errors_in_row as usize % bluesky.hosts.len().max(1);
    let host = bluesky.hosts.get(at).unwrap_or(&source.url);
    let place = place(source, &state);
    let settings = &shared.settings.stream;
    let cursor = place.as_ref().map(|place| place.cursor(host.as_str(), settings.rewind_s));
    warn_of_a_gap(shared, source, place.as_ref());
    let url = bluesky::subscription(bluesky, host, cursor, settings.message_bytes_max);
    let connected = tokio::select! {
        connected = socket::connect(&shared.fetcher, &url, settings.message_bytes_max) => connected,
        () = stopped(stop.clone()) => return Err(Broken::Stopped),
    };
    let socket = match connected {
        Ok(socket) => socket,
        Err(error) => return refused(shared, source, state, place, &error).await,
    };
    tracing::info!(source = source.name, host = host.host_str(), cursor, "following the stream");
    let (errors_before, connected_at) = (state.errors_in_row, Instant::now());
    // Being let in is an answer: a filter may pass nothing for hours.
    succeed(source, &mut state, None, shared.clock.now_ms());
    state.next_due_ms = None;
    status::publish(source, &state, &shared.settings);
    let mut follower = Follower::new(shared, source, bluesky, host, state, place).await?;
    let ended = follower.follow(socket, stop).await?;
    let Follower { mut state, heard, .. } = follower;
    let good = heard || connected_at.elapsed() >= LASTED;
    let outcome = if good { Outcome::Ok } else { Outcome::Unreachable };
    status::count_request(source, outcome);
    if good {
        tracing::info!(source = source.name, ended, "the stream broke off, will connect again");
    } else {
        // It let us in and threw us out again: no better than before.
        state.errors_in_row = errors_before;
        fail(source, &mut state, outcome, &ended);
    }
    later(shared, source, state, None).await
}

/// Where to go on: where it came to, or where the backfill begins.
fn place(source: &Source, state: &State) -> Option<Place> {
    let kept = state.cursor.as_deref().and_then(|text| serde_json::from_str(text).ok());
    kept.or_else(|| match source.backfill {
        Backfill::Since(at) => {
            let time_us = u64::try_from(at.0).ok()?.checked_mul(1_000)?;
            Some(Place { time_us, seq: None })
        }
        Backfill::None | Backfill::Last(_) => None,
    })
}

fn warn_of_a_gap(shared: &Shared, source: &Source, place: Option<&Place>) {
    let Some(place) = place else { return };
    let away_ms = shared.clock.now_ms() - i64::try_from(place.time_us / 1_000).unwrap_or(i64::MAX);
    if away_ms > LOOKBACK_MS {
        let (away_h, kept_h) = (away_ms / 3_600_000, LOOKBACK_MS / 3_600_000);
        tracing::warn!(source = source.name, away_h, kept_h, "away for longer than the stream goes back");
        status::count_items(source, "gap", 1);
    }
}

/// The server did not let us in.
async fn refused(
    shared: &Shared,
    source: &Arc<Source>,
    mut state: State,
    place: Option<Place>,
    error: &FetchError,
) -> Result<Visited, Broken> {
    // 400 is an answer to the cursor: first the number is given up, then the time.
    if matches!(error, FetchError::Status { status: 400, .. }) {
        let without = place.filter(|p| p.seq.is_some()).map(|p| Place { seq: None, ..p });
        if without.is_none() && state.cursor.is_some() {
            tracing::warn!(source = source.name, "the stream refuses our place in it, going on from now");
            status::count_items(source, "gap", 1);
        }
        state.cursor = without.and_then(|place| serde_json::to_string(&place).ok());
    }
    status::count_request(source, error.outcome());
    // A stream has no address of its own that could be gone for good.
    let outcome = if error.outcome() == Outcome::Gone { Outcome::Http4xx } else { error.outcome() };
    fail(source, &mut state, outcome, &error.to_string());
    later(shared, source, state, error.retry_after_s()).await
}

/// Sets when to connect again.
async fn later(
    shared: &Shared,
    source: &Source,
    mut state: State,
    retry_after_s: Option<u64>,
) -> Result<Visited, Broken> {
    let settings = &shared.settings.stream;
    let doubled = settings.reconnect_min_s.saturating_mul(1 << state.errors_in_row.saturating_sub(1).min(32));
    let delay_s = retry_after_s
        .unwrap_or(0)
        .min(shared.settings.retry_after_max_s)
        .max(doubled.min(settings.reconnect_max_s));
    let due_ms = shared.clock.now_ms().saturating_add_unsigned(delay_s.saturating_mul(1_000));
    state.next_due_ms = Some(due_ms);
    let (store, key, to_write) = (shared.store.clone(), source.key.clone(), state.clone());
    blocking(move || store.commit(&key, &to_write, None)).await?.map_err(Broken::Store)?;
    status::publish(source, &state, &shared.settings);
    Ok(Visited { state, host_quiet_until_ms: None })
}

/// What a batch of messages came to.
#[derive(Default)]
struct Batch {
    records: Vec<Record>,
    created: usize,
    updated: usize,
    deleted: usize,
    filtered: usize,
    over_budget: usize,
    broken: usize,
}

struct Follower<'a> {
    shared: &'a Shared,
    source: &'a Arc<Source>,
    reader: Reader<'a>,
    host: String,
    told: Told,
    place: Option<Place>,
    state: State,
    /// Whether this connection brought anything.
    heard: bool,
    written_at: Instant,
    pruned_at: Instant,
}

impl<'a> Follower<'a> {
    async fn new(
        shared: &'a Shared,
        source: &'a Arc<Source>,
        bluesky: &'a Bluesky,
        host: &Url,
        state: State,
        place: Option<Place>,
    ) -> Result<Self, Broken> {
        let (store, key) = (shared.store.clone(), source.key.clone());
        let max = shared.settings.stream.told_max;
        let written = blocking(move || store.told(&key, max)).await?.map_err(Broken::Store)?;
        let ahead_ms = i64::try_from(shared.settings.published_ahead_max_s.saturating_mul(1_000));
        let reader = Reader::new(source, bluesky, ahead_ms.unwrap_or(i64::MAX / 2));
        let told = Told::new(max, written);
        let now = Instant::now();
        let (host, heard, written_at, pruned_at) = (host.to_string(), false, now, now);
        Ok(Self { shared, source, reader, host, told, place, state, heard, written_at, pruned_at })
    }

    /// Until the connection ends; says why it did.
    async fn follow(&mut self, socket: Socket, stop: &watch::Receiver<bool>) -> Result<String, Broken> {
        let settings = &self.shared.settings;
        let (sender, mut queue) = mpsc::channel(settings.stream.buffer_messages_max.max(1));
        let idle = Duration::from_secs(settings.stream.idle_timeout_s.max(1));
        // Dropped, it stops reading.
        let mut reading = JoinSet::new();
        reading.spawn(read(socket, sender, idle));
        let flush = Duration::from_millis(settings.stream.flush_interval_ms);
        let max = settings.append_records_max;
        let mut texts: Vec<String> = Vec::new();
        loop {
            let more = tokio::select! {
                more = queue.recv_many(&mut texts, max) => more,
                () = stopped(stop.clone()) => return Err(Broken::Stopped),
            };
            if more == 0 {
                break;
            }
            let until = Instant::now() + flush;
            while texts.len() < max {
                let room = max - texts.len();
                match tokio::time::timeout_at(until, queue.recv_many(&mut texts, room)).await {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
            }
            self.take_in(std::mem::take(&mut texts), stop).await?;
        }
        match reading.join_next().await {
            Some(Ok(reason)) => Ok(reason),
            Some(Err(error)) => Err(Broken::Fatal(PollError::Panic(error))),
            None => Ok("the connection ended".into()),
        }
    }

    /// Messages to records to the log, and then to memory.
    async fn take_in(&mut self, texts: Vec<String>, stop: &watch::Receiver<bool>) -> Result<(), Broken> {
        let now_ms = self.shared.clock.now_ms();
        let mut batch = Batch::default();
        for text in texts {
            self.sort(&mut batch, &text, now_ms);
        }
        self.heard = true;
        let (shared, source) = (self.shared, self.source);
        let appender = Appender { log: &shared.log, clock: &shared.clock, settings: &shared.settings, stop };
        let told_any = !batch.records.is_empty();
        let rejected = appender.append(source, std::mem::take(&mut batch.records)).await?;
        succeed(source, &mut self.state, None, now_ms);
        self.count(&batch, rejected, now_ms);
        // Where nothing was told it is enough to write down the place now and then.
        if told_any || self.written_at.elapsed() >= Duration::from_secs(shared.settings.stream.rewind_s) {
            self.write_down().await?;
        }
        status::publish(source, &self.state, &shared.settings);
        Ok(())
    }

    fn sort(&mut self, batch: &mut Batch, text: &str, now_ms: i64) {
        let Some(read) = self.reader.read(text, &mut self.told) else {
            batch.broken += 1;
            return;
        };
        // Times of several sources behind one host are not quite in order.
        let time_us = self.place.as_ref().map_or(0, |place| place.time_us).max(read.time_us);
        self.place = Some(Place { time_us, seq: read.seq.map(|seq| (seq, self.host.clone())) });
        match read.said {
            Said::Event(event, content) => {
                match event.change {
                    Change::Created => batch.created += 1,
                    Change::Updated => batch.updated += 1,
                    Change::Deleted => batch.deleted += 1,
                }
                batch.records.push(event::record(&event, self.source, content, now_ms));
            }
            Said::Filtered => batch.filtered += 1,
            Said::OverBudget => batch.over_budget += 1,
            Said::Other => {}
        }
    }

    fn count(&mut self, batch: &Batch, rejected: usize, now_ms: i64) {
        let state = &mut self.state;
        state.created += batch.created as u64;
        state.updated += batch.updated as u64;
        state.deleted += batch.deleted as u64;
        state.broken += batch.broken as u64;
        state.rejected += rejected as u64;
        if batch.created > 0 {
            state.rhythm.came(now_ms);
        }
        let items = [
            ("created", batch.created),
            ("updated", batch.updated),
            ("deleted", batch.deleted),
            ("filtered", batch.filtered),
            ("over_budget", batch.over_budget),
            ("broken", batch.broken),
            ("rejected", rejected),
        ];
        for (change, items) in items {
            status::count_items(self.source, change, items);
        }
    }

    async fn write_down(&mut self) -> Result<(), Broken> {
        self.state.seeded = true;
        self.state.cursor = self.place.as_ref().and_then(|place| serde_json::to_string(place).ok());
        let (new, mut forgotten_us) = self.told.take_new();
        // Looks at every row: now and then.
        if self.pruned_at.elapsed() < PRUNE_INTERVAL {
            forgotten_us = 0;
        } else {
            self.pruned_at = Instant::now();
        }
        let (store, key, state) = (self.shared.store.clone(), self.source.key.clone(), self.state.clone());
        let written = blocking(move || store.commit_told(&key, &state, &new, forgotten_us)).await?;
        written.map_err(Broken::Store)?;
        self.written_at = Instant::now();
        Ok(())
    }
}

/// Reads until the connection ends or nobody wants more; says why.
async fn read(mut socket: Socket, queue: mpsc::Sender<String>, idle: Duration) -> String {
    loop {
        let text = match tokio::time::timeout(idle, socket.next()).await {
            Err(_) => return format!("nothing came for {} s", idle.as_secs()),
            Ok(None) => return "the server ended the connection".into(),
            Ok(Some(Err(error))) => return format!("the connection broke: {error}"),
            Ok(Some(Ok(Message::Text(text)))) => text,
            Ok(Some(Ok(Message::Close(frame)))) => {
                let code = frame.map_or_else(String::new, |f| format!(" ({})", u16::from(f.code)));
                return format!("the server closed the connection{code}");
            }
            // Pings are answered by the socket itself.
            Ok(Some(Ok(_))) => continue,
        };
        if queue.send(text).await.is_err() {
            return "stopped".into();
        }
    }
}
