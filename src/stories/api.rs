//! `GET /v1/stories` and `GET /v1/stories/{id}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use dataflows::stories::Story;
use dataflows::time::Millis;
use parking_lot::RwLock;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Place, Query, View};
use crate::ops::http::{List, Parameters, Problem, number};
use crate::ops::openapi::{Operation, Routes};

const STORIES: List = List { name: "stories", limit_default: 50, limit_max: 500 };

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Stories with an item published at or after this.
    since: Option<String>,
    /// Stories with an item on this platform.
    platform: Option<String>,
    min_items: Option<u32>,
    #[serde(default, deserialize_with = "number")]
    limit: Option<usize>,
    cursor: Option<String>,
}

/// The answer: stories, the newest activity first, and the pipeline clock they are of.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "StoriesPage")]
pub struct Answer {
    pub stories: Vec<Story>,
    pub as_of: Millis,
    /// The `cursor` of the next page; null on the last.
    pub cursor: Option<String>,
}

pub fn routes(view: Arc<RwLock<View>>) -> Routes {
    let of_all = Operation::new("stories", "What several authors or platforms publish about the same thing.")
        .query::<Asked>()
        .list(&STORIES)
        .answers_as::<Answer>("The newest activity first.");
    let of_one = Operation::new("story", "One story.")
        .path("id", "The id of a story.")
        .answers_as::<Story>("The story; one that became part of another as it last was.")
        .fails(&[StatusCode::NOT_FOUND]);
    Routes::default()
        .get("/v1/stories", stories, of_all)
        .get("/v1/stories/{id}", story, of_one)
        .with_state(view)
}

async fn stories(
    State(view): State<Arc<RwLock<View>>>,
    Parameters(asked): Parameters<Asked>,
) -> Result<Json<Answer>, Problem> {
    let limit = STORIES.limit(asked.limit).map_err(Problem::bad_request)?;
    let query = query(asked).map_err(Problem::bad_request)?;
    let view = view.read();
    let (stories, cursor) = STORIES.page(view.query(&query), limit, |story| Place::of(story));
    let stories = stories.into_iter().cloned().collect();
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
    Ok(Query {
        since: since.transpose()?,
        platform: text(asked.platform),
        items_min: asked.min_items.unwrap_or(0),
        after: STORIES.after(asked.cursor.as_deref())?,
    })
}
