//! The HTTP side: digests and the outbox as the log has them, and the way to ask.
//!
//! What it answers from, [`View`], follows the topics by itself, so it is right in whichever
//! process the workers run.

mod view;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State as Extract};
use axum::http::StatusCode;
use axum::{Json, Router};
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Deserialize;

use dataflows::record::topic;
use dataflows::time::Millis;

use super::deliver::record;
use super::digest::Digest;
use super::digester::{Ask, CANDIDATES_MAX, Preview};
use super::outbox::{OutboxRecord, Resolution, Resolve, State};
use crate::log::{Log, LogError};
use crate::ops::http::{List, Parameters, Problem, number, within};
use crate::ops::openapi::{Operation, Routes};

pub use view::{Follower, Listed, OutboxItem, Page, View};

use view::{DIGESTS, OUTBOX};

const PREVIEWS: List = List { name: "previews", ..DIGESTS };
/// Candidates of a preview, where `candidates` does not say.
const CANDIDATES_DEFAULT: usize = 50;
/// How long an answer waits for what it asked for.
const ASK_WAIT: Duration = Duration::from_secs(20);
/// Seconds after which a question that found nobody may be asked again.
const RETRY_AFTER_S: u64 = 5;
const RESOLVE_WAIT: Duration = Duration::from_secs(3);
const RESOLVE_LOOK: Duration = Duration::from_millis(50);

/// What the handlers share.
#[derive(Clone)]
pub struct Api {
    pub view: Arc<Mutex<View>>,
    pub log: Arc<dyn Log>,
    /// To the digester, where it runs in this process.
    pub asks: Option<tokio::sync::mpsc::Sender<Ask>>,
}

pub fn routes(api: Api) -> Routes {
    let busy = [StatusCode::SERVICE_UNAVAILABLE];
    let of_digests = Operation::new("digests", "Digests that were decided, posted or not.")
        .query::<DigestsAsked>()
        .list(&DIGESTS)
        .answers_as::<Listed<Digest>>("The newest first.");
    let of_preview = Operation::new("digests_preview", "Digests as they would be posted now, and why.")
        .query::<PreviewOf>()
        .list(&PREVIEWS)
        .answers_as::<Listed<Preview>>("One a route, in the order of routes.toml.")
        .fails(&busy);
    let of_send = Operation::new("digests_send", "Decides digests now, not at the next schedule.")
        .query::<OfRoute>()
        .answers_as::<Vec<Preview>>("What was decided; `sent` says whether it is in the outbox.")
        .fails(&busy);
    let of_outbox = Operation::new("outbox", "Messages to Discord and what became of them.")
        .query::<Page>()
        .list(&OUTBOX)
        .answers_as::<Listed<OutboxItem>>("The newest first.");
    let of_resolve =
        Operation::new("outbox_resolve", "Settles a post of which nobody knows whether it was made.")
            .path("key", "The key of the post.")
            .takes::<Resolution>("application/json")
            .answers_as::<OutboxItem>("Settled, and how it stands.")
            .answers::<OutboxItem>(StatusCode::ACCEPTED, "application/json", "Recorded, not applied yet.")
            .fails(&[StatusCode::NOT_FOUND, StatusCode::CONFLICT, StatusCode::SERVICE_UNAVAILABLE]);
    Routes::default()
        .get("/v1/digests", digests, of_digests)
        .get("/v1/digests/preview", preview, of_preview)
        .post("/v1/digests/send", send, of_send)
        .get("/v1/outbox", outbox, of_outbox)
        .post("/v1/outbox/{key}/resolve", resolve, of_resolve)
        .with_state(api)
}

/// The routes alone, for a server of one's own.
pub fn router(api: Api) -> Router {
    routes(api).into()
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DigestsAsked {
    #[serde(default, deserialize_with = "number")]
    limit: Option<usize>,
    #[serde(default)]
    cursor: Option<String>,
}

async fn digests(
    Extract(api): Extract<Api>,
    Parameters(DigestsAsked { limit, cursor }): Parameters<DigestsAsked>,
) -> Result<Json<Listed<Digest>>, Problem> {
    let page = Page { limit, cursor, state: None };
    api.view.lock().digests(&page).map(Json).map_err(Problem::bad_request)
}

async fn outbox(
    Extract(api): Extract<Api>,
    Parameters(page): Parameters<Page>,
) -> Result<Json<Listed<OutboxItem>>, Problem> {
    api.view.lock().outbox(&page).map(Json).map_err(Problem::bad_request)
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OfRoute {
    /// Its name in routes.toml; all of them without it.
    #[serde(default)]
    route: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PreviewOf {
    /// Its name in routes.toml; all of them without it.
    #[serde(default)]
    route: Option<String>,
    /// Candidates of each preview.
    #[serde(default, deserialize_with = "number")]
    #[schemars(range(min = 1, max = CANDIDATES_MAX), extend("default" = CANDIDATES_DEFAULT))]
    candidates: Option<usize>,
    #[serde(default, deserialize_with = "number")]
    limit: Option<usize>,
    #[serde(default)]
    cursor: Option<String>,
}

async fn preview(
    Extract(api): Extract<Api>,
    Parameters(of): Parameters<PreviewOf>,
) -> Result<Json<Listed<Preview>>, Problem> {
    let candidates = of.candidates.unwrap_or(CANDIDATES_DEFAULT);
    let candidates = within("candidates", candidates, CANDIDATES_MAX).map_err(Problem::bad_request)?;
    let limit = PREVIEWS.limit(of.limit).map_err(Problem::bad_request)?;
    let after: Option<String> = PREVIEWS.after(of.cursor.as_deref()).map_err(Problem::bad_request)?;
    let mut previews = ask(&api, |answer| Ask::Preview { route: of.route, answer }).await?;
    if let Some(after) = after {
        let last = previews.iter().position(|preview| preview.digest.route == after);
        previews.drain(..last.map_or(previews.len(), |last| last + 1));
    }
    previews.iter_mut().for_each(|preview| preview.candidates.truncate(candidates));
    let (items, cursor) = PREVIEWS.page(previews, limit, |preview| preview.digest.route.clone());
    Ok(Json(Listed { items, cursor }))
}

async fn send(
    Extract(api): Extract<Api>,
    Parameters(of): Parameters<OfRoute>,
) -> Result<Json<Vec<Preview>>, Problem> {
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
