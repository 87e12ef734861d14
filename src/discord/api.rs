//! The HTTP side: digests and the outbox as the log has them, and the way to ask.
//!
//! [`View`] follows digests, discord.outbox and discord.sent by itself, so it is right
//! in whichever process the workers run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::{Path, Query, State as Extract};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use dataflows::record::{Positions, Stored, topic};
use dataflows::time::Millis;

use super::deliver::{ranges, reached, record};
use super::digest::Digest;
use super::digester::{Ask, Preview};
use super::message::{Message, footer};
use super::outbox::{Entry, Outbox, OutboxRecord, Resolution, Resolve, State};
use crate::log::{Log, LogError, Reader};
use crate::ops::http::Problem;

const LIMIT_DEFAULT: usize = 50;
pub(super) const LIMIT_MAX: usize = 200;
/// Digests shown; older ones are in the topic.
const DIGESTS_MAX: usize = 1_000;
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;
const IDLE_WAIT: Duration = Duration::from_millis(250);
/// How long an answer waits for what it asked for.
const ASK_WAIT: Duration = Duration::from_secs(20);
/// Seconds after which a question that found nobody may be asked again.
const RETRY_AFTER_S: u64 = 5;
const RESOLVE_WAIT: Duration = Duration::from_secs(3);
const RESOLVE_LOOK: Duration = Duration::from_millis(50);

/// What the topics say, for reading.
#[derive(Debug)]
pub struct View {
    outbox: Outbox,
    digests: BTreeMap<(Millis, String), Digest>,
}

impl View {
    pub fn new(keys_max: usize) -> Self {
        Self { outbox: Outbox::new(keys_max), digests: BTreeMap::new() }
    }

    /// Takes a record of one of the three topics; unreadable ones are not shown.
    pub fn apply(&mut self, stored: &Stored) {
        if &*stored.topic != topic::DIGESTS {
            if let Err(error) = self.outbox.apply(stored) {
                tracing::debug!(%error, "a record is not shown");
            }
            return;
        }
        let Some(digest) = stored.value.as_ref().and_then(|v| serde_json::from_slice::<Digest>(v).ok())
        else {
            return;
        };
        self.digests.insert((digest.decided_at, digest.key.clone()), digest);
        while self.digests.len() > DIGESTS_MAX {
            self.digests.pop_first();
        }
    }

    /// The newest first, from after the cursor.
    pub fn digests(&self, page: &Page) -> Listed<Digest> {
        let all = self.digests.iter().rev().map(|((at, key), digest)| (*at, key.as_str(), digest.clone()));
        page.list(all)
    }

    pub fn outbox(&self, page: &Page) -> Listed<OutboxItem> {
        let mut entries: Vec<&Entry> =
            self.outbox.entries().filter(|e| page.state.is_none_or(|state| e.sent.state == state)).collect();
        entries
            .sort_by(|a, b| (b.wanted.created_at, &b.wanted.key).cmp(&(a.wanted.created_at, &a.wanted.key)));
        page.list(
            entries.into_iter().map(|e| (e.wanted.created_at, e.wanted.key.as_str(), OutboxItem::of(e))),
        )
    }

    pub fn item(&self, key: &str) -> Option<OutboxItem> {
        self.outbox.get(key).map(OutboxItem::of)
    }

    pub fn check(&self, resolve: &Resolve) -> Result<(), String> {
        self.outbox.resolved(resolve, resolve.asked_at).map(|_| ())
    }
}

/// One key of the outbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OutboxItem {
    pub key: String,
    pub route: String,
    pub state: State,
    #[serde(default)]
    pub reason: Option<String>,
    /// What Discord shows, and what it should show.
    pub sequence: u64,
    pub wanted_sequence: u64,
    pub attempts: u32,
    #[serde(default)]
    pub channel_id: Option<String>,
    #[serde(default)]
    pub message_id: Option<String>,
    /// What the footer of the post says, to find it by eye.
    pub footer: String,
    pub created_at: Millis,
    pub changed_at: Millis,
    /// While it may still be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Message>,
}

impl OutboxItem {
    fn of(entry: &Entry) -> Self {
        let Entry { wanted, sent, .. } = entry;
        let message = &wanted.message;
        Self {
            key: wanted.key.clone(),
            route: wanted.route.clone(),
            state: sent.state,
            reason: sent.reason.clone(),
            sequence: sent.sequence,
            wanted_sequence: wanted.sequence,
            attempts: sent.attempts,
            channel_id: sent.channel_id.clone(),
            message_id: sent.message_id.clone(),
            footer: footer(&wanted.key),
            created_at: wanted.created_at,
            changed_at: sent.at,
            message: (*message != Message::default()).then(|| message.clone()),
        }
    }
}

/// `limit`, `cursor`, and for the outbox `state`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    #[serde(default)]
    pub limit: Option<usize>,
    #[serde(default)]
    pub cursor: Option<String>,
    #[serde(default)]
    pub state: Option<State>,
}

/// A page, and where the next one starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Listed<T> {
    pub items: Vec<T>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl Page {
    fn list<'a, T>(&self, newest_first: impl Iterator<Item = (Millis, &'a str, T)>) -> Listed<T> {
        let after = self
            .cursor
            .as_deref()
            .and_then(|c| c.split_once('~'))
            .and_then(|(at, key)| Some((Millis(at.parse().ok()?), key.to_string())));
        let limit = self.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX);
        let rest = newest_first
            .filter(|(at, key, _)| after.as_ref().is_none_or(|(a, k)| (*at, *key) < (*a, k.as_str())));
        let mut page: Vec<(String, T)> =
            rest.take(limit + 1).map(|(at, key, item)| (format!("{}~{key}", at.0), item)).collect();
        let more = page.len() > limit;
        page.truncate(limit);
        let cursor = page.last().filter(|_| more).map(|(cursor, _)| cursor.clone());
        Listed { items: page.into_iter().map(|(_, item)| item).collect(), cursor }
    }
}

/// Follows the three topics.
pub struct Follower {
    reader: Box<dyn Reader>,
    ends: Positions,
    view: Arc<Mutex<View>>,
}

impl Follower {
    pub fn open(log: &dyn Log, keys_max: usize) -> Result<Self, LogError> {
        let mut starts = Positions::new();
        let mut ends = Positions::new();
        for name in [topic::DIGESTS, topic::OUTBOX, topic::SENT] {
            let (first, last) = ranges(log, name)?;
            starts.extend(first);
            ends.extend(last);
        }
        Ok(Self { reader: log.reader(&starts)?, ends, view: Arc::new(Mutex::new(View::new(keys_max))) })
    }

    pub fn view(&self) -> Arc<Mutex<View>> {
        self.view.clone()
    }

    /// Reads until everything that was there at the opening is in the view.
    pub fn catch_up(&mut self) -> Result<(), LogError> {
        while !reached(&self.reader.positions(), &self.ends) {
            self.step(IDLE_WAIT)?;
        }
        Ok(())
    }

    pub fn step(&mut self, wait: Duration) -> Result<(), LogError> {
        let records = self.reader.poll(wait, READ_BYTES_MAX)?;
        let mut view = self.view.lock();
        records.iter().for_each(|stored| view.apply(stored));
        Ok(())
    }

    pub fn run(&mut self, stop: &AtomicBool) -> Result<(), LogError> {
        while !stop.load(Ordering::Relaxed) {
            self.step(IDLE_WAIT)?;
        }
        Ok(())
    }
}

/// What the handlers share.
#[derive(Clone)]
pub struct Api {
    pub view: Arc<Mutex<View>>,
    pub log: Arc<dyn Log>,
    /// To the digester, where it runs in this process.
    pub asks: Option<tokio::sync::mpsc::Sender<Ask>>,
}

/// The routes, ready to be merged.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/v1/digests", get(digests))
        .route("/v1/digests/preview", get(preview))
        .route("/v1/digests/send", post(send))
        .route("/v1/outbox", get(outbox))
        .route("/v1/outbox/{key}/resolve", post(resolve))
        .with_state(api)
}

async fn digests(Extract(api): Extract<Api>, Query(page): Query<Page>) -> Json<Listed<Digest>> {
    Json(api.view.lock().digests(&page))
}

async fn outbox(Extract(api): Extract<Api>, Query(page): Query<Page>) -> Json<Listed<OutboxItem>> {
    Json(api.view.lock().outbox(&page))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfRoute {
    #[serde(default)]
    route: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PreviewOf {
    #[serde(default)]
    route: Option<String>,
    /// Candidates of each preview.
    #[serde(default)]
    limit: Option<usize>,
}

async fn preview(
    Extract(api): Extract<Api>,
    Query(of): Query<PreviewOf>,
) -> Result<Json<Vec<Preview>>, Problem> {
    let mut previews = ask(&api, |answer| Ask::Preview { route: of.route, answer }).await?;
    let limit = of.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX);
    previews.iter_mut().for_each(|preview| preview.candidates.truncate(limit));
    Ok(Json(previews))
}

async fn send(Extract(api): Extract<Api>, Query(of): Query<OfRoute>) -> Result<Json<Vec<Preview>>, Problem> {
    ask(&api, |answer| Ask::Send { route: of.route, answer }).await.map(Json)
}

type Answer = tokio::sync::oneshot::Sender<Result<Vec<Preview>, String>>;

async fn ask(api: &Api, make: impl FnOnce(Answer) -> Ask) -> Result<Vec<Preview>, Problem> {
    let unavailable = |text: &str| Problem::unavailable(text, RETRY_AFTER_S);
    let asks = api.asks.as_ref().ok_or_else(|| unavailable("digests are not decided in this process"))?;
    let (answer, answered) = tokio::sync::oneshot::channel();
    asks.try_send(make(answer))
        .map_err(|_| unavailable("too many questions wait, or the digester stopped"))?;
    match tokio::time::timeout(ASK_WAIT, answered).await {
        Ok(Ok(Ok(previews))) => Ok(previews),
        Ok(Ok(Err(why))) => Err(Problem::bad_request(why)),
        Ok(Err(_)) => Err(unavailable("the digester stopped")),
        Err(_) => Err(unavailable("the digester is busy; it may still do what was asked")),
    }
}

/// Records what a person decided; the deliverer applies it.
pub fn append_resolve(log: &dyn Log, resolve: &Resolve) -> Result<(), LogError> {
    let value = serde_json::to_vec(&OutboxRecord::Resolve(resolve.clone())).expect("texts serialize");
    let key = format!("resolve~{}", resolve.key).into_bytes();
    log.append(vec![record(topic::OUTBOX, key, value, resolve.asked_at.0)]).map(|_| ())
}

async fn resolve(
    Extract(api): Extract<Api>,
    Path(key): Path<String>,
    Json(action): Json<Resolution>,
) -> Result<(StatusCode, Json<OutboxItem>), Problem> {
    let resolve = Resolve { key: key.clone(), action, asked_at: Millis(super::wall_clock_ms()) };
    let before = api
        .view
        .lock()
        .item(&key)
        .ok_or_else(|| Problem::not_found(format!("no post has the key {key:?}")))?;
    api.view.lock().check(&resolve).map_err(|why| Problem::new(StatusCode::CONFLICT, why))?;
    let log = api.log.clone();
    let appended = tokio::task::spawn_blocking(move || append_resolve(log.as_ref(), &resolve)).await;
    match appended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(Problem::unavailable(error.to_string(), RETRY_AFTER_S)),
        Err(_) => return Err(Problem::internal("the request failed")),
    }
    let settled = async {
        loop {
            let now = api.view.lock().item(&key);
            match now {
                Some(item) if item.state != State::Uncertain => return item,
                _ => tokio::time::sleep(RESOLVE_LOOK).await,
            }
        }
    };
    match tokio::time::timeout(RESOLVE_WAIT, settled).await {
        Ok(item) => Ok((StatusCode::OK, Json(item))),
        Err(_) => Ok((StatusCode::ACCEPTED, Json(before))),
    }
}
