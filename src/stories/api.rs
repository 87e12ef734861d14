//! `GET /v1/stories` and `GET /v1/stories/{id}`.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query as Parameters, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use dataflows::stories::Story;
use dataflows::time::Millis;
use parking_lot::RwLock;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Place, Query, View};
use crate::ops::http::Problem;

/// Stories of one answer, where `limit` does not say.
const STORIES_DEFAULT: usize = 50;
const STORIES_MAX: usize = 500;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    since: Option<String>,
    platform: Option<String>,
    min_items: Option<u32>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// The answer: stories, the newest activity first, and the pipeline clock they are of.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    pub stories: Vec<Story>,
    pub as_of: Millis,
    /// The `cursor` of the next page, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

pub fn routes(view: Arc<RwLock<View>>) -> Router {
    Router::new().route("/v1/stories", get(stories)).route("/v1/stories/{id}", get(story)).with_state(view)
}

async fn stories(
    State(view): State<Arc<RwLock<View>>>,
    asked: Result<Parameters<Asked>, QueryRejection>,
) -> Result<Json<Answer>, Problem> {
    let Parameters(asked) = asked.map_err(|e| Problem::bad_request(e.body_text()))?;
    let limit = asked.limit.unwrap_or(STORIES_DEFAULT).clamp(1, STORIES_MAX);
    let query = query(asked).map_err(Problem::bad_request)?;
    let view = view.read();
    let mut stories: Vec<Story> = view.query(&query).take(limit + 1).cloned().collect();
    let more = stories.len() > limit;
    stories.truncate(limit);
    let cursor = stories.last().filter(|_| more).map(|last| Place::of(last).to_string());
    Ok(Json(Answer { stories, as_of: view.as_of(), cursor }))
}

async fn story(
    State(view): State<Arc<RwLock<View>>>,
    Path(id): Path<String>,
) -> Result<Json<Story>, Problem> {
    let story = view.read().get(&id).cloned();
    let none = || Problem::new(StatusCode::NOT_FOUND, format!("there is no story {id:?}, or no longer"));
    story.map(Json).ok_or_else(none)
}

fn query(asked: Asked) -> Result<Query, String> {
    let text = |value: Option<String>| value.filter(|v| !v.is_empty());
    let since = text(asked.since).map(|since| match since.parse() {
        Ok(ms) => Ok(Millis(ms)),
        Err(_) => Millis::parse(&since).map_err(|e| format!("since: {e} or a number of milliseconds")),
    });
    let after = text(asked.cursor)
        .map(|cursor| Place::parse(&cursor).ok_or_else(|| format!("cursor: {cursor:?} is none of ours")));
    Ok(Query {
        since: since.transpose()?,
        platform: text(asked.platform),
        items_min: asked.min_items.unwrap_or(0),
        after: after.transpose()?,
    })
}
