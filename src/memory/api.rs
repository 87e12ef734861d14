//! `GET /v1/search`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use dataflows::time::Millis;
use schemars::JsonSchema;
use serde::Deserialize;

use super::search::{Answer, Query, Search};
use super::{Filters, MemoryError};
use crate::ops::http::{Parameters, Problem, number};
use crate::ops::openapi::{Operation, Routes};

/// Seconds after which a search on a memory that is unavailable is worth a retry.
const RETRY_AFTER_S: u64 = 5;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Words or a sentence.
    q: String,
    platform: Option<String>,
    /// Items published at or after this.
    since: Option<String>,
    /// Items in this watched topic.
    topic: Option<String>,
    /// Items in this language, two letters.
    lang: Option<String>,
    #[serde(default, deserialize_with = "number")]
    limit: Option<usize>,
    /// Pages are of one ranking, of the best that were found (`memory.search.candidates_max`):
    /// what is remembered between two of them can move a hit across.
    cursor: Option<String>,
}

pub fn routes(search: Arc<Search>) -> Routes {
    let operation = Operation::new("search", "What is remembered about something, by meaning and by words.")
        .query::<Asked>()
        .list(&search.list())
        .answers_as::<Answer>("The best first.")
        .fails(&[StatusCode::SERVICE_UNAVAILABLE]);
    Routes::default().get("/v1/search", answer, operation).with_state(search)
}

async fn answer(
    State(search): State<Arc<Search>>,
    Parameters(asked): Parameters<Asked>,
) -> Result<Json<Answer>, Problem> {
    let query = query(asked, &search).map_err(Problem::bad_request)?;
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

fn query(asked: Asked, search: &Search) -> Result<Query, String> {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    if asked.q.trim().is_empty() {
        return Err("q is empty: it takes the words or the sentence to search for".to_string());
    }
    let limit = search.list().limit(asked.limit)?;
    let since = given(asked.since).map(|text| parse_since(&text)).transpose();
    let filters = Filters {
        platform: given(asked.platform),
        since: since.map_err(|reason| format!("since: {reason}"))?,
        topic: given(asked.topic),
        lang: given(asked.lang),
    };
    let query = Query { text: asked.q, filters, limit, offset: 0 };
    let offset = search.offset(&query, asked.cursor.as_deref())?;
    Ok(Query { offset, ..query })
}

/// RFC 3339, or a number of milliseconds.
pub(super) fn parse_since(text: &str) -> Result<Millis, String> {
    text.parse::<i64>().map(Millis).or_else(|_| Millis::parse(text))
}
