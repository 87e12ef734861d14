//! `GET /v1/sources`: every source and its health, by key.

use axum::extract::Query;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::{self, SourceStatus};
use crate::ops::http::Problem;

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/v1/sources", get(sources))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    limit: Option<usize>,
    /// The key of the last source of the page before.
    cursor: Option<String>,
}

/// One page of sources.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SourcesPage {
    pub sources: Vec<SourceStatus>,
    /// For the next page; null on the last one.
    pub next_cursor: Option<String>,
}

async fn sources(page: Result<Query<Page>, axum::extract::rejection::QueryRejection>) -> Response {
    let Query(page) = match page {
        Ok(page) => page,
        Err(rejection) => return Problem::bad_request(rejection.body_text()).into_response(),
    };
    let limit = page.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        let detail = format!("limit must be between 1 and {LIMIT_MAX}");
        return Problem::bad_request(detail).into_response();
    }
    let after = page.cursor.unwrap_or_default();
    let mut sources: Vec<SourceStatus> = status::status().into_iter().filter(|s| s.key > after).collect();
    let more = sources.len() > limit;
    sources.truncate(limit);
    let next_cursor = sources.last().filter(|_| more).map(|s| s.key.clone());
    Json(SourcesPage { sources, next_cursor }).into_response()
}
