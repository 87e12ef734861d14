//! `GET /v1/search`.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as Parameters, State};
use axum::routing::get;
use axum::{Json, Router};
use dataflows::time::Millis;
use serde::Deserialize;

use super::search::{Answer, Query, Search, parse_cursor};
use super::{Filters, MemoryError};
use crate::ops::http::Problem;

/// Seconds after which a search on a memory that is unavailable is worth a retry.
const RETRY_AFTER_S: u64 = 5;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchParameters {
    q: String,
    #[serde(default)]
    platform: Option<String>,
    /// RFC 3339, or milliseconds.
    #[serde(default)]
    since: Option<String>,
    #[serde(default)]
    topic: Option<String>,
    #[serde(default)]
    lang: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    cursor: Option<String>,
}

pub fn routes(search: Arc<Search>) -> Router {
    Router::new().route("/v1/search", get(answer)).with_state(search)
}

async fn answer(
    State(search): State<Arc<Search>>,
    parameters: Result<Parameters<SearchParameters>, QueryRejection>,
) -> Result<Json<Answer>, Problem> {
    let Parameters(parameters) = parameters.map_err(|e| Problem::bad_request(e.body_text()))?;
    let query = query(parameters, &search)?;
    let answered = tokio::task::spawn_blocking(move || search.answer(&query)).await;
    match answered {
        Ok(Ok(answer)) => Ok(Json(answer)),
        Ok(Err(error @ MemoryError::Retry(_))) => {
            tracing::warn!(%error, "a search failed");
            Err(Problem::unavailable(
                "the memory is unavailable for now; /health/memory says why",
                RETRY_AFTER_S,
            ))
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "a search failed");
            Err(Problem::internal("the memory cannot answer; /health/memory says why"))
        }
        Err(error) => {
            tracing::error!(%error, "a search panicked");
            Err(Problem::internal("the search failed unexpectedly; the log has the details"))
        }
    }
}

fn query(parameters: SearchParameters, search: &Search) -> Result<Query, Problem> {
    let settings = search.settings();
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    if parameters.q.trim().is_empty() {
        return Err(Problem::bad_request("q is empty: it takes the words or the sentence to search for"));
    }
    let limit = parameters.limit.unwrap_or(settings.limit_default);
    if limit == 0 || limit > settings.limit_max {
        return Err(Problem::bad_request(format!("limit is 1 to {}", settings.limit_max)));
    }
    let offset = match given(parameters.cursor) {
        None => 0,
        Some(cursor) => parse_cursor(&cursor)
            .ok_or_else(|| Problem::bad_request("cursor is not one that an earlier answer gave"))?,
    };
    let since = given(parameters.since).map(|text| parse_since(&text)).transpose();
    let filters = Filters {
        platform: given(parameters.platform),
        since: since.map_err(|reason| Problem::bad_request(format!("since: {reason}")))?,
        topic: given(parameters.topic),
        lang: given(parameters.lang),
    };
    Ok(Query { text: parameters.q, filters, limit, offset })
}

/// RFC 3339, or a number of milliseconds.
pub(super) fn parse_since(text: &str) -> Result<Millis, String> {
    text.parse::<i64>().map(Millis).or_else(|_| Millis::parse(text))
}
